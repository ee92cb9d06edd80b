"""Who meets whom: every kind of row in every bench, the best library by its time, limits by the work done."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from runs import MACHINE

from perflib.kernels import WrongResult, find, verify
from perflib.kernels.gemm.blocked import default_blocks
from perflib.kernels.probes.peak import FMA_PEAK_OPS
from perflib.timing.sampling import Sample
from perflib.timing.session import CANARY_LABEL, Session
from perflib.validation import bench_kernels
from perflib.validation.bench_kernels import calls_ns, plan
from perflib.validation.head_to_head import HeadToHead

ALL = ("numpy", "mkl", "torch")
EVERY = {value for name, value in vars(bench_kernels).items() if name.isupper() and " / " in str(value)}
assert len(EVERY) >= 13
NS = {"numpy": 1200, "mkl": 900, "torch": 1500}  # of a product, whatever its size; ours takes 1000


@pytest.fixture(autouse=True)
def top(monkeypatch):
    """The upper ends of the ladders take threads and a residual, and nobody calls them here."""

    def able(name):
        kernel = find(name)
        return replace(kernel, call=whole) if name in (bench_kernels.OURS, bench_kernels.NORM) else kernel

    def whole(x, weight, eps=0, out=None, residual=None, threads=1):
        pytest.fail("called")

    monkeypatch.setattr(bench_kernels, "find", able)


@pytest.fixture
def staged(monkeypatch):
    """Contests that take what `ns(cell)` says, on a clock of 3 GHz; yields the list of their cells."""
    fought = []

    def stage(ns):
        def run_head_to_head(cells, budget_s, pairs=None, threads=1):
            assert len({cell.label for cell in cells}) == len(cells)
            session = Session({cell.label: cell.scope for cell in cells})
            times = {cell.label: ns(cell) for cell in cells} | {CANARY_LABEL: 2}
            for label, each in times.items():
                session.samples[label] = [Sample(label, i, 0, 1000, 1000 * each, 1000 * each, 0, 0) for i in range(8)]
            fought.append((cells, threads, pairs))
            return HeadToHead(session, threads)

        monkeypatch.setattr(bench_kernels, "run_head_to_head", run_head_to_head)
        return fought

    return stage


def usual(cell):
    """Libraries as in NS, every other kernel a thousand nanoseconds."""
    return NS.get(cell.kernel.name.split("_")[0], 1000)


def rows(quick=True, libraries=ALL, machine=MACHINE):
    return [row for _, measured in plan(quick, libraries, machine) for row in measured()]


def kinds(quick, libraries=ALL, machine=MACHINE):
    return {row.what for row in rows(quick, libraries, machine)}


def test_a_quick_bench_has_every_kind_of_row_of_a_full_one(staged):
    staged(usual)

    assert kinds(quick=True) == kinds(quick=False) == EVERY


def test_a_full_bench_has_every_size_of_the_design(staged):
    staged(usual)
    sizes = {}
    for row in rows(quick=False):
        sizes.setdefault((row.what, row.peer), []).append(row.n)

    listed = [32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048]
    for library in ALL:
        assert sizes[bench_kernels.LIBRARY, f"{library}_matmul"] == listed
    assert sizes[bench_kernels.PEAK, "fma_peak"] == listed
    assert sizes[bench_kernels.DOUBLE, "numpy_matmul"] == listed
    assert {"97x97x97", "1000x37x513", "3x2048x2048", "2048x2048x3"} <= set(sizes[bench_kernels.ODD, "numpy_matmul"])
    assert sizes[bench_kernels.STANDARD, "rms_norm_standard"] == [512, 1024, 2048]
    assert sizes[bench_kernels.TORCH, "torch_rms_norm"] == [512, 1024, 2048, 4096]


def test_a_full_bench_has_the_shapes_that_people_have(staged):
    fought = staged(usual)
    sizes = {}
    for row in rows(quick=False):
        sizes.setdefault(row.what, []).append(row.n)

    every = sizes[bench_kernels.ALL_SIZES]
    assert set(range(16, 2049, 16)) <= set(every) and {17, 63, 65, 255, 1025, 2047, 2049} <= set(every)
    assert len(every) == len(set(every)) and every == sorted(every)
    layers = [tuple(map(int, shape.split("x"))) for shape in sizes[bench_kernels.LAYER]]
    assert {m for m, _, _ in layers} == {1, 4, 16, 64, 256}
    assert {(4096, 4096), (4096, 11008), (11008, 4096)} <= {(k, n) for _, k, n in layers}
    assert sizes[bench_kernels.TRANSPOSED] == [f"{which}, {n}" for n in (64, 256, 1024) for which in ("A^T B", "A B^T")]
    assert sizes[bench_kernels.STACK] == [f"10000 of {n}x{n}" for n in (8, 8, 16, 16, 32, 32)]
    assert len(fought) > 100


@pytest.mark.parametrize("which", [0, 1])
def test_one_matrix_lies_in_columns(which):
    arrays = bench_kernels._in_columns(which, 5, "float32", np.random.default_rng(0))

    assert [x.flags.f_contiguous for x in arrays] == [which == 0, which == 1, False]


def test_a_stack_is_held_against_its_oracle(staged):
    fought = staged(usual)
    bench_kernels._stack(3, "float64", 1.0)

    for cell in fought[-1][0]:
        a, b, out = cell.kernel.make(3, cell.dtype, np.random.default_rng(0))
        assert a.shape == b.shape == out.shape == (10_000, 3, 3) and a.dtype == np.float64
        exact, bound = cell.kernel.exact(a, b, out)
        verify("stack", np.matmul(a, b), exact, bound)
        with pytest.raises(WrongResult):
            verify("stack", np.matmul(b, a), exact, bound)


def test_the_best_library_is_the_one_that_took_the_least_time(staged):
    staged(usual)

    found = [row for row in rows() if row.n == 128 and row.dtype == "float32"]

    ratios = {row.peer: row.ratio for row in found if row.what == bench_kernels.LIBRARY}
    assert ratios == {f"{name}_matmul": pytest.approx(ns / 1000) for name, ns in NS.items()}
    assert [(row.peer, row.ratio) for row in found if row.what == bench_kernels.BEST] == [
        ("mkl_matmul", pytest.approx(0.9))
    ]


def test_the_share_of_the_peak_is_of_work_in_the_same_time(staged):
    """Both take a microsecond: the product does 2 n^3 operations in it, the peak its own number."""
    staged(usual)

    (found,) = [row.ratio for row in rows() if row.what == bench_kernels.PEAK and row.n == 96]

    assert found == pytest.approx(2 * 96**3 / (2 * FMA_PEAK_OPS))


def test_a_norm_is_held_against_cycles_of_the_clock(staged):
    """192 cycles of 2048 elements are 64 ns at 3 GHz, and the norm takes 1000."""
    staged(usual)

    (found,) = [row for row in rows() if row.what == bench_kernels.CORE]

    assert (found.n, found.ratio) == (2048, pytest.approx(0.064))


def test_a_norm_is_held_against_the_loads_that_it_needs(staged):
    """Sixteen passes over 4096 elements take a microsecond; three times 2048 take 0.094 of that."""
    staged(usual)

    (found,) = [row for row in rows() if row.what == bench_kernels.LOADS]

    assert (found.n, found.ratio) == (2048, pytest.approx(3 * 2048 / (16 * 4096)))
    args = bench_kernels.L1_LOADS.make(512, "float32", np.random.default_rng(0))
    verify("loads", bench_kernels.L1_LOADS.call(*args), *bench_kernels.L1_LOADS.exact(*args))


def test_the_blocks_of_the_model_meet_the_best_of_those_around_them(staged):
    mc, kc, nc = default_blocks(np.dtype("float32"))
    twice = {"mc": mc, "kc": kc, "nc": 2 * nc}
    fought = staged(lambda cell: 990 if cell.values == twice else 1000)

    (found,) = [row for row in rows() if row.what == bench_kernels.BLOCKS]

    ((cells, _, _),) = [one for one in fought if one[0][0].kernel.name == bench_kernels.PACKED]
    assert len(cells) > 8
    assert cells[0].values == {"mc": mc, "kc": kc, "nc": nc}
    assert (found.peer, found.ratio) == (f"matmul_packed, {mc} x {kc} x {2 * nc}", pytest.approx(0.99))


def test_a_norm_of_rows_in_memory_is_held_against_the_copy_with_the_most_bytes_per_second(staged):
    staged(lambda cell: 500 if cell.kernel.name == "numpy_copy" else 1000)

    (found,) = [row for row in rows() if row.what == bench_kernels.COPY]

    count, width = map(int, found.n.split("x"))
    assert found.peer == "numpy_copy"
    assert found.ratio == pytest.approx(0.5 * (2 * count + 1) / (2 * count))
    assert count * width * 4 >= 64 << 20, "no cache holds it"


def test_both_sides_work_on_the_same_arrays(staged):
    fought = staged(usual)
    rows()

    for cells, _, _ in fought:
        makes = {cell.kernel.make for cell in cells if cell.kernel.name.endswith("matmul")}
        assert len(makes) <= 1


def test_two_threads_meet_one_where_there_are_two_cores(staged):
    fought = staged(lambda cell: 1000 if "two" in cell.kernel.name else 1900)

    (found,) = [row for row in rows() if row.what == bench_kernels.THREADS]

    assert (found.n, found.threads, found.ratio) == (2048, 2, pytest.approx(1.9))
    assert Counter(threads for _, threads, _ in fought)[2] == 1, "every other contest is on one"
    one_core = plan(True, ALL, replace(MACHINE, logical_cpus=1))
    assert "two threads" not in [what for what, _ in one_core]


def test_a_residual_is_added_once_on_either_side(staged, monkeypatch):
    fought = staged(lambda cell: 1200 if "then" in cell.kernel.name else 1000)
    (found,) = [row for row in rows() if row.what == bench_kernels.FUSED]
    assert found.ratio == pytest.approx(1.2)

    def norm(x, weight, eps, out, residual=None):
        if residual is not None:
            residual += x
            x = residual
        np.copyto(out, x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + eps) * weight)

    monkeypatch.setattr(bench_kernels, "find", lambda name: replace(find(name), call=norm))
    _, measured = plan(True, ALL, MACHINE)[-1]
    measured()
    for cell in fought[-1][0]:
        args = cell.kernel.make(512, "float32", np.random.default_rng(0), rows=3)
        x, _, _, residual, out = args
        exact = cell.kernel.exact(*args)

        for _ in range(2):
            cell.kernel.prepare(*args)
            out.fill(np.nan)
            cell.kernel.call(*args)
            verify(cell.label, out, *exact)
            assert np.array_equal(residual, x + 1)


def test_what_a_library_is_needed_for_is_left_out_without_it(staged):
    staged(usual)

    assert EVERY - kinds(quick=True, libraries=("numpy", "mkl")) == {bench_kernels.TORCH}
    peers = {row.peer for row in rows(libraries=("numpy",))}
    assert not any(peer.startswith(("mkl", "torch")) for peer in peers)


def test_the_call_of_each_library_is_timed_on_one_number(staged):
    fought = staged(usual)

    assert calls_ns(ALL) == {name: pytest.approx(ns) for name, ns in NS.items()}
    ((cells, _, _),) = fought
    assert {(cell.n, cell.scope) for cell in cells} == {(1, "call")}
