"""Predictions for a machine that is described in a file."""

import json

import pytest

from perflib.cli import run


@pytest.fixture
def written(tmp_path):
    def write(*levels):
        path = tmp_path / "machine.json"
        path.write_text(json.dumps({"caches": levels}))
        return str(path)

    return write


def test_a_described_machine_has_tiles_blocks_and_edges(written, capsys):
    first, second = {"size_bytes": 48 << 10, "ways": 12}, {"size_bytes": 2 << 20, "ways": 16}

    assert run(["machine", "--model", written(first, second)]) == 0

    shown = capsys.readouterr().out
    assert "L1d 48 KiB 12-way: a step at 49152 bytes\n" in shown
    assert "a step at 2097152 bytes on contiguous pages; on scattered ones 53 % of the loads miss there already" in shown
    assert "tile of matmul_tiled at n = 1024: 12\n" in shown
    assert "register tile 8 x 8" in shown
    assert "blocks after Low et al.: KC 640" in shown


def test_without_ways_there_are_no_blocks(written, capsys):
    run(["machine", "--model", written({"size_bytes": 32 << 10})])

    assert "blocks: unknown" in capsys.readouterr().out


def test_a_machine_that_cannot_be_is_refused_in_one_line(written, capsys):
    assert run(["machine", "--model", written({"size_bytes": 32 << 10, "ways": 0})]) == 1

    assert capsys.readouterr().err == "perflib: L1d: ways must be an integer of at least 1, got 0\n"
