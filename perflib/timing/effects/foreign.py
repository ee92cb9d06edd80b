"""Containers that are no Python containers, watched all the same: Numba's lists, dictionaries and objects, and databases.

    one = foreign("argument 0", numba.typed.List([1.0]))
    before = one.now()
    one.put_back(before)

Nothing is imported here: who has such an object has loaded its library.
"""

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .settings import Setting

TYPED = ("numba.typed.typedlist", "numba.typed.typeddict")
SMALL_DATABASE = 16 << 20  # bytes; of one in memory that is copied to be put back


def foreign(name: str, value: Any) -> Setting | None:
    """A reader of what it holds; None for everything else."""
    kind = type(value)
    put: Callable[[Any], Any]
    if kind.__module__ in TYPED:
        read, put = partial(_held, value), partial(_refill, value)
    elif kind.__module__ == "sqlite3":
        connection = getattr(value, "connection", value)
        read, put = partial(_database, connection), partial(_put_database, connection)
    elif _is_numba_object(value):
        read, put = partial(_fields, value), partial(_set_fields, value)
    else:
        return None
    one = Setting(name, read, put, kind.__name__)
    return None if one.now() is None else one


def arrays_in(content: Any) -> list[Any]:
    """The arrays and containers in what a reader of Numba's objects found."""
    held = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return [part.value for part in held]


def typed_copy(value: Any, copy_part: Callable[[Any], Any]) -> Any:
    """A copy of one of Numba's lists or dictionaries that shares nothing; None for everything else."""
    if type(value).__module__ not in TYPED:
        return None
    copy = value.copy()
    for key in list(copy) if isinstance(value, Mapping) else range(len(copy)):
        if isinstance(copy[key], (int, float, complex, str)):
            break  # all are of one type
        copy[key] = copy_part(copy[key])
    return copy


class _Part:
    """An element: arrays are compared by the memory they show, because each look makes a new one."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        one, two = self.value, getattr(other, "value", other)
        if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
            return bool(one.__array_interface__ == two.__array_interface__)
        return bool(one == two) or bool(one != one and two != two)

    __hash__ = None  # type: ignore[assignment]


def _held(value: Any) -> Any:
    """The elements of one of Numba's lists or dictionaries."""
    return {key: _Part(part) for key, part in value.items()} if isinstance(value, Mapping) else list(map(_Part, value))


def _refill(value: Any, before: Any) -> None:
    value.clear()
    if isinstance(value, Mapping):
        for key, part in before.items():
            value[key] = part.value
    else:
        for part in before:
            value.append(part.value)


def _is_numba_object(value: Any) -> bool:
    box = sys.modules.get("numba.experimental.jitclass._box")
    return box is not None and isinstance(value, box.Box)


def _fields(value: Any) -> dict[str, _Part]:
    """The attributes of an object of a `jitclass`."""
    return {key: _Part(getattr(value, key)) for key in value._numba_type_.struct}


def _set_fields(value: Any, before: Mapping[str, _Part]) -> None:
    for key, part in before.items():
        setattr(value, key, part.value)


def _database(connection: Any) -> bytes | int:
    """What a small database in memory holds; of any other, how many rows this connection has changed."""
    cursor = connection.cursor()
    cursor.row_factory = None
    (pages,), (page_bytes,) = (cursor.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size"))
    is_on_disk = any(map(os.path.isabs, (path for *_, path in cursor.execute("PRAGMA database_list"))))
    is_copied = pages and not is_on_disk and pages * page_bytes <= SMALL_DATABASE and not connection.in_transaction
    return connection.serialize() if is_copied else connection.total_changes


def _put_database(connection: Any, before: bytes | int) -> bool:
    """Whether it could be put back: one on disk keeps what was committed."""
    if not isinstance(before, bytes):
        return False
    connection.rollback()
    connection.deserialize(before)
    return True
