"""Measure the memory hierarchy beside what the system reports: capacity, latency, bandwidth, line, pages.

A capacity is the working set at which half of the rise to the next level is paid, fitted by `levels.find_levels`. In a
first level, whose sets are filled evenly, half of the rise is paid where half of the sets have one line too many: at
capacity x (1 + 1 / (2 ways)), which is taken off. Without a report of the system (no sysfs, macOS in part) levels are
numbered and keep what was measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..display.text import size_text
from ..kernels.buffers import BASE_KIB, HUGE_KIB, arena, page_sizes_kib
from ..kernels.caches import LINE_BYTES, Cache
from ..kernels.memory_catalog import CHASE_STEPS
from ..kernels.probes.chase import _chase, link, relink
from ..stats import Interval
from ..timer import Timer
from ..timing.case import case
from ..timing.sampling import quiet, rounds
from .facts import Machine, machine
from .levels import Level, find_levels
from .limits import machine_key, measure_rates
from .saved_limits import measured_or_saved

ROUNDS = 7
READING_S = 2.0
LEAST_SWEEP, LARGEST_SWEEP = 64 << 20, 128 << 20
FIRST_WITHIN, WITHIN = 0.08, 0.15  # of the reported capacity: the first level ends sharply, the others gradually
NEAR = 2.0  # an edge belongs to a reported level that is at most so many times as large or as small
Progress = Callable[[str], None]


@dataclass(frozen=True)
class MeasuredLevel:
    """One level: reported and measured."""

    name: str
    reported_bytes: int | None
    capacity_bytes: Interval | None
    latency_ns: float | None
    read_gb_per_s: Interval | None
    grade: str
    """agrees, a slice, measured, not resolved."""
    reason: str


@dataclass(frozen=True)
class Hierarchy:
    """All levels, and what was found beside them."""

    levels: tuple[MeasuredLevel, ...]
    line_bytes: int | None
    tlb_bytes: tuple[float, ...]
    """Working sets on base pages from which translations miss, where two such edges could be separated."""
    page_kib: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        head = f"{'level':<8}{'reported':>10}{'measured':>10}  {'95 % interval':<20}{'ns/load':>8}{'GB/s':>7}  grade"
        rows = [head, *map(_row, self.levels)]
        rows.append(f"line       {f'{self.line_bytes} bytes' if self.line_bytes else 'not resolved'}")
        reach = ", ".join(map(size_text, self.tlb_bytes)) or "not resolved"
        rows.append(f"TLB reach  {reach} on pages of {BASE_KIB} KiB")
        return "\n".join([*rows, *self.notes])


def _row(level: MeasuredLevel) -> str:
    c, rate = level.capacity_bytes, level.read_gb_per_s
    reported = size_text(level.reported_bytes) if level.reported_bytes else "unknown"
    reported = "" if level.name == "memory" else reported
    measured, between = (size_text(c.value), f"[{size_text(c.low)}, {size_text(c.high)}]") if c else ("", "")
    latency = f"{level.latency_ns:.1f}" if level.latency_ns else ""
    figures = f"{measured:>10}  {between:<20}{latency:>8}{f'{rate.value:.0f}' if rate else '':>7}"
    return f"{level.name:<8}{reported:>10}{figures}  {level.grade}: {level.reason}"


def hierarchy(here: Machine | None = None, fresh: bool = False, progress: Progress = lambda text: None) -> Hierarchy:
    """Measured levels of this machine; takes about half a minute, once per machine and versions."""
    here = here or machine()
    record = measured_or_saved("hierarchy", machine_key(here), partial(_measure, here, progress), fresh)
    for level in record["levels"]:
        level |= {name: level[name] and Interval(**level[name]) for name in ("capacity_bytes", "read_gb_per_s")}
    levels = tuple(MeasuredLevel(**level) for level in record["levels"])
    return Hierarchy(levels, record["line_bytes"], tuple(record["tlb_bytes"]), record["page_kib"], tuple(record["notes"]))


def _measure(machine: Machine, progress: Progress) -> tuple[dict[str, Any], bool]:
    page_kib = HUGE_KIB if HUGE_KIB in page_sizes_kib() else BASE_KIB
    notes = () if page_kib == HUGE_KIB else ("huge pages are refused by this system: measured on base pages",)
    sizes = sweep_sizes(machine)
    progress(f"latency of {len(sizes)} working sets up to {size_text(sizes[-1])}")
    levels = match_levels(find_levels(sizes, latency_ns(sizes, page_kib)), machine.data_caches())
    progress("bandwidth of each level")
    levels = _with_bandwidth(levels, page_kib, sizes[-1])
    progress("cache lines and pages")
    return asdict(Hierarchy(levels, line_bytes(), tlb_edges(), page_kib, notes)), True


def sweep_sizes(machine: Machine, per_octave: int = 8) -> list[int]:
    """Working sets from 4 KiB to twice the last level as reported, from 64 to 128 MiB at most; whole lines."""
    last = max((c.size_bytes for c in machine.data_caches()), default=0)
    top = np.log2(min(max(2 * last, LEAST_SWEEP), LARGEST_SWEEP))
    steps = np.arange(12 * per_octave, int(top * per_octave) + 1) / per_octave
    return sorted({int(2**s) // LINE_BYTES * LINE_BYTES for s in steps})


def latency_ns(sizes_bytes: Sequence[int], page_kib: int, stride: int = LINE_BYTES, repeats: int = ROUNDS) -> np.ndarray:
    """ns per load of a random cycle over so many bytes in lines, `stride` bytes apart: sizes x rounds, interleaved."""
    memory = arena(max(sizes_bytes) // LINE_BYTES * stride, page_kib).view(np.int64)
    reps = {str(size): 16 for size in sizes_bytes}  # of 4096 loads each: a tenth of a millisecond at the least
    cases = []
    with quiet():
        for size in sizes_bytes:
            cycle = link(memory, size // LINE_BYTES, stride)
            chase = case(str(size), _chase, (memory, cycle.cursors, CHASE_STEPS), "kernel")
            cases.append(replace(chase, prepare=partial(relink, cycle)))
        batches = rounds(cases, reps, np.random.default_rng(0), dict.fromkeys(reps, repeats))
        times = [{s.label: s.per_run_ns / CHASE_STEPS for s in batch} for batch in batches]
    return np.array([[row[label] for row in times] for label in reps])


def match_levels(found: Sequence[Level], caches: Sequence[Cache]) -> tuple[MeasuredLevel, ...]:
    """Reported levels with the edges nearest to them; the last one takes what lies beyond, memory is what follows.

    A level without an edge within a factor of two, or with one that is off by more than 15 % (the first: 8 %), is not
    resolved and says why. The last level may be far smaller than reported: a guest gets a slice.
    """
    edges = [(level, found[i + 1].latency_ns) for i, level in enumerate(found[:-1])]
    memory = _level("memory", found[-1])
    if not caches:
        return (*(_level(f"level {i}", level) for i, level in enumerate(found[:-1], 1)), memory)
    rows, below = [], 0.0
    for place, cache in enumerate(caches):
        last = place == len(caches) - 1 and place > 0
        free = [e for e in edges if e[0].capacity_bytes.value > 1.2 * below]
        if not last:
            free = [e for e in free if 1 / NEAR <= e[0].capacity_bytes.value / cache.size_bytes <= NEAR]
            edge = min(free, key=lambda e: abs(np.log(e[0].capacity_bytes.value / cache.size_bytes)), default=None)
        else:
            edge = max(free, key=lambda e: e[1] - e[0].latency_ns, default=None)
        rows.append(_grade(cache, edge and edge[0], free if last else [], FIRST_WITHIN if place == 0 else WITHIN))
        if edge and place and not rows[-2].capacity_bytes:  # one plateau, and it is the nearer level that has it
            rows[-2], rows[-1] = replace(rows[-2], latency_ns=rows[-1].latency_ns), replace(rows[-1], latency_ns=None)
        below = edge[0].capacity_bytes.value if edge else float(cache.size_bytes)
    if rows[-1].capacity_bytes is None and len(rows) > 1:  # the last plateau is still this level's: memory was not seen
        rows[-1] = replace(rows[-1], latency_ns=memory.latency_ns)
        memory = replace(memory, latency_ns=None, grade="not resolved")
    return (*rows, memory)


def _grade(cache: Cache, level: Level | None, beyond: Sequence[tuple], within: float) -> MeasuredLevel:
    bare = MeasuredLevel(cache.name, cache.size_bytes, None, None, None, "not resolved", "the sweep shows no edge near it")
    if level is None:
        return bare
    capacity = level.capacity_bytes
    if beyond:  # the last level: several edges there are one slice that others use as well
        ends = [e[0].capacity_bytes for e in beyond]
        capacity = Interval(capacity.value, min(c.low for c in ends), max(c.high for c in ends), capacity.coverage)
    elif level.grade == "sharp" and cache.level == 1 and cache.ways:
        capacity = capacity.scaled(1 / (1 + 1 / (2 * cache.ways)))
    off = capacity.value / cache.size_bytes - 1
    reason = f"{abs(100 * off):.0f} % {'below' if off < 0 else 'above'} what is reported, {level.reason}"
    grade = "agrees" if abs(off) <= within else "a slice" if beyond and off < 0 else "not resolved"
    return replace(bare, capacity_bytes=capacity, latency_ns=level.latency_ns, grade=grade, reason=reason)


def _level(name: str, level: Level) -> MeasuredLevel:
    """A level that the system does not report."""
    return MeasuredLevel(name, None, level.capacity_bytes, level.latency_ns, None, "measured", level.reason)


def _with_bandwidth(levels: Sequence[MeasuredLevel], page_kib: int, largest: int) -> tuple[MeasuredLevel, ...]:
    """Reads by four streams of half of each level, and of the largest working set for memory."""
    sizes = {e.name: e.capacity_bytes.value if e.capacity_bytes else e.reported_bytes for e in levels}
    sizes["memory"] = 2 * largest
    values = {"page_kib": page_kib, "streams": 4}
    plans = {name: ("memory_read", int(size) // 8, "float32", values) for name, size in sizes.items() if size}
    rates, _ = measure_rates(plans, READING_S)
    return tuple(replace(level, read_gb_per_s=rates.get(level.name)) for level in levels)


def line_bytes(distances: Sequence[int] = (8, 16, 32, 64, 128, 256), slots: int = 256, apart: int = 1024) -> int | None:
    """Smallest distance at which the second load of a pair no longer finds its line there; None if no distance does.

    Pairs lie `apart` bytes from each other, so that they share few sets of the first level and miss it.
    """
    memory = arena(slots * apart, BASE_KIB).view(np.int64)
    times = []
    for distance in distances:
        order = np.random.default_rng(0).permutation(slots) * (apart // 8)
        memory[order], memory[order + distance // 8] = order + distance // 8, np.roll(order, -1)
        cursors = (order[:1].copy(),)
        times.append(float(np.median([_time_chase(memory, cursors) for _ in range(ROUNDS)])))
    if times[-1] < 1.2 * times[0]:
        return None
    return next(d for d, t in zip(distances, times, strict=True) if t > (times[0] + times[-1]) / 2)


def _time_chase(memory: np.ndarray, cursors: tuple[np.ndarray, ...]) -> float:
    _chase(memory, cursors, CHASE_STEPS)
    timer = Timer()
    _chase(memory, cursors, 4 * CHASE_STEPS)
    return timer.elapsed_ns()


def tlb_edges(pages: Sequence[int] = tuple(int(2 ** (k / 8)) for k in range(24, 113))) -> tuple[float, ...]:
    """Bytes on base pages at which the latency rises although the lines alone would fit: one line in every page.

    Edges that the same number of lines shows without the pages are those of the caches, and are left out.
    """
    sizes = [n * LINE_BYTES for n in sorted(set(pages))]
    apart = (BASE_KIB << 10) + LINE_BYTES  # so that lines fall into all sets
    lines, spread = (find_levels(sizes, latency_ns(sizes, BASE_KIB, stride)) for stride in (LINE_BYTES, apart))
    of_caches = [level.capacity_bytes.value for level in lines if level.resolved]
    edges = [level.capacity_bytes.value for level in spread if level.resolved]
    return tuple(e / LINE_BYTES * (BASE_KIB << 10) for e in edges if all(abs(np.log(e / c)) > 0.3 for c in of_caches))
