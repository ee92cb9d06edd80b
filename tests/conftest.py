"""What every test starts from: no run chosen by the environment, the same examples each time, errors of one line."""

import fcntl
import gc
import os
import pickle
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from hand_clock import HandClock
from hypothesis import settings
from threadpoolctl import threadpool_limits

import perflib.studies.your_kernel  # noqa: F401  registers its example once, whatever a test does to the registry
from perflib.runs.store import load_run, recorded_runs
from perflib.stats import median_interval
from perflib.timing.case import Case
from perflib.timing.results import Measurement
from perflib.timing.sampling import Sample

os.environ.pop("PERFLIB_RUN", None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell ignores it for what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("perflib", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("perflib")


@pytest.fixture(scope="session", autouse=True)
def nothing_recorded_here():
    """No test leaves a run in the data folder of the clone."""
    before = recorded_runs()
    yield
    assert recorded_runs() == before


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """No collection of garbage goes through what was loaded before: a measurement begins with one, which takes a second
    where all libraries and tests are loaded.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def one_thread_of_blas():
    """As many processes as there are cores share the tests: threads of each would wait for those of the others."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture
def refused():
    """`with refused(ValueError, "tile", "got 0"): ...`: exactly this error, with these words, on one line."""

    @contextmanager
    def expect(kind, *words):
        with pytest.raises(kind, match=".*".join(map(re.escape, words))) as caught:
            yield
        assert caught.type is kind
        assert "\n" not in str(caught.value)

    return expect


@pytest.fixture
def hand_clock():
    return HandClock()


@pytest.fixture
def simulated(hand_clock, monkeypatch):
    """Make functions that take a given time on the hand-driven clock; the empty loop takes 10 ns there, the canary 2.

    Nothing is interrupted there and nothing waits, however busy the machine is.
    """
    usage = SimpleNamespace(ru_nivcsw=0, ru_minflt=0, ru_majflt=0)
    calm = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: usage)
    monkeypatch.setattr("perflib.timing.sampling.resource", calm)
    monkeypatch.setattr(
        "perflib.timing.sampling.time", SimpleNamespace(thread_time_ns=hand_clock, process_time_ns=hand_clock)
    )
    floors = {scope: Case("floor", scope, hand_clock.arm(10)) for scope in ("call", "kernel")}
    monkeypatch.setattr("perflib.timing.session.FLOORS", floors)
    monkeypatch.setattr("perflib.timing.session.CANARY", Case("canary", "kernel", hand_clock.arm(2)))

    def function(cost_ns, name="work"):
        def work(*args):
            hand_clock.now_ns += round(cost_ns() if callable(cost_ns) else cost_ns)

        work.__name__ = name
        return work

    return function


@pytest.fixture
def sample():
    """A calm sample of one run that took `ns`; `changes` tell what disturbed it."""

    def make(ns, number=0, **changes):
        calm = {"cpu_ns": int(ns), "process_ns": int(ns), "switches": 0, "compiled": 0}
        return Sample("work", number, 0, 1, int(ns), **{**calm, **changes})

    return make


@pytest.fixture
def measurement(sample):
    """A stable measurement of these times, floor 10 ns."""

    def make(times_ns=(1010,) * 6, **changes):
        gross = median_interval(list(times_ns))
        net, floor = median_interval([ns - 10 for ns in times_ns]), median_interval([10] * 6)
        samples = tuple(sample(ns, number) for number, ns in enumerate(times_ns))
        usual = {"state": "stable", "reasons": (), "ended_by": "half-width", "seconds": 0.5, "seed": 0}
        found = {
            "label": "work",
            "scope": "call",
            "mode": "throughput",
            "time_ns": net,
            "gross_ns": gross,
            "floor_ns": floor,
        }
        return Measurement(**{**found, "samples": samples, **usual, **changes})

    return make


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """`once("name", make)`: the path that `make(folder)` returned, made by one of the processes that share the tests."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def path(name, make):
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until closed
            made = shared / f"{name}.path"
            if not made.exists():
                (folder := shared / name).mkdir(exist_ok=True)
                made.write_text(str(make(folder)))
            return Path(made.read_text())

    return path


@pytest.fixture(scope="session")
def pictures(once):
    """`pictures(name)`: a figure of the reference run, for a wide and for a narrow page, drawn by one of the processes."""
    from figures import draw

    @cache
    def read(name):
        return pickle.loads(once(f"picture {name}", lambda folder: draw(name, folder / "picture.pickle")).read_bytes())

    return read


@pytest.fixture(scope="session")
def handmade_report(once):
    """The folder of a report on two notebooks that try everything."""
    import handmade  # and with it the libraries of the report, which most tests do without

    return once("handmade", handmade.report)


@pytest.fixture(scope="session")
def quick_run(once):
    """A quick run of this machine, about a minute; PERFLIB_TEST_RUN names a finished one to be used instead."""
    if existing := os.environ.get("PERFLIB_TEST_RUN"):
        return load_run(Path(existing).resolve())
    return load_run(once("quick-run", _recorded))


def _recorded(data):
    """Where a run lies that a process of its own recorded into this folder."""
    program = "from perflib.studies.recording_plan import record; print(record(quick=True, progress=False).path)"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERFLIB")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        env={**kept, "TMPDIR": str(data), "PERFLIB_DATA": str(data)},
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def committed_report(once):
    """The folder of a report on the reference run with the committed outputs; beside it the same as one file."""
    from perflib.report import build

    run = load_run()

    def make(folder):
        build.build_single(run, folder / "single.html")
        return build.build(run, folder / "reports").parent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "execute_all", lambda paths, _: [(path, nbformat.read(path, 4)) for path in paths])
        patch.setattr(build, "_pages", cache(build._pages))
        return once("committed-report", make)


@pytest.fixture(scope="session", params=["committed", pytest.param("quick", marks=pytest.mark.slow)])
def reported(request, once):
    """A run and the folder of its report: the reference run with the committed outputs, a quick run with those of today."""
    if request.param == "committed":
        return load_run(), request.getfixturevalue("committed_report")
    from perflib.report import build

    run = request.getfixturevalue("quick_run")
    return run, once("quick-report", lambda folder: build.build(run, folder / "reports").parent)
