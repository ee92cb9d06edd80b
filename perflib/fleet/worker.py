"""Let this machine take part in a fleet: a Dask worker of one thread, whose measurements run in child processes.

    serve("tcp://127.0.0.1:8786")

The worker only starts, watches and hands over: a client calls `facts`, `begin`, `watch`, `fetch` and `cancel` here, which
answer at once, so a slow answer means that the machine is suspended or gone. A job is a recording or a sweep in a fresh
process; it waits for the measuring lock of the machine, ends with the worker, and continues where it was cut off when it is
begun again. Finished jobs are noted on the disk, so a worker that was restarted does not measure them again.
"""

import asyncio
import json
import os
import pickle
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from ..display.text import on_one_line
from ..errors import FleetError, RunError
from ..files import data_folder, recording_folder, replace_text
from ..hardware.facts import machine
from ..kernels.caches import sysctl
from ..runs.integrity import digest
from ..runs.store import load_run, runs_in
from ..runs.tables import read_blocks
from ..runs.writer import code_digest, lock_owner
from ..studies.recording_plan import record
from ..sweeps.sweep import sweep
from ..timing.processes import FreshProcess
from .addresses import WITHOUT, is_loopback, require_closed
from .packing import pack

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SUSPENDED_S, JUMP_S = 0.5, 1.0
"""Of the clocks, from which on a job is flagged; a clock that is adjusted gently moves by less in a recording."""
AGAIN_S = 2.0
"""Seconds before a worker looks for its scheduler again."""
PACKAGES = ("numpy", "numba", "cloudpickle", "distributed")

_served: dict[str, str] = {}  # the name of this machine, once `serve` has begun
_jobs: dict[str, "Job"] = {}


class Job:
    """Work in a fresh process; `state` is running, done or failed."""

    def __init__(self, key: str, work: Callable[[], Iterator[str]]) -> None:
        self.key, self.state, self.problem = key, "running", ""
        self._process, self._clocks = FreshProcess(), clocks()
        self._process.begin(work)
        Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        """Take what the process yields; the thread sleeps until something comes."""
        try:
            (run,) = self._process.items()
            replace_text(_note_of(self.key), json.dumps({"run": run}))
            self.state = "done"
        except BaseException as problem:  # whatever ends a process of its own is an answer here
            self.problem, self.state = f"{type(problem).__name__}: {on_one_line(problem)}", "failed"
        finally:
            self._process.end()

    @property
    def waits(self) -> str:
        """For whom, where another process measures on this machine."""
        owner = lock_owner() if self.state == "running" else None
        return "" if owner in (None, self._process.number) else f"process {owner}"

    @property
    def note(self) -> str:
        """What happened to the clocks of this machine since the job began; empty where nothing did."""
        wall, boot = (now - then for now, then in zip(clocks(), self._clocks, strict=True))
        if boot > SUSPENDED_S:
            return f"the machine was suspended for {boot:.0f} s"
        return f"the clock was set by {wall - boot:+.0f} s" if abs(wall - boot) > JUMP_S else ""

    def end(self) -> None:
        """Kill the process."""
        self._process.end()


def clocks() -> tuple[float, float]:
    """Seconds of the wall clock, and of the one that runs on while the machine is suspended, beyond the monotonic clock."""
    steady = time.monotonic()
    awake = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else steady
    return time.time() - steady, awake - steady


def boot_id() -> str:
    """What tells two machines apart until the next start: PERFLIB_BOOT_ID, else the system's; containers share it."""
    if given := os.environ.get("PERFLIB_BOOT_ID"):
        return given
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return sysctl("kern.bootsessionuuid") or digest(platform.node().encode())


def versions() -> dict[str, str]:
    """Of everything that must be the same on both sides."""
    found = {"perflib": code_digest(), "Python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def facts() -> dict[str, Any]:
    """Who this worker is; `name` is empty where `serve` did not start it."""
    return {"name": _served.get("name", ""), "boot": boot_id(), "versions": versions(), "machine": machine().to_dict()}


def begin(key: str, kind: str, request: Mapping[str, Any] | bytes, wait_s: float) -> None:
    """Begin a job unless it runs or is done; what failed begins again. wait_s: for other measurements on this machine."""
    job = _jobs.get(key)
    if (job is None or job.state != "running") and _finished(key) is None:
        _jobs[key] = Job(key, partial(_WORK[kind], request, wait_s))


def watch(key: str) -> dict[str, Any]:
    """State of a job: `running`, `done`, `failed` or `unknown`, its problem, whom it waits for, blocks on the disk."""
    job = _jobs.get(key)
    state = job.state if job else "unknown"
    if job and state == "running":
        return {"state": state, "problem": "", "waits": job.waits, "blocks": _blocks(), "note": job.note}
    if _finished(key):
        return {"state": "done", "problem": "", "waits": "", "blocks": 0, "note": job.note if job else ""}
    problem = job.problem or "its run is gone or was changed" if job else ""
    return {"state": "failed" if job else "unknown", "problem": problem, "waits": "", "blocks": 0, "note": ""}


def fetch(key: str) -> dict[str, bytes]:
    """The files of a finished job's run, and its name under the empty one."""
    if (path := _finished(key)) is None:
        raise RunError(f"job {key} is not finished")
    return pack(path)


def cancel(key: str) -> None:
    """End a job; what it has on the disk stays."""
    if job := _jobs.get(key):
        job.end()


def _finished(key: str) -> Path | None:
    """The folder of a job's run, where it is finished and whole."""
    try:
        name = json.loads(_note_of(key).read_text(encoding="utf-8"))["run"]
        path = recording_folder() / Path(name).name
        return path if load_run(path).finished else None
    except (OSError, ValueError, KeyError, TypeError, RunError):
        return None


def _note_of(key: str) -> Path:
    folder = data_folder() / "fleet-jobs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{key}.json"


def _blocks() -> int:
    """Of the newest recording of this machine."""
    try:
        return len(read_blocks(runs_in(recording_folder())[-1]))
    except (IndexError, RunError):
        return 0


def _record(request: Mapping[str, Any], wait_s: float) -> Iterator[str]:
    """In the child: a recording."""
    yield record(**request, progress=False, wait=wait_s).id


def _sweep(request: bytes, wait_s: float) -> Iterator[str]:
    """In the child: a sweep of functions that travelled by value."""
    kernels, sizes, keywords = pickle.loads(request)
    yield sweep(kernels, sizes, progress=False, wait=wait_s, **keywords).run.id


_WORK = {"record": _record, "sweep": _sweep}


def serve(address: str, name: str = "", port: int = 0, security: Any = None, insecure: bool = False) -> None:
    """Take part until SIGINT or SIGTERM: connect, and connect again when the scheduler was gone.

    The worker of a scheduler on this machine is reached from this machine only. Raises FleetError for an address over which
    others could run code here.
    """
    require_closed(address, insecure)
    try:
        import dask  # an extra, which only a fleet needs
    except ImportError:
        raise FleetError(WITHOUT) from None
    host = urlsplit(address).hostname or ""
    own = (f"[{host}]" if ":" in host else host) if is_loopback(host) else None
    _served["name"] = on_one_line(name) or f"{platform.machine()}-{boot_id()[:8]}"
    with dask.config.set({"distributed.worker.profile.enabled": False}):
        asyncio.run(_serve(address, _served["name"], port, security, own))


async def _serve(address: str, name: str, port: int, security: Any, host: str | None) -> None:
    from distributed import Worker  # an extra, which only a fleet needs

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    settings = {"nthreads": 1, "name": name, "port": port, "security": security, "host": host, "memory_limit": 0}
    while not ended.is_set():
        try:
            async with Worker(address, dashboard=False, death_timeout=10, **settings) as worker:
                print(f"{name} serves {address} at {worker.address}", file=sys.stderr, flush=True)
                finished = asyncio.ensure_future(worker.finished())
                stopped = asyncio.ensure_future(ended.wait())
                await asyncio.wait({finished, stopped}, return_when=asyncio.FIRST_COMPLETED)
                for task in (finished, stopped):
                    task.cancel()
        except (OSError, TimeoutError, ValueError, RuntimeError) as problem:
            print(f"{name}: {address}: {on_one_line(problem)}; trying again", file=sys.stderr, flush=True)
        if not ended.is_set():
            await asyncio.wait({asyncio.ensure_future(ended.wait())}, timeout=AGAIN_S)
    for job in _jobs.values():
        job.end()
