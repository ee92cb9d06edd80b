"""A forward pass, run and taken apart: tokens per second, where the time goes, how near each part is to the limits.

    forward(weights, ...)           -> Forward: statistics of the prompt and of generation; print it
    work(shape, kind, ...)          flops and bytes of every part of a pass, counted before anything is measured

A part that moves few bytes for its flops is held against the multiply-add peak of a core, one that moves many against its
bandwidth: the share of each is shown. Bytes are the useful ones: weights once per pass, the keys and values that are looked
at, activations not at all. Raises ValueError naming the argument, the requirement and the value.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .components import PerformanceStats
from .decoder import Decoder, statistics
from .kernels.checks import positive_integer
from .machine import Machine
from .sampling import quiet
from .stats import median
from .tables import Table
from .weights import Shape, Weights

__all__ = ["Forward", "Work", "forward", "work"]

BYTES_PER_WEIGHT = {"F32": 4.0, "Q8_0": 34 / 32}
WHOLE = "forward_pass"
PARTS = ("embedding", "attention/qkv", "attention/rope", "attention/scores", "attention/output", "ffn", "projection")


@dataclass(frozen=True)
class Work:
    """Of one part of one pass."""

    flops: float
    bytes: float

    @property
    def intensity(self) -> float:
        """Flops per byte."""
        return self.flops / self.bytes


def work(shape: Shape, kind: str, batch: int, new: int, start: int) -> dict[str, Work]:
    """Work of a pass over `new` tokens of each of `batch` sequences that hold `start` already; logits of the last ones."""
    width, inner, keys, layers = shape.embedding_length, shape.feed_forward_length, shape.key_length, shape.block_count
    rows, each = batch * new, BYTES_PER_WEIGHT[kind]
    seen = batch * (new * start + new * (new + 1) // 2)  # pairs of a token and one that it looks at

    def linear(inputs: int, outputs: int, m: int, times: int = layers) -> Work:
        return Work(2.0 * m * inputs * outputs * times, each * inputs * outputs * times)

    turned = rows * (width + keys) * layers
    return {
        "embedding": Work(0.0, each * rows * width),
        "attention/qkv": linear(width, width + 2 * keys, rows),
        "attention/rope": Work(3.0 * turned, 4.0 * (turned + rows * keys * layers)),
        "attention/scores": Work(4.0 * seen * width * layers, 8.0 * batch * (start + new) * keys * layers),
        "attention/output": linear(width, width, rows),
        "ffn": linear(width, 3 * inner, rows),
        "projection": linear(width, shape.vocab_size, batch, 1),
    }


@dataclass(frozen=True)
class Forward:
    """What was measured: statistics of the prompt's pass and of the passes that generate, on one model."""

    shape: Shape
    kind: str
    batch: int
    prompt: int
    threads: int
    prompt_stats: PerformanceStats
    stats: PerformanceStats
    weight_bytes: int
    overhead_percent: float
    """How much longer a pass takes with the stopwatches than without, median over passes taken in turn."""
    peak_gflops: float
    read_gb_per_s: float

    @property
    def prompt_tokens_per_s(self) -> float:
        """Tokens of all sequences."""
        return self.batch * self.prompt * 1e3 / self.prompt_stats.average().forward_pass_ms

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all sequences, one per pass."""
        return self.batch * 1e3 / self.stats.average().forward_pass_ms

    @property
    def closure(self) -> float:
        """Share of the generating passes that their parts explain."""
        return 1 - self.stats.residual_ms() / self.stats.forward_pass_ms

    def limits_table(self) -> Table:
        """Of every part: time, rates, and their shares of the limits of the cores in use."""
        header = "part", "prompt (ms)", "of peak", "of bandwidth", "generation (ms)", "of peak", "of bandwidth"
        half = self.prompt + self.stats.count // 2  # the middle of what was generated
        phases = (
            (self.prompt_stats, work(self.shape, self.kind, self.batch, self.prompt, 0)),
            (self.stats, work(self.shape, self.kind, self.batch, 1, half)),
        )
        rows = []
        for part in PARTS:
            cells = [cell for stats, counted in phases for cell in self._rates(stats, part, counted[part])]
            rows.append((part, *cells))
        return Table(header, tuple(rows))

    def _rates(self, stats: PerformanceStats, part: str, done: Work) -> tuple[str, str, str]:
        ms = getattr(stats.average(), part.replace("/", "_") + "_ms")
        if not ms:
            return "0.000", "-", "-"
        gflops, gb = done.flops / ms / 1e6, done.bytes / ms / 1e6
        peak, read = self.peak_gflops * self.threads, self.read_gb_per_s
        return f"{ms:.3f}", f"{gflops / peak:.1%}", f"{gb / read:.1%}"


def forward(
    weights: Weights,
    machine: Machine,
    kind: str | None = None,
    prompt: int = 128,
    tokens: int = 32,
    batch: int = 1,
    threads: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> Forward:
    """Read a random prompt twice (the first one warms up), then generate `tokens`, the likeliest each time."""
    for name, value in (("prompt", prompt), ("tokens", tokens), ("batch", batch), ("threads", threads)):
        positive_integer(name, value)
    progress("packing weights")
    decoder = Decoder(weights, kind)
    cache = decoder.cache(batch, prompt + 2 * tokens)
    given = np.random.default_rng(seed).integers(0, decoder.shape.vocab_size, (batch, prompt))
    stats, prompt_stats, times = statistics(), statistics(), {True: [], False: []}
    off = statistics(enabled=False)
    with quiet(threads):
        progress("compiling, or loading compiled code")
        decoder.forward(given[:, :1], cache, threads=threads)
        cache.clear()
        decoder.forward(given, cache, threads=threads)
        cache.clear()
        progress(f"prompt of {prompt} tokens")
        logits = decoder.forward(given, cache, prompt_stats, threads)
        for number in range(2 * tokens):  # every token twice: with the stopwatches and without, in turn
            chosen, watched = logits.argmax(axis=1)[:, None], number % 2 == 0
            begun = time.perf_counter_ns()
            logits = decoder.forward(chosen, cache, stats if watched else off, threads)
            times[watched].append(time.perf_counter_ns() - begun)
            if number % 16 == 0:
                progress(f"token {number // 2 + 1} of {tokens}")
    limits = machine.limits()
    return Forward(
        shape=decoder.shape,
        kind=decoder.kind,
        batch=batch,
        prompt=prompt,
        threads=threads,
        prompt_stats=prompt_stats,
        stats=stats,
        weight_bytes=decoder.nbytes,
        overhead_percent=100 * (median(times[True]) / median(times[False]) - 1),
        peak_gflops=limits.peak_gflops().value,
        read_gb_per_s=max(limits[f"read_{k}_gb_per_s"].value for k in (1, 4, 8)),
    )


def report(found: Forward) -> str:
    """The lines that the command prints."""
    import io

    text = io.StringIO()
    millions = found.shape.parameters / 1e6
    print(
        f"{millions:.0f}M weights as {found.kind}, {found.weight_bytes / 1e6:.0f} MB; batch {found.batch}, "
        f"{found.threads} thread{'s' if found.threads > 1 else ''}",
        f"prompt      {found.prompt_tokens_per_s:10.1f} tokens/s ({found.prompt} tokens at once)",
        f"generation  {found.tokens_per_s:10.1f} tokens/s (one at a time, {found.stats.count} passes)",
        sep="\n",
        file=text,
    )
    found.prompt_stats.print("prompt", file=text)
    found.stats.print("generation", file=text)
    per_entry = found.stats.section_overhead_ns() * sum(
        found.stats.entries(c) for c in ("forward_pass", *found.stats.components)
    )
    counted = per_entry / found.stats.count / 1e6 / found.stats.average().forward_pass_ms
    print(found.limits_table(), file=text)
    print(
        f"parts explain {found.closure:.1%} of generation; stopwatches cost {counted:.2%} of it by their number, "
        f"{found.overhead_percent:+.1f}% on against off, passes taken in turn",
        f"limits: {found.peak_gflops:.0f} GFLOP/s a core, {found.read_gb_per_s:.1f} GB/s read by one core",
        sep="\n",
        file=text,
    )
    return text.getvalue().rstrip()
