"""The progress bar counts what is done, and shows nothing where nobody watches."""

import pytest

from perflib.display.progress import progress_bar, step


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
