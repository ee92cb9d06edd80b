"""Files of a run are regular files in its folder, read and written there and nowhere else."""

import os
import socket

import pytest
from runs import MACHINE, isolate, start, write

from perflib import cli
from perflib.errors import RunError
from perflib.runs import integrity
from perflib.runs.store import list_runs, load_run


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def unfinished():
    run = start()
    write(run, "tiles", "n=64")
    return run.path


def linked(file):
    (file.parent / "inside").write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to("inside")


def piped(file):
    file.unlink()
    os.mkfifo(file)


def bound(file):
    file.unlink()
    here = os.getcwd()
    os.chdir(file.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(file.name)
    finally:
        os.chdir(here)


def folder(file):
    file.unlink()
    file.mkdir()


KINDS = {"a link": linked, "a pipe": piped, "a socket": bound, "a folder": folder}


@pytest.mark.parametrize("name", ["run.json", "tiles.csv", "blocks.csv"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_refused_and_listed_as_damaged(unfinished, kind, name, refused, capsys):
    KINDS[kind](unfinished / name)

    with refused(RunError, f"{name}: must be a regular file in the folder of its run, got {kind}"):
        load_run(unfinished)
    assert cli.run(["runs"]) == 0
    assert capsys.readouterr().out.count("damaged: ") == 1


def test_a_file_is_looked_at_before_it_is_read(unfinished, refused):
    with (unfinished / "tiles.csv").open("r+b") as stream:
        stream.truncate(1 << 40)  # a hole: it takes no room, and reading it takes all memory

    with refused(RunError, "a run has at most 1000 files and 128 MiB, got", "of 1048576 MiB"):
        load_run(unfinished)


def test_a_document_is_small(unfinished, refused):
    (unfinished / "run.json").write_text(" " * ((4 << 20) + 1) + "{}")

    with refused(RunError, "run.json: must have at most 4 MiB, got 4"):
        load_run(unfinished)


def test_a_folder_of_very_many_files_is_refused(unfinished, monkeypatch, refused):
    monkeypatch.setattr(integrity, "MOST_ENTRIES", 3)
    (unfinished / "notes.txt").touch()

    with refused(RunError, "a run has at most 3 files"):
        load_run(unfinished)


def test_a_link_to_itself_stands_in_the_list_and_spoils_nothing(data, unfinished, capsys):
    (data / "runs" / "20990101T000000Z-loop").symlink_to("20990101T000000Z-loop")

    assert [path.name for path in list_runs()] == [unfinished.name, "20990101T000000Z-loop"]
    assert cli.run(["runs"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "3 samples" in first
    assert "damaged: " in second


def test_names_with_escapes_are_shown_without_them(data, unfinished, capsys):
    os.rename(unfinished, data / "runs" / "20260101T000000Z-\x1b[31mred\n\u202e")

    assert cli.run(["runs"]) == 0
    assert capsys.readouterr().out.startswith("20260101T000000Z-red  runs  unfinished  3 samples")
    with pytest.raises(RunError) as caught:
        load_run("none")
    assert str(caught.value) == "no run 'none'; recorded: 20260101T000000Z-red"


def test_the_folder_itself_has_an_id(unfinished, monkeypatch):
    monkeypatch.chdir(unfinished)

    assert load_run(".").id == unfinished.name


@pytest.fixture
def precious(data):
    file = data / "precious.txt"
    file.write_text("mine")
    return file


@pytest.mark.parametrize("name", ["tiles.csv", "blocks.csv", "run.json"])
def test_a_run_with_a_link_is_not_continued(unfinished, precious, name):
    (unfinished / name).rename(unfinished / "moved")
    (unfinished / name).symlink_to(precious)

    again = start()
    write(again, "tiles", "n=128")

    assert again.path != unfinished
    assert precious.read_text() == "mine"


def test_a_link_where_a_file_is_prepared_is_not_followed(unfinished, precious):
    """It comes while the run is recorded: at its start such a run is not continued."""
    run = start()
    for name in ("blocks.csv", "run.json", "SHA256SUMS"):
        (unfinished / f".{os.getpid()}.part.{name}").symlink_to(precious)
    run.cut_unfinished()
    run.finish()

    assert precious.read_text() == "mine"


def test_a_table_that_became_a_link_while_it_was_recorded_is_not_written(unfinished, precious, refused):
    run = start()
    (unfinished / "tiles.csv").unlink()
    (unfinished / "tiles.csv").symlink_to(precious)

    with refused(RunError, "cannot write", "tiles.csv"):
        write(run, "tiles", "n=128")
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("second name", "has another name elsewhere"),
        ("folder", "is a link to a folder elsewhere"),
        ("owner", "another user"),
    ],
)
def test_what_may_belong_to_somebody_else_is_not_continued(data, unfinished, monkeypatch, how, words):
    if how == "second name":
        os.link(unfinished / "tiles.csv", data / "twin.csv")
    elif how == "folder":
        unfinished.rename(data / "elsewhere")
        unfinished.symlink_to(data / "elsewhere")
    else:
        monkeypatch.setattr(integrity.os, "geteuid", lambda: os.getuid() + 1)
    before = (unfinished / "tiles.csv").read_bytes()

    again = start()

    assert again.path != unfinished
    assert words in again.notices[0]
    assert (unfinished / "tiles.csv").read_bytes() == before


def test_a_run_that_nobody_could_read_is_not_written(unfinished, monkeypatch, refused):
    run = start()
    before = (unfinished / "tiles.csv").read_bytes()
    monkeypatch.setattr("perflib.runs.writer.MOST_BYTES", len(before) + 10)

    with refused(RunError, "tiles.csv: would have more than", "record fewer sizes or sessions in one run"):
        write(run, "tiles", "n=128")
    assert (unfinished / "tiles.csv").read_bytes() == before


def test_a_session_does_not_go_on_where_somebody_put_a_link(unfinished, precious, refused):
    run = start()
    (unfinished / "blocks.csv").unlink()
    (unfinished / "blocks.csv").symlink_to(precious)

    with refused(RunError, "blocks.csv: must be a regular file in the folder of its run, got a link"):
        run.reopen(MACHINE)
    assert precious.read_text() == "mine"
