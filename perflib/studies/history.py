"""Show how the times of one machine changed from recording to recording: each case a series, with its steps.

    print(history(["matmul", "rms_norm"]))
    history().figure()

A step comes with its ratio, the commits between which it lies and the versions that changed there. `steps.scan` finds it. A
series without a step is steady only where a step of 5 % would have been found; else it is undecided and says why.

Raises `RunError` where no recording can be read or no recording has a kernel.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec

from ..display.figure import COLOURS, Picture, is_narrow, label_point, most_ticks, picture, plain_ticks
from ..display.table import Answer, Table
from ..display.text import change, duration, how_many, on_one_line, shortened, unit_of
from ..errors import RunError
from ..hardware.facts import Machine, hardware_differences, machine, software
from ..runs.cases import Key, label
from ..runs.store import Run, list_runs, load_run, read_meta
from ..runs.summaries import FILE, CaseSummary, summary_of
from ..stats import Interval
from .drawing import error_bars
from .steps import FALSE_ALARMS, SIDE, Scan, Step, scan

STEP = 0.05
"""The step that a steady series does not have."""
MOST_RECORDINGS = 100
"""The newest ones that are read: the scan of a series looks at every pair of them."""
MOST_DRAWN = 6
PLOT_HEIGHT = 1.7  # inches of one series
VERDICTS = ("changed", "steady", "undecided")
NORMAL = 1.96


@dataclass(frozen=True, eq=False)
class Recording:
    """What a step is named by."""

    id: str
    started: str
    commit: str
    """Of perflib, with `+ changes` where files differed from it; a digest of the package where there is no commit."""
    software: Mapping[str, str]


@dataclass(frozen=True)
class Series:
    """One case over the recordings that have it."""

    key: Key
    recordings: tuple[Recording, ...]
    times: tuple[Interval, ...]
    scan: Scan

    @property
    def name(self) -> str:
        """Topic and case in words."""
        return f"{self.key[0]}: {label(self.key)}"

    @property
    def verdict(self) -> str:
        """One of VERDICTS."""
        return "changed" if self.scan.steps else "steady" if self.scan.detectable <= STEP else "undecided"

    @property
    def reason(self) -> str:
        """Why it is undecided; empty for any other."""
        if self.verdict != "undecided":
            return ""
        if len(self.times) < 2 * SIDE:
            return f"{len(self.times)} recordings, {2 * SIDE} are needed"
        spread, least = (100 * share for share in (self.scan.spread, self.scan.detectable))
        return f"recordings differ by {spread:.2g} %, a step must be {least:.2g} % to be found"

    def between(self, step: Step) -> tuple[Recording, Recording]:
        """The last recording that is certainly before a step, and the first that is certainly after it."""
        return self.recordings[step.earliest - 1], self.recordings[step.latest]


@dataclass(frozen=True, repr=False)
class History(Answer):
    """The recordings of one machine in the order of time."""

    machine: Machine
    recordings: tuple[Recording, ...]
    series: tuple[Series, ...]
    kernels: tuple[str, ...]
    """Those that were named; none for all."""
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> list[Series]:
        """Those with a step, the largest first."""
        return sorted((s for s in self.series if s.scan.steps), key=_size, reverse=True)

    @property
    def headline(self) -> str:
        """The answer in a sentence."""
        counts = Counter(series.verdict for series in self.series)
        judged = sum(len(series.times) >= 2 * SIDE for series in self.series)
        ends = dict.fromkeys(recording.started for recording in (self.recordings[0], self.recordings[-1]))
        words = [f"{how_many(len(self.recordings), 'recording')} of {self.machine.cpu}, {' to '.join(ends)}"]
        words.append(f"{counts['changed']} of {len(self.series)} series have a step, {counts['steady']} are steady")
        words.append(f"{counts['undecided']} undecided")
        chance = f"Without any change about {FALSE_ALARMS * judged:.2g} would show one." if judged else ""
        return on_one_line(f"{words[0]}: {', '.join(words[1:])}. {chance}")

    def table(self) -> Table:
        """A row for each step, the series with the largest first."""
        rows = tuple((s.key[0], label(s.key), *_row(s, step)) for s in self.changed for step in s.scan.steps)
        return Table(("topic", "case", "after / before", "from", "p", "commits", "versions"), rows)

    def cases(self) -> Table:
        """A row for each series: its first and last time, its spread, its verdict."""
        rows = (
            (
                *(s.key[0], label(s.key), str(len(s.times)), duration(s.times[0]), duration(s.times[-1])),
                *(f"{100 * s.scan.spread:.2g} %" if math.isfinite(s.scan.spread) else "", s.verdict, s.reason),
            )
            for s in self.series
        )
        return Table(("topic", "case", "recordings", "first", "last", "spread", "verdict", "why"), tuple(rows))

    def counts(self) -> Table:
        """How many series of each topic changed, stayed steady or are undecided."""
        counts = Counter((s.key[0], s.verdict) for s in self.series)
        rows = ((topic, *(str(counts[topic, v]) for v in VERDICTS)) for topic in dict.fromkeys(t for t, _ in counts))
        return Table(("series of", *VERDICTS), tuple(rows))

    def figure(self) -> Picture:
        """Six series at most: those with the largest steps, then the first ones."""
        return _draw(list(dict.fromkeys([*self.changed, *self.series]))[:MOST_DRAWN])

    def tables(self) -> list[Table]:
        """The steps, then every series where kernels were named, else their number by topic."""
        return [part for part in (self.table(), self.cases() if self.kernels else self.counts()) if part.rows]


def history(kernels: Iterable[str] = (), folders: Sequence[Path] | None = None, cpu: str = "") -> History:
    """The recordings of one machine: this one if it has any, else that of the newest.

    kernels: names of those to show, all by default. folders: of runs, by default all that are listed. cpu: part of the
    name of a machine, as `znver4` of `AMD EPYC (znver4), 2 cores, 16 GiB`; the newest such machine is shown. Left out,
    counted and named: runs of other machines, unfinished or damaged ones, and those of one process and one place.
    """
    runs, notes = _readable(list_runs() if folders is None else folders)
    if not runs:
        raise RunError(" ".join(["no finished recording; record one: perflib record", *notes]))
    here = _chosen([run.machine for run in runs], cpu)
    mine = [run for run in runs if _is_of(run, here)]
    if others := Counter(_name(run.machine) for run in runs if not _is_of(run, here)):
        words = ", ".join(f"{count} of {name}" for name, count in others.items())
        notes.append(f"Recordings of other machines: {words}; --machine NAME shows them.")
    if len(mine) > MOST_RECORDINGS:
        notes.append(f"Only the newest {MOST_RECORDINGS} of {len(mine)} recordings are shown.")
    names, cases = tuple(dict.fromkeys(kernels)), {}
    for run in mine[-MOST_RECORDINGS:]:
        try:
            settings = run.meta["settings"]
            is_coded = isinstance(settings, dict) and settings.get("axes")
            cases[_recording(run)] = {} if is_coded else summary_of(run)
        except RunError as problem:
            notes.append(f"Left out: {problem}.")
    if not cases:
        raise RunError(" ".join(["no recording can be read.", *notes]))
    series = _series(cases, names)
    return History(here, tuple(cases), series, names, tuple(map(on_one_line, notes)))


def _chosen(machines: Sequence[Machine], cpu: str) -> Machine:
    """The newest machine whose name has these words; without any this one if it is there, else the newest."""
    if cpu:
        if known := [one for one in machines if cpu.casefold() in _name(one).casefold()]:
            return known[-1]
        names = ", ".join(dict.fromkeys(map(_name, machines)))
        raise RunError(on_one_line(f"no recording is of a machine {cpu!r}; recorded: {names}"))
    here = machine()
    return here if any(not hardware_differences(one, here) for one in machines) else machines[-1]


def _name(machine: Machine) -> str:
    memory = f", {machine.memory_bytes / 2**30:.0f} GiB" if machine.memory_bytes else ""
    return on_one_line(f"{machine.cpu} ({machine.target}), {machine.logical_cpus} cores{memory}")


def _readable(folders: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Finished runs of several placements by their start, each once, and sentences on the others."""
    runs, notes, left_out = {}, [], Counter()
    for path in folders:
        try:
            meta = read_meta(path)
            if meta["finished"] is None or meta["schema"] < 2:
                left_out["unfinished" if meta["finished"] is None else "of one process and one place"] += 1
                continue
            run = Run(path, meta) if (path / FILE).is_file() else load_run(path)
            run.machine  # noqa: B018  raises where there is none
            runs.setdefault(run.id, run)
        except RunError as problem:
            notes.append(f"Left out: {problem}.")
    notes += [f"{count} {'run is' if count == 1 else 'runs are'} left out, {why}." for why, count in left_out.items()]
    return sorted(runs.values(), key=lambda run: (str(run.meta.get("started")), run.id)), notes


def _is_of(run: Run, here: Machine) -> bool:
    return not hardware_differences(run.machine, here)


def _recording(run: Run) -> Recording:
    code = run.meta["code"] if isinstance(run.meta["code"], dict) else {}
    commit = str(code.get("commit") or f"package {code.get('digest', 'unknown')}")[:16]
    changes = " + changes" if code.get("commit") and code.get("clean") is False else ""
    return Recording(run.id, str(run.meta.get("started") or ""), on_one_line(commit + changes), software(run.machine))


def _series(recordings: Mapping[Recording, Mapping[Key, CaseSummary]], kernels: Sequence[str]) -> tuple[Series, ...]:
    """Every case of the kernels; those of a sweep whose values have codes differ from sweep to sweep and are not here."""
    found: dict[Key, list[tuple[Recording, CaseSummary]]] = defaultdict(list)
    for recording, cases in recordings.items():
        for key, case in cases.items():
            if case.state != "invalid" and case.time_ns.low > 0:
                found[key].append((recording, case))
    known = {case.kernel for cases in found.values() for _, case in cases}
    for name in kernels:
        if name not in known:
            raise RunError(
                on_one_line(f"no recording of this machine has kernel {name!r}; recorded: {', '.join(sorted(known))}")
            )
    chosen = {key: pairs for key, pairs in found.items() if not kernels or pairs[0][1].kernel in kernels}
    return tuple(_one(key, pairs) for key, pairs in chosen.items())


def _one(key: Key, pairs: Sequence[tuple[Recording, CaseSummary]]) -> Series:
    times = tuple(case.time_ns for _, case in pairs)
    errors = [math.log(time.high / time.low) / (2 * NORMAL) for time in times]
    return Series(key, tuple(one for one, _ in pairs), times, scan([math.log(time.value) for time in times], errors))


def _size(series: Series) -> float:
    return max(abs(math.log(step.ratio.value)) for step in series.scan.steps)


def _row(series: Series, step: Step) -> tuple[str, ...]:
    """Ratio, date, p, commits and versions of a step."""
    before, after = series.between(step)
    commits = before.commit if before.commit == after.commit else f"{before.commit}..{after.commit}"
    names = dict.fromkeys([*before.software, *after.software])
    versions = ((name, before.software.get(name), after.software.get(name)) for name in names)
    changed = "; ".join(f"{name} {then} -> {now}" for name, then, now in versions if then != now)
    when = series.recordings[step.place].started
    return f"{step.ratio:.3f}", when, f"{min(step.p, 1.0):.1g}", commits, changed or "none changed"


@picture
def _draw(axes: Axes, shown: Sequence[Series]) -> str:
    figure = axes.figure
    figure.set_figheight(PLOT_HEIGHT * len(shown) + 0.7)
    places = GridSpec(len(shown), 1, figure)
    axes.set_subplotspec(places[0])
    dates = sorted({one.started for series in shown for one in series.recordings})
    plots = [axes, *(figure.add_subplot(places[row], sharex=axes) for row in range(1, len(shown)))]
    for plot, series in zip(plots, shown, strict=True):
        _draw_series(plot, series, {date: number for number, date in enumerate(dates, start=1)})
        plot.tick_params(labelbottom=plot is plots[-1])
    step = 1 + (len(dates) - 1) // most_ticks(axes)
    plots[-1].set_xticks([*range(1, len(dates) + 1)][::step], [date[:10] for date in dates][::step])
    plots[-1].set_xlabel("recording, by its day")
    return (
        f"Times of {len(shown)} cases over {len(dates)} recordings, {sum(len(s.scan.steps) for s in shown)} steps marked."
    )


def _draw_series(axes: Axes, series: Series, places: Mapping[str, int]) -> None:
    """Medians with intervals, the mean of each level, and a line with its ratio at each step."""
    x = np.array([places[one.started] for one in series.recordings])
    unit, factor = unit_of(float(np.median([time.value for time in series.times])))
    times = [time.scaled(1 / factor) for time in series.times]
    values = np.array([time.value for time in times])
    axes.errorbar(x, values, error_bars(times), fmt="o", color=COLOURS[0], label="_measured")
    ends = [0, *(step.place for step in series.scan.steps), len(x)]
    for first, last in zip(ends, ends[1:], strict=False):
        axes.plot(
            x[[first, last - 1]], [float(np.exp(np.log(values[first:last]).mean()))] * 2, color=COLOURS[2], label="_level"
        )
    for step in series.scan.steps:
        place = (x[step.place - 1] + x[step.place]) / 2
        axes.axvline(place, color=COLOURS[1], linestyle="--", linewidth=1, label="_step")
        label_point(
            axes,
            f"{'+' if step.ratio.value > 1 else '-'}{change(abs(step.ratio.value - 1), 1)}",
            (place, values.max()),
            COLOURS[1],
        )
    plain_ticks(axes)
    axes.set_title(shortened(series.name, 60 if not is_narrow(axes) else 40), loc="left", fontsize=9)
    axes.set_ylabel(unit)
    axes.margins(y=0.2)
