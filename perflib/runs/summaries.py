"""Summarise the cases of a run, one row each, so that many runs are read without reading their samples.

    summary_rows(run)                       from the samples; `RunWriter.finish` stores them as summary.csv
    read_summary(run.path)                  from summary.csv alone, checked, a hundredth of the time
    summary_of(run)                         from summary.csv, or from the samples of a run that has none

A key of `cases` is the key here too. The limits of the machine are cases of the topic `limits`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import le
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
_PARAMETERS = re.compile(r"\w+=[0-9]{1,18}( \w+=[0-9]{1,18})*")
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
    return _cases(columns_of(run))


def read_summary(path: Path) -> dict[Key, CaseSummary]:
    """The cases of a finished run's folder by their keys; raises as `read_columns`."""
    return _cases(read_columns(path))


def columns_of(run: Run) -> dict[str, list[Any]]:
    """The columns of a run that was opened: of its summary, or of its samples where it has none."""
    if (run.path / FILE).is_file() and not run.has("summary"):
        return read_columns(run.path)
    return _checked(run.path / FILE, summary_rows(run))


def read_columns(path: Path) -> dict[str, list[Any]]:
    """The columns of summary.csv as lists, 5 ms for 900 cases; RunError names a wrong checksum, or a row and its fault."""
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
    return _checked(file, rows)


def _checked(file: Path, rows: list[list[str]]) -> dict[str, list[Any]]:
    """The columns of rows of text, numbers as integers or None."""
    for number, fields in enumerate(rows, start=2):
        if len(fields) != len(SUMMARY_COLUMNS):
            raise RunError(f"{file}: row {number}: must have {len(SUMMARY_COLUMNS)} fields, got {len(fields)}")
    columns: dict[str, list[Any]] = dict(
        zip(SUMMARY_COLUMNS, zip(*rows, strict=True) if rows else [()] * len(SUMMARY_COLUMNS), strict=True)
    )
    for name, column in SUMMARY_COLUMNS.items():
        if column.kind != "string":
            columns[name] = _integers(file, name, columns[name], column)
    for further in dict.fromkeys(columns["parameters"]):
        if further and not _PARAMETERS.fullmatch(further):
            number = _row_of(further, columns["parameters"])
            raise RunError(f"{file}: row {number}: parameters must be name=number with a space between, got {further!r}")
    for state in dict.fromkeys(columns["state"]):
        if state in STATES:
            continue
        number = _row_of(state, columns["state"])
        raise RunError(f"{file}: row {number}: state must be {', '.join(STATES)}; got {state!r}")
    low, median, high = (columns[f"{name}_ps"] for name in ("low", "median", "high"))
    if not (all(map(le, low, median)) and all(map(le, median, high))):
        number, ends = next(
            pair for pair in enumerate(zip(low, median, high, strict=True), start=2) if list(pair[1]) != sorted(pair[1])
        )
        raise RunError(f"{file}: row {number}: low_ps, median_ps, high_ps must rise, got {', '.join(map(str, ends))}")
    return columns


def _row_of(value: Any, values: Sequence[Any]) -> int:
    """The row of a file in which a value stands first; the header is row 1."""
    return 2 + list(values).index(value)


def _integers(file: Path, name: str, texts: Sequence[str], column: Column) -> list[int | None]:
    least, empty = column.minimum, not column.required
    known = {
        t: int(t) if t.isdecimal() and t.isascii() and len(t) < 19 else -1 for t in dict.fromkeys(texts)
    }  # most stand there often
    if empty:
        known[""] = None
    for text, value in known.items():
        if value is not None and value < least:
            requirement = f"{name} must be an integer of at least {least}"
            raise RunError(f"{file}: row {_row_of(text, texts)}: {requirement}, got {text!r}")
    return [known[text] for text in texts]


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
