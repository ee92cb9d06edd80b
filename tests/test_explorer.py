"""The controls without a browser: what is chosen is swept, stopped, refused and shown; nothing stays in the file."""

import functools
import sys
import time

import numpy as np
import pytest
from numba import njit
from runs import isolate

from perflib import explore
from perflib.errors import PerflibError
from perflib.explorer import TOPIC
from perflib.kernels import catalog
from perflib.runs.store import load_run

pytest.importorskip("ipywidgets")


@pytest.fixture
def shown(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    found = explore()
    found.kernels.value, found.sizes.value, found.seconds.value = ("rms_norm_fast",), "16, 32", 0.01
    yield found
    found.stop.click()
    found.wait()


def test_what_is_chosen_is_measured_recorded_and_drawn(shown):
    shown.run.click()
    shown.wait()

    assert shown.status.value.startswith("done")
    assert set(load_run(shown.results[0]).samples(TOPIC)["n"].dropna()) == {16, 32}
    assert shown.progress.value == 1
    (result,) = shown.shown.children
    assert {type(child).__name__ for child in result.children} == {"Image", "HTML"}


def test_results_are_kept_from_run_to_run(shown):
    for sizes in ("16", "32"):
        shown.sizes.value = sizes
        shown.start()
        shown.wait()

    assert len(shown.results) == 2
    assert len(shown.shown.children) == 2
    shown.clear.click()
    assert shown.shown.children == ()
    assert len(shown.results) == 2, "the runs stay"


def test_the_button_stops_a_measurement(shown):
    shown.seconds.value = 300
    shown.sizes.value = "4096, 8192"
    shown.start()
    shown.stop.click()
    assert shown.status.value == "stopping after this round"
    shown.wait(120)

    assert shown.status.value == "ended before anything had 6 rounds; start it again to continue"
    assert (shown.results, shown.run.disabled, shown.stop.disabled) == ([], False, True)


def test_what_has_six_rounds_is_kept_and_drawn_when_it_is_stopped(shown):
    shown.seconds.value = 300
    shown.start()
    while shown.progress.value < 8 / 30:
        time.sleep(0.01)
    shown.stop.click()
    shown.wait(120)

    assert shown.status.value == f"stopped, what has six rounds is kept; {shown.results[0]}"
    assert len(load_run(shown.results[0]).samples(TOPIC)["round"].unique()) >= 6
    assert shown.shown.children


@pytest.mark.parametrize(
    ("choice", "value", "words"),
    [
        ("sizes", "64, <b>", "sizes must be whole numbers, got '<b>'"),
        ("sizes", "", "sizes must not be empty"),
        ("sizes", "0", "sizes must be at least 1, got 0"),
        ("tile", "8", "parameters of rms_norm_fast must be among rows; got 'tile'"),
        ("kernels", (), "kernels must not be empty"),
    ],
)
def test_a_bad_choice_is_one_line_below_the_buttons(shown, choice, value, words):
    getattr(shown, choice).value = value
    shown.start()
    shown.wait()

    assert shown.status.value == words


def test_a_kernel_that_is_not_compiled_is_measured_from_python(shown):
    shown.kernels.value = ("numpy_rms_norm",)
    shown.start()
    shown.wait()

    samples = load_run(shown.results[0]).samples(TOPIC)
    assert set(samples[samples["kernel"] == "numpy_rms_norm"]["scope"]) == {"call"}


def test_a_compiled_kernel_is_measured_in_the_scope_that_was_chosen(shown):
    for scope in ("default", "call"):
        shown.scope.value = scope
        shown.start()
        shown.wait()

    samples = [load_run(run).samples(TOPIC) for run in shown.results]
    scopes = [set(each[each["kernel"] == "rms_norm_fast"]["scope"]) for each in samples]
    assert scopes == [{"kernel"}, {"call"}]


def test_speed_ups_and_growth_are_shown_in_words_and_captions_as_text(shown):
    shown.kernels.value = ("rms_norm_standard", "rms_norm_fast")
    shown.start()
    shown.wait()

    (result,) = shown.shown.children
    words = [child.value for child in result.children if type(child).__name__ == "HTML"]
    assert any("speed-up of" in text for text in words)
    assert any("function" in text and "no growth" in text for text in words), "two sizes are too few"
    assert any(text.startswith("<p>Time") for text in words)


def test_kernels_of_the_user_come_first_and_absent_libraries_are_not_offered(monkeypatch):
    monkeypatch.setattr("perflib.explorer.installed", lambda: {"numpy": "2.4"})
    monkeypatch.setattr(catalog, "_registered", {"zeta": catalog.find("matmul")})

    offered = explore().kernels.options

    assert offered[:2] == ("zeta", "matmul_naive")
    assert "numpy_matmul" in offered
    assert not [name for name in offered if name.startswith(("mkl_", "torch_"))]


def test_the_file_gets_one_line_and_a_reference_to_what_lives_in_the_kernel(shown):
    bundle = shown._repr_mimebundle_()

    assert bundle.pop("text/plain") == "perflib.explore(): controls, as long as the kernel of this notebook runs"
    assert list(bundle) == ["application/vnd.jupyter.widget-view+json"]
    assert set(bundle["application/vnd.jupyter.widget-view+json"]) == {"version_major", "version_minor", "model_id"}


def test_controls_have_the_classes_that_a_browser_looks_for(shown):
    for name in ("run", "stop", "clear", "progress", "status"):
        assert f"perflib-explore-{name}" in getattr(shown, name)._dom_classes


def test_without_ipywidgets_there_is_one_line(monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)

    with refused(PerflibError, "ipywidgets is not installed; install it: pip install 'perflib[lab]'"):
        explore()


def test_functions_of_a_dictionary_are_measured_as_they_are_named(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    shown = explore({"matmul": lambda x: x + 1, "mine": lambda x: 1 + x}, make=lambda n, rng: rng.random(n))
    shown.sizes.value, shown.seconds.value = "16, 32", 0.01

    shown.start()
    shown.wait()

    assert shown.kernels.options == ("matmul", "mine")
    assert shown.status.value.startswith("done")
    image, caption, table, growth = shown.shown.children[0].children
    assert type(image).__name__ == "Image"
    assert "mine from" in caption.value
    assert "speed-up of mine" in table.value
    assert "no growth" in growth.value


def test_functions_without_make_are_refused_in_one_line(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    shown = explore({"f": len})

    shown.start()
    shown.wait()

    assert shown.status.value.startswith("kernels must be described, got <built-in function len>; pass make=")


def explored(tmp_path, monkeypatch, functions, **settings):
    """Controls over functions of two sizes, after a run."""
    isolate(tmp_path, monkeypatch)
    shown = explore(functions, **settings)
    shown.sizes.value, shown.seconds.value = "16, 32", 0.01
    shown.start()
    shown.wait()
    return shown


def make(n, rng):
    return rng.random(n)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: (value for value in x), "f at n = 16 is left out: it returns a generator, and nothing of its body ran"),
        (lambda x: 1 / 0, "f at n = 16 is left out: it raised ZeroDivisionError: division by zero"),
        (lambda x, left=[]: left.append(1), "f at n = 16 is left out: f must not change what it works on"),  # noqa: B006
    ],
)
def test_a_function_that_cannot_be_measured_is_named_below_the_buttons(tmp_path, monkeypatch, function, words):
    shown = explored(tmp_path, monkeypatch, {"f": function}, make=make)

    assert words in shown.status.value
    assert (shown.run.disabled, shown.results) == (False, [])


def test_functions_of_any_kind_and_name_are_explored_side_by_side(tmp_path, monkeypatch):
    functions = {
        "in place <b>": lambda x: x.sort(),
        "of NumPy, ∑": np.sort,
        "compiled": njit(lambda x: np.sort(x)),
        "bound": functools.partial(np.sort, kind="stable"),
    }

    shown = explored(tmp_path, monkeypatch, functions, make=make)

    assert shown.status.value.startswith("done")
    assert set(load_run(shown.results[0]).samples(TOPIC)["kernel"]) >= set(functions)
    (result,) = shown.shown.children
    text = "".join(child.value for child in result.children if type(child).__name__ == "HTML")
    assert "every run works on arguments of its own, drawn by make, because in place &lt;b&gt; changes them" in text


def test_described_kernels_stand_in_a_dictionary_of_their_own(tmp_path, monkeypatch):
    shown = explored(tmp_path, monkeypatch, {"fast": "rms_norm_fast", "standard": "rms_norm_standard"})

    assert shown.status.value.startswith("done"), shown.status.value


def test_the_button_stops_before_the_first_sample(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    shown = explore({"f": lambda x: (shown.stop.click(), x.sum())[1], "g": np.sum}, make=make)
    shown.sizes.value = "16, 32"

    shown.start()
    shown.wait(60)

    assert shown.status.value == "ended before the first sample; start it again to begin anew"


def test_whatever_is_raised_is_one_line_and_the_buttons_work_again(tmp_path, monkeypatch):
    def broken(*args, **settings):
        raise OSError("no space left")

    monkeypatch.setattr("perflib.explorer.sweep", broken)
    shown = explored(tmp_path, monkeypatch, {"f": len}, make=make)

    assert shown.status.value == "OSError: no space left"
    assert (shown.run.disabled, shown.stop.disabled) == (False, True)


def test_a_scope_that_a_kernel_has_not_is_refused_in_one_line(shown):
    shown.kernels.value, shown.scope.value = ("numpy_rms_norm",), "kernel"
    shown.start()
    shown.wait()

    assert shown.status.value == (
        "scope 'kernel' needs a function compiled by numba.njit, got numpy_rms_norm kernel float32 1 16 1; use scope='call'"
    )
