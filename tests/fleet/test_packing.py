"""A run travels as bytes; what was changed on its way or is no run is refused, and nothing is written."""

import os
import re

import pytest
from runs import isolate, start, write
from synthetic import limits, matmul, record

from perflib.errors import RunError
from perflib.fleet import packing
from perflib.fleet.packing import pack, unpack
from perflib.runs.integrity import digest
from perflib.runs.summaries import read_summary

NAME = b"20260101T000000Z-chip-quick"


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path / "data", monkeypatch)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "fleet" / "machine"


@pytest.fixture
def parcel():
    return pack(record(*limits(), matmul(sizes=(64,)), processes=2).path)


def test_a_run_arrives_as_it_left(parcel, home):
    run = unpack(parcel, home)

    assert pack(run.path) == parcel
    assert run.finished
    assert read_summary(run.path)
    assert [path.name for path in home.iterdir()] == [parcel[""].decode()]


def test_the_same_run_arrives_twice_and_another_of_its_name_is_refused(parcel, home, refused):
    first = unpack(parcel, home)

    assert unpack(parcel, home).path == first.path
    (first.path / "run.json").write_bytes(b"changed here")
    with refused(RunError, "is there already and differs"):
        unpack(parcel, home)
    (first.path / "run.json").unlink()
    os.mkfifo(first.path / "run.json")
    with refused(RunError, "is there already and differs"):
        unpack(parcel, home)


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_byte_changed_on_the_way_is_refused(parcel, home, place):
    for name in [name for name in parcel if name]:
        content = bytearray(parcel[name])
        content[int(place * (len(content) - 1))] ^= 4

        with pytest.raises(RunError):
            unpack({**parcel, name: bytes(content)}, home)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "../evil.csv",
        "/tmp/evil.csv",
        "a/b.csv",
        ".hidden.csv",
        "evil.py",
        "x.csv\n",
        "",
        "SHA256SUMS.csv.pkl",
        "a" * 200 + ".csv",
    ],
)
def test_a_file_of_another_name_is_refused_before_anything_is_written(parcel, home, name):
    with pytest.raises(RunError) as problem:
        unpack({**parcel, name: b"x"}, home)

    assert "\n" not in str(problem.value)
    assert not home.exists()


@pytest.mark.parametrize("name", [b"../../evil", b"/tmp/x", b"", b"a\nb", b"20260101T000000Z", b"\xff\xfe", NAME + b"/.."])
def test_a_run_of_another_name_is_refused(parcel, home, name, refused):
    with refused(RunError, "a run must have a name like"):
        unpack({**parcel, "": name}, home)
    assert not home.parent.exists()


@pytest.mark.parametrize(
    "wrong", [None, b"bytes", ["list"], {"run.json": "text"}, {1: b"x"}, {"run.json": bytearray(b"x")}, {"run.json": None}]
)
def test_other_types_than_names_and_bytes_are_refused(home, wrong, refused):
    with refused(RunError, "a run must come as names and bytes"):
        unpack(wrong, home)


def test_too_many_files_or_bytes_are_refused(parcel, home, refused, monkeypatch):
    with refused(RunError, "at most 100 files"):
        unpack({**parcel, **{f"t{n}.csv": b"" for n in range(101)}}, home)
    monkeypatch.setattr(packing, "MOST_BYTES", 1 << 20)
    with refused(RunError, "at most 100 files and 1 MiB"):
        unpack({**parcel, "x.csv": bytes(1 << 20)}, home)


def test_a_file_that_no_checksum_names_is_refused(parcel, home):
    with pytest.raises(RunError, match="does not list more.csv"):
        unpack({**parcel, "more.csv": b"block,kernel\n"}, home)
    assert list(home.iterdir()) == []


def test_figures_that_cannot_be_are_refused_though_their_checksums_are_right(home):
    parcel = pack(record(*limits(1.0), matmul(sizes=(64,)), processes=2).path)

    with pytest.raises(RunError, match="above the"):
        unpack(parcel, home)
    assert list(home.iterdir()) == []


def test_an_unfinished_run_is_refused(home, refused):
    run = start()
    write(run, "tiles", "n=64")
    finished = pack(run.finish().path)
    meta = re.sub(rb'"finished": "[^"]*"', b'"finished": null', finished["run.json"])
    sums = finished["SHA256SUMS"].replace(digest(finished["run.json"]).encode(), digest(meta).encode())

    with refused(RunError, "is not finished"):
        unpack({**finished, "run.json": meta, "SHA256SUMS": sums}, home)
