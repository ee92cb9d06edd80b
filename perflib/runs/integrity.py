"""Check that a folder with a run is as its writer left it, before anything reads its rows.

The functions return sentences that name the file; `store` raises them.
"""

import hashlib
from pathlib import Path

SUMS = "SHA256SUMS"
TOPICS = "[!.]*.csv"  # what a killed writer was about to put in its place begins with a dot


def digest(content: bytes) -> str:
    """SHA-256, as in the checksums."""
    return hashlib.sha256(content).hexdigest()


def foreign_link(path: Path) -> str | None:
    """The first file that is not in the folder but points out of it: nothing is read through it."""
    home = path.resolve()
    for file in sorted(path.iterdir()):
        if file.is_symlink() and not file.resolve().is_relative_to(home):
            return f"{file}: must lie in the folder of its run, got a link out of it"
    return None


def damage(path: Path) -> str | None:
    """The first file that is missing, not listed or changed since the run was finished."""
    sums = path / SUMS
    if not sums.is_file():
        return f"{sums}: missing in a finished run"
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    digests = dict(line.split("  ", 1)[::-1] for line in lines if "  " in line)
    for name in sorted({"run.json", "blocks.csv", *(file.name for file in path.glob(TOPICS)), *digests}):
        file = path / name
        if Path(name).name != name:
            return f"{sums}: must list files of its folder, got {name!r}"
        if not file.is_file():
            return f"{file}: missing"
        if name not in digests:
            return f"{sums}: does not list {name}"
        if digest(file.read_bytes()) != digests[name]:
            return f"{file}: checksum differs from {SUMS}; the file was changed after it was recorded"
    return None
