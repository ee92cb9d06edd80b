"""Have every machine of a cluster record or sweep, and collect the runs, checked, into one folder.

    record("tcp://127.0.0.1:8786", quick=True)
    sweep(client, {"a": f, "b": g}, [100, 1000], make=...)

The folder is the journal: what it has is not measured again, and the same call goes on after an interruption of client,
worker or scheduler. A machine that gives no sign of progress until its deadline is named, and the others go on.
"""

import hashlib
import json
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import cloudpickle

from ..display.progress import progress_bar
from ..display.text import on_one_line
from ..errors import FleetError, PerflibError, RunError
from ..files import replace_text
from ..runs.store import load_run
from ..studies.machines import JOURNAL, Fleet, folder_of, home_of, load_fleet, read_journal
from ..sweeps.result import Sweep
from ..sweeps.subjects import named, recorded
from ..sweeps.sweep import axes_of
from ..sweeps.sweep import sweep as sweep_here
from . import worker
from .cluster import FETCH_S, Cluster, Member, Silent, cluster
from .machines import FleetSweep
from .packing import unpack

LOOK_S = 0.5
STARTS_S = 30.0
"""A worker that was started a moment ago loads perflib before the scheduler knows it."""
DEADLINE_S = 900.0
"""Without a sign of progress: the longest block of a full recording takes a minute."""
WAIT_S = 2 * 3600.0
"""For other measurements on a machine."""


def record(
    client: Any,
    folder: str | Path | None = None,
    *,
    quick: bool = False,
    peers: bool = False,
    insecure: bool = False,
    security: Any = None,
    progress: bool = True,
    deadline_s: float = DEADLINE_S,
    wait_s: float = WAIT_S,
) -> Fleet:
    """One recording on each machine that the client reaches; the same call goes on where it was interrupted.

    A folder that has all of them is only shown: name another one to measure again.

    client: a distributed.Client, or the address of its scheduler. folder: of the fleet, by default `fleet` in the data
    folder. deadline_s: how long a machine may give no sign of progress. wait_s: how long it may wait for another
    measurement there. Raises FleetError for a cluster or a worker that must not measure, before anything is measured.
    """
    home = home_of(folder)
    with cluster(client, insecure, security) as machines:
        _gather(machines, home, "record", {"quick": quick, "peers": peers}, progress, deadline_s, wait_s)
    return load_fleet(home)


def sweep(
    client: Any,
    kernels: Any,
    sizes: Iterable[Any],
    folder: str | Path | None = None,
    *,
    insecure: bool = False,
    security: Any = None,
    progress: bool = True,
    deadline_s: float = DEADLINE_S,
    wait_s: float = WAIT_S,
    **keywords: Any,
) -> FleetSweep:
    """`perflib.sweep` on each machine: functions travel by value, with the modules of yours that they come from.

    Further keywords are those of `perflib.sweep`, the rest is as for `record`. Raises FleetError too for a function that
    cannot travel.
    """
    home = home_of(folder)
    functions, sizes = named(kernels), list(sizes)
    values = {key: value for key, value in keywords.items() if key not in signature(sweep_here).parameters}
    settings = (keywords.get(key, default) for key, default in (("dtype", "float32"), ("threads", 1)))
    axes = axes_of(functions, sizes, *settings, values, keywords.get("make"))
    request = by_value((kernels, sizes, keywords))
    with cluster(client, insecure, security) as machines:
        outcomes = _gather(machines, home, "sweep", request, progress, deadline_s, wait_s)
    runs = {name: load_run(folder_of(home, name) / one.run) for name, one in outcomes.items() if one.state == "done"}
    names, topic = {recorded(name, function): name for name, function in functions.items()}, keywords.get("name", "sweep")
    problems = {name: one.problem for name, one in outcomes.items() if one.state != "done"}
    return FleetSweep({name: Sweep(run, topic, names, axes) for name, run in runs.items()}, problems)


def by_value(request: Any) -> bytes:
    """Pickle functions so that they run where their modules are not installed; FleetError for what cannot travel."""
    own = [module for module in list(sys.modules.values()) if _is_own(module)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(request)
    except Exception as problem:  # pickle raises whatever the object does
        raise FleetError(f"functions must be able to travel to other machines, got {on_one_line(problem)}") from None
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _is_own(module: ModuleType) -> bool:
    """Whether a module is a file of the user's: neither installed nor of Python, nor perflib's."""
    file, name = getattr(module, "__file__", None), getattr(module, "__name__", "")
    if not file or name == "__main__" or name.partition(".")[0] == "perflib" or sys.modules.get(name) is not module:
        return False
    return not any(Path(file).is_relative_to(home) for home in _INSTALLED) and "site-packages" not in Path(file).parts


_INSTALLED = tuple({Path(prefix).resolve() / "lib" for prefix in (sys.prefix, sys.base_prefix)})


@dataclass
class Outcome:
    """How a machine's job stands: `open`, `done` with its run, or `failed` or `gone` with the problem."""

    state: str = "open"
    run: str = ""
    problem: str = ""
    note: str = ""
    address: str = ""
    seen: tuple = field(default=(), repr=False)
    alive_s: float = field(default_factory=time.monotonic, repr=False)


class _Journal:
    """What is known of the jobs of a folder, on the disk after every change."""

    def __init__(self, folder: Path, kind: str, request: Mapping[str, Any] | bytes) -> None:
        self._file = folder / JOURNAL
        text = request if isinstance(request, bytes) else json.dumps(request, sort_keys=True).encode()
        self.content = {"schema": 1, "id": uuid4().hex} | self._read()
        self._job = hashlib.sha256(b" ".join([self.content["id"].encode(), kind.encode(), text])).hexdigest()[:24]
        self.machines = self.content["jobs"].setdefault(self._job, {"kind": kind, "machines": {}})["machines"]
        folder.mkdir(parents=True, exist_ok=True)
        self._write()

    def key(self, name: str) -> str:
        """Of the job of one machine."""
        return hashlib.sha256(f"{self._job} {name}".encode()).hexdigest()[:24]

    def note(self, name: str, outcome: Outcome) -> None:
        """Keep how a machine's job stands."""
        self.machines[name] = {what: getattr(outcome, what) for what in ("state", "run", "problem", "note")}
        self._write()

    def _read(self) -> dict[str, Any]:
        try:
            return read_journal(self._file.parent)
        except RunError as problem:
            raise FleetError(f"{problem}; collect into another folder") from None

    def _write(self) -> None:
        try:
            replace_text(self._file, json.dumps(self.content, indent=1) + "\n")
        except OSError as problem:
            raise FleetError(f"cannot write {self._file}: {problem.strerror or problem}") from None


def _gather(
    machines: Cluster,
    folder: Path,
    kind: str,
    request: Mapping[str, Any] | bytes,
    progress: bool,
    deadline_s: float,
    wait_s: float,
) -> dict[str, Outcome]:
    """Begin, watch and collect one job on each machine until each is done, failed or gone."""
    members = _members(machines, progress)
    journal = _Journal(folder, kind, request)
    outcomes = {name: _known(folder, name, noted) for name, noted in journal.machines.items()}
    outcomes |= {one.name: Outcome(address=one.address) for one in members if one.name not in outcomes}
    for one in members:
        outcomes[one.name].address = one.address
    with progress_bar(len(outcomes), progress) as bar:
        while waiting := [name for name, one in outcomes.items() if one.state == "open"]:
            addresses = _addresses(machines)
            for name in waiting:
                one = outcomes[name]
                begin = (journal.key(name), kind, request, wait_s)
                _step(machines, folder_of(folder, name), addresses.get(name, ""), one, begin)
                if one.state == "open" and time.monotonic() - one.alive_s > deadline_s:
                    one.state, one.problem = "gone", f"no sign of progress in {deadline_s:g} s"
                if one.state != "open":
                    journal.note(name, one)
                    _cancel(machines, one, begin[0])
            bar.set_description_str("; ".join(_words(name, one) for name, one in outcomes.items() if one.state == "open"))
            bar.update(sum(one.state != "open" for one in outcomes.values()) - bar.n)
            if any(one.state == "open" for one in outcomes.values()):
                time.sleep(LOOK_S)
    return outcomes


def _members(machines: Cluster, progress: bool) -> list[Member]:
    """The workers, once there is one."""
    end = time.monotonic() + STARTS_S
    with progress_bar(1, progress) as bar:
        while not _addresses(machines) and time.monotonic() < end:
            bar.set_description_str(f"waiting for a worker of {machines.address}")
            time.sleep(LOOK_S)
    return machines.members()


def _known(folder: Path, name: str, noted: Mapping[str, str]) -> Outcome:
    """What the journal says, if the folder still has the run; what failed or went begins again."""
    try:
        if noted["state"] == "done" and load_run(folder_of(folder, name) / noted["run"]).finished:
            return Outcome("done", noted["run"])
    except (RunError, KeyError, OSError):
        pass
    return Outcome()


def _addresses(machines: Cluster) -> dict[str, str]:
    """Of all workers by their names, once for a look at all of them; none where the scheduler is silent."""
    with suppress(Silent):
        return machines.addresses()
    return {}


def _step(machines: Cluster, home: Path, address: str, one: Outcome, begin: tuple) -> None:
    """Look once at a machine's job and do what is due; an empty address is that of a machine that is gone."""
    key = begin[0]
    try:
        if not address:
            one.seen = ("gone",)
            return
        if address != one.address or one.seen in ((), ("gone",), ("silent",)):
            machines.member(address)  # restarted: perhaps with other versions
            one.address = address
        seen = machines.ask(address, worker.watch, key)
        if seen["state"] == "unknown" or (seen["state"] == "failed" and not one.seen):
            machines.ask(address, worker.begin, *begin)
            seen = machines.ask(address, worker.watch, key)
        one.note = one.note or on_one_line(seen.get("note", ""))
        if seen["state"] == "failed":
            one.state, one.problem = "failed", seen["problem"]
        elif seen["state"] == "done":
            one.run = unpack(machines.ask(address, worker.fetch, key, within_s=FETCH_S), home).id
            one.state = "done"
        signs = (seen["state"], seen["blocks"], seen["waits"])
        if signs != one.seen or seen["waits"]:
            one.seen, one.alive_s = signs, time.monotonic()
    except Silent:
        one.seen = ("silent",)
    except PerflibError as problem:
        one.state, one.problem = "failed", on_one_line(problem)


def _cancel(machines: Cluster, one: Outcome, key: str) -> None:
    """End a job that is given up, where it can be reached."""
    if one.state == "gone" and one.address:
        with suppress(PerflibError):
            machines.ask(one.address, worker.cancel, key)


def _words(name: str, one: Outcome) -> str:
    state, *rest = one.seen or ("begins",)
    if state != "running":
        return f"{name}: {state}"
    return f"{name}: waits for {rest[1]}" if rest[1] else f"{name}: {rest[0]} blocks"
