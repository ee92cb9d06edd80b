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
    return _count(_assembly(kernel, args, fastmath))


def count_loop(kernel: Callable, *args: object, fastmath: set[str] = FASTMATH) -> dict[str, int]:
    """The same counts of one turn of the innermost loop that multiplies most, where the time goes.

    reads: its vector instructions with an operand in memory, stores left out; spills: those with an operand on the stack.
    All are 0 where no loop multiplies.
    """
    loop = _busiest(_assembly(kernel, args, fastmath).splitlines())
    vector = [line for line in loop if VECTOR.search(line)]
    memory = [line for line in vector if MEMORY.search(line) and not STORE.search(line)]
    spills = sum(bool(STACK.search(line)) for line in vector)
    return _count("\n".join(loop)) | {"reads": len(memory), "spills": spills}


def _assembly(kernel: Callable, args: tuple, fastmath: set[str]) -> str:
    fresh = njit(fastmath=fastmath, error_model="numpy")(kernel.py_func)
    fresh(*args)
    return fresh.inspect_asm(fresh.nopython_signatures[0].args)


def _count(text: str) -> dict[str, int]:
    patterns = {"packed_fma": PACKED_FMA, "scalar_fma": SCALAR_FMA, "gathers": GATHER}
    bits = next((bits for bits, pattern in WIDTHS if pattern.search(text)), 0)
    return {name: len(pattern.findall(text)) for name, pattern in patterns.items()} | {"vector_bits": bits}


def _busiest(lines: list[str]) -> list[str]:
    """Of the loops without a loop inside, the one that multiplies most bits in a turn: not the one for the rest."""
    begins: dict[str, int] = {}
    loops: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        if label := LABEL.match(line):
            begins[label[1]] = number
        elif (jump := JUMP.search(line)) and jump[1] in begins:
            loops.append((begins[jump[1]], number))
    bodies = [
        lines[first : last + 1]
        for first, last in loops
        if not any(first <= begin and end <= last for begin, end in loops if (begin, end) != (first, last))
    ]
    return max((body for body in bodies if _bits(body)), key=_bits, default=[])


def _bits(body: list[str]) -> int:
    """Bits that the instructions of a loop multiply in a turn."""
    packed = sum(_count(line)["vector_bits"] for line in body if PACKED_FMA.search(line))
    return packed + 32 * sum(bool(SCALAR_FMA.search(line)) for line in body)
