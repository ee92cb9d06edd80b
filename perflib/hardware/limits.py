"""What one core of this machine can do at most: measured in one interleaved session, remembered per machine.

limits()                        -> Limits, from the file if this machine was measured before
limits(fresh=True)              measured now
copy_gb_per_s(machine)          best copy of arrays that no cache holds, measured once per process
copy_elements(machine)          how long such an array is
Limits["copy_nt_gb_per_s"]      an Interval; print(Limits) shows all of them, with units

peak_<width>_gflops_<dtype>     multiply-adds that stay in registers: plain numbers and vectors of 128 to 512 bits
l1_read_gb_per_s                loads from half of the first-level cache (16 KiB where its size is unknown)
read_<k>_gb_per_s               loads from memory that no cache holds, by k streams
write, copy, triad, each also _nt   stores to it, through the caches and past them; counted bytes, as in STREAM
effective_ghz                   clock frequency, from a chain of dependent operations of one cycle each

limits().peak_gflops("float64").value
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import numpy as np

from ..kernels.buffers import BASE_KIB, HUGE_KIB, page_sizes_kib
from ..kernels.catalog import find
from ..kernels.jit.vector import vector_bytes
from ..kernels.probes.peak import FMA_BLOCK
from ..stats import Interval, median_interval
from ..timing.case import Case, case
from ..timing.measure import measure
from ..timing.sampling import quiet
from ..timing.session import Session, take
from .facts import Machine, machine
from .saved_limits import measured_or_saved

CANARY_CYCLES = 6
"""Of one step of the canary: three shifts and three exclusive ors, each of one cycle and each waiting for the last."""
PEAK_OPS = 1024 * FMA_BLOCK
BUDGET_S = 6.0
L1_UNKNOWN = 32 << 10
LARGEST_COPY = 256 << 20
UNITS = {"gflops": "GFLOP/s", "gb_per_s": "GB/s", "ghz": "GHz"}
FROM_MEMORY = {
    **{f"read_{k}": ("memory_read", {"streams": k}) for k in (1, 4, 8)},
    **{name: (f"memory_{name}", {}) for name in ("write", "write_nt", "copy", "copy_nt", "triad", "triad_nt")},
}


class Limits(Mapping[str, Interval]):
    """Measured limits by name; the unit stands at the end of the name, or before the element type."""

    def __init__(self, found: Mapping[str, Interval]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> Interval:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def peak_gflops(self, dtype: str = "float32") -> Interval:
        """Multiply-add peak of one core: that of the best width."""
        peaks = [rate for name, rate in self.items() if name.startswith("peak_") and name.endswith(f"gflops_{dtype}")]
        return max(peaks, key=lambda rate: rate.value)

    def __str__(self) -> str:
        rows = []
        for name, i in self.items():
            unit = next(shown for ending, shown in UNITS.items() if ending in name)
            rows.append(f"{name:<24} {i.value:.1f} [{i.low:.1f}, {i.high:.1f}] {unit}")
        return "\n".join(rows)


def limits(here: Machine | None = None, fresh: bool = False, progress: Callable[[str], None] = lambda text: None) -> Limits:
    """Limits of one core, 95 % intervals; measuring takes some ten seconds, once per machine and versions."""
    here = here or machine()
    found = measured_or_saved("limits", machine_key(here), partial(_measured, here, progress), fresh)
    return Limits({name: Interval(**interval) for name, interval in found.items()})


def copy_elements(machine: Machine, dtype: str = "float32") -> int:
    """Elements of an array four times the last-level cache (STREAM's rule), from 64 MiB to 256 MiB."""
    largest = max((c.size_bytes for c in machine.data_caches()), default=0)
    return min(max(4 * largest, 64 << 20), LARGEST_COPY) // np.dtype(dtype).itemsize


def copy_gb_per_s(machine: Machine) -> Interval:
    """Best copy of arrays that no cache holds, one core, read and written bytes counted, GB/s; once per process."""
    return _copy(copy_elements(machine))


@cache
def _copy(elements: int) -> Interval:
    kernels = find("copy_loop"), find("numpy_copy")
    args = kernels[0].make(elements, "float32", np.random.default_rng(0))
    rates = [measure(k.call, *args, scope="call", bytes=k.bytes(elements, 4)).gb_per_s for k in kernels]
    return max(rates, key=lambda rate: rate.value)


def fma_widths() -> tuple[int, ...]:
    """Bits of the vectors that multiply-adds come in here, 0 for plain numbers."""
    return (0, *(bits for bits in (128, 256, 512) if bits <= 8 * vector_bytes()))


def machine_key(machine: Machine) -> dict[str, Any]:
    """What a measured limit holds for: the CPU, the target that code is made for, the caches, and who makes it."""
    packages = {name: machine.packages.get(name) for name in ("numba", "llvmlite")}
    caches = [asdict(c) for c in machine.caches]
    return {"cpu": machine.cpu, "target": machine.target, "caches": caches, "packages": packages}


def _measured(machine: Machine, progress: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """All limits from one session: what they are compared with was measured beside them."""
    progress("limits of one core")
    work: dict[str, int] = {}
    cases = []
    with quiet():
        for name, (kernel, n, dtype, values) in _planned(machine).items():
            built, amount = limit_case(name, kernel, n, dtype, values)
            cases.append(built)
            work[name] = amount
        session = take(cases, BUDGET_S, lambda so_far: [so_far.gross(name) for name in work])
    found = {name: session.net(name).inverse(amount) for name, amount in work.items()}
    return {name: asdict(interval) for name, interval in {**found, "effective_ghz": _ghz(session)}.items()}


def _planned(machine: Machine) -> dict[str, tuple[str, int, str, dict[str, int]]]:
    """Kernel, size, dtype and parameters behind every limit."""
    planned: dict[str, tuple[str, int, str, dict[str, int]]] = {}
    for dtype in ("float32", "float64"):
        for bits in fma_widths():
            width = bits or "scalar"
            planned[f"peak_{width}_gflops_{dtype}"] = (f"fma_peak_{width}", PEAK_OPS, dtype, {})
    pages = {"page_kib": HUGE_KIB if HUGE_KIB in page_sizes_kib() else BASE_KIB}
    first = next((c.size_bytes for c in machine.data_caches()), L1_UNKNOWN)
    planned["l1_read_gb_per_s"] = ("memory_read", first // 8, "float32", pages)
    for name, (kernel, values) in FROM_MEMORY.items():
        n = copy_elements(machine) // (find(kernel).bytes(1, 4) // 4)  # together as large, however many arrays
        planned[f"{name}_gb_per_s"] = (kernel, n, "float32", {**pages, **values})
    return planned


def limit_case(name: str, kernel: str, n: int, dtype: str, values: Mapping[str, int]) -> tuple[Case, int]:
    """The kernel as a case, checked, and the flops or bytes of one run."""
    described = find(kernel)
    params = {p: values.get(p, default) for p, default in described.params.items()}
    given = described.make(n, dtype, np.random.default_rng(0), **params)
    tuning = (values.get(t, default) for t, default in described.tuning.items())
    built = case(name, described.compiled, described.unchecked(*given, *tuning), "kernel")
    prepare = partial(described.prepare, *given) if described.prepare else None
    amount = described.flops(n, **params) if "gflops" in name else described.bytes(n, np.dtype(dtype).itemsize, **params)
    return Case(name, built.scope, built.run, prepare=prepare), amount


def _ghz(session: Session) -> Interval:
    """Cycles of the canary's chain per nanosecond."""
    return median_interval([s.per_run_ns for s in session.canary], serial=True).inverse(CANARY_CYCLES)
