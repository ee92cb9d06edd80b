"""The study of notebook 09-machines: what many machines say of one question, side by side.

    print(load_fleet("data/fleet"))                 the machines of a fleet, or of any folder of runs
    known_machines(load_run(), "my-runs")           with those of data/reference; works with one

A machine's figures are compared inside its run first, and only verdicts and shares stand beside those of others: times are
never pooled. A machine whose comparisons of a kernel with itself or whose reference loop are off is not usable, and only
the reason is shown. A machine is the same one by its hardware, and its newest run that counts speaks for it.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy  # loads scipy.stats, half a second, when it is used
from matplotlib.axes import Axes

from ..display.figure import COLOURS, LOOKS, MARKERS, label_ends, level, most_ticks, name_above, picture
from ..display.table import Answer, Table
from ..display.text import change, how_many, on_one_line, shortened, size_text
from ..display.ticks import size_ticks
from ..errors import RunError, SampleError
from ..files import data_folder
from ..hardware.facts import hardware_differences, software
from ..kernels.caches import FLOAT32_BYTES
from ..kernels.gemm.textbook import DEFAULT_TILE
from ..models.cache_model import tile_limit
from ..models.geometry_counts import Counts
from ..models.tile_choice import default_losses, model_losses
from ..runs.cases import topics
from ..runs.columns import document, field_problem
from ..runs.compare import require_plausible
from ..runs.integrity import MOST_DOCUMENT_BYTES, read_file
from ..runs.store import Run, load_run, runs_in, without_sweeps
from ..runs.summaries import columns_of, read_columns
from ..timing.diagnostics import CANARY_SPREAD
from .drawing import error_bars, log_scales
from .memory import latency_curve
from .summary import judge_all
from .tile_size import MOST_LOSS
from .timing import self_ratios

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


@dataclass(frozen=True, eq=False, repr=False)
class Fleet(Answer):
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
        return f"{how_many(len(self.machines), 'machine')}, {len(self.usable)} usable."

    @property
    def notes(self) -> tuple[str, ...]:
        """What so few machines, or machines so much alike, cannot show."""
        caches = {tuple(cache.size_bytes for cache in one.run.machine.data_caches()) for one in self.usable}
        if len(self.usable) < 2:
            return ("One machine shows neither where a claim stops to hold nor what moves with its caches: add a second.",)
        return ("All caches have the same sizes here: nothing shows what moves with them.",) if len(caches) < 2 else ()

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

    def differences(self) -> Table:
        """What is not the same on all usable machines: hardware, then software and recordings."""
        facts = [dict(_facts(one.run)) for one in self.usable]
        names = dict.fromkeys(name for one in facts for name in one)
        rows = [(name, *(on_one_line(one.get(name, "")) for one in facts)) for name in names]
        return Table(("what differs", *self._names), tuple(row for row in rows if len(set(row[1:])) > 1))

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(on_one_line(one.name) for one in self.usable)

    def tables(self) -> list[Table]:
        """Facts, then what the usable machines say, then where they differ."""
        parts = (self.facts(), self.claims(), self.shares(), self.tiles(), self.differences())
        return [part for part in parts if part.rows]


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    here = run.machine
    yield from {"CPU": here.cpu, "cores": str(here.logical_cpus), "ISA": " ".join(here.isa)}.items()
    yield from ((cache.name, str(cache)) for cache in here.data_caches())
    yield "memory", size_text(here.memory_bytes) if here.memory_bytes else "unknown"
    yield from software(here).items()
    yield from (("recorded", str(run.meta.get("started"))[:10]), ("recording", str(run.meta["command"])))


def load_fleet(folder: str | Path | None = None) -> Fleet:
    """The machines of a fleet's folder, see `home_of`, or of any folder of runs; RunError where it has none."""
    home = home_of(folder)
    return Fleet(home, _named([*_members(home), *_by_hardware(_newest_first(home))], home))


def known_machines(run: Run, *folders: str | Path) -> Fleet:
    """The machine of a run, those of folders of runs or of fleets, and those of data/reference; works with one."""
    homes = [*map(Path, folders), data_folder() / "reference"]
    members = [one for home in homes[:-1] for one in _members(home) if not one.run or one.run.id != run.id]
    first, *others = _by_hardware([run, *(path for home in homes for path in _newest_first(home))])
    others = [one for one in others if not any(_is_same(one.run, other.run) for other in members)]
    return Fleet(homes[0], _named([first, *members, *others], homes[0]))


def _named(machines: Iterable[FleetMachine], home: Path) -> tuple[FleetMachine, ...]:
    """At least one machine, each with a name of its own: from the second on with a number."""
    found: dict[str, FleetMachine] = {}
    for one in machines:
        names = (f"{one.name} ({number})" if number > 1 else one.name for number in count(1))
        name = next(name for name in names if name not in found)
        found[name] = replace(one, name=name)
    if not found:
        raise RunError(f"{home} has no recordings; record some: perflib fleet record --scheduler ADDRESS")
    return tuple(found.values())


def _members(home: Path) -> list[FleetMachine]:
    """The machines of a fleet, each with a folder of its own, and those that the journal knows to have no recording."""
    entries = _entries(home)
    names = {folder_of(home, name).name: name for name, _ in entries}
    notes = {entry["run"]: entry.get("note", "") for _, entry in entries}
    paths = [path for path in sorted(home.glob("[!.]*")) if path.is_dir()]
    found = [_machine(names.get(path.name, path.name), runs_in(path), notes) for path in paths]
    members = [one for one in found if one]
    problems = {name: f"{entry['state']}: {entry['problem']}" for name, entry in entries if entry["state"] != "done"}
    known = {one.name for one in members}
    return members + [FleetMachine(name, None, problem) for name, problem in problems.items() if name not in known]


def _is_same(one: Run | None, other: Run | None) -> bool:
    return bool(one and other) and not hardware_differences(one.machine, other.machine)


def _newest_first(home: Path) -> list[Path]:
    return without_sweeps(runs_in(home))[::-1]


def _by_hardware(runs: Iterable[Run | Path]) -> list[FleetMachine]:
    """A machine for each kind of hardware, called by its CPU: of its runs, the newest first, the first that counts."""
    found: list[FleetMachine] = []
    for one in map(_opened, runs):
        same = next((place for place, other in enumerate(found) if _is_same(one.run, other.run)), None)
        if same is not None and found[same].is_usable:
            continue
        one = _judged(one)
        if same is None:
            found.append(one)
        elif one.is_usable:
            found[same] = one
    return found


def _opened(run: Run | Path) -> FleetMachine:
    """A run by the CPU of its machine, or by its own name where it cannot be read."""
    try:
        run = load_run(run) if isinstance(run, Path) else run
        return FleetMachine(on_one_line(run.machine.cpu), run)
    except RunError as problem:
        return FleetMachine(run.name, None, f"damaged: {problem}")


def _entries(home: Path) -> list[tuple[str, dict[str, str]]]:
    """Machines of a fleet's journal with what it says of each; none where there is no journal that can be read."""
    try:
        jobs = read_journal(home)["jobs"]
    except RunError:
        return []
    return [(name, entry) for job in jobs.values() for name, entry in job["machines"].items()]


def read_journal(home: Path) -> dict[str, Any]:
    """What a fleet's journal says, no jobs where there is none; RunError for one that is not as described."""
    file = home / JOURNAL
    if not os.path.lexists(file):
        return {"jobs": {}}
    try:
        content = document(read_file(file, MOST_DOCUMENT_BYTES))
    except (ValueError, RecursionError) as problem:
        raise RunError(f"{file}: cannot be read: {problem}") from None
    if problem := field_problem(content, "fleet"):
        raise RunError(f"{file}: cannot be read: {problem}")
    return content


def _machine(name: str, runs: list[Path], notes: Mapping[str, str]) -> FleetMachine | None:
    """The newest recording of a machine, sweeps aside."""
    recordings = without_sweeps(runs)
    if not recordings:
        return None
    return replace(_judged(_opened(recordings[-1])), name=name, note=notes.get(recordings[-1].name, ""))


def _judged(one: FleetMachine) -> FleetMachine:
    """With the reason why its run does not count, if that can be read."""
    try:
        return replace(one, problem=not_usable(one.run)) if one.run else one
    except RunError as problem:
        return replace(one, run=None, problem=f"damaged: {problem}")


def not_usable(run: Run) -> str:
    """Why the figures of a run do not count, empty where they do; RunError where they cannot be."""
    if not run.finished:
        return "not usable: unfinished"
    require_plausible(run, needs_peak=False)
    try:
        pairs = self_ratios(run)
    except RunError:
        pairs = ()
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


@picture
def shares_figure(axes: Axes, fleet: Fleet) -> str:
    """The best rate of each kernel as a share of its machine's own peak, a mark for each machine."""
    shares = {one.name: best_shares(one.run) for one in fleet.usable}
    kernels = [name for name in reversed(KERNELS) if any(name in one for one in shares.values())]
    if not kernels:
        raise RunError("no usable machine has a peak and a kernel to compare with it")
    for number, (name, one) in enumerate(shares.items()):
        places = [place for place, kernel in enumerate(kernels) if kernel in one]
        look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "linestyle": ""}
        axes.plot([100 * one[kernels[place]] for place in places], places, label=shortened(name), markersize=7, **look)
    axes.set_yticks(range(len(kernels)), [LOOKS[k][0] if k.startswith("matmul") else "RMS norm" for k in kernels])
    axes.set(xlabel="best rate, % of the machine's own peak (float32, one core)", xlim=(0, 105))
    axes.set_ylim(-0.5, len(kernels) - 0.5)
    name_above(axes)
    best = kernels[-1]
    values = {name: 100 * one[best] for name, one in shares.items() if best in one}
    low, high = (end(values, key=values.get) for end in (min, max))
    words = f" and {values[high]:.0f} % on {high}" if len(values) > 1 else ""
    return f"Of its machine's peak, {LOOKS[best][0]} reaches {values[low]:.0f} % on {low}{words}."


@picture
def bends(axes: Axes, fleet: Fleet) -> str:
    """Latency over that in the first level, against the working set; the reported end of each L2 is dotted."""
    sentences = []
    for number, one in enumerate(fleet.usable):
        try:
            rows = latency_curve(one.run)
        except RunError:
            continue
        colour, rise = COLOURS[number % len(COLOURS)], rows["ns"] / rows["ns"].iloc[0]
        look = {"color": colour, "marker": MARKERS[number % len(MARKERS)], "label": shortened(one.name)}
        axes.errorbar(rows["bytes"], rise, **look)
        for end in (cache.size_bytes for cache in one.run.machine.data_caches() if cache.level == 2):
            axes.axvline(end, color=colour, linestyle=":", linewidth=1.2, label="_end of L2")
            half, twice = np.interp([end / 2, 2 * end], rows["bytes"], rise)
            sentences.append(f"{half:.1f} to {twice:.1f} times on {one.name} (L2 {size_text(end)})")
    if not axes.containers:
        raise RunError("no usable machine has its latency recorded")
    log_scales(axes, "working set", "latency / latency in the first level")
    low, high = axes.get_xlim()
    size_ticks(axes.xaxis, [2**k for k in range(8, 36, 2) if low <= 2**k <= high], most_ticks(axes), size_text)
    label_ends(axes)
    return f"From half to twice its L2 the latency rises from {'; from '.join(sentences) or 'nothing known'}."


@picture
def tile_64(axes: Axes, counts: Counts, fleet: Fleet) -> str:
    """What tile 64 costs beside the best one, against the rows that L1 holds: counted, and measured on each machine."""
    best = counts.best()
    rows = [
        tile_limit(n, FLOAT32_BYTES, counts.geometries[name][0])
        for name, n in best[["geometry", "n"]].itertuples(index=False)
    ]
    look = {"color": "#767676", "marker": ".", "linestyle": ""}
    axes.plot(rows, best["loss_of_64"], label=f"counted: {len(counts.geometries)} geometries", **look)
    for number, one in enumerate(fleet.usable):
        try:
            losses, first = default_losses(one.run), one.run.machine.data_caches()[0]
        except (RunError, SampleError, IndexError):
            continue
        fitting = [tile_limit(n, FLOAT32_BYTES, first) for n in losses]
        look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "linestyle": ""}
        values = [loss.value for loss in losses.values()]
        axes.errorbar(fitting, values, error_bars(losses.values()), label=f"measured: {shortened(one.name)}", **look)
    log_scales(axes, "rows of a tile that L1 holds without evicting each other", "cost of tile 64 / cost of the best tile")
    axes.axvline(DEFAULT_TILE, color="black", linestyle="--", linewidth=1, label="_64 rows")
    level(axes, MOST_LOSS, f"right: up to {MOST_LOSS}", at=0.02)
    name_above(axes)
    fits = np.array(rows) >= DEFAULT_TILE
    right = best["loss_of_64"].to_numpy() <= MOST_LOSS
    return (
        f"Tile 64 is right in {right[fits].sum()} of {fits.sum()} cases where 64 rows fit into L1 and in "
        f"{right[~fits].sum()} of {(~fits).sum()} where they do not; at worst it costs "
        f"{best['loss_of_64'].max():.1f} times the best."
    )


def tile_64_table(counts: Counts) -> Table:
    """At each n: on how many geometries tile 64 is right, and the model's tile, both up to a cost of 5 % more."""
    rows = []
    for n, at_n in counts.best().groupby("n"):
        pairs = ((at_n[f"loss_of_{which}"] <= MOST_LOSS, at_n[f"loss_of_{which}"].max()) for which in ("64", "model"))
        rows.append(
            (str(n), *(cell for right, worst in pairs for cell in (f"{right.sum()} of {len(right)}", f"{worst:.2f}")))
        )
    header = (
        "n",
        "64 is right on",
        "worst cost of 64 / best",
        "the model's is right on",
        "worst cost of the model's / best",
    )
    return Table(header, tuple(rows))
