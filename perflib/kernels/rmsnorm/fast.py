"""Compute the RMS norm fast: the two passes of `rms_norm_fast` in explicit vectors, with what a decoder needs.

It adds to `rms_norm_fast`, in the order of their gain:

    four independent sums       the first pass waits for loads, not for the multiply-add before
    full vectors                half as many instructions where LLVM would choose 256 bits
    the residual fused in       x + residual is used where it is made, instead of going to memory and back
    streaming stores            an output that no cache holds is not read before it is written: two thirds of the traffic
    no overflow                 a row whose squares leave the range is done again, scaled; others do not pay for that

Work: 4 flops an element; bytes: x read, out written, weight once (and the residual read and written).

    >>> import numpy as np
    >>> rms_norm(np.array([3.0, 4.0]), np.ones(2), eps=0.5)
    array([0.83205029, 1.10940039])

Relative error at most (n / 16 + 16) eps. NaN propagates within its row; an infinite element gives NaN and the others of its
row 0. Raises `TypeError` or `ValueError` naming the argument, the requirement and the value. Source: Zhang and Sennrich,
Root Mean Square Layer Normalization, NeurIPS 2019, equation 4.
"""

from functools import cache

import numpy as np
from numba import config, types

from ..caches import data_caches, reported_caches
from ..checks import norm
from ..jit.compile import compiled
from ..jit.dispatch import DONE, REFUSED, array_type, check_threads, in_threads, overlap, plain, prepare
from ..jit.simd import (
    address,
    fence,
    fma,
    item_bytes,
    lanes,
    load,
    load_first,
    pointer,
    prefetch_far,
    splat,
    store,
    store_first,
    stream,
    total,
)
from .textbook import _rms_norm_fast

PAGE = 4096


@compiled(inline="always")
def _squares(x, residual, fused, n, streaming):
    """Sum of squares of a row; fused: of x + residual, left in residual. streaming: prefetches the next row meanwhile."""
    step = lanes(x)
    sum0, sum1, sum2, sum3 = splat(0, x), splat(0, x), splat(0, x), splat(0, x)
    j = 0
    if fused:
        while j + step <= n:
            if streaming:
                prefetch_far(x, n + j)
                prefetch_far(residual, n + j)
            v = load(x, j) + load(residual, j)
            store(residual, j, v)
            sum0, sum1, sum2, sum3 = sum1, sum2, sum3, fma(v, v, sum0)
            j += step
        if j < n:
            v = load_first(x, j, n - j) + load_first(residual, j, n - j)
            store_first(residual, j, v, n - j)
            sum0 = fma(v, v, sum0)
    else:
        while streaming and j + step <= n:
            prefetch_far(x, n + j)
            v = load(x, j)
            sum0, sum1, sum2, sum3 = sum1, sum2, sum3, fma(v, v, sum0)
            j += step
        while j + 4 * step <= n:
            v0, v1, v2, v3 = load(x, j), load(x, j + step), load(x, j + 2 * step), load(x, j + 3 * step)
            sum0, sum1, sum2, sum3 = fma(v0, v0, sum0), fma(v1, v1, sum1), fma(v2, v2, sum2), fma(v3, v3, sum3)
            j += 4 * step
        while j + step <= n:
            v = load(x, j)
            sum0 = fma(v, v, sum0)
            j += step
        if j < n:
            v = load_first(x, j, n - j)
            sum0 = fma(v, v, sum0)
    return total((sum0 + sum1) + (sum2 + sum3))


@compiled(inline="always")
def _alias(out, x):
    """Bytes by which x lags behind out in the last 12 bits of their addresses, 1 ... 4096."""
    return (address(out) - address(x) - 1) % PAGE + 1


@compiled(inline="always")
def _scale(x, weight, scale, out, n):
    """out = x scale weight for a row.

    A load waits for an earlier store whose address agrees with its own in the last 12 bits. Four loads before four stores,
    and from the end of the row where loads going up would soon come to where stores just were: up to twice as fast.
    """
    step, factor = lanes(x), splat(scale, x)
    four = 4 * step
    up = min(_alias(out, x), _alias(out, weight)) >= min(_alias(x, out), _alias(weight, out))
    whole = n // four * four
    j, move = (0, four) if up else (whole - four, -four)
    for _ in range(whole // four):
        j1, j2, j3 = j + step, j + 2 * step, j + 3 * step
        v0, v1 = load(x, j) * factor * load(weight, j), load(x, j1) * factor * load(weight, j1)
        v2, v3 = load(x, j2) * factor * load(weight, j2), load(x, j3) * factor * load(weight, j3)
        store(out, j, v0)
        store(out, j1, v1)
        store(out, j2, v2)
        store(out, j3, v3)
        j += move
    for rest in range(whole, n, step):
        v = load_first(x, rest, n - rest) * factor * load_first(weight, rest, n - rest)
        store_first(out, rest, v, n - rest)


@compiled(inline="always")
def _scale_past_caches(x, row, weight, scale, out, n, fused):
    """out = row scale weight past the caches. row is x, or x + residual; n is a multiple of a vector, out on its boundary.

    The first pass prefetched the next row. This one prefetches the lines half a row behind it, so memory is never idle:
    with no prefetch, or one into the first level, it came to nine tenths and to two thirds of a copy's bandwidth. With a
    residual two rows come and one goes back meanwhile, and prefetching all of the row after the next is best.
    """
    factor, ahead = splat(scale, x), (2 * n if fused else n + n // 2)
    for j in range(0, n, lanes(x)):
        prefetch_far(x, ahead + j)
        if fused:
            prefetch_far(row, ahead + j)
        stream(out, j, load(row, j) * factor * load(weight, j))


@compiled
def _normalise_far(x, weight, eps, out, n):
    """A row whose squares overflow, vanish or are not numbers: everything relative to its largest element, in float64."""
    largest = np.sqrt(eps)
    for j in range(n):
        largest = max(largest, abs(np.float64(x[j])))
    if not 0 < largest < np.inf:  # all zeros, or an infinity: nothing to scale by
        scale = 1.0 if largest == 0 else 0.0
        for j in range(n):
            out[j] = x[j] * scale * weight[j]
        return
    mean = (np.sqrt(eps) / largest) ** 2
    for j in range(n):
        mean += (x[j] / largest) ** 2 / n
    scale = 1 / np.sqrt(mean)
    for j in range(n):
        out[j] = x[j] / largest * scale * weight[j]


@compiled(inline="always")
def _normalise(x, weight, eps, out, residual, fused, n, units, first, last, streaming):
    """Rows first ... last; x, out and residual are pointers to rows of n, weight to one; units: 1, 1 / n, eps in dtype."""
    one, inverse, small = units
    for r in range(first, last):
        source, row, result = pointer(x, r * n), pointer(residual, r * n), pointer(out, r * n)
        mean = _squares(source, row, fused, n, streaming) * inverse + small
        if not fused:
            row = source
        if not 1e-30 < mean < 1e38:  # where float32 overflows or loses digits; float64 rows beyond are rare too
            _normalise_far(row, weight, eps, result, n)
        elif streaming:
            _scale_past_caches(source, row, weight, one / np.sqrt(mean), result, n, fused)
        else:
            _scale(row, weight, one / np.sqrt(mean), result, n)
    if streaming:
        fence()


@compiled(inline="always")
def _streams(out, count, n, stream_bytes):
    """Whether the output is larger than the caches, and each of its rows on a boundary of a vector."""
    vector = lanes(out) * item_bytes(out)
    return count * n * item_bytes(out) > stream_bytes and address(out) % vector == 0 and n % lanes(out) == 0


@compiled(nogil=True)
def _rms_norm(x, weight, eps, out, stream_bytes):
    """(n,) or (rows, n), (n,) -> like x; says whether the arguments were such that it did."""
    x_, weight_, out_ = pointer(x, 0), pointer(weight, 0), pointer(out, 0)
    n, size, fits = weight.size, x.size, x.shape[-1] == weight.size and x.shape == out.shape
    if not (fits and 0 <= eps < np.inf) or overlap(out_, size, x_, size) or overlap(out_, size, weight_, n):
        return REFUSED
    count = (size // n if n else 0) if x.ndim > 1 else 1
    units = x.dtype.type(1), x.dtype.type(1 / max(n, 1)), x.dtype.type(eps)
    _normalise(x_, weight_, eps, out_, x_, False, n, units, 0, count, _streams(out_, count, n, stream_bytes))
    return DONE


@compiled(nogil=True)
def _rms_norm_residual(x, weight, eps, out, residual, stream_bytes):
    """The same of x + residual, which is left in residual."""
    x_, weight_, out_, sum_ = pointer(x, 0), pointer(weight, 0), pointer(out, 0), pointer(residual, 0)
    n, size, fits = weight.size, x.size, x.shape[-1] == weight.size and x.shape == out.shape == residual.shape
    if not (fits and 0 <= eps < np.inf) or overlap(out_, size, x_, size) or overlap(out_, size, weight_, n):
        return REFUSED
    if overlap(sum_, size, out_, size) or overlap(sum_, size, x_, size) or overlap(sum_, size, weight_, n):
        return REFUSED
    count = (size // n if n else 0) if x.ndim > 1 else 1
    units = x.dtype.type(1), x.dtype.type(1 / max(n, 1)), x.dtype.type(eps)
    _normalise(x_, weight_, eps, out_, sum_, True, n, units, 0, count, _streams(out_, count, n, stream_bytes))
    return DONE


@compiled(nogil=True)
def _rms_norm_share(t, x, weight, eps, out, residual, fused, stream_bytes, threads):
    """Both, the rows of thread t; x, out and residual are flat, residual is x where there is none."""
    n = weight.size
    count = x.size // n if n else 0
    slab = -(-count // threads)
    units = x.dtype.type(1), x.dtype.type(1 / max(n, 1)), x.dtype.type(eps)
    x_, weight_, out_, sum_ = pointer(x, 0), pointer(weight, 0), pointer(out, 0), pointer(residual, 0)
    streaming, last = _streams(out_, count, n, stream_bytes), min(count, (t + 1) * slab)
    _normalise(x_, weight_, eps, out_, sum_, fused, n, units, t * slab, last, streaming)


def rms_norm(
    x: np.ndarray,
    weight: np.ndarray,
    eps: float = 1e-5,
    out: np.ndarray | None = None,
    residual: np.ndarray | None = None,
    threads: int = 1,
) -> np.ndarray:
    """RMS norm of each row of x, or of x + residual, which is then left in `residual`.

    x: n or rows x n, float32 or float64, any layout; weight: n; eps >= 0; out, residual: like x, C-contiguous; out is
    new if None. threads: cores that share the rows. The first call for a dtype compiles, or loads the code from the cache.
    """
    if out is not None and type(threads) is int and threads == 1:
        try:
            if residual is None:
                status = _rms_norm(x, weight, eps, out, *ALONE)
            else:
                status = _rms_norm_residual(x, weight, eps, out, residual, *FUSED)
        except TypeError:  # of a type it is not compiled for
            status = REFUSED
        if status == DONE:
            return out
    return _any(x, weight, eps, out, residual, threads)


def _any(x: object, weight: object, eps: object, out: object, residual: object, threads: object) -> np.ndarray:
    """The long way: everything checked in Python, inputs of other layouts copied, code compiled where it is not yet."""
    threads = check_threads(threads)
    out = norm(x, weight, eps, out, residual)
    x, weight, eps = plain(x), plain(weight), float(eps)
    if config.DISABLE_JIT:
        if residual is not None:
            x = np.add(x, residual, out=residual)
        _rms_norm_fast(np.atleast_2d(x), weight, eps, np.atleast_2d(out))
        return out
    _prepare(fused := residual is not None, x.dtype)
    if threads > 1:
        flat = (array.reshape(-1) for array in (out, residual if fused else x))
        in_threads(_rms_norm_share, threads, x.reshape(-1), weight, eps, *flat, fused, stream_bytes(), threads)
    elif fused:
        _rms_norm_residual(x, weight, eps, out, residual, stream_bytes())
    else:
        _rms_norm(x, weight, eps, out, stream_bytes())
    return out


def _prepare(fused: bool, dtype: np.dtype) -> None:
    """Have the code for a dtype: the kernels are closed to every other one."""
    global ALONE, FUSED
    if config.DISABLE_JIT or (fused, dtype) in PREPARED:
        return
    line = array_type(dtype, 1)
    for rank in (1, 2):
        arrays = [array_type(dtype, rank)] * 2
        kernel = _rms_norm_residual if fused else _rms_norm
        prepare(kernel, (arrays[0], line, types.float64, *arrays[: 1 + fused], types.intp))
    if fused:
        FUSED = (stream_bytes(),)
    else:
        ALONE = (stream_bytes(),)
    PREPARED.add((fused, dtype))


def unchecked(x, weight, eps, out, residual=None, threads=1) -> tuple:
    """The arguments of `_rms_norm` from those of `rms_norm`, and code that takes them."""
    if residual is not None or threads != 1:
        raise ValueError(f"residual must be None and threads 1 in kernel scope, got threads {threads}; use scope='call'")
    _prepare(False, x.dtype)
    return x, weight, float(eps), out, stream_bytes()


@cache
def stream_bytes() -> int:
    """An output above this size is written past the caches: with as much input the largest cannot hold both."""
    return max((cache.size_bytes for cache in data_caches(reported_caches())), default=16 << 20) // 2


PREPARED: set[tuple[bool, np.dtype]] = set()
ALONE: tuple[int, ...] = ()  # `stream_bytes`; empty until `_rms_norm` is compiled and closed to other types
FUSED: tuple[int, ...] = ()  # the same of `_rms_norm_residual`
