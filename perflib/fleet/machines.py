"""Show what many machines say of one question: claims, tiles and shares of each machine's own limits, side by side.

    print(load_fleet("data/fleet"))

A machine's figures are compared inside its run first, and only verdicts and shares stand beside those of others: times are
never pooled. A machine whose comparisons of a kernel with itself or whose reference loop are off is not usable, and only
the reason is shown.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import pandas as pd
import scipy  # loads scipy.stats, half a second, when it is used

from ..display.html import table as html_table
from ..display.table import Table
from ..display.text import change, on_one_line, size_text
from ..errors import RunError, SampleError
from ..files import data_folder
from ..models.tile_choice import model_losses
from ..runs.cases import topics
from ..runs.store import Run, load_run, runs_in
from ..runs.summaries import columns_of, read_columns
from ..stats import Interval
from ..studies.summary import judge_all
from ..studies.timing import self_ratios
from ..sweeps.result import Sweep
from ..timing.diagnostics import CANARY_SPREAD, verdict
from ..timing.measure import MARGIN

JOURNAL = "fleet.json"
"""In the folder of a fleet: what is known of its jobs."""
CHANCE = 0.001
"""Of a sound machine that is called not usable."""
KERNELS = ("matmul", "matmul_tiled_vectorised", "matmul_tiled", "matmul_naive", "rms_norm")


def home_of(folder: str | Path | None) -> Path:
    """The folder of a fleet, by default `fleet` in the data folder."""
    return Path(folder) if folder else data_folder() / "fleet"


def folder_of(fleet: Path, name: str) -> Path:
    """Where the runs of a machine lie; names of any characters have folders of their own."""
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:40].strip("-")
    return fleet / (
        words if words and words == name else f"{words or 'machine'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


@dataclass(frozen=True, eq=False)
class FleetMachine:
    """A machine of a fleet: its newest recording, or why there is none that counts."""

    name: str
    run: Run | None
    problem: str = ""
    note: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether its figures are shown."""
        return self.run is not None and not self.problem

    def facts(self) -> tuple[str, ...]:
        """Name, CPU, cores, caches and state."""
        if self.run is None:
            return self.name, "", "", "", self.problem
        here = self.run.machine
        caches = ", ".join(f"{cache.name} {size_text(cache.size_bytes)}" for cache in here.data_caches()) or "unknown"
        state = self.problem or f"usable: {self.run.id}"
        return self.name, here.cpu, str(here.logical_cpus), caches, state + (f"; {self.note}" if self.note else "")


@dataclass(frozen=True, eq=False)
class Fleet:
    """The machines of a folder."""

    folder: Path
    machines: tuple[FleetMachine, ...]

    @cached_property
    def usable(self) -> list[FleetMachine]:
        """Those whose figures are shown."""
        return [one for one in self.machines if one.is_usable]

    @property
    def headline(self) -> str:
        """How many machines there are, and how many count."""
        return f"{len(self.machines)} machines, {len(self.usable)} usable."

    def facts(self) -> Table:
        """A row for each machine."""
        rows = tuple(tuple(map(on_one_line, one.facts())) for one in self.machines)
        return Table(("machine", "CPU", "cores", "caches", "state"), rows)

    def claims(self) -> Table:
        """Claims by machines, and how many machines agree."""
        judged = [{claim.id: claim for claim in judge_all(one.run)} for one in self.usable]
        rows = []
        for name in dict.fromkeys(name for claims in judged for name in claims):
            verdicts = [claims[name].verdict if name in claims else "" for claims in judged]
            text = next(claims[name].text for claims in judged if name in claims)
            rows.append((name, text, *verdicts, on_most(verdicts)))
        return Table(("id", "claim", *self._names, "in all"), tuple(rows))

    def shares(self) -> Table:
        """The best rate of each kernel as a share of its machine's own multiply-add peak, float32, one thread."""
        shares = [best_shares(one.run) for one in self.usable]
        kernels = [name for name in KERNELS if any(name in one for one in shares)]
        rows = ((name, *(f"{100 * one[name]:.0f} %" if name in one else "" for one in shares)) for name in kernels)
        return Table(("best rate / own peak", *self._names), tuple(rows))

    def tiles(self) -> Table:
        """The best tile at each size, and the model's where that is another one."""
        losses = [_losses(one.run) for one in self.usable]
        rows = []
        for n in sorted({n for one in losses for n in one}):
            cells = [
                (f"{one[n].best}" + (f" (model {one[n].model})" * (one[n].model != one[n].best))) if n in one else ""
                for one in losses
            ]
            rows.append((str(n), *cells))
        return Table(("best tile at n", *self._names), tuple(rows))

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(on_one_line(one.name) for one in self.usable)

    def tables(self) -> list[Table]:
        """Facts, then what the usable machines say."""
        return [part for part in (self.facts(), self.claims(), self.shares(), self.tiles()) if part.rows]

    def __str__(self) -> str:
        return "\n\n".join([self.headline, *map(repr, self.tables())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.headline)}</p>" + "".join(html_table(part.header, part.rows) for part in self.tables())


def load_fleet(folder: str | Path | None = None) -> Fleet:
    """The machines of a fleet's folder, see `home_of`, or of any folder of runs; RunError where it has none."""
    home = home_of(folder)
    entries = _entries(home)
    names = {folder_of(home, name).name: name for name, _ in entries}
    notes = {entry["run"]: str(entry.get("note", "")) for _, entry in entries}
    paths = [path for path in sorted(home.glob("[!.]*")) if path.is_dir()]
    found = [_machine(names.get(path.name, path.name), runs_in(path), notes) for path in paths]
    found = [one for one in found if one] + [_judged(run.name, run, "") for run in runs_in(home)]
    known = {one.name for one in found}
    problems = {name: f"{entry['state']}: {entry['problem']}" for name, entry in entries if entry["state"] != "done"}
    found += [FleetMachine(name, None, problem) for name, problem in problems.items() if name not in known]
    if not found:
        raise RunError(f"{home} has no recordings; record some: perflib fleet record --scheduler ADDRESS")
    return Fleet(home, tuple(found))


def _entries(home: Path) -> list[tuple[str, dict[str, str]]]:
    """Machines of a fleet's journal with what it says of each; none where there is no journal that can be read."""
    try:
        jobs = json.loads((home / JOURNAL).read_text(encoding="utf-8"))["jobs"]
        entries = [(name, entry) for job in jobs.values() for name, entry in job["machines"].items()]
        return [(name, entry) for name, entry in entries if {"state", "run", "problem"} <= entry.keys()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _machine(name: str, runs: list[Path], notes: Mapping[str, str]) -> FleetMachine | None:
    """The newest recording of a machine, sweeps aside."""
    recordings = [path for path in runs if not path.name.endswith("-sweep")]
    return _judged(name, recordings[-1], notes.get(recordings[-1].name, "")) if recordings else None


def _judged(name: str, path: Path, note: str) -> FleetMachine:
    try:
        run = load_run(path)
        return FleetMachine(name, run, not_usable(run), note)
    except RunError as problem:
        return FleetMachine(name, None, f"damaged: {problem}")


def not_usable(run: Run) -> str:
    """Why the figures of a run do not count; empty where they do."""
    if not run.finished:
        return "not usable: unfinished"
    try:
        pairs = self_ratios(run)
    except RunError:
        pairs = []
    wrong = sum(not one.low <= 1 <= one.high for one in pairs)
    if pairs and scipy.stats.binom.sf(wrong - 1, len(pairs), 0.05) < CHANCE:
        return f"not usable: {wrong} of {len(pairs)} comparisons of a kernel with itself find a difference"
    moved = _reference_loop(run)
    if moved > CANARY_SPREAD:
        return f"not usable: the reference loop moved by {change(moved)}, clock frequency or stolen time"
    return ""


def _reference_loop(run: Run) -> float:
    """Spread of the reference loop within a block, from the 10th to the 90th percentile, median over the blocks."""
    rows = pd.concat(
        [samples[samples["kernel"] == "canary"] for samples in map(run.samples, topics(run))] or [pd.DataFrame()]
    )
    if rows.empty:
        return 0.0
    times = rows.assign(ns=rows["elapsed_ns"] / rows["reps"]).groupby("block")["ns"]
    low, middle, high = (times.quantile(q) for q in (0.1, 0.5, 0.9))
    return float(((high - low) / middle).median())


def best_shares(run: Run) -> dict[str, float]:
    """The best rate of each kernel over the sizes, float32, one thread, over the peak of the run's machine."""
    return _shares(columns_of(run))


def _shares(columns: Mapping[str, Sequence]) -> dict[str, float]:
    names = ("kernel", "flops", "median_ps", "dtype", "threads", "state")
    best: dict[str, float] = {}
    for kernel, flops, ps, dtype, threads, state in zip(*(columns[name] for name in names), strict=True):
        if flops and dtype == "float32" and threads == 1 and state != "invalid":
            best[kernel] = max(best.get(kernel, 0.0), flops / ps)
    peak = best.pop("fma_peak", 0.0)
    return {kernel: rate / peak for kernel, rate in best.items()} if peak else {}


def shares_of_many(folders: Iterable[Path]) -> pd.DataFrame:
    """Best rate over own peak, a row for each run and a column for each kernel, from summaries alone: 6 ms for a run.

    Runs without a summary or with a damaged one have an empty row and the reason in the column `problem`.
    """
    rows = {}
    for path in folders:
        try:
            rows[path.name] = {"problem": "", **_shares(read_columns(path))}
        except RunError as problem:
            rows[path.name] = {"problem": str(problem)}
    return pd.DataFrame.from_dict(rows, orient="index")


def _losses(run: Run) -> Mapping[int, object]:
    try:
        return model_losses(run)
    except (RunError, SampleError):
        return {}


def on_most(verdicts: list[str]) -> str:
    """`HOLDS on 11 of 12, UNDECIDED on 1`."""
    counts = Counter(one for one in verdicts if one).most_common()
    return ", ".join(
        f"{name} on {count}" + (f" of {len(verdicts)}" if not place else "") for place, (name, count) in enumerate(counts)
    )


@dataclass(frozen=True, eq=False)
class FleetSweep:
    """A sweep on each machine, or why there is none. `sweeps[name]` is what `perflib.sweep` gives there."""

    sweeps: Mapping[str, Sweep]
    problems: Mapping[str, str]

    def verdicts(self) -> dict[tuple[str, str], dict[str, tuple[Interval, str]]]:
        """By curve and n: on each machine the ratio to the time of the first function, and the verdict."""
        found: dict[tuple[str, str], dict[str, tuple[Interval, str]]] = {}
        for name, one in self.sweeps.items():
            for point in one.points:
                if point.speed_up:
                    ratio = point.speed_up.inverse()
                    found.setdefault((point.curve, str(point.n)), {})[name] = ratio, verdict(ratio, MARGIN, MARGIN)
        return found

    def table(self) -> Table:
        """A row for each curve and n: ratio and verdict on each machine, and how many agree."""
        names, rows = list(self.sweeps), []
        for (curve, n), cells in self.verdicts().items():
            texts = [f"{cells[name][0]:.3f} {cells[name][1]}" if name in cells else "" for name in names]
            rows.append((curve, n, *texts, on_most([cells[name][1] if name in cells else "" for name in names])))
        return Table(("time / first function's", "n", *map(on_one_line, names), "in all"), tuple(rows))

    def __str__(self) -> str:
        problems = [on_one_line(f"{name}: {problem}") for name, problem in self.problems.items()]
        return "\n".join([f"{len(self.sweeps)} machines.", *problems, "", repr(self.table())])

    __repr__ = __str__
