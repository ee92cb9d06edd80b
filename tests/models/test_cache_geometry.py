"""Shapes of caches that can be, and of those that cannot."""

import json

import pytest

from perflib.errors import GeometryError
from perflib.kernels.caches import Cache
from perflib.models.cache_geometry import Geometry, described, geometry


def test_sets_follow_from_size_ways_and_line():
    assert geometry(Cache(1, "Data", 48 << 10, 64, 12)) == Geometry(64, 12, 64)
    assert geometry(Cache(3, "Unified", 36 << 20, 64, 12)).sets == 49152  # slices: no power of two
    assert geometry(Cache(2, "Unified", 1 << 20, 128, 8)).size_bytes == 1 << 20


def test_what_is_not_known_is_one_set_of_lines_of_64_bytes():
    assert geometry(Cache(1, "Data", 32 << 10)) == Geometry(1, 512, 64)


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        (Cache(1, "Data", 32 << 10, 64, 0), ("L1d", "ways", "at least 1", "0")),
        (Cache(1, "Data", 1000, 64, 1), ("L1d", "size_bytes", "multiple of the line of 64", "1000")),
        (Cache(2, "Unified", 64 * 10, 64, 4), ("L2", "size_bytes", "4 ways of 64", "640")),
        (Cache(2, "Unified", 0, 64, 4), ("L2", "size_bytes", "at least 1", "0")),
        (Cache(2, "Unified", 1 << 20, -64, 4), ("L2", "line_bytes", "-64")),
        (Cache(2, "Unified", 1 << 20, 64, 2.0), ("L2", "ways", "integer", "2.0")),
    ],
)
def test_a_cache_that_cannot_be_is_refused(refused, cache, words):
    with refused(GeometryError, *words):
        geometry(cache)


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "machine.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    return write


def test_a_described_machine_has_its_levels_in_order(written):
    path = written({"caches": [{"size_bytes": 49152, "ways": 12}, {"size_bytes": 2097152, "ways": 16, "line_bytes": 128}]})

    first, second = described(path)

    assert first == Cache(1, "Data", 49152, 64, 12, 64)
    assert second == Cache(2, "Unified", 2097152, 128, 16, 1024)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ("machine.json", "JSON")),
        ("[]", ("machine.json", "caches")),
        ({"caches": []}, ("machine.json", "at least one level")),
        ({"caches": [{"ways": 8}]}, ("L1", "size_bytes is missing")),
        ({"caches": [{"size_bytes": 32768, "ways": 0}]}, ("L1d", "ways", "0")),
        ({"caches": [{"size_bytes": 32768, "wais": 8}]}, ("L1", "got 'wais'")),
        ({"caches": [{"size_bytes": "32K"}]}, ("L1d", "size_bytes", "'32K'")),
    ],
)
def test_a_description_that_makes_no_machine_is_refused(refused, written, text, words):
    with refused(GeometryError, *words):
        described(written(text))
