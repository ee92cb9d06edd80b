"""Which machine this is, as far as the system tells, and the two limits that every rate is held against.

    machine()                       -> Machine: CPU, caches, instruction sets, memory, system, versions, threads, clock
    machine().peak_gflops(dtype)    multiply-add peak of one core, measured once per process
    machine().copy_gb_per_s()       best copy bandwidth of one core, measured once per process
    machine().limits()              all limits of one core, measured once per machine
    machine().hierarchy()           its caches as they are measured, beside what is reported; once per machine
    copy_elements(machine)          how long an array is that no cache holds

What the system does not tell (a container without sysfs, macOS) is None or empty, never guessed. No host name, no user
name and no path is ever read.
"""

import os
import platform
import time
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .kernels.caches import Cache, first_match, reported_caches, sysctl
from .kernels.catalog import KERNELS
from .kernels.peak import FMA_BLOCK
from .measure import measure
from .showing import bar, on_one_line, table
from .stats import Interval

if TYPE_CHECKING:
    from .hierarchy import Hierarchy
    from .limits import Limits

__all__ = ["FMA_PEAK_OPS", "Cache", "Machine", "copy_elements", "machine"]

ISA = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vnni", "avx512bf16", "neon", "sve")
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "pandas")
FMA_PEAK_OPS = 4096 * FMA_BLOCK  # some ten microseconds: far above the cost of the loop around it
LARGEST_COPY = 256 << 20


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
        return tuple(c for c in self.caches if c.kind != "Instruction")

    def peak_gflops(self, dtype: str = "float32") -> Interval:
        """Multiply-add peak of one core in GFLOP/s, by a loop that stays in registers."""
        return _peak(dtype)

    def copy_gb_per_s(self) -> Interval:
        """Best copy of arrays that no cache holds, one core, read and written bytes counted, GB/s."""
        return _copy(copy_elements(self))

    def limits(self, fresh: bool = False) -> "Limits":
        """What one core can do at most; measured now if it was not yet, or if a fresh measurement is wanted."""
        from .limits import limits

        return limits(self, fresh)

    def hierarchy(self, fresh: bool = False) -> "Hierarchy":
        """Capacity, latency and bandwidth of every level of the memory, likewise."""
        from .hierarchy import hierarchy

        return hierarchy(self, fresh)

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
        told = {
            "CPU": f"{self.cpu} ({self.target}), {self.logical_cpus} logical CPUs",
            "ISA": " ".join(self.isa) or "unknown",
            "caches": f"{levels or 'unknown'} (as reported)",
            "memory": f"{memory}, transparent huge pages: {self.page_policy or 'unknown'}",
            "system": f"{self.os}, Python {self.python}",
            "packages": ", ".join(f"{k} {v}" for k, v in self.packages.items()),
            "clock": self.clock,
        }
        return {name: on_one_line(fact) for name, fact in told.items()}

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
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return Machine(
        cpu=_cpu_name(root),
        target=binding.get_host_cpu_name(),
        isa=tuple(name for name in ISA if features.get(name)),
        logical_cpus=os.cpu_count() or 1,
        caches=reported_caches(root),
        memory_bytes=_memory_bytes(root),
        page_policy=first_match(root / "sys/kernel/mm/transparent_hugepage/enabled", r"\[(\w+)\]"),
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
        clock=_clock(root),
    )


def copy_elements(machine: Machine, dtype: str = "float32") -> int:
    """Elements of an array four times the last-level cache (STREAM's rule), from 64 MiB to 256 MiB."""
    largest = max((c.size_bytes for c in machine.data_caches()), default=0)
    return min(max(4 * largest, 64 << 20), LARGEST_COPY) // np.dtype(dtype).itemsize


@cache
def _peak(dtype: str) -> Interval:
    kernel = KERNELS["fma_peak"]
    args = kernel.make(FMA_PEAK_OPS, dtype, np.random.default_rng(0))
    return measure(kernel.compiled, *args, scope="kernel", budget_s=0.3).time_ns.inverse(kernel.flops(FMA_PEAK_OPS))


@cache
def _copy(elements: int) -> Interval:
    kernels = KERNELS["copy_loop"], KERNELS["numpy_copy"]
    args = kernels[0].make(elements, "float32", np.random.default_rng(0))
    found = [measure(k.call, *args, scope="call", bytes=k.bytes(elements, 4)).gb_per_s for k in kernels]
    return max(found, key=lambda rate: rate.value)


def _cpu_name(root: Path) -> str:
    return (
        first_match(root / "proc/cpuinfo", r"(?m)^model name\s*: (.+)$")
        or sysctl("machdep.cpu.brand_string")
        or platform.processor()
        or platform.machine()
    )


def _memory_bytes(root: Path) -> int | None:
    kib = first_match(root / "proc/meminfo", r"MemTotal:\s+(\d+) kB")
    size = sysctl("hw.memsize")
    return int(kib) << 10 if kib else int(size) if size else None


def _clock(root: Path) -> str:
    source = first_match(root / "sys/devices/system/clocksource/clocksource0/current_clocksource", r"(\S+)")
    return time.get_clock_info("perf_counter").implementation + (f" on {source}" if source else "")
