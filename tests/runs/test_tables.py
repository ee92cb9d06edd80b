"""A row that no measurement gives is refused with file, row and reason; a large table is read in little memory."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from runs import isolate, row, start

from perflib.errors import RunError
from perflib.runs.integrity import digest
from perflib.runs.store import load_run
from perflib.runs.tables import COLUMNS


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


SEEDS = itertools.count()


def recorded(*rows, topic="tiles", parameters=()):
    """An unfinished run: one that is read by its finish is refused there."""
    run = start(settings={"seed": next(SEEDS)})
    with run.block(topic, "n=64", parameters) as append:
        append(rows)
    return load_run(run.path)


def calm(number, **changes):
    return row("n=64", number, **changes)


DAY_NS = 86_400 * 10**9
IMPOSSIBLE = {
    "31 years": (calm(2, elapsed_ns=978_307_200 * 10**9), f"elapsed_ns must be an integer of at most {DAY_NS}"),
    "no time": (calm(2, reps=10**6, elapsed_ns=1), "takes less than a run of anything does"),
    "reps and elapsed exchanged": (calm(2, reps=1_300_000, elapsed_ns=29), "takes less than a run of anything does"),
    "more CPU time than time": (calm(2, elapsed_ns=10**6, cpu_ns=10**8), "has more CPU time than time"),
    "threads of another block": (calm(2, threads=2), "has another number of threads than its block"),
    "threads of no machine": (calm(2, threads=10**17), "threads must be an integer of at most 65536, got '1000"),
    "rounds that are all one": (calm(1, position=1), "is a second sample of its case and round"),
    "an earlier round": (calm(0, n=128, position=1), "stands behind a later round or position of its block"),
    "a sample twice": (calm(1), "stands behind a later round or position of its block"),
    "a type that is none": (calm(2, dtype="inf"), "dtype must match"),
    "a scope that is none": (calm(2, scope="both"), "scope must match kernel|call, got 'both'"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_a_sample_that_no_measurement_gives_is_refused_with_its_row(what, refused):
    sample, words = IMPOSSIBLE[what]
    run = recorded(calm(0), calm(1), sample)

    with refused(RunError, "tiles.csv: row 4: ", words):
        run.samples("tiles")


def test_a_block_whose_threads_computed_longer_than_it_lasted_is_refused(refused):
    run = recorded(*(calm(number, elapsed_ns=10**6, cpu_ns=2 * 10**6 + 1) for number in range(100)))

    with refused(RunError, "tiles.csv: row 2: has more CPU time than time, as other samples of its block"):
        run.samples("tiles")


def test_times_that_change_places_do_not_go_with_their_cpu_times(refused):
    rng = np.random.default_rng(0)
    times = (10**6 * rng.uniform(1, 1.2, 60)).astype(int)
    whole = recorded(*(calm(i, elapsed_ns=ns, cpu_ns=ns + 1500) for i, ns in enumerate(times)))
    moved = recorded(
        *(calm(i, elapsed_ns=ns, cpu_ns=cpu) for i, (ns, cpu) in enumerate(zip(rng.permutation(times), times, strict=True)))
    )

    assert len(whole.samples("tiles")) == 60
    with refused(RunError, "has more CPU time than time, as other samples of its block"):
        moved.samples("tiles")


def test_the_loop_overhead_and_the_reference_loop_have_one_thread_beside_any_number():
    run = recorded(calm(0, threads=2), calm(0, kernel="floor", position=1), calm(1, threads=2))

    assert run.samples("tiles")["threads"].tolist() == [2, 1, 2]


def test_rows_behind_the_last_block_belong_to_an_unfinished_run_only(refused):
    run = start()
    for name, marked in (("n=64", True), ("n=128", False)):
        try:
            with run.block("tiles", name) as append:
                append([row(name, 0)])
                if not marked:
                    raise InterruptedError
        except InterruptedError:
            pass

    assert len(load_run(run.path).samples("tiles")) == 1
    with refused(RunError, "tiles.csv: row 3: stands behind the last block"):
        run.finish().samples("tiles")


def test_zeros_that_a_disk_left_behind_the_last_row_are_refused(refused):
    run = start()
    with run.block("tiles", "n=64") as append:
        append([row("n=64", 0)])
    finished, file = run.finish(), run.path / "tiles.csv"
    before, sums = digest(file.read_bytes()), finished.path / "SHA256SUMS"
    file.write_bytes(file.read_bytes() + bytes(512))
    sums.write_text(sums.read_text().replace(before, digest(file.read_bytes())))

    with refused(RunError, "tiles.csv: row 3: stands behind the last block"):
        load_run(run.path).samples("tiles")


def test_a_column_that_is_computed_is_no_parameter(refused):
    run = recorded(calm(0, floor_ns=3), parameters=["floor_ns"])

    with refused(RunError, "row 1: a column must have the name of a parameter, got 'floor_ns'"):
        run.samples("tiles")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("../outside,n=64,1,3", "row 3: topic must be letters, digits, - and _, got '../outside'"),
        ("tiles,n=64,1,3", "row 3: block 'n=64' of tiles stands there twice"),
        ("tiles,n=128,1,٣", "row 3: must be topic,block,process,rows"),
        (f"tiles,n=128,1,{'9' * 5000}", "row 3: must be topic,block,process,rows"),
    ],
)
def test_a_block_that_nobody_recorded_is_refused(line, words, refused):
    run = start()
    with run.block("tiles", "n=64") as append:
        append([calm(number) for number in range(3)])
    with (run.path / "blocks.csv").open("a", encoding="utf-8") as stream:
        stream.write(f"{line}\n")

    with refused(RunError, "blocks.csv: ", words):
        _ = load_run(run.path).blocks


LARGE = """
import resource, sys
from pathlib import Path
from perflib.runs.tables import COLUMNS, read_table
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = read_table(Path(sys.argv[1]), COLUMNS, {"b": int(sys.argv[2])}, True)
print(len(table), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_table_takes_little_more_memory_than_its_numbers(tmp_path):
    header, count = ",".join(COLUMNS), 200_000
    rows = (f"b,matmul_naive,kernel,float32,1,512,,,1,{i},{i},0,10,1300000,1300000,0,0" for i in range(count))
    (tmp_path / "tiles.csv").write_text("\n".join([header, *rows]) + "\n")

    done = subprocess.run(
        [sys.executable, "-c", LARGE, tmp_path / "tiles.csv", str(count)], capture_output=True, text=True, check=True
    )

    length, grown = map(int, done.stdout.split())
    assert length == count
    assert grown * resource_unit() < 350e6


def resource_unit():
    """Bytes of ru_maxrss."""
    return 1 if sys.platform == "darwin" else 1024
