"""The README: its program runs, its generated table is that of the reference run."""

import re

import pytest
from runs import isolate

from perflib import load_run
from perflib.display.table import Table
from perflib.errors import ReportError
from perflib.report import readme
from perflib.report.readme import between, markdown, update_readme
from perflib.validation.bench import FIGURES

TEXT = readme.README.read_text()


def test_the_program_of_the_readme_runs_and_has_ten_lines(capsys):
    program, shown = re.search(r"```python\n(.*?)```.*?\n\n((?:    [^\n]*\n)+)", TEXT, re.S).groups()
    labels = re.compile(r"(?m)^ *([A-Za-z_ ]+):")

    exec(compile(program, "README", "exec"), {})

    assert len([line for line in program.splitlines() if line]) <= 10
    assert labels.findall(capsys.readouterr().out) == labels.findall(shown)
    assert len(labels.findall(shown)) == 5


def test_the_everyday_example_runs_and_has_five_lines(tmp_path, monkeypatch, capsys):
    isolate(tmp_path, monkeypatch)
    program = re.findall(r"```python\n(.*?)```", TEXT, re.S)[1]

    exec(compile(program, "README", "exec"), {})

    assert len([line for line in program.splitlines() if line]) <= 5
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["n", "sorted", "list.sort"]
    assert [row.split()[0] for row in rows[:4]] == ["100", "1000", "10000", "100000"]


def test_the_readme_has_at_most_a_hundred_and_fifty_lines():
    assert len(TEXT.splitlines()) <= 150


def test_the_picture_is_that_of_the_reference_run(tmp_path):
    (tmp_path / "data").mkdir()

    update_readme(load_run(), tmp_path / "README.md")

    assert (tmp_path / "data" / "ladder.png").read_bytes()[:4] == b"\x89PNG"
    assert (readme.README.parent / "data" / "ladder.png").is_file()
    assert "(data/ladder.png)" in TEXT


def test_there_is_room_for_the_table_of_the_bench():
    """Which `make bench` writes between its markers: header, figures, versions."""
    around = between(TEXT, "bench", "").splitlines()

    assert len(around) + len(FIGURES) + 4 < 150


def test_a_bar_in_a_cell_does_not_break_the_table():
    assert markdown(Table(("a", "b"), (("1|2", "3"),))).splitlines()[-1] == r"| 1\|2 | 3 |"


def test_a_missing_marker_is_refused():
    with pytest.raises(ReportError, match="marker 'ladder'"):
        between("nothing", "ladder", "x")
