"""By hand: kill `perflib record --quick` at twenty random moments, restart it, compare with an undisturbed one.

    python tests/support/kill_record.py [SEED]

Takes some ten minutes, in a folder of its own. Exit status 1 if the blocks differ or a sample is there twice.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from perflib.runs.store import Run, load_run
from perflib.runs.tables import TABLES

KILLS = 20
ROW = ["block", "kernel", "scope", "dtype", "n", "tile", "rows", "round"]


def start(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "PERFLIB_DATA": str(folder), "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "perflib", "record", "--quick"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def only_run(folder: Path) -> Run:
    (path,) = (folder / "runs").iterdir()
    return load_run(path)


def complete(folder: Path) -> int:
    return len(only_run(folder).blocks) if any((folder / "runs").glob("*/run.json")) else 0


def main(seed: int) -> int:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        undisturbed, killed = Path(one), Path(other)
        began = time.monotonic()
        if start(undisturbed).wait():
            return 1
        took = time.monotonic() - began
        print(f"undisturbed: {len(only_run(undisturbed).blocks)} blocks in {took:.0f} s", flush=True)
        planned = only_run(undisturbed).blocks
        for blocks in sorted(rng.sample(range(len(planned) - 4), KILLS)):
            recording = start(killed)
            while recording.poll() is None and complete(killed) < blocks:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 5))
            recording.kill()
            recording.wait()
            print(f"killed with {complete(killed)} blocks complete", flush=True)
        if start(killed).wait():
            return 1
        run = only_run(killed)
        topics = {topic for topic, _ in run.blocks}
        twice = sum(int(run.samples(topic).duplicated(ROW).sum()) for topic in topics - TABLES.keys())
        same = run.finished and run.blocks.keys() == planned.keys()
    print(f"{len(run.blocks)} blocks, {'the same set' if same else 'ANOTHER SET'}; {twice} samples there twice")
    return 0 if same and not twice else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 0))
