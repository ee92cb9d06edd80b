"""Summarise the cases of a run, one row each, so that many runs are read without reading their samples.

    summary_rows(run)                       from the samples; `RunWriter.finish` stores them as summary.csv
    read_summary(run.path)                  from summary.csv alone, checked, a hundredth of the time
    summary_of(run)                         from summary.csv, or from the samples of a run that has none

A key of `cases` is the key here too. The limits of the machine are cases of the topic `limits`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import le
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RunError, SampleError
from ..stats import Interval, median_interval
from ..timing.diagnostics import HALF_WIDTH, OFTEN, suspended
from .cases import Key, cases_of, label, topics
from .integrity import MOST_DOCUMENT_BYTES, SUMS, digest, read_file
from .queries import CASE, process_medians, topic_prior, work
from .store import Run
from .tables import SUMMARY_COLUMNS, checked, read_rows

FILE = "summary.csv"
PS = 1000
"""Picoseconds of a nanosecond: a thousandth of the shortest run that a clock resolves."""
MOST_PS = SUMMARY_COLUMNS["high_ps"].maximum
"""An interval of few processes may end anywhere."""
_KEY = ("kernel", "scope", "dtype", "n", "tile", "rows", "threads")


@dataclass(frozen=True)
class CaseSummary:
    """One case: its time with the 95 % interval, how often it was measured, its state, its work."""

    key: Key
    time_ns: Interval
    samples: int
    processes: int
    """What the interval rests on: processes, or sessions where the run has several."""
    state: str
    flops: int | None = None
    bytes: int | None = None

    @property
    def kernel(self) -> str:
        """Its name."""
        return str(dict(self.key[1])["kernel"])


def summaries(run: Run) -> Iterator[CaseSummary]:
    """The cases of a run that take time, from its samples, in the order recorded."""
    for topic in _topics(run):
        prior = topic_prior(run, topic)
        for key, samples in cases_of(run, topic).items():
            if not _has_time(time_ns := interval_of_case(samples, prior)):
                continue
            amounts = work(run, {**dict.fromkeys(CASE), **dict(key[1])}) or (None, None)
            state = _state(samples, time_ns)
            yield CaseSummary(
                key, time_ns, len(samples["net_ns"]), len(np.unique(samples["process"])), state, *map(_count, amounts)
            )


def _topics(run: Run) -> list[str]:
    return [*(["limits"] if run.has("limits") else []), *topics(run)]


def _has_time(interval: Interval | None) -> bool:
    return interval is not None and round(PS * interval.value) >= 1


def interval_of_case(samples: Mapping[str, np.ndarray], prior: Any) -> Interval | None:
    """Of several processes by the spread between them, of one by its rounds; None where there is none."""
    medians = process_medians(samples)
    if medians and medians.freedom:
        return medians.interval(prior)
    try:
        return median_interval(samples["net_ns"], serial=True) if medians else None
    except SampleError:
        return None  # too few rounds


def _state(samples: Mapping[str, np.ndarray], time_ns: Interval) -> str:
    if samples["compiled"].any():
        return "invalid"
    elapsed_ns, cpu_ns, switches = (samples[name] for name in ("elapsed_ns", "cpu_ns", "switches"))
    is_paused = suspended(np.maximum(0, elapsed_ns - cpu_ns), cpu_ns, switches).any()
    return "noisy" if is_paused or time_ns.half_width > HALF_WIDTH or np.mean(switches > 0) > OFTEN else "stable"


def _count(amount: Any) -> int | None:
    return None if amount is None else int(amount)


def summary_rows(run: Run) -> list[list[str]]:
    """The fields of summary.csv, a list for each case."""
    return [[str("" if value is None else value) for value in _fields(case)] for case in summaries(run)]


def _fields(case: CaseSummary) -> list[Any]:
    columns = dict(case.key[1])
    further = " ".join(f"{name}={value}" for name, value in columns.items() if name not in _KEY)
    ends = [min(max(0, round(PS * end)), MOST_PS) for end in (case.time_ns.value, case.time_ns.low, case.time_ns.high)]
    counts = [case.samples, case.processes, case.state, case.flops, case.bytes]
    return [case.key[0], *(columns.get(name) for name in _KEY), further, *ends, *counts]


def summary_of(run: Run) -> dict[Key, CaseSummary]:
    """The cases of a run that was opened, by their keys."""
    return _cases(columns_of(run))


def read_summary(path: Path) -> dict[Key, CaseSummary]:
    """The cases of a finished run's folder by their keys; raises as `read_columns`."""
    return _cases(read_columns(path))


def require_summary(run: Run) -> None:
    """Refuse a run whose summary.csv is not one of its samples: other cases, other counts, times that no sample has."""
    if not run.finished or not (run.path / FILE).is_file() or run.has("summary"):
        return
    columns = read_columns(run.path)
    stored, measured = (
        _cases(columns),
        {key: arrays for topic in _topics(run) for key, arrays in cases_of(run, topic).items()},
    )
    if len(stored) < len(columns["topic"]):
        raise RunError(f"{run.path / FILE}: a case stands there twice")
    for number, (key, case) in enumerate(stored.items(), start=2):
        samples = measured.get(key)
        counts = samples and (len(samples["net_ns"]), len(np.unique(samples["process"])))
        if samples is None or (case.samples, case.processes) != counts:
            what = "is of no case" if samples is None else "has another number of samples or processes than its case"
            raise RunError(f"{run.path / FILE}: row {number}: {what} in {key[0]}.csv")
        ends = samples["net_ns"].min() - 1 / PS, samples["net_ns"].max() + 1 / PS
        if not ends[0] <= case.time_ns.value <= ends[1]:
            raise RunError(f"{run.path / FILE}: row {number}: median_ps lies outside of the samples in {key[0]}.csv")
    for key in measured.keys() - stored.keys():
        if _has_time(interval_of_case(measured[key], None)):
            raise RunError(f"{run.path / FILE}: {label(key)} of {key[0]}.csv has no row")


def columns_of(run: Run) -> dict[str, list[Any]]:
    """The columns of a run that was opened: of its summary, or of its samples where it has none."""
    if (run.path / FILE).is_file() and not run.has("summary"):
        return read_columns(run.path)
    return _checked(run.path / FILE, summary_rows(run))


def read_columns(path: Path) -> dict[str, list[Any]]:
    """The columns of summary.csv as lists, 5 ms for 900 cases; RunError names a wrong checksum, or a row and its fault."""
    file = path / FILE
    content, sums = read_file(file), read_file(path / SUMS, MOST_DOCUMENT_BYTES).decode(errors="replace")
    if f"{digest(content)}  {FILE}" not in sums.splitlines():
        raise RunError(f"{file}: checksum differs from {SUMS}; the file was changed after it was recorded")
    header, rows, whole = read_rows(file)
    if not whole:
        raise RunError(f"{file}: row {len(rows) + 1}: torn, its end of line is missing")
    if header != [*SUMMARY_COLUMNS]:
        raise RunError(f"{file}: row 1: must be {','.join(SUMMARY_COLUMNS)}")
    return _checked(file, rows)


def _checked(file: Path, rows: list[list[str]]) -> dict[str, list[Any]]:
    """The columns of rows of text, numbers as integers or None."""
    columns = checked(file, [*SUMMARY_COLUMNS], rows, SUMMARY_COLUMNS)
    for name, column in SUMMARY_COLUMNS.items():
        if column.kind != "string":
            values, empty = (array.tolist() for array in columns[name])
            columns[name] = [None if gone else v for v, gone in zip(values, empty, strict=True)] if any(empty) else values
    low, median, high = (columns[f"{name}_ps"] for name in ("low", "median", "high"))
    if not (all(map(le, low, median)) and all(map(le, median, high))):
        number, ends = next(
            pair for pair in enumerate(zip(low, median, high, strict=True), start=2) if list(pair[1]) != sorted(pair[1])
        )
        raise RunError(f"{file}: row {number}: low_ps, median_ps, high_ps must rise, got {', '.join(map(str, ends))}")
    return columns


def _cases(columns: Mapping[str, Sequence[Any]]) -> dict[Key, CaseSummary]:
    found = {}
    names = (*_KEY, "parameters")
    keys = zip(columns["topic"], *(columns[name] for name in names), strict=True)
    times = zip(*(columns[f"{name}_ps"] for name in ("median", "low", "high")), strict=True)
    others = zip(*(columns[name] for name in ("samples", "processes", "state", "flops", "bytes")), strict=True)
    for (topic, *values, further), ends, counts in zip(keys, times, others, strict=True):
        pairs = [(name, value) for name, value in zip(_KEY, values, strict=True) if value not in ("", None)]
        pairs += [(name, int(value)) for name, _, value in (word.partition("=") for word in further.split())]
        key = topic, tuple(pairs)
        found[key] = CaseSummary(key, Interval(*(end / PS for end in ends), 0.95), *counts)
    return found
