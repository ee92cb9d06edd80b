"""Sixty mutated runs are refused in one line or read as what they say; `make fuzz-runs` tries a thousand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import KINDS

SCRIPT = Path(__file__).parents[1] / "support" / "mutations.py"


def mutated(*words):
    return subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, check=False)


def test_mutated_runs_are_refused_in_one_line_or_read_as_what_they_say():
    done = mutated("--count", 60, "--seed", 1, "--figures", 1)

    assert done.returncode == 0, done.stdout + done.stderr
    *_, counts, verdict = done.stdout.splitlines()
    assert verdict == "nothing wrong"
    refused, read = map(int, re.search(r"(\d+) refused, (\d+) read", counts).groups())
    assert refused + read == 60
    assert min(refused, read) >= 5, "some of each, or the mutations say little"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_mutation(kind):
    done = mutated("--count", 10, "--seed", 2, "--figures", 2, "--only", kind)

    assert done.returncode == 0, done.stdout + done.stderr
