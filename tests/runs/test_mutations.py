"""Sixty mutated runs are refused in one line or read as what they say; `make fuzz-runs` tries a thousand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "support" / "mutations.py"


def mutated(count, seed, figures):
    """Counts of refused and read mutations. No limit of seconds: a slow machine is no fault, and what hangs is ended."""
    words = ("--count", count, "--seed", seed, "--figures", figures, "--seconds", 60)
    done = subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, counts, verdict = done.stdout.splitlines()
    assert verdict == "nothing wrong"
    return tuple(map(int, re.search(r"(\d+) refused, (\d+) read", counts).groups()))


def test_mutated_runs_are_refused_in_one_line_or_read_as_what_they_say():
    refused, read = mutated(60, seed=1, figures=0)

    assert refused + read == 60
    assert min(refused, read) >= 5, "some of each, or the mutations say little"


@pytest.mark.slow
def test_more_mutated_runs():
    assert sum(mutated(100, seed=2, figures=1)) == 100
