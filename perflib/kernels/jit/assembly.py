"""What LLVM made of a kernel: instructions counted in its machine code, no clock involved.

    count_instructions(kernel, *args)   -> {"packed_fma", "scalar_fma", "gathers", "vector_bits"}
    count_loop(kernel, *args)           the same of its innermost loop alone, and {"reads", "spills"}

Counts are of instructions in the text, not of executions: "none" is evidence, "some" needs a look at the loop.
"""

import re
from collections.abc import Callable

from numba import njit

from .compile import FASTMATH

PACKED_FMA = re.compile(r"\bvfn?m(?:add|sub)\d+p[sd]\b|\bfml[as]\s+v\d+\.")
SCALAR_FMA = re.compile(r"\bvfn?m(?:add|sub)\d+s[sd]\b|\bfn?madd\s+[sd]\d+")
GATHER = re.compile(r"\bv(?:p)?gather\w+\b")
VECTOR = re.compile(r"[xyz]mm\d|\b[vqds]\d")
MEMORY = re.compile(r"\(%|\[[a-z]")
STORE = re.compile(r"\(%[^()]*\)(?:\s*\{%k\d\})?$|^\s*st")
STACK = re.compile(r"\(%r[sb]p\)|\[(?:sp|x29)\b")
LABEL = re.compile(r"(\.?LBB\w+):")
JUMP = re.compile(r"^\s+\w[\w.]*\s.*?(\.?LBB\w+)$")
WIDTHS = ((512, re.compile(r"%zmm|\bzmm")), (256, re.compile(r"%ymm|\bymm")), (128, re.compile(r"%xmm|\bxmm|\bv\d+\.\d")))


def count_instructions(kernel: Callable, *args: object, fastmath: set[str] = FASTMATH) -> dict[str, int]:
    """Multiply-adds, gathers and the widest vector register in the code for these arguments (x86-64, AArch64).

    kernel: compiled by Numba; it is compiled anew, because code from Numba's cache cannot be read back. fastmath: the
    licences to compile with; an empty set keeps the order in which sums are written.
    """
    return _counted(_assembly(kernel, args, fastmath))


def count_loop(kernel: Callable, *args: object, fastmath: set[str] = FASTMATH) -> dict[str, int]:
    """The same counts of one turn of the innermost loop that multiplies most, which is where a product spends its time.

    reads: its vector instructions with an operand in memory, stores left out; spills: those with an operand on the stack.
    All are 0 where no loop multiplies.
    """
    loop = _busiest(_assembly(kernel, args, fastmath).splitlines())
    vector = [line for line in loop if VECTOR.search(line)]
    memory = [line for line in vector if MEMORY.search(line) and not STORE.search(line)]
    spills = sum(bool(STACK.search(line)) for line in vector)
    return _counted("\n".join(loop)) | {"reads": len(memory), "spills": spills}


def _assembly(kernel: Callable, args: tuple, fastmath: set[str]) -> str:
    fresh = njit(fastmath=fastmath, error_model="numpy")(kernel.py_func)
    fresh(*args)
    return fresh.inspect_asm(fresh.nopython_signatures[0].args)


def _counted(text: str) -> dict[str, int]:
    return {
        "packed_fma": len(PACKED_FMA.findall(text)),
        "scalar_fma": len(SCALAR_FMA.findall(text)),
        "gathers": len(GATHER.findall(text)),
        "vector_bits": next((bits for bits, pattern in WIDTHS if pattern.search(text)), 0),
    }


def _busiest(lines: list[str]) -> list[str]:
    """Of the loops without a loop inside, the one that multiplies most bits in a turn: not the one for the rest."""
    begins: dict[str, int] = {}
    loops: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        if label := LABEL.match(line):
            begins[label[1]] = number
        elif (jump := JUMP.search(line)) and jump[1] in begins:
            loops.append((begins[jump[1]], number))
    inner = [
        one for one in loops if not any(one[0] <= begin and end <= one[1] for begin, end in loops if (begin, end) != one)
    ]
    multiplying = [lines[begin : end + 1] for begin, end in inner]
    weights = [sum(map(_products, body)) for body in multiplying]
    return multiplying[weights.index(max(weights))] if any(weights) else []


def _products(line: str) -> int:
    """Bits that an instruction multiplies, 0 if it does not."""
    if PACKED_FMA.search(line):
        return _counted(line)["vector_bits"]
    return 32 if SCALAR_FMA.search(line) else 0
