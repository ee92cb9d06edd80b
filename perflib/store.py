"""Runs on disk: a folder of plain CSV files, one row per timed sample, complete or recognised as torn.

    load_run(id_or_path)        -> Run; PERFLIB_RUN or the committed reference run unless told
    list_runs()                 every run there is, oldest first
    RunWriter.start(...)        a new run, or the continuation of an interrupted one
    measuring_lock()            context manager: one measurement at a time on a machine

A run is `run.json` (what, where, with which settings), `<topic>.csv` (samples), `blocks.csv` (a line for each block that is
complete) and, once finished, `SHA256SUMS`. Rows are appended and flushed round by round; a block that has no line in
`blocks.csv` does not count and is cut off when the run is continued. Nothing is ever unpickled.

Raises `RunError`, one line that names the file, the row and the reason.
"""

import csv
import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from .machine import Machine

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "SCHEMA",
    "Run",
    "RunError",
    "RunWriter",
    "data_folder",
    "list_runs",
    "load_run",
    "measuring_lock",
]

SCHEMA = 1

COLUMNS = {  # name: smallest allowed value, or None for text; an empty field is allowed where noted in EMPTY
    "block": None,
    "kernel": None,
    "scope": None,
    "dtype": None,
    "threads": 1,
    "n": 1,
    "tile": 1,
    "rows": 1,
    "round": 0,
    "position": 0,
    "reps": 1,
    "elapsed_ns": 1,
    "cpu_ns": 0,
    "switches": 0,
    "compiled": 0,
}
EMPTY = ("n", "tile", "rows")
TEXT = tuple(name for name, least in COLUMNS.items() if least is None)


class RunError(Exception):
    """A run that cannot be found, read, written or continued."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: the sentence."""
        return [f"RunError: {self}"]


def data_folder() -> Path:
    """PERFLIB_DATA, else `data` of the clone that perflib runs from, else the user's data folder."""
    if named := os.environ.get("PERFLIB_DATA"):
        return Path(named)
    clone = Path(__file__).parents[1]
    return clone / "data" if (clone / "pyproject.toml").is_file() else platformdirs.user_data_path("perflib")


@dataclass(frozen=True, eq=False)
class Run:
    """One recorded run. `samples(topic)` is its tidy table; `meta` is run.json."""

    path: Path
    meta: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def finished(self) -> bool:
        """Whether every planned block was recorded."""
        return self.meta["finished"] is not None

    @cached_property
    def machine(self) -> Machine:
        """The machine that the run was recorded on."""
        return Machine.from_dict(self.meta["machine"])

    @cached_property
    def blocks(self) -> dict[tuple[str, str], int]:
        """Complete blocks: (topic, block) and the number of their rows."""
        return _read_blocks(self.path)

    def has(self, topic: str) -> bool:
        """Whether at least one block of the topic was recorded."""
        return any(t == topic for t, _ in self.blocks)

    def samples(self, topic: str) -> "pd.DataFrame":
        """All samples of a topic's complete blocks, in the order they were taken; see data/datapackage.json."""
        if topic not in self._tables:
            if not self.has(topic):
                recorded = sorted({t for t, _ in self.blocks})
                raise RunError(f"run {self.id} has no {topic!r}; recorded: {', '.join(recorded) or 'nothing'}")
            self._tables[topic] = _read_samples(self.path / f"{topic}.csv", self.blocks, topic)
        return self._tables[topic]

    @cached_property
    def _tables(self) -> dict[str, "pd.DataFrame"]:
        return {}


def list_runs() -> list[Path]:
    """Folders of the committed and of the recorded runs, oldest first within each."""
    return [f.parent for kind in ("reference", "runs") for f in sorted((data_folder() / kind).glob("*/run.json"))]


def load_run(run: str | Path | None = None) -> Run:
    """Open a run by id, by path, or `latest`; by default PERFLIB_RUN, else the newest reference run.

    A finished run is checked against its checksums, an unfinished one offers its complete blocks.
    """
    path = _find(run)
    meta = _read_meta(path)
    if meta["finished"] is not None:
        _verify_checksums(path)
    return Run(path, meta)


def _find(run: str | Path | None) -> Path:
    origin = ""
    if run is None and (run := os.environ.get("PERFLIB_RUN") or None):
        origin = "PERFLIB_RUN: "
    if run is None:
        committed = sorted((data_folder() / "reference").glob("*/run.json"))
        if not committed:
            raise RunError(f"no reference run in {data_folder() / 'reference'}; record one: perflib record")
        return committed[-1].parent
    if run == "latest":
        recorded = sorted((data_folder() / "runs").glob("*/run.json"))
        if not recorded:
            raise RunError("no recorded run yet; record one: perflib record --quick")
        return recorded[-1].parent
    named = [p for p in list_runs() if p.name == str(run)]
    if named:
        return named[0]
    if (Path(run) / "run.json").is_file():
        return Path(run)
    known = ", ".join(p.name for p in list_runs()) or "none"
    raise RunError(f"{origin}no run {str(run)!r}; recorded: {known}")


def _read_meta(path: Path) -> dict[str, Any]:
    file = path / "run.json"
    try:
        meta = json.loads(file.read_text())
    except (OSError, ValueError) as problem:
        raise RunError(f"{file}: cannot be read: {problem}") from None
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        got = meta.get("schema") if isinstance(meta, dict) else type(meta).__name__
        raise RunError(f"{file}: schema must be {SCHEMA}, got {got!r}")
    if missing := {"finished", "machine", "code", "settings"} - meta.keys():
        raise RunError(f"{file}: {', '.join(sorted(missing))} missing")
    return meta


def _read_blocks(path: Path) -> dict[tuple[str, str], int]:
    file = path / "blocks.csv"
    if not file.is_file():
        return {}
    blocks = {}
    for line in file.read_text().splitlines(keepends=True)[1:]:
        fields = line.rstrip("\n").split(",")
        if line.endswith("\n") and len(fields) == 3 and fields[2].isdigit():  # else torn while it was written
            blocks[fields[0], fields[1]] = int(fields[2])
    return blocks


def _read_samples(file: Path, blocks: dict[tuple[str, str], int], topic: str) -> "pd.DataFrame":
    import pandas as pd

    try:
        with file.open(newline="") as stream:
            lines = list(csv.reader(stream))
    except OSError as problem:
        raise RunError(f"{file.name}: cannot be read: {problem.strerror}") from None
    header, *rows = lines or [[]]
    if missing := [c for c in COLUMNS if c not in header]:
        raise RunError(f"{file.name}: row 1: column {missing[0]!r} missing")
    complete = {block for t, block in blocks if t == topic}
    where, kept = header.index("block"), []
    for number, fields in enumerate(rows, start=2):
        if fields and fields[min(where, len(fields) - 1)] not in complete:
            continue  # an unfinished block
        if len(fields) != len(header):
            raise RunError(f"{file.name}: row {number}: must have {len(header)} fields, got {len(fields)}")
        kept.append((number, fields))
    table = pd.DataFrame([f for _, f in kept], columns=header, index=[n for n, _ in kept], dtype="object")[[*COLUMNS]]
    for name, least in COLUMNS.items():
        if least is not None:
            table[name] = _integers(file, table[name], least)
    for block in complete:
        if (got := int((table["block"] == block).sum())) != blocks[topic, block]:
            raise RunError(f"{file.name}: block {block!r} must have {blocks[topic, block]} rows, got {got}")
    return table.astype(dict.fromkeys(TEXT, "str")).reset_index(drop=True)


def _integers(file: Path, column: "pd.Series", least: int) -> "pd.Series":
    import pandas as pd

    empty = column == ""
    values = pd.to_numeric(column.where(~empty), errors="coerce")
    allowed = values.ge(least) & (values % 1 == 0) | (empty if column.name in EMPTY else False)
    if not allowed.all():
        row = allowed.idxmin()
        raise RunError(f"{file.name}: row {row}: {column.name} must be at least {least}, got {column[row]!r}")
    return values.astype("Int64" if column.name in EMPTY else "int64")


class RunWriter:
    """Appends blocks to a run folder. `notices` says what was continued or why not."""

    def __init__(self, path: Path, notices: Iterable[str] = ()) -> None:
        self.path = path
        self.notices = tuple(notices)
        self._done = _read_blocks(path)

    @classmethod
    def start(cls, command: str, settings: dict[str, Any], machine: Machine) -> "RunWriter":
        """Continue the newest unfinished run of the same command, code, settings and machine, else begin a new one."""
        facts = {"command": command, "settings": settings, "machine": machine.to_dict(), "code": _code()}
        facts = json.loads(json.dumps(facts))
        notices = []
        for path in reversed([p for p in list_runs() if p.parent.name == "runs"]):
            meta = _read_meta(path)
            if meta["finished"] is not None or meta["command"] != command:
                continue
            differs = [key for key in facts if meta.get(key) != facts[key]]
            if not differs:
                writer = cls(path, [f"continuing run {path.name}"])
                writer._cut_unfinished()
                return writer
            notices.append(f"run {path.name} is not continued: {', '.join(differs)} changed since; starting a new run")
            break
        now = datetime.now(UTC)
        slug = "-".join(machine.cpu.lower().replace("(r)", "").replace("(tm)", "").split()[:3])
        slug = "".join(c for c in slug if c.isalnum() or c == "-")
        path = data_folder() / "runs" / f"{now:%Y%m%dT%H%M%SZ}-{slug}-{command}"
        with _storing(path):
            path.mkdir(parents=True)
            _replace(path / "run.json", _json({"schema": SCHEMA, "started": f"{now:%FT%TZ}", "finished": None, **facts}))
            _append(path / "blocks.csv", "topic,block,rows\n")
        return cls(path, notices)

    def has(self, topic: str, block: str) -> bool:
        """Whether the block is complete."""
        return (topic, block) in self._done

    @contextmanager
    def block(self, topic: str, block: str) -> Iterator[Callable[[Iterable[dict[str, Any]]], None]]:
        """Append rows round by round through the function that is yielded; closed by a marker if all went well."""
        file = self.path / f"{topic}.csv"
        count = 0

        def append(rows: Iterable[dict[str, Any]]) -> None:
            nonlocal count
            lines = [",".join(str(row.get(name, "")) for name in COLUMNS) + "\n" for row in rows]
            with _storing(file):
                _append(file, "".join(lines))
            count += len(lines)

        if not file.exists():
            with _storing(file):
                _append(file, ",".join(COLUMNS) + "\n")
        yield append
        with _storing(file):
            _append(self.path / "blocks.csv", f"{topic},{block},{count}\n")
        self._done[topic, block] = count

    def finish(self, **results: Any) -> Run:
        """Mark the run as finished, add results to run.json, write the checksums."""
        with _storing(self.path):
            meta = _read_meta(self.path) | results | {"finished": f"{datetime.now(UTC):%FT%TZ}"}
            files = sorted(self.path.glob("*.csv"))
            text = _json(meta)
            sums = [f"{_digest(f.read_bytes())}  {f.name}" for f in files] + [f"{_digest(text.encode())}  run.json"]
            _replace(self.path / "SHA256SUMS", "\n".join(sums) + "\n")  # before run.json, which makes it count
            _replace(self.path / "run.json", text)
        return load_run(self.path)

    def _cut_unfinished(self) -> None:
        """Drop rows of blocks without a marker, and a torn marker."""
        with _storing(self.path):
            markers = [f"{topic},{block},{rows}\n" for (topic, block), rows in self._done.items()]
            _replace(self.path / "blocks.csv", "topic,block,rows\n" + "".join(markers))
            for file in self.path.glob("*.csv"):
                if file.name == "blocks.csv":
                    continue
                header, *lines = file.read_text().splitlines(keepends=True) or [""]
                kept = [line for line in lines if (file.stem, line.partition(",")[0]) in self._done]
                if kept:
                    _replace(file, header + "".join(kept))
                else:
                    file.unlink()


@contextmanager
def measuring_lock() -> Iterator[None]:
    """Hold the machine's one measuring lock, or raise RunError with the process that holds it.

    The system releases it when its owner ends, however it ends.
    """
    path = Path(tempfile.gettempdir()) / "perflib.lock"
    with _storing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = file.read().strip() or "unknown"
            raise RunError(f"another measurement runs on this machine (process {owner}); wait until it ends") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _code() -> dict[str, Any]:
    """Which code measures: a digest of the package, and where there is git, its commit and whether it was clean."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", package, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
    except OSError:  # no git here
        commit = changes = None
    return {"digest": digest.hexdigest()[:16], "commit": commit, "clean": None if changes is None else not changes}


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise RunError(f"cannot write {path}: {problem.strerror}; what was complete is kept") from None


def _append(file: Path, text: str) -> None:
    with file.open("a", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _replace(file: Path, text: str) -> None:
    """Write a file as a whole: it is the old one or the new one, never a part."""
    part = file.with_name(f".{file.name}.part")
    with part.open("w", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, file)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _verify_checksums(path: Path) -> None:
    sums = path / "SHA256SUMS"
    if not sums.is_file():
        raise RunError(f"{sums}: missing in a finished run")
    for line in sums.read_text().splitlines():
        digest, _, name = line.partition("  ")
        file = path / name
        if not file.is_file():
            raise RunError(f"{file}: missing")
        if _digest(file.read_bytes()) != digest:
            raise RunError(f"{file}: checksum differs from SHA256SUMS; the file was changed after it was recorded")
