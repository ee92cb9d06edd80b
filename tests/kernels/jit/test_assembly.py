"""What LLVM made of the kernels: counted in the machine code, the same on an idle and on a busy machine."""

import warnings

import numpy as np
import pytest
from numba import njit

from perflib.hardware.facts import machine
from perflib.kernels import find
from perflib.kernels.gemm.microkernel import register_tile
from perflib.kernels.jit import assembly
from perflib.kernels.jit.assembly import MachineCode, count_instructions, count_loop, machine_code
from perflib.kernels.jit.compile import FASTMATH
from perflib.kernels.jit.vector import vector_lanes

needs_fma = pytest.mark.skipif(
    not {"fma", "neon"} & set(machine().isa), reason="this CPU has no fused multiply-add instructions"
)


def counts(name, dtype="float32", **options):
    kernel = find(name)
    args = kernel.unchecked(*kernel.make(8, dtype, np.random.default_rng(0), **kernel.params), *kernel.tuning.values())
    return count_instructions(kernel.compiled, *args, **options)


@needs_fma
@pytest.mark.parametrize("name", ["matmul_ikj", "matmul_tiled_vectorised", "rms_norm_fast"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_vectorised_rungs_contain_packed_multiply_adds(name, dtype):
    found = counts(name, dtype)

    assert found["packed_fma"] >= 1
    assert found["gathers"] == 0
    assert found["vector_bits"] >= 128


@needs_fma
def test_sums_in_the_order_written_are_not_vectorised():
    """Without the licence to reorder, the seed's inner loop is one dependent chain."""
    assert counts("matmul_tiled", fastmath=set())["packed_fma"] == 0


def test_a_kernel_that_only_copies_multiplies_nothing():
    found = counts("copy_loop")

    assert found["packed_fma"] == found["scalar_fma"] == found["gathers"] == 0


def test_counting_leaves_the_kernel_as_it_is():
    kernel = find("matmul_ikj").compiled
    before = list(kernel.signatures)

    counts("matmul_ikj", "float64")

    assert list(kernel.signatures) == before


def test_counting_compiles_with_the_licences_of_the_kernels():
    assert count_instructions.__kwdefaults__["fastmath"] is FASTMATH


@needs_fma
def test_a_single_multiply_add_is_scalar():
    @njit(fastmath={"contract"})
    def one(x, y, z):
        return x * y + z

    found = count_instructions(one, 1.0, 2.0, 3.0, fastmath={"contract"})

    assert found["scalar_fma"] >= 1
    assert found["packed_fma"] == 0


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (
            assembly.PACKED_FMA,
            ["vfmadd231ps %zmm0, %zmm1, %zmm2", "vfnmadd213pd\t%ymm1, %ymm2", "vfmsub132ps x", "fmla v0.4s, v1.4s, v2.4s"],
            ["vfmadd231ss %xmm0", "vfnmadd213sd %xmm0", "vmulps %zmm0", "fmadd s0, s1, s2, s3", "vaddps"],
        ),
        (
            assembly.SCALAR_FMA,
            ["vfmadd231ss %xmm0", "vfnmsub213sd %xmm0", "fmadd s0, s1, s2, s3", "fmadd d0, d1, d2, d3"],
            ["vfmadd231ps %zmm0", "fmla v0.4s, v1.4s", "mulss %xmm0"],
        ),
        (assembly.GATHER, ["vgatherdps (%rax)", "vpgatherqq x"], ["vmovups (%rax)", "gatherer"]),
    ],
    ids=["packed", "scalar", "gather"],
)
def test_instructions_are_told_apart(pattern, yes, no):
    assert all(pattern.search(line) for line in yes)
    assert not any(pattern.search(line) for line in no)


def loop(name):
    kernel = find(name)
    args = kernel.unchecked(*kernel.make(40, "float32", np.random.default_rng(0)), *kernel.tuning.values())
    return count_loop(kernel.compiled, *args)


@needs_fma
def test_the_register_tile_multiplies_more_than_it_reads_and_spills_nothing():
    """A step of MR x NV sums takes NV vectors of B and MR numbers of A; the busiest loop may be that of an edge tile."""
    mr, nr = register_tile("float32")
    found, plain = loop("matmul_register_blocked"), loop("matmul_ikj")

    nv = nr // vector_lanes("float32")
    steps, rest = divmod(found["reads"] - found["packed_fma"] // nv, nv)
    assert (steps > 0, rest) == (True, 0)
    rows, rest = divmod(found["packed_fma"], steps * nv)
    assert (mr // 2 < rows <= mr, rest) == (True, 0)
    assert found["spills"] == 0
    assert found["packed_fma"] > found["reads"]
    assert plain["packed_fma"] < plain["reads"], "untiled, every product is read and written"


BLOCKS = """
outer:
.LBB0_1:
\tvfmadd231ps\t(%rax), %ymm1, %ymm2
.LBB0_2:
\tvmovups\t(%rax,%rcx), %zmm3
\tvfmadd231ps\t64(%rsp), %zmm1, %zmm2
\tvfmadd231ps\t%zmm3, %zmm1, %zmm2
\tvmovups\t%zmm2, (%rdi,%rcx)
\taddq\t$64, %rcx
\tjne\t.LBB0_2
.LBB0_3:
\tvfmadd231ss\t(%rax), %xmm1, %xmm2
\tvfmadd231ss\t4(%rax), %xmm1, %xmm2
\tvfmadd231ss\t8(%rax), %xmm1, %xmm2
\tjne\t.LBB0_3
\tjne\t.LBB0_1
\tretq
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BLOCKS, {"packed_fma": 2, "scalar_fma": 0, "gathers": 0, "vector_bits": 512, "reads": 2, "spills": 1}),
        ("\tvfmadd231ps\t(%rax), %ymm1, %ymm2\n", {"packed_fma": 0, "scalar_fma": 0, "gathers": 0, "vector_bits": 0}),
    ],
)
def test_the_innermost_loop_that_multiplies_most_is_counted(monkeypatch, text, expected):
    """Neither the loop around it nor the one for what is left over."""
    monkeypatch.setattr(assembly, "_assembly", lambda *_: text)

    assert count_loop(None) == {"reads": 0, "spills": 0} | expected


@njit(fastmath=True)
def _dot(x, y):
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@njit
def _dot_in_order(x, y):
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@njit
def _no_loop(x, y):
    return x[0] + y[0]


@njit
def _elsewhere(x):
    return np.exp(x)


@njit
def _calls(x, y):
    for i in range(x.size):
        x[i] = _elsewhere(y[i])


VECTORS = (np.ones(99), np.ones(99))


def test_a_loop_that_was_vectorised_is_told_from_one_that_was_not():
    free, in_order = machine_code(_dot, VECTORS), machine_code(_dot_in_order, VECTORS)

    assert free.vector_bits >= 128
    assert str(free).startswith(f"machine code: {free.vector_bits}-bit vectors, ")
    assert in_order.vector_bits == in_order.packed_fma == 0
    assert str(in_order).startswith("machine code: not vectorised, no packed multiply-adds, no gathers, no calls")


def test_calls_that_are_left_in_a_loop_are_counted():
    assert machine_code(_calls, VECTORS).calls > 0
    assert machine_code(_dot, VECTORS).calls == 0


def test_a_function_without_a_loop_says_so():
    assert str(machine_code(_no_loop, VECTORS)) == "machine code: no loop is left"


def test_code_that_cannot_be_read_is_none():
    assert machine_code(_no_loop, (object(), object())) is None
    assert machine_code(sum, VECTORS) is None


def test_code_from_a_cache_is_compiled_once_more(monkeypatch):
    def warn(signature):
        warnings.warn("Inspection disabled for cached code", UserWarning, stacklevel=2)
        return ""

    monkeypatch.setattr(_dot, "inspect_asm", warn)

    assert machine_code(_dot, VECTORS).vector_bits >= 128


def test_the_line_names_counts_of_one_and_of_many():
    code = MachineCode(loops=1, vector_bits=256, packed_fma=4, gathers=1, calls=0, spills=2)

    assert str(code) == (
        "machine code: 256-bit vectors, 4 packed multiply-adds, 1 gather, no calls, 2 spills in 1 innermost loop"
    )


ELF = """\
_ZN5sum_E:
	ldr	q4, [x1, #16]
.LBB0_1:
	ldp	q0, q1, [x0], #32
	ld1	{ v5.4s, v6.4s }, [x2]
	fmla	v2.4s, v0.4s, v4.4s
	fmla	v3.4s, v1.4s, v4.s[0]
	ldr	q7, [sp, #32]
	str	q7, [x3]
	bl	other
	subs	x4, x4, #1
	b.ne	.LBB0_1
	fmadd	s0, s1, s2, s3
	ret
_ZN7cpython5sum_E:
.LBB1_1:
	fmla	v2.4s, v0.4s, v4.4s
	b.ne	.LBB1_1
"""
APPLE = """\
__ZN5sum_E:                             ; @sum
Lfunc_begin0:
	ldr	q4, [x1, #16]
Lloh0:
	adrp	x8, l_const@PAGE
LBB0_1:                                 ; %loop
	ldp	q0, q1, [x0], #32
	ld1.4s	{ v5, v6 }, [x2]
	fmla.4s	v2, v0, v4
	fmla.4s	v3, v1, v4[0]
	ldr	q7, [sp, #32]
	str	q7, [x3]
	bl	_other
	subs	x4, x4, #1
	b.ne	LBB0_1
	fmadd	s0, s1, s2, s3
	ret
__ZN7cpython5sum_E:
Lloh1:
	adrp	x8, l_const@PAGE
LBB1_1:
	fmla.4s	v2, v0, v4
	b.ne	LBB1_1
"""


class Listed:
    """A function whose code for Arm is this text."""

    targetoptions = {}
    typeof_pyval = type

    def __init__(self, text):
        self.text = text

    def compile(self, signature):
        """It is compiled."""

    def inspect_asm(self, signature):
        return self.text


@pytest.mark.parametrize("text", [ELF, APPLE], ids=["ELF", "Apple"])
def test_code_for_arm_is_counted_in_both_syntaxes(text, monkeypatch):
    monkeypatch.setattr(assembly, "_assembly", lambda *_: text)

    loop, everything = count_loop(None), count_instructions(None)

    assert loop == {"packed_fma": 2, "scalar_fma": 0, "gathers": 0, "vector_bits": 128, "reads": 5, "spills": 1}
    assert (everything["packed_fma"], everything["scalar_fma"]) == (3, 1)
    found = machine_code(Listed(text), ())
    assert found == MachineCode(loops=1, vector_bits=128, packed_fma=2, gathers=0, calls=1, spills=1)


@pytest.mark.parametrize(
    ("line", "reads"),
    [
        ("\tldp\tq0, q1, [x0]", 2),
        ("\tldnp\tq0, q1, [x0]", 2),
        ("\tldr\tq0, [x0]", 1),
        ("\tld1\t{ v0.4s, v1.4s, v2.4s, v3.4s }, [x0]", 4),
        ("\tld1.2d\t{ v0, v1, v2 }, [x0], #48", 3),
        ("\tld1r.4s\t{ v0 }, [x0]", 1),
        ("\tvfmadd231ps\t(%rax), %ymm1, %ymm2", 1),
    ],
)
def test_an_instruction_reads_as_many_registers_as_it_names(line, reads):
    assert assembly._reads(line) == reads
