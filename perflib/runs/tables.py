"""Read the tables of a run by their descriptions, and refuse rows that no measurement gives.

A row that cannot be is refused with its file, its number and the reason: a field that is not of its column's type, a
round that stands before an earlier one, a case that stands in a round twice, more CPU time than time, a batch that lasts
more than a day, or less than a twentieth of a nanosecond a run.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import RunError
from .columns import Column, schema, topic_columns
from .integrity import MOST_BYTES, MOST_DOCUMENT_BYTES, TOPIC, read_file

COLUMNS = schema("samples")  # further columns are parameters of a topic's kernels
BLOCK_COLUMNS = schema("blocks")
SUMMARY_COLUMNS = schema("summary")
NO_TOPICS = ("blocks", "summary")
"""Names of files of a run that hold something else than the rows of a topic."""
TABLES = {"harness": schema("harness")}  # topics that hold no samples
PLACED = ("process", "placement")
"""Columns of samples that schema 1 does not have: it knew one process, which placed its arrays once."""
PARAMETER = Column("integer")  # one that no description names
HIDDEN = ("floor", "canary")
"""What stands beside the kernels in every table: the loop overhead, and the reference loop."""
UNTOLD = ("cpu_ns", "switches")
"""What a sample lacks where the system does not tell."""
OF_SAMPLE = ("placement", "position", "reps", "elapsed_ns", "cpu_ns", "switches", "compiled")
"""Columns in which two samples of one case and round differ."""
MOST_COLUMNS = 64
CHUNK = 10_000
"""Rows that are text at a time: as text they take twelve times the memory that they take as numbers."""
RUNS_PER_NS = 20
"""An iteration of an empty loop takes a cycle or more, 0.2 ns."""
TICK_NS = 20_000_000
"""Of a clock of CPU time, the coarsest."""
CPU_SHARE, CPU_NS, SELDOM = 1.02, 20_000, 0.2
"""CPU time is read outside of the time: at most one sample in a hundred of a recording exceeds it by so much."""
PLAIN = re.compile(r"(?:[0-9]{0,19}\n)*")


def read_blocks(path: Path, finished: bool = False) -> dict[tuple[str, str, int], int]:
    """Number of rows of each complete block, by topic, block and process; a torn last line of an unfinished run is none."""
    file = path / "blocks.csv"
    if not file.exists():
        return {}
    header, rows, whole = read_rows(file, MOST_DOCUMENT_BYTES)
    if finished and not whole:
        raise RunError(f"{file}: row {len(rows) + 1}: torn, its end of line is missing")
    names = [name for name in BLOCK_COLUMNS if name in header or name != "process"]
    if header != names and (rows or whole):
        raise RunError(f"{file}: row 1: must be {','.join(BLOCK_COLUMNS)}, got {','.join(header)[:80]!r}")
    blocks: dict[tuple[str, str, int], int] = {}
    for number, fields in enumerate(rows, start=2):
        if number == len(rows) + 1 and not whole:
            break
        problems = [BLOCK_COLUMNS[name].problem(text) for name, text in zip(names, fields, strict=False)]
        if len(fields) != len(names) or any(problems):
            raise RunError(f"{file}: row {number}: must be {','.join(names)}; got {','.join(fields)[:200]!r}")
        topic, block, *process, count = fields
        if not TOPIC.fullmatch(topic):
            raise RunError(f"{file}: row {number}: topic must be letters, digits, - and _, got {topic[:80]!r}")
        key = topic, block, int(process[0]) if process else 1
        if key in blocks:
            raise RunError(f"{file}: row {number}: block {block!r} of {topic} stands there twice")
        blocks[key] = int(count)
    return blocks


def read_rows(file: Path, most: int = MOST_BYTES) -> tuple[list[str], list[list[str]], bool]:
    """Header and rows of a CSV file, and whether its last line is whole."""
    lines, whole = _lines(file, most)
    header, *rows = list(lines) or [[]]
    return header, rows, whole


def _lines(file: Path, most: int) -> tuple[Iterator[list[str]], bool]:
    text = read_file(file, most).decode(errors="replace")  # the last character may be torn
    return _parsed(file, text), text.endswith("\n")


def _parsed(file: Path, text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""))
    except csv.Error as problem:
        raise RunError(f"{file}: cannot be read: {problem}") from None


def read_table(
    file: Path, columns: Mapping[str, Column], counts: Mapping[str, int], finished: bool, optional: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows of the complete blocks, whose number `counts` gives; a finished run has no others; `optional` may lack."""
    lines, whole = _lines(file, MOST_BYTES)
    header = next(lines, [])
    columns = _columns(file, header, {k: c for k, c in columns.items() if k in header or k not in optional})
    total, number, chunks = sum(counts.values()), 0, [_typed(file, header, [], columns, 2)]
    further = None if total else next(lines, None)
    while number < total and (rows := list(islice(lines, min(CHUNK, total - number)))):
        number += len(rows)
        if number == total and (further := next(lines, None)) is None and not whole:
            raise RunError(f"{file}: row {total + 1}: torn, its end of line is missing")
        chunks.append(_typed(file, header, rows, columns, number - len(rows) + 2))
    if finished and further is not None:
        raise RunError(f"{file}: row {total + 2}: stands behind the last block")
    table = pd.concat(chunks[1:] or chunks, ignore_index=True)
    present = table["block"].value_counts()
    for block, count in counts.items():
        if (got := int(present.get(block, 0))) != count:
            raise RunError(f"{file}: block {block!r} must have {count} rows, got {got}")
    if "elapsed_ns" in columns:
        told = {name: table[name].astype("int64") for name in UNTOLD if not table[name].hasnans}
        table = table.assign(**told, **{name: 0 for name in PLACED if name not in table})
        _require_possible(file, table)
    return table


def _columns(file: Path, header: Sequence[str], columns: Mapping[str, Column]) -> dict[str, Column]:
    """These columns, then the further ones of the header, which are parameters of the topic's kernels."""
    if missing := [name for name in columns if name not in header]:
        raise RunError(f"{file}: row 1: column {missing[0]!r} missing")
    if len(set(header)) < len(header):
        raise RunError(f"{file}: row 1: a column stands there twice")
    if len(header) > MOST_COLUMNS:
        raise RunError(f"{file}: row 1: must have at most {MOST_COLUMNS} columns, got {len(header)}")
    further = [name for name in header if name not in columns]
    if foreign := [name for name in further if not name.isidentifier() or name.endswith("_ns")]:
        raise RunError(f"{file}: row 1: a column must have the name of a parameter, got {foreign[0][:80]!r}")
    described = topic_columns(file.stem)
    return {**columns, **{name: described.get(name, PARAMETER) for name in further}}


def _typed(
    file: Path, header: Sequence[str], rows: Sequence[Sequence[str]], columns: Mapping[str, Column], first: int
) -> pd.DataFrame:
    """Some rows as numbers and words; `first` is the number of the first of them."""
    values = {}
    for name, content in checked(file, header, rows, columns, first).items():
        if columns[name].kind == "string":
            values[name] = pd.Series(content, dtype="object").astype("str")
        else:
            values[name] = content[0] if columns[name].required else pd.arrays.IntegerArray(*content)
    return pd.DataFrame(values)


def checked(
    file: Path, header: Sequence[str], rows: Sequence[Sequence[str]], columns: Mapping[str, Column], first: int = 2
) -> dict[str, Any]:
    """The columns of some rows, of which `first` is the number of the first: words, or integers and which are missing.

    Raises RunError that names the row, the column and its value where a field is not as its column says.
    """
    for number, fields in enumerate(rows, first):
        if len(fields) != len(header):
            raise RunError(f"{file}: row {number}: must have {len(header)} fields, got {len(fields)}")
    texts = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(header, ())
    values = {}
    for name, column in columns.items():
        values[name] = _words(texts[name], column) if column.kind == "string" else _integers(texts[name], column)
        if values[name] is None:
            place, problem = next((i, p) for i, text in enumerate(texts[name]) if (p := column.problem(text)))
            raise RunError(f"{file}: row {first + place}: {name} {problem}, got {texts[name][place][:80]!r}")
    return values


def _words(texts: Sequence[str], column: Column) -> Sequence[str] | None:
    """A column of words; None where one may not be."""
    return None if any(map(column.problem, set(texts))) else texts


def _integers(texts: Sequence[str], column: Column) -> tuple[np.ndarray, np.ndarray] | None:
    """A column of integers, and which of them are missing, none where they are required; None where one may not be."""
    if not PLAIN.fullmatch("\n".join([*texts, ""])):
        return None
    try:
        values = np.array([int(text or column.minimum) for text in texts], dtype=np.int64)
    except (ValueError, OverflowError):  # a field of two lines, more than a word of the machine
        return None
    empty = np.array([not text for text in texts], dtype=bool)
    is_wrong = (values < column.minimum) | (values > column.maximum) | (empty & column.required)
    return None if is_wrong.any() else (values, empty)


def _require_possible(file: Path, table: pd.DataFrame) -> None:
    """Refuse the first sample that no measurement gives."""
    elapsed, reps, cpu = (table[name].to_numpy(float, na_value=np.nan) for name in ("elapsed_ns", "reps", "cpu_ns"))
    counted = ~table["kernel"].isin(HIDDEN)
    declared = table["threads"].where(counted).groupby(table["block"]).transform("first")
    series = table.groupby(["block", "process"], sort=False).ngroup().to_numpy()
    case = [name for name in table.columns if name not in OF_SAMPLE]
    beyond = (cpu > CPU_SHARE * elapsed + CPU_NS) & (cpu % 10**6 != 0)  # whole milliseconds are those of a clock that ticks
    often = np.bincount(series, beyond, 1) > np.maximum(1, SELDOM * np.bincount(series, minlength=1))
    rules = {
        "takes less than a run of anything does": reps > RUNS_PER_NS * elapsed,
        "has more CPU time than time": cpu > 1.5 * elapsed + TICK_NS,
        "has more CPU time than time, as other samples of its block": beyond & often[series] if len(table) else beyond,
        "has another number of threads than its block": (counted & (table["threads"] != declared)).to_numpy(),
        "stands behind a later round or position of its block": _is_out_of_order(table, series),
        "is a second sample of its case and round": table.duplicated(case).to_numpy(),
    }
    for what, rows in rules.items():
        if rows.any():
            raise RunError(f"{file}: row {int(rows.argmax()) + 2}: {what}")


def _is_out_of_order(table: pd.DataFrame, series: np.ndarray) -> np.ndarray:
    """Whether a sample does not come after the one before it in its series."""
    order = np.argsort(series, kind="stable")
    rounds, positions = (np.diff(table[name].to_numpy()[order]) for name in ("round", "position"))
    late = (np.diff(series[order]) == 0) & ((rounds < 0) | (rounds == 0) & (positions <= 0))
    wrong = np.zeros(len(table), dtype=bool)
    wrong[order[1:][late]] = True
    return wrong
