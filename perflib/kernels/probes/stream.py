"""Measure how fast one core reads, writes and copies memory, by explicit vectors and by a plain loop.

    read(x, streams)            sum of x, from 1, 2, 4 or 8 places at a time: each is a stream for the prefetchers
    write(value, out)           out = value             write_nt    the same past the caches
    copy(x, out)                out = x                 copy_nt
    triad(b, c, out)            out = b + 3 c           triad_nt    (McCalpin's STREAM)
    strided_read(x, stride)     sum of x[::stride], element by element
    copy_loop(x, out)           copy by a plain compiled loop of loads and stores
    read_lines(memory)          the sum of one byte per cache line: touches all of it, computes next to nothing

Contract: arrays are one-dimensional, of one floating dtype and length, C-contiguous, and do not overlap; memory is bytes. A
plain store first fetches the line that it will overwrite (write allocate); a non-temporal one does not, and leaves
nothing behind in the caches: its output must start on a boundary of 64 bytes. An underscore marks the compiled kernel.

Raises TypeError or ValueError naming the argument, the requirement and the value.
"""

from collections.abc import Callable

import numpy as np

from ..caches import LINE_BYTES
from ..checks import positive_integer, vectors
from ..jit.compile import compiled
from ..jit.simd import fence, fma, lanes, load, pointer, splat, store, stream, total

STREAMS = (1, 2, 4, 8)
FACTOR = 3.0
"""Of the triad, as in STREAM."""


@compiled
def _read(x, streams):
    """(n,) -> sum; eight sums in flight whatever the number of streams, so that only the addresses differ."""
    step = lanes(x)
    blocks = x.size // (8 * step)
    segment, each = blocks * 8 * step // streams, 8 // streams * step
    p0, p1 = _lane(x, 0, streams, segment), _lane(x, 1, streams, segment)
    p2, p3 = _lane(x, 2, streams, segment), _lane(x, 3, streams, segment)
    p4, p5 = _lane(x, 4, streams, segment), _lane(x, 5, streams, segment)
    p6, p7 = _lane(x, 6, streams, segment), _lane(x, 7, streams, segment)
    s0, s1, s2, s3 = splat(0, x), splat(0, x), splat(0, x), splat(0, x)
    s4, s5, s6, s7 = splat(0, x), splat(0, x), splat(0, x), splat(0, x)
    for i in range(0, blocks * each, each):
        s0, s1, s2, s3 = s0 + load(p0, i), s1 + load(p1, i), s2 + load(p2, i), s3 + load(p3, i)
        s4, s5, s6, s7 = s4 + load(p4, i), s5 + load(p5, i), s6 + load(p6, i), s7 + load(p7, i)
    rest = x.dtype.type(0)
    for i in range(blocks * 8 * step, x.size):
        rest += x[i]
    return total(((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))) + rest


@compiled
def _lane(x, number, streams, segment):
    """Where load `number` of eight begins: the streams take turns, further loads follow on within a stream."""
    return pointer(x, number % streams * segment + number // streams * lanes(x))


@compiled(inline="always")
def _put(out, i, v, past):
    if past:
        stream(out, i, v)
    else:
        store(out, i, v)


def _stores(past: bool) -> tuple[Callable, Callable, Callable]:
    """Compile write, copy and triad by plain stores, or by stores past the caches."""

    @compiled
    def write(value, out):
        """-> (n,)"""
        step, v = lanes(out), splat(value, out)
        whole = out.size - out.size % step
        for i in range(0, whole, step):
            _put(out, i, v, past)
        for i in range(whole, out.size):
            out[i] = value
        if past:
            fence()

    @compiled
    def copy(x, out):
        """(n,) -> (n,)"""
        step = lanes(x)
        whole = x.size - x.size % step
        for i in range(0, whole, step):
            _put(out, i, load(x, i), past)
        for i in range(whole, x.size):
            out[i] = x[i]
        if past:
            fence()

    @compiled
    def triad(b, c, out):
        """(n,), (n,) -> (n,)"""
        step, factor = lanes(b), splat(FACTOR, b)
        whole = b.size - b.size % step
        for i in range(0, whole, step):
            _put(out, i, fma(load(c, i), factor, load(b, i)), past)
        for i in range(whole, b.size):
            out[i] = b[i] + b.dtype.type(FACTOR) * c[i]
        if past:
            fence()

    return write, copy, triad


_write, _copy, _triad = _stores(past=False)
_write_nt, _copy_nt, _triad_nt = _stores(past=True)


@compiled
def _strided_read(x, stride):
    """(n,) -> sum of x[::stride]; four sums, so that additions do not wait for each other"""
    s0 = s1 = s2 = s3 = x.dtype.type(0)
    whole = x.size - 3 * stride
    i = 0
    while i < whole:
        s0, s1, s2, s3 = s0 + x[i], s1 + x[i + stride], s2 + x[i + 2 * stride], s3 + x[i + 3 * stride]
        i += 4 * stride
    while i < x.size:
        s0 += x[i]
        i += stride
    return (s0 + s1) + (s2 + s3)


@compiled
def _copy_loop(x, out):
    """(n,) -> (n,)"""
    for i in range(x.shape[0]):
        out[i] = x[i]


@compiled
def _read_lines(memory):
    """(n,) -> sum of memory[::64]"""
    total_ = 0
    for i in range(0, memory.shape[0], LINE_BYTES):
        total_ += memory[i]
    return total_


def read(x: np.ndarray, streams: int = 1) -> float:
    """Sum of x. streams: 1, 2, 4 or 8 equal parts are read side by side."""
    vectors(x=x)
    if streams not in STREAMS:
        raise ValueError(f"streams must be one of {', '.join(map(str, STREAMS))}, got {streams}")
    return _read(x, streams)


def write(value: float, out: np.ndarray) -> np.ndarray:
    """Fill out with value."""
    vectors(out=out)
    _write(value, out)
    return out


def write_nt(value: float, out: np.ndarray) -> np.ndarray:
    """Fill out with value by non-temporal stores."""
    vectors(out=out, aligned=LINE_BYTES)
    _write_nt(value, out)
    return out


def copy(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Copy x into out."""
    vectors(x=x, out=out)
    _copy(x, out)
    return out


def copy_nt(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Copy x into out by non-temporal stores."""
    vectors(x=x, out=out, aligned=LINE_BYTES)
    _copy_nt(x, out)
    return out


def triad(b: np.ndarray, c: np.ndarray, out: np.ndarray) -> np.ndarray:
    """out = b + 3 c."""
    vectors(b=b, c=c, out=out)
    _triad(b, c, out)
    return out


def triad_nt(b: np.ndarray, c: np.ndarray, out: np.ndarray) -> np.ndarray:
    """out = b + 3 c by non-temporal stores."""
    vectors(b=b, c=c, out=out, aligned=LINE_BYTES)
    _triad_nt(b, c, out)
    return out


def strided_read(x: np.ndarray, stride: int) -> float:
    """Sum of every stride-th element of x, from the first on."""
    vectors(x=x)
    return _strided_read(x, positive_integer("stride", stride))


def copy_loop(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Copy x into out, element by element. Raises ValueError where the shapes differ."""
    if x.shape != out.shape:
        raise ValueError(f"out must have shape {x.shape}, got {out.shape}")
    _copy_loop(x, out)
    return out


def read_lines(memory: np.ndarray) -> int:
    """Sum of the first byte of every 64. Raises TypeError unless memory holds unsigned bytes."""
    if memory.dtype != np.uint8:
        raise TypeError(f"memory must be uint8, got {memory.dtype}")
    return _read_lines(memory)
