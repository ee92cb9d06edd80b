"""Memory of this process that lies in RAM, and the most of it since a mark: what a program needs besides what it is given.

    resident_bytes()        now
    peak()                  context manager; `.bytes` is the most that was resident inside it

    with peak() as most:
        ...
    most.bytes

Linux tells (`/proc/self/status`: VmRSS, VmHWM; a 5 written to `clear_refs` begins a new peak); elsewhere both are NaN.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROCESS = Path("/proc/self")


@dataclass
class Peak:
    """The most bytes that were resident; NaN until the end, and where the system does not tell."""

    bytes: float = math.nan


def resident_bytes() -> float:
    """Of the whole process, code and mapped files included."""
    return _told("VmRSS")


@contextmanager
def peak() -> Iterator[Peak]:
    """The most since the `with` was entered."""
    found = Peak()
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        yield found
        return
    yield found
    found.bytes = _told("VmHWM")


def _told(field: str) -> float:
    try:
        lines = (PROCESS / "status").read_text().splitlines()
    except OSError:
        return math.nan
    kib = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return 1024.0 * int(kib[0]) if kib else math.nan
