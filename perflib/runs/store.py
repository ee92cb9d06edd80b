"""Read runs: a folder of plain CSV files, one row per timed sample; refuse a damaged or foreign folder.

    load_run("latest").samples("matmul")
    load_run("latest").table("harness")

A run is `run.json` (what, where, with which settings), `<topic>.csv` (samples, or one of TABLES), `blocks.csv` (a line for
each block that is complete) and, once finished, `summary.csv` (a row for each case) and `SHA256SUMS`. Its processes belong
to sessions, recordings of one plan spread in time. Rows come in the order of the blocks; what follows the last
complete block of a topic belongs to an unfinished one and does not count. `writer` writes this. Nothing is ever unpickled.

Raises `RunError`, one line that names the file, the row and the reason.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..display.html import table
from ..display.text import aligned, on_one_line, shortened
from ..errors import RunError
from ..files import data_folder, reference_folder
from ..hardware.facts import Machine
from ..kernels.catalog import KERNELS
from .columns import Column, document, field_problem
from .integrity import MOST_DOCUMENT_BYTES, read_file, require_sound, require_unchanged
from .tables import COLUMNS, OF_SAMPLE, PLACED, TABLES, read_blocks, read_table

SCHEMA = 2
READABLE = (1, 2)
"""Schema 1: one process, which placed its arrays once; its samples have neither of the columns of PLACED."""
MOST_CACHE_BYTES = {1: 4 << 20, 2: 256 << 20}
"""By level; of those beyond 4 GiB. The models count every set and line of a cache."""
MOST_RATE = 1e6
"""GFLOP/s or GB/s: hundreds of times what a core of any machine reaches."""


@dataclass(frozen=True, eq=False)
class Run:
    """One recorded run. `samples(topic)` is its tidy table; `meta` is run.json."""

    path: Path
    meta: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the folder, as it may be shown."""
        return on_one_line(Path(os.path.abspath(self.path)).name)

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
        return Machine.from_dict(self.meta["machine"])

    @cached_property
    def sessions(self) -> dict[int, int]:
        """The session of each process, both from 1; one session where the run notes none."""
        return {one["process"]: one.get("session", 1) for one in self.meta.get("processes", ())}

    @cached_property
    def blocks(self) -> dict[tuple[str, str], int]:
        """Complete blocks: (topic, block) and the number of their rows, those of all processes together."""
        rows = Counter()
        for (topic, block, _), count in read_blocks(self.path, self.finished).items():
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
        return self._read(topic, COLUMNS, () if self.draws_placements else PLACED)

    def table(self, topic: str) -> pd.DataFrame:
        """A topic of TABLES: the rows of its complete blocks, in the order they were written."""
        if topic not in TABLES:
            raise ValueError(f"topic must be one of {', '.join(TABLES)}; got {topic!r}")
        return self._read(topic, TABLES[topic])

    def _read(self, topic: str, columns: Mapping[str, Column], optional: tuple[str, ...] = ()) -> pd.DataFrame:
        key = topic, *columns
        if key not in self._cached:
            if not self.has(topic):
                recorded = sorted({t for t, _ in self.blocks})
                raise RunError(f"run {self.id} has no {topic!r}; recorded: {', '.join(recorded) or 'nothing'}")
            counts = {block: rows for (t, block), rows in self.blocks.items() if t == topic}
            content = read_table(self.path / f"{topic}.csv", columns, counts, self.finished, optional)
            if "elapsed_ns" in content:
                self._require_reachable(topic, content)
            if "process" in content and self.sessions:
                if not (known := content["process"].isin([0, *self.sessions])).all():  # 0: samples of no process
                    row = int(known.argmin())
                    what = f"process {content['process'][row]} is none of those in run.json"
                    raise RunError(f"{self.path / topic}.csv: row {row + 2}: {what}")
                if len({*self.sessions.values()}) > 1:
                    content["process"] = content["process"].map({0: 1, **self.sessions})
            self._cached[key] = content
        return self._cached[key]

    def _require_reachable(self, topic: str, samples: pd.DataFrame) -> None:
        """Refuse a sample of a built-in kernel that is hundreds of times as fast as any core.

        Who counts the work of a function may miscount: that is a state of the result, and no reason against the run.
        """
        for number, row, amounts in self.fastest(samples[samples["kernel"].isin(KERNELS.keys())]):
            if (rate := max(amounts) * row["reps"] / row["elapsed_ns"]) > MOST_RATE:
                what = f"row {number + 2}: {row['kernel']} at n = {row['n']} does {rate:.3g} operations or bytes per ns"
                raise RunError(f"{self.path / topic}.csv: {what}, more than any machine")

    def fastest(self, samples: pd.DataFrame) -> Iterator[tuple[int, dict[str, Any], tuple[int, int]]]:
        """The fastest sample of each case whose work is counted: its place, its columns, its flops and bytes."""
        if samples.empty:
            return
        columns = [name for name in samples.columns if name not in (*OF_SAMPLE, "block", "process", "round")]
        per_run_ns = samples["elapsed_ns"] / samples["reps"]
        rows = samples.loc[per_run_ns.groupby([samples[name] for name in columns], dropna=False).idxmin()]
        for number, row in zip(rows.index, rows.to_dict("records"), strict=True):
            if amounts := work(self, row):
                yield number, row, amounts

    @cached_property
    def _cached(self) -> dict[tuple[str, ...], pd.DataFrame]:
        return {}


@lru_cache(maxsize=16)
def _counted(run: Run) -> dict[tuple[str, ...], dict[tuple, tuple[int, int]]]:
    """Flops and bytes as the run counted them, by the names and then the values of a case's columns."""
    counts: dict[tuple[str, ...], dict[tuple, tuple[int, int]]] = {}
    for entry in run.meta.get("work", ()):
        names = tuple(name for name in entry if name not in ("flops", "bytes"))
        counts.setdefault(names, {}).setdefault(tuple(entry[name] for name in names), (entry["flops"], entry["bytes"]))
    return counts


def work(run: Run, case: Mapping[str, Any]) -> tuple[int, int] | None:
    """Flops and bytes of a case: as its run counted them, else as the built-in kernel counts them, else unknown."""
    for names, counts in _counted(run).items():
        if amounts := counts.get(tuple(case.get(name) for name in names)):
            return amounts
    kernel = KERNELS.get(case["kernel"])
    if kernel is None or any(pd.isna(case.get(name)) for name in ("n", *kernel.params)):
        return None
    try:
        n, params = int(case["n"]), {name: int(case[name]) for name in kernel.params}
        return kernel.flops(n, **params), kernel.bytes(n, np.dtype(case["dtype"]).itemsize, **params)
    except (TypeError, ValueError, ArithmeticError):  # a type that NumPy does not have
        values = {name: str(case.get(name)) for name in ("n", "dtype", *kernel.params)}
        raise RunError(f"run {run.id}: the work of {kernel.name} cannot be counted by {values}") from None


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
    """Folders of the runs in a folder, oldest first, and those that cannot be read."""
    return sorted(path for path in folder.glob("*") if _is_run(path))


def _is_run(folder: Path) -> bool:
    """Whether a folder has a run.json, whatever that is, or cannot be looked into, such as a link to itself."""
    try:
        os.lstat(folder / "run.json")
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def load_run(run: str | Path | None = None) -> Run:
    """Open a run by id, by path, or `latest` (recorded, sweeps aside); by default PERFLIB_RUN, else the newest reference.

    A finished run is checked against its checksums, an unfinished one offers its complete blocks.
    """
    path = _find(run)
    require_sound(path)
    meta = read_meta(path)
    if meta["finished"] is not None:
        require_unchanged(path)
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
    if _is_run(Path(run)):
        return Path(run)
    names = ", ".join(path.name for path in list_runs()) or "none"
    raise RunError(f"{origin}no run {str(run)!r}; recorded: {names}")


def read_meta(path: Path) -> dict[str, Any]:
    """Contents of a run's run.json, every field of its type."""
    file = path / "run.json"
    try:
        meta = document(read_file(file, MOST_DOCUMENT_BYTES))
    except (ValueError, RecursionError) as problem:
        raise RunError(f"{file}: cannot be read: {problem}") from None
    schema = meta.get("schema") if isinstance(meta, dict) else type(meta).__name__
    if schema not in READABLE:
        raise RunError(f"{file}: schema must be {' or '.join(map(str, READABLE))}, got {shortened(repr(schema), 60)}")
    if missing := {"finished", "command", "settings", "machine", "code"} - meta.keys():
        raise RunError(f"{file}: {', '.join(sorted(missing))} missing")
    if problem := field_problem(meta):
        raise RunError(f"{file}: {problem}")
    for cache in meta["machine"]["caches"]:
        if cache["size_bytes"] > (most := MOST_CACHE_BYTES.get(cache["level"], 4 << 30)):
            raise RunError(
                f"{file}: machine.caches: level {cache['level']} has {cache['size_bytes']} bytes, more than {most}"
            )
    for name, limit in meta.get("limits", {}).items():
        if not limit["low"] <= limit["value"] <= limit["high"] <= MOST_RATE:
            raise RunError(f"{file}: limits.{name} must rise from low to high, at most to {MOST_RATE:g}, got {limit}")
    sessions: dict[int, int] = {}
    for one in meta.get("processes", ()):
        if sessions.setdefault(one["process"], session := one.get("session", 1)) != session:
            raise RunError(f"{file}: processes: process {one['process']} belongs to two sessions")
    if (meta["finished"] or "9") < meta.get("started", ""):
        raise RunError(f"{file}: finished {meta['finished']}, before it was started: {meta['started']}")
    return meta
