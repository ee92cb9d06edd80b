"""The planted faults are still about this code: `make faults` shows that each is caught."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAULTS = tomllib.loads((ROOT / "tests/faults/faults.toml").read_text())["fault"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["name"])
def test_the_text_of_a_fault_occurs_once_and_its_test_exists(fault):
    source = (ROOT / fault["file"]).read_text()
    file, _, name = fault["test"].partition("::")

    assert source.count(fault["find"]) == 1
    assert fault["find"] != fault["replace"]
    assert not name or f"def {name.partition('[')[0]}(" in (ROOT / file).read_text()


def test_there_are_at_least_fifteen_faults_and_no_two_are_called_the_same():
    assert len({fault["name"] for fault in FAULTS}) == len(FAULTS) >= 15
