"""Measure the resident memory of this process: now, and its peak since a given point.

    with peak() as most:
        ...
    most.bytes

Linux reports both (`/proc/self/status`: VmRSS, VmHWM; a 5 written to `clear_refs` begins a new peak). Elsewhere they
are NaN.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..kernels.caches import first_match

PROCESS = Path("/proc/self")


@dataclass
class Peak:
    """The most bytes that were resident; NaN until the end, and where the system does not tell."""

    bytes: float = math.nan


def resident_bytes() -> float:
    """Of the whole process, code and mapped files included."""
    return _read_bytes("VmRSS")


@contextmanager
def peak() -> Iterator[Peak]:
    """The most since the `with` was entered."""
    most = Peak()
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        yield most
        return
    yield most
    most.bytes = _read_bytes("VmHWM")


def _read_bytes(field: str) -> float:
    kib = first_match(PROCESS / "status", rf"(?m)^{field}:\s+(\d+)")
    return 1024.0 * int(kib) if kib else math.nan
