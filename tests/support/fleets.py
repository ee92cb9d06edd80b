"""A scheduler and workers as processes on loopback, machines told apart by boot ids given for the test.

with Machines(folder) as machines:
    machines.worker("a"), machines.worker("b")
    fleet.record(machines.address, ...)
"""

import json
import os
import signal
import subprocess
import sys
import time

WAIT_S = 240  # a busy machine compiles for minutes
WORKER = """
import sys
from perflib.fleet import worker

def tiny(request, wait_s):
    from perflib.kernels.catalog import find
    from perflib.runs.grid import GridPoint
    from perflib.runs.recorder import Block
    from perflib.studies import recording_plan as program

    names = ("rms_norm_fast", "numpy_rms_norm")
    cells = [tuple(GridPoint(find(name), n, "call") for name in names) for n in range(8, 8 + {blocks})]
    norms = [Block("rmsnorm", f"n={{c[0].n}}", c, {seconds}) for c in cells]
    program.plan = lambda quick, machine, peers: [*norms, program._limits(quick, machine)[0]]  # with the peak
    program.count_code = dict
    program.record_harnesses = program.record_forward = lambda *_: None
    yield from worker._record(request, wait_s)

if {blocks}:
    worker._WORK["record"] = tiny
{more}
from perflib.fleet.addresses import tls
worker.serve(sys.argv[1], sys.argv[2], security=tls(sys.argv[1], *(sys.argv[3:] or (None,) * 3)))
"""


class Machines:
    """Ends all its processes, by their numbers. files: of --tls-ca-file, --tls-cert and --tls-key."""

    def __init__(self, folder, files=(), host="127.0.0.1"):
        self.folder, self.processes, self.address, self._port = folder, {}, "", 0
        self._files, self._host = files, host

    def __enter__(self):
        self.scheduler()
        return self

    def __exit__(self, *problem):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def scheduler(self):
        """Start it, on the port that it had before."""
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        words = ["--host", self._host, "--port", str(self._port), "--no-dashboard", "--scheduler-file", str(file)]
        if self._files:
            names = ("--tls-ca-file", "--tls-cert", "--tls-key")
            words += ["--protocol", "tls", *(word for pair in zip(names, self._files, strict=True) for word in pair)]
        self._start("scheduler", ["-m", "distributed.cli.dask_scheduler", *words])
        until(lambda: file.is_file() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        self._port = int(self.address.rpartition(":")[2])

    def worker(self, name, boot=None, blocks=3, seconds=1e-6, more="", folder=None, files=None, waits="serves"):
        """A machine of its own, whose recordings have so many small blocks; 0: those of every recording."""
        program = WORKER.format(blocks=blocks, seconds=seconds, more=more)
        boot = boot or f"boot of {name}"
        data = folder or self.folder / f"data-{len(self.processes)}-{abs(hash(name)) % 1000}"
        words = ["-c", program, self.address, name, *(files or self._files)]
        self._start(name, words, PERFLIB_BOOT_ID=boot, PERFLIB_DATA=str(data))
        until(lambda: waits in self.said(name))
        return data

    def foreign(self, *words):
        """A worker by Dask's own command."""
        name = f"foreign {len(self.processes)}"
        self._start(name, ["-m", "distributed.cli.dask_worker", self.address, "--no-nanny", "--no-dashboard", *words])
        until(lambda: "Registered to" in self.said(name))

    def send(self, name, number):
        self.processes[name].send_signal(number)

    def kill(self, name):
        self.send(name, signal.SIGKILL)
        self.processes[name].wait()

    def said(self, name):
        """What a process wrote to stderr."""
        return (self.folder / f"{self._file(name)}.err").read_text()

    def _file(self, name):
        return "".join(c if c.isalnum() else "-" for c in name)[:30]

    def _start(self, name, words, **more):
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PERFLIB")}
        environment = {**kept, "TMPDIR": str(self.folder), "PYTHONUNBUFFERED": "1", **more}
        with (self.folder / f"{self._file(name)}.err").open("w") as errors:
            command = [sys.executable, *words]
            self.processes[name] = subprocess.Popen(command, env=environment, stdout=errors, stderr=errors, cwd=self.folder)


def until(is_so, seconds=WAIT_S):
    """Look until it is so, or fail."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not become so in time"
        time.sleep(0.05)
