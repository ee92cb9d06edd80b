"""Read the caches that the system reports, for code that chooses block sizes.

reported_caches()       -> tuple of Cache, nearest first; empty where the system reports nothing
data_caches(caches)     those of them that hold data
Cache                   one level
FLOAT32_BYTES           of an element of what is recorded of them
LINE_BYTES              of a cache line, for kernels and for models of machines that do not report it
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FLOAT32_BYTES = 4
LINE_BYTES = 64  # where the system does not say: a line of x86-64 and of most of ARM, and one 512-bit vector


@dataclass(frozen=True)
class Cache:
    """One level as the system reports it; `sharing` is the number of logical CPUs that share it."""

    level: int
    kind: str
    size_bytes: int
    line_bytes: int | None = None
    ways: int | None = None
    sets: int | None = None
    sharing: int | None = None

    @property
    def name(self) -> str:
        """L1d, L1i, L2, L3."""
        return f"L{self.level}" + {"Data": "d", "Instruction": "i"}.get(self.kind, "")

    def __str__(self) -> str:
        return f"{self.name} {_size(self.size_bytes)}" + (f" {self.ways}-way" if self.ways else "")


def reported_caches(root: Path = Path("/")) -> tuple[Cache, ...]:
    """What /sys says below `root`, or sysctl on macOS."""
    caches = []
    for folder in sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index*")):
        size = first_match(folder / "size", r"(\d+)K")
        level, kind = first_match(folder / "level", r"(\d+)"), first_match(folder / "type", r"(\w+)")
        if not (size and level and kind) or int(size) == 0:
            continue
        line, ways, sets = (
            _count(folder / name) for name in ("coherency_line_size", "ways_of_associativity", "number_of_sets")
        )
        sharing = first_match(folder / "shared_cpu_list", r"([\d,-]+)")
        caches.append(Cache(int(level), kind, int(size) << 10, line, ways, sets, _cpus(sharing) if sharing else None))
    if not caches and sys.platform == "darwin":
        caches = list(_caches_of_macos())
    return tuple(caches)


def _caches_of_macos() -> Iterator[Cache]:
    """Those of the fast cores, `hw.perflevel0`; Macs with one kind of core have no such names."""
    prefix = "hw.perflevel0." if sysctl("hw.perflevel0.l1dcachesize") else "hw."
    line = _number("hw.cachelinesize")
    for name, level, kind in (("l1d", 1, "Data"), ("l1i", 1, "Instruction"), ("l2", 2, "Unified"), ("l3", 3, "Unified")):
        if size := _number(f"{prefix}{name}cachesize"):
            yield Cache(level, kind, size, line, sharing=_number(f"{prefix}cpusper{name}"))


def _number(key: str) -> int | None:
    """A positive number that macOS reports, None where it does not."""
    value = sysctl(key) or ""
    return int(value) or None if value.isdecimal() else None


def data_caches(caches: Iterable[Cache]) -> tuple[Cache, ...]:
    """The levels that hold data, in the same order."""
    return tuple(cache for cache in caches if cache.kind != "Instruction")


def _cpus(ranges: str) -> int:
    """Number of CPUs in a list such as 0-3,8."""
    ends = (part.split("-") for part in ranges.split(","))
    return sum(int(e[-1]) - int(e[0]) + 1 for e in ends)


def sysctl(key: str) -> str | None:
    """A value of macOS, None elsewhere and where it is unknown."""
    if sys.platform != "darwin":
        return None
    try:
        process = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return process.stdout.strip() or None


def _count(path: Path) -> int | None:
    """A positive number in a file, None where there is none (some guests report 0 ways)."""
    return int(first_match(path, r"(\d+)") or 0) or None


def first_match(path: Path, pattern: str) -> str | None:
    """The first group of the pattern in a file, None where there is no file or no match."""
    try:
        match = re.search(pattern, path.read_text())
    except OSError:
        return None
    return match[1].strip() if match else None


def _size(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes >> 10} KiB"
