"""Check the arguments of the public kernels, with errors of one line: argument, requirement and value.

Raise `TypeError` for a wrong kind or dtype, `ValueError` for a wrong shape, layout, value or overlap.
"""

import math
import numbers
from collections.abc import Container

import numpy as np

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
STACKED = range(2, 65)  # ranks of a stack of matrices, as many as NumPy has


def positive_integer(name: str, value: object) -> int:
    """`value` as int if it is an integer of at least 1 (a bool is not one)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer of at least 1, got {_one_line(value)}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)


def matrices(a: np.ndarray, b: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """Check C = A B for M x K times K x N; returns `out`, new where it was None."""
    _array("a", a, (2,))
    _array("b", b, (2,), a.dtype)
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"b must have {a.shape[1]} rows, as many as a has columns, got shape {b.shape}")
    return _output(out, (a.shape[0], b.shape[1]), a.dtype, a=a, b=b)


def products(a: np.ndarray, b: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """Check C = A B for stacks of M x K and K x N that broadcast, of any layout; returns `out`, new where it was None."""
    for name, value, dtype in (("a", a, None), ("b", b, getattr(a, "dtype", None))):
        _array(name, value, STACKED, dtype, any_layout=True)
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"b must have {a.shape[-1]} rows, as many as a has columns, got shape {b.shape}")
    try:
        stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"b must be a stack that broadcasts with that of a, {a.shape[:-2]}, got shape {b.shape}") from None
    return _output(out, (*stack, a.shape[-2], b.shape[-1]), a.dtype, "out", True, a=a, b=b)


def rows(
    x: np.ndarray, weight: np.ndarray, eps: float, out: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check a row-wise kernel; returns x and out as rows x n views, and out in the shape of x."""
    out = norm(x, weight, eps, out, any_layout=False)
    if x.ndim == 2:
        return x, out, out
    return x.reshape(1, -1), out.reshape(1, -1), out


def norm(
    x: np.ndarray,
    weight: np.ndarray,
    eps: float,
    out: np.ndarray | None,
    residual: np.ndarray | None = None,
    any_layout: bool = True,
) -> np.ndarray:
    """Check a row-wise kernel; returns `out` in the shape of x. any_layout: of x and weight; residual is an output too."""
    _array("x", x, (1, 2), any_layout=any_layout)
    _array("weight", weight, (1,), x.dtype, any_layout)
    if weight.shape[0] != x.shape[-1]:
        raise ValueError(f"weight must have length {x.shape[-1]}, the row length of x, got {weight.shape[0]}")
    if type(eps) is not float and (isinstance(eps, bool) or not isinstance(eps, numbers.Real)):  # float: 0.3 us saved
        raise TypeError(f"eps must be a real number, got {_one_line(eps)}")
    if not (eps >= 0 and math.isfinite(eps)):
        raise ValueError(f"eps must be finite and at least 0, got {eps}")
    if residual is None:
        return _output(out, x.shape, x.dtype, x=x, weight=weight)
    _output(residual, x.shape, x.dtype, "residual", x=x, weight=weight)
    return _output(out, x.shape, x.dtype, x=x, weight=weight, residual=residual)


def vectors(aligned: int = 1, **arrays: np.ndarray) -> None:
    """Check vectors of one length and dtype. `out` must start on a boundary of `aligned` bytes and overlap no other."""
    first = next(iter(arrays.values()))
    for name, value in arrays.items():
        _array(name, value, (1,), None if value is first else first.dtype)
        if value.shape != first.shape:
            raise ValueError(f"{name} must have length {first.size} like the first argument, got {value.size}")
    if (out := arrays.pop("out", None)) is not None:
        _output(out, out.shape, out.dtype, **arrays)
        if out.ctypes.data % aligned:
            raise ValueError(f"out must start on a boundary of {aligned} bytes, got address {out.ctypes.data:#x}")


def array_of(dtype: type, name: str, value: object) -> None:
    """Refuse everything but arrays of this dtype."""
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        kind = getattr(value, "dtype", type(value).__name__)
        raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, got {kind}")


def _one_line(value: object) -> str:
    """The value on one line, which the text of an array may not be."""
    return " ".join(repr(value).split())


def _array(
    name: str, value: object, ranks: Container[int], dtype: np.dtype | None = None, any_layout: bool = False
) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(value).__name__}")
    if value.dtype not in DTYPES:
        raise TypeError(f"{name} must be float32 or float64, got {value.dtype}")
    if dtype is not None and value.dtype != dtype:
        raise TypeError(f"{name} must be {dtype} like the first argument, got {value.dtype}")
    if value.ndim not in ranks:
        wanted = "2 dimensions or more" if ranks is STACKED else f"{' or '.join(map(str, ranks))} dimensions"
        raise ValueError(f"{name} must have {wanted}, got shape {value.shape}")
    if any_layout:
        return
    if not value.flags.c_contiguous:
        raise ValueError(
            f"{name} must be C-contiguous, got strides {value.strides} for shape {value.shape}; use np.ascontiguousarray"
        )
    if not value.flags.aligned:
        raise ValueError(f"{name} must be aligned to its items, got address {value.ctypes.data:#x}; use a copy")


def _output(
    out: np.ndarray | None,
    shape: tuple[int, ...],
    dtype: np.dtype,
    name: str = "out",
    any_layout: bool = False,
    /,
    **inputs: np.ndarray,
) -> np.ndarray:
    if out is None:
        return np.empty(shape, dtype)
    _array(name, out, (len(shape),), dtype, any_layout)
    if out.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")
    for other, value in inputs.items():
        if _share_memory(out, value):
            raise ValueError(f"{name} must not overlap {other}, got arrays that share memory")
    return out


def _share_memory(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether any byte belongs to both; arrays for which that takes long to find out count as such."""
    try:
        return np.shares_memory(x, y, max_work=1000)
    except np.exceptions.TooHardError:
        return True
