"""Open the files of a run, and refuse a folder that is not as its writer left it: the only way to a file of a run.

A run folder may come from anybody. A name comes from the schema, so nothing beside the folder is reached. A file is
regular: a link leads elsewhere, a pipe never ends, a device does whatever it does. A file is looked at before it is read,
so a huge one costs nothing. Raises `RunError`, one line that names the file.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ..errors import RunError

SUMS = "SHA256SUMS"
TOPICS = "[!.]*.csv"  # what a killed writer was about to put in its place begins with a dot
TOPIC = re.compile(r"(?!blocks$)[\w-]{1,80}")
"""Name of a topic: a file of the folder and of no other."""
FILE = re.compile(rf"run\.json|{SUMS}|[\w-]{{1,80}}\.csv")
MOST_BYTES = 64 << 20
"""Of a file of a run; the largest table of a full recording has 1.2 MB for each session."""
MOST_RUN_BYTES = 128 << 20
"""Of all files of a run together."""
MOST_DOCUMENT_BYTES = 4 << 20
"""Of run.json, blocks.csv and the checksums."""
MOST_ENTRIES = 1000
"""Of a folder."""
AS_IT_IS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))  # each is unknown somewhere
"""To open a file: no link is followed, no pipe is waited for, and bytes stay bytes."""
KINDS = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}


def digest(content: bytes) -> str:
    """SHA-256, as in the checksums."""
    return hashlib.sha256(content).hexdigest()


def require_sound(path: Path) -> None:
    """Refuse a run folder that holds a link, a pipe or a device, or more bytes than a run has."""
    size = 0
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in islice(entries, MOST_ENTRIES + 1))
        for name in names:
            status = os.lstat(path / name)
            if not stat.S_ISDIR(status.st_mode) or FILE.fullmatch(name):
                _require_regular(path / name, status)
                size += status.st_size
    except OSError as problem:
        raise RunError(f"{path}: cannot be read: {problem.strerror}") from None
    if len(names) > MOST_ENTRIES or size > MOST_RUN_BYTES:
        limits = f"{MOST_ENTRIES} files and {MOST_RUN_BYTES >> 20} MiB"
        raise RunError(f"{path}: a run has at most {limits}, got {len(names)} or more of {size >> 20} MiB")


def require_own(path: Path) -> None:
    """Refuse to continue a run where writing might change files outside of its folder, or another user's."""
    require_sound(path)
    if path.is_symlink():
        raise RunError(f"{path}: is a link to a folder elsewhere, which is not continued")
    if hasattr(os, "geteuid") and path.stat().st_uid != os.geteuid():  # Windows knows no such number
        raise RunError(f"{path}: belongs to another user")
    for file in sorted(path.glob(TOPICS)):
        if file.stat().st_nlink > 1:
            raise RunError(f"{file}: has another name elsewhere, whose contents would change too; copy the folder")


def _require_regular(file: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "a device")
        raise RunError(f"{file}: must be a regular file in the folder of its run, got {kind}")


@contextmanager
def opened(file: Path, flags: int = os.O_RDONLY) -> Iterator[BinaryIO]:
    """Open a regular file: no link is followed, and nothing waits for a pipe."""
    descriptor = os.open(file, flags | AS_IT_IS, 0o666)
    with os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "ab") as stream:
        _require_regular(file, os.fstat(descriptor))
        yield stream


def read_file(file: Path, most: int = MOST_BYTES) -> bytes:
    """Contents of a regular file, which has at most so many bytes."""
    try:
        with opened(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            content = stream.read(most + 1) if size <= most else b""
    except OSError as problem:
        raise RunError(f"{file}: cannot be read: {problem.strerror}") from None
    if max(size, len(content)) > most:
        raise RunError(f"{file}: must have at most {most >> 20} MiB, got {size >> 20}")
    return content


def require_unchanged(path: Path) -> None:
    """Refuse a finished run with a file that is missing, not listed or changed since the run was finished."""
    sums = path / SUMS
    if not sums.is_file():
        raise RunError(f"{sums}: missing in a finished run")
    digests: dict[str, str] = {}
    for number, line in enumerate(read_file(sums, MOST_DOCUMENT_BYTES).decode(errors="replace").splitlines(), start=1):
        value, _, name = line.partition("  ")
        if not FILE.fullmatch(name):
            raise RunError(f"{sums}: line {number}: must list a file of its folder, got {name[:80]!r}")
        if digests.setdefault(name, value) != value:
            raise RunError(f"{sums}: line {number}: lists {name} a second time")
    for name in sorted({"run.json", "blocks.csv", *(file.name for file in path.glob(TOPICS)), *digests}):
        file = path / name
        if not file.exists():
            raise RunError(f"{file}: missing")
        if name not in digests:
            raise RunError(f"{sums}: does not list {name}")
        if digest(read_file(file)) != digests[name]:
            raise RunError(f"{file}: checksum differs from {SUMS}; the file was changed after it was recorded")
