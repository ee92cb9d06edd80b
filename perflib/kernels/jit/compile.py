"""Compile every kernel here with one decorator and one set of floating-point permissions."""

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

import numba
from numba import njit
from numba.core.caching import IndexDataCacheFile
from numba.core.typed_passes import _reload_parfors

FASTMATH = {"reassoc", "nsz", "contract", "arcp"}
"""Reordered sums, fused multiply-add, reciprocals; NaN and infinity stay what they are (no nnan, no ninf)."""

IN_PARALLEL = b"numba_parallel_for"
"""What object code calls to run in threads."""
SOURCES = sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))).hexdigest()


def compiled(function: Callable | None = None, **options: object) -> Callable:
    """Compile for the machine it runs on, code from the cache where every source of `kernels` is what it was.

    Numba alone looks at the file of the function: an edited callee or intrinsic in another one would leave stale code.
    """
    if function is None:
        return lambda function: compiled(function, **options)
    return cached(function, SOURCES, fastmath=FASTMATH, error_model="numpy", **options)


class CodeBySignature(IndexDataCacheFile):
    """One file of compiled code per signature, named after it, which says what it holds.

    Numba keeps an index per function and numbers the files: of two processes that save at once one loses its entry, so
    that the next process compiles again, or both give one number to two signatures, and a call runs the other one's code.

    Numba notes which code needs its threads, but forgets it for code whose parallel part came from the cache: that would
    call an address of 0. So what the object code asks for decides.
    """

    def save(self, key: tuple, data: tuple) -> None:
        self._save_data(self._name_of(key), (self._source_stamp, key, data))

    def load(self, key: tuple) -> tuple | None:
        with suppress(FileNotFoundError):
            stamp, held, data = self._load_data(self._name_of(key))
            if (stamp, held) == (self._source_stamp, key):
                if IN_PARALLEL in data[0][-1][0]:
                    _reload_parfors()
                return data
        return None

    def _name_of(self, key: tuple) -> str:
        return self._data_name(int(sha256(repr((self._version, key)).encode()).hexdigest()[:16], 16))


def cached(function: Callable, stamp: str = "", **options: object) -> Callable:
    """Compile, code from the cache where its source and its stamp are these.

    It is kept beside the source, else in the user's cache, else in a temporary folder.
    """
    try:
        dispatcher = njit(cache=True, **options)(function)
    except RuntimeError:  # Numba found no folder
        _use_temporary_folder()
        dispatcher = njit(cache=True, **options)(function)
    if dispatcher is not function:  # with NUMBA_DISABLE_JIT it is
        files = dispatcher._cache
        source = (*files._impl.locator.get_source_stamp(), stamp)
        files._cache_file = CodeBySignature(files._cache_path, files._impl.filename_base, source)
    return dispatcher


@cache
def _use_temporary_folder() -> None:
    """Let Numba keep code in a folder that ends with this process, and say so in one line."""
    folder = tempfile.mkdtemp(prefix="perflib-compiled-")
    atexit.register(_remove, folder, os.getpid())
    numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = folder  # processes that are started here use it too
    logging.getLogger("perflib").warning(
        "perflib: no folder for compiled code can be written, so every start compiles anew; set NUMBA_CACHE_DIR to one"
    )


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked process leaves it
        shutil.rmtree(folder, ignore_errors=True)
