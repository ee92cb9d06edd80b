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
