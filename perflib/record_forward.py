"""The topic `forward` of a run: passes of a decoder, one row per part and pass.

    record_forward(writer, quick)       15M; in full also 110M, and one series of 1.1B
    FORWARD_PLAN, QUICK_PLAN            what is recorded: Series

A row's `kernel` is the part (`forward_pass` is the whole), `dtype` the kind of the weights, `n` the tokens that the last
new one looks at, `rows` the batch, `round` the pass; the parameter `new` is the new tokens of each sequence in a pass. A
block is one series, named like "110M F32 generation 128 x 1".
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .decoder import Decoder, statistics
from .sampling import quiet
from .weights import SHAPES, RandomWeights
from .writer import RunWriter

__all__ = ["FORWARD_PLAN", "QUICK_PLAN", "Series", "record_forward"]

PROMPT = 128


@dataclass(frozen=True)
class Series:
    """Passes of one kind on one model."""

    shape: str
    kind: str
    context: int
    """Tokens that the last new one looks at, itself included."""
    batch: int = 1
    new: int = 1
    passes: int = 12

    @property
    def name(self) -> str:
        """Of the block."""
        return f"{self.shape} {self.kind} {'generation' if self.new == 1 else 'prompt'} {self.context} x {self.batch}"


def _plan(shape: str, contexts: Iterable[int], batches: Iterable[int], passes: int) -> tuple[Series, ...]:
    prompts = [Series(shape, kind, PROMPT, new=PROMPT, passes=7) for kind in ("F32", "Q8_0")]
    by_context = [Series(shape, "F32", context, passes=passes) for context in contexts]
    by_batch = [Series(shape, "F32", PROMPT, batch, passes=passes) for batch in batches]
    return (*prompts, *by_context, *by_batch, Series(shape, "Q8_0", PROMPT, passes=passes))


QUICK_PLAN = _plan("15M", (16, 128, 512), (8, 64), 8)
FORWARD_PLAN = (
    *_plan("15M", (16, 128, 512, 1024), (2, 4, 8, 16, 32, 64), 24),
    *_plan("110M", (16, 128, 512, 1024), (2, 4, 8, 16, 32, 64), 16),
    Series("1.1B", "F32", 16, passes=6),
)


def record_forward(writer: RunWriter, quick: bool, progress: bool = True) -> None:
    """Record every series that the run does not have yet. Weights are packed once per shape and kind."""
    missing = [s for s in (QUICK_PLAN if quick else FORWARD_PLAN) if not writer.has("forward", s.name)]
    for shape, kind in dict.fromkeys((s.shape, s.kind) for s in missing):
        if progress and sys.stderr.isatty():
            print(f"forward: packing {shape} as {kind}", file=sys.stderr)
        decoder = Decoder(RandomWeights(SHAPES[shape]), kind)
        for series in missing:
            if (series.shape, series.kind) == (shape, kind):
                with quiet(), writer.block("forward", series.name, ["new"]) as append:
                    append(_rows(decoder, series))


def _rows(decoder: Decoder, series: Series) -> list[dict]:
    """The passes of a series: the cache holds what stands there, zeros or what another pass left, which costs the same."""
    cache, stats = decoder.cache(series.batch, series.context), statistics()
    tokens = np.random.default_rng(0).integers(0, decoder.shape.vocab_size, (series.batch, series.new))
    for number in range(series.passes + 1):
        cache.length = series.context - series.new
        decoder.forward(tokens, cache, *((stats,) if number else ()))  # the first pass warms up
    case = {"block": series.name, "scope": "call", "dtype": series.kind, "threads": 1, "n": series.context}
    case |= {"rows": series.batch, "new": series.new, "reps": 1, "cpu_ns": 0, "switches": 0, "compiled": 0}
    return [
        {**case, "kernel": part, "round": number, "position": place, "elapsed_ns": max(1, ns)}
        for number, one in enumerate(stats.passes)
        for place, (part, ns) in enumerate(one.items())
    ]
