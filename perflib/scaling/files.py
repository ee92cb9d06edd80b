"""Read sizes and times that another tool wrote: CSV, pyperf, google/benchmark, pytest-benchmark, or records.

    read_curves("sort.csv")         a column of sizes, one of times; another column of names gives a curve for each name
    read_curves("bench.json")       the size is the number in a benchmark's name that takes the most values
    read_curves("curves.json")      a list of records with sizes, times and unit

Repetitions of a size stay apart: the fit takes them as rounds. Times become nanoseconds; a time without a unit is in
seconds, as in timeit. Raises `SampleError` with the file's name where a file is none of these.
"""

import csv
import gzip
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SampleError

UNITS = {
    1.0: ("ns", "nanosecond", "nanoseconds", "nsec"),
    1e3: ("us", "µs", "μs", "microsecond", "microseconds", "usec"),
    1e6: ("ms", "millisecond", "milliseconds", "msec"),
    1e9: ("", "s", "sec", "secs", "second", "seconds"),
}
NANOSECONDS = {name: factor for factor, names in UNITS.items() for name in names}
UNKNOWN = {"arbitrary", "cycles", "ticks"}  # counted as nanoseconds: an exponent needs no unit
SIZE = "size sizes n input_size problem_size problem length len elements items count num_elements"
TIME = "time times real_time elapsed elapsed_time wall wall_time walltime runtime duration median mean seconds t cpu_time"
UNIT = "unit time_unit units"
NO_CURVE = "round rounds rep reps repetition repetitions repetition_index iteration iterations loops loop run sample trial"
NO_CURVE += " seed warmup index id date timestamp"
NUMBER = re.compile(r"\d+(?:\.\d+)?")
SUMMARIES = ("median", "mean", "stddev", "cv", "BigO", "RMS")


@dataclass(frozen=True)
class Curve:
    """Times of one function: `times_ns` has one for each of `sizes`, or rows of rounds; a size may occur more than once."""

    name: str
    sizes: tuple[float, ...]
    times_ns: tuple[Any, ...]


def read_curves(path: str | Path, unit: str | None = None) -> list[Curve]:
    """Read every curve of a file, in the order of the file; unit: of times that name none."""
    path = Path(path)
    if unit is not None and unit not in NANOSECONDS:
        raise SampleError(f"unit is {unit!r}; give one of ns, us, ms, s")
    raw = path.read_bytes()
    try:
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
        curves = list(_parse(text, unit))
    except SampleError as problem:
        raise SampleError(f"{path.name}: {problem}") from None
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, csv.Error):
        raise SampleError(f"{path.name} is no text; give CSV or JSON") from None
    if not curves:
        raise SampleError(f"{path.name} has no times; give sizes with a time each")
    return curves


def _parse(text: str, unit: str | None) -> Iterator[Curve]:
    if text.lstrip()[:1] not in ("{", "["):
        return _from_csv(text, unit)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as problem:
        raise SampleError(f"is no JSON: {problem}") from None
    if isinstance(data, list):
        return _from_records(data, unit)
    if "sizes" in data:
        return _from_records([data], unit)
    if not isinstance(data.get("benchmarks"), list):
        raise SampleError("has neither benchmarks nor records with sizes and times; give one of them")
    return _from_names(_named(data))


def _from_records(records: Sequence[Any], unit: str | None) -> Iterator[Curve]:
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict) or not all(isinstance(record.get(key), list) for key in ("sizes", "times")):
            raise SampleError(f"record {number} must be an object with the lists sizes and times")
        name = str(record.get("name", record.get("id", number)))
        factor = _factor(record.get("unit", unit), name)
        sizes = tuple(_number(n, f"{name}: a size") for n in record["sizes"])
        yield Curve(name, sizes, tuple(_scaled(t, factor, name) for t in record["times"]))


def _scaled(time: Any, factor: float, name: str) -> Any:
    """A time, or a round of them; null is a size not measured in the round."""
    if isinstance(time, list):
        return tuple(_scaled(one, factor, name) for one in time)
    return float("nan") if time is None else factor * _number(time, f"{name}: a time")


def _from_csv(text: str, unit: str | None) -> Iterator[Curve]:
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows = [row for row in lines if any(row.values())]
    columns = [name for name in lines.fieldnames or () if name]
    plain = {name: _words(name) for name in columns}
    size = _column("size", SIZE, columns, plain)
    time = _column("time", TIME, [name for name in columns if name != size], plain)
    unit_column = next((name for name in columns if plain[name][0] in UNIT.split()), None)
    names = _naming(rows, [name for name in columns if name not in (size, time, unit_column)], plain, size)
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number, row in enumerate(rows, start=2):
        own = row[unit_column] if unit_column else plain[time][1] or unit
        n, t = (_number(row[name], f"row {number}: {name}") for name in (size, time))
        name = ", ".join(" ".join(str(row[group]).split()) for group in names) or size
        points[name].append((n, t * _factor(own, f"row {number}")))
    return (Curve(name, *zip(*pairs, strict=True)) for name, pairs in points.items())


def _words(column: str) -> tuple[str, str]:
    """A column's name without its unit, in small letters, and the unit: `Real Time (ms)` is real_time and ms."""
    words = re.sub(r"[^\wµμ]+", "_", column.strip().lower()).strip("_").split("_")
    unit = words[-1] if words[-1] in NANOSECONDS else ""
    return ("_".join(words[:-1]) or "time" if unit else "_".join(words)), unit


def _column(what: str, known: str, columns: Sequence[str], plain: Mapping[str, tuple[str, str]]) -> str:
    """The first of the known names that a column has; a column that has a unit is one of times, too."""
    by_name = {plain[name][0]: name for name in reversed(columns)}
    with_unit = [name for name in columns if plain[name][1]] if what == "time" else []
    found = [by_name[name] for name in known.split() if name in by_name] + with_unit
    if not found:
        raise SampleError(f"has no column of the name {what}; its columns are {', '.join(columns) or 'none'}")
    return found[0]


def _naming(rows: Sequence[Mapping[str, str]], columns: Sequence[str], plain: Mapping, size: str) -> list[str]:
    """The columns whose values tell curves apart: texts that vary, and whole numbers each of which has three sizes.

    Where none does, the first text that is the same in every row names the one curve.
    """
    names, same = [], []
    for column in columns:
        by_value = defaultdict(set)
        for row in rows:
            by_value[row[column]].add(row[size])
        if plain[column][0] in NO_CURVE.split():
            continue
        numbers = [value for value in by_value if _is_number(value)]
        is_whole = all(re.fullmatch(r"\s*-?\d+\s*", value) for value in numbers)
        is_grid = is_whole and min(map(len, by_value.values())) >= 3
        if len(numbers) < len(by_value) or is_grid:
            (names if len(by_value) > 1 else same).append(column)
    return names or [column for column in same if not _is_number(rows[0][column])][:1]


def _is_number(text: str | None) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _named(data: Mapping[str, Any]) -> Iterator[tuple[str, list[float]]]:
    """Name and nanoseconds of each benchmark of pyperf, google/benchmark or pytest-benchmark."""
    summaries: dict[str, list[float]] = {}
    singles: dict[str, list[float]] = defaultdict(list)
    for number, one in enumerate(data["benchmarks"], start=1):
        one = one if isinstance(one, dict) else {}
        where = f"benchmark {one.get('name', number)}"
        if "runs" in one:
            name = {**data.get("metadata", {}), **one.get("metadata", {})}.get("name", "")
            values = [value for run in one["runs"] for value in run.get("values", ())]
            singles[str(name)] += [1e9 * _number(value, where) for value in values]
        elif isinstance(one.get("stats"), dict):
            values = one["stats"].get("data") or [one["stats"].get("median")]
            singles[str(one.get("fullname", where))] += [1e9 * _number(value, where) for value in values]
        elif one.get("error_occurred") or one.get("skipped"):
            continue
        elif "real_time" in one:
            name, kind = _run_name(one)
            time = _number(one["real_time"], where) * _factor(one.get("time_unit", "ns"), where)
            if not kind:
                singles[name].append(time)
            elif kind == "median" or (kind == "mean" and name not in summaries):
                summaries[name] = [time]
        elif "rms" not in one and "big_o" not in one:
            raise SampleError(f"{where} has neither runs nor stats nor real_time; write it with pyperf or google/benchmark")
    return iter((singles or summaries).items())


def _run_name(one: Mapping[str, Any]) -> tuple[str, str]:
    """The name of a google/benchmark without, and the kind of, its summary: median, mean, stddev, BigO; else empty."""
    name = str(one.get("name", ""))
    kind = next((kind for kind in SUMMARIES if name.endswith(f"_{kind}")), "")
    if one.get("run_type") == "iteration":  # older versions do not say
        kind = ""
    return name.removesuffix(f"_{kind}"), str(one.get("aggregate_name", kind))


def _from_names(benchmarks: Iterable[tuple[str, list[float]]]) -> Iterator[Curve]:
    """Curves of names that differ in their numbers only; what is no size stays in the curve's name."""
    shapes: dict[str, list[tuple[list[str], list[float]]]] = defaultdict(list)
    for name, times in benchmarks:
        shapes[NUMBER.sub("\0", name)].append((NUMBER.findall(name), times))
    for shape, members in shapes.items():
        at = _size_places([numbers for numbers, _ in members], shape.replace("\0", "#"))
        points: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for numbers, times in members:
            rest = iter("n" if place in at else number for place, number in enumerate(numbers))
            name = re.sub("\0", lambda _, rest=rest: next(rest), shape)
            points[name] += [(float(numbers[at[0]]), time) for time in times]
        for name, pairs in points.items():
            yield Curve(name, *zip(*pairs, strict=True))


def _size_places(numbers: Sequence[Sequence[str]], shape: str) -> list[int]:
    """Places of the size among the numbers of a name: those that take the most values, all the same ones."""
    columns = list(zip(*numbers, strict=True))
    if not columns:
        raise SampleError(f"{shape!r} names no size; give each benchmark a name with its size, as in sort/1024")
    most = max(len(set(column)) for column in columns)
    places = [place for place, column in enumerate(columns) if len(set(column)) == most]
    if most > 1 and len({columns[place] for place in places}) > 1:
        raise SampleError(f"{shape!r}: two numbers take {most} values each; give a CSV with the column size")
    return places if most > 1 else places[-1:]


def _factor(unit: Any, where: str) -> float:
    """Nanoseconds of a unit."""
    name = "" if unit is None else str(unit).strip()
    if name.lower() in UNKNOWN:
        return 1.0
    if name.lower() not in NANOSECONDS:
        raise SampleError(f"{where}: the unit is {name!r}; give one of ns, us, ms, s")
    return NANOSECONDS[name.lower()]


def _number(value: Any, where: str) -> float:
    """Any finite number or not: what cannot be is refused by the fit, which knows the size."""
    try:
        return float(str(value).replace("_", "") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        raise SampleError(f"{where} is {value!r}; give a number") from None
