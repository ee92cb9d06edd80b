"""A kernel of one's own: described in three lines, then measured, drawn and told like a built-in one."""

import ast
import inspect
import json
from importlib.util import module_from_spec, spec_from_file_location

import nbformat
import numpy as np
import pytest
from numba import njit
from runs import isolate

import perflib
from perflib.display.table import Missing
from perflib.errors import WrongResult
from perflib.kernels import catalog
from perflib.kernels.catalog import find
from perflib.report import notebooks
from perflib.runs.described import counts_table, described, race_settings
from perflib.runs.store import load_run
from perflib.studies import grid_figures, your_kernel
from perflib.sweeps.sweep import sweep

SHORT = {"budget_s": 1e-6, "progress": False}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setattr("perflib.kernels.catalog._registered", {})
    return isolate(tmp_path, monkeypatch)


def describe(fn, **changes):
    """Adds one to n numbers."""
    usual = {
        "make": lambda n, dtype, rng: (rng.random(n).astype(dtype),),
        "exact": lambda x: (x.astype(float) + 1, np.finfo(x.dtype).eps),
        "flops": lambda n: n,
        "bytes": lambda n, itemsize: 2 * n * itemsize,
    }
    return described(**{**usual, **changes})(fn)


def more(x):
    return x + np.float32(1)


def test_the_decorator_returns_the_function_and_makes_it_known_by_name_and_by_itself():
    assert describe(more) is more
    assert find("more") is find(more)
    assert find("more").flops(10) == 10


def test_describing_again_replaces_the_description():
    describe(more)
    describe(more, flops=lambda n: 3 * n)

    assert find(more).flops(10) == 30


def test_one_compiled_by_numba_has_both_scopes():
    compiled = describe(njit(more))

    assert find(compiled).compiled is compiled
    assert set(sweep([compiled], [8], **SHORT)["scope"]) == {"kernel"}
    assert find(describe(more)).compiled is None


def test_from_the_run_alone_comes_every_rate_where_nobody_knows_the_kernel(monkeypatch):
    run = load_run(sweep([describe(more)], [8, 16], scope="call", name="mine", **SHORT).attrs["run"])
    monkeypatch.setattr("perflib.kernels.catalog._registered", {})

    told = grid_figures.grid_table(run, "mine")

    assert "GFLOP/s" in told.header
    assert [row[1] for row in told.rows] == ["8", "16"]
    assert all(float(row[-2]) > 0 and row[-1] for row in told.rows)


def test_parameters_of_a_description_make_the_grid_of_a_map():
    def shifted(x, step):
        return x + np.float32(1)

    run = load_run(sweep([describe(shifted, tuning={"step": 4})], [8, 16], "call", step=[1, 2], **SHORT).attrs["run"])

    assert "the best step is" in grid_figures.heat_map(run, "sweep", "step").alt


@pytest.mark.parametrize("name", ["matmul_naive", "floor", "canary"])
def test_a_name_that_is_taken_is_refused(name, refused):
    with refused(ValueError, "name must not be that of a built-in kernel", repr(name)):
        describe(more, name=name)


@pytest.mark.parametrize("part", ["make", "flops", "bytes"])
def test_a_part_that_is_no_function_is_refused(part, refused):
    with refused(TypeError, f"{part} must be a function, got int"):
        describe(more, **{part: 7})


def test_only_a_function_can_be_described(refused):
    with refused(TypeError, "described must decorate a function, got int"):
        describe(7)


def test_counts_are_shown_after_the_result_was_checked(refused):
    assert counts_table(describe(more), [4, 100]).rows == (
        ("4", "4", "32", "0.125", "within its bound"),
        ("100", "100", "800", "0.125", "within its bound"),
    )
    with refused(WrongResult, "more call float32 1 4: result["):
        counts_table(describe(more, exact=lambda x: (x.astype(float), 1e-9)), [4])
    with refused(ValueError, "kernels must be described", "describe it with perflib.described"):
        counts_table(sorted, [4])


def test_a_race_of_two_settings_says_its_claim():
    def slow(x, times):
        for _ in range(times):
            result = x + np.float32(1)
        return result

    known = describe(slow, tuning={"times": 1})

    assert race_settings(known, 100, {"times": 50}, {"times": 1}, 2) == (
        "HOLDS: at n = 100, slow with times 50 takes at least 2 times as long as with times 1"
    )


def cell(name):
    notebook = nbformat.read(notebooks.NOTEBOOKS / "08-your-kernel.ipynb", as_version=4)
    return next(c.source for c in notebook.cells if c.id == name)


def functions(source):
    """Every function of a source by name, without what decorates it."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            found[node.name] = ast.dump(node.args) + "".join(map(ast.dump, body))
    return found


def test_the_notebook_shows_the_kernel_that_a_recording_measures():
    recorded = {name: body for name, body in functions(inspect.getsource(your_kernel)).items() if name != "stencil_blocks"}
    shown = functions(cell("kernel")) | functions(cell("inputs-and-oracle"))

    assert shown == recorded
    assert shown.keys() == {"stencil", "stencil_bound", "stencil_inputs"}


def test_the_notebook_describes_it_as_the_recording_does():
    catalog.register(known := find_example())
    names = {**vars(your_kernel), "perflib": perflib}
    exec(cell("description"), names)
    described_there = find("stencil")

    assert described_there is not known
    for n in (3, 100):
        assert described_there.flops(n) == known.flops(n)
        assert described_there.bytes(n, 4) == known.bytes(n, 4)
    assert (described_there.tuning, described_there.output) == (known.tuning, known.output)


def find_example():
    """The description that importing the example leaves, whatever a test did to the list since."""
    spec = spec_from_file_location("perflib.studies.imported_again", your_kernel.__file__)
    spec.loader.exec_module(module_from_spec(spec))
    return find("stencil")


def test_every_figure_of_a_topic_that_was_not_recorded_is_the_standard_sentence():
    run = load_run(sweep([describe(more)], [8], scope="call", **SHORT).attrs["run"])

    for show in (grid_figures.times, grid_figures.rates, grid_figures.roofline, grid_figures.grid_table):
        assert isinstance(show(run, "nothing"), Missing)
    assert isinstance(grid_figures.heat_map(run, "nothing", "tile"), Missing)
    assert isinstance(grid_figures.heat_map(run, "sweep", "tile"), Missing)
    assert isinstance(grid_figures.growth_table(run, "nothing", 2), Missing)


def test_what_a_sweep_keeps_in_its_run_is_plain_data():
    run = load_run(sweep([describe(more)], [8], scope="call", **SHORT).attrs["run"])

    kept = json.loads((run.path / "run.json").read_text())
    assert kept["work"] == [{"kernel": "more", "dtype": "float32", "n": 8, "flops": 8, "bytes": 64}]
    assert kept["limits"]["peak_gflops_float32"]["low"] > 0
