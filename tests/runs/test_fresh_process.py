"""Generators in processes of their own: what they yield arrives, and none of them outlives its reader."""

import io
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from perflib.errors import RunError, WrongResult
from perflib.kernels.catalog import find
from perflib.kernels.rmsnorm.textbook import _rms_norm_fast
from perflib.runs.fresh_process import FreshProcess, _Pickler, from_fresh_process


def counted(numbers):
    """Made by value: a test module is nowhere to be imported from."""

    def job():
        import os

        print("noise that is no item")
        for number in range(numbers):
            yield os.getpid(), number

    return job


def pickled(value):
    stream = io.BytesIO()
    _Pickler(stream).dump(value)
    return stream.getvalue()


def test_items_arrive_in_order_from_one_other_process():
    items = list(from_fresh_process(counted(3)))

    assert [number for _, number in items] == [0, 1, 2]
    (process,) = {pid for pid, _ in items}
    assert process != os.getpid()


def test_every_job_has_a_process_of_its_own():
    first, second = (next(from_fresh_process(counted(1)))[0] for _ in range(2))

    assert first != second


def test_an_exception_of_the_job_is_raised_here(refused):
    def job():
        from perflib.errors import WrongResult

        yield 1
        raise WrongResult("the third element must be 2, got 3")

    items = from_fresh_process(job)
    assert next(items) == 1
    with refused(WrongResult, "must be 2, got 3"):
        next(items)


def test_a_process_that_ends_by_itself_is_no_end_of_the_items(refused):
    def job():
        import os

        yield 1
        os._exit(7)

    items = from_fresh_process(job)
    assert next(items) == 1
    with refused(RunError, "exit status 7"):
        next(items)


def test_a_reader_who_leaves_ends_the_process():
    def job():
        import os
        import time

        yield os.getpid()
        time.sleep(600)

    items = from_fresh_process(job)
    process = next(items)
    items.close()

    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_one_process_runs_two_jobs_and_the_second_after_the_first_raised():
    def broken():
        yield 1
        raise ValueError("no more")

    with FreshProcess() as process:
        process.begin(broken)
        process.begin(counted(2))
        with pytest.raises(ValueError, match="no more"):
            list(process.items())
        items = list(process.items())

    assert [number for _, number in items] == [0, 1]


def test_two_processes_work_at_the_same_time():
    """Each waits for a file that the other writes."""

    def job(mine, other):
        import time
        from pathlib import Path

        Path(mine).touch()
        while not Path(other).exists():
            time.sleep(0.01)
        yield mine

    with TemporaryDirectory() as folder, FreshProcess() as first, FreshProcess() as second:
        files = [str(Path(folder) / name) for name in "ab"]
        first.begin(partial(job, *files))
        second.begin(partial(job, *reversed(files)))

        assert [*first.items(), *second.items()] == files


def test_a_process_that_ended_may_be_ended_again():
    with FreshProcess() as process:
        process.end()


def test_a_process_whose_reader_was_killed_ends_too(tmp_path):
    """A reader that stops without a word: its end of the pipe closes."""
    code = "import os; from perflib.runs.fresh_process import from_fresh_process as f; import sleeper"
    code += "; items = f(sleeper.job); print(next(items), flush=True); os.kill(os.getpid(), 9)"
    (tmp_path / "sleeper.py").write_text("import os, time\ndef job():\n    yield os.getpid()\n    time.sleep(600)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    output = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=False).stdout
    process = int(output)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail(f"process {process} lives on")


def test_compiled_code_that_can_be_looked_up_travels_by_name():
    assert b"_look_up" in pickled(_rms_norm_fast)  # by value it would be found again here, but nowhere else
    assert pickle.loads(pickled(_rms_norm_fast)) is _rms_norm_fast
    assert pickle.loads(pickled(find("matmul_tiled"))) is find("matmul_tiled")
    renamed = pickle.loads(pickled(replace(find("rms_norm_fast"), name="another")))
    assert renamed.name == "another"
    assert renamed.compiled is _rms_norm_fast


def test_a_partial_of_a_module_function_travels():
    assert list(from_fresh_process(partial(iter, (1, 2)))) == [1, 2]


def test_a_job_that_fills_the_pipe_many_times_arrives_whole():
    numbers = tuple(range(10**6, 10**6 + 300_000))

    assert sum(from_fresh_process(partial(iter, numbers[::1000]))) == sum(numbers[::1000])
    (found,) = from_fresh_process(partial(iter, (numbers,)))
    assert found == numbers


def test_what_raised_is_told_although_it_is_no_usual_exception():
    def job():
        yield 1
        raise SystemExit("over")

    items = from_fresh_process(job)
    next(items)
    with pytest.raises(SystemExit):
        next(items)
