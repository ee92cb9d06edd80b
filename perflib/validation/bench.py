"""Compare the fast kernels with other libraries and this machine: ratios in one process, each with its interval.

Public functions are compared in `call` scope, `out` preallocated on both sides; against the machine `kernel` scope counts.
Every result is checked against its float64 oracle before it is timed. One thread on both sides unless the row says more;
libraries that are not installed are named, and figures that need them are None. Raises `PerflibError`, `WrongResult`.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from threadpoolctl import threadpool_info

from ..display.progress import progress_bar, step
from ..display.table import Table
from ..errors import PerflibError, ReportError
from ..files import REPORTS, replace_text
from ..hardware.facts import machine
from ..kernels.peers import LIBRARIES, installed
from ..runs.writer import measuring_lock
from ..stats import Interval
from . import bench_kernels
from .bench_decoder import BANDWIDTH, CLOSURE, GENERATION, PROMPT, QUANTISED, forward_steps
from .bench_kernels import (
    ALL_SIZES,
    BEST,
    BLOCKS,
    COPY,
    CORE,
    DOUBLE,
    DOUBLE_BEST,
    FUSED,
    LAYER,
    LIBRARY,
    ODD,
    PEAK,
    STACK,
    STANDARD,
    THREADS,
    TORCH,
    TRANSPOSED,
)
from .head_to_head import Row
from .scorecard import Score, Scorecard, at_least

HANDICAPS = (
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS"),
    *("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES"),
)
WITHOUT = "PERFLIB_BENCH_WITHOUT"
"""Set by the command line for the process that it starts anew: the variables that it left out."""
SAVED = REPORTS / "bench"

Choice = Callable[[Sequence[Row]], list[Row]]
"""Which rows count in a figure."""


@dataclass(frozen=True)
class Figure:
    """One number out of many rows, and the target that it should meet; `then` is the next target."""

    key: str
    what: str
    reach: float
    then: float
    rows: Choice
    combine: Callable[[Sequence[float]], float] = min

    def value(self, rows: Sequence[Row]) -> float | None:
        """None where there are no such rows."""
        ratios = [row.ratio for row in self.rows(rows)]
        return self.combine(ratios) if ratios else None

    def interval(self, rows: Sequence[Row]) -> Interval | None:
        """The value with its interval; None where there are no such rows.

        Its ends are the same mean or minimum of the rows' ends: it covers the figure where each row's interval is right.
        """
        chosen = self.rows(rows)
        columns = ([row.ratio for row in chosen], [row.low for row in chosen], [row.high for row in chosen])
        return Interval(*map(self.combine, columns), 0.95) if chosen else None

    def score(self, rows: Sequence[Row]) -> Score:
        """The value beside its target."""
        value = self.value(rows)
        text = "" if value is None else f"{value:.3f}"
        return at_least(self.reach, "≥ {:.2f}").score(self.what, value, text, f"{self.then:.2f}")


def _of(what: str, least: int = 0, **columns: str) -> Choice:
    """Rows of a kind, from a size upwards, with these values in their columns."""
    return lambda rows: [
        r for r in rows if vars(r).items() >= {"what": what, **columns}.items() and (not least or r.n >= least)
    ]


def _against_all(least: int = 0, what: str = BEST) -> Choice:
    """Rows of a kind against the best library; none unless every library took part, for else it is not the best of them."""

    def choose(rows: Sequence[Row]) -> list[Row]:
        peers = {r.peer for r in rows if r.what == LIBRARY}
        return _of(what, least)(rows) if peers >= {f"{name}_matmul" for name in LIBRARIES} else []

    return choose


def _share_ahead(ratios: Sequence[float]) -> float:
    """Which part of the ratios is at least 1."""
    return sum(ratio >= 1 for ratio in ratios) / len(ratios)


_MEAN = geometric_mean
_EVERY = _against_all(16, ALL_SIZES)
FIGURES = (
    Figure("matmul_vs_best_geomean", "matmul / best of NumPy, MKL, PyTorch", 1.0, 1.05, _against_all(), _MEAN),
    Figure("matmul_vs_best_min", "the same, worst size from 64 up", 0.93, 1.0, _against_all(64)),
    Figure("matmul_vs_numpy_geomean", "matmul / NumPy", 1.0, 1.05, _of(LIBRARY, peer="numpy_matmul"), _MEAN),
    Figure("matmul_of_peak_min_from_96", "matmul / multiply-add peak, worst size from 96 up", 0.88, 0.95, _of(PEAK, 96)),
    Figure("odd_shapes_vs_numpy_geomean", "odd and skinny shapes / NumPy", 0.90, 1.0, _of(ODD), _MEAN),
    Figure("matmul_f64_vs_numpy_geomean", "float64 matmul / NumPy", 0.95, 1.0, _of(DOUBLE), _MEAN),
    Figure("matmul_f64_vs_best_min", "float64 matmul / best, worst from 64 up", 1.0, 1.03, _against_all(64, DOUBLE_BEST)),
    Figure("every_size_share_ahead", "share of all sizes with matmul ahead", 0.95, 1.0, _EVERY, _share_ahead),
    Figure("every_size_min", "matmul / best, worst of all sizes from 16 up", 0.95, 1.0, _EVERY),
    Figure("llm_shapes_vs_best_geomean", "LLM shapes / best", 1.05, 1.2, _against_all(what=LAYER), _MEAN),
    Figure("llm_shapes_vs_best_min", "LLM shapes / best, worst", 0.9, 1.0, _against_all(what=LAYER)),
    Figure("transposed_vs_best_min", "A^T B and A B^T / best, worst", 0.95, 1.0, _against_all(what=TRANSPOSED)),
    Figure("batched_small_vs_numpy", "stacks of 8 x 8 to 32 x 32 / NumPy, worst", 2.0, 4.0, _of(STACK)),
    Figure("two_threads_speedup", "two threads / one", 1.8, 1.95, _of(THREADS)),
    Figure("", "blocks by the model / best of a sweep, worst", 0.97, 0.99, _of(BLOCKS)),
    Figure("rms_of_in_core_bound", "RMS norm in L1 / 1.5 cycles per 16 elements", 0.6, 0.75, _of(CORE)),
    Figure("rms_of_copy_bandwidth", "RMS norm, rows in memory / copy bandwidth", 0.90, 0.97, _of(COPY)),
    Figure("rms_top_vs_standard_min", "RMS norm / standard, worst of 512, 1024, 2048", 3, 5, _of(STANDARD)),
    Figure("rms_vs_torch_min", "RMS norm from Python / PyTorch, worst of 512 to 4096", 5, 10, _of(TORCH)),
    Figure("fused_residual_gain", "residual fused / add, then norm", 1.10, 1.20, _of(FUSED)),
    Figure("decode_of_bandwidth", "generation 110M, weights / best read bandwidth", 0.85, 0.9, _of(BANDWIDTH)),
    Figure("decode_vs_torch_15m", "generation 15M / PyTorch", 1.0, 1.05, _of(GENERATION, n="15M")),
    Figure("decode_vs_torch_110m", "generation 110M / PyTorch", 1.05, 1.1, _of(GENERATION, n="110M")),
    Figure("prefill_vs_torch_min", "prompt of 128 / PyTorch, worse of 15M and 110M", 1.2, 1.3, _of(PROMPT)),
    Figure("q8_vs_f32_decode", "generation 110M, Q8_0 / float32", 2.5, 3.0, _of(QUANTISED)),
    Figure("forward_closure", "parts of a pass / the whole", 0.97, 0.99, _of(CLOSURE)),
)
"""In the order of the table; the one without a key is shown and not in the summary."""


@dataclass(frozen=True)
class Bench(Scorecard):
    """What was found."""

    header = "times as fast", "found", "target", "next target", "verdict"
    machine: Mapping[str, Any]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    quick: bool

    @property
    def summary(self) -> dict[str, float | None]:
        """The figures by key, None where a library is absent that they need."""
        return {figure.key: figure.value(self.rows) for figure in FIGURES if figure.key}

    @property
    def complete(self) -> bool:
        """Whether every figure was measured, on every size."""
        return not self.quick and all(score.met is not None for score in self.scores())

    def scores(self) -> tuple[Score, ...]:
        """The figures; above 1 is faster."""
        return tuple(figure.score(self.rows) for figure in FIGURES)

    def results(self) -> Table:
        """The figures that were measured, each with its interval."""
        intervals = ((figure.what, figure.interval(self.rows)) for figure in FIGURES)
        return Table(("times as fast", "ratio [95 %]"), tuple((what, f"{ratio:.3f}") for what, ratio in intervals if ratio))

    def details(self) -> Table:
        """Every row with its interval."""
        header = "what", "kernel", "peer", "n", "dtype", "threads", "times as fast [95 %]"
        intervals = (f"{row.ratio:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in self.rows)
        facts = (map(str, (row.what, row.kernel, row.peer, row.n, row.dtype, row.threads)) for row in self.rows)
        return Table(header, tuple((*cells, interval) for cells, interval in zip(facts, intervals, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a program that reads on."""
        return {"machine": dict(self.machine), "rows": [asdict(row) for row in self.rows], "summary": self.summary}

    def __str__(self) -> str:
        return "\n".join((repr(self.details()), "", repr(self.results()), "", *self.notes))

    def save(self, folder: Path = SAVED) -> Path:
        """Write what is printed (.txt) and the data (.json) into a folder, by default `reports/bench`; return the .json.

        A quick bench is named `quick`, any other one `full`: neither replaces the other.
        """
        file = folder / f"{'quick' if self.quick else 'full'}.json"
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(file.with_suffix(".txt"), f"{self}\n\n{self.table()!r}\n")
        replace_text(file, json.dumps({**self.to_dict(), "notes": self.notes, "quick": self.quick}, indent=1) + "\n")
        return file


def load_bench(file: Path = SAVED / "full.json") -> Bench:
    """The bench that `Bench.save` wrote, by default the last full one; ReportError where it cannot be read."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        rows = tuple(Row(**row) for row in data["rows"])
        return Bench(data["machine"], rows, tuple(data["notes"]), data["quick"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ReportError(f"{file} holds no bench ({type(problem).__name__}); `make bench` measures one") from None


def handicaps(environment: Mapping[str, str]) -> dict[str, str]:
    """What is set there and would make a library run on less than this machine has."""
    return {name: environment[name] for name in HANDICAPS if environment.get(name)}


def bench(quick: bool = False, progress: bool = True) -> Bench:
    """Measure every row; `quick`: fewer sizes and less time for each, every kind of row all the same."""
    if variables := handicaps(os.environ):
        raise PerflibError(f"{', '.join(variables)} must not be set before NumPy is loaded: it holds a rival back")
    libraries, rows = installed(), []
    with measuring_lock():
        here = machine()
        steps = [*bench_kernels.plan(quick, tuple(libraries), here), *forward_steps(quick, tuple(libraries))]
        with progress_bar(len(steps), progress) as bar:
            for what, measure in steps:
                with step(bar, what):
                    rows += measure()
        blas = _blas()
        notes = tuple(_notes(libraries, blas, bench_kernels.calls_ns(libraries), quick))
    facts = here.to_dict() | {"libraries": libraries, "blas": blas, "left_out": os.environ.get(WITHOUT, "")}
    facts["date"] = datetime.now(UTC).date().isoformat()
    return Bench(facts, tuple(rows), notes, quick)


def _blas() -> list[dict[str, str]]:
    """The BLAS libraries in this process but SciPy's own, and for which core they chose their code."""
    facts = ("internal_api", "version", "architecture", "threading_layer")
    libraries = [b for b in threadpool_info() if b["user_api"] == "blas" and "scipy.libs" not in b["filepath"]]
    return [{name: str(one[name]) for name in facts if one.get(name)} for one in libraries]


def _notes(
    libraries: Mapping[str, str], blas: Iterable[Mapping[str, str]], calls: Mapping[str, float], quick: bool
) -> Iterable[str]:
    yield "Versions: " + ", ".join(f"{LIBRARIES[name]} {version}" for name, version in libraries.items()) + "."
    for one in blas:
        core = f"took its code for {one['architecture']}" if "architecture" in one else "does not tell for which core"
        yield f"BLAS: {one['internal_api']} {one['version']} {core}."
    if absent := [name for key, name in LIBRARIES.items() if key not in libraries]:
        yield f"Not installed, and left out: {', '.join(absent)}; `make bench` installs the extra `peers`."
    if variables := os.environ.get(WITHOUT):
        yield f"Measured without {variables}, which the environment sets and which would hold a library back."
    times = ", ".join(f"{LIBRARIES[name]} {ns:.0f} ns" for name, ns in calls.items())
    yield f"The call alone, by a multiplication of 1 x 1: {times}" + ("; MKL through ctypes." if "mkl" in calls else ".")
    if quick:
        yield "quick: fewer sizes, and less time for each."
