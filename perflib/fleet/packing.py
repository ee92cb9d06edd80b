"""Carry a run from one machine to another as plain bytes, and refuse what is no run before anything is written.

    unpack(pack(run.path), folder)

A parcel is a dictionary of file names and bytes; the name of the run stands under the empty name.
"""

import re
import tempfile
from pathlib import Path
from typing import Any

from ..display.text import on_one_line
from ..errors import RunError
from ..runs.compare import require_plausible
from ..runs.integrity import SUMS, TOPICS, read_file
from ..runs.store import Run, load_run

MOST_FILES, MOST_BYTES = 100, 64 << 20
_RUN = re.compile(r"\d{8}T\d{6}Z(-[a-z0-9]+){1,8}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,80}\.csv")


def pack(path: Path) -> dict[str, bytes]:
    """The files of a finished run."""
    files = [path / "run.json", path / SUMS, *sorted(path.glob(TOPICS))]
    return {"": path.name.encode(), **{file.name: read_file(file) for file in files}}


def unpack(parcel: Any, folder: Path) -> Run:
    """Check a parcel and put its run into a folder, at once or not at all; one that is there already must be the same.

    Raises RunError that names what is wrong: names, sizes, types, checksums, rows, or figures that cannot be.
    """
    name, files = _checked(parcel)
    home = folder / name
    if home.exists():
        if not _is_packed(home, parcel):
            raise RunError(f"{home}: is there already and differs; remove it or collect into another folder")
        return load_run(home)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as part:
            inside = Path(part) / name
            inside.mkdir()
            for file, content in files.items():
                (inside / file).write_bytes(content)
            run = load_run(inside)
            if not run.finished:
                raise RunError(f"{name}: is not finished")
            require_plausible(run)
            inside.rename(home)
    except OSError as problem:
        if home.exists():
            return unpack(parcel, folder)  # another client was faster
        raise RunError(f"cannot write {home}: {problem.strerror or problem}") from None
    return load_run(home)


def _is_packed(home: Path, parcel: Any) -> bool:
    try:
        return pack(home) == parcel
    except RunError:
        return False


def _checked(parcel: Any) -> tuple[str, dict[str, bytes]]:
    """Name and files of a parcel whose names, sizes and types can be those of a run."""
    if type(parcel) is not dict or not all(type(k) is str and type(v) is bytes for k, v in parcel.items()):
        raise RunError("a run must come as names and bytes")
    files = dict(parcel)
    name = files.pop("", b"").decode(errors="replace")
    if not _RUN.fullmatch(name):
        raise RunError(on_one_line(f"a run must have a name like 20260101T000000Z-chip-quick, got {name[:100]!r}"))
    if len(files) > MOST_FILES or sum(map(len, files.values())) > MOST_BYTES:
        raise RunError(f"run {name} must have at most {MOST_FILES} files and {MOST_BYTES >> 20} MiB")
    for file in files:
        if file not in ("run.json", SUMS) and not _FILE.fullmatch(file):
            raise RunError(on_one_line(f"run {name} must hold run.json, {SUMS} and tables, got {file[:100]!r}"))
    return name, files
