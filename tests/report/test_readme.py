"""The README: its program runs, its generated table is that of the reference run."""

import re

import pytest
from runs import isolate

from perflib import cli, load_run
from perflib.display.table import Table
from perflib.errors import ReportError
from perflib.report import readme
from perflib.report.readme import between, markdown, update_readme
from perflib.validation import bench
from perflib.validation.bench import FIGURES

TEXT = readme.README.read_text()


@pytest.mark.parametrize(("number", "lines", "labels"), [(0, 4, 1), (1, 10, 2)])
def test_a_program_of_the_readme_runs_and_prints_what_is_shown(number, lines, labels, capsys):
    program, shown = re.findall(r"```python\n(.*?)```.*?\n\n((?:    [^\n]*\n)+)", TEXT, re.S)[number]
    label = re.compile(r"(?m)^ *([A-Za-z_ ]+):")

    exec(compile(program, "README", "exec"), {})

    assert len([line for line in program.splitlines() if line]) <= lines
    assert label.findall(capsys.readouterr().out) == label.findall(shown)
    assert len(label.findall(shown)) == labels


def test_the_everyday_example_runs_and_has_five_lines(tmp_path, monkeypatch, capsys):
    isolate(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    program = re.findall(r"```python\n(.*?)```", TEXT, re.S)[2]

    exec(compile(program, "README", "exec"), {})

    assert len([line for line in program.splitlines() if line]) <= 5
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["n", "sorted", "list.sort"]
    assert [row.split()[0] for row in rows[:4]] == ["100", "1000", "10000", "100000"]
    assert (tmp_path / "sorting.png").read_bytes()[:4] == b"\x89PNG"


def test_the_readme_has_at_most_a_hundred_and_fifty_lines():
    assert len(TEXT.splitlines()) <= 150


def test_the_pictures_are_those_of_the_reference_run(tmp_path):
    (tmp_path / "data").mkdir()

    update_readme(load_run(), tmp_path / "README.md")

    assert {file.name for file in (tmp_path / "data").iterdir()} == {"growth.png", "ladder.png"}
    for file in (tmp_path / "data").iterdir():
        assert file.read_bytes()[:4] == b"\x89PNG"
        assert f"(data/{file.name})" in TEXT


def test_every_picture_of_the_readme_is_there_and_has_its_sentence():
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", TEXT)

    assert [name for _, name in pictures] == ["data/growth.png", "data/ladder.png", "data/sweep.png"]
    assert all(len(alt) > 20 for alt, _ in pictures)
    assert all((readme.README.parent / name).read_bytes()[:4] == b"\x89PNG" for _, name in pictures)


def test_the_command_renews_pictures_and_table_of_the_last_bench(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PERFLIB_RUN", "no such run")
    renewed = []
    monkeypatch.setattr(readme, "update_readme", lambda run: renewed.append(run.id))
    monkeypatch.setattr(readme, "update_bench", renewed.append)
    monkeypatch.setattr(bench, "load_bench", lambda: "the last bench")

    assert cli.run(["readme"]) == 0

    monkeypatch.undo()
    assert renewed == [load_run().id, "the last bench"]


def test_there_is_room_for_the_table_of_the_bench():
    """Which `make bench` writes between its markers: header, figures, versions."""
    around = between(TEXT, "bench", "").splitlines()

    assert len(around) + len(FIGURES) + 4 < 150


def test_a_bar_in_a_cell_does_not_break_the_table():
    assert markdown(Table(("a", "b"), (("1|2", "3"),))).splitlines()[-1] == r"| 1\|2 | 3 |"


def test_a_missing_marker_is_refused():
    with pytest.raises(ReportError, match="marker 'ladder'"):
        between("nothing", "ladder", "x")
