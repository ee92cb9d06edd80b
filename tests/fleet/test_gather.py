"""Every machine records or sweeps once; what is in the folder is not measured again, and a lost machine is named."""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from functools import partial

import numpy as np
import pytest
from fleets import until

from perflib.errors import FleetError, RunError
from perflib.fleet import gather, load_fleet, worker
from perflib.fleet.cluster import cluster
from perflib.fleet.gather import by_value, record, sweep
from perflib.runs.store import load_run, runs_in
from perflib.timing.processes import FreshProcess
from perflib.timing.race import race

QUIET = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
pytestmark = QUIET
SIZES = [8, 16]
MODULE = """
import numba

def helper(x):
    return x.sum()

def plain(x):
    return helper(x) + 1.0

@numba.njit
def compiled(x):
    return x.sum() + 1.0
"""


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """Data and lock of this process; its code is that of the workers."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("PERFLIB_DATA", str(here))
    monkeypatch.setenv("TMPDIR", str(here))
    monkeypatch.setattr(tempfile, "tempdir", str(here))


@pytest.fixture
def home(tmp_path):
    return tmp_path / "fleet"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's own folder, which no worker can import."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "my_own_functions.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    import my_own_functions

    yield my_own_functions
    del sys.modules["my_own_functions"]


def make(n, rng):
    return rng.random(n)


def recorded(machines, home, **settings):
    return record(machines.address, home, quick=True, progress=False, **settings)


def states(home):
    (job,) = json.loads((home / "fleet.json").read_text())["jobs"].values()
    return {name: one["state"] for name, one in job["machines"].items()}


def test_functions_of_every_kind_travel_and_are_compared_on_each_machine(machines, home, mine):
    """The short one of `make test`: a scheduler, a worker, a sweep of functions that the worker cannot import."""
    machines.worker("a machine/with «any» name")
    factor = 3.0

    def closure(x):
        return x.sum() + factor - 2.0

    functions = {"plain": mine.plain, "compiled": mine.compiled, "closure": closure, "lambda": lambda x: np.sum(x) + 1}
    found = sweep(machines.address, functions, SIZES, home, make=make, budget_s=0.2, progress=False)

    (one,) = found.sweeps.values()
    run = one.run
    assert found.problems == {}
    assert {"plain", "compiled", "closure", "lambda"} <= set(run.samples("sweep")["kernel"])
    assert {kernel for kernel, _ in found.verdicts()} == {"compiled", "closure", "lambda"}
    assert "a machine/with «any» name" in str(found)
    assert run.path.parent.parent == home
    again = sweep(machines.address, functions, SIZES, home, make=make, budget_s=0.2, progress=False)
    assert [one.run.id for one in again.sweeps.values()] == [run.id], "the folder has it"


@pytest.mark.parametrize("wrong", [threading.Lock(), (i for i in ())], ids=["lock", "generator"])
def test_what_cannot_travel_is_refused_before_anything_is_sent(wrong, refused):
    with refused(FleetError, "functions must be able to travel"):
        by_value(({"f": lambda x: wrong}, SIZES, {}))


def test_modules_travel_by_value_only_while_functions_are_packed(mine):
    import cloudpickle

    assert b"helper" in by_value({"f": mine.plain})
    assert "my_own_functions" not in cloudpickle.list_registry_pickle_by_value()


def of_another_schema(file):
    file.write_text('{"schema": 7}')


def without_end(file):
    with file.open("wb") as stream:
        stream.truncate(1 << 40)


def a_pipe(file):
    os.mkfifo(file)


def nested(file):
    file.write_text("[" * 100_000)


def of_other_types(file):
    entry = {"state": "gone", "run": [], "problem": {}}
    file.write_text(json.dumps({"schema": 1, "id": "x", "jobs": {"j": {"kind": "record", "machines": {"one": entry}}}}))


SPOILT = (of_another_schema, without_end, a_pipe, nested, of_other_types)


def test_no_scheduler_is_one_line(home, refused, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("perflib.fleet.cluster.ANSWER_S", 0.5)
    with refused(FleetError, "no scheduler answers at tcp://127.0.0.1:9", "dask scheduler --host 127.0.0.1"):
        record("tcp://127.0.0.1:9", home)


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_journal_that_cannot_be_read_is_refused_and_shows_no_machine(home, spoil, refused):
    home.mkdir()
    spoil(home / "fleet.json")

    with refused(FleetError, "fleet.json: ", "collect into another folder"):
        gather._Journal(home, "record", {})
    with refused(RunError, "has no recordings"):
        load_fleet(home)


@pytest.mark.slow
def test_two_machines_record_one_after_the_other_and_are_shown(machines, home):
    folders = [machines.worker(name) for name in ("a", "b")]

    fleet = recorded(machines, home)

    assert [one.name for one in fleet.machines] == ["a", "b"]
    runs = [one.run for one in fleet.machines]
    assert all(run.finished and run.has("rmsnorm") for run in runs)
    spans = sorted((run.meta["started"], run.meta["finished"]) for run in runs)
    assert spans[0][1] <= spans[1][0], "under one lock they do not overlap"
    assert [len(runs_in(folder / "runs")) for folder in folders] == [1, 1]
    assert "2 machines" in str(fleet)
    assert states(home) == {"a": "done", "b": "done"}
    assert [one.run.id for one in recorded(machines, home).machines] == [run.id for run in runs], (
        "nothing is measured twice"
    )
    assert str(load_fleet(home)) == str(fleet)


@pytest.mark.slow
@pytest.mark.parametrize(("boots", "words"), [(("x", "x"), ("share one machine", "end one of them"))], ids=["one boot id"])
def test_two_workers_of_one_machine_are_refused(machines, home, boots, words, refused):
    for name, boot in zip("ab", boots, strict=True):
        machines.worker(name, boot=boot)

    with refused(FleetError, "workers tcp://", *words):
        recorded(machines, home)


@pytest.mark.slow
def test_workers_by_another_command_and_with_more_threads_are_refused(machines, home, refused, monkeypatch):
    monkeypatch.setattr("perflib.fleet.gather.STARTS_S", 0.1)
    with refused(FleetError, "has no workers; on each machine run: perflib fleet worker tcp://"):
        recorded(machines, home)
    machines.foreign("--nthreads", "1")
    with refused(FleetError, "was started by another command", "perflib fleet worker tcp://"):
        recorded(machines, home)
    machines.foreign("--nthreads", "2")
    with refused(FleetError, "has 2 threads, 1 is needed", "perflib fleet worker tcp://"):
        recorded(machines, home)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["perflib", "Python", "numpy", "numba", "cloudpickle"])
def test_a_worker_of_another_version_is_refused_by_name(machines, home, name, refused):
    more = f"versions = worker.versions\nworker.versions = lambda: versions() | {{{name!r}: '0.0'}}"
    machines.worker("a", more=more)

    with refused(FleetError, f"has {name} 0.0, this machine", "install one version on both"):
        recorded(machines, home)
    assert not (home / "fleet.json").exists()


@pytest.mark.slow
def test_a_local_cluster_is_refused_for_timing(home, refused):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            1, processes=False, dashboard_address=None, scheduler_kwargs={"dashboard_address": ":0"}
        ) as local,
        distributed.Client(local) as client,
        refused(FleetError, "LocalCluster starts workers that share a machine", "perflib fleet worker"),
    ):
        record(client, home)


@pytest.mark.slow
def test_a_worker_killed_in_a_block_goes_on_when_it_is_back(machines, home):
    folder = machines.worker("a", blocks=12, seconds=0.5)
    result = in_background(recorded, machines, home)
    until(lambda: blocks_of(folder) >= 3)
    machines.kill("a")
    kept = blocks_of(folder)
    time.sleep(3)
    machines.worker("a", blocks=12, seconds=0.5, folder=folder)

    (one,) = result().machines
    assert one.run.finished
    assert len(runs_in(folder / "runs")) == 1, "the recording was continued"
    assert kept >= 3
    assert not one.run.samples("rmsnorm").duplicated(["block", "kernel", "scope", "n", "round"]).any()


@pytest.mark.slow
def test_a_machine_that_is_gone_for_good_is_named_and_the_others_go_on(machines, home):
    machines.worker("a", blocks=3)
    folder = machines.worker("b", blocks=40, seconds=2.0)
    result = in_background(recorded, machines, home, deadline_s=20)
    until(lambda: blocks_of(folder) >= 1)
    machines.kill("b")

    fleet = result()
    assert {one.name: one.run is not None for one in fleet.machines} == {"a": True, "b": False}
    assert "no sign of progress in 20 s" in str(fleet)
    assert states(home) == {"a": "done", "b": "gone"}


@pytest.mark.slow
def test_a_scheduler_that_restarts_costs_nothing_that_is_on_the_disks(machines, home):
    folder = machines.worker("a", blocks=12, seconds=0.5)
    result = in_background(recorded, machines, home)
    until(lambda: blocks_of(folder) >= 2)
    machines.kill("scheduler")
    time.sleep(2)
    machines.scheduler()

    (one,) = result().machines
    assert one.run.finished
    assert len(runs_in(folder / "runs")) == 1


@pytest.mark.slow
def test_a_worker_that_was_suspended_goes_on(machines, home):
    folder = machines.worker("a", blocks=6, seconds=0.5)
    result = in_background(recorded, machines, home)
    until(lambda: blocks_of(folder) >= 1)
    machines.send("a", signal.SIGSTOP)
    time.sleep(30)
    machines.send("a", signal.SIGCONT)

    (one,) = result().machines
    assert one.run.finished


@pytest.mark.slow
def test_a_client_that_was_interrupted_goes_on_from_the_folder(machines, home, monkeypatch):
    folder = machines.worker("a", blocks=6, seconds=0.5)

    def interrupt(*words):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gather.time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            recorded(machines, home)
    until(lambda: blocks_of(folder) >= 1)

    (one,) = recorded(machines, home).machines
    assert one.run.finished
    assert len(runs_in(folder / "runs")) == 1


@pytest.mark.slow
def test_two_clients_at_once_measure_one_after_the_other(machines, tmp_path):
    folder = machines.worker("a", blocks=4)
    results = [in_background(recorded, machines, tmp_path / name) for name in ("one", "two")]

    runs = [one.run for result in results for one in result().machines]
    assert all(run.finished for run in runs)
    assert len(runs_in(folder / "runs")) == 2


@pytest.mark.slow
def test_a_full_disk_on_the_worker_is_named_and_the_same_call_goes_on(machines, home):
    more = """
def no_room(request, wait_s):
    import os

    def full(number):
        raise OSError(28, "No space left on device")

    os.fsync = full
    yield from tiny(request, wait_s)

worker._WORK["record"] = no_room
"""
    folder = machines.worker("a", more=more)
    (one,) = recorded(machines, home).machines
    assert one.run is None
    assert "No space left on device" in one.problem

    machines.kill("a")
    until(lambda: workers_of(machines) == 0)
    machines.worker("a", folder=folder)
    (one,) = recorded(machines, home).machines
    assert one.run.finished


@pytest.mark.slow
def test_a_result_that_was_changed_on_its_way_is_refused(machines, home):
    more = """
pack = worker.pack
def changed(path):
    parcel = pack(path)
    return parcel | {"rmsnorm.csv": parcel["rmsnorm.csv"].replace(b"1", b"2", 1)}
worker.pack = changed
"""
    machines.worker("a", more=more)

    (one,) = recorded(machines, home).machines

    assert one.run is None
    assert "checksum differs" in one.problem
    assert list(home.rglob("*.csv")) == []


PACED = """
def paced(ask, reply):
    import time

    with open(ask) as questions, open(reply, "w") as replies:
        for line in questions:
            reps, start = int(line), time.perf_counter_ns()
            for _ in range(reps):
                pass
            print(time.perf_counter_ns() - start, file=replies, flush=True)
    yield "done"
"""


class Paced:
    """A process that times so many runs of an empty loop whenever it gets their number; `total_ns` adds all up."""

    total_ns = 0

    def __init__(self, folder, name):
        self.paths = [folder / f"{name}.{end}" for end in ("ask", "reply")]
        for path in self.paths:
            os.mkfifo(path)

    def open(self):
        self.ask, self.reply = self.paths[0].open("w"), self.paths[1].open()  # waits until the other side opens them

    def __call__(self, reps):
        print(reps, file=self.ask, flush=True)
        Paced.total_ns += int(self.reply.readline())

    def close(self):
        self.ask.close()
        self.reply.close()


@pytest.mark.slow
def test_a_child_of_a_worker_measures_as_a_process_without_dask_does(machines, tmp_path):
    """Raced on the wall clock, which sees what a worker takes from its child: within 5 % either way, as two others are."""
    child, plain, again = arms = [Paced(tmp_path, name) for name in ("child", "plain", "again")]
    more = PACED + f"worker._WORK['record'] = lambda *_: paced({str(child.paths[0])!r}, {str(child.paths[1])!r})"
    machines.worker("a", more=more)
    namespace = {"__name__": "__main__"}
    exec(PACED, namespace)

    with cluster(machines.address) as reached, FreshProcess() as first, FreshProcess() as second:
        (address,) = reached.addresses().values()
        reached.ask(address, worker.begin, "k", "record", {}, 1.0)
        first.begin(partial(namespace["paced"], *map(str, plain.paths)))
        second.begin(partial(namespace["paced"], *map(str, again.paths)))
        for arm in arms:
            arm.open()
        bound, clock = 1 / 1.05, lambda: Paced.total_ns
        verdicts = [
            race(slow, fast, bound, clock, 1_000_000) for slow, fast in ((plain, again), (plain, child), (child, plain))
        ]
        for arm in arms:
            arm.close()

    assert verdicts == ["HOLDS"] * 3


def workers_of(machines):
    with cluster(machines.address) as reached:
        return len(reached.addresses())


def blocks_of(folder):
    """Lines of blocks.csv of the only recording there."""
    try:
        return len(load_run(runs_in(folder / "runs")[-1]).blocks)
    except IndexError:
        return 0


def in_background(function, *args, **settings):
    """A function that waits for the result."""
    results = []

    def work():
        try:
            results.append(function(*args, **settings))
        except BaseException as problem:
            results.append(problem)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def result():
        thread.join(600)
        assert results, "it waits for ever"
        if isinstance(results[0], BaseException):
            raise results[0]
        return results[0]

    return result
