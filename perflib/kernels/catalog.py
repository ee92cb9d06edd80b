"""Describe the built-in kernels in the same way as a user describes another kernel.

KERNELS             every built-in description by name
find(name)          one description, a registered one too; also by its callable
known()             all of them, registered ones too
register(kernel)    make a description known by name and callable; the last one of a name counts
"""

from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np

from . import peers
from .buffers import aligned_empty, aligned_random
from .description import Kernel
from .gemm import blocked
from .gemm import fast as gemm_fast
from .gemm import textbook as gemm_textbook
from .memory_catalog import TRAFFIC
from .peers import LIBRARIES
from .probes import peak, stream
from .rmsnorm import fast as norm_fast
from .rmsnorm import textbook as norm_textbook

TEXTBOOK_VARIANTS = ("matmul_naive", "matmul_tiled", "matmul_tiled_vectorised", "matmul_ikj")
MATMUL_VARIANTS = (*TEXTBOOK_VARIANTS, "matmul_register_blocked", "matmul_packed", "matmul")
LIBRARY_MATMULS = tuple(f"{name}_matmul" for name in LIBRARIES)
RMSNORM_VARIANTS = ("rms_norm_standard", "rms_norm_fast", "rms_norm")


def _bytes(n: int, rng: np.random.Generator) -> np.ndarray:
    array = aligned_empty(n, np.uint8)
    array[...] = rng.integers(0, 256, n)
    return array


def _matmul_exact(a: np.ndarray, b: np.ndarray, out: np.ndarray, *tile: int) -> tuple[np.ndarray, np.ndarray]:
    """|C - C64| <= (K + 2) eps |A| |B| for any order of summation (Higham, Accuracy and Stability, section 3.5)."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    return a64 @ b64, (a.shape[1] + 2) * np.finfo(a.dtype).eps * (abs(a64) @ abs(b64))


def _rms_inputs(n: int, dtype: str, rng: np.random.Generator, rows: int) -> tuple:
    return aligned_random((rows, n), dtype, rng), aligned_random(n, dtype, rng), 1e-5, aligned_empty((rows, n), dtype)


def _rms_exact(x: np.ndarray, weight: np.ndarray, eps: float, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relative (n / 16 + 16) eps: sixteen partial sums of n / 16 terms, then a handful of roundings."""
    x64 = x.astype(np.float64)
    exact = x64 / np.sqrt(np.mean(x64 * x64, axis=-1, keepdims=True) + eps) * weight
    return exact, (x.shape[-1] / 16 + 16) * np.finfo(x.dtype).eps * abs(exact)


def _numpy_rms_norm(x: np.ndarray, weight: np.ndarray, eps: float, out: np.ndarray) -> np.ndarray:
    """What one writes without a compiler: RMS norm as a NumPy expression."""
    np.multiply(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + x.dtype.type(eps)), weight, out=out)
    return out


def _peak(name: str, call: Callable, compiled: Callable, bits: int | None = None) -> Kernel:
    def make(n: int, dtype: str, rng: np.random.Generator) -> tuple:
        return np.full(1, 0.5, dtype), peak.fma_steps(n, dtype, bits), aligned_empty(1, dtype)

    work = {"flops": lambda n: 2 * n, "bytes": lambda n, itemsize: 0, "placement": "own"}
    return Kernel(name, call, make, compiled=compiled, exact=lambda *args: (np.ones(1), 1e-6), output=2, **work)


_matmul = partial(
    Kernel,
    make=lambda n, dtype, rng: (*(aligned_random((n, n), dtype, rng) for _ in range(2)), aligned_empty((n, n), dtype)),
    exact=_matmul_exact,
    output=2,
    flops=lambda n: 2 * n**3,
    bytes=lambda n, itemsize: 3 * n * n * itemsize,
)
_rms = partial(
    Kernel,
    make=_rms_inputs,
    exact=_rms_exact,
    output=3,
    params={"rows": 1},
    unchecked=lambda x, weight, eps, out: (x.reshape(-1, weight.size), weight, eps, out.reshape(-1, weight.size)),
    flops=lambda n, rows: 4 * n * rows,
    bytes=lambda n, itemsize, rows: (2 * rows + 1) * n * itemsize,
)
_copy = partial(
    Kernel,
    make=lambda n, dtype, rng: (aligned_random(n, dtype, rng), aligned_empty(n, dtype)),
    exact=lambda x, out: (x, 0.0),
    output=1,
    flops=lambda n: 0,
    bytes=lambda n, itemsize: 2 * n * itemsize,
)
_lines = partial(
    Kernel,
    make=lambda n, dtype, rng: (_bytes(n, rng),),
    exact=lambda x: (np.array(int(x[::64].sum())), 0.0),
    flops=lambda n: 0,
    bytes=lambda n, itemsize: n,
)


def _numpy_copy(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    np.copyto(out, x)
    return out


_blocks = {"mc": 0, "kc": 0, "nc": 0}  # 0: the model's
_tile = {"tile": gemm_textbook.DEFAULT_TILE}


def _ours(describe: Callable[..., Kernel], module: ModuleType, name: str, **more: object) -> Kernel:
    """A kernel of a module of ours: the public function of this name, and the compiled one with an underscore."""
    return describe(name, getattr(module, name), compiled=getattr(module, f"_{name}"), **more)


_kernels = (
    _ours(_matmul, gemm_textbook, "matmul_naive"),
    _ours(_matmul, gemm_textbook, "matmul_ikj"),
    _ours(_matmul, gemm_textbook, "matmul_tiled", tuning=_tile),
    _ours(_matmul, gemm_textbook, "matmul_tiled_vectorised", tuning=_tile),
    _ours(_matmul, blocked, "matmul_register_blocked"),
    _ours(_matmul, blocked, "matmul_packed", unchecked=blocked.unchecked, tuning=_blocks),
    _ours(_matmul, gemm_fast, "matmul", unchecked=gemm_fast.unchecked),
    _matmul("numpy_matmul", np.matmul),
    _matmul("mkl_matmul", peers.perform, native=peers.mkl_matmul),
    _matmul("torch_matmul", peers.perform, native=peers.torch_matmul),
    _ours(_rms, norm_textbook, "rms_norm_standard"),
    _ours(_rms, norm_textbook, "rms_norm_fast"),
    _ours(_rms, norm_fast, "rms_norm", unchecked=norm_fast.unchecked),
    _rms("numpy_rms_norm", _numpy_rms_norm),
    _rms("torch_rms_norm", peers.perform, native=peers.torch_norm, output=None),
    _ours(_copy, stream, "copy_loop"),
    _copy("numpy_copy", _numpy_copy),
    _ours(_lines, stream, "read_lines"),
    *TRAFFIC,
    _peak("fma_peak", peak.fma_peak, peak._fma_peak_steps),
    *(_peak(f"fma_peak_{bits or 'scalar'}", code, code, bits) for bits, code in peak.WIDTHS.items()),
)
KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in _kernels}


def find(kernel: str | Callable) -> Kernel | None:
    """The description with this name or callable; None for a callable without one.

    Raises ValueError for an unknown name.
    """
    if isinstance(kernel, str):
        if kernel not in known():
            raise ValueError(f"kernel must be one of {', '.join(known())}; got {kernel!r}")
        return known()[kernel]
    return next((k for k in known().values() if kernel is not None and kernel in (k.call, k.compiled)), None)


_registered: dict[str, Kernel] = {}


def known() -> dict[str, Kernel]:
    """Every description, built in or registered, by name."""
    return KERNELS | _registered


def register(kernel: Kernel) -> None:
    """Let `find` know a description that is not built in."""
    _registered[kernel.name] = kernel
