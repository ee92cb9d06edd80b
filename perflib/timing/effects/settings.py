"""What a function changes beside arrays and containers: settings that all of a process shares, and files.

    one, *_ = files_of(["out.npy"])
    before = one.now()
    one.now() == before         # False after a call that writes the file

A setting is put back. A file cannot be: its size and the time of its last change show that a call wrote it.
"""

import decimal
import io
import logging
import os
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

LONGEST_PATH = 256  # characters of a text that may name a file
WAKING = 64  # bytes: so few wake another thread and leave nothing behind
DECIMALS = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")


@dataclass(frozen=True, eq=False)
class Setting:
    """Something with a name that anybody may read, and put back unless it is a file."""

    name: str
    read: Callable[[], Any]
    put: Callable[[Any], Any] | None = None
    """Returns False where it could not put everything back."""
    kind: str = ""
    """Of the container that it reads; empty for a setting of the process."""
    is_set_by_imports: bool = False

    def now(self) -> Any:
        """What it is now, comparable by `==`; None where it cannot be read, as a connection that is closed."""
        try:
            return self.read()
        except Exception:  # it raises whatever it does
            return None

    def put_back(self, before: Any) -> bool:
        """Whether it holds again what it held."""
        try:
            return self.put is not None and self.put(before) is not False
        except Exception:  # a directory that is gone, a database that is being read
            return False


def settings() -> list[Setting]:
    """Those that scripts and libraries change most."""
    return [
        Setting("the environment", lambda: dict(os.environ), _put_environment, is_set_by_imports=True),
        Setting("the working directory", os.getcwd, lambda before: before and os.chdir(before)),
        Setting("the filters of warnings", lambda: list(warnings.filters), _put_filters, is_set_by_imports=True),
        Setting("the logging handlers", _loggers, _put_loggers, is_set_by_imports=True),
        Setting("the decimal context", _decimals, _put_decimals),
        Setting("NumPy's treatment of errors", np.geterr, lambda before: np.seterr(**before)),
        Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    ]


def files_of(values: Iterable[Any]) -> list[Setting]:
    """The files that these texts and paths name, whether they exist or not; a directory is none."""
    paths = dict.fromkeys(path for path in map(_path_of, values) if path is not None)
    return [Setting(f"file {path}", partial(size_and_time, os.path.abspath(path))) for path in paths]


def size_and_time(file: str | io.IOBase) -> tuple[int, ...] | None:
    """Size, time of the last change and identity of a file, open to write or named; None where there is none."""
    try:
        if isinstance(file, io.IOBase):
            if not file.writable():
                return None
            file.flush()
        seen = os.fstat(file.fileno()) if isinstance(file, io.IOBase) else os.stat(file)
    except (OSError, ValueError):
        return None
    return (seen.st_size, seen.st_mtime_ns, seen.st_ino) if stat.S_ISREG(seen.st_mode) else None


def is_appended(file: io.IOBase, before: Any) -> bool:
    """Whether an open file was written at its end, beyond the place `before`: each run writes the same again."""
    try:
        place, (size, *_) = file.tell(), size_and_time(file) or (-1,)
        return place == size and place > before[0]
    except (OSError, ValueError, TypeError):  # closed, or without a place
        return False


def bytes_written() -> int:
    """Bytes that this thread has written to files, pipes and terminals; 0 where the system does not count them."""
    counts = Path(f"/proc/self/task/{threading.get_native_id()}/io")
    try:
        words = counts.read_text().split()
    except OSError:
        return 0
    return int(words[words.index("wchar:") + 1])


def _path_of(value: Any) -> str | None:
    """The path that a value names; None where it surely names none."""
    try:
        path = os.fspath(value)
    except Exception:  # an open file, or an object that does as it likes
        return None
    is_path = isinstance(path, str) and 0 < len(path) <= LONGEST_PATH and path.isprintable()
    return path if is_path else None


def _put_environment(before: Mapping[str, str]) -> None:
    for key in os.environ.keys() - before.keys():
        del os.environ[key]
    os.environ.update(before)


def _put_filters(before: list[Any]) -> None:
    warnings.filters[:] = before
    with warnings.catch_warnings():  # leaving it makes Python look at them again
        pass


def _loggers() -> dict[str, tuple]:
    """Handlers, filters, level and switches of the loggers that have any."""
    loggers = {"root": logging.root, **logging.root.manager.loggerDict}
    kept = {name: one for name, one in loggers.items() if isinstance(one, logging.Logger)}
    states = {name: (*one.handlers, *one.filters, one.level, one.propagate, one.disabled) for name, one in kept.items()}
    return {name: state for name, state in states.items() if state != (logging.NOTSET, True, False)}


def _put_loggers(before: Mapping[str, tuple]) -> None:
    for name in _loggers().keys() | before.keys():
        *parts, level, propagate, disabled = before.get(name, (logging.NOTSET, True, False))
        one = logging.getLogger(name)
        one.handlers[:] = [part for part in parts if isinstance(part, logging.Handler)]
        one.filters[:] = [part for part in parts if not isinstance(part, logging.Handler)]
        one.setLevel(level)
        one.propagate, one.disabled = propagate, disabled


def _decimals() -> tuple[dict[str, Any], dict[Any, bool]]:
    """Precision, rounding and traps; flags are what calculations leave there."""
    own = decimal.getcontext()
    return {name: getattr(own, name) for name in DECIMALS}, dict(own.traps)


def _put_decimals(before: tuple[dict[str, Any], dict[Any, bool]]) -> None:
    own = decimal.getcontext()
    for name, value in before[0].items():
        setattr(own, name, value)
    own.traps.update(before[1])
