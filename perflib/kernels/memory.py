"""Memory traffic: what a plain loop and NumPy's own copy reach.

    copy_loop(x, out)       out = x by a compiled loop of loads and stores

Contract: x and out are one-dimensional, of one dtype and length, C-contiguous, and do not overlap.
"""

import numpy as np

from .compile import compiled

__all__ = ["copy_loop"]


@compiled
def _copy_loop(x, out):
    """(n,) -> (n,)"""
    for i in range(x.shape[0]):
        out[i] = x[i]


def copy_loop(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Copy x into out, element by element. Raises ValueError where the shapes differ."""
    if x.shape != out.shape:
        raise ValueError(f"out must have shape {x.shape}, got {out.shape}")
    _copy_loop(x, out)
    return out
