"""Read runs: a folder of plain CSV files, one row per timed sample; refuse a damaged or foreign folder.

    load_run("latest").samples("matmul")
    load_run("latest").table("harness")

A run is `run.json` (what, where, with which settings), `<topic>.csv` (samples, or one of TABLES), `blocks.csv` (a line for
each block that is complete) and, once finished, `summary.csv` (a row for each case) and `SHA256SUMS`. Its processes belong
to sessions, recordings of one plan spread in time. Rows come in the order of the blocks; what follows the last
complete block of a topic belongs to an unfinished one and does not count. `writer` writes this. Nothing is ever unpickled.

Raises `RunError`, one line that names the file, the row and the reason.
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ..display.html import table
from ..display.text import aligned, on_one_line
from ..errors import RunError
from ..files import data_folder, reference_folder
from ..hardware.facts import Machine
from .columns import Column, schema, topic_columns
from .integrity import damage, foreign_link

SCHEMA = 2
READABLE = (1, 2)
"""Schema 1: one process, which placed its arrays once; its samples have neither of the columns of PLACED."""
PLACED = ("process", "placement")
COLUMNS = schema("samples")  # further columns are parameters of a topic's kernels
BLOCK_COLUMNS = schema("blocks")
SUMMARY_COLUMNS = schema("summary")
NO_TOPICS = ("blocks", "summary")
"""Names of files of a run that hold something else than the rows of a topic."""
TABLES = {"harness": schema("harness")}  # topics that hold no samples
PARAMETER = Column("integer")  # one that no description names


@dataclass(frozen=True, eq=False)
class Run:
    """One recorded run. `samples(topic)` is its tidy table; `meta` is run.json."""

    path: Path
    meta: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the folder."""
        return self.path.name

    def __repr__(self) -> str:
        state = "" if self.finished else ", unfinished"
        topics = ", ".join(dict.fromkeys(topic for topic, _ in self.blocks)) or "nothing yet"
        return on_one_line(f"run {self.id}: {self.meta['command']} of {self.meta.get('started', '')}{state}: {topics}")

    @property
    def finished(self) -> bool:
        """Whether every planned block was recorded."""
        return self.meta["finished"] is not None

    @property
    def draws_placements(self) -> bool:
        """Whether the arrays got a new place in every round; if not, its intervals hold for one place and one process."""
        return self.meta["schema"] > 1

    @cached_property
    def machine(self) -> Machine:
        """The machine that the run was recorded on."""
        try:
            return Machine.from_dict(self.meta["machine"])
        except (KeyError, TypeError) as problem:
            raise RunError(f"{self.path / 'run.json'}: machine: {problem}") from None

    @cached_property
    def sessions(self) -> dict[int, int]:
        """The session of each process, both from 1; one session where the run notes none."""
        try:
            return {one["process"]: one.get("session", 1) for one in self.meta.get("processes", ())}
        except (AttributeError, KeyError, TypeError):
            raise RunError(f"{self.path / 'run.json'}: processes must each have a number") from None

    @cached_property
    def blocks(self) -> dict[tuple[str, str], int]:
        """Complete blocks: (topic, block) and the number of their rows, those of all processes together."""
        rows = Counter()
        for (topic, block, _), count in read_blocks(self.path).items():
            rows[topic, block] += count
        return dict(rows)

    def has(self, topic: str) -> bool:
        """Whether at least one block of the topic was recorded."""
        return any(t == topic for t, _ in self.blocks)

    def samples(self, topic: str) -> pd.DataFrame:
        """All samples of a topic's complete blocks, in the order they were taken; see data/datapackage.json.

        `process` is the process that took a sample, and its session where the run has several: sessions differ by more than
        the processes of one, so they are what an interval rests on.
        """
        return self._read(topic, COLUMNS)

    def table(self, topic: str) -> pd.DataFrame:
        """A topic of TABLES: the rows of its complete blocks, in the order they were written."""
        if topic not in TABLES:
            raise ValueError(f"topic must be one of {', '.join(TABLES)}; got {topic!r}")
        return self._read(topic, TABLES[topic])

    def _read(self, topic: str, columns: Mapping[str, Column]) -> pd.DataFrame:
        key = topic, *columns
        if key not in self._cached:
            if not self.has(topic):
                recorded = sorted({t for t, _ in self.blocks})
                raise RunError(f"run {self.id} has no {topic!r}; recorded: {', '.join(recorded) or 'nothing'}")
            counts = {block: rows for (t, block), rows in self.blocks.items() if t == topic}
            table = _read_table(self.path / f"{topic}.csv", columns, counts)
            if "process" in table and len({*self.sessions.values()}) > 1:
                table["process"] = [self.sessions.get(process, 1) for process in table["process"]]
            self._cached[key] = table
        return self._cached[key]

    @cached_property
    def _cached(self) -> dict[tuple[str, ...], pd.DataFrame]:
        return {}


class Runs(list[Path]):
    """Folders of runs; shows itself as a table."""

    def __repr__(self) -> str:
        rows = [(path.name, *_facts(path)) for path in self]
        return aligned([("run", "started", "command", "state"), *rows]) if rows else "no runs"

    def _repr_html_(self) -> str:
        rows = [(path.name, *_facts(path)) for path in self]
        return table(("run", "started", "command", "state"), rows) if rows else "no runs"


def _facts(path: Path) -> tuple[str, str, str]:
    """When a run was started, by which command, and whether it is complete."""
    try:
        meta = read_meta(path)
    except RunError:
        return "", "", "cannot be read"
    return str(meta.get("started", "")), str(meta["command"]), "unfinished" if meta["finished"] is None else "finished"


def list_runs() -> Runs:
    """Folders of the committed and of the recorded runs, oldest first within each."""
    return Runs([*runs_in(reference_folder()), *recorded_runs()])


def recorded_runs() -> list[Path]:
    """Folders of the runs recorded here, oldest first."""
    return runs_in(data_folder() / "runs")


def without_sweeps(runs: Iterable[Path]) -> list[Path]:
    """Those of them that are recordings of a machine."""
    return [path for path in runs if not path.name.endswith("-sweep")]


def runs_in(folder: Path) -> list[Path]:
    """Folders of the runs in a folder, oldest first."""
    return [file.parent for file in sorted(folder.glob("*/run.json"))]


def load_run(run: str | Path | None = None) -> Run:
    """Open a run by id, by path, or `latest` (recorded, sweeps aside); by default PERFLIB_RUN, else the newest reference.

    A finished run is checked against its checksums, an unfinished one offers its complete blocks.
    """
    path = _find(run)
    if problem := foreign_link(path):
        raise RunError(problem)
    meta = read_meta(path)
    if meta["finished"] is not None and (problem := damage(path)):
        raise RunError(problem)
    return Run(path, meta)


def _find(run: str | Path | None) -> Path:
    origin = ""
    if run is None and (run := os.environ.get("PERFLIB_RUN") or None):
        origin = "PERFLIB_RUN: "
    if run is None:
        if committed := runs_in(reference_folder()):
            return committed[-1]
        raise RunError(f"no reference run in {reference_folder()}; record one: perflib record")
    if run == "latest":
        if recorded := without_sweeps(recorded_runs()):
            return recorded[-1]
        raise RunError(f"{origin}no recorded run yet; record one: perflib record --quick")
    if paths := [path for path in list_runs() if path.name == str(run)]:
        return paths[0]
    if (Path(run) / "run.json").is_file():
        return Path(run)
    names = ", ".join(path.name for path in list_runs()) or "none"
    raise RunError(f"{origin}no run {str(run)!r}; recorded: {names}")


def read_meta(path: Path) -> dict[str, Any]:
    """Contents of a run's run.json."""
    file = path / "run.json"
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise RunError(f"{file}: cannot be read: {problem}") from None
    schema = meta.get("schema") if isinstance(meta, dict) else type(meta).__name__
    if schema not in READABLE:
        raise RunError(f"{file}: schema must be {' or '.join(map(str, READABLE))}, got {schema!r}")
    if missing := {"finished", "command", "settings", "machine", "code"} - meta.keys():
        raise RunError(f"{file}: {', '.join(sorted(missing))} missing")
    return meta


def read_blocks(path: Path) -> dict[tuple[str, str, int], int]:
    """Number of rows of each complete block, by topic, block and process; a torn last line does not count."""
    file = path / "blocks.csv"
    if not file.is_file():
        return {}
    header, rows, whole = read_rows(file)
    blocks = {}
    for number, fields in enumerate(rows, start=2):
        last = number == len(rows) + 1
        numbers = [int(field) for field in fields[2:] if field.isdecimal()]
        if len(fields) == len(header) and len(numbers) == len(fields) - 2 and (whole or not last):
            blocks[fields[0], fields[1], numbers[0] if len(numbers) > 1 else 1] = numbers[-1]
        elif not last:
            raise RunError(f"{file}: row {number}: must be {','.join(header)}; got {','.join(fields)!r}")
    return blocks


def read_rows(file: Path) -> tuple[list[str], list[list[str]], bool]:
    """Header and rows of a CSV file, and whether its last line is whole."""
    try:
        text = file.read_bytes().decode(errors="replace")  # the last character may be torn
        header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    except (OSError, csv.Error) as problem:
        raise RunError(f"{file}: cannot be read: {getattr(problem, 'strerror', None) or problem}") from None
    return header, rows, text.endswith("\n")


def _read_table(file: Path, columns: Mapping[str, Column], counts: Mapping[str, int]) -> pd.DataFrame:
    """The rows of the complete blocks, whose number `counts` gives."""
    header, rows, whole = read_rows(file)
    columns = {name: column for name, column in columns.items() if name in header or name not in PLACED}
    if missing := [name for name in columns if name not in header]:
        raise RunError(f"{file}: row 1: column {missing[0]!r} missing")
    if len(set(header)) < len(header):
        raise RunError(f"{file}: row 1: a column stands there twice")
    total = sum(counts.values())
    if len(rows) == total and not whole:
        raise RunError(f"{file}: row {total + 1}: torn, its end of line is missing")
    for number, fields in enumerate(rows[:total], start=2):
        if len(fields) != len(header):
            raise RunError(f"{file}: row {number}: must have {len(header)} fields, got {len(fields)}")
    table = pd.DataFrame(rows[:total], columns=header, index=range(2, min(total, len(rows)) + 2), dtype="object")
    for block, count in counts.items():
        if (got := int((table["block"] == block).sum())) != count:
            raise RunError(f"{file}: block {block!r} must have {count} rows, got {got}")
    described = topic_columns(file.stem)
    columns = {**columns, **{name: described.get(name, PARAMETER) for name in header if name not in columns}}
    table = table[[*columns]]
    for name, column in columns.items():
        table[name] = table[name].astype("str") if column.kind == "string" else _integers(file, table[name], column)
    return table.assign(**{name: 0 for name in PLACED if "elapsed_ns" in table and name not in table}).reset_index(
        drop=True
    )


def _integers(file: Path, texts: pd.Series, column: Column) -> pd.Series:
    """The column as integers; its index is the row in the file."""
    digits = texts.str.fullmatch("[0-9]{1,18}").astype(bool)
    values = texts.where(digits, "0").astype("int64")
    empty = texts == ""
    allowed = digits & (values >= column.minimum) | (empty & (not column.required))
    if not allowed.all():
        row = allowed.idxmin()
        requirement = f"{texts.name} must be an integer of at least {column.minimum}"
        raise RunError(f"{file}: row {row}: {requirement}, got {texts[row]!r}")
    return values if column.required else values.astype("Int64").mask(empty)
