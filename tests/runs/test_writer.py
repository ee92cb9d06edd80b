"""Runs are written so that they may be killed at any byte, and one at a time."""

import csv
import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from runs import MACHINE, isolate, row, start, write

from perflib.errors import RunError
from perflib.runs import writer
from perflib.runs.store import list_runs, load_run
from perflib.runs.writer import RunWriter, lock_owner, measuring_lock
from perflib.system import lock

HOLD_LOCK = """
import sys
from perflib.runs.writer import measuring_lock
with measuring_lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def other():
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD_LOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def records(file):
    with file.open(newline="") as stream:
        return list(csv.reader(stream))


@examples(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.text(), st.text())
def test_any_label_survives(block, following, kernel):
    run = start()
    write(run, "tiles", block, rows=2, kernel=kernel)
    write(run, "tiles", following + "!", marker=False)

    again = start()
    assert again.path == run.path
    write(again, "tiles", block + "\n,", rows=1)
    samples = again.finish().samples("tiles")
    assert samples["block"].tolist() == [block, block, block + "\n,"]
    assert samples["kernel"].tolist() == [kernel, kernel, "k"]


def test_an_unfinished_block_is_cut_off_when_the_run_is_continued():
    run = start()
    write(run, "tiles", "n=64")
    write(run, "tiles", "n=640", marker=False)
    write(run, "matmul", "scaling", marker=False)

    again = start()

    assert again.path == run.path
    assert again.notices == (f"continuing run {run.path.name}",)
    assert (again.has("tiles", "n=64"), again.has("tiles", "n=640")) == (True, False)
    assert [fields[0] for fields in records(run.path / "tiles.csv")] == ["block", "n=64", "n=64", "n=64"]
    assert not (run.path / "matmul.csv").exists()


def test_a_run_killed_at_any_byte_is_continued_without_duplicates():
    run = start()
    write(run, "tiles", "n=64", kernel='a,"b"\nµ')
    write(run, "tiles", "n=640", rows=1, kernel='a,"b"\nµ', marker=False)
    file, markers = run.path / "tiles.csv", run.path / "blocks.csv"
    rows, marked = file.read_bytes(), markers.read_bytes()
    complete = rows.index(b"n=640")

    states = [(rows[:cut], marked) for cut in range(complete, len(rows))]
    states += [(rows[:complete], marked[:cut]) for cut in range(len("topic,block,rows\n"), len(marked))]
    for written, marks in states:
        file.write_bytes(written)
        markers.write_bytes(marks)
        again = start()
        for block in ("n=64", "n=640"):
            if not again.has("tiles", block):
                write(again, "tiles", block, kernel='a,"b"\nµ')
        samples = load_run(again.path).samples("tiles")
        assert samples["block"].tolist() == 3 * ["n=64"] + 3 * ["n=640"], f"{written!r}, {marks!r}"
        assert samples["round"].tolist() == [0, 1, 2, 0, 1, 2]


def test_what_a_killed_writer_left_beside_its_tables_does_not_count():
    run = start()
    write(run, "tiles", "n=64")
    (run.path / ".123.part.tiles.csv").write_text("torn")

    again = start()

    assert again.path == run.path
    assert load_run(again.finish().path).samples("tiles")["round"].tolist() == [0, 1, 2]


def test_a_finished_run_is_not_continued():
    run = start()
    run.finish()

    assert start().path != run.path


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"settings": {"seed": 1}}, "settings.seed"),
        ({"machine": replace(MACHINE, memory_bytes=1 << 31)}, "machine.memory_bytes"),
        ({"machine": replace(MACHINE, os="Linux 7", python="3.12.0")}, "machine.os, machine.python"),
    ],
)
def test_a_run_is_not_continued_where_something_changed_and_the_notice_names_it(changed, named):
    run = start()

    again = start(**changed)

    assert again.path != run.path
    assert again.notices == (f"run {run.path.name} is not continued: {named} changed since; starting a new run",)


def test_a_run_is_not_continued_after_a_commit(monkeypatch):
    run = start()
    monkeypatch.setattr(writer, "_code", lambda: {"digest": "1", "commit": "abc", "clean": None})

    again = start()

    assert again.path != run.path
    assert "code.digest, code.commit changed since" in again.notices[0]


def test_an_older_run_is_continued_where_the_newest_is_another():
    run = start(settings={"seed": 0})
    other = start(settings={"seed": 1})

    assert start(settings={"seed": 0}).path == run.path
    assert start(settings={"seed": 1}).path == other.path


def test_a_damaged_run_is_passed_over_with_its_reason():
    run = start()
    (run.path / "run.json").write_text("{")

    again = start()

    assert again.path != run.path
    assert "is not continued: " in again.notices[0]
    assert "cannot be read" in again.notices[0]


def test_two_starts_within_a_second_get_folders_that_sort_by_time():
    runs = [start(command) for command in ("sweep", "quick", "full", "quick")]

    assert len({run.path for run in runs}) == 3, "the fourth continues the second"
    assert list_runs() == [run.path for run in runs[:3]]


def test_the_folder_is_named_by_time_machine_and_command():
    words = start().path.name.split("-", 1)

    assert words[1] == "test-chip-9000-quick"
    assert len(words[0]) == len("20260101T000000Z")


def test_a_parameter_of_ones_own_is_a_column():
    run = start("sweep")
    with run.block("sweep", "all", ["heads"]) as append:
        append([row("all", 0, heads=8), row("all", 1)])

    heads = run.finish().samples("sweep")["heads"]

    assert heads.iloc[0] == 8
    assert heads.isna().tolist() == [False, True]


def test_the_digest_of_the_code_follows_the_package(monkeypatch, tmp_path):
    monkeypatch.undo()
    package = tmp_path / "perflib"
    package.mkdir()
    (package / "writer.py").write_text("x = 1\n")
    monkeypatch.setattr(writer, "PACKAGE", package)

    first = writer._code()
    (package / "writer.py").write_text("x = 2\n")

    assert writer._code()["digest"] != first["digest"]
    assert (first["commit"], first["clean"]) == (None, None), "outside a clone there is no commit"


def test_a_full_disk_is_one_line_and_loses_nothing(monkeypatch, refused):
    run = start()
    write(run, "tiles", "n=64")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with refused(RunError, "cannot write", "tiles.csv: No space left on device; make room", "complete blocks are kept"):
            write(run, "tiles", "n=128")

    assert load_run(run.path).blocks == {("tiles", "n=64"): 3}
    again = start()
    write(again, "tiles", "n=128")
    assert again.finish().samples("tiles")["block"].tolist() == 3 * ["n=64"] + 3 * ["n=128"]


def test_a_full_disk_at_the_start_leaves_no_folder(data, monkeypatch, refused):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with refused(RunError, "No space left on device"):
            start()

    assert list((data / "runs").iterdir()) == []


def test_a_full_disk_at_the_end_leaves_a_run_that_can_be_finished(monkeypatch, refused):
    run = start()
    write(run, "tiles", "n=64")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with refused(RunError, "No space left on device"):
            run.finish()

    assert not load_run(run.path).finished
    assert start().finish().finished


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_line(data, refused):
    data.chmod(0o555)

    with refused(RunError, "cannot write", "Permission denied", "set PERFLIB_DATA to another folder"):
        start()


def test_a_folder_that_cannot_be_made_is_one_line(data, refused):
    (data / "runs").write_text("a file where the folder should be")

    with refused(RunError, "cannot write", "set PERFLIB_DATA to another folder"):
        start()


def test_a_second_measurement_is_refused_with_the_process_of_the_first(other, refused):
    words = f"another measurement runs on this machine (process {other.pid}); wait until it ends"

    with refused(RunError, words), measuring_lock():
        pass


def test_a_second_measurement_waits_for_the_end_of_the_first_if_it_may(other, monkeypatch):
    looks = []

    def look(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            other.communicate()  # its input ends, and with it the process

    monkeypatch.setattr(writer.time, "sleep", look)

    with measuring_lock(wait=True):
        assert len(looks) == 3
        assert other.returncode == 0
    with measuring_lock(wait=True):
        assert len(looks) == 3, "a free lock needs no look"


def test_the_lock_of_a_killed_process_is_free(other):
    other.send_signal(signal.SIGKILL)
    other.wait()

    with measuring_lock():
        pass


def test_the_lock_is_free_again_after_an_error(refused):
    with pytest.raises(ZeroDivisionError), measuring_lock():
        raise ZeroDivisionError

    with measuring_lock(), refused(RunError, f"process {os.getpid()}"), measuring_lock():
        pass


def test_the_lock_is_open_to_every_user(data):
    with measuring_lock():
        assert (data / "perflib.lock").stat().st_mode & 0o777 == 0o666


def test_the_lock_does_not_follow_a_link(data, refused):
    precious = data / "precious"
    precious.write_text("mine")
    (data / "perflib.lock").symlink_to(precious)

    with refused(RunError, "cannot write", "perflib.lock"), measuring_lock():
        pass
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "a/secret/path", "12 and more", "9" * 5000, "\u202e7\n", "0\n", "-1\n", "٣\n", ""]
)
def test_the_message_of_the_lock_shows_a_number_of_a_process_and_nothing_else(other, data, refused, text):
    (data / "perflib.lock").write_text(text)

    with refused(RunError, "another measurement runs on this machine (process unknown); wait"), measuring_lock():
        pass
    assert lock_owner() is None


def test_a_lock_that_cannot_be_opened_names_the_variable_that_moves_it(data, refused):
    os.mkfifo(data / "perflib.lock")

    with refused(RunError, "cannot write", "perflib.lock", "no regular file", "set TMPDIR to"), measuring_lock():
        pass
    assert lock_owner() is None


def test_where_the_system_has_no_flock_the_lock_is_held_all_the_same(data, monkeypatch, refused):
    monkeypatch.setattr(lock, "fcntl", None)

    with measuring_lock(), refused(RunError, f"(process {os.getpid()})"), measuring_lock():
        pass
    with measuring_lock():
        assert lock_owner() == os.getpid()


def test_a_run_holds_no_path_of_this_machine(data):
    run = start()
    write(run, "tiles", "n=64")
    path = run.finish().path

    written = "".join(file.read_text() for file in path.iterdir())
    assert str(data) not in written
    assert str(Path.home()) + "/" not in written


def test_start_is_given_what_it_compares():
    run = RunWriter.start("quick", {"sizes": (1, 2)}, MACHINE)

    assert RunWriter.start("quick", {"sizes": [1, 2]}, MACHINE).path == run.path


def test_a_second_measurement_waits_no_longer_than_it_may(other, refused):
    words = f"waited 0.3 s for the measurement of process {other.pid} to end"

    with refused(RunError, words), measuring_lock(wait=0.3):
        pass


def test_who_measures_is_known_without_touching_the_lock(other, data):
    assert lock_owner() == other.pid

    other.communicate()
    assert lock_owner() is None, "it has ended"
    (data / "perflib.lock").write_text("no number")
    assert lock_owner() is None
