"""What was measured once: read back for the same machine, measured anew where the file is torn or of another one."""

import json

import pytest

from perflib.hardware.saved_limits import DISTURBED, measured_or_saved, saved

KEY = {"cpu": "Test(R) Chip 9000", "caches": [{"level": 1}]}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PERFLIB_DATA", str(tmp_path))
    return tmp_path / "machine"


def counting(measured):
    """A measurement that gives 1, then 2, ..."""

    def measure():
        measured.append(len(measured) + 1)
        return {"rate": measured[-1], "pair": (1, 2)}, True

    return measure


def test_a_machine_is_measured_once():
    measured = []

    found = [measured_or_saved("limits", KEY, counting(measured)) for _ in range(3)]

    assert found == [{"rate": 1, "pair": [1, 2]}] * 3
    assert saved("limits", KEY) == found[0]
    assert measured == [1]


def test_another_machine_and_another_name_have_their_own():
    measured_or_saved("limits", KEY, lambda: ({"rate": 1}, True))

    assert saved("limits", {**KEY, "cpu": "another"}) is None
    assert saved("hierarchy", KEY) is None


def test_a_fresh_measurement_replaces_the_old_one(folder):
    measured = []
    for fresh in (False, True, False):
        measured_or_saved("limits", KEY, counting(measured), fresh)

    assert saved("limits", KEY)["rate"] == 2
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"rate": 1', '"rate": 7'),
        lambda text: json.dumps({**json.loads(text), "key": {"cpu": "another"}}),
        lambda text: json.dumps({**json.loads(text), "schema": 0}),
        lambda text: "[]",
        lambda text: "",
    ],
)
def test_a_file_that_is_torn_changed_or_foreign_is_measured_anew(folder, damage):
    measured_or_saved("limits", KEY, lambda: ({"rate": 1}, True))
    (file,) = folder.iterdir()
    file.write_text(damage(file.read_text()))

    assert saved("limits", KEY) is None
    assert measured_or_saved("limits", KEY, lambda: ({"rate": 2}, True)) == {"rate": 2}
    assert saved("limits", KEY) == {"rate": 2}


def test_where_nothing_can_be_written_it_is_measured_all_the_same(folder):
    folder.write_text("a file where the folder should be")

    assert measured_or_saved("limits", KEY, lambda: ({"rate": 1}, True)) == {"rate": 1}


def test_what_was_disturbed_is_not_kept_and_leaves_what_was():
    found = [measured_or_saved("limits", KEY, lambda rate=rate: ({"rate": rate}, False)) for rate in (1, 4)]
    assert found == [{"rate": 1}] * 2  # once in a process
    assert saved("limits", KEY) is None
    DISTURBED.clear()  # as another process sees it

    measured_or_saved("limits", KEY, lambda: ({"rate": 2}, True))
    assert measured_or_saved("limits", KEY, lambda: ({"rate": 3}, False), fresh=True) == {"rate": 3}
    assert saved("limits", KEY) == {"rate": 2}
