"""What LLVM made of a kernel: instructions counted in its machine code, no clock involved.

    count_instructions(kernel, *args)   -> {"packed_fma", "scalar_fma", "gathers", "vector_bits"}

Counts are of instructions in the text, not of executions: "none" is evidence, "some" needs a look at the loop.
"""

import re
from collections.abc import Callable

from numba import njit

from .compile import FASTMATH

__all__ = ["count_instructions"]

PACKED_FMA = re.compile(r"\bvfn?m(?:add|sub)\d+p[sd]\b|\bfml[as]\s+v\d+\.")
SCALAR_FMA = re.compile(r"\bvfn?m(?:add|sub)\d+s[sd]\b|\bfn?madd\s+[sd]\d+")
GATHER = re.compile(r"\bv(?:p)?gather\w+\b")
WIDTHS = ((512, re.compile(r"%zmm|\bzmm")), (256, re.compile(r"%ymm|\bymm")), (128, re.compile(r"%xmm|\bxmm|\bv\d+\.\d")))


def count_instructions(kernel: Callable, *args: object, fastmath: set[str] = FASTMATH) -> dict[str, int]:
    """Multiply-adds, gathers and the widest vector register in the code for these arguments (x86-64, AArch64).

    kernel: compiled by Numba; it is compiled anew, because code from Numba's cache cannot be read back. fastmath: the
    licences to compile with; an empty set keeps the order in which sums are written.
    """
    fresh = njit(fastmath=fastmath, error_model="numpy")(kernel.py_func)
    fresh(*args)
    text = fresh.inspect_asm(fresh.nopython_signatures[0].args)
    return {
        "packed_fma": len(PACKED_FMA.findall(text)),
        "scalar_fma": len(SCALAR_FMA.findall(text)),
        "gathers": len(GATHER.findall(text)),
        "vector_bits": next((bits for bits, pattern in WIDTHS if pattern.search(text)), 0),
    }
