"""Count the instructions that LLVM made of a kernel, in its machine code and without a clock.

Instructions are counted in the text, not as they execute: "none" is evidence, "some" needs a look at the loop.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from numba import njit

from .compile import FASTMATH

PACKED_FMA = re.compile(r"\bvfn?m(?:add|sub)\d+p[sd]\b|\bfml[as](?:\s+v\d+\.|\.\d[hsd]\b)")
SCALAR_FMA = re.compile(r"\bvfn?m(?:add|sub)\d+s[sd]\b|\bfn?m(?:add|sub)\s+[sd]\d+")
GATHER = re.compile(r"\bv(?:p)?gather\w+\b")
VECTOR = re.compile(r"[xyz]mm\d|\b[vqds]\d")
PAIR = re.compile(r"^\s*ldn?p\s")
LIST = re.compile(r"^\s*ld[1-4](?:\.\w+)?\s*\{([^}]*)\}")
MEMORY = re.compile(r"\(%|\[[a-z]")
STORE = re.compile(r"\(%[^()]*\)(?:\s*\{%k\d\})?$|^\s*st")
STACK = re.compile(r"\(%r[sb]p\)|\[(?:sp|fp|x29)\b")
LABEL = re.compile(r"(\.?LBB\w+):")
JUMP = re.compile(r"^\s+\w[\w.]*\s.*?(\.?LBB\w+)$")
PACKED = re.compile(
    r"^\s*(?:v?(?:add|sub|mul|div|sqrt|min|max|f(?:n?m)(?:add|sub)\d+)p[sd]|v?p(?:add|sub|mul|min|max|cmp|abs|s[lr][al])\w+)\b"
    r"|^\s*f?(?:add|sub|mul|div|sqrt|min|max|ml[as])(?:\s+v\d+\.|\.\d+[bhsd]\b)"
)
CALL = re.compile(r"^\s*(?:callq?|blr?)\s")
LOCAL = re.compile(r"\.|[Ll](?:BB|loh|tmp|func|CPI|JTI)\w*:")  # of ELF; of Apple's assembler
FUNCTION = re.compile(r"^([\w$.@\"<>:, -]+):")
WRAPPERS = ("_ZN7cpython", "cfunc.", "NRT_", "numba_")  # what Numba adds around a function
WIDTHS = (
    (512, re.compile(r"%zmm|\bzmm")),
    (256, re.compile(r"%ymm|\bymm")),
    (128, re.compile(r"%xmm|\bxmm|\bv\d+\.\d|^\s*\w+\.\d+[bhsd]\b", re.M)),
)


@dataclass(frozen=True)
class MachineCode:
    """What the compiler made of the innermost loops of a function: instructions in the text, not executions."""

    loops: int
    vector_bits: int
    """Width of the widest packed arithmetic; 0: the loops work on one number at a time."""
    packed_fma: int
    gathers: int
    calls: int
    """Calls that are left in the loops."""
    spills: int
    """Vector instructions with an operand on the stack."""

    def __str__(self) -> str:
        if not self.loops:
            return "machine code: no loop is left"
        vectors = f"{self.vector_bits}-bit vectors" if self.vector_bits else "not vectorised"
        counts = ((self.packed_fma, "packed multiply-add"), (self.gathers, "gather"), (self.calls, "call"))
        parts = [f"{count or 'no'} {name}{'s' * (count != 1)}" for count, name in (*counts, (self.spills, "spill"))]
        return f"machine code: {vectors}, {', '.join(parts)} in {self.loops} innermost loop{'s' * (self.loops != 1)}"


def machine_code(kernel: Any, args: tuple) -> MachineCode | None:
    """What a function compiled by Numba became for these arguments; None where that cannot be read.

    It is read from what was compiled in this process. Code from Numba's cache has no text, so it is compiled once more.
    """
    try:
        signature = tuple(map(kernel.typeof_pyval, args))
        kernel.compile(signature)  # nothing, where it is compiled
        with warnings.catch_warnings(record=True) as unreadable:
            warnings.simplefilter("always")
            text = kernel.inspect_asm(signature)
        if unreadable:
            options = {name: value for name, value in kernel.targetoptions.items() if name not in ("nopython", "cache")}
            fresh = njit(**options)(kernel.py_func)
            fresh.compile(signature)
            text = fresh.inspect_asm(signature)
    except Exception:  # Numba raises whatever it does where code is not at hand
        return None
    loops = [loop for lines in _functions(text) for loop in _innermost(lines)]
    lines = [line for loop in loops for line in loop]
    packed = "\n".join(line for line in lines if PACKED.search(line))
    counts = _count("\n".join(lines))
    return MachineCode(
        loops=len(loops),
        vector_bits=next((bits for bits, pattern in WIDTHS if pattern.search(packed)), 0),
        packed_fma=counts["packed_fma"],
        gathers=counts["gathers"],
        calls=sum(bool(CALL.search(line)) for line in lines),
        spills=sum(bool(VECTOR.search(line) and STACK.search(line)) for line in lines),
    )


def _functions(text: str) -> Iterator[list[str]]:
    """Lines of each function that is not one of Numba's wrappers."""
    is_wrapper, lines = False, []
    for line in text.splitlines():
        name = FUNCTION.match(line)
        if name and not LOCAL.match(line):
            yield lines
            is_wrapper, lines = name[1].strip('"').startswith((*WRAPPERS, *(f"_{begin}" for begin in WRAPPERS))), []
        if not is_wrapper:
            lines.append(line)
    yield lines


def count_instructions(kernel: Callable, *args: object, fastmath: set[str] = FASTMATH) -> dict[str, int]:
    """Multiply-adds, gathers and the widest vector register in the code for these arguments (x86-64, AArch64).

    kernel: compiled by Numba; it is compiled anew, because code from Numba's cache cannot be read back. fastmath: the
    licences to compile with; an empty set keeps the order in which sums are written.
    """
    return _count(_assembly(kernel, args, fastmath))


def count_loop(kernel: Callable, *args: object, fastmath: set[str] = FASTMATH) -> dict[str, int]:
    """The same counts of one turn of the innermost loop that multiplies most, where the time goes.

    reads: the registers that its vector instructions read from memory; spills: those with an operand on the stack.
    All are 0 where no loop multiplies.
    """
    loop = _busiest(_assembly(kernel, args, fastmath).splitlines())
    vector = [line for line in loop if VECTOR.search(line)]
    memory = [line for line in vector if MEMORY.search(line) and not STORE.search(line)]
    spills = sum(bool(STACK.search(line)) for line in vector)
    return _count("\n".join(loop)) | {"reads": sum(map(_reads, memory)), "spills": spills}


def _reads(line: str) -> int:
    """Registers that an instruction reads from memory: Arm loads pairs and lists of them."""
    if registers := LIST.match(line):
        return registers[1].count(",") + 1
    return 2 if PAIR.match(line) else 1


def _assembly(kernel: Callable, args: tuple, fastmath: set[str]) -> str:
    fresh = njit(fastmath=fastmath, error_model="numpy")(kernel.py_func)
    fresh(*args)
    return fresh.inspect_asm(fresh.nopython_signatures[0].args)


def _count(text: str) -> dict[str, int]:
    patterns = {"packed_fma": PACKED_FMA, "scalar_fma": SCALAR_FMA, "gathers": GATHER}
    bits = next((bits for bits, pattern in WIDTHS if pattern.search(text)), 0)
    return {name: len(pattern.findall(text)) for name, pattern in patterns.items()} | {"vector_bits": bits}


def _innermost(lines: list[str]) -> list[list[str]]:
    """The loops without a loop inside."""
    begins: dict[str, int] = {}
    loops: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        if label := LABEL.match(line):
            begins[label[1]] = number
        elif (jump := JUMP.search(line)) and jump[1] in begins:
            loops.append((begins[jump[1]], number))
    return [
        lines[first : last + 1]
        for first, last in loops
        if not any(first <= begin and end <= last for begin, end in loops if (begin, end) != (first, last))
    ]


def _busiest(lines: list[str]) -> list[str]:
    """Of the loops without a loop inside, the one that multiplies most bits in a turn: not the one for the rest."""
    return max((body for body in _innermost(lines) if _bits(body)), key=_bits, default=[])


def _bits(body: list[str]) -> int:
    """Bits that the instructions of a loop multiply in a turn."""
    packed = sum(_count(line)["vector_bits"] for line in body if PACKED_FMA.search(line))
    return packed + 32 * sum(bool(SCALAR_FMA.search(line)) for line in body)
