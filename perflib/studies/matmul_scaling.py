"""The study of notebook 02-matmul-scaling: how matrix multiplication grows with n, and what each variant gains."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ..display.figure import LOOKS, Picture, cache_bands, curve, label_ends, level, log_axes, name_above, picture, shares
from ..display.table import Table, or_missing
from ..display.text import text
from ..errors import RunError
from ..kernels.catalog import LIBRARY_MATMULS, MATMUL_VARIANTS, TEXTBOOK_VARIANTS, find
from ..kernels.description import Kernel
from ..kernels.gemm.blocked import default_blocks
from ..kernels.jit.assembly import count_instructions, count_loop
from ..kernels.jit.compile import FASTMATH
from ..runs.grid import GridPoint
from ..runs.queries import peak_gflops, ratio, scaling_rows, select, summary
from ..runs.recorder import Block
from ..runs.store import Run
from .grid_figures import VERDICT_COLUMNS, growth_text, verdict_cells
from .published import (
    fitted,
    growth_picture,
    matmul_fit,
    published_factor,
    published_figures,
    published_points,
    rms_fit,
)

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


def matmul_blocks(quick: bool, libraries: Sequence[str]) -> list[Block]:
    sizes = (16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
    sizes64 = (64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320, 384)  # as many as a verdict needs
    if quick:
        sizes, beyond = (32, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512), (1024,)
    else:
        sizes64, beyond = (16, 32, *sizes64, 448, 512), (1536, 2048)
    matmuls = [f"{name}_matmul" for name in libraries]

    def block(name: str, sizes: Sequence[int], budget_s: float, variants: Sequence[str] = MATMUL_VARIANTS) -> Block:
        dtype = name.split()[0]
        blocks = default_blocks(np.dtype(dtype))._asdict()
        kernels = [(find(k), "kernel", blocks if "mc" in find(k).tuning else {}) for k in variants]
        kernels += [(find(k), "call", {}) for k in matmuls]
        return Block("matmul", name, tuple(GridPoint(k, n, s, dtype, v) for k, s, v in kernels for n in sizes), budget_s)

    called = tuple(GridPoint(find(k), n, "call") for k in (*MATMUL_VARIANTS, *matmuls) for n in (64, 128, 256))
    return [
        block("float32 scaling", sizes, 9 if quick else 90),
        Block("matmul", "float32 called", called, 2 if quick else 10),
        block("float64 scaling", sizes64, 4 if quick else 40),
        block("float32 beyond", beyond, 2 if quick else 15, MATMUL_VARIANTS[len(TEXTBOOK_VARIANTS) :]),
        *([] if quick else [block("float32 large", (513, 640, 768, 1024), 60)]),
    ]


def count_code() -> dict[str, dict[str, int]]:
    """Instructions in the machine code of each kernel, float32; of matmul_tiled also with sums in the order written."""
    rng = np.random.default_rng(0)

    def args(kernel: Kernel, n: int) -> tuple:
        return kernel.unchecked(*kernel.make(n, "float32", rng, **kernel.params), *kernel.tuning.values())

    kernels = [(k, k, FASTMATH) for k in CODEGEN] + [("matmul_tiled, strict", "matmul_tiled", set())]
    counts = {}
    for label, kernel, fastmath in ((label, find(name), flags) for label, name, flags in kernels):
        counts[label] = count_instructions(kernel.compiled, *args(kernel, 8), fastmath=fastmath)
    return counts | {f"{name}, inner loop": count_loop(find(name).compiled, *args(find(name), 64)) for name in LOOPS}


@or_missing
def rate_table(run: Run, sizes: tuple[int, ...] = (64, 128, 256, 512)) -> Table:
    """GFLOP/s of each variant and each library of the run at a few sizes, and the share of the peak at the last of them."""
    peak, rows = peak_gflops(run).value, []
    for name in (*_variants(run), "numpy_matmul", *(name for name in LIBRARY_MATMULS[1:] if name in _recorded(run))):
        rates = summary(run, "matmul", kernel=name, dtype="float32", block="float32 scaling").set_index("n")["gflops"]
        if missing := [n for n in sizes if n not in rates]:
            raise RunError(f"run {run.id} has no {name} at n = {missing[0]}")
        rows.append((name, *(f"{rates[n]:.2f}" for n in sizes), f"{100 * rates[sizes[-1]] / peak:.1f}"))
    return Table(("kernel", *(f"n = {n} (GFLOP/s)" for n in sizes), f"share of the peak at {sizes[-1]} (%)"), tuple(rows))


def _recorded(run: Run) -> set[str]:
    """Kernels of the matrix multiplications that are measured against size."""
    return set(select(run.samples("matmul"), block="float32 scaling")["kernel"])


def _variants(run: Run) -> list[str]:
    """Variants in a run: the textbook's, and those beyond them that it has."""
    return [name for name in MATMUL_VARIANTS if name in {*TEXTBOOK_VARIANTS, *_recorded(run)}]


@or_missing
def gain_table(run: Run, n: int = 512) -> Table:
    """What each variant gained over the one before it, paired, and how much of the peak it reaches."""
    peak, variants = peak_gflops(run).value, _variants(run)
    conditions = {"n": n, "scope": "kernel", "dtype": "float32", "block": "float32 scaling"}
    rates = summary(run, "matmul", **conditions).set_index("kernel")["gflops"]
    rows = []
    for before, name in zip((None, *variants), variants, strict=False):
        gain = before and ratio(run, "matmul", {"kernel": before, **conditions}, {"kernel": name, **conditions})
        share = f"{100 * rates[name] / peak:.1f}"
        rows.append((name, ADDS[name], f"{rates[name]:.1f}", text(gain) if gain else "", share))
    header = ("kernel", "what it adds", f"n = {n} (GFLOP/s)", "times the variant before", "share of the peak (%)")
    return Table(header, tuple(rows))


@or_missing
def loop_table(run: Run) -> Table:
    """The innermost loop of the variants as the compiler wrote it: counted in the machine code of the run."""
    counts = {name: run.meta.get("codegen", {}).get(f"{name}, inner loop") for name in LOOPS}
    if missing := [name for name, count in counts.items() if not count]:
        raise RunError(f"run {run.id} has no counts of the inner loop of {missing[0]}")
    rows = []
    for name, count in counts.items():
        each = f"{count['packed_fma'] / count['reads']:.2f}" if count["reads"] else "no reads"
        rows.append((name, *(str(count[what]) for what in ("packed_fma", "reads", "spills", "vector_bits")), each))
    header = ("kernel", "packed multiply-adds", "reads", "spills", "register (bit)", "multiply-adds per read")
    return Table(header, tuple(rows))


@or_missing
def library_table(run: Run) -> Table:
    """GFLOP/s of the last variant and of every library in the run, and the ratio to the best of them, paired."""
    called = {"block": "float32 called", "scope": "call", "dtype": "float32"}
    gflops = summary(run, "matmul", **called).set_index(["kernel", "n"])["gflops"]
    names = [name for name in LIBRARY_MATMULS if name in gflops]
    if names == ["numpy_matmul"]:
        raise RunError(f"run {run.id} has no library but NumPy, which takes --peers")
    top, rows = _variants(run)[-1], []
    for n in sorted(gflops[top].index):
        rates = {name: gflops[name, n] for name in names}
        best = max(rates, key=rates.get)
        gain = ratio(run, "matmul", *({"kernel": name, "n": n, **called} for name in (best, top)))
        rows.append((str(int(n)), f"{gflops[top, n]:.1f}", *(f"{rate:.1f}" for rate in rates.values()), text(gain)))
    columns = (f"{name} (GFLOP/s)" for name in (top, *names))
    return Table(("n", *columns, f"time of the best library / {top}"), tuple(rows))


@or_missing
def fit_table(run: Run, dtype: str = "float32") -> Table:
    """How every variant and norm grows against its counted work, with one straight line's exponents beside it."""
    fits = [(name, matmul_fit(run, name, dtype), 3) for name in _variants(run)]
    fits += [(name, rms_fit(run, name, dtype), 1) for name in ("rms_norm_standard", "rms_norm_fast")]
    rows = tuple((name, growth_text(expected), *verdict_cells(fit, expected)) for name, fit, expected in fits)
    return Table(("kernel", "expected", *VERDICT_COLUMNS), rows)


@or_missing
def matmul_growth(run: Run, kernel: str = "matmul_tiled") -> Picture:
    """Time per unit of work of a matrix multiplication against n, with levels, steps, odd sizes and the sentence on S1."""
    return growth_picture(run, matmul_fit(run, kernel), kernel, 3)


def _mark_caches(axes: Axes, run: Run) -> None:
    """Bands up to the sizes at which three float32 matrices fill a cache."""
    cache_bands(axes, run.machine.data_caches(), lambda size: np.sqrt(size / 12), "3 n² fit")


@picture
def matmul_rates(axes: Axes, run: Run) -> str:
    """GFLOP/s of each variant against n, with the measured peak and the sizes at which three matrices fill a cache."""
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
    _mark_caches(axes, run)
    label_ends(axes)
    top = max(best, key=best.get)
    return (
        f"GFLOP/s against n: naive peaks at {best['matmul_naive']:.1f}, tiles as published at "
        f"{best['matmul_tiled']:.1f}, ikj at {best['matmul_ikj']:.1f}, and {LOOKS[top][0]} leads with {best[top]:.0f} "
        f"of a peak of {peak.value:.0f}."
    )


@picture
def matmul_times(axes: Axes, run: Run) -> str:
    """Time of the original engine's kernel against n, the fitted line, and what was published."""
    fit = matmul_fit(run)
    rows = scaling_rows(summary(run, "matmul", kernel="matmul_tiled", dtype="float32"), "matmul_tiled", "kernel")
    curve(axes, "matmul_tiled", rows["n"], rows["ns"] / 1e3, rows["low_ns"] / 1e3, rows["high_ns"] / 1e3, line="")
    fitted(axes, fit, 1e3)
    published = published_figures("matmul_tiled")
    published_points(axes, published)
    log_axes(axes, rows["n"], "n (matrices n × n, float32, tile 64)", "time of one multiplication (µs)")
    _mark_caches(axes, run)
    name_above(axes)
    return (
        f"Time of matmul_tiled against n with its fit, exponent {fit.exponent.value:.2f}, and the published "
        f"times at 64, 128 and 256, which lie {published_factor(published, rows):.1f} times as high."
    )
