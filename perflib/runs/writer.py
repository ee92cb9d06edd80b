"""Write runs round by round, so that a torn run is recognised, one measurement at a time.

    with measuring_lock():
        writer = RunWriter.start("quick", {"seed": 0}, machine())
        with writer.block("matmul", "n=64") as append:
            append(rows)
        run = writer.finish()

The process may be killed at any byte: rows of a block without a line in `blocks.csv` are cut off when the run is continued.
Raises `RunError`, one line that says what to do.
"""

import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from ..display.progress import progress_bar
from ..errors import RunError
from ..files import PACKAGE, recording_folder, replace_text
from ..hardware.facts import Machine
from ..system.lock import release, take
from .integrity import AS_IT_IS, MOST_BYTES, SUMS, TOPICS, digest, opened, read_file, require_own
from .store import SCHEMA, Run, load_run, read_meta, runs_in
from .summaries import FILE, summary_rows
from .tables import BLOCK_COLUMNS, COLUMNS, SUMMARY_COLUMNS, read_blocks, read_rows

MOST_DIGITS = 10
"""Of the number of a process."""
LOOK_S = 0.2
"""Seconds between two looks at a lock that another process holds."""


class RunWriter:
    """Appends blocks to a run folder. `notices` says what was continued or why not."""

    def __init__(self, path: Path, notices: Iterable[str] = ()) -> None:
        self.path, self.notices, self._complete = path, tuple(notices), read_blocks(path)

    @classmethod
    def start(cls, command: str, settings: dict[str, Any], machine: Machine) -> "RunWriter":
        """Continue the newest unfinished run of the same command, settings, machine and code, else begin a new one."""
        facts = json.loads(_json({"command": command, "settings": settings, "machine": machine.to_dict(), "code": _code()}))
        notices = []
        for path in reversed(runs_in(recording_folder())):
            try:
                meta = read_meta(path)
                if meta["finished"] is not None or meta["command"] != command:
                    continue
                if not (names := _differences(meta, facts)):
                    require_own(path)
                    return cls(path, [f"continuing run {path.name}"]).cut_unfinished()
                reason = f"{', '.join(names)} changed since"
            except RunError as problem:
                reason = str(problem)
            notices.append(f"run {path.name} is not continued: {reason}; starting a new run")
        return cls(_new_folder(facts), notices[:1])

    def has(self, topic: str, block: str, process: int = 1) -> bool:
        """Whether the block is complete, as far as this process of the recording measures it."""
        return (topic, block, process) in self._complete

    @contextmanager
    def block(
        self,
        topic: str,
        block: str,
        parameters: Sequence[str] = (),
        columns: Iterable[str] = COLUMNS,
        process: int = 1,
    ) -> Iterator[Callable[[Iterable[dict[str, Any]]], None]]:
        """Append rows round by round through the function that is yielded; closed by a marker if all went well.

        `parameters` are integer columns besides `columns`, those of samples or of one of TABLES; both are the same for all
        blocks of a topic.
        """
        file, columns, total = self.path / f"{topic}.csv", (*columns, *parameters), 0

        def append(rows: Iterable[dict[str, Any]]) -> None:
            nonlocal total
            lines = [_line(({"process": process, "placement": 0} | row).get(name, "") for name in columns) for row in rows]
            _append(file, lines)
            total += len(lines)

        if not file.exists():
            _append(file, [_line(columns)])
        yield append
        _append(self.path / "blocks.csv", [_line((topic, block, process, total))])
        self._complete[topic, block, process] = total

    def finish(self, **results: Any) -> Run:
        """Mark the run as finished, add results to run.json, write the summary of its cases and the checksums."""
        meta = read_meta(self.path) | results | {"finished": f"{datetime.now(UTC):%FT%TZ}"}
        text, run = _json(meta), Run(self.path, meta)
        _replace(self.path / FILE, "".join(map(_line, [SUMMARY_COLUMNS, *summary_rows(run)])))
        with _storing(self.path):
            sums = {f.name: digest(read_file(f)) for f in sorted(self.path.glob(TOPICS))}
        sums["run.json"] = digest(text.encode())
        _replace(self.path / SUMS, "".join(f"{value}  {name}\n" for name, value in sums.items()))
        _replace(self.path / "run.json", text)  # last: it makes the checksums count
        return load_run(self.path)

    def reopen(self, machine: Machine) -> "RunWriter":
        """The run as it is on the disk now, for its next session: others may have measured in between.

        Raises RunError where machine or code are no longer those of its first session.
        """
        meta = read_meta(self.path)
        if names := _differences(meta, json.loads(_json({"machine": machine.to_dict(), "code": _code()}))):
            changed = f"{', '.join(names)} changed since its first session"
            raise RunError(f"run {self.path.name} cannot go on: {changed}; record again: perflib record")
        require_own(self.path)
        writer = RunWriter(self.path, self.notices)
        return writer if meta["finished"] is not None else writer.cut_unfinished()

    def note_process(self, process: int, entropy: int, session: int = 1) -> None:
        """Note in run.json that a process of a session begins, when, and the number that its random choices follow from."""
        meta = read_meta(self.path)
        now = f"{datetime.now(UTC):%FT%TZ}"
        entry = {"process": process, "session": session, "started": now, "entropy": entropy}
        _replace(self.path / "run.json", _json(meta | {"processes": [*meta.get("processes", []), entry]}))

    @property
    def lost(self) -> list[dict[str, str]]:
        """What could not be measured, and why."""
        return read_meta(self.path).get("lost", [])

    def lose(self, topic: str, block: str, case: str, reason: str) -> None:
        """Note in run.json that a case is left out, and drop what the block has so far: it is measured again."""
        entry = {"topic": topic, "block": block, "case": case, "reason": reason}
        meta = read_meta(self.path)
        if entry not in (lost := meta.get("lost", [])):
            _replace(self.path / "run.json", _json(meta | {"lost": [*lost, entry]}))
        self.cut_unfinished()

    def note_unmeasured(self, topic: str, block: str, cases: Sequence[str]) -> None:
        """Note in run.json which cases an interrupted block does not hold."""
        entry = {"topic": topic, "block": block, "cases": list(cases)}
        meta = read_meta(self.path)
        _replace(self.path / "run.json", _json(meta | {"interrupted": [*meta.get("interrupted", []), entry]}))

    def unmeasured(self, topic: str, block: str) -> list[str]:
        """The cases that a block lacks because it was interrupted."""
        entries = read_meta(self.path).get("interrupted", [])
        return [case for one in entries if (one["topic"], one["block"]) == (topic, block) for case in one["cases"]]

    def cut_unfinished(self) -> "RunWriter":
        """Drop rows of blocks without a marker, which are the last ones of their topic, and a torn marker."""
        markers = (_line((*key, rows)) for key, rows in self._complete.items())
        _replace(self.path / "blocks.csv", _line(BLOCK_COLUMNS) + "".join(markers))
        for file in self.path.glob(TOPICS):
            if file.name == "blocks.csv":
                continue
            complete = sum(rows for (topic, *_), rows in self._complete.items() if topic == file.stem)
            header, rows, _ = read_rows(file)
            if complete:
                _replace(file, "".join(map(_line, [header, *rows[:complete]])))
            else:
                with _storing(file):
                    file.unlink()
        return self


@contextmanager
def measuring_lock(wait: bool | float = False) -> Iterator[None]:
    """Hold the machine's one measuring lock; while another process holds it, wait, or raise RunError with its number.

    wait: for ever if True, else so many seconds. The system releases the lock when its owner ends, however it ends.
    """
    path = _lock_path()
    try:
        lock = _open_lock(path)
    except OSError as problem:
        reason = problem.strerror or problem
        raise RunError(f"cannot write {path}: {reason}; set TMPDIR to a folder that every measurement here uses") from None
    with lock as file:
        _take_lock(file, wait)
        try:
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield
        finally:
            release(file, path)


def _lock_path() -> Path:
    return Path(tempfile.gettempdir()) / "perflib.lock"


def lock_owner() -> int | None:
    """Number of the process that took the measuring lock last, while it lives; the lock itself is not touched."""
    try:
        with _open(_lock_path()) as file:
            number = _number(file)
    except OSError:
        return None
    return number if number and psutil.pid_exists(number) else None


def _take_lock(file: io.TextIOWrapper, wait: bool | float) -> None:
    if not _is_taken(file):
        return
    if not wait:
        remedy = "wait until it ends, or let this one wait: wait=True, --wait"
        raise RunError(f"another measurement runs on this machine (process {_owner(file)}); {remedy}")
    deadline = math.inf if wait is True else time.monotonic() + wait
    with progress_bar(1, leave=False) as bar:
        while _is_taken(file):
            if time.monotonic() >= deadline:
                raise RunError(f"waited {wait:g} s for the measurement of process {_owner(file)} to end; try again later")
            bar.set_description_str(f"waiting for the measurement of process {_owner(file)}")
            time.sleep(LOOK_S)


def _is_taken(file: io.TextIOWrapper) -> bool:
    """Whether another process holds the lock; else this one holds it now."""
    return not take(file, _lock_path())


def _owner(file: io.TextIOWrapper) -> str:
    return str(_number(file) or "unknown")


def _number(file: io.TextIOWrapper) -> int | None:
    """The process that wrote its number into the lock's file; anything else there, which anybody may write, is not read."""
    file.seek(0)
    number = re.fullmatch(r"([1-9][0-9]{0,9})\n", file.read(MOST_DIGITS + 2))
    file.seek(0)
    return int(number[1]) if number else None


def _open_lock(path: Path) -> io.TextIOWrapper:
    """The lock file, opened without creating it first: Linux refuses O_CREAT on another user's file in /tmp."""
    try:
        return _open(path)
    except FileNotFoundError:
        file = _open(path, os.O_CREAT)
        os.chmod(path, 0o666)  # every user of the machine takes the same lock
        return file


def _open(path: Path, flags: int = 0) -> io.TextIOWrapper:
    """A file of numbers for reading and writing; neither a link nor a pipe is followed or waited for."""
    number = os.open(path, flags | os.O_RDWR | AS_IT_IS)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(number, "r+", encoding="latin-1", newline="")  # any byte is a character, which is not shown


def _new_folder(facts: dict[str, Any]) -> Path:
    """A folder for a run that starts now; names sort by time, so two within a second get different seconds."""
    runs, now = recording_folder(), datetime.now(UTC)
    stamps = (f"{now + timedelta(seconds=later):%Y%m%dT%H%M%SZ}" for later in count())
    stamp = next(stamp for stamp in stamps if not any(runs.glob(f"{stamp}-*")))
    words = re.findall(r"[a-z0-9]+", re.sub(r"\((r|tm)\)", " ", facts["machine"]["cpu"].lower()))
    path = runs / "-".join([stamp, *words[:3], facts["command"]])
    with _storing(path):
        path.mkdir(parents=True)
    try:
        _append(path / "blocks.csv", [_line(BLOCK_COLUMNS)])
        _replace(path / "run.json", _json({"schema": SCHEMA, "started": f"{now:%FT%TZ}", "finished": None, **facts}))
    except RunError:
        shutil.rmtree(path, ignore_errors=True)  # a folder without run.json is no run
        raise
    return path


def _differences(meta: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """Names of the facts that are no longer so, such as `code.commit`."""
    names = []
    for key, now in facts.items():
        then = meta[key]
        if isinstance(now, dict) and isinstance(then, dict):
            names += [f"{key}.{name}" for name in {**now, **then} if now.get(name) != then.get(name)]
        elif now != then:
            names.append(key)
    return names


def code_digest() -> str:
    """Of the package that measures; two that are equal measure the same."""
    sources = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        sources.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return sources.hexdigest()[:16]


def _code() -> dict[str, Any]:
    """Which code measures: a digest of the package, and in a clone its commit and whether it was clean."""

    def git(*words: str) -> str | None:
        result = subprocess.run(["git", "-C", PACKAGE, *words], capture_output=True, text=True, check=False)
        return result.stdout.strip() if result.returncode == 0 else None

    try:
        tracked = git("ls-files", "--error-unmatch", "files.py")  # else the repository is not perflib's
        commit, changes = (git("rev-parse", "HEAD"), git("status", "--porcelain")) if tracked else (None, None)
    except OSError:  # no git here
        commit = changes = None
    return {"digest": code_digest(), "commit": commit, "clean": None if changes is None else not changes}


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise RunError(
            f"cannot write {path}: {problem.strerror or problem}; make room there or set PERFLIB_DATA to another folder; "
            "complete blocks are kept"
        ) from None


def _line(fields: Iterable[Any]) -> str:
    """One line of CSV. The writer's own line end, \\r\\n, makes it quote either of the two inside a field."""
    line = io.StringIO()
    csv.writer(line).writerow(fields)
    return line.getvalue()[:-2] + "\n"


def _append(file: Path, lines: Iterable[str]) -> None:
    content = "".join(lines).encode()
    with _storing(file), opened(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as stream:
        if os.fstat(stream.fileno()).st_size + len(content) > MOST_BYTES:
            most = f"{MOST_BYTES >> 20} MiB"
            raise RunError(f"{file}: would have more than {most}; record fewer sizes or sessions in one run")
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _replace(file: Path, text: str) -> None:
    with _storing(file):
        replace_text(file, text)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
