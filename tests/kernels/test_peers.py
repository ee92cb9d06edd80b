"""Other libraries are looked for and never required; where they are, their products and norms are measured like ours."""

import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import numpy as np
import pytest
from runs import isolate

from perflib import sweep
from perflib.kernels import Kernel, find, peers, verify
from perflib.kernels.catalog import KERNELS
from perflib.stats import Interval

HERE = peers.installed()
NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(library not in HERE, reason=f"{library} needs the extra 'peers'"))
    for name, library in (("mkl_matmul", "mkl"), ("torch_matmul", "torch"), ("torch_rms_norm", "torch"))
]


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    """A Python without MKL and PyTorch."""

    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(peers, "version", version)
    peers.mkl.cache_clear()
    yield
    peers.mkl.cache_clear()


@pytest.fixture
def recorded_gemm(monkeypatch):
    """What MKL was asked, by name of its function."""
    asked = {}
    functions = {name: lambda *args, name=name: asked.setdefault(name, args) for name in ("cblas_sgemm", "cblas_dgemm")}
    monkeypatch.setattr(peers, "mkl", lambda: SimpleNamespace(**functions))
    return asked


def arrays(m, k, n, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype), np.empty((m, n), dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_peer_that_is_installed_agrees_with_the_oracle(name, dtype):
    kernel = find(name)
    args = kernel.make(33, dtype, np.random.default_rng(1), **kernel.params)
    if kernel.output is not None:
        args[kernel.output].fill(np.nan)

    result = kernel.call(*kernel.native(*args))

    verify(name, result if kernel.output is None else args[kernel.output], *kernel.exact(*args))


@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 40, 17), (40, 3, 17), (17, 40, 3)])
def test_a_peer_multiplies_matrices_that_are_not_square(name, shape):
    a, b, out = arrays(*shape)

    peers.perform(*find(name).native(a, b, out))

    verify(name, out, *find(name).exact(a, b, out))


@pytest.mark.parametrize(("dtype", "function"), [("float32", "cblas_sgemm"), ("float64", "cblas_dgemm")])
def test_mkl_is_told_sizes_rows_and_addresses(recorded_gemm, dtype, function):
    a, b, out = arrays(3, 5, 7, dtype)

    peers.perform(*peers.mkl_matmul(a, b, out))

    (name, asked), *others = recorded_gemm.items()
    plain = [getattr(value, "value", value) for value in asked]
    assert (name, others) == (function, [])
    assert plain == [101, 111, 111, 3, 7, 5, 1.0, a.ctypes.data, 5, b.ctypes.data, 7, 0.0, out.ctypes.data, 7]


def test_mkl_is_told_which_matrix_lies_in_columns(recorded_gemm):
    a, b, out = arrays(3, 5, 7)

    peers.perform(*peers.mkl_matmul(a.T.copy().T, b.T.copy().T, out))

    plain = [getattr(value, "value", value) for value in recorded_gemm["cblas_sgemm"]]
    assert plain[:6] == [101, 112, 112, 3, 7, 5]
    assert (plain[8], plain[10], plain[13]) == (3, 5, 7)


def test_the_arguments_of_a_library_are_made_outside_the_timed_part(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    made, called = [], []
    kernel = Kernel(
        "boxed",
        lambda box: called.append(box),
        make=lambda n, dtype, rng: (n,),
        native=lambda n: made.append(n) or ([n],),
        flops=lambda n: n,
        bytes=lambda n, itemsize: n,
    )

    monkeypatch.setitem(KERNELS, kernel.name, kernel)

    sweep([kernel], [3], scope="call", budget_s=1e-6, progress=False)

    assert made == [3]
    assert len(called) > 6
    assert all(box == [3] for box in called)


def test_a_library_that_is_loaded_for_a_cell_gets_the_threads_of_the_measurement(tmp_path, monkeypatch):
    """Its threads are not known before."""
    isolate(tmp_path, monkeypatch)
    for name in ("peak_gflops", "copy_gb_per_s"):  # once per process, in a session of their own
        monkeypatch.setattr(f"perflib.runs.sweep.{name}", lambda _: Interval(1.0, 1.0, 1.0, 0.95))
    threads, seen = [4], []
    count = {"get_num_threads": lambda: threads[-1], "set_num_threads": threads.append}
    library = SimpleNamespace(**count, Tensor=int)  # SciPy, imported later, asks for the type of its arrays
    kernel = Kernel(
        "loads",
        lambda: seen.append(threads[-1]),
        make=lambda n, dtype, rng: (),
        native=lambda: monkeypatch.setitem(sys.modules, "torch", library) or (),
        flops=lambda n: n,
        bytes=lambda n, itemsize: n,
    )

    monkeypatch.setitem(KERNELS, kernel.name, kernel)

    sweep([kernel], [3], scope="call", budget_s=1e-6, progress=False)

    assert set(seen) == {1}
    assert threads == [4, 1, 4]


def test_what_is_not_installed_is_not_listed_and_says_how_to_get_it(nothing_installed, refused):
    assert peers.installed() == {"numpy": np.__version__}
    for name, library in (("mkl_matmul", "MKL"), ("torch_matmul", "PyTorch")):
        with refused(ModuleNotFoundError, library, "must be installed", "pip install 'perflib[peers]'"):
            find(name).native(*arrays(2, 2, 2))


def test_every_library_has_a_name_and_a_product():
    assert list(peers.LIBRARIES) == ["numpy", "mkl", "torch"]
    for name in peers.LIBRARIES:
        assert find(f"{name}_matmul").flops(3) == 54
        assert find(f"{name}_matmul").make is find("matmul_naive").make, "all work on the same arrays"
