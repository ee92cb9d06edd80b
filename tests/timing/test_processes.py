"""Fresh processes: what travels and how, and what many measurements make together."""

import functools
import io
import operator
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import scipy
from numba import njit

from perflib import compare, kernels, measure
from perflib.errors import Unmeasurable, WrongResult
from perflib.kernels.catalog import find
from perflib.kernels.rmsnorm.textbook import _rms_norm_fast
from perflib.stats import Interval
from perflib.timing import processes as timing_processes
from perflib.timing.processes import FreshProcess, _Pickler, from_fresh_process, importable, in_processes
from perflib.timing.results import combined, pooled


@njit
def _sum(x):
    return x.sum()


def add(amount):
    return lambda x: x + amount


def pickled(value):
    stream = io.BytesIO()
    _Pickler(stream).dump(value)
    return stream.getvalue()


@pytest.mark.parametrize("fn", [_sum, add, kernels.matmul_tiled, os.path.join])
def test_what_a_module_holds_travels_by_name(fn):
    assert importable(fn)
    assert pickle.loads(pickled(fn)) is fn


@pytest.mark.parametrize(
    "fn",
    [
        add(2),
        lambda x: x + 2,
        functools.partial(operator.add, 2),
        njit(lambda x: x + 2),
        operator.methodcaller("__add__", 2),
    ],
)
def test_anything_else_travels_by_value(fn):
    assert pickle.loads(pickled(fn))(1) == 3


def test_a_function_whose_name_means_another_one_travels_by_value():
    impostor = add(2)
    impostor.__module__, impostor.__qualname__ = __name__, "add"

    assert pickle.loads(pickled(impostor))(1) == 3


def test_what_cannot_travel_is_refused_in_one_line(refused):
    with refused(TypeError, "needs a function and arguments that can be pickled, got cannot pickle"):
        in_processes(measure, 2, add, (threading.Lock(),), {})


def noisy(measurement, middle, **changes):
    return measurement(np.arange(middle - 2, middle + 4), **changes)


def test_the_median_process_speaks_for_all(measurement):
    found = combined([noisy(measurement, ns) for ns in (1010, 1012, 1050)])

    assert found.processes_ns == (1000.5, 1002.5, 1040.5)
    assert (found.time_ns.value, found.gross_ns.value, found.floor_ns.value) == (1002.5, 1012.5, 10)
    assert (found.time_ns.low, found.time_ns.high) == (998, 1043), "all of their intervals"
    assert found.time_ns.coverage == noisy(measurement, 1010).time_ns.coverage


def test_from_four_processes_on_the_interval_is_students_over_the_logarithms_of_their_medians():
    medians = [1000, 1010, 1030, 1060]
    wide = [Interval(ns, ns - 500, ns + 500, 0.97) for ns in medians]

    logs = np.log(medians)
    ends = np.exp(scipy.stats.t.interval(0.95, 3, logs.mean(), scipy.stats.sem(logs)))

    found = pooled(wide)

    assert found.value == pytest.approx(np.exp(logs.mean()))
    assert (found.low, found.high, found.coverage) == pytest.approx((*ends, 0.95))
    assert pooled(wide[:3]) == Interval(1010, 500, 1530, 0.97), "all of their intervals"


def test_differences_below_zero_have_no_logarithm():
    assert pooled([Interval(ns, ns - 1, ns + 1, 0.97) for ns in (-2, 1, 2, 3)]) == Interval(1.5, -3, 4, 0.97)


def test_several_ratios_of_processes_share_the_error_rate():
    each = [Interval(ns, ns, ns, 0.97) for ns in (1.0, 1.1, 1.2, 1.1)]

    assert pooled(each, 5).high > pooled(each).high


def test_all_samples_are_kept_and_rounds_counted_through(measurement):
    found = combined([measurement(seconds=1.5), measurement(seconds=2.0)])

    assert [s.round for s in found.samples] == list(range(12))
    assert found.seconds == 3.5


@pytest.mark.parametrize(
    ("states", "together"),
    [
        (("stable", "stable"), "stable"),
        (("stable", "noisy"), "noisy"),
        (("invalid", "stable"), "invalid"),
        (("noisy", "invalid"), "invalid"),
    ],
)
def test_the_worst_state_counts(measurement, states, together):
    assert combined([measurement(state=state) for state in states]).state == together


def test_every_reason_is_given_once_whatever_its_numbers(measurement):
    each = [("drift (tau 0.5)", "page faults in 8 of 30 samples"), ("page faults in 9 of 45 samples",), ("discarded",)]

    found = combined([measurement(state="noisy", reasons=reasons) for reasons in each])

    assert sorted(found.reasons) == ["discarded", "drift (tau 0.5)", "page faults in 17 of 18 samples"]


@pytest.mark.parametrize(
    ("medians", "reasons"),
    [
        ((1010, 1029), ()),
        ((1010, 1035), ("processes differ by 2 %: layout of memory",)),
        ((1510, 1010, 1020), ("processes differ by 50 %: layout of memory",)),
        ((5010, 1010, 1020), ("processes differ by a factor of 5: layout of memory",)),
    ],
)
def test_processes_that_differ_are_a_reason(measurement, medians, reasons):
    found = combined([measurement((ns,) * 6) for ns in medians])

    assert found.reasons == reasons
    assert found.state == ("noisy" if reasons else "stable")


def test_processes_that_differ_by_less_than_their_own_intervals_are_none(measurement):
    wide = [measurement(time_ns=Interval(ns, ns * 0.9, ns * 1.1, 0.97)) for ns in (1000, 1150)]

    assert combined(wide).reasons == ()


@pytest.mark.parametrize(
    ("ended", "together"), [(("half-width", "half-width"), "half-width"), (("half-width", "budget"), "budget")]
)
def test_the_budget_ended_it_if_it_ended_one(measurement, ended, together):
    assert combined([measurement(ended_by=by) for by in ended]).ended_by == together


def test_both_scopes_and_the_dispatch_are_put_together(measurement):
    each = [
        measurement(call=measurement((ns,) * 6), dispatch_ns=Interval(ns, ns - 1, ns + 1, 0.97))
        for ns in (2010, 2020, 2012)
    ]

    found = combined(each)

    assert found.call.time_ns.value == 2002
    assert found.call.processes_ns == (2000, 2010, 2002)
    assert found.dispatch_ns == Interval(1002, 1002, 2021, 0.97)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("raise KeyError(1)", "KeyError: 1"),
        ("import os; os.abort()", "exit status -6"),
        ("import os; os._exit(0)", "exit status 0"),
    ],
)
def test_a_process_that_fails_says_why_in_one_line(refused, code, line):
    """Live."""
    with refused(Unmeasurable, "a fresh process could not measure it", line):
        in_processes(lambda fn, seed: exec(code), 2, add(2), (), {})


def test_a_lambda_is_measured_in_two_fresh_processes_whatever_it_prints():
    """Live. Python's prints and those below Python are no answer."""
    told = {"one": 1}

    def work(x):
        print("from Python")
        os.write(1, b"from below")
        return np.sum(x) + told["one"]

    found = measure(work, np.ones(100), processes=2, budget_s=0.02)

    assert (found.label, found.scope, len(found.processes_ns)) == ("work", "call", 2)
    assert len(found.samples) >= 12
    assert found.time_ns.low <= min(found.processes_ns) <= max(found.processes_ns) <= found.time_ns.high


def test_every_process_draws_for_itself_and_the_same_again_from_the_same_seed(monkeypatch):
    requests = []
    monkeypatch.setattr(timing_processes, "_result_of", lambda job: requests.append(job.args[-1]["seed"]))

    for seed in (7, 7, None):
        in_processes(measure, 3, add(2), (1,), {"seed": seed})

    assert requests[:3] == requests[3:6]
    assert len(set(requests)) == 6


def test_a_comparison_is_repeated_in_processes_with_its_pairs_within_each():
    """Live."""
    found = compare({"sum": np.sum, "copy": add(2), "same": _sum}, np.ones(100), processes=2, budget_s=0.02, seed=5)

    assert {len(m.processes_ns) for m in found.measurements.values()} == {2}
    assert {m.seed for m in found.measurements.values()} == {5}
    assert set(found.verdicts) == {"copy", "same"}
    assert all(r.low <= r.value <= r.high for r in (found.again, *found.ratios.values()))
    assert "2 processes" in str(found)


def test_a_function_that_fails_in_a_fresh_process_gives_one_line(refused):
    """Live: it behaves here and nowhere else."""
    here = os.getpid()

    def work():
        if os.getpid() != here:
            raise RuntimeError("not\nhere")

    with refused(Unmeasurable, "a fresh process could not measure it: Unmeasurable: work must not raise", "not"):
        measure(work, processes=2, budget_s=0.02)


def test_settings_are_refused_before_a_process_is_started(monkeypatch, refused):
    monkeypatch.setattr(timing_processes.subprocess, "Popen", None)

    with refused(ValueError, "mode must be one of"):
        measure(add(2), 1, processes=2, mode="warm")


def counted(numbers):
    """Made by value: a test module is nowhere to be imported from."""

    def job():
        import os

        print("noise that is no item")
        for number in range(numbers):
            yield os.getpid(), number

    return job


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
    with refused(Unmeasurable, "exit status 7"):
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
    code = "import os; from perflib.timing.processes import from_fresh_process as f; import sleeper"
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
