"""Take the lock on an open file without waiting. The system releases it when its owner ends, however that happens."""

from io import TextIOWrapper
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

_HELD: dict[Path, FileLock] = {}


def take(file: TextIOWrapper, path: Path) -> bool:
    """Whether this process holds the lock of the file at `path` from now on; another one may hold it."""
    if fcntl is None:  # there a locked file cannot be read, so that a file beside it is locked
        lock = FileLock(f"{path}.held")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        _HELD[path] = lock
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def release(file: TextIOWrapper, path: Path) -> None:
    """Let go of the lock before its file is closed."""
    if fcntl is None:
        _HELD.pop(path).release()
    else:
        fcntl.flock(file, fcntl.LOCK_UN)
