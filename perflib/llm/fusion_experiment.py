"""Measure what fusing gains a decoder and what its stopwatches cost: the same work in two ways, in turn.

    QKV             one multiplication for queries, keys and values, against three
    gate and up     one multiplication for both, against two
    residual        added where the result of the last layer is stored, against a pass of its own
    SwiGLU          one pass in registers, against NumPy's expression
    RMS norm        two passes in registers, against the four loops of the textbook

Weights come from all layers, so from as far away as in a pass. Times are those of calls from Python, as in a pass.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise

import numpy as np

from ..kernels.buffers import aligned_random, huge_empty
from ..kernels.decoder.layers import NEVER, _swiglu
from ..kernels.decoder.linear import _linear
from ..kernels.decoder.panels import PANEL
from ..kernels.probes.stream import _read
from ..kernels.rmsnorm.fast import _rms_norm
from ..kernels.rmsnorm.textbook import _rms_norm_standard
from ..performance_stats import PerformanceStats
from ..timer import Clock, Timer
from .decoder import Decoder, statistics

Run = Callable[[], None]
WAYS = ("fused", "apart")
READ_BYTES = 256 << 20
STREAMS = (1, 4, 8)


def alternatives(decoder: Decoder, new: int) -> dict[str, dict[str, Run]]:
    """Runs over `new` rows through every layer. The weights of layers that are apart are parts of the packed ones.

    Raises ValueError for a shape whose heads or layers do not fill whole panels: the parts could not be separated.
    """
    shape, blocks, eps = decoder.shape, decoder.blocks, decoder.shape.layer_norm_rms_epsilon
    width, queries, keys, inner = shape.embedding_length, shape.query_length, shape.key_length, shape.feed_forward_length
    x, summand, normed, hidden, qkv, both = _random(new, width, width, width, inner, queries + 2 * keys, 2 * inner)
    three, two = _random(new, queries, keys, keys), _random(new, inner, inner)

    def linear(data: np.ndarray, source: np.ndarray, out: np.ndarray, add: bool = False) -> tuple:
        return _linear, data, source, out, add, 1

    norms = [(x, block.attn_norm, eps, normed) for block in blocks]
    steps = {
        "QKV": (
            [linear(block.attn_qkv, normed, qkv) for block in blocks],
            [linear(data, normed, out) for b in blocks for data, out in _parts(b.attn_qkv, three)],
        ),
        "gate and up": (
            [linear(block.ffn_gate_up, normed, both) for block in blocks],
            [linear(data, normed, out) for b in blocks for data, out in _parts(b.ffn_gate_up, two)],
        ),
        "residual": (
            [linear(block.ffn_down, hidden, x, True) for block in blocks],
            [step for b in blocks for step in (linear(b.ffn_down, hidden, summand), (np.add, x, summand, x))],
        ),
        "SwiGLU": ([(_swiglu, both, hidden)] * len(blocks), [(_swiglu_by_numpy, both, hidden)] * len(blocks)),
        "RMS norm": ([(_rms_norm, *norm, NEVER) for norm in norms], [(_rms_norm_standard, *norm) for norm in norms]),
    }
    return {name: {way: _run(s) for way, s in zip(WAYS, both_ways, strict=True)} for name, both_ways in steps.items()}


def stopwatch_runs(decoder: Decoder, context: int, batch: int = 1, threads: int = 1) -> dict[str, dict[str, Run]]:
    """A pass of one token of each sequence at `context`, its stopwatches switched off and on."""
    cache, token = decoder.cache(batch, context), np.zeros((batch, 1), np.int64)

    def run(stats: PerformanceStats) -> None:
        cache.length = context - 1
        decoder.forward(token, cache, stats, threads)

    return {"stopwatches": {way: partial(run, statistics(enabled=way == "on")) for way in ("off", "on")}}


def reads() -> dict[str, dict[str, Run]]:
    """Memory larger than the caches, on pages as the weights have them."""
    memory = huge_empty((READ_BYTES // 4,), np.float32)
    memory.fill(1)
    return {"read": {str(streams): partial(_read, memory, streams) for streams in STREAMS}}


def in_turn(
    runs: Mapping[str, Mapping[str, Run]], rounds: int, seed: int = 0, clock: Clock = time.perf_counter_ns
) -> Iterator[tuple[int, int, str, str, int]]:
    """Time every way once per round, in an order drawn anew; one round that is not counted warms up."""
    rng = np.random.default_rng(seed)
    every_run = [(name, way, run) for name, ways in runs.items() for way, run in ways.items()]
    for number in range(-1, rounds):
        for position, index in enumerate(rng.permutation(len(every_run))):
            name, way, run = every_run[index]
            timer = Timer(clock)
            run()
            elapsed_ns = timer.elapsed_ns()
            if number >= 0:
                yield number, position, name, way, elapsed_ns


def _run(steps: list[tuple]) -> Run:
    def run() -> None:
        for kernel, *args in steps:
            kernel(*args)

    return run


def _random(rows: int, *widths: int) -> list[np.ndarray]:
    """Numbers around 0: what is left in fresh memory may be slower ones."""
    rng = np.random.default_rng(0)
    return [aligned_random((rows, width), np.float32, rng) for width in widths]


def _parts(data: np.ndarray, outs: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Panels of a packed weight for each of the outputs that it has side by side."""
    widths = [out.shape[1] for out in outs]
    if any(width % PANEL for width in widths):
        raise ValueError(f"layers must be multiples of {PANEL} wide to be taken apart, got {widths}")
    ends = np.cumsum([0, *widths]) // PANEL
    return [(data[first:last], out) for (first, last), out in zip(pairwise(ends), outs, strict=True)]


def _swiglu_by_numpy(both: np.ndarray, out: np.ndarray) -> None:
    gate, up = both[:, : out.shape[1]], both[:, out.shape[1] :]
    np.multiply(gate / (1 + np.exp(-gate)), up, out=out)
