"""What a run tells of the memory, held against what geometry predicts: levels, pages, colours, columns, chains.

    chase(run, block)           -> ns per load of every case of a block of chases, with intervals
    levels(run, page_kib)       -> the levels as measured in this run beside those reported
    level_table(run)            the same as a table
    colour_table(run)           latency around the second level: predicted from pages at random places, and measured
    leading_table(run)          rows that a column walk may have: predicted from the sets, and measured
    chain_table(run)            parallel chains: latency over their number, and what was measured
    bandwidth_table(run)        counted and moved bytes per second in each level

Where the run lacks a series, the standard sentence stands in the table's place.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from .cachemodel import colour_misses
from .edges import find_levels
from .hierarchy import Detected, matched
from .kernels.arena import BASE_KIB, HUGE_KIB
from .kernels.caches import LINE_BYTES
from .kernels.catalog import find
from .kernels.traffic import CHASE_STEPS
from .machine import Cache
from .memory_plan import LEADING
from .showing import size_text
from .stats import Interval
from .store import Run, RunError
from .tables import Table, net_times, or_missing, select, summary, text


def chase(run: Run, block: str) -> pd.DataFrame:
    """ns, low_ns and high_ns per load by n, chains, stride and page_kib; `bytes` is the working set in lines."""
    found = summary(run, "memory", kernel="memory_chase", block=block)
    times = found[["ns", "low_ns", "high_ns"]] / CHASE_STEPS
    return found.assign(**times, bytes=found["n"].astype(int) * LINE_BYTES)


def _latency_block(page_kib: int) -> str:
    return f"latency, pages of {page_kib} KiB"


def best_pages(run: Run) -> int:
    """The page size whose latency curve speaks for the caches: huge pages where the run has them."""
    recorded = {name for topic, name in run.blocks if topic == "memory"}
    return HUGE_KIB if _latency_block(HUGE_KIB) in recorded else BASE_KIB


@lru_cache(maxsize=8)  # three figures and tables of a notebook ask
def levels(run: Run, page_kib: int | None = None) -> tuple[Detected, ...]:
    """Levels of the run's latency curve on these pages (the largest recorded), matched with those that are reported."""
    if not run.has("memory"):
        raise RunError(f"run {run.id} has no 'memory'")
    block = _latency_block(page_kib or best_pages(run))
    times = select(net_times(run, "memory"), block=block, kernel="memory_chase")
    table = times.pivot_table(index="n", columns="round", values="net_ns").dropna(axis=1) / CHASE_STEPS
    return matched(find_levels(table.index.to_numpy(float) * LINE_BYTES, table.to_numpy(float)), run.machine.data_caches())


@or_missing
def level_table(run: Run) -> Table:
    """Per level: what the system reports, what this run measured, and how well they agree."""
    rows = []
    for level in levels(run):
        c = level.capacity_bytes
        reported = size_text(level.reported_bytes) if level.reported_bytes else "unknown" if level.name != "memory" else ""
        measured = f"{size_text(c.value)} [{size_text(c.low)}, {size_text(c.high)}]" if c else "not resolved"
        off = f"{100 * (c.value / level.reported_bytes - 1):+.0f}" if c and level.reported_bytes else ""
        figures = (reported, measured if level.name != "memory" else "", off)
        rows.append((level.name, *figures, f"{level.latency_ns:.1f}" if level.latency_ns else "", level.grade))
    return Table(("level", "reported", "measured [95 %]", "error (%)", "ns per load", "grade"), tuple(rows))


def colours(run: Run) -> tuple[pd.DataFrame, Cache]:
    """Latency around the second level on the largest pages, with `model_ns` for pages at random places."""
    caches = run.machine.data_caches()
    if len(caches) < 2 or not caches[1].ways:
        raise RunError(f"run {run.id} does not know the ways of a second level")
    second, found = caches[1], chase(run, _latency_block(best_pages(run)))
    near = found[(found["bytes"] >= second.size_bytes / 8) & (found["bytes"] <= 4 * second.size_bytes)]
    inside, beyond = near["ns"].iloc[0], near["ns"].iloc[-1]
    share = np.array([colour_misses(int(b), second) for b in near["bytes"]])
    return near.assign(share=share, model_ns=inside + share * (beyond - inside)), second


@or_missing
def colour_table(run: Run) -> Table:
    """Working set over capacity: expected misses, predicted and measured latency, error."""
    near, second = colours(run)
    rows = []
    for factor in (0.5, 0.75, 1.0, 1.25, 1.5, 2.0):
        row = near.iloc[(near["bytes"] / second.size_bytes - factor).abs().argmin()]
        off = 100 * (row["model_ns"] / row["ns"] - 1)
        measured = text(Interval(row["ns"], row["low_ns"], row["high_ns"], 0.95), 1)
        share = row["bytes"] / second.size_bytes
        rows.append((f"{share:.2f}", f"{100 * row['share']:.1f}", f"{row['model_ns']:.1f}", measured, f"{off:+.0f}"))
    header = ("working set / capacity", "predicted misses (%)", "predicted (ns)", "measured (ns)", "error (%)")
    return Table(header, tuple(rows))


def predicted_column(rows: int, leading: int, cache: Cache) -> float:
    """Share of the loads of a walk down a column of float32 that miss: those in sets with more lines than ways.

    Least-recently-used replacement and reuse in a cycle: a set that is full is no use at all.
    """
    line, ways = cache.line_bytes or LINE_BYTES, cache.ways or 1
    sets = max(1, cache.size_bytes // (line * ways))
    places = np.unique(np.arange(rows) * leading * 4 // line)
    crowd = np.bincount(places % sets, minlength=sets)
    return float(crowd[crowd > ways].sum() / places.size)


@or_missing
def leading_table(run: Run) -> Table:
    """Per leading dimension: most rows without misses as predicted, and as measured (within 1.3 times the fastest walk)."""
    found, first = chase(run, "leading dimension"), _first(run)
    fastest, rows = found["ns"].min(), []
    for leading in LEADING:
        own = found[found["stride"] == 4 * leading].sort_values("n")
        expected = max((int(n) for n in own["n"] if predicted_column(int(n), leading, first) == 0), default=0)
        measured = int(max(own["n"][(own["ns"] < 1.3 * fastest).cummin()], default=0))
        last = own.iloc[-1]
        rows.append((str(leading), str(expected), str(measured), f"{last['ns'] / fastest:.1f}"))
    header = (
        "leading dimension",
        "rows that fit, predicted",
        "rows that fit, measured",
        f"time of {int(last['n'])} rows / fastest",
    )
    return Table(header, tuple(rows))


def _first(run: Run) -> Cache:
    first = next(iter(run.machine.data_caches()), None)
    if first is None or not first.ways:
        raise RunError(f"run {run.id} does not know the sets of its first level")
    return first


@or_missing
def chain_table(run: Run) -> Table:
    """Little's law: loads in flight = latency x rate; predicted from one chain as its latency over the number of chains."""
    found, rows = chase(run, "chains"), []
    for size, own in found.groupby("bytes"):
        one = own[own["chains"] == 1]["ns"].iloc[0]
        own = own.sort_values("chains")
        in_flight = one / own["ns"]
        half = own[in_flight >= 0.5 * own["chains"].astype(float)]["chains"].max()
        rows.append((size_text(size), f"{one:.1f}", f"{own['ns'].min():.2f}", f"{in_flight.max():.1f}", str(int(half))))
    header = (
        "working set",
        "one chain (ns)",
        "best (ns per load)",
        "loads in flight at best",
        "chains up to which half counts",
    )
    return Table(header, tuple(rows))


def bandwidth(run: Run) -> pd.DataFrame:
    """GB/s of every kernel and working set, of counted bytes and of moved ones; `bytes` is that of all arrays."""
    found = summary(run, "memory", block="bandwidth")
    kernels = [find(name) for name in found["kernel"]]
    sizes = [k.bytes(int(n), 4) for k, n in zip(kernels, found["n"], strict=True)]
    moved = [k.moved(int(n), 4) for k, n in zip(kernels, found["n"], strict=True)]
    return found.assign(bytes=sizes, moved_gb_per_s=np.array(moved) / found["ns"])


@or_missing
def bandwidth_table(
    run: Run, names: Sequence[str] = ("read", "write", "write_nt", "copy", "copy_nt", "triad", "triad_nt")
) -> Table:
    """Counted GB/s in the middle of each level and in memory, and moved GB/s there."""
    found, rows = bandwidth(run), []
    places = [(c.name, c.size_bytes / 2) for c in run.machine.data_caches()[:2]] + [("memory", found["bytes"].max())]
    for name in names:
        own = found[found["kernel"] == f"memory_{name}"]
        near = [own.iloc[(own["bytes"] - size).abs().argmin()] for _, size in places]
        rows.append((name, *(f"{row['gb_per_s']:.1f}" for row in near), f"{near[-1]['moved_gb_per_s']:.1f}"))
    header = ("kernel", *(f"{name} (GB/s counted)" for name, _ in places), "memory (GB/s moved)")
    return Table(header, tuple(rows))
