"""Compile every kernel here with one decorator and one set of floating-point permissions."""

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

import numba
from numba import njit
from numba.core.caching import IndexDataCacheFile

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


class CheckedCode(IndexDataCacheFile):
    """Files of compiled code that say what they hold, for Numba numbers them: two processes that save at once can give one
    number to two signatures, and a call of the other signature's code jumps anywhere.
    """

    def save(self, key: tuple, data: tuple) -> None:
        super().save(key, (self._source_stamp, key, data))

    def load(self, key: tuple) -> tuple | None:
        stamp, held, data = super().load(key) or (None, None, None)
        return data if (stamp, held) == (self._source_stamp, key) else None


def stamped(function: Callable, stamp: str, **options: object) -> Callable:
    """Compile, code from the cache where its stamp is this one."""
    dispatcher = cached(function, **options)
    if dispatcher is not function:  # with NUMBA_DISABLE_JIT it is
        cache = dispatcher._cache
        source = (*cache._impl.locator.get_source_stamp(), stamp)
        cache._cache_file = CheckedCode(cache._cache_path, cache._impl.filename_base, source)
    return dispatcher


def cached(function: Callable, **options: object) -> Callable:
    """Compile and keep the code: beside its source, in the user's cache, or if neither may be in a temporary folder."""
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # Numba found no folder that it may write
        _keep_in_temporary_folder()
        return njit(cache=True, **options)(function)


@cache
def _keep_in_temporary_folder() -> None:
    """Let Numba keep code in a folder that ends with this process, and say so in one line."""
    folder = tempfile.mkdtemp(prefix="perflib-compiled-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = folder  # processes that are started here use it too
    logging.getLogger("perflib").warning(
        "perflib: no folder can be written to keep compiled code, so every start compiles anew; set NUMBA_CACHE_DIR to one"
    )
