"""The topic `forward` of a run: passes of a decoder, one row per part and pass; what fusing buys, what stopwatches cost.

    record_forward(writer, quick)       15M; in full also 110M, and one series of 1.1B, which takes 4.5 GB of memory
    FORWARD_PLAN, QUICK_PLAN            what is recorded: Series and Turns

A row's `kernel` is the part (`forward_pass` is the whole), `dtype` the kind of the weights, `n` the tokens that the last
new one looks at, `rows` the batch, `round` the pass; the parameter `new` is the new tokens of each sequence in a pass. A
block is one series, named like "110M F32 generation 128 x 1".

The block "read" holds reads of READ_BYTES, what generation is held against: `kernel` is "read, 4" for four streams.

Of work that is done in two ways in turn (see `fused`) the `kernel` is name and way, "QKV, fused", `round` the turn. Such
blocks are named like "110M F32 fused 128 x 1", and for the stopwatches "110M F32 stopwatches 128 x 1".
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .decoder import Decoder, statistics
from .forward import PACKING, effort
from .fused import READ_BYTES, alternatives, in_turn, reads, watched
from .progress import progress_bar, step
from .sampling import quiet
from .weights import SHAPES, RandomWeights
from .writer import RunWriter

__all__ = ["FORWARD_PLAN", "QUICK_PLAN", "Series", "Turns", "record_forward"]

PROMPT = 128
READS = 12
FIXED = {"scope": "call", "threads": 1, "reps": 1, "cpu_ns": 0, "switches": 0, "compiled": 0}


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

    @property
    def cost(self) -> float:
        """In passes of one token."""
        return (self.passes + 1) * effort(self.batch * self.new)

    def rows(self, decoder: Decoder) -> list[dict]:
        """The passes: the cache holds what stands there, zeros or what another pass left, which costs the same."""
        cache, stats = decoder.cache(self.batch, self.context), statistics()
        tokens = np.random.default_rng(0).integers(0, decoder.shape.vocab_size, (self.batch, self.new))
        for number in range(self.passes + 1):
            cache.length = self.context - self.new
            decoder.forward(tokens, cache, *((stats,) if number else ()))  # the first pass warms up
        case = _case(self, n=self.context, rows=self.batch, new=self.new)
        return [
            {**case, "kernel": part, "round": number, "position": place, "elapsed_ns": max(1, ns)}
            for number, one in enumerate(stats.passes)
            for place, (part, ns) in enumerate(one.items())
        ]


@dataclass(frozen=True)
class Turns:
    """Work done in two ways, in turn, on one model; `what`: fused, or stopwatches (a pass of one token, off and on)."""

    shape: str
    what: str
    new: int
    """Rows that go through every layer at once."""
    rounds: int
    kind: str = "F32"

    @property
    def name(self) -> str:
        """Of the block."""
        return f"{self.shape} {self.kind} {self.what} {self.new if self.what == 'fused' else PROMPT} x 1"

    @property
    def cost(self) -> float:
        """In passes of one token."""
        return 2 * (self.rounds + 1) * effort(self.new)

    def rows(self, decoder: Decoder) -> list[dict]:
        """One for each way and round."""
        runs = alternatives(decoder, self.new) if self.what == "fused" else watched(decoder, PROMPT)
        case = _case(self, n=self.new if self.what == "fused" else PROMPT, rows=1, new=self.new)
        return _turns(case, runs, self.rounds)


def _case(series: Series | Turns, **counted: int) -> dict:
    return {"block": series.name, "dtype": series.kind, **FIXED, **counted}


def _turns(case: dict, runs: dict, rounds: int) -> list[dict]:
    return [
        {**case, "kernel": f"{name}, {way}", "round": number, "position": place, "elapsed_ns": max(1, ns)}
        for number, place, name, way, ns in in_turn(runs, rounds)
    ]


def _plan(
    shape: str, contexts: Iterable[int], batches: Iterable[int], passes: int, turns: int
) -> tuple[Series | Turns, ...]:
    prompts = [Series(shape, kind, PROMPT, new=PROMPT, passes=7) for kind in ("F32", "Q8_0")]
    by_context = [Series(shape, "F32", context, passes=passes) for context in contexts]
    by_batch = [Series(shape, "F32", PROMPT, batch, passes=passes) for batch in batches]
    in_two_ways = Turns(shape, "fused", 1, turns), Turns(shape, "fused", PROMPT, 8), Turns(shape, "stopwatches", 1, turns)
    return (*prompts, *by_context, *by_batch, *in_two_ways, Series(shape, "Q8_0", PROMPT, passes=passes))


QUICK_PLAN = _plan("15M", (16, 128, 512), (8, 64), 8, 30)
FORWARD_PLAN = (
    *_plan("15M", (16, 128, 512, 1024), (2, 4, 8, 16, 32, 64), 24, 200),
    *_plan("110M", (16, 128, 512, 1024), (2, 4, 8, 16, 32, 64), 16, 60),
    Series("1.1B", "F32", 16, passes=6),
)


def record_forward(writer: RunWriter, quick: bool, progress: bool = True) -> None:
    """Record every series that the run does not have yet. Weights are packed once per shape and kind."""
    if not writer.has("forward", "read"):
        case = {"block": "read", "dtype": "float32", "n": READ_BYTES, "rows": 1, "new": 0, **FIXED}
        with quiet(), writer.block("forward", "read", ["new"]) as append:
            append(_turns(case, reads(), READS))
    missing = [s for s in (QUICK_PLAN if quick else FORWARD_PLAN) if not writer.has("forward", s.name)]
    models = dict.fromkeys((s.shape, s.kind) for s in missing)
    weights = {name: SHAPES[name].parameters for name, _ in models}  # the bar counts weights that are used
    total = sum(PACKING * weights[name] for name, _ in models) + sum(s.cost * weights[s.shape] for s in missing)
    with progress_bar(total, progress) as bar:
        for shape, kind in models:
            bar.set_description_str(f"forward: packing {shape} as {kind}")
            decoder = Decoder(RandomWeights(SHAPES[shape]), kind, lambda count: bar.update(PACKING * count))
            for series in missing:
                if (series.shape, series.kind) == (shape, kind):
                    done = step(bar, f"forward: {series.name}", series.cost * weights[shape])
                    with done, quiet(), writer.block("forward", series.name, ["new"]) as append:
                        append(series.rows(decoder))
            del decoder  # before the next one is packed
