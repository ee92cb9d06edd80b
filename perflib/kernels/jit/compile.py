"""Compile every kernel here with one decorator and one set of floating-point permissions."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from numba import njit

FASTMATH = {"reassoc", "nsz", "contract", "arcp"}
"""Reordered sums, fused multiply-add, reciprocals; NaN and infinity stay what they are (no nnan, no ninf)."""

SOURCES = sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))).hexdigest()


def compiled(function: Callable | None = None, **options: object) -> Callable:
    """Compile for the machine it runs on, code from the cache where every source of `kernels` is what it was.

    Numba alone looks at the file of the function: an edited callee or intrinsic in another one would leave stale code.
    """
    if function is None:
        return lambda function: compiled(function, **options)
    return stamped(function, SOURCES, fastmath=FASTMATH, error_model="numpy", **options)


def stamped(function: Callable, stamp: str, **options: object) -> Callable:
    """Compile, code from the cache where its stamp is this one."""
    dispatcher = njit(cache=True, **options)(function)
    if dispatcher is not function:  # with NUMBA_DISABLE_JIT it is
        file = dispatcher._cache._cache_file
        file._source_stamp = (*file._source_stamp, stamp)
    return dispatcher
