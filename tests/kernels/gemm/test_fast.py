"""The fast matrix product: right for every shape, within its arrays, refused where it cannot be right, of the best code."""

import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config, njit
from reference import agrees, guarded
from reference import matmul as exact

from perflib.kernels import aligned_empty, matmul, matmul_packed, matmul_register_blocked
from perflib.kernels.gemm import blocked, fast
from perflib.kernels.gemm.microkernel import register_tile
from perflib.kernels.jit import dispatch
from perflib.kernels.jit.compile import FASTMATH
from perflib.kernels.jit.vector import vector_bytes, vector_lanes

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
SEVERAL = pytest.mark.skipif(config.NUMBA_NUM_THREADS < 2, reason="Numba has one thread here")


def matrices(m, n, k, dtype="float32"):
    rng = np.random.default_rng([m, n, k])
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


@every_dtype
def test_every_small_shape_agrees_with_the_oracle_and_stays_within_its_arrays(dtype):
    """Every m, n, k from 0 to 40, between guard bands; a product of first rows and columns is that part of the product."""
    rng = np.random.default_rng(0)
    for k in range(41):
        a_all, b_all = rng.standard_normal((40, k)).astype(dtype), rng.standard_normal((k, 40)).astype(dtype)
        result, bound = exact(a_all, b_all)
        for n in range(41):
            b, b_kept = guarded(np.ascontiguousarray(b_all[:, :n]))
            for m in range(41):
                (a, a_kept), (out, out_kept) = guarded(a_all[:m]), guarded(np.full((m, n), np.nan, dtype))
                matmul(a, b, out)
                right = agrees(out, result[:m, :n], bound[:m, :n])
                assert right and a_kept() and b_kept() and out_kept(), (m, n, k)


@settings(max_examples=30)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.sampled_from(["float32", "float64"]), st.data())
def test_larger_shapes_agree_whatever_the_blocks(m, n, k, dtype, data):
    a, b = matrices(m, n, k, dtype)
    a[data.draw(st.integers(0, m - 1))] *= 1e3  # rows and columns of their own size, so that a swapped one shows
    b[:, data.draw(st.integers(0, n - 1))] *= 1e-3
    mr, nr = register_tile(dtype)
    result = a.astype(float) @ b.astype(float)
    bound = (k + 2) * np.finfo(dtype).eps * (abs(a).astype(float) @ abs(b).astype(float))
    blocks = [data.draw(st.sampled_from(sizes)) for sizes in ((1, mr, 5 * mr), (1, 7, 64, 1000), (nr, 3 * nr))]

    assert agrees(matmul(a, b), result, bound)
    assert agrees(matmul_register_blocked(a, b), result, bound)
    packed, kept = guarded(np.full((m, n), np.nan, dtype))
    matmul_packed(a, b, packed, *blocks)
    assert agrees(packed, result, bound) and kept()


@every_dtype
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (130, 1040, 1024),  # B too large to be read in place, rows of A 4 KiB apart and copied
        (130, 1040, 1030),  # the same, rows not in conflict
        (150, 130, 2048),  # conflict alone
        (3, 1500, 1100),  # few rows and a large B: some steps of k at a time
        (40, 1500, 1100),
        (2000, 3, 700),
        (13, 2100, 1),
    ],
)
def test_every_way_through_is_right(dtype, m, n, k):
    a, b = matrices(m, n, k, dtype)

    result = a.astype(float) @ b.astype(float)
    bound = (k + 2) * np.finfo(dtype).eps * (abs(a).astype(float) @ abs(b).astype(float))
    out, kept = guarded(np.full((m, n), np.nan, dtype))
    assert matmul(a, b, out) is out
    assert agrees(out, result, bound) and kept()


def test_the_ways_are_chosen_by_shape():
    l2, ways = 1 << 20, 8
    matmul(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32))

    def way(m, n, k, ways=ways):
        a, b = np.zeros((m, k), np.float32), np.zeros((k, n), np.float32)
        return fast._matmul_in_place(a, b, np.empty((m, n), np.float32), l2, ways)

    assert way(256, 256, 256) == way(512, 512, 512) == way(3, 2048, 2048) == dispatch.DONE
    assert way(1024, 1024, 1024) == way(16, 2048, 2048) == way(256, 128, 1024, ways=4) == fast.LARGE
    assert way(256, 64, 1024) == dispatch.DONE  # copying rows would not pay
    assert way(2, 128, 1024) == dispatch.DONE  # two rows do not conflict
    assert way(64, 1024, 700) == fast.LARGE  # rows of B a page apart share their sets of L2
    assert way(64, 1000, 700) == way(6, 1024, 700) == dispatch.DONE


@every_dtype
def test_numbers_that_are_none_and_huge_ones_go_where_they_belong(dtype):
    a, b = matrices(30, 50, 20, dtype)
    a[3, 4], b[7, 40] = np.nan, np.inf

    with np.errstate(invalid="ignore"):
        assert np.array_equal(np.isnan(matmul(a, b)), np.isnan(a.astype(float) @ b.astype(float)))
    finite = np.isfinite(a).all(axis=1)
    assert np.isinf(matmul(a, b)[finite, 40]).all()


@pytest.mark.parametrize("scale", [1e19, 1e-30, 1e-40])
def test_large_and_denormal_numbers_keep_their_bound(scale):
    a, b = matrices(20, 40, 30)
    a, b = (a * scale).astype(np.float32), (b / scale).astype(np.float32) if scale > 1 else b

    assert agrees(matmul(a, b), *exact(a, b))


def test_layouts_that_are_not_in_rows_are_copied_and_read_only_inputs_are_read():
    a, b = matrices(37, 65, 29)
    right = exact(a, b)
    locked = a.copy()
    locked.flags.writeable = False
    bytes_apart = np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape)

    for other in (np.asfortranarray(a), np.repeat(a, 2, axis=1)[:, ::2], a[::-1][::-1], locked, bytes_apart):
        assert agrees(matmul(other, b), *right)
    assert agrees(matmul(a[::-1], b)[::-1], *right)
    assert agrees(matmul(a, b[:, ::-1])[:, ::-1], *right)
    assert agrees(matmul(a, np.asfortranarray(b), threads=1), *right)


SQUARE = np.ones((4, 4), np.float32)


@pytest.mark.parametrize(
    ("kind", "words", "arguments"),
    [
        (TypeError, ("a must be a numpy array", "list"), {"a": [[1.0]]}),
        (TypeError, ("a must be float32 or float64", "object"), {"a": SQUARE.astype(object)}),
        (TypeError, ("a must be float32 or float64", "int64"), {"a": SQUARE.astype(int)}),
        (TypeError, ("a must be float32 or float64", ">f4"), {"a": SQUARE.astype(">f4")}),
        (TypeError, ("b must be float32", "float64"), {"b": SQUARE.astype(float)}),
        (ValueError, ("a must have 2 dimensions or more", "(4,)"), {"a": SQUARE[0]}),
        (ValueError, ("b must have 4 rows", "(3, 4)"), {"b": SQUARE[:3]}),
        (ValueError, ("out must have shape (4, 4)", "(4, 3)"), {"out": np.empty((4, 3), np.float32)}),
        (TypeError, ("out must be float32", "float64"), {"out": np.empty((4, 4))}),
        (ValueError, ("out must be writeable",), {"out": np.broadcast_to(np.float32(1), (4, 4)).copy()}),
        (ValueError, ("out must not overlap a",), {"out": SQUARE}),
        (ValueError, ("threads must be at least 1", "got 0"), {"threads": 0}),
        (TypeError, ("threads must be an integer", "True"), {"threads": True}),
        (ValueError, ("threads must be at most", "got 100000"), {"threads": 100_000}),
    ],
)
def test_bad_arguments_are_refused_in_a_line(refused, kind, words, arguments):
    if "writeable" in words[0]:
        arguments["out"].flags.writeable = False

    for _ in range(2):  # before and after the code is compiled
        with refused(kind, *words):
            matmul(**({"a": SQUARE, "b": SQUARE.copy()} | arguments))
        matmul(np.eye(4, dtype=np.float32), SQUARE, np.empty((4, 4), np.float32))


def test_an_output_beside_its_inputs_in_one_buffer_is_no_overlap():
    buffer = np.zeros(3 * 16, np.float32)
    a, b, out = (buffer[i : i + 16].reshape(4, 4) for i in (0, 16, 32))
    a[...], b[...] = np.eye(4), np.arange(16).reshape(4, 4)

    assert np.array_equal(matmul(a, b, out), b)
    shifted = buffer[20:36].reshape(4, 4)
    with pytest.raises(ValueError, match="out must not overlap b"):
        matmul(a, b, shifted)


@SEVERAL
@every_dtype
@pytest.mark.parametrize(("m", "n", "k"), [(70, 65, 66), (300, 20, 60), (5, 3000, 40), (0, 5, 5), (64, 64, 0)])
def test_threads_share_the_rows_or_the_columns(dtype, m, n, k):
    a, b = matrices(m, n, k, dtype)

    out, kept = guarded(np.full((m, n), np.nan, dtype))
    matmul(a, b, out, threads=2)

    assert agrees(out, *exact(a, b)) and kept()


@SEVERAL
def test_callers_in_threads_of_their_own_do_not_meet():
    a, b = matrices(150, 1200, 900)
    right = matmul(a, b)
    found = {}

    def work(number):
        for _ in range(5):
            found[number] = found.get(number, True) and np.array_equal(matmul(a, b), right)
            found[number] &= np.allclose(matmul(a, b, threads=2), right, atol=1e-3)

    callers = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == {0: True, 1: True, 2: True}


@every_dtype
def test_the_micro_kernel_holds_its_tile_in_registers(dtype):
    """MR x NV multiply-adds of the full width a step, MR + NV loads, and nothing to or from the stack in the loop."""
    rows, columns = register_tile(dtype)
    vectors = columns // vector_lanes(dtype)
    if vector_bytes() < 32:
        pytest.skip("instructions are looked up by the names of AVX")
    fresh = njit(fastmath=FASTMATH, error_model="numpy")(blocked._matmul_register_blocked.py_func)
    fresh(*(np.eye(4, dtype=dtype) for _ in range(3)))
    code = fresh.inspect_asm(fresh.nopython_signatures[0].args)
    start = code.index(f"micro_kernel_{'float' if dtype == 'float32' else 'double'}_{rows}x{vectors}:")
    body = code[start : code.index(".Lfunc_end", start)]

    loops = [turn for turn in _loops(body) if "vfmadd" in turn]

    assert loops
    for turn in loops:
        steps = turn.count("vbroadcasts") // rows
        fma = re.findall(rf"vfmadd\d+p[sd]\t.*%{'zmm' if vector_bytes() == 64 else 'ymm'}", turn)
        assert len(fma) == turn.count("vfmadd") == steps * rows * vectors > 0
        assert not re.findall(r"[xyz]mm\d+, -?\d*\(%r[sb]p\)|-?\d*\(%r[sb]p\), %[xyz]mm", turn)


def _loops(body):
    """Text from each label to a jump back to it, innermost ones."""
    lines = body.splitlines()
    labels = {line.split(":")[0]: number for number, line in enumerate(lines) if line.startswith(".LBB")}
    jumps = ((re.match(r"\tj\w+\t(\.LBB\w+)", line), number) for number, line in enumerate(lines))
    turns = [(labels[jump[1]], number) for jump, number in jumps if jump and labels.get(jump[1], number) < number]
    for start, end in turns:
        if not any(start <= first and last < end for first, last in turns):
            yield "\n".join(lines[start:end])


PROGRAM = """
import time, numpy as np
from perflib.kernels import matmul
from perflib.kernels.gemm import fast
x = np.ones((4, 4), np.float32)
assert matmul(x, x)[0, 0] == 4
stats = fast._matmul_in_place.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_the_next_process_loads_the_code_from_the_cache():
    for _ in range(2):
        found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert found == ["1", "0"]


def test_room_to_pack_is_kept_and_grows():
    dtype = np.dtype(np.float32)
    first, *_ = fast.packing(200, 30, 50, dtype)
    again, *_ = fast.packing(200, 30, 50, dtype)
    larger, *_ = fast.packing(200, 3000, 500, dtype, threads=2)

    assert first.ctypes.data == again.ctypes.data and first.ctypes.data % 64 == 0
    assert larger.shape[0] == 2 and larger.shape[1] > first.shape[1]


def test_aligned_or_not_the_result_is_the_same():
    a, b = matrices(50, 70, 60)
    unaligned = aligned_empty(60 * 70 + 1, np.float32)[1:].reshape(60, 70)
    unaligned[...] = b

    assert np.array_equal(matmul(a, unaligned), matmul(a, b))


def test_an_output_of_any_layout_is_right_after_a_first_call_with_threads():
    """That call leaves the code for one thread open to every type: it must not be tried yet."""
    lines = (
        "import numpy as np",
        "from perflib.kernels import matmul",
        "a = np.ones((80, 90), np.float32)",
        "matmul(a, a.T.copy(), threads=2)",
        "print(matmul(a.T, np.ones((80, 45), np.float32), np.empty((90, 90), np.float32)[:, ::2]).sum())",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)

    assert (done.stdout.split(), done.stderr) == ([f"{90 * 45 * 80.0}"], "")
