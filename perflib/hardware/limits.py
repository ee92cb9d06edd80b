"""Measure what one core of this machine can do at most, in one interleaved session, and save it for each machine.

peak_<width>_gflops_<dtype>     multiply-adds that stay in registers: plain numbers and vectors of 128 to 512 bits
l1_read_gb_per_s                loads from half of the first-level cache (16 KiB where its size is unknown)
read_<k>_gb_per_s               loads from memory that no cache holds, by k streams
write, copy, triad, each also _nt   stores to it, through the caches and past them; counted bytes, as in STREAM
effective_ghz                   clock frequency, from a chain of dependent operations of one cycle each

limits().peak_gflops("float64").value
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cache, partial
from typing import Any

import numpy as np

from ..kernels.buffers import BASE_KIB, HUGE_KIB, page_sizes_kib
from ..kernels.catalog import find
from ..kernels.jit.vector import vector_bytes
from ..kernels.probes.peak import FMA_BLOCK
from ..stats import Interval, median_interval
from ..timing.case import Case, case
from ..timing.diagnostics import Evidence, disturbances
from ..timing.measure import measure
from ..timing.sampling import quiet
from ..timing.session import Session, take
from .facts import Machine, machine
from .saved_limits import measured_or_saved

CANARY_CYCLES = 6
"""Cycles of a step of the reference loop: three shifts and three exclusive ors in a chain, one cycle each."""
PEAK_OPS = 1024 * FMA_BLOCK
BUDGET_S = 6.0
L1_UNKNOWN = 32 << 10
LARGEST_COPY = 256 << 20
UNITS = {"gflops": "GFLOP/s", "gb_per_s": "GB/s", "ghz": "GHz"}
FROM_MEMORY = {
    **{f"read_{k}": ("memory_read", {"streams": k}) for k in (1, 4, 8)},
    **{name: (f"memory_{name}", {}) for name in ("write", "write_nt", "copy", "copy_nt", "triad", "triad_nt")},
}

Plan = tuple[str, int, str, dict[str, int]]
"""Kernel, size, dtype and parameters behind a rate."""


class Limits(dict[str, Interval]):
    """Measured limits by name; the unit stands at the end of the name, or before the element type."""

    def peak_gflops(self, dtype: str = "float32") -> Interval:
        """Multiply-add peak of one core: that of the best width."""
        peaks = [rate for name, rate in self.items() if name.startswith("peak_") and name.endswith(f"gflops_{dtype}")]
        return max(peaks, key=lambda rate: rate.value)

    def __str__(self) -> str:
        units = {name: next(unit for ending, unit in UNITS.items() if ending in name) for name in self}
        return "\n".join(f"{name:<24} {rate:.1f} {units[name]}" for name, rate in self.items())

    __repr__ = __str__


def limits(here: Machine | None = None, fresh: bool = False, progress: Callable[[str], None] = lambda text: None) -> Limits:
    """Limits of one core, 95 % intervals; measuring takes some ten seconds, once per machine and versions.

    Limits that other work disturbed hold for this process alone.
    """
    here = here or machine()
    rates = measured_or_saved("limits", machine_key(here), partial(_measure, here, progress), fresh)
    return Limits({name: Interval(**rate) for name, rate in rates.items()})


def copy_elements(machine: Machine, dtype: str = "float32") -> int:
    """Elements of an array four times the last-level cache (STREAM's rule), from 64 MiB to 256 MiB."""
    largest = max((c.size_bytes for c in machine.data_caches()), default=0)
    return min(max(4 * largest, 64 << 20), LARGEST_COPY) // np.dtype(dtype).itemsize


def copy_gb_per_s(machine: Machine) -> Interval:
    """Return the copy bandwidth of memory, one core, GB/s, read and written bytes counted; measured once per process."""
    return _copy(copy_elements(machine))


@cache
def _copy(elements: int) -> Interval:
    kernels = find("copy_loop"), find("numpy_copy")
    args = kernels[0].make(elements, "float32", np.random.default_rng(0))
    rates = [measure(k.call, *args, scope="call", bytes=k.bytes(elements, 4), placement="mine").gb_per_s for k in kernels]
    return max(rates, key=lambda rate: rate.value)


def fma_widths() -> tuple[int, ...]:
    """Bits of the vectors that multiply-adds come in here, 0 for plain numbers."""
    return (0, *(bits for bits in (128, 256, 512) if bits <= 8 * vector_bytes()))


def machine_key(machine: Machine) -> dict[str, Any]:
    """What a measured limit holds for: the CPU, the target that code is made for, the caches, and who makes it."""
    packages = {name: machine.packages.get(name) for name in ("numba", "llvmlite")}
    caches = [asdict(c) for c in machine.caches]
    return {"cpu": machine.cpu, "target": machine.target, "caches": caches, "packages": packages}


def _measure(machine: Machine, progress: Callable[[str], None]) -> tuple[dict[str, dict[str, float]], bool]:
    """All limits from one session: what they are compared with was measured beside them. Whether it was undisturbed too."""
    progress("limits of one core")
    rates, session = measure_rates(_plan(machine), BUDGET_S)
    cycle_ns = median_interval([s.per_run_ns for s in session.canary], serial=True)
    samples = [sample for name in rates for sample in session.samples[name]]
    whole = Evidence(samples, session.canary, cycle_ns, session.floor("kernel"))
    rates["effective_ghz"] = cycle_ns.inverse(CANARY_CYCLES)
    return {name: asdict(rate) for name, rate in rates.items()}, not any(disturbances(whole))


def measure_rates(plans: Mapping[str, Plan], budget_s: float) -> tuple[dict[str, Interval], Session]:
    """Measure the rate of each plan, interleaved in one session."""
    with quiet():
        cases = {name: limit_case(name, *plan) for name, plan in plans.items()}
        session = take([one for one, _ in cases.values()], budget_s, lambda so_far: [so_far.gross(name) for name in cases])
    return {name: session.net(name).inverse(amount) for name, (_, amount) in cases.items()}, session


def _plan(machine: Machine) -> dict[str, Plan]:
    peaks = [(bits or "scalar", dtype) for dtype in ("float32", "float64") for bits in fma_widths()]
    plans = {f"peak_{width}_gflops_{dtype}": (f"fma_peak_{width}", PEAK_OPS, dtype, {}) for width, dtype in peaks}
    pages = {"page_kib": HUGE_KIB if HUGE_KIB in page_sizes_kib() else BASE_KIB}
    first = next((c.size_bytes for c in machine.data_caches()), L1_UNKNOWN)
    plans["l1_read_gb_per_s"] = ("memory_read", first // 8, "float32", pages)
    for name, (kernel, values) in FROM_MEMORY.items():
        n = copy_elements(machine) // (find(kernel).bytes(1, 4) // 4)  # together as large, however many arrays
        plans[f"{name}_gb_per_s"] = (kernel, n, "float32", {**pages, **values})
    return plans


def limit_case(name: str, kernel: str, n: int, dtype: str, values: Mapping[str, int]) -> tuple[Case, int]:
    """The kernel as a case, checked, and the flops or bytes of one run."""
    description = find(kernel)
    params = {p: values.get(p, default) for p, default in description.params.items()}
    args = description.make(n, dtype, np.random.default_rng(0), **params)
    tuning = (values.get(t, default) for t, default in description.tuning.items())
    bare = case(name, description.compiled, description.unchecked(*args, *tuning), "kernel")
    prepare = partial(description.prepare, *args) if description.prepare else None
    amount = (
        description.flops(n, **params) if "gflops" in name else description.bytes(n, np.dtype(dtype).itemsize, **params)
    )
    return replace(bare, prepare=prepare), amount
