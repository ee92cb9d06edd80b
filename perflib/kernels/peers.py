"""Call matrix multiplications and norms of other libraries, where these are installed.

The timed part excludes handing over the arrays, because a program that uses the library throughout does it once: PyTorch
gets tensors on their memory, MKL their addresses by ctypes. Raises `ModuleNotFoundError`, one line, if a library is absent.
"""

import ctypes
import operator
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = {"numpy": "NumPy", "mkl": "MKL", "torch": "PyTorch"}
"""What the libraries are called, by the prefix of the names of their kernels."""

perform = partial(operator.call)
"""perform(function, *arguments), in C: a frame of Python's would cost a tenth of a microsecond."""

MKL_LP64, MKL_SEQUENTIAL = 0, 1
ROW_MAJOR, IN_ROWS, IN_COLUMNS = 101, 111, 112  # of the CBLAS interface: no transpose, transpose
GEMM = {"float32": ("cblas_sgemm", ctypes.c_float), "float64": ("cblas_dgemm", ctypes.c_double)}


def installed() -> dict[str, str]:
    """Versions of the libraries that are here, without loading any but MKL."""
    versions = {"numpy": np.__version__}
    if _mkl_file():
        versions["mkl"] = _mkl_version()
    with suppress(PackageNotFoundError):
        versions["torch"] = version("torch")
    return versions


def mkl_matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> tuple[Any, ...]:
    """cblas_sgemm or cblas_dgemm with its fourteen arguments, each converted once: 0.6 us a call instead of 1.5."""
    name, real = GEMM[a.dtype.name]
    (m, k), n = a.shape, b.shape[1]
    left, right, result = (array.ctypes.data_as(ctypes.c_void_p) for array in (a, b, out))  # each keeps its array alive
    (a_lies, lda), (b_lies, ldb) = _stored(a), _stored(b)
    layout = ROW_MAJOR, a_lies, b_lies, m, n, k
    return getattr(mkl(), name), *layout, real(1), left, lda, right, ldb, real(0), result, max(n, 1)


def _stored(x: np.ndarray) -> tuple[int, int]:
    """How CBLAS calls the layout of a contiguous matrix, and elements from one row, or column, to the next."""
    return (IN_ROWS, max(x.shape[1], 1)) if x.flags.c_contiguous else (IN_COLUMNS, max(x.shape[0], 1))


def torch_matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> tuple[Callable, ...]:
    """torch.mm with `out`, on the memory of the arrays."""
    torch = _torch()
    left, right, result = map(torch.from_numpy, (a, b, out))
    return partial(torch.mm, out=result), left, right


def torch_norm(x: np.ndarray, weight: np.ndarray, eps: float, out: np.ndarray) -> tuple[Any, ...]:
    """torch.nn.functional.rms_norm on the memory of the arrays; it takes no `out` and returns a new tensor."""
    torch = _torch()
    return torch.nn.functional.rms_norm, torch.from_numpy(x), (x.shape[-1],), torch.from_numpy(weight), eps


@cache
def mkl() -> ctypes.CDLL:
    """MKL with 32-bit sizes and without threads of its own."""
    file = _mkl_file()
    if file is None:
        raise ModuleNotFoundError("MKL must be installed for this; pip install 'perflib[peers]'")
    library = ctypes.CDLL(str(file))
    library.MKL_Set_Interface_Layer(MKL_LP64)
    library.MKL_Set_Threading_Layer(MKL_SEQUENTIAL)
    return library


def _mkl_file() -> Path | None:
    """Where the package `mkl` of PyPI and of conda puts its one entry."""
    return next(iter(sorted(Path(sys.prefix, "lib").glob("libmkl_rt.*"))), None)


def _mkl_version() -> str:
    text = ctypes.create_string_buffer(200)
    mkl().MKL_Get_Version_String(text, len(text))
    match = re.search(rb"Version (\S+?)-", text.value)
    return match[1].decode() if match else "unknown"


def _torch() -> Any:
    try:
        import torch  # the extra `peers`
    except ModuleNotFoundError:
        raise ModuleNotFoundError("PyTorch must be installed for this; pip install 'perflib[peers]'") from None
    return torch
