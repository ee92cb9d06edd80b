"""By hand: kill a sweep at random moments, go on with it each time, and look whether anything is lost or twice.

    python tests/support/kill_sweep.py [KILLS] [SEED]

Every attempt is a fork of one process that has everything compiled, so a moment costs a second. A block that is complete
before a kill must stand in the run after it, byte by byte. Exit status 1 if one does not, or a sample is there twice.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from perflib import sweep
from perflib.runs import writer
from perflib.runs.store import load_run, runs_in
from perflib.runs.tables import read_blocks

KILLS, BLOCKS = 100, 12
KEY = ["block", "kernel", "scope", "n", "edge", "process", "round"]


def work(x, edge):
    return sum(x[::edge])


def measure() -> None:
    sizes, edges = [100 * number for number in range(1, BLOCKS + 1)], [1, 2]
    sweep([work], sizes, budget_s=1.5, seed=1, make=lambda n: (list(range(n)),), edge=edges, progress=False)


def attempt(alarm_s: float | None) -> bool:
    """One process that measures; whether it came to its end before it was killed."""
    if not (child := os.fork()):
        try:
            measure()
        finally:
            os._exit(0)
    if alarm_s is not None:
        time.sleep(alarm_s)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def complete(path: Path) -> bytes:
    """The rows of the complete blocks and their header, as they stand in the table."""
    count = sum(read_blocks(path).values())
    lines = (path / "sweep.csv").read_bytes().splitlines(keepends=True) if count else []
    return b"".join(lines[: count + 1])


def main(kills: int, seed: int) -> int:
    rng, writer._code = random.Random(seed), lambda: {"digest": "0", "commit": None, "clean": None}
    lost = twice = done = finished = 0
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"PERFLIB_DATA": home, "TMPDIR": home}
        tempfile.tempdir = home
        began = time.monotonic()
        attempt(None)
        took = time.monotonic() - began
        print(f"undisturbed: {took:.1f} s", flush=True)
        while done < kills:
            before = {path: complete(path) for path in runs_in(Path(home) / "runs")}
            if attempt(rng.uniform(0, took)):
                finished += 1
            else:
                done += 1
            lost += sum(not complete(path).startswith(rows) for path, rows in before.items())
        attempt(None)
        for path in runs_in(Path(home) / "runs"):
            run = load_run(path)
            twice += int(run.samples("sweep").duplicated(KEY).sum())
            lost += not run.finished or len(run.blocks) != BLOCKS
    print(f"{done} kills, {finished} sweeps ended before theirs; {lost} lost, {twice} samples twice")
    return 1 if lost or twice else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else KILLS, int(sys.argv[2]) if sys.argv[2:] else 0))
