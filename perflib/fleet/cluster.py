"""Reach the workers of a fleet, and refuse those that cannot measure with the command that is right.

Nothing is sent to a worker before its threads, its start, its machine and its versions are known to be right. Every
question has a deadline; a worker that does not answer raises `Silent`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

from ..display.text import on_one_line
from ..errors import FleetError
from . import worker
from .addresses import WITHOUT, require_closed

ANSWER_S = 10.0
"""Seconds in which a worker answers; it only looks up what it knows."""
FIRST_S, FETCH_S = 60.0, 120.0
"""A worker that another command started loads perflib for the first answer."""
START = "perflib fleet worker {address}"


class Silent(FleetError):
    """A worker or the scheduler that does not answer in time."""


@dataclass(frozen=True)
class Member:
    """A worker that may measure."""

    name: str
    address: str
    boot: str


@contextmanager
def cluster(client: Any, insecure: bool = False, security: Any = None) -> Iterator["Cluster"]:
    """The cluster of a client, or of an address; connections that are made here are closed afterwards."""
    own = None
    if isinstance(client, str):
        require_closed(client, insecure)
        own = client = _connect(client, security)
    try:
        machines = Cluster(client, insecure)
        try:
            yield machines
        finally:
            machines.close()
    finally:
        if own is not None:
            own.close(timeout=ANSWER_S)


def _connect(address: str, security: Any) -> Any:
    try:
        from distributed import Client  # an extra, which only a fleet needs
    except ImportError:
        raise FleetError(WITHOUT) from None
    try:
        return Client(address, timeout=ANSWER_S, security=security, set_as_default=False)
    except (OSError, ValueError, TypeError) as problem:
        start = f"dask scheduler --host {urlsplit(address).hostname}"
        raise FleetError(f"no scheduler answers at {address}; start one: {start} ({on_one_line(problem)})") from None


class Cluster:
    """The workers that a client reaches."""

    def __init__(self, client: Any, insecure: bool = False) -> None:
        if getattr(client, "asynchronous", False) or not hasattr(client, "scheduler_info"):
            raise FleetError(f"client must be a distributed.Client that is not asynchronous, got {type(client).__name__}")
        self._client, self._own, self.address = client, None, client.scheduler.address
        if hasattr(getattr(client, "cluster", None), "scale"):  # LocalCluster and its like start workers of their own
            kind = type(client.cluster).__name__
            raise FleetError(f"{kind} starts workers that share a machine; on each machine run: {self._start}")
        require_closed(self.address, insecure)
        here, there = version("distributed"), self._sync("_run_on_scheduler", version, "distributed")
        if here != there:
            raise FleetError(f"the scheduler has distributed {there}, this machine {here}; install one version on both")

    @property
    def _start(self) -> str:
        return START.format(address=self.address)

    def addresses(self) -> dict[str, str]:
        """Present address of each worker by its name; raises Silent where the scheduler is gone."""
        return {str(one["name"]): address for address, one in self._workers().items()}

    def members(self) -> list[Member]:
        """Every worker; raises FleetError for the first that must not measure."""
        workers = self._workers()
        if not workers:
            raise FleetError(f"{self.address} has no workers; on each machine run: {self._start}")
        for address, one in workers.items():
            if one["nthreads"] != 1:
                raise FleetError(
                    f"worker {address} has {one['nthreads']} threads, 1 is needed; on its machine run: {self._start}"
                )
        members = [self.member(address, FIRST_S) for address in workers]
        by_boot: dict[str, Member] = {}
        for member in members:
            if (other := by_boot.setdefault(member.boot, member)) is not member:
                raise FleetError(
                    f"workers {other.address} and {member.address} share one machine, where one measures at a time; "
                    "end one of them"
                )
        return members

    def member(self, address: str, within_s: float = ANSWER_S) -> Member:
        """The worker at an address, whose start and versions are right."""
        try:
            facts = self.ask(address, worker.facts, within_s=within_s)
        except Silent:
            raise
        except Exception as problem:  # whatever a worker without perflib, or with another one, makes of the question
            raise FleetError(f"worker {address} has no perflib or another one: {on_one_line(problem)}") from None
        if not facts["name"]:
            raise FleetError(f"worker {address} was started by another command; on its machine run: {self._start}")
        here = worker.versions()
        for name, there in facts["versions"].items():
            if here.get(name) != there:
                raise FleetError(
                    f"worker {address} has {name} {there}, this machine {here.get(name)}; install one version on both"
                )
        return Member(on_one_line(facts["name"]), address, str(facts["boot"]))

    def ask(self, address: str, function: Callable[..., Any], *args: Any, within_s: float = ANSWER_S) -> Any:
        """What a function of `worker` returns there; raises what it raises, and Silent where there is no answer."""
        answers = self._sync("_run", function, *args, workers=[address], within_s=within_s)
        if address not in answers:
            raise Silent(f"worker {address} is gone")
        return answers[address]

    def close(self) -> None:
        """Close a connection that was made here."""
        if self._own is not None:
            self._own.close(timeout=ANSWER_S)

    def _connected(self) -> Any:
        """The client, or a new connection where the scheduler was gone for so long that the client gave up."""
        client = self._own or self._client
        if client.status in ("closed", "closing"):
            try:
                self._own = client = _connect(self.address, self._client.security)
            except FleetError as problem:
                raise Silent(str(problem)) from None
        return client

    def _workers(self) -> dict[str, dict[str, Any]]:
        return dict(self._sync("scheduler.identity", n_workers=-1)["workers"])

    def _sync(self, name: str, *args: Any, within_s: float = ANSWER_S, **settings: Any) -> Any:
        """Call a coroutine of the client with a deadline."""
        client = self._connected()
        try:
            return client.sync(attrgetter(name)(client), *args, callback_timeout=within_s, **settings)
        except (OSError, TimeoutError) as problem:
            raise Silent(f"{self.address} does not answer: {on_one_line(problem) or 'no answer in time'}") from None
