"""Run a forward pass and report tokens per second, the time of each part, and how near each part is to its limit.

A part that moves few bytes for its flops is compared with the multiply-add peak of a core, one that moves many with its
bandwidth. Bytes are the useful ones: weights once per pass, the keys and values that are looked
at, activations not at all. Raises ValueError naming the argument, the requirement and the value.
"""

import io
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from ..display.progress import progress_bar, step
from ..display.table import Table
from ..hardware.facts import Machine
from ..hardware.limits import limits as measured_limits
from ..hardware.process_memory import peak, resident_bytes
from ..kernels.checks import positive_integer
from ..performance_stats import PerformanceStats
from ..section_timer import WHOLE
from ..timing.measure import compare
from ..timing.results import Comparison
from ..timing.sampling import quiet
from .decoder import KINDS, Decoder, KVCache, statistics
from .fusion_experiment import stopwatch_runs
from .operation_counts import PACKING, PARTS, Work, effort, work
from .weights import RandomWeights, Shape, Weights

WARM = Shape(32, 32, 1, 32, 1, 1, 8)  # loads the code
OVERHEAD_S, TURNS = 2.0, 8  # comparing stopwatches on and off: seconds, and passes of each at least


@dataclass(frozen=True)
class Passes:
    """What was measured: statistics of the passes of prompts and of those that generate, on one model."""

    shape: Shape
    kind: str
    bytes_per_weight: dict[str, float]
    batch: int
    prompts: tuple[int, ...]
    """Tokens of each prompt, one pass each."""
    position: float
    """Tokens that a sequence holds before a pass that generates, on average."""
    threads: int
    prompt_stats: PerformanceStats
    stats: PerformanceStats
    weight_bytes: int
    peak_gflops: float
    read_gb_per_s: float

    @property
    def prompt_tokens_per_s(self) -> float:
        """Tokens of all sequences."""
        return self.batch * sum(self.prompts) * 1e3 / self.prompt_stats.forward_pass_ms

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all sequences, one per pass."""
        return self.batch * self.stats.count * 1e3 / self.stats.forward_pass_ms

    @property
    def closure(self) -> float:
        """Share of the passes that their parts explain: the prompts' or the generating ones', whichever is less."""
        measured = (stats for stats in (self.prompt_stats, self.stats) if stats.count)
        return min(1 - stats.residual_ms() / stats.forward_pass_ms for stats in measured)

    @property
    def counted_overhead(self) -> float:
        """Share of a generating pass that its stopwatches cost, by their number and what one costs alone."""
        entries = sum(self.stats.entries(c) for c in (WHOLE, *self.stats.components))
        return self.stats.section_overhead_ns() * entries / (1e6 * self.stats.forward_pass_ms)

    def limits_table(self) -> Table:
        """Of every part: time, rates, and their shares of the limits of the cores in use."""
        header = "part", "prompt (ms)", "of peak", "of bandwidth", "generation (ms)", "of peak", "of bandwidth"
        prompts = [work(self.shape, self.bytes_per_weight, self.batch, new, 0) for new in self.prompts]
        prompt = {p: Work(*(fmean(getattr(one[p], n) for one in prompts) for n in ("flops", "bytes"))) for p in PARTS}
        token = work(self.shape, self.bytes_per_weight, self.batch, 1, self.position)
        rows = ((p, *self._rates(self.prompt_stats, p, prompt[p]), *self._rates(self.stats, p, token[p])) for p in PARTS)
        return Table(header, tuple(rows))

    def _rates(self, stats: PerformanceStats, part: str, work: Work) -> tuple[str, str, str]:
        if not stats.count:
            return "-", "-", "-"
        ms = getattr(stats.average(), part.replace("/", "_") + "_ms")
        if not ms:
            return "0.000", "-", "-"
        gflops, gb = work.flops / ms / 1e6, work.bytes / ms / 1e6
        return f"{ms:.3f}", f"{gflops / (self.peak_gflops * self.threads):.1%}", f"{gb / self.read_gb_per_s:.1%}"


@dataclass(frozen=True)
class Forward(Passes):
    """Passes over a random prompt, and what they need besides."""

    cache_bytes: int
    above_bytes: float
    """Most memory that was resident during the passes, above weights, cache and what was there before; NaN if unknown."""
    stopwatches: Comparison
    """A pass of one token with them, `on`, against one without, `off`."""


def forward(
    weights: Weights,
    machine: Machine,
    kind: str | None = None,
    prompt: int = 128,
    tokens: int = 32,
    batch: int = 1,
    threads: int = 1,
    seed: int = 0,
    progress: bool = True,
) -> Forward:
    """Read a random prompt twice (the first one warms up), then generate `tokens`, the likeliest each time."""
    for name, value in (("prompt", prompt), ("tokens", tokens), ("batch", batch), ("threads", threads)):
        positive_integer(name, value)
    size, passes = weights.shape.parameters, 2 * effort(batch * prompt) + tokens * effort(batch)
    with progress_bar(size * (PACKING + passes), progress) as bar:
        bar.set_description_str("compiling, or loading compiled code")
        warm_up(weights, kind, threads)
        before = resident_bytes()
        bar.set_description_str("packing weights")
        decoder = Decoder(weights, kind, lambda count: bar.update(PACKING * count))
        cache = decoder.cache(batch, prompt + tokens)
        ids = np.random.default_rng(seed).integers(0, decoder.shape.vocab_size, (batch, prompt))
        with quiet(threads), peak() as most:
            prompt_stats, stats = _passes(decoder, cache, ids, tokens, threads, bar)
        bar.set_description_str("stopwatches, on and off in turn")
        turns = _stopwatches(decoder, batch, cache.context, threads, stats)
        bar.set_description_str("limits of one core")
        limits = measured_limits(machine)
    return Forward(
        shape=decoder.shape,
        kind=decoder.kind,
        bytes_per_weight=decoder.bytes_per_weight,
        batch=batch,
        prompts=(prompt,),
        position=prompt + (tokens - 1) / 2,
        threads=threads,
        prompt_stats=prompt_stats,
        stats=stats,
        weight_bytes=decoder.nbytes,
        cache_bytes=cache.nbytes,
        above_bytes=most.bytes - before - decoder.nbytes - cache.nbytes,
        stopwatches=turns,
        peak_gflops=limits.peak_gflops().value,
        read_gb_per_s=max(limits[f"read_{k}_gb_per_s"].value for k in (1, 4, 8)),
    )


def warm_up(weights: Weights, kind: str | None, threads: int) -> None:
    """Load the code for the kind of the weights, so that it is no part of what the passes need."""
    kind = kind or KINDS[isinstance(weights.tensor("blk.0.attn_q.weight"), tuple)]
    decoder = Decoder(RandomWeights(replace(WARM, extras=weights.shape.extras)), kind)
    cache = decoder.cache(1, 4)
    for tokens in (np.zeros((1, 2), np.int64), np.zeros((1, 1), np.int64)):
        decoder.forward(tokens, cache, threads=threads)


def _passes(
    decoder: Decoder, cache: KVCache, ids: np.ndarray, tokens: int, threads: int, bar: AbstractContextManager
) -> tuple[PerformanceStats, PerformanceStats]:
    """Statistics of the prompt, and of the tokens that follow it."""
    prompt_stats, stats, size = statistics(), statistics(), decoder.shape.parameters
    for watch in (statistics(enabled=False), prompt_stats):
        with step(bar, f"prompt of {ids.shape[1]} tokens", size * effort(ids.size)):
            cache.clear()
            logits = decoder.forward(ids, cache, watch, threads)
    for number in range(tokens):
        bar.set_description_str(f"token {number + 1} of {tokens}", refresh=False)
        logits = decoder.forward(logits.argmax(axis=1)[:, None], cache, stats, threads)
        bar.update(size * effort(len(ids)))
    return prompt_stats, stats


def _stopwatches(decoder: Decoder, batch: int, context: int, threads: int, stats: PerformanceStats) -> Comparison:
    """A pass of one token of each sequence without and with them, interleaved."""
    ways = stopwatch_runs(decoder, context, batch, threads)["stopwatches"]
    budget_s = max(OVERHEAD_S, 4 * TURNS * stats.average().forward_pass_ms / 1e3)  # each way twice
    return compare(ways, scope="call", budget_s=budget_s, threads=threads)


def report(result: Passes) -> str:
    """The lines that the commands print."""
    text = io.StringIO()
    print(
        f"{result.shape.parameters / 1e6:.0f}M weights as {result.kind}, {result.weight_bytes / 1e6:.0f} MB; "
        f"batch {result.batch}, {result.threads} thread{'s' if result.threads > 1 else ''}",
        f"prompt      {result.prompt_tokens_per_s:10.1f} tokens/s ({_sizes(result.prompts)})",
        sep="\n",
        file=text,
    )
    if result.stats.count:
        print(f"generation  {result.tokens_per_s:10.1f} tokens/s (one at a time, {result.stats.count} passes)", file=text)
    result.prompt_stats.print("prompt", file=text)
    if result.stats.count:
        result.stats.print("generation", file=text)
    print(result.limits_table(), file=text)
    cost = f"; stopwatches cost {result.counted_overhead:.2%} of generation by their number" if result.stats.count else ""
    print(f"parts explain {result.closure:.1%}{cost}", file=text)
    if isinstance(result, Forward):
        _print_besides(result, text)
    print(f"limits: {result.peak_gflops:.0f} GFLOP/s a core, {result.read_gb_per_s:.1f} GB/s read by one core", file=text)
    return text.getvalue().rstrip()


def _sizes(prompts: tuple[int, ...]) -> str:
    if len(prompts) == 1:
        return f"{prompts[0]} tokens at once"
    return f"{len(prompts)} prompts of {min(prompts)} to {max(prompts)} tokens, each at once"


def _print_besides(result: Forward, text: io.StringIO) -> None:
    above = "unknown on this system" if math.isnan(result.above_bytes) else f"{result.above_bytes / 1e6:.0f} MB"
    turns, on = result.stopwatches, result.stopwatches.ratios["on"]
    low, middle, high = (100 * (ratio - 1) for ratio in (on.low, on.value, on.high))
    itself = f" (off against itself: {100 * (turns.again.value - 1):+.2f} %)" if turns.again else ""
    print(
        f"stopwatches on against off, in turn: {middle:+.2f} % [{low:+.2f}, {high:+.2f}], {turns.verdicts['on']}{itself}",
        f"memory: {above} resident above {result.weight_bytes / 1e6:.0f} MB of weights "
        f"and {result.cache_bytes / 1e6:.1f} MB of keys and values, the most during the passes",
        sep="\n",
        file=text,
    )
