"""Memory traffic: what a plain loop and NumPy's own copy reach.

    copy_loop(x, out)       out = x by a compiled loop of loads and stores
    read_lines(memory)      the sum of one byte per cache line: touches all of it, computes next to nothing

Contract: x and out are one-dimensional, of one dtype and length, C-contiguous, and do not overlap; memory is bytes.
"""

import numpy as np

from .compile import compiled

__all__ = ["copy_loop", "read_lines"]


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


LINE = 64


@compiled
def _read_lines(memory):
    """(n,) -> sum of memory[::64]"""
    total = 0
    for i in range(0, memory.shape[0], LINE):
        total += memory[i]
    return total


def read_lines(memory: np.ndarray) -> int:
    """Sum of the first byte of every 64. Raises TypeError unless memory holds unsigned bytes."""
    if memory.dtype != np.uint8:
        raise TypeError(f"memory must be uint8, got {memory.dtype}")
    return _read_lines(memory)
