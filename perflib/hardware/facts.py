"""Read which machine this is, as far as the system reports it.

What the system does not report (a container without sysfs, macOS) is None or empty, never guessed. No code here reads a
host name, a user name or a path.
"""

import os
import platform
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
from llvmlite import binding

from ..display.html import bar, table
from ..display.text import on_one_line
from ..kernels.caches import Cache, data_caches, first_match, reported_caches, sysctl
from ..kernels.jit.vector import GIVEN, architecture

ISA = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vnni", "avx512bf16", "neon", "sve")
HARDWARE = ("cpu", "isa", "logical_cpus", "caches")
MEMORY_SLACK = 0.02
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "pandas")


@dataclass(frozen=True)
class Machine:
    """Facts of the machine and the software that ran on it."""

    cpu: str
    target: str
    """LLVM's name of the CPU, the one that Numba compiles for."""
    isa: tuple[str, ...]
    logical_cpus: int
    caches: tuple[Cache, ...]
    memory_bytes: int | None
    page_policy: str | None
    os: str
    python: str
    packages: dict[str, str]
    clock: str

    def data_caches(self) -> tuple[Cache, ...]:
        """The levels that hold data, nearest first."""
        return data_caches(self.caches)

    def to_dict(self) -> dict:
        """Plain data for run.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: dict) -> "Machine":
        """The inverse of `to_dict`, also after a round trip through JSON."""
        caches = tuple(Cache(**c) for c in facts["caches"])
        return cls(**{**facts, "caches": caches, "isa": tuple(facts["isa"])})

    def facts(self) -> dict[str, str]:
        """What a reader wants to know, a line each."""
        memory = f"{self.memory_bytes / 2**30:.1f} GiB" if self.memory_bytes else "unknown"
        levels = ", ".join(map(str, self.caches))
        facts = {
            "CPU": f"{self.cpu} ({self.target}), {self.logical_cpus} logical CPUs",
            "ISA": " ".join(self.isa) or "unknown",
            "caches": f"{levels or 'unknown'} (as reported)",
            "memory": f"{memory}, transparent huge pages: {self.page_policy or 'unknown'}",
            "system": f"{self.os}, Python {self.python}",
            "packages": ", ".join(f"{k} {v}" for k, v in self.packages.items()),
            "clock": self.clock,
        }
        return {name: on_one_line(fact) for name, fact in facts.items()}

    def __str__(self) -> str:
        return "\n".join(f"{name:<10} {fact}" for name, fact in self.facts().items())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [(name, fact, "") for name, fact in self.facts().items()]
        largest = max((c.size_bytes for c in self.caches), default=1)
        for level in self.data_caches():
            share = np.log2(1 + level.size_bytes) / np.log2(1 + largest)
            rows.append((level.name, str(level), bar(share, f"{level}: its length is the logarithm of the size")))
        return table(("what", "as the system tells", "size"), rows)


def machine(root: Path = Path("/")) -> Machine:
    """Facts of this machine; `root` is where /proc and /sys are looked for."""
    features = binding.get_host_cpu_features()
    return Machine(
        cpu=_cpu_name(root),
        target=binding.get_host_cpu_name(),
        isa=tuple(name for name in ISA if features.get(name) or name == GIVEN.get(architecture())),
        logical_cpus=os.cpu_count() or 1,
        caches=reported_caches(root),
        memory_bytes=_memory_bytes(root),
        page_policy=first_match(root / "sys/kernel/mm/transparent_hugepage/enabled", r"\[(\w+)\]"),
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
        clock=_clock(root),
    )


def hardware_differences(here: Machine, there: Machine) -> list[str]:
    """Names of the facts by which two machines are not the same one; versions of software make no other machine.

    Two sizes of memory count as the same within 2 %: a system keeps a part for itself that depends on its version.
    """
    names = [name for name in HARDWARE if getattr(here, name) != getattr(there, name)]
    sizes = [one.memory_bytes for one in (here, there)]
    is_same = sizes[0] == sizes[1] if None in sizes else abs(sizes[0] - sizes[1]) <= MEMORY_SLACK * max(sizes)
    return names if is_same else [*names, "memory_bytes"]


def software(machine: Machine) -> dict[str, str]:
    """What may change on one machine: versions of packages, of the system and of the CPU's name in LLVM."""
    names = {"system": machine.os, "Python": machine.python, "clock": machine.clock, "compiled for": machine.target}
    return names | {"huge pages": str(machine.page_policy or "unknown")} | machine.packages


def _cpu_name(root: Path) -> str:
    return (
        first_match(root / "proc/cpuinfo", r"(?m)^model name\s*: (.+)$")
        or sysctl("machdep.cpu.brand_string")
        or (platform.processor() if platform.processor().lower() not in ("", platform.machine().lower()) else None)
        or (target if (target := binding.get_host_cpu_name()) != "generic" else platform.machine())
    )


def _memory_bytes(root: Path) -> int | None:
    kib = first_match(root / "proc/meminfo", r"MemTotal:\s+(\d+) kB")
    if kib or (size := sysctl("hw.memsize")):
        return int(kib) << 10 if kib else int(size)
    with suppress(OSError):  # psutil reads /proc on Linux
        return psutil.virtual_memory().total if root == Path("/") else None
    return None


def _clock(root: Path) -> str:
    source = first_match(root / "sys/devices/system/clocksource/clocksource0/current_clocksource", r"(\S+)")
    return time.get_clock_info("perf_counter").implementation + (f" on {source}" if source else "")
