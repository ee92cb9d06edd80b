"""What LLVM made of a kernel: instructions counted in its machine code, no clock involved.

    count_instructions(compiled)    -> {"packed_fma", "scalar_fma", "gathers", "vector_bits"} of the last signature
    strict(compiled)                the same kernel without licences: sums in the order in which they are written

Counts are of instructions in the text, not of executions: "none" is evidence, "some" needs a look at the loop.
"""

import re
from collections.abc import Callable

from numba import njit

__all__ = ["count_instructions", "strict"]

PACKED_FMA = re.compile(r"\bvfn?m(?:add|sub)\d+p[sd]\b|\bfml[as]\s+v\d+\.")
SCALAR_FMA = re.compile(r"\bvfn?m(?:add|sub)\d+s[sd]\b|\bfn?madd\s+[sd]\d+")
GATHER = re.compile(r"\bv(?:p)?gather\w+\b")
WIDTHS = ((512, re.compile(r"%zmm|\bzmm")), (256, re.compile(r"%ymm|\bymm")), (128, re.compile(r"%xmm|\bxmm|\bv\d+\.\d")))


def count_instructions(compiled: Callable) -> dict[str, int]:
    """Multiply-adds, gathers and the widest vector register in the code of a compiled kernel (x86-64, AArch64).

    Raises ValueError for a kernel that was not compiled yet: call it once.
    """
    if not compiled.nopython_signatures:
        raise ValueError(f"compiled must have been called once, got {compiled.__name__} without a signature")
    text = compiled.inspect_asm(compiled.nopython_signatures[-1])
    return {
        "packed_fma": len(PACKED_FMA.findall(text)),
        "scalar_fma": len(SCALAR_FMA.findall(text)),
        "gathers": len(GATHER.findall(text)),
        "vector_bits": next((bits for bits, pattern in WIDTHS if pattern.search(text)), 0),
    }


def strict(compiled: Callable) -> Callable:
    """The kernel compiled anew without fast-math flags."""
    return njit(error_model="numpy")(compiled.py_func)
