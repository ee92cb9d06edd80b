"""The tables that the notebooks show: each from a run, or from counting.

    clock_table(run)        what the clock resolves and what the timer costs
    scope_table(run)        one kernel in both scopes, and the dispatch between them
    cold_table(run)         the same kernel on data that are in the cache and on data that are not
    harness_table(run)      the same kernel as other harnesses tell it, and a first call that compiles
    rate_table(run)         the ladder at the seed's sizes and beyond, against the peak
    gain_table(run)         what each rung of the ladder gained, and why
    loop_table(run)         the innermost loops, counted in the machine code
    library_table(run)      the top of the ladder and other libraries, all called from Python
    fit_table(run)          exponents of the ladder and of the RMS norms
    seed_table(run)         the published figures beside this run's
    rms_table(run)          standard against fast
    pass_table()            reads, writes, passes and temporaries of the RMS norms: counted, the same everywhere

Where the run lacks a series, the standard sentence stands in the table's place.
"""

import numpy as np

from .claims import RMS_SIZES, matmul_fit, rms_fit, rms_ratio
from .counting import count_accesses, count_allocations
from .harness import FIRST_CALLS, HARNESSES
from .kernels.catalog import find
from .kernels.ladder import DEFAULT_TILE
from .record import COLD_SIZES, LADDER, LOOPS, NORMS, PRODUCTS, TEXTBOOK
from .stats import Interval
from .store import Run, RunError
from .tables import Table, or_missing, peak_gflops, ratio, seed_figures, select, summary, text

__all__ = [
    "clock_table",
    "cold_table",
    "fit_table",
    "gain_table",
    "harness_table",
    "library_table",
    "loop_table",
    "pass_table",
    "rate_table",
    "rms_table",
    "scope_table",
    "seed_table",
]


ADDS = {
    "matmul_naive": "three loops, one sum",
    "matmul_tiled": "tiles; still down the columns of B",
    "matmul_tiled_vectorised": "inner loop along rows: whole vectors",
    "matmul_ikj": "no tiles, rows of B and C stream",
    "matmul_register_blocked": "a tile of C in registers: loads are shared",
    "matmul_packed": "copies in reading order: no conflicts",
    "matmul": "copies only where they pay",
}


def _ns(row, digits: int = 0) -> str:
    return text(Interval(row["ns"], row["low_ns"], row["high_ns"], 0.95), digits)


@or_missing
def clock_table(run: Run) -> Table:
    """Smallest step of the clock, and the cost of two readings and of a Timer."""
    rows = [("smallest step of the clock", str(int(run.samples("clock")["elapsed_ns"].min())))]
    for kernel, label in (("two_clock_readings", "two readings"), ("timer_start_and_elapsed", "Timer: start and elapsed")):
        rows.append((label, _ns(summary(run, "timing", kernel=kernel).iloc[0])))
    return Table(("what", "ns [95 % interval]"), tuple(rows))


@or_missing
def scope_table(run: Run) -> Table:
    """rms_norm_fast at several sizes: kernel, call, and the difference, which is dispatch and checks."""
    rows = []
    for n in sorted(int(v) for v in summary(run, "timing", kernel="rms_norm_fast")["n"].unique()):
        kernel, call = (
            summary(run, "timing", kernel="rms_norm_fast", n=n, scope=s, block="scopes").iloc[0] for s in ("kernel", "call")
        )
        rows.append(
            (str(n), _ns(kernel, 1), _ns(call), f"{call['ns'] - kernel['ns']:.0f}", f"{call['ns'] / kernel['ns']:.1f}")
        )
    return Table(("n", "kernel scope (ns)", "call scope (ns)", "difference (ns)", "call / kernel"), tuple(rows))


@or_missing
def cold_table(run: Run) -> Table:
    """rms_norm_fast on the same arrays in every run and on others in every run, and the proof that those were cold."""
    rows = []
    for n in COLD_SIZES:
        of_n = {"n": n, "scope": "kernel", "block": "cold"}
        warm, cold = ({"kernel": f"rms_norm_fast{mode}", **of_n} for mode in ("", " (cold)"))
        lines = [{"kernel": f"read_lines{mode}", **of_n, "n": 12 * n} for mode in (" (cold)", "")]
        times = [_ns(summary(run, "timing", **case).iloc[0]) for case in (warm, cold)]
        slower, proof = ratio(run, "timing", cold, warm), ratio(run, "timing", *lines)
        rows.append((str(n), f"{12 * n / 1024:.0f}", *times, text(slower, 1), text(proof, 1)))
    return Table(
        (
            "n",
            "touched (KiB)",
            "warm (ns)",
            "cold (ns)",
            "cold / warm",
            "reading a byte of each line, cold / warm",
        ),
        tuple(rows),
    )


@or_missing
def harness_table(run: Run) -> Table:
    """What each harness says of rms_norm_fast at n = 512 called from Python, and perflib of the kernel itself too."""
    order = {name: place for place, name in enumerate((*HARNESSES, *FIRST_CALLS, "kernel", "call"))}
    cases = run.table("harness").groupby(["harness", "first_call", "scope", "version", "loops", "samples", "wall_ms"])
    rows = []
    for case, told in sorted(cases, key=lambda group: [order.get(name, len(order)) for name in group[0][:3]]):
        harness, first_call, scope, version, loops, samples, wall_ms = case
        says = _says(dict(zip(told["statistic"], told["reported_ps"] / 1e3, strict=True)))
        rows.append((f"{harness} {version}", first_call, scope, says, f"{loops}", f"{samples}", f"{wall_ms / 1e3:.1f}"))
    return Table(("harness", "first call", "scope", "reports (ns)", "runs per sample", "samples", "took (s)"), tuple(rows))


def _says(told: dict[str, float]) -> str:
    """`best 292`, `mean 294 ± 6.3`, `mean 444, median 421` or `median 59.5 [59.0, 60.1]`, as the harness puts it."""
    figures = {name: f"{ns:.0f}" if ns >= 100 else f"{ns:.1f}" for name, ns in told.items()}
    shown = {name: f"{name} {figures[name]}" for name in ("best", "mean", "median") if name in figures}
    if {"mean", "std"} <= figures.keys():
        shown["mean"] += f" ± {figures['std']}"
    if {"median", "low", "high"} <= figures.keys():
        shown["median"] += f" [{figures['low']}, {figures['high']}]"
    return ", ".join(shown.values())


@or_missing
def rate_table(run: Run, sizes: tuple[int, ...] = (64, 128, 256, 512)) -> Table:
    """GFLOP/s of each rung and of each library in the run at a few sizes, and the share of the peak at the last of them."""
    peak, rows = peak_gflops(run).value, []
    for name in (*_rungs(run), "numpy_matmul", *(name for name in PRODUCTS[1:] if name in _recorded(run))):
        found = summary(run, "matmul", kernel=name, dtype="float32", block="float32 scaling").set_index("n")["gflops"]
        if missing := [n for n in sizes if n not in found]:
            raise RunError(f"run {run.id} has no {name} at n = {missing[0]}")
        shares = [f"{found[n]:.2f}" for n in sizes]
        rows.append((name, *shares, f"{100 * found[sizes[-1]] / peak:.1f}"))
    return Table(("kernel", *(f"n = {n} (GFLOP/s)" for n in sizes), f"share of the peak at {sizes[-1]} (%)"), tuple(rows))


def _recorded(run: Run) -> set[str]:
    """Kernels of the products that are measured against size."""
    return set(select(run.samples("matmul"), block="float32 scaling")["kernel"])


def _rungs(run: Run) -> list[str]:
    """Rungs of the ladder in a run: the textbook's, and those above them that it has."""
    return [name for name in LADDER if name in {*TEXTBOOK, *_recorded(run)}]


@or_missing
def gain_table(run: Run, n: int = 512) -> Table:
    """What each rung gained over the one below it, paired, and how much of the peak it reaches."""
    peak, rungs = peak_gflops(run).value, _rungs(run)
    wanted = {"n": n, "scope": "kernel", "dtype": "float32", "block": "float32 scaling"}
    found = summary(run, "matmul", **wanted).set_index("kernel")["gflops"]
    rows = []
    for below, name in zip((None, *rungs), rungs, strict=False):
        gain = below and ratio(run, "matmul", {"kernel": below, **wanted}, {"kernel": name, **wanted})
        share = f"{100 * found[name] / peak:.1f}"
        rows.append((name, ADDS[name], f"{found[name]:.1f}", text(gain) if gain else "", share))
    return Table(
        ("kernel", "what it adds", f"n = {n} (GFLOP/s)", "times the rung before", "share of the peak (%)"), tuple(rows)
    )


@or_missing
def loop_table(run: Run) -> Table:
    """The innermost loop of the rungs as the compiler wrote it: counted in the machine code of the run."""
    counted = {name: run.meta.get("codegen", {}).get(f"{name}, inner loop") for name in LOOPS}
    if missing := [name for name, found in counted.items() if not found]:
        raise RunError(f"run {run.id} has no counts of the inner loop of {missing[0]}")
    rows = []
    for name, found in counted.items():
        each = f"{found['packed_fma'] / found['reads']:.2f}" if found["reads"] else "no reads"
        shown = (found[what] for what in ("packed_fma", "reads", "spills", "vector_bits"))
        rows.append((name, *map(str, shown), each))
    header = ("kernel", "packed multiply-adds", "reads", "spills", "register (bit)", "multiply-adds per read")
    return Table(header, tuple(rows))


@or_missing
def library_table(run: Run) -> Table:
    """GFLOP/s of the top of the ladder and of every library in the run, and the ratio to the best of them, paired."""
    called = {"block": "float32 called", "scope": "call", "dtype": "float32"}
    found = summary(run, "matmul", **called).set_index(["kernel", "n"])["gflops"]
    names = [name for name in PRODUCTS if name in found]
    if names == ["numpy_matmul"]:
        raise RunError(f"run {run.id} has no library but NumPy, which takes --peers")
    top, rows = _rungs(run)[-1], []
    for n in sorted(found[top].index):
        rates = {name: found[name, n] for name in names}
        best = max(rates, key=rates.get)
        gain = ratio(run, "matmul", *({"kernel": name, "n": n, **called} for name in (best, top)))
        rows.append((str(int(n)), f"{found[top, n]:.1f}", *(f"{rate:.1f}" for rate in rates.values()), text(gain)))
    columns = (f"{name} (GFLOP/s)" for name in (top, *names))
    return Table(("n", *columns, f"time of the best library / {top}"), tuple(rows))


@or_missing
def fit_table(run: Run) -> Table:
    """Exponents with the wider of noise and model interval, Theil-Sen beside them, and the verdict."""
    fits = [(name, matmul_fit(run, name), 3) for name in _rungs(run)]
    fits += [(name, rms_fit(run, name), 1) for name in ("rms_norm_standard", "rms_norm_fast")]
    rows = [
        (
            name,
            str(expected),
            text(f.exponent),
            f"{f.theil_sen.value:.2f}",
            f"{min(f.local):.2f} ... {max(f.local):.2f}",
            f.verdict(expected),
        )
        for name, f, expected in fits
    ]
    return Table(("kernel", "expected", "exponent [95 %]", "Theil-Sen", "local exponents", "verdict"), tuple(rows))


@or_missing
def seed_table(run: Run) -> Table:
    """Published times with half a step of their last digit, and what the same kernel takes here from Python."""
    rows = []
    for _, seed in seed_figures().iterrows():
        topic, tile = ("matmul", DEFAULT_TILE) if seed["kernel"] == "matmul_tiled" else ("rmsnorm", None)
        here = summary(run, topic, kernel=seed["kernel"], n=seed["n"], scope="call", dtype="float32", tile=tile).iloc[0]
        published = f"{seed['time_us']:g} ± {seed['half_step_us']:g}"
        factor = seed["time_us"] * 1e3 / here["ns"]
        rows.append((seed["kernel"], str(seed["n"]), published, f"{here['ns'] / 1e3:.1f}", f"{factor:.1f}"))
    return Table(("kernel", "n", "published (µs)", "here, called from Python (µs)", "published / here"), tuple(rows))


@or_missing
def rms_table(run: Run) -> Table:
    """The compiled RMS norms at the seed's sizes, kernel scope, and the standard one's time over each, paired."""
    rows = []
    for n in RMS_SIZES:
        case = {"n": n, "rows": 1, "scope": "kernel", "dtype": "float32"}
        found = summary(run, "rmsnorm", **case).set_index("kernel")
        names = [name for name in NORMS if name in found.index]
        cells = [_ns(found.loc[name]) for name in names]
        rows.append((str(n), *cells, *(text(rms_ratio(run, n, name)) for name in names[1:])))
    columns = (*(f"{name} (ns)" for name in names), *(f"standard / {name}" for name in names[1:]))
    return Table(("n", *columns), tuple(rows))


def pass_table(n: int = 256) -> Table:
    """What each RMS norm does per element: counted in the uncompiled lane; temporaries by Numba's runtime statistics."""
    rows = []
    for name in ("rms_norm_standard", "rms_norm_fast"):
        kernel = find(name)
        args = kernel.make(n, "float32", np.random.default_rng(0), rows=1)
        seen = count_accesses(kernel.compiled, args)
        rows.append(
            (
                name,
                f"{seen.reads / n:.0f}",
                f"{seen.writes / n:.0f}",
                str(seen.passes),
                f"{count_allocations(kernel.compiled, args):.0f}",
            )
        )
    return Table(("kernel", "reads per element", "writes per element", "passes", "temporary arrays"), tuple(rows))
