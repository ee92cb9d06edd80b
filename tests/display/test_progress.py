"""The progress bar counts what is done, and shows nothing where nobody watches."""

import sys
from types import SimpleNamespace

import pytest
from tqdm.notebook import tqdm_notebook

from perflib.display import progress
from perflib.display.progress import in_notebook, progress_bar, step


def test_nothing_is_printed_where_nobody_watches(capsys):
    with progress_bar(2) as bar, step(bar, "packing"):
        pass

    assert capsys.readouterr() == ("", "")


def test_a_step_counts_once_it_is_done_and_not_if_it_fails(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_bar(10) as bar:
        with step(bar, "packing", 4):
            assert (bar.n, bar.desc) == (0, "packing")
        with pytest.raises(KeyboardInterrupt), step(bar, "measuring", 6):
            raise KeyboardInterrupt

        assert bar.n == 4


@pytest.mark.filterwarnings("ignore")
def test_a_notebook_gets_a_bar_of_its_own_that_is_removed_at_the_end(monkeypatch):
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    shown = []
    monkeypatch.setattr("tqdm.notebook.display", shown.append)

    with progress_bar(2) as bar:
        bar.set_description_str("compiling")
        assert isinstance(bar, tqdm_notebook)
        assert "compiling" in repr(bar.container)
        bar.update(2)

    assert len(shown) == 1
    assert bar.leave is False
    assert bar.container.comm is None, "a closed widget has no view"


def test_a_notebook_that_asks_for_no_bar_gets_none(monkeypatch):
    monkeypatch.setattr(progress, "in_notebook", lambda: True)

    with progress_bar(2, shown=False) as bar:
        assert not isinstance(bar, tqdm_notebook)
        assert bar.disable


@pytest.mark.parametrize(
    ("shell", "widgets", "expected"),
    [
        (None, True, False),
        (SimpleNamespace(), True, False),
        (SimpleNamespace(kernel=1), True, True),
        (SimpleNamespace(kernel=1), False, False),
    ],
    ids=["no IPython", "a terminal", "a notebook", "one without ipywidgets"],
)
def test_a_notebook_is_a_kernel_that_can_show_widgets(monkeypatch, shell, widgets, expected):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: widgets or None)

    assert in_notebook() is expected
