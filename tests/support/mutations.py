"""Mutate runs at random, by a seed, and look whether each is refused in one line or reads as what it says.

    python tests/support/mutations.py [--count 1000] [--seed 1] [--run FOLDER] [--figures 3] [--only WORD] [--seconds 5]

A mutation changes bytes, cells, columns, rows, types in run.json, sizes, or puts a link, a pipe or a device where a file
was; then the checksums are made right, so that only a look at the contents can tell. Each mutated run goes through `runs`,
`load_run`, every table, `compare` in both directions, `model`, figures and claims, and is continued if it is unfinished, in
a process of its own. Counted are tracebacks, more than 5 s or 500 MB, text that a terminal would act on, changes outside of
the folder, and runs that were accepted and break an invariant. Exit status 1 if there is any.
"""

import argparse
import contextlib
import csv
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).parent))

from figures import FIGURES  # noqa: E402  found on the path above
from runs import start, write  # noqa: E402
from synthetic import cell, conflicts, full, limits, matmul, matmul_called, noisy, packing, record, tiles  # noqa: E402

from perflib import cli  # noqa: E402
from perflib.errors import PerflibError  # noqa: E402
from perflib.fleet.packing import unpack  # noqa: E402
from perflib.report import build, index_page  # noqa: E402
from perflib.runs import writer  # noqa: E402
from perflib.runs.integrity import digest  # noqa: E402
from perflib.runs.store import load_run  # noqa: E402
from perflib.studies import summary  # noqa: E402

MOST_S, MOST_MB = 5, 500
TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
NUMBERS = ["", "0", "-1", "1", "1e3", "1.5", "nan", "inf", "-inf", "True", "None", "0x10", "1_000", " 7", "+7", "٣", "1\n2"]
NUMBERS += ["9" * 30, "9" * 5000, str(10**17), str(2**63 - 1), str(2**63)]
WORDS = ["", "$\\frac{x", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u202egnp.exe", "\x00", "a\nb", "=1+1", "\ud800"]
WORDS += ["<script>alert(1)</script>", "../outside", "x" * 5000, "x" * 200_000]
WORDS += ["kernel", "floor", "canary", "inf", "nan", "float32", "Q8_0", "matmul"]
VALUES = [None, True, False, 0, -1, 1, 1.5, 1e308, -0.0, 10**17, 10**40]
VALUES += ["", "x", "\x1b[31m", "\u202e", [], {}, [1], {"a": 1}]
RAW = ("NaN", "Infinity", "1e999", '"\\ud800"', "[" * 100_000, "9" * 5000, '{"a": 1, "a": 2}', "1.0", "01", "'x'")


def tables(folder):
    return sorted(file for file in folder.glob("*.csv") if file.name != "blocks.csv")


def rows_of(file):
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.reader(stream))


def put_rows(file, rows):
    with file.open("w", newline="", encoding="utf-8", errors="surrogatepass") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def table(rng, folder, sampled=False):
    """One table and its rows, with rows below the header."""
    recorded = {row[0] for row in rows_of(folder / "blocks.csv")}
    recorded = recorded - {"harness", "clock"} if sampled else recorded | {"summary"}
    file = rng.choice([file for file in tables(folder) if file.stem in recorded])
    return file, rows_of(file)


@contextlib.contextmanager
def document(folder):
    """The fields of run.json, which are written back."""
    file = folder / "run.json"
    yield (meta := json.loads(file.read_text()))
    file.write_text(json.dumps(meta))


def a_place(rng, meta):
    """Anything in a document: what holds it, and its key there."""
    *path, key = rng.choice([path for path in places_in(meta) if path])
    for outer in path:
        meta = meta[outer]
    return meta, key, [*path, key][0]


KINDS = {}


def mutation(mutate):
    """A kind of mutation: returns why the run must be refused, or None where what it says might be true."""
    KINDS[mutate.__name__] = mutate
    return mutate


@mutation
def byte(rng, folder):
    file = rng.choice([*tables(folder), folder / "blocks.csv", folder / "run.json"])
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 1, 3, 50))):
        place = rng.randrange(len(content))
        what = rng.randrange(4)
        if what == 0:
            content[place] ^= 1 << rng.randrange(8)
        elif what == 1:
            content[place : place + rng.randrange(1, 40)] = b""
        elif what == 2:
            content[place:place] = rng.choice((b"\0", b"\xff", b'"', b"\n", b",", b"\r\n", rng.randbytes(9)))
        else:
            content[place] = rng.randrange(256)
        content = content or bytearray(b"\n")
    file.write_bytes(content)


@mutation
def truncated(rng, folder):
    file = rng.choice([*tables(folder), folder / "blocks.csv", folder / "run.json"])
    content = file.read_bytes()
    file.write_bytes(content[: rng.choice((0, 1, len(content) // 2, len(content) - 1, rng.randrange(len(content))))])


@mutation
def without_last_line(rng, folder):
    file, _ = table(rng, folder, sampled=True)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))
    return "a row of a complete block is missing"


@mutation
def a_cell(rng, folder):
    file, rows = table(rng, folder)
    row, column = rng.randrange(len(rows)), rng.randrange(len(rows[0]))
    rows[row][column] = rng.choice(NUMBERS + WORDS)
    put_rows(file, rows)


@mutation
def a_number(rng, folder):
    """A cell that cannot be, in a column of numbers."""
    file, rows = table(rng, folder, sampled=True)
    column = rows[0].index(rng.choice(("elapsed_ns", "reps", "round", "cpu_ns", "switches", "compiled", "position")))
    rows[rng.randrange(1, len(rows))][column] = rng.choice(("", "-1", "1.5", "1e3", "nan", "inf", "٣", "9" * 30, "1\n2"))
    put_rows(file, rows)
    return "a number that is none"


@mutation
def threads(rng, folder):
    file, rows = table(rng, folder, sampled=True)
    header = rows[0]
    counted = [row for row in rows[1:] if row[header.index("kernel")] not in ("floor", "canary")]
    rng.choice(counted)[header.index("threads")] = rng.choice((str(10**17), "64", "3"))
    put_rows(file, rows)
    return "one row with other threads than its block"


@mutation
def years(rng, folder):
    file, rows = table(rng, folder)
    names = [name for name in ("elapsed_ns", "reported_ps", "median_ps") if name in rows[0]]
    column = rows[0].index(names[0])
    rng.choice(rows[1:])[column] = str(978_307_200 * 10**9)
    put_rows(file, rows)
    return "a sample of 31 years"


@mutation
def at_once(rng, folder):
    """A large multiplication in a nanosecond."""
    file = folder / "matmul.csv"
    rows = rows_of(file)
    header = rows[0]
    large = [
        row for row in rows[1:] if row[header.index("kernel")].startswith("matmul") and int(row[header.index("n")]) > 99
    ]
    row = rng.choice(large)
    row[header.index("elapsed_ns")], row[header.index("reps")] = "1", "1"
    put_rows(file, rows)
    return "a large multiplication in a nanosecond"


@mutation
def rounds(rng, folder):
    file, rows = table(rng, folder, sampled=True)
    for row in rows[1:]:
        row[rows[0].index("round")] = "0"
    put_rows(file, rows)
    return "all rounds are 0"


@mutation
def exchanged(rng, folder):
    file, rows = table(rng, folder, sampled=True)
    reps, elapsed = rows[0].index("reps"), rows[0].index("elapsed_ns")
    chosen = [row for row in rows[1:] if int(row[elapsed]) > 100 * int(row[reps])]
    for row in chosen:
        row[reps], row[elapsed] = row[elapsed], row[reps]
    put_rows(file, rows)
    return "reps and elapsed exchanged" if chosen else None


@mutation
def repeated(rng, folder):
    file, rows = table(rng, folder, sampled=True)
    place = rng.randrange(1, len(rows) - 1)
    rows[place + 1] = rows[place]
    put_rows(file, rows)
    return "a sample twice"


@mutation
def shuffled(rng, folder):
    file, rows = table(rng, folder, sampled=True)
    block = rows[0].index("block")
    of_block = [i for i, row in enumerate(rows) if row[block] == rows[-1][block]]
    order = of_block[::-1] if rng.random() < 0.5 else rng.sample(of_block, len(of_block))
    changed = [rows[i] for i in order]
    is_other = order != of_block
    for i, row in zip(of_block, changed, strict=True):
        rows[i] = row
    put_rows(file, rows)
    return "rows are shuffled" if is_other else None


@mutation
def infinite_type(rng, folder):
    file, rows = table(rng, folder, sampled=True)
    rng.choice(rows[1:])[rows[0].index("dtype")] = rng.choice(("inf", "nan", "float", "f4,f4", "<f4"))
    put_rows(file, rows)
    return "a type that is none"


@mutation
def scaled(rng, folder):
    """Times x 0.05 where the CPU time stays: nobody computes for longer than it lasts."""
    file, rows = table(rng, folder, sampled=True)
    elapsed, cpu = rows[0].index("elapsed_ns"), rows[0].index("cpu_ns")
    total = sum(int(row[cpu]) for row in rows[1:])
    for row in rows[1:]:
        row[elapsed] = str(max(1, int(row[elapsed]) // 20))
    put_rows(file, rows)
    return "more CPU time than time" if total * 0.9 > 1e8 + 1.3 * sum(int(row[elapsed]) for row in rows[1:]) else None


@mutation
def a_column(rng, folder):
    file, rows = table(rng, folder)
    column = rng.randrange(len(rows[0]))
    what = rng.randrange(8)
    values = [row[column] for row in rows[1:]]
    for number, row in enumerate(rows):
        if what == 0:
            del row[column]
        elif what == 1:
            row.append(row[column])
        elif what == 2 and number:
            row[column] = values[0]
        elif what == 3 and number:
            row[column] = rng.choice(values)
        elif what == 4 and number and row[column].isdecimal():
            row[column] = str(int(row[column]) * 1000)
        elif what == 5 and number:
            row[column] = rng.choice(NUMBERS + WORDS) if rng.random() < 0.1 else row[column]
        elif what == 6:
            row.append(rng.choice(("1", "2", "")) if number else "heads")
        elif what == 7 and not number:
            row[column] = rng.choice(
                ("net_ns", "floor_ns", "usual_ns", "x" * 5000, "", "\x1b[31m", "block", "ns", "gflops")
            )
    if what == 7 and rng.random() < 0.3:
        for number, row in enumerate(rows):
            row.append("1" if number else rng.choice(("net_ns", "floor_ns", "usual_ns", "per_run_ns", "\x1b[31m", "class")))
    put_rows(file, rows)


@mutation
def many_columns(rng, folder):
    file, rows = table(rng, folder)
    for number, row in enumerate(rows):
        row += [f"c{i}" if not number else "1" for i in range(500)]
    put_rows(file, rows)


@mutation
def a_row(rng, folder):
    file, rows = table(rng, folder)
    place = rng.randrange(1, len(rows))
    what = rng.randrange(4)
    if what == 0:
        del rows[place]
    elif what == 1:
        rows.insert(place, rows[rng.randrange(1, len(rows))])
    elif what == 2:
        rows[place] = rows[place][: rng.randrange(len(rows[place]))]
    else:
        rows[place] = rows[place] + ["1"]
    put_rows(file, rows)
    return "another number of rows or fields"


def places_in(value, path=()):
    """The path of everything in a document."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places_in(inner, (*path, key))


@mutation
def a_field(rng, folder):
    with document(folder) as meta:
        inner, key, _ = a_place(rng, meta)
        what = rng.randrange(5)
        if what == 0:
            del inner[key]
        elif what == 1 and isinstance(inner, dict):
            inner[rng.choice(("class", "\x1b[31m", "x" * 3000, "size_bytes"))] = inner.pop(key)
        else:
            inner[key] = rng.choice(VALUES)


@mutation
def a_raw_field(rng, folder):
    with document(folder) as meta:
        inner, key, field = a_place(rng, meta)
        inner[key] = "HERE IT GOES"
    file = folder / "run.json"
    file.write_text(file.read_text().replace('"HERE IT GOES"', rng.choice(RAW)))
    return None if field == "settings" else "not of the field's type"


@mutation
def a_cache(rng, folder):
    with document(folder) as meta:
        cache = rng.choice(meta["machine"]["caches"])
        cache[rng.choice(("ways", "line_bytes", "size_bytes", "level"))] = rng.choice((0, -1, 1.5, "8", True, [8], 10**30))
    return "a cache that cannot be"


@mutation
def a_limit(rng, folder):
    limit = {"value": 100.0, "low": 99.0, "high": 101.0, "coverage": 0.95}
    limit[rng.choice(("value", "low", "high"))] = rng.choice((0, -1, "100", None, True, 1e300, 1e-300))
    if rng.random() < 0.3:
        limit = rng.choice((7, [], "100", None, {}))
    with document(folder) as meta:
        meta["limits"] = {"peak_gflops_float32": limit, "copy_gb_per_s": limit}


@mutation
def no_limits(rng, folder):
    """Limits that are gone, or not whole, and times x 0.05 with their CPU time."""
    if (folder / "limits.csv").exists():
        lines = (folder / "limits.csv").read_bytes().splitlines(keepends=True)
        (folder / "limits.csv").write_bytes(b"".join(lines[: rng.choice((-1, 1, 3))]))
    else:
        with document(folder) as meta:
            meta.pop("limits", None)
    file = folder / rng.choice(("matmul.csv", "rmsnorm.csv"))
    if file.exists():
        rows = rows_of(file)
        for column in map(rows[0].index, ("elapsed_ns", "cpu_ns")):
            for row in rows[1:]:
                row[column] = str(max(1, int(row[column]) // 20))
        put_rows(file, rows)
    return "times that nothing is there to hold against"


@mutation
def blocks(rng, folder):
    file = folder / "blocks.csv"
    rows = rows_of(file)
    row = rng.choice(rows[1:])
    column = rng.randrange(len(row))
    if column == 0:
        row[0] = rng.choice(
            ("../outside", "/etc/passwd", "blocks", "run.json", ".hidden", "a/b", "\x1b[31m", "x" * 300, "..", "")
        )
    elif column == 1:
        row[1] = rng.choice(WORDS)
    else:
        row[column] = rng.choice(("0", "-1", "1e3", "٣", "9" * 30, "9" * 5000, str(10**17), str(int(row[-1]) + 1), "1.0"))
    is_process = column == 2
    put_rows(file, rows)
    return None if is_process else "a block that is not there so"


@mutation
def block_lines(rng, folder):
    file = folder / "blocks.csv"
    rows = rows_of(file)
    what = rng.randrange(3)
    if what == 0:
        rows.append(rng.choice(rows[1:]))
    elif what == 1:
        rows[0] = rows[0][::-1]
    else:
        rows.append(["nowhere", "b", "1", "3"])
    put_rows(file, rows)
    return "a block twice, unnamed or without rows"


def entry(folder, rng):
    """A file of the run that is read."""
    return rng.choice([*tables(folder), folder / "run.json", folder / "blocks.csv", *folder.glob("SHA256SUMS")])


@mutation
def a_link(rng, folder):
    file = entry(folder, rng)
    outside = folder.parent.parent / "outside.txt"
    content = file.read_bytes()
    file.unlink()
    what = rng.randrange(4)
    if what == 0:
        outside.write_bytes(content)
        file.symlink_to(outside)
    elif what == 1:
        file.symlink_to(file)
    elif what == 2:
        (folder / "inside").write_bytes(content)
        file.symlink_to("inside")
    else:
        file.symlink_to("/dev/zero")
    return "a link"


@mutation
def a_part(rng, folder):
    """A link where the writer puts a file before it replaces another."""
    outside = folder.parent.parent / "outside.txt"
    outside.write_text("mine")
    for name in ("blocks.csv", "run.json", "tiles.csv"):
        (folder / f".{os.getpid()}.part.{name}").symlink_to(outside)
        (folder / f".{name}.part").symlink_to(outside)
    return "a link"


@mutation
def a_special_file(rng, folder):
    file = entry(folder, rng)
    file.unlink()
    what = rng.randrange(4)
    if what == 0:
        os.mkfifo(file)
    elif what == 1:
        file.mkdir()
    elif what == 2:
        with contextlib.chdir(folder):  # a socket has a short name
            socket.socket(socket.AF_UNIX).bind(file.name)
    else:
        try:
            os.mknod(file, 0o020666, os.makedev(1, 5))  # /dev/zero
        except OSError:
            os.mkfifo(file)
    return "a file that is none"


@mutation
def another_name(rng, folder):
    file = rng.choice([*tables(folder), folder / "blocks.csv"])
    outside = folder.parent.parent / "outside.txt"
    os.link(file, outside)


@mutation
def a_size(rng, folder):
    file = rng.choice([*tables(folder), folder / "run.json", folder / "blocks.csv"])
    what, has_blocks = rng.randrange(5), f"\n{file.stem}," in (folder / "blocks.csv").read_text()
    if what == 0:
        with file.open("r+b") as stream:
            stream.truncate(1 << 40)
    elif what == 1:
        file.write_bytes(b"\n" * 50_000_000)
    elif what == 2:
        file.write_bytes(rng.choice((b"[", b"{", b'"', b",", b"9", b"\0", b"[],")) * 3_000_000)
    elif what == 3:
        lines = file.read_bytes().splitlines(keepends=True)
        content = b"".join(lines[1:]) or lines[0]
        with file.open("ab") as stream:
            for _ in range(30_000_000 // len(content)):
                stream.write(content)
    else:
        header, *lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(header + b"\n" * 20_000_000 + b"".join(lines))
    is_torn = file.stem not in ("run", "blocks") and not has_blocks  # what no block of an unfinished run counts
    return None if is_torn else "a size that no run has"


@mutation
def many_files(rng, folder):
    for number in range(3000):
        (folder / f"x{number}.csv").touch()
    return "three thousand files"


@mutation
def a_foreign_file(rng, folder):
    name = rng.choice(("evil.csv", "x.pkl", "\x1b[31m.csv", "a\nb.csv", "-rf.csv", "\udcff.csv"))
    (folder / name).write_text("block\n1\n")


@mutation
def sums(rng, folder):
    file = folder / "SHA256SUMS"
    lines = file.read_text().splitlines() if file.exists() else []
    what = rng.randrange(4)
    bad = f"{'0' * 64}  {rng.choice(('../outside.csv', '/etc/passwd', '.', '', 'run.json/x', 'no.txt'))}"
    lines = [[*lines, bad], [*lines, f"{'0' * 64}  run.json"], lines[1:], ["", *lines]][what]
    file.write_text("\n".join(lines) + "\n")
    return "checksums that are none"


@mutation
def itself(rng, folder):
    """A folder that is a link to itself, or nowhere, beside the run."""
    (folder.parent / "20990101T000000Z-loop").symlink_to(rng.choice(("20990101T000000Z-loop", "nowhere", str(folder))))


@mutation
def line_ends(rng, folder):
    """A mark of byte order, other line ends, a zero: what an editor or a disk may do to every line."""
    file = rng.choice([*tables(folder), folder / "blocks.csv", folder / "run.json"])
    content, is_finished = file.read_bytes(), (folder / "SHA256SUMS").exists()
    changes = (
        (b"\xef\xbb\xbf" + content, "a mark of byte order"),
        (content.replace(b"\n", b"\r\n"), None),
        (content.replace(b"\n", b"\r"), None),
        (content.replace(b",", b";"), "other separators"),
        (content.decode().encode("utf-16"), "another encoding"),
        (content.replace(b"\n", b"\n\n"), None if file.suffix == ".json" else "empty lines"),
        (content + b"\0" * 512, "zeros at the end" if is_finished or file.suffix == ".json" else None),
    )
    changed, reason = rng.choice(changes)
    file.write_bytes(changed)
    return reason


@mutation
def heads_exchanged(rng, folder):
    """Two columns bear each other's name."""
    file, rows = table(rng, folder, sampled=True)
    one, other = rng.sample(range(len(rows[0])), 2)
    rows[0][one], rows[0][other] = rows[0][other], rows[0][one]
    put_rows(file, rows)


@mutation
def units(rng, folder):
    """A column of times in another unit."""
    file, rows = table(rng, folder)
    columns = [i for i, name in enumerate(rows[0]) if name.endswith(("_ns", "_ps", "_ms"))]
    column, power = rng.choice(columns), rng.choice((-9, -6, -3, 3, 6, 9))
    for row in rows[1:]:
        row[column] = str(int(row[column]) * 10**power if power > 0 else int(row[column]) // 10**-power)
    put_rows(file, rows)


@mutation
def reversed_column(rng, folder):
    file, rows = table(rng, folder, sampled=True)
    column = rng.randrange(len(rows[0]))
    values = [row[column] for row in rows[1:]]
    for row, value in zip(rows[1:], values[::-1], strict=True):
        row[column] = value
    put_rows(file, rows)
    return "rounds go backwards" if rows[0][column] == "round" and len({*values}) > 1 else None


@mutation
def a_summary(rng, folder):
    """summary.csv says something else than the samples."""
    file = folder / "summary.csv"
    rows = rows_of(file)
    header, what = rows[0], rng.randrange(4)
    row = rng.choice(rows[1:])
    if what == 0:
        for name in ("median_ps", "low_ps", "high_ps"):
            row[header.index(name)] = str(max(1, int(row[header.index(name)]) // 20))
    elif what == 1:
        row[header.index(rng.choice(("samples", "processes")))] = "77"
    elif what == 2:
        row[header.index("kernel")] = "elsewhere"
    else:
        row[header.index("low_ps")], row[header.index("high_ps")] = "10", "9"
    put_rows(file, rows)
    return "a summary of other samples"


@mutation
def processes(rng, folder):
    """Samples of a process that nobody noted, or of one that belongs to two sessions."""
    recorded = {row[2] for row in rows_of(folder / "blocks.csv")[1:]}
    noted = [{"process": int(p), "entropy": 1, "session": 1 + i} for i, p in enumerate(sorted(recorded))]
    bad = [[{"process": 99, "entropy": 5}], [*noted, {**noted[0], "session": 9}], [{"entropy": 1}]]
    bad += [[{**noted[0], "session": 0}], [{**noted[0], "process": "1"}]]
    with document(folder) as meta:
        meta["processes"] = rng.choice(bad)
    return "processes that are none"


@mutation
def another_run(rng, folder):
    """A table, or the limits, of another run in the place of this one's, or under the name of another topic."""
    file, other = rng.sample(tables(folder), 2)
    file.write_bytes(other.read_bytes())
    return "a table of another topic"


@mutation
def nested(rng, folder):
    """Settings that are as deep as a reader may follow, or long."""
    file, deep = folder / "run.json", rng.choice((50, 400, 900, 3000))
    value = rng.choice(("[" * deep + "]" * deep, '{"a":' * deep + "1" + "}" * deep, f'"{"x" * 100_000}"'))
    with document(folder) as meta:
        meta["settings"] = {"seed": "HERE"}
    file.write_text(file.read_text().replace('"HERE"', value))


@mutation
def elsewhere(rng, folder):
    """The folder is a link to another place, or lies deep in others."""
    moved = folder.parent.parent / "moved"
    moved.mkdir()
    folder.rename(moved / folder.name)
    folder.symlink_to(moved / folder.name)


OFTEN = ("byte", "a_cell", "a_column", "a_field", "a_raw_field", "blocks", "line_ends", "units")
UNSEALED = ("sums",)
NEEDS_MATMUL = ("at_once",)
NEEDS_FINISHED = ("sums", "no_limits", "many_files", "a_summary", "another_run", "processes")


def sealed(folder):
    """The checksums made right, where there are any."""
    file = folder / "SHA256SUMS"
    if not file.is_file() or file.is_symlink():
        return
    names = {f.name for f in folder.glob("[!.]*.csv")} | {"run.json", "blocks.csv"}
    files = [f for f in sorted(folder / name for name in names) if f.is_file() and f.stat().st_size < 1 << 30]
    text = "".join(f"{digest(f.read_bytes())}  {f.name}\n" for f in files if not str(f.resolve()).startswith("/dev"))
    file.write_text(text, errors="surrogateescape")


def broken(run):
    """Invariants that what was read breaks, looked at anew and row by row."""
    for topic in dict.fromkeys(topic for topic, _ in run.blocks):
        if topic == "harness":
            frame = run.table(topic)
            if (frame["reported_ps"] > 86_400 * 10**12).any():
                yield f"{topic}: a figure of more than a day"
            continue
        frame = run.samples(topic)
        shown = [
            name
            for name in frame.columns
            if name not in ("placement", "position", "reps", "elapsed_ns", "cpu_ns", "switches", "compiled")
        ]
        seen, last, of_block = set(), {}, {}
        for row in frame.to_dict("records"):
            key = tuple(str(row[name]) for name in shown)
            if key in seen:
                yield f"{topic}: a case twice in a round"
            seen.add(key)
            series = row["block"], row["process"]
            if (row["round"], row["position"]) <= last.get(series, (-1, -1)):
                yield f"{topic}: rows are not in order"
            last[series] = row["round"], row["position"]
            if not 0 < row["elapsed_ns"] <= 86_400 * 10**9 or row["elapsed_ns"] / row["reps"] < 0.04:
                yield f"{topic}: a time that cannot be"
            if (
                row["kernel"] not in ("floor", "canary")
                and of_block.setdefault(row["block"], row["threads"]) != row["threads"]
            ):
                yield f"{topic}: two numbers of threads in a block"
            if row["dtype"] in ("inf", "nan", "float", "<f4"):
                yield f"{topic}: a type that is none"
            flops = 2 * row["n"] ** 3 if str(row["kernel"]).startswith("matmul") and row["dtype"] == "float32" else 0
            if flops * row["reps"] / row["elapsed_ns"] > 300 * min(row["threads"], run.machine.logical_cpus):
                yield f"{topic}: faster than its machine"
    for cache in run.machine.caches:
        if (
            min(cache.size_bytes, cache.level, *(v for v in (cache.ways, cache.sets, cache.line_bytes) if v is not None))
            < 1
        ):
            yield "a cache of nothing"


def pieces(base, mutated, rng, figures):
    """What is done with a run, by name; each may refuse it."""
    folder = mutated
    yield "load_run", lambda: repr(load_run(folder))
    yield "tables", lambda: [load_run(folder).samples(t) for t, _ in load_run(folder).blocks if t != "harness"]
    yield "invariants", lambda: list(dict.fromkeys(broken(load_run(folder))))
    yield "runs", lambda: cli.run(["runs"])
    yield "compare", lambda: cli.run(["compare", str(base), str(folder)])
    yield "compare back", lambda: cli.run(["compare", str(folder), str(base)])
    yield "model", lambda: cli.run(["model", str(folder)])
    yield "history", lambda: cli.run(["history"])
    yield "fleet", lambda: cli.run(["fleet", "show", str(folder.parent)])
    yield "parcel", lambda: parcel(folder)
    if figures:
        yield "page", lambda: page(load_run(folder))
    for name in rng.sample(sorted(FIGURES), min(figures, len(FIGURES))):
        yield f"figure {name}", lambda name=name: FIGURES[name](load_run(folder))
    yield "claims", lambda: repr(summary.claims_table(load_run(folder)))


def parcel(folder):
    """The run travels to another machine."""
    with tempfile.TemporaryDirectory(dir=tempfile.gettempdir()) as home:
        files = {
            file.name: file.read_bytes() for file in folder.iterdir() if file.is_file() and file.stat().st_size < 1 << 26
        }
        return repr(unpack({"": folder.name.encode(), **files}, Path(home)))


def page(run):
    """The first page of a report on the run, without the notebooks, and the names in its archive."""
    with zipfile.ZipFile(io.BytesIO(build._zip_samples(run))) as archive:
        names = "".join(archive.namelist())
    first = index_page.first_page(run, [], {"name": run.id, "link": "", "size": 1})
    return names + build._render("page.html.j2", run, [first], first, lambda one: one.stem)


def continued(folder):
    """The unfinished run is continued, or another begun."""
    again = start()
    write(again, "tiles", "n=512")
    repr(again.finish())


def judge(base, folder, must, rng, figures, usual=frozenset()):
    """What was wrong with the handling of a mutated run, and what refused it besides the `usual`, which its base lacks."""
    wrong, refused, slow = [], set(), []
    outside = folder.parent.parent / "outside.txt"
    before = outside.read_bytes() if outside.exists() else None
    others = sorted(path for path in folder.parent.parent.iterdir())
    steps = list(pieces(base, folder, rng, figures))
    if folder != base and not (base / "SHA256SUMS").exists():  # `compare` refuses any that is unfinished
        steps = [(name, piece) for name, piece in steps if not name.startswith("compare")]
        steps.append(("continue", lambda: continued(folder)))
    for name, piece in steps:
        out, err = io.StringIO(), io.StringIO()
        began = time.process_time()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                result = piece()
            if name == "invariants":
                wrong += [f"accepted: {reason}" for reason in result]
            if name in ("compare", "model") and err.getvalue().startswith("perflib: "):
                refused.add(name)
                if len(err.getvalue().splitlines()) > 1:
                    wrong.append(f"{name}: more than one line: {err.getvalue()!r}")
            text = out.getvalue() + err.getvalue() + (result if isinstance(result, str) else "")
        except PerflibError as problem:
            refused.add(name)
            text = str(problem)
            if "\n" in text or len(text) > 3000:
                wrong.append(f"{name}: an error of {len(text)} letters or more than one line")
        except Exception as problem:
            frames = traceback.extract_tb(problem.__traceback__)
            place = [frame for frame in frames if "perflib/" in frame.filename][-1]
            what = f"{type(problem).__name__}: {str(problem)[:150]!r} at {Path(place.filename).name}:{place.lineno}"
            wrong.append(f"{name}: traceback {what}")
            refused.add(name)
            text = ""
        if found := TERMINAL.search(text):
            wrong.append(f"{name}: shows {found[0]!r} in {text[max(0, found.start() - 40) : found.end() + 20]!r}")
        took = time.process_time() - began
        if took > MOST_S:
            slow.append(f"{name}: took {took:.1f} s")
    refused -= usual
    if refused or not (base / "SHA256SUMS").exists():  # `compare` alone holds rates against the peak of the machine
        wrong = [sentence for sentence in wrong if "faster than its machine" not in sentence]
    if must and not refused:
        wrong.append(f"accepted: {must}")
    if before is not None and outside.read_bytes() != before:
        wrong.append("changed a file outside")
    if sorted(path for path in folder.parent.parent.iterdir() if path.name != "perflib.lock") != [
        p for p in others if p.name != "perflib.lock"
    ]:
        wrong.append("wrote outside")
    return wrong + slow, refused


def bases(home):
    """Runs to mutate: one of everything, a sweep with limits and work of its own, one that is unfinished."""
    sweep_cells = [cell("mine", n, noisy(2.0 * n)) for n in (64, 128, 256)]
    own = record(
        *limits()[:1],
        ("matmul", "all", [cell("matmul_ikj", n, noisy(2 * n**3 / 50)) for n in (128, 256)]),
        ("own", "all sizes", sweep_cells),
    )
    with document(own.path) as meta:
        meta |= {
            "work": [
                {"kernel": "mine", "dtype": "float32", "n": n, "flops": 2 * n, "bytes": 8 * n} for n in (64, 128, 256)
            ],
            "lost": [{"topic": "own", "block": "all sizes", "case": "mine 512", "reason": "it raised"}],
            "processes": [{"process": 1, "entropy": 2**62}],
            "limits": {"peak_gflops_float32": {"value": 100.0, "low": 99.5, "high": 100.5, "coverage": 0.95}},
        }
    sealed(own.path)
    small = (32, 64, 80, 96, 128)
    whole = full(
        matmul=[matmul(sizes=small), matmul_called()],
        tiles=tiles({n: {t: n**3 * (1 + 1 / t) for t in (16, 32, 64)} for n in (64, 128)}),
        conflicts=[conflicts(sizes=(64, 80))],
        packing=[packing({(mc, kc): 1e2 * (1 + mc / 1e3) for mc in (24, 96) for kc in (64, 256)}, n=128)],
    )
    part = start()
    for n in (64, 128):
        write(part, "tiles", f"n={n}", n=n, kernel="matmul_tiled", tile=16, reps=1, elapsed_ns=n**3)
    write(part, "stencil", "all sizes", n=256, marker=False)
    return [whole.path, whole.path, own.path, part.path]


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(number, seed, chosen, usual, figures, only):
    """Mutate and judge in this process; returns what is printed."""
    rng = random.Random(f"{seed} {number}")
    base = rng.choice(chosen)
    is_finished = (base / "SHA256SUMS").exists()
    names = [name for name in [*KINDS, *OFTEN, *OFTEN] if not only or only in name]
    names = [
        n
        for n in names
        if (is_finished or n not in NEEDS_FINISHED) and ((base / "matmul.csv").exists() or n not in NEEDS_MATMUL)
    ]
    if not names:
        return {"kind": "none", "wrong": [], "refused": False}
    home = Path(tempfile.mkdtemp(prefix="mutated-"))
    try:
        os.environ |= {"PERFLIB_DATA": str(home), "TMPDIR": str(home)}
        tempfile.tempdir = str(home)
        folder = home / "runs" / base.name
        shutil.copytree(base, folder)
        kind = rng.choice(names)
        must = KINDS[kind](rng, folder)
        if kind not in UNSEALED:
            sealed(folder)
        idle = peak_mb()
        wrong, refused = judge(base, folder, must, rng, figures, usual[base])
        grown = peak_mb()
        if grown > max(MOST_MB, idle + 250):
            wrong.append(f"took {grown:.0f} MB")
        return {"kind": kind, "base": base.name[-12:], "wrong": wrong, "refused": bool(refused), "mb": round(grown)}
    finally:
        shutil.rmtree(home, ignore_errors=True)


def child(*args):
    """The same in a process of its own, which may not hang."""
    receive, send = os.pipe()
    if not (pid := os.fork()):
        signal.alarm(60)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        try:
            os.close(receive)
            with os.fdopen(send, "w") as stream:
                json.dump(one(*args), stream)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as stream:
        said = stream.read()
    _, status = os.waitpid(pid, 0)
    return (
        json.loads(said)
        if said
        else {"kind": "?", "wrong": [f"process ended with {status}, a hang if 14"], "refused": False}
    )


def main():
    global MOST_S
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run", type=Path, action="append", help="mutate this run instead of small ones made by hand")
    parser.add_argument("--figures", type=int, default=3, help="to draw of each run, and a page; 0 draws nothing")
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=MOST_S, help="of CPU time that a step may take")
    args = parser.parse_args()
    MOST_S = args.seconds
    writer._code = lambda: {"digest": "0", "commit": None, "clean": None}
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"PERFLIB_DATA": home, "TMPDIR": home}
        chosen = [path.resolve() for path in args.run] if args.run else bases(Path(home))
        usual = {}
        for base in dict.fromkeys(chosen):  # compiles what is compiled, before anything is timed
            wrong, usual[base] = judge(base, base, None, random.Random(0), 99 if args.figures else 0)
            if lasting := [sentence for sentence in wrong if "took" not in sentence]:
                sys.exit(f"a run that nobody changed: {lasting}")
        kinds, counts, refused = Counter(), Counter(), 0
        for number in range(args.first, args.first + args.count):
            result = child(number, args.seed, chosen, usual, args.figures, args.only)
            kinds[result["kind"]] += 1
            refused += result["refused"]
            for sentence in result["wrong"]:
                what = next(
                    (w for w in ("traceback", "accepted", "hang", "took", "shows", "outside") if w in sentence), "other"
                )
                counts[what] += 1
                print(f"{number} {result['kind']}: {sentence}", flush=True)
    print(f"{args.count} mutations of {len(kinds)} kinds: {refused} refused, {args.count - refused} read as what they say")
    print(", ".join(f"{what}: {count}" for what, count in counts.items()) or "nothing wrong")
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main())
