"""What must not measure is refused with the command that is right, and nothing waits longer than its deadline."""

import json

import pytest
from runs import isolate, start, write

from perflib.errors import FleetError, RunError
from perflib.fleet import gather, load_fleet, worker
from perflib.fleet.cluster import Cluster, Silent
from perflib.fleet.packing import pack
from perflib.runs.store import load_run

ADDRESS = "tcp://127.0.0.1:8786"


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(gather, "LOOK_S", 0.01)
    monkeypatch.setattr(gather, "STARTS_S", 0.1)
    return isolate(tmp_path / "data", monkeypatch)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "fleet"


class Known(Cluster):
    """A cluster of workers that the test makes up: what each answers, by its address."""

    def __init__(self, answers, threads=1):
        self.address, self.answers, self.threads, self.asked = ADDRESS, answers, threads, []

    def _workers(self):
        return {a: {"name": getattr(one, "name", a), "nthreads": self.threads} for a, one in self.answers.items()}

    def ask(self, address, function, *args, within_s=0):
        self.asked.append((address, function.__name__))
        if address not in self.answers:
            raise Silent(f"worker {address} is gone")
        return self.answers[address](function.__name__, *args)


class Machine:
    """A worker whose job is done after so many looks; then it hands over a run."""

    def __init__(self, name="a", boot="boot a", looks=2, run=None, problem="", **versions):
        self.name, self.boot, self.looks, self.run, self.problem = name, boot, looks, run, problem
        self.versions, self.begun, self.cancelled = worker.versions() | versions, 0, 0

    def __call__(self, question, *args):
        return getattr(self, question)(*args)

    def facts(self):
        return {"name": self.name, "boot": self.boot, "versions": self.versions, "machine": {}}

    def begin(self, key, kind, request, wait_s):
        self.begun += 1

    def watch(self, key):
        if not self.begun:
            return {"state": "unknown", "problem": "", "waits": "", "blocks": 0}
        self.looks -= 1
        state = "running" if self.looks > 0 else "failed" if self.problem else "done"
        return {"state": state, "problem": self.problem, "waits": "", "blocks": 10 - self.looks}

    def fetch(self, key):
        return pack(self.run)

    def cancel(self, key):
        self.cancelled += 1


def finished():
    run = start()
    write(run, "tiles", "n=64")
    return run.finish().path


def outcomes(machines, home, deadline_s=0.3):
    return gather._gather(machines, home, "record", {"quick": True}, False, deadline_s, 1.0)


def test_no_worker_says_how_to_start_one(refused):
    with refused(FleetError, f"{ADDRESS} has no workers; on each machine run: perflib fleet worker {ADDRESS}"):
        Known({}).members()


def test_a_worker_with_two_threads_is_refused_before_it_is_sent_anything(refused):
    machines = Known({"tcp://b:1": Machine()}, threads=2)

    with refused(FleetError, "worker tcp://b:1 has 2 threads, 1 is needed", f"perflib fleet worker {ADDRESS}"):
        machines.members()
    assert machines.asked == []


def test_two_workers_with_one_boot_id_are_refused(refused):
    machines = Known({"tcp://b:1": Machine("a"), "tcp://b:2": Machine("b")})

    with refused(FleetError, "workers tcp://b:1 and tcp://b:2 share one machine", "end one of them"):
        machines.members()


def test_a_worker_by_another_command_is_refused(refused):
    with refused(FleetError, "was started by another command", f"perflib fleet worker {ADDRESS}"):
        Known({"tcp://b:1": Machine(name="")}).members()


@pytest.mark.parametrize("name", ["perflib", "Python", "numpy", "numba", "cloudpickle", "distributed"])
def test_another_version_is_refused_by_name_and_nothing_is_begun(name, home, refused):
    machine = Machine(**{name: "0.0"})

    with refused(
        FleetError, f"worker tcp://b:1 has {name} 0.0, this machine {worker.versions()[name]}", "install one version"
    ):
        outcomes(Known({"tcp://b:1": machine}), home)
    assert machine.begun == 0
    assert not home.exists()


@pytest.mark.parametrize("problem", [ImportError("No module named 'perflib.fleet'"), ValueError("bad\nnews")])
def test_a_worker_without_perflib_is_refused_in_one_line(problem, refused):
    def without(question):
        raise problem

    with refused(FleetError, "worker tcp://b:1 has no perflib or another one"):
        Known({"tcp://b:1": without}).members()


def test_what_is_no_client_is_refused(refused):
    with refused(FleetError, "client must be a distributed.Client", "got int"):
        Cluster(5)


def test_a_job_is_begun_watched_and_collected_once(home):
    machine = Machine(run=finished())

    found = outcomes(Known({"tcp://b:1": machine}), home)

    assert (found["a"].state, found["a"].run) == ("done", machine.run.name)
    assert load_run(home / "a" / machine.run.name).finished
    again = Machine(run=machine.run)
    assert outcomes(Known({"tcp://b:1": again}), home)["a"].run == machine.run.name
    assert (machine.begun, again.begun) == (1, 0)


def test_what_failed_is_named_and_begins_again_with_the_next_call(home):
    run = finished()
    assert outcomes(Known({"tcp://b:1": Machine(problem="RunError: no space")}), home)["a"].problem == "RunError: no space"

    assert outcomes(Known({"tcp://b:1": Machine(run=run)}), home)["a"].state == "done"


def test_a_machine_without_progress_is_given_up_at_its_deadline_and_its_job_ended(home):
    class Stuck(Machine):
        def watch(self, key):
            return {"state": "running" if self.begun else "unknown", "problem": "", "waits": "", "blocks": 3}

    stuck, sound = Stuck("a"), Machine("b", "boot b", run=finished())
    found = outcomes(Known({"tcp://b:1": stuck, "tcp://b:2": sound}), home)

    assert {name: one.state for name, one in found.items()} == {"a": "gone", "b": "done"}
    assert found["a"].problem == "no sign of progress in 0.3 s"
    assert stuck.cancelled == 1


def test_a_look_at_many_machines_wants_their_addresses_once(home):
    run, looks = finished(), []
    machines = Known({f"tcp://b:{n}": Machine(f"m{n}", f"boot {n}", looks=4, run=run) for n in range(5)})
    addresses = machines.addresses

    def counted():
        looks.append(1)
        return addresses()

    machines.addresses = counted

    assert {one.state for one in outcomes(machines, home, deadline_s=5).values()} == {"done"}
    assert len(looks) == 1 + 4, "to find a worker and in each look, not once for each of five machines"


def test_waiting_for_another_measurement_is_no_silence(home):
    class Waiting(Machine):
        def watch(self, key):
            seen = super().watch(key)
            return seen | {"waits": "process 7", "blocks": 0} if seen["state"] == "running" else seen

    found = outcomes(Known({"tcp://b:1": Waiting(looks=60, run=finished())}), home)

    assert found["a"].state == "done", "sixty looks take longer than the deadline"


def test_a_worker_that_vanishes_and_comes_back_elsewhere_goes_on(home):
    machine = Machine(looks=5, run=finished())
    machines = Known({"tcp://b:1": machine})
    looks = []

    def addresses():
        looks.append(len(looks))
        if len(looks) == 3:
            machines.answers = {}
        if len(looks) == 6:
            machines.answers = {"tcp://b:9": machine}
        return {one.name: address for address, one in machines.answers.items()}

    machines.addresses = addresses

    assert outcomes(machines, home, deadline_s=5)["a"].state == "done"
    assert ("tcp://b:9", "facts") in machines.asked, "its versions are looked at again"


def test_a_worker_that_was_started_a_moment_ago_is_waited_for(home, monkeypatch):
    monkeypatch.setattr(gather, "STARTS_S", 60)
    machines = Known({})
    known = iter([{}, {}, {"tcp://b:1": Machine(run=finished())}])
    look = machines.addresses

    def addresses():
        machines.answers = next(known, machines.answers)
        return look()

    machines.addresses = addresses

    assert outcomes(machines, home)["a"].state == "done"


def test_a_scheduler_that_is_gone_is_waited_for_until_the_deadline(home):
    machine = Machine(looks=10**6)
    machines = Known({"tcp://b:1": machine})

    def silent():
        raise Silent("no answer")

    members = machines.members()
    machines.members = lambda: members
    machines.addresses = silent

    assert outcomes(machines, home)["a"].state == "gone"


def test_a_changed_result_is_refused_and_nothing_of_it_stays(home):
    class Changing(Machine):
        def fetch(self, key):
            parcel = super().fetch(key)
            return parcel | {"tiles.csv": parcel["tiles.csv"].replace(b"1", b"2", 1)}

    found = outcomes(Known({"tcp://b:1": Changing(run=finished())}), home)

    assert found["a"].state == "failed"
    assert "checksum differs" in found["a"].problem
    assert list(home.rglob("*.csv")) == []


def test_a_run_that_was_removed_from_the_folder_is_collected_again(home):
    machine = Machine(run=finished())
    outcomes(Known({"tcp://b:1": machine}), home)
    (home / "a" / machine.run.name / "run.json").unlink()

    found = outcomes(Known({"tcp://b:1": Machine(run=machine.run)}), home)

    assert found["a"].state == "failed"
    assert "is there already and differs" in found["a"].problem


def test_the_journal_tells_requests_and_machines_apart(home):
    keys = set()
    for request in ({"quick": True}, {"quick": False}, b"sweep"):
        journal = gather._Journal(home, "sweep" if isinstance(request, bytes) else "record", request)
        keys |= {journal.key(name) for name in ("a", "b")}

    assert len(keys) == 6
    assert gather._Journal(home, "record", {"quick": True}).key("a") in keys, "and finds them again"
    assert len(json.loads((home / "fleet.json").read_text())["jobs"]) == 3


def test_a_finished_job_is_known_after_the_worker_was_restarted(monkeypatch):
    path = finished()
    worker._note_of("k").write_text(json.dumps({"run": path.name}))

    assert worker.watch("k")["state"] == "done"
    assert worker.fetch("k") == pack(path)
    (path / "tiles.csv").write_text("torn")
    assert worker.watch("k")["state"] == "unknown"
    with pytest.raises(RunError, match="is not finished"):
        worker.fetch("k")


@pytest.mark.parametrize(
    ("wall_s", "awake_s", "note"),
    [
        (0.4, 0.0, ""),
        (31.0, 30.9, "the machine was suspended for 31 s"),
        (-3600.0, 0.0, "the clock was set by -3600 s"),
    ],
)
def test_a_job_during_which_the_clocks_moved_is_flagged(wall_s, awake_s, note, home, monkeypatch):
    class Process:
        def begin(self, work):
            pass

        def items(self):
            return iter(())

        def end(self):
            pass

    monkeypatch.setattr(worker, "FreshProcess", Process)
    monkeypatch.setattr(worker, "clocks", lambda: (100.0, 10.0))
    job = worker.Job("k", None)
    monkeypatch.setattr(worker, "clocks", lambda: (100.0 + wall_s, 10.0 + awake_s))

    assert job.note == note


def test_a_flag_stands_in_the_journal_and_beside_the_machine(home):
    class Flagged(Machine):
        def watch(self, key):
            return super().watch(key) | {"note": "the machine was suspended for 31 s"}

    machine = Flagged(run=finished())
    outcomes(Known({"tcp://b:1": machine}), home)

    assert load_fleet(home).machines[0].note == "the machine was suspended for 31 s"
