"""What a function changes of its process and on disk: named, put back where that is possible, and no obstacle where not."""

import decimal
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from blamed import blamed

from perflib import measure
from perflib.errors import Unmeasurable
from perflib.sweeps.rehearsal import _nothing
from perflib.timing.effects.settings import bytes_written, files_of
from perflib.timing.fresh_arguments import State
from perflib.timing.preflight import run_preflight

BRIEF = {"budget_s": 0.03}
LOGGER = logging.getLogger("perflib.tested")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A directory, an environment, loggers and filters of this test alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFLIB_TESTED", "before")
    with warnings.catch_warnings(), decimal.localcontext(), np.errstate():
        yield tmp_path
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)


def shared():
    """What all functions share."""
    context = decimal.getcontext()
    own = context.prec, context.rounding, dict(context.traps)
    loggers = LOGGER.level, list(LOGGER.handlers), LOGGER.disabled, logging.root.level
    return dict(os.environ), Path.cwd(), list(warnings.filters), np.geterr(), own, loggers, sys.getrecursionlimit()


def extend_path():
    os.environ["PERFLIB_TESTED"] += ":more"


def add_handler():
    LOGGER.addHandler(logging.NullHandler())


def go_down():
    Path("down").mkdir(exist_ok=True)
    os.chdir("down")


def filter_more():
    warnings.filterwarnings("ignore", message=f"the one after {len(warnings.filters)}")


def recurse_deeper():
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (extend_path, "the environment"),
        (add_handler, "the logging handlers"),
        (go_down, "the working directory"),
        (filter_more, "the filters of warnings"),
        (recurse_deeper, "the recursion limit"),
    ],
)
def test_a_setting_that_every_call_moves_on_is_refused_with_the_way_to_measure_it(refused, fn, name):
    before = shared()

    with refused(
        Unmeasurable, f"got {name} changed in place", "each run would work on what the last one left; give in_place"
    ):
        measure(fn)
    assert shared() == before
    found = measure(fn, in_place=True, **BRIEF)

    assert shared() == before
    assert any("restored before each batch" in note for note in found.notes)


def set_variable():
    os.environ["PERFLIB_TESTED"] = "by the function"


def go_home():
    os.chdir(os.sep)


def set_level():
    LOGGER.setLevel(logging.ERROR)
    logging.root.setLevel(logging.CRITICAL)


def round_down():
    decimal.getcontext().prec = 5
    return decimal.Decimal(1) / 3


def raise_on_overflow():
    np.seterr(over="raise")


@pytest.mark.parametrize("fn", [set_variable, go_home, set_level, round_down, raise_on_overflow])
def test_a_setting_that_every_call_makes_the_same_is_no_obstacle_and_is_put_back(fn):
    before = shared()

    found = measure(fn, **BRIEF)

    assert not blamed(found)
    assert shared() == before


def test_a_setting_that_changes_late_is_a_reason():
    calls = iter(range(10**9))

    def late():
        if next(calls) > 5:
            extend_path()

    found = measure(late, **BRIEF)

    assert any("the environment changed during the timed part" in reason for reason in found.reasons)
    assert os.environ["PERFLIB_TESTED"] == "before"


def test_what_an_imported_library_sets_up_stays(tmp_path, monkeypatch):
    (tmp_path / "perflib_tested.py").write_text(
        "import logging, os, warnings\n"
        "logging.getLogger('perflib.tested').addHandler(logging.NullHandler())\n"
        "os.environ['PERFLIB_TESTED'] = 'by the import'\n"
        "warnings.filterwarnings('ignore', message='of the import')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def lazy():
        import perflib_tested

        return perflib_tested.__name__

    found = measure(lazy, **BRIEF)
    sys.modules.pop("perflib_tested")

    assert not blamed(found)
    assert len(LOGGER.handlers) == 1
    assert os.environ["PERFLIB_TESTED"] == "by the import"
    assert any("of the import" in str(one) for one in warnings.filters)


# files


def save(path, x):
    np.save(path, x)


def append(path):
    with open(path, "a") as file:
        file.write("a line\n")


NAMED = Path("named.txt")


@pytest.mark.parametrize(
    ("fn", "args", "name"),
    [
        (save, ("out.npy", np.ones(3)), "out.npy"),
        (save, (Path("out.npy"), np.ones(3)), "out.npy"),
        (append, ("log.txt",), "log.txt"),
        (lambda paths: append(paths[1]), (["other.txt", "log.txt"],), "log.txt"),
        (lambda: append("constant.txt"), (), "constant.txt"),
        (lambda: NAMED.write_text("x"), (), "named.txt"),
        (lambda path="default.txt": append(path), (), "default.txt"),
    ],
)
def test_a_file_that_a_function_writes_is_named_and_no_obstacle(fn, args, name):
    for way in ({}, {"in_place": True}):
        found = measure(fn, *args, **way, **BRIEF)

        assert f"file {name} cannot be restored: it holds what the calls left" in found.notes
        assert not blamed(found)


@pytest.mark.parametrize("path", ["there.txt", "nowhere.txt"])
def test_a_file_that_is_only_read_or_looked_for_is_not_named(path):
    Path("there.txt").write_text("1 2 3")

    found = measure(lambda path: os.path.exists(path) and Path(path).read_text(), path, **BRIEF)

    assert not any("file" in note for note in found.notes)


def test_a_file_that_nobody_named_is_told_by_the_bytes_that_went_there():
    if not bytes_written():
        pytest.skip("this system does not count the bytes that a thread writes")
    names = iter(range(10**9))

    found = run_preflight("work", lambda: Path(f"part-{next(names)}").write_text("x" * 1000) and None, ())

    assert found.notes == ("each call writes 1000 bytes to files, pipes or a terminal, where they stay",)


@pytest.mark.parametrize("mode", ["w", "a", "wb", "r+", "w+"])
def test_what_is_written_behind_the_end_of_an_open_file_is_measured_and_cut_off(mode):
    Path("open").write_text("before\n")
    line = b"a line\n" if "b" in mode else "a line\n"
    with open("open", mode) as file:
        file.seek(0, os.SEEK_END)
        file.write(line)
        file.flush()
        before = Path("open").read_bytes()

        found = measure(lambda: file.write(line), **BRIEF)

        file.write(line)
    assert not blamed(found)
    assert Path("open").read_bytes() == before + b"a line\n"


def test_what_is_overwritten_in_an_open_file_is_refused_and_named(refused):
    Path("open").write_text("before\n" * 1000)
    with open("open", "r+") as file:
        with refused(Unmeasurable, "uses up file of its closure (TextIOWrapper); give fresh=make"):
            measure(lambda: file.write("a"))
        found = measure(lambda: file.write("a"), in_place=True, **BRIEF)

        assert "file of its closure cannot be restored: it holds what the calls left" in found.notes
        assert file.tell() == 0


def test_directories_and_words_are_no_files(here):
    texts = [str(here), here, "some words", "x" * 5000, "two\nlines", 3, None, ""]

    assert [one.now() for one in files_of(texts)] == [None] * 2


def test_what_another_process_writes_is_no_change_of_a_setting():
    state = State(_nothing)

    subprocess.run([sys.executable, "-c", "import os; os.environ['PERFLIB_TESTED'] = '1'; os.chdir('/')"], check=True)

    assert state.changes() == []
