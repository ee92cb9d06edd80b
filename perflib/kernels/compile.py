"""How every kernel here is compiled: one decorator, one set of floating-point licences.

FASTMATH        what LLVM may assume about floating-point arithmetic
compiled        decorator: numba.njit with these settings, machine code cached on disk
"""

from numba import njit

__all__ = ["FASTMATH", "compiled"]

FASTMATH = {"reassoc", "nsz", "contract", "arcp"}
"""Reordered sums, fused multiply-add, reciprocals; NaN and infinity stay what they are (no nnan, no ninf)."""

compiled = njit(fastmath=FASTMATH, error_model="numpy", cache=True)
