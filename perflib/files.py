"""Locate perflib's files, and replace one so that a reader sees the old or the new file, never a part."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import platformdirs

from .errors import PerflibError

PACKAGE = Path(__file__).parent
CLONE = PACKAGE.parent
IS_CLONE = (CLONE / "pyproject.toml").is_file()
HOME = CLONE if IS_CLONE else Path()
"""Where reports and notebooks of a user go: the clone, else the current folder."""
NOTEBOOKS = (CLONE if IS_CLONE else PACKAGE) / "notebooks"
REPORTS = HOME / "reports"
README = CLONE / "README.md"
CARRIED = CLONE / "data" if IS_CLONE else PACKAGE / "schemas"
"""What is committed in `data`: an installed perflib carries it in `schemas`."""
PUBLISHED = CARRIED / "published" / "published.csv"
GEOMETRIES = CARRIED / "geometries" / "misses.csv"
SCALING_CASES = CARRIED / "scaling"


def data_folder() -> Path:
    """PERFLIB_DATA, else `data` of the clone that perflib runs from, else the user's data folder."""
    if folder := os.environ.get("PERFLIB_DATA"):
        return Path(folder)
    return CLONE / "data" if IS_CLONE else platformdirs.user_data_path("perflib")


def reference_folder() -> Path:
    """`reference` of the data folder; of an installed perflib those that it carries, where that is missing."""
    folder = data_folder() / "reference"
    return folder if IS_CLONE or folder.is_dir() else CARRIED / "reference"


def require_clone(what: str) -> None:
    """Raise PerflibError where perflib is installed and `what` needs the files of a clone."""
    if not IS_CLONE:
        raise PerflibError(f"{what} changes files of a clone of perflib, got an installed one; clone the repository")


def recording_folder() -> Path:
    """Where a recording begins: PERFLIB_RECORD_TO, else `runs` in the data folder."""
    return Path(os.environ.get("PERFLIB_RECORD_TO") or data_folder() / "runs")


def cache_folder() -> Path:
    """`machine` in PERFLIB_DATA if that is set, else the user's cache folder."""
    folder = os.environ.get("PERFLIB_DATA")
    return Path(folder) / "machine" if folder else platformdirs.user_cache_path("perflib")


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, whose name ends as that of `path`, then put it in its place at once.

    Whatever is raised, the file that was there before is untouched and nothing is left beside it. A link that stands where
    the new file is made, or at `path`, is replaced: what it points to stays.
    """
    part = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        part.unlink(missing_ok=True)
        write(part)
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink()


def replace_text(path: Path, text: str) -> None:
    """Replace the text of a file, as it is and on the disk before it counts."""

    def write(part: Path) -> None:
        with part.open("x", newline="", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())

    replace_file(path, write)
