"""The study of notebook 01-timing: the clock, both scopes, other harnesses, cold caches, a kernel against itself."""

import time
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..display.figure import label_ends, log_axes, name_above, picture
from ..display.table import Table, or_missing
from ..display.text import text
from ..errors import RunError
from ..kernels.caches import LINE_BYTES
from ..kernels.catalog import find
from ..kernels.description import Kernel
from ..runs.grid import GridPoint
from ..runs.queries import interval_of, ns_text, ratio, scaling_rows, summary
from ..runs.recorder import Block
from ..runs.store import Run
from ..runs.writer import RunWriter
from ..stats import Interval
from ..timer import Timer, clock_step_ns
from ..timing.measure import MARGIN
from ..timing.placement import NUMPY_STEP, PAGE
from .drawing import error_bars
from .harnesses import FIRST_CALLS, HARNESSES

AGAIN = " (again)"  # the second label of a kernel that is compared with itself
PLACES = 50
PLACED_N = 2048  # float32: three arrays of two pages each
BEHIND = 512  # bytes: a load waits for a store whose address ends alike while the two are that close
COLD_SIZES = (512, 4096, 32768)  # of float32: an RMS norm reads and writes 12 bytes each, weights included


def _clock(name: str, call) -> Kernel:
    return Kernel(name, call, make=lambda n, dtype, rng: (), flops=lambda n: 0, bytes=lambda n, itemsize: 0)


def timing_blocks(quick: bool) -> list[Block]:
    fast = find("rms_norm_fast")
    clocks = (
        _clock("two_clock_readings", lambda: (time.perf_counter_ns(), time.perf_counter_ns())),
        _clock("timer_start_and_elapsed", lambda: Timer().elapsed_ns()),
    )
    scopes = [GridPoint(fast, n, scope) for n in (64, 512, 4096, 32768) for scope in ("kernel", "call")]
    cold = [GridPoint(fast, n, mode=mode) for n in COLD_SIZES for mode in ("throughput", "cold")]
    cold += [GridPoint(find("read_lines"), 12 * n, mode=mode) for n in COLD_SIZES for mode in ("throughput", "cold")]
    return [
        Block("timing", "clock", tuple(GridPoint(k, None, "call") for k in clocks), 0.2),
        Block("timing", "scopes", tuple(scopes), 1),
        Block("timing", "cold", tuple(cold), 1 if quick else 4),
    ]


def self_comparison_blocks(count: int) -> list[Block]:
    fast = find("rms_norm_fast")
    twins = GridPoint(fast, 512), GridPoint(replace(fast, name=fast.name + AGAIN), 512)
    return [Block("timing", f"a-a {i:02}", twins, 0.15, divided=False) for i in range(count)]


def places_block() -> Block:
    """One kernel in fifty places at multiples of 16 bytes, which NumPy promises, and in fifty at multiples of 64.

    The places are the same in every run and process: they are the question here, not the luck of one draw.
    """
    fast, rng = find("rms_norm_fast"), np.random.default_rng(0)
    params = {f"{name}_at": 0 for name in ("x", "weight", "out")}
    kernel = Kernel(
        f"{fast.name} placed",
        fast.call,
        _make_in_place,
        lambda n, **at: fast.flops(n, rows=1),
        lambda n, itemsize, **at: fast.bytes(n, itemsize, rows=1),
        compiled=fast.compiled,
        exact=fast.exact,
        output=fast.output,
        params=params,
        placement="own",
    )
    draws = [step * rng.integers(0, PAGE // step, 3) for step in (NUMPY_STEP, LINE_BYTES) for _ in range(PLACES)]
    cells = [GridPoint(kernel, PLACED_N, values=dict(zip(params, map(int, at), strict=True))) for at in draws]
    return Block("places", f"n={PLACED_N}", tuple(cells), 0.5)


def _make_in_place(n: int, dtype: str, rng: np.random.Generator, x_at: int, weight_at: int, out_at: int) -> tuple:
    """Arguments of the norm, each array so many bytes behind the beginning of a page."""
    x, weight, eps, out = find("rms_norm_fast").make(n, dtype, rng, rows=1)
    return _behind_page(x, x_at), _behind_page(weight, weight_at), eps, _behind_page(out, out_at)


def _behind_page(array: np.ndarray, offset: int) -> np.ndarray:
    """A copy so many bytes behind the beginning of a page."""
    room = np.empty(array.nbytes + 2 * PAGE, np.uint8)
    start = -room.ctypes.data % PAGE + offset
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def record_clock_steps(writer: RunWriter) -> None:
    """The smallest step of the clock, thirty times: a step is no batch, so each row is one observation."""
    with writer.block("clock", "steps") as append:
        for number in range(30):
            row = {"kernel": "perf_counter_ns", "scope": "call", "threads": 1, "round": number, "position": 0, "reps": 1}
            step = max(1, clock_step_ns(readings=2000))
            append([{"block": "steps", **row, "elapsed_ns": step, "cpu_ns": 0, "switches": 0, "compiled": 0}])


@lru_cache(maxsize=8)  # the first page, the guide and a notebook ask
def self_ratios(run: Run) -> tuple[Interval, ...]:
    """Paired ratio of rms_norm_fast at 512 with itself, one per A/A block of the run."""
    blocks = sorted(b for topic, b in run.blocks if topic == "timing" and b.startswith("a-a"))
    if not blocks:
        raise RunError(f"run {run.id} has no kernel compared with itself")
    names = "rms_norm_fast", "rms_norm_fast" + AGAIN
    return tuple(ratio(run, "timing", *({"kernel": name, "n": 512, "block": b} for name in names)) for b in blocks)


@or_missing
def clock_table(run: Run) -> Table:
    """Smallest step of the clock, and the cost of two readings and of a Timer."""
    rows = [("smallest step of the clock", str(int(run.samples("clock")["elapsed_ns"].min())))]
    for kernel, label in (("two_clock_readings", "two readings"), ("timer_start_and_elapsed", "Timer: start and elapsed")):
        rows.append((label, ns_text(summary(run, "timing", kernel=kernel).iloc[0])))
    return Table(("what", "ns [95 % interval]"), tuple(rows))


@or_missing
def scope_table(run: Run) -> Table:
    """rms_norm_fast at several sizes: kernel, call, and the difference, which is dispatch and checks."""
    rows = []
    for n in sorted(int(v) for v in summary(run, "timing", kernel="rms_norm_fast")["n"].unique()):
        of_n = {"kernel": "rms_norm_fast", "n": n, "block": "scopes"}
        kernel, call = (summary(run, "timing", **of_n, scope=scope).iloc[0] for scope in ("kernel", "call"))
        difference, factor = call["ns"] - kernel["ns"], call["ns"] / kernel["ns"]
        rows.append((str(n), ns_text(kernel, 1), ns_text(call), f"{difference:.0f}", f"{factor:.1f}"))
    return Table(("n", "kernel scope (ns)", "call scope (ns)", "difference (ns)", "call / kernel"), tuple(rows))


def place_times(run: Run) -> pd.DataFrame:
    """Each place with its time and interval, whether all arrays begin at multiples of 64 bytes, and how many bytes modulo a
    page the output lies behind the nearer of the two inputs."""
    cases = summary(run, "places")
    at = {name: cases[f"{name}_at"].astype(int) for name in ("x", "weight", "out")}
    behind = np.minimum((at["out"] - at["x"]) % PAGE, (at["out"] - at["weight"]) % PAGE)
    is_on_lines = (at["x"] % LINE_BYTES == 0) & (at["weight"] % LINE_BYTES == 0) & (at["out"] % LINE_BYTES == 0)
    return cases.assign(behind=behind, on_lines=is_on_lines)


@or_missing
def place_table(run: Run) -> Table:
    """Places by what may make them slow: how many, the median of their times, the slowest."""
    cases = place_times(run)
    close = cases["behind"].between(1, BEHIND)
    groups = {
        "all arrays on line boundaries, output not close behind an input": cases["on_lines"] & ~close,
        f"on line boundaries, output at most {BEHIND} bytes behind an input": cases["on_lines"] & close,
        "off the line boundaries, output not close behind an input": ~cases["on_lines"] & ~close,
        f"off the line boundaries, output at most {BEHIND} bytes behind an input": ~cases["on_lines"] & close,
    }
    rows = []
    for what, members in groups.items():
        times = cases[members]["ns"]
        figures = (f"{times.median():.0f}", f"{times.max():.0f}") if len(times) else ("", "")
        rows.append((what, str(len(times)), *figures))
    return Table(("where the arrays lie (addresses modulo 4096)", "places", "median (ns)", "slowest (ns)"), tuple(rows))


@or_missing
def cold_table(run: Run) -> Table:
    """rms_norm_fast on the same arrays in every run and on others in every run, and the proof that those were cold."""
    rows = []
    for n in COLD_SIZES:
        of_n = {"n": n, "scope": "kernel", "block": "cold"}
        warm, cold = ({"kernel": f"rms_norm_fast{mode}", **of_n} for mode in ("", " (cold)"))
        lines = [{"kernel": f"read_lines{mode}", **of_n, "n": 12 * n} for mode in (" (cold)", "")]
        times = [ns_text(summary(run, "timing", **case).iloc[0]) for case in (warm, cold)]
        slower, proof = ratio(run, "timing", cold, warm), ratio(run, "timing", *lines)
        rows.append((str(n), f"{12 * n / 1024:.0f}", *times, text(slower, 1), text(proof, 1)))
    header = ("n", "touched (KiB)", "warm (ns)", "cold (ns)", "cold / warm", "reading a byte of each line, cold / warm")
    return Table(header, tuple(rows))


@or_missing
def harness_table(run: Run) -> Table:
    """What each harness says of rms_norm_fast at n = 512 called from Python, and perflib of the kernel itself too."""
    order = {name: place for place, name in enumerate((*HARNESSES, *FIRST_CALLS, "kernel", "call"))}
    cases = run.table("harness").groupby(["harness", "first_call", "scope", "version", "loops", "samples", "wall_ms"])
    rows = []
    for case, reports in sorted(cases, key=lambda group: [order.get(name, len(order)) for name in group[0][:3]]):
        harness, first_call, scope, version, loops, samples, wall_ms = case
        words = _describe(dict(zip(reports["statistic"], reports["reported_ps"] / 1e3, strict=True)))
        rows.append((f"{harness} {version}", first_call, scope, words, f"{loops}", f"{samples}", f"{wall_ms / 1e3:.1f}"))
    return Table(("harness", "first call", "scope", "reports (ns)", "runs per sample", "samples", "took (s)"), tuple(rows))


def _describe(statistics_ns: dict[str, float]) -> str:
    """`best 292`, `mean 294 ± 6.3`, `mean 444, median 421` or `median 59.5 [59.0, 60.1]`, as the harness puts it."""
    figures = {name: f"{ns:.0f}" if ns >= 100 else f"{ns:.1f}" for name, ns in statistics_ns.items()}
    words = {name: f"{name} {figures[name]}" for name in ("best", "mean", "median") if name in figures}
    if {"mean", "std"} <= figures.keys():
        words["mean"] += f" ± {figures['std']}"
    if {"median", "low", "high"} <= figures.keys():
        words["median"] += f" [{figures['low']}, {figures['high']}]"
    return ", ".join(words.values())


@picture
def scopes(axes: Axes, run: Run) -> str:
    """The same kernel in both scopes: what a Python call adds."""
    table = summary(run, "timing", kernel="rms_norm_fast")
    kernel, call = (scaling_rows(table, "rms_norm_fast", scope) for scope in ("kernel", "call"))
    looks = ((kernel, "kernel scope", "#0072B2", "s"), (call, "call scope", "#D55E00", "o"))
    for rows, label, colour, marker in looks:
        reach = [rows["ns"] - rows["low_ns"], rows["high_ns"] - rows["ns"]]
        axes.errorbar(rows["n"], rows["ns"], reach, color=colour, marker=marker, label=label)
    log_axes(axes, kernel["n"], "n (one row, float32)", "time of one run of rms_norm_fast (ns)")
    label_ends(axes)
    factors = (call["ns"].to_numpy() / kernel["ns"].to_numpy()).round(1)
    return (
        f"The same RMS norm in both scopes: a call from Python takes {factors[0]:.0f} times the kernel at "
        f"n = {kernel['n'].iloc[0]} and {factors[-1]:.1f} times at n = {kernel['n'].iloc[-1]}."
    )


@picture
def places(axes: Axes, run: Run) -> str:
    """The same kernel on the same numbers in places off line boundaries and on them, each sorted by time."""
    cases = place_times(run)
    spans = {}
    kinds = ((False, "#D55E00", "s", "some array off a line boundary"), (True, "#0072B2", "o", "all on line boundaries"))
    for is_on_lines, colour, marker, label in kinds:
        rows = cases[cases["on_lines"] == is_on_lines].sort_values("ns")
        reach = error_bars([interval_of(row) for row in rows.to_dict("records")])
        look = {"fmt": marker, "color": colour, "markersize": 4, "label": label}
        axes.errorbar(np.arange(1, len(rows) + 1), rows["ns"], reach, **look)
        spans[label] = rows["ns"].to_numpy()
    axes.set(xlabel="place, the fastest first", ylabel=f"time of rms_norm_fast, n = {PLACED_N} (ns)", ylim=(0, None))
    name_above(axes)
    some, aligned = spans.values()
    return (
        f"The same kernel in {len(some)} places off line boundaries takes from {some[0]:.0f} to {some[-1]:.0f} ns, in "
        f"{len(aligned)} on line boundaries from {aligned[0]:.0f} to {aligned[-1]:.0f} ns."
    )


@picture
def self_comparisons(axes: Axes, run: Run) -> str:
    """Ratio of a kernel with itself, block by block: what this machine calls different although it is the same."""
    ratios = self_ratios(run)
    medians, reach = np.array([r.value for r in ratios]), error_bars(ratios)
    wrong = np.array([not r.low <= 1 <= r.high for r in ratios])
    for part, colour, marker, label in ((~wrong, "#0072B2", "o", "covers 1"), (wrong, "#D55E00", "D", "misses 1")):
        if part.any():
            look = {"fmt": marker, "color": colour, "label": label}
            axes.errorbar(np.flatnonzero(part), medians[part], reach[:, part], **look)
    axes.axhspan(1 / (1 + MARGIN), 1 + MARGIN, color="#DDDDDD", label=f"margin of compare: {100 * MARGIN:.0f} %", zorder=0)
    axes.axhline(1, color="black", linestyle="--", linewidth=1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(
        xlabel="comparison, from the start of the recording to its end", ylabel="time of a kernel / time of the same kernel"
    )
    name_above(axes)
    beyond = sum(r.inside(1 / (1 + MARGIN), 1 + MARGIN) is False for r in ratios)
    return (
        f"A kernel compared with itself {len(ratios)} times: {int(wrong.sum())} of the 95 % intervals miss 1; all medians "
        f"lie within {100 * abs(medians - 1).max():.1f} % of it, {beyond} intervals wholly beyond the margin."
    )
