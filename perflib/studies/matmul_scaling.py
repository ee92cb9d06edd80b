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
    published_table(run)         the published figures beside this run's
    rms_table(run)          standard against fast
    pass_table()            reads, writes, passes and temporaries of the RMS norms: counted, the same everywhere

Where the run lacks a series, the standard sentence stands in the table's place.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ..display.figure import LOOKS, cache_lines, curve, label_ends, level, log_axes, picture, shares
from ..display.table import Table, or_missing
from ..display.text import text
from ..errors import RunError
from ..kernels.catalog import LIBRARY_MATMULS, MATMUL_VARIANTS, TEXTBOOK_VARIANTS, find
from ..kernels.gemm.blocked import default_blocks
from ..kernels.jit.assembly import count_instructions, count_loop
from ..kernels.jit.compile import FASTMATH
from ..runs.grid import GridPoint
from ..runs.queries import peak_gflops, ratio, scaling_rows, select, summary
from ..runs.recorder import Block
from ..runs.store import Run
from .published import fitted, matmul_fit, published_factor, published_figures, published_points, rms_fit

CODEGEN = (*TEXTBOOK_VARIANTS, "rms_norm_fast")
LOOPS = ("matmul_tiled_vectorised", "matmul_ikj", "matmul_register_blocked")
"""Of these the innermost loop is counted alone; further up the micro-kernel is the same."""
ADDS = {
    "matmul_naive": "three loops, one sum",
    "matmul_tiled": "tiles; still down the columns of B",
    "matmul_tiled_vectorised": "inner loop along rows: whole vectors",
    "matmul_ikj": "no tiles, rows of B and C stream",
    "matmul_register_blocked": "a tile of C in registers: loads are shared",
    "matmul_packed": "copies in reading order: no conflicts",
    "matmul": "copies only where they pay",
}


@or_missing
def rate_table(run: Run, sizes: tuple[int, ...] = (64, 128, 256, 512)) -> Table:
    """GFLOP/s of each rung and of each library in the run at a few sizes, and the share of the peak at the last of them."""
    peak, rows = peak_gflops(run).value, []
    for name in (*_variants(run), "numpy_matmul", *(name for name in LIBRARY_MATMULS[1:] if name in _recorded(run))):
        found = summary(run, "matmul", kernel=name, dtype="float32", block="float32 scaling").set_index("n")["gflops"]
        if missing := [n for n in sizes if n not in found]:
            raise RunError(f"run {run.id} has no {name} at n = {missing[0]}")
        shares = [f"{found[n]:.2f}" for n in sizes]
        rows.append((name, *shares, f"{100 * found[sizes[-1]] / peak:.1f}"))
    return Table(("kernel", *(f"n = {n} (GFLOP/s)" for n in sizes), f"share of the peak at {sizes[-1]} (%)"), tuple(rows))


def _recorded(run: Run) -> set[str]:
    """Kernels of the products that are measured against size."""
    return set(select(run.samples("matmul"), block="float32 scaling")["kernel"])


def _variants(run: Run) -> list[str]:
    """Rungs of the ladder in a run: the textbook's, and those above them that it has."""
    return [name for name in MATMUL_VARIANTS if name in {*TEXTBOOK_VARIANTS, *_recorded(run)}]


@or_missing
def gain_table(run: Run, n: int = 512) -> Table:
    """What each rung gained over the one below it, paired, and how much of the peak it reaches."""
    peak, rungs = peak_gflops(run).value, _variants(run)
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
    names = [name for name in LIBRARY_MATMULS if name in found]
    if names == ["numpy_matmul"]:
        raise RunError(f"run {run.id} has no library but NumPy, which takes --peers")
    top, rows = _variants(run)[-1], []
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
    fits = [(name, matmul_fit(run, name), 3) for name in _variants(run)]
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


@picture
def matmul_rates(axes: Axes, run: Run) -> str:
    """GFLOP/s of each rung against n, with the measured peak and the sizes at which three matrices fill a cache."""
    table = summary(run, "matmul", dtype="float32")
    recorded = {*TEXTBOOK_VARIANTS, "numpy_matmul", *table["kernel"]}
    best = {}
    for name in (name for name in (*MATMUL_VARIANTS, *LIBRARY_MATMULS) if name in recorded):
        rows = scaling_rows(table, name, "call" if name in LIBRARY_MATMULS else "kernel")
        best[name] = rows["gflops"].max()
        curve(axes, name, rows["n"], rows["gflops"], rows["low_gflops"], rows["high_gflops"])
    peak = peak_gflops(run)
    level(axes, peak.value, f"multiply-add peak {peak.value:.0f}")
    log_axes(axes, table["n"].unique(), "n (matrices n × n, float32)", "GFLOP/s, one core")
    shares(axes, peak.value, "% of the peak")
    cache_lines(axes, run.machine.data_caches(), lambda size: np.sqrt(size / 12), "3 n² fill", at=0.42)
    label_ends(axes)
    top = max(best, key=best.get)
    return (
        f"GFLOP/s against n: the naive product peaks at {best['matmul_naive']:.1f}, the seed's tiles at "
        f"{best['matmul_tiled']:.1f}, ikj at {best['matmul_ikj']:.1f}, and {LOOKS[top][0]} leads with {best[top]:.0f} "
        f"of a peak of {peak.value:.0f}."
    )


@picture
def matmul_times(axes: Axes, run: Run) -> str:
    """Time of the seed's kernel against n, the fitted line, and what the seed published."""
    fit = matmul_fit(run)
    rows = scaling_rows(summary(run, "matmul", kernel="matmul_tiled", dtype="float32"), "matmul_tiled", "kernel")
    curve(axes, "matmul_tiled", rows["n"], rows["ns"] / 1e3, rows["low_ns"] / 1e3, rows["high_ns"] / 1e3, line="")
    fitted(axes, fit, 1e3)
    seed = published_figures()
    seed = seed[seed["kernel"] == "matmul_tiled"]
    published_points(axes, seed)
    log_axes(axes, rows["n"], "n (matrices n × n, float32, tile 64)", "time of one product (µs)")
    cache_lines(axes, run.machine.data_caches(), lambda size: np.sqrt(size / 12), "3 n² fill")
    axes.legend(loc="upper left")
    return (
        f"Time of matmul_tiled against n with the fitted line of slope {fit.exponent.value:.2f}, and the seed's published "
        f"times at 64, 128 and 256, which lie {published_factor(seed, rows):.1f} times as high."
    )


@picture
def local_exponents(axes: Axes, run: Run) -> str:
    """Exponent between neighbouring sizes: where the curve bends, and at which cache."""
    lowest, highest = {}, {}
    for name in ("matmul_naive", "matmul_tiled", "matmul_ikj"):
        fit = matmul_fit(run, name)
        middles = np.sqrt(np.array(fit.sizes[1:]) * np.array(fit.sizes[:-1]))
        curve(axes, name, middles, np.array(fit.local))
        lowest[name], highest[name] = min(fit.local), max(fit.local)
    axes.axhline(3, color="black", linestyle="--", linewidth=1)
    log_axes(axes, fit.sizes, "n between two neighbouring sizes", "local exponent of n")
    axes.set_yscale("linear")
    cache_lines(axes, run.machine.data_caches(), lambda size: np.sqrt(size / 12), "3 n² fill", at=0.75)
    label_ends(axes)
    name = max(highest, key=highest.get)
    return (
        f"Local exponents scatter around 3, from {min(lowest.values()):.1f} to {max(highest.values()):.1f}; the largest "
        f"belongs to {LOOKS[name][0]}."
    )


def matmul_blocks(quick: bool, libraries: Sequence[str]) -> list[Block]:
    sizes = (16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
    few = (64, 128, 192, 256, 384)
    if quick:
        sizes = (32, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512)
    products = [f"{name}_matmul" for name in libraries]
    blocks = [_ladder("float32 scaling", sizes, "float32", products, 9 if quick else 90)]
    called = tuple(GridPoint(find(k), n, "call") for k in (*MATMUL_VARIANTS, *products) for n in (64, 128, 256))
    blocks.append(Block("matmul", "float32 called", called, 2 if quick else 10))
    blocks.append(_ladder("float64 scaling", few if quick else sizes[::2], "float64", products, 4 if quick else 40))
    beyond = (1024,) if quick else (1536, 2048)
    blocks.append(
        _ladder(
            "float32 beyond", beyond, "float32", products, 2 if quick else 15, MATMUL_VARIANTS[len(TEXTBOOK_VARIANTS) :]
        )
    )
    if not quick:
        blocks.append(_ladder("float32 large", (513, 640, 768, 1024), "float32", products, 60))
    return blocks


def _ladder(
    name: str,
    sizes: tuple[int, ...],
    dtype: str,
    products: Sequence[str],
    budget_s: float,
    rungs: Sequence[str] = MATMUL_VARIANTS,
) -> Block:
    blocks = default_blocks(np.dtype(dtype))._asdict()
    cells = [GridPoint(find(k), n, "kernel", dtype, blocks if "mc" in find(k).tuning else {}) for k in rungs for n in sizes]
    cells += [GridPoint(find(k), n, "call", dtype) for k in products for n in sizes]
    return Block("matmul", name, tuple(cells), budget_s)


def count_code() -> dict[str, dict[str, int]]:
    """Instructions in the machine code of each kernel, float32; the seed's also with sums in the order written."""
    rng = np.random.default_rng(0)
    counts = {}
    for name, suffix, fastmath in (*((k, "", FASTMATH) for k in CODEGEN), ("matmul_tiled", ", strict", set())):
        kernel = find(name)
        args = kernel.unchecked(*kernel.make(8, "float32", rng, **kernel.params), *kernel.tuning.values())
        counts[name + suffix] = count_instructions(kernel.compiled, *args, fastmath=fastmath)
    for name in LOOPS:
        kernel = find(name)
        args = kernel.unchecked(*kernel.make(64, "float32", rng), *kernel.tuning.values())
        counts[f"{name}, inner loop"] = count_loop(kernel.compiled, *args)
    return counts
