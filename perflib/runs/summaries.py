"""Summarise the cases of a run, one row each, so that many runs are read without reading their samples.

    summary_rows(run)                       from the samples; `RunWriter.finish` stores them as summary.csv
    read_summary(run.path)                  from summary.csv alone, checked, a hundredth of the time
    summary_of(run)                         from summary.csv, or from the samples of a run that has none

A key of `cases` is the key here too. The limits of the machine are cases of the topic `limits`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RunError, SampleError
from ..stats import Interval, median_interval
from ..timing.diagnostics import HALF_WIDTH, OFTEN
from .cases import Key, cases_of, topics
from .columns import Column
from .integrity import SUMS, digest
from .queries import CASE, process_medians, topic_prior, work
from .store import SUMMARY_COLUMNS, Run, read_rows

FILE = "summary.csv"
STATES = ("stable", "noisy", "invalid")
PS = 1000
"""Picoseconds of a nanosecond: a thousandth of the shortest run that a clock resolves."""
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
    for topic in [*(["limits"] if run.has("limits") else []), *topics(run)]:
        prior = topic_prior(run, topic)
        for key, samples in cases_of(run, topic).items():
            if (time_ns := interval_of_case(samples, prior)) is None or round(PS * time_ns.value) < 1:
                continue
            amounts = work(run, {**dict.fromkeys(CASE), **dict(key[1])}) or (None, None)
            state = _state(samples, time_ns)
            yield CaseSummary(
                key, time_ns, len(samples["net_ns"]), len(np.unique(samples["process"])), state, *map(_count, amounts)
            )


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
    return "noisy" if time_ns.half_width > HALF_WIDTH or np.mean(samples["switches"] > 0) > OFTEN else "stable"


def _count(amount: Any) -> int | None:
    return None if amount is None else int(amount)


def summary_rows(run: Run) -> list[list[str]]:
    """The fields of summary.csv, a list for each case."""
    return [[str("" if value is None else value) for value in _fields(case)] for case in summaries(run)]


def _fields(case: CaseSummary) -> list[Any]:
    columns = dict(case.key[1])
    further = " ".join(f"{name}={value}" for name, value in columns.items() if name not in _KEY)
    ends = [max(0, round(PS * end)) for end in (case.time_ns.value, case.time_ns.low, case.time_ns.high)]
    counts = [case.samples, case.processes, case.state, case.flops, case.bytes]
    return [case.key[0], *(columns.get(name) for name in _KEY), further, *ends, *counts]


def summary_of(run: Run) -> dict[Key, CaseSummary]:
    """The cases of a run that was opened, by their keys."""
    if (run.path / FILE).is_file() and not run.has("summary"):
        return read_summary(run.path)
    return {case.key: case for case in summaries(run)}


def read_summary(path: Path) -> dict[Key, CaseSummary]:
    """The cases of a finished run's folder by their keys; RunError names a file that differs from its checksum or a row."""
    file = path / FILE
    try:
        content, sums = file.read_bytes(), (path / SUMS).read_text(encoding="utf-8", errors="replace")
    except OSError as problem:
        raise RunError(f"{problem.filename}: cannot be read: {problem.strerror}") from None
    if f"{digest(content)}  {FILE}" not in sums.splitlines():
        raise RunError(f"{file}: checksum differs from {SUMS}; the file was changed after it was recorded")
    header, rows, _ = read_rows(file)
    if header != [*SUMMARY_COLUMNS]:
        raise RunError(f"{file}: row 1: must be {','.join(SUMMARY_COLUMNS)}")
    found = {}
    for number, fields in enumerate(rows, start=2):
        try:
            case = _case(fields)
        except ValueError as problem:
            raise RunError(f"{file}: row {number}: {problem}") from None
        found[case.key] = case
    return found


def _case(fields: list[str]) -> CaseSummary:
    """A row read; ValueError says what is wrong with it."""
    if len(fields) != len(SUMMARY_COLUMNS):
        raise ValueError(f"must have {len(SUMMARY_COLUMNS)} fields, got {len(fields)}")
    named = zip(fields, SUMMARY_COLUMNS.items(), strict=True)
    row = {name: text if column.kind == "string" else _integer(name, text, column) for text, (name, column) in named}
    if row["state"] not in STATES:
        raise ValueError(f"state must be {', '.join(STATES)}; got {row['state']!r}")
    if not row["low_ps"] <= row["median_ps"] <= row["high_ps"]:
        raise ValueError(f"low_ps, median_ps, high_ps must rise, got {row['low_ps']}, {row['median_ps']}, {row['high_ps']}")
    pairs = [(name, row[name]) for name in _KEY if row[name] not in ("", None)]
    for word in row["parameters"].split():
        name, _, value = word.partition("=")
        pairs.append((name, _integer(name, value, Column("integer", required=True))))
    time_ns = Interval(row["median_ps"] / PS, row["low_ps"] / PS, row["high_ps"] / PS, 0.95)
    counts = (row[name] for name in ("samples", "processes", "state", "flops", "bytes"))
    return CaseSummary((row["topic"], tuple(pairs)), time_ns, *counts)


def _integer(name: str, text: str, column: Column) -> int | None:
    if text == "" and not column.required:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 18 or int(text) < column.minimum:
        raise ValueError(f"{name} must be an integer of at least {column.minimum}, got {text!r}")
    return int(text)
