"""Read and judge so many summaries, by default 1,000 copies of the reference run's: seconds and memory.

python tests/support/fleet_bench.py [COUNT]

What grows with the fleet is the reading of files, 6 ms each. The next limits are those of a page with a column for each
machine, and of a scheduler that keeps a connection to each worker.
"""

import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from perflib.runs.integrity import digest
from perflib.runs.store import load_run
from perflib.runs.summaries import FILE, SUMMARY_COLUMNS, summary_rows
from perflib.runs.writer import _line
from perflib.studies.machines import shares_of_many


def copies(folder, count):
    """Folders with run.json, a summary and its checksum."""
    run = load_run()
    text = "".join(map(_line, [SUMMARY_COLUMNS, *summary_rows(run)])).encode()
    for number in range(count):
        (path := folder / f"{number:05}").mkdir()
        shutil.copy(run.path / "run.json", path)
        (path / FILE).write_bytes(text)
        (path / "SHA256SUMS").write_text(f"{digest(text)}  {FILE}\n")
        yield path


def main(count):
    with tempfile.TemporaryDirectory() as folder:
        paths = list(copies(Path(folder), count))
        start = time.perf_counter()
        shares = shares_of_many(paths)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(shares)} summaries judged in {seconds:.1f} s, at most {peak:.2f} GiB of memory")
    print(shares.drop(columns="problem").describe().loc[["min", "50%", "max"]].round(3).to_string())


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1000)
