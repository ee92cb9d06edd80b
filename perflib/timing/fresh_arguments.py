"""What a function can change: found, saved, compared, restored; and arguments of its own for every run.

A `State` knows the arrays and containers among the arguments, and those behind a function: in its closure, in the globals
that its code names, in its defaults and in `self`.

A `Pool` has a set of arguments for each run of a batch, in the cache that holds one set, and is refilled before the batch,
untimed. Where such a batch would be too short for the clock, the pool reaches into the next cache if that delays a run
little. Otherwise the arrays are copied in the run, and the time of the copy, measured in the same rounds, is subtracted.

    state = State(np.ndarray.sort, (x,))
    x.sort()
    state.changes()     # ["argument 0"]
    state.restore()

Functions of libraries keep what they like: only code that a user wrote is searched.
"""

import array
import copy
import ctypes
import dis
import inspect
import io
import itertools
import os
import pickle
import random
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path, PurePath
from types import CellType, CodeType, FunctionType, MemberDescriptorType, ModuleType, NoneType
from typing import Any

import numpy as np

from ..display.text import size_text
from ..errors import Unmeasurable
from ..kernels.buffers import aligned_empty
from ..kernels.caches import LINE_BYTES, data_caches, reported_caches
from .case import Case, named
from .cold_cache import _available_bytes, _extent
from .effects.foreign import arrays_in, foreign, typed_copy
from .effects.settings import Setting, files_of, is_appended, settings, size_and_time
from .loops import (
    call_each,
    call_each_with,
    call_refilled,
    copy_each,
    copying_loop,
    entry_point,
    refilling_loop,
    rotating_loop,
)
from .placement import Placement
from .sampling import BATCH_NS

CONTAINERS = (np.ndarray, list, dict, set, bytearray, deque, array.array)
RANDOM = (np.random.Generator, np.random.RandomState, random.Random)
MEMORY = (memoryview, ctypes.Array, ctypes.Structure)
PLAIN = (NoneType, bool, int, float, complex, bytes, range, slice, np.generic, np.dtype, ModuleType, type)
ATOMS = (*PLAIN, str, PurePath)
OBJECT_DEPTH = 2  # objects in objects whose attributes are looked at
ROOM = 0.75  # of a cache, for the sets of a pool: code and the other arguments need the rest
NEXT_CACHE = 10 * 1.5 / LINE_BYTES  # nanoseconds of a run per byte, for which lines of the next cache at 1.5 ns are little
SPARE = 10  # times the runs that fill a batch: the first calls take longer than later ones
SHORTEST_NS = 40_000  # a batch of sets; the clock steps by some 40 ns at most
LARGEST_POOL = 256 << 20
SMALL_SET = 4 << 10  # bytes that come from the next cache in no time beside a call from Python
CONTENTS = 8  # different ones where the copy is a part of the run
OBJECT_BYTES = 32  # of a number in a list
COPIES = (
    "identical copies train the branch predictor: other values may take longer; fresh=make draws new ones for every run"
)
MOST_SAVED = 100_000  # containers in containers
FEW_PATHS = 16  # texts in a container that may name files
LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(__file__).parents[1]))


class State:
    """What the arrays and containers that a function reaches held when this was made."""

    def __init__(self, fn: Callable, args: tuple = (), kwargs: dict[str, Any] | None = None) -> None:
        self.cached: list[Any] = []
        """Functions with an `lru_cache` that it reaches."""
        self.notes: list[str] = []
        self.spent: list[str] = []
        """Names of the generators that were used up before."""
        self._saved: dict[int, tuple[str, Any, Any]] = {}
        self._attributes: list[tuple[str, Any, dict[str, Any]]] = []
        self._bindings: list[tuple[str, Any, str, Any]] = []
        self._generators: list[tuple[Any, Any]] = []
        self._paths: list[Any] = []
        self._modules = len(sys.modules)
        self._free = (_available_bytes() or 1 << 62) // 2
        for key, value in (*enumerate(args), *(kwargs or {}).items()):
            self._save(f"argument {key}", value)
        self._search(fn, set())
        for module, name in (("numpy.random.mtrand", "_rand"), ("random", "_inst")):
            self._save("global random numbers", getattr(sys.modules.get(module), name, None))
        for one in (*settings(), *files_of(self._paths)):
            self._saved[id(one)] = one.name, one, one.now()

    def changes(self) -> list[str]:
        """Names of what holds something else now, arguments first."""
        self._follow_imports()
        names = [name for name, value, before in self._saved.values() if _is_changed(name, value, before)]
        return list(dict.fromkeys([*names, *(name for name, _ in self._bound_anew())]))

    def new_attributes(self) -> list[str]:
        """Names of the objects that have more attributes now, as `functools.cached_property` adds them."""
        return [f"{name}.{key}" for name, one, before in self._attributes for key in _attributes_of(one).keys() - before]

    def unseen(self) -> list[str]:
        """Names of the arguments that are iterators whose position is unknown."""
        entries = self._saved.values()
        return [name for name, value, before in entries if before is None and _is_read(name, value)]

    def value(self, name: str) -> Any:
        """The array or container of this name that holds something else now; the first one where none does."""
        entries = [(value, before) for other, value, before in self._saved.values() if other == name]
        changed = [value for value, before in entries if _is_changed(name, value, before)]
        changed += [value for other, value in self._bound_anew() if other == name]
        return changed[0] if changed else entries[0][0]

    def is_only_used(self, name: str, is_steady: bool) -> bool:
        """Whether what changed leaves the next run the same work: a file that is written, a setting that is made again.

        An open file must be written at its end.
        """
        entries = [(value, before) for other, value, before in self._saved.values() if other == name]
        changed = [(value, before) for value, before in entries if _is_changed(name, value, before)]
        return bool(changed) and all(_is_only_used(value, before, is_steady) for value, before in changed)

    def _follow_imports(self) -> None:
        """Take for granted what libraries set up that were imported meanwhile."""
        if len(sys.modules) == self._modules:
            return
        self._modules = len(sys.modules)
        for key, (name, value, _) in list(self._saved.items()):
            if isinstance(value, Setting) and value.is_set_by_imports:
                self._saved[key] = name, value, value.now()

    def _bound_anew(self) -> Iterator[tuple[str, Any]]:
        """Names that stand for other contents now, and what they stood for."""
        for name, holder, key, value in self._bindings:
            names = holder if isinstance(holder, dict) else _attributes_of(holder)
            now = holder.cell_contents if isinstance(holder, CellType) else names.get(key)
            saved = self._saved.get(id(value))
            is_moved = saved and isinstance(value, CONTAINERS) and not _is_same(now, saved[2])
            if now is not value and (is_moved or _is_another_object(now, value)):
                yield name, value

    def changed_arrays(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Name, array and former content of each array that changed, unless a container of its name did too."""
        changed = [entry for entry in self._saved.values() if not _is_same(*entry[1:])]
        others = {name for name, value, _ in changed if not isinstance(value, np.ndarray)}
        return [entry for entry in changed if entry[0] not in others]

    def grew(self, name: str) -> bool:
        """Whether everything of this name only took more, as a cache does."""
        entries = [(value, before) for other, value, before in self._saved.values() if other == name]
        is_linked_anew = any(other == name and _is_of_a_user(value) for other, value in self._bound_anew())
        return not is_linked_anew and all(_is_same(*entry) or _has_grown(*entry) for entry in entries)

    def restore(self, names: Collection[str] | None = None) -> list[str]:
        """Put everything back, or what has one of these names; returns the names of what cannot be."""
        self._follow_imports()
        lost = []
        for name, value, before in self._saved.values():
            if (names is None or name in names) and not _is_same(value, before) and not _put_back(value, before):
                lost.append(name)
        for name, holder, key, value in self._bindings:
            if names is not None and name not in names:
                continue
            if isinstance(holder, CellType):
                holder.cell_contents = value
            elif isinstance(holder, dict):
                holder[key] = value
            else:
                object.__setattr__(holder, key, value)
        for _, one, before in self._attributes if names is None else ():
            for key in _attributes_of(one).keys() - before:
                object.__delattr__(one, key)
            for key, value in before.items():
                object.__setattr__(one, key, value)
        for generator, state in self._generators if names is None else ():
            generator.__setstate__(state)
        return list(dict.fromkeys(lost))

    def _save(self, name: str, value: Any, depth: int = 0) -> None:
        """A value and what it holds."""
        waiting = [(value, depth)]
        while waiting and len(self._saved) < MOST_SAVED:
            value, depth = waiting.pop()
            if isinstance(value, (str, os.PathLike)):
                self._paths.append(value)
            if isinstance(value, ATOMS) or id(value) in self._saved:
                continue
            if one := foreign(name, value):
                before = one.now()
                self._saved[id(value)] = name, one, before
                waiting += [(part, depth) for part in arrays_in(before)]
                continue
            if type(value).__module__ == "torch" and not getattr(value, "is_cuda", True):
                value = value.detach().numpy()  # the same memory
            elif isinstance(value, MEMORY):
                value = _memory_of(value)
            if isinstance(value, np.ndarray):
                self._save_array(name, value)
            elif isinstance(value, CONTAINERS):
                self._saved[id(value)] = name, value, copy.copy(value)
            elif _is_frame(value):
                self._saved[id(value)] = name, value, value.copy()
            elif isinstance(value, io.IOBase) or inspect.isgenerator(value) or _is_read(name, value):
                self._saved[id(value)] = name, value, _position(value)
                self.spent += [name] if inspect.isgenerator(value) and value.gi_frame is None else []
            elif isinstance(value, RANDOM):
                source = getattr(value, "bit_generator", value)
                self._generators.append((source, source.__getstate__()))
            if isinstance(value, (dict, list, tuple, deque)) or (isinstance(value, np.ndarray) and value.dtype == object):
                parts = list(value.values() if isinstance(value, dict) else getattr(value, "flat", value))
                atoms = PLAIN if len(parts) <= FEW_PATHS else ATOMS
                waiting += [(part, depth) for part in parts if not isinstance(part, atoms)]
            elif depth < OBJECT_DEPTH and _has_attributes(value, name.startswith("argument")):
                attributes = _attributes_of(value)
                self._attributes.append((name, value, attributes))
                for key, part in attributes.items():
                    self._bind(name, value, key, part)
                    waiting.append((part, depth + 1))
                waiting += [(part, depth + 1) for part in _of_its_class(type(value))]

    def _save_array(self, name: str, value: np.ndarray) -> None:
        if value.nbytes > self._free:
            self.notes.append(f"{name} is not watched: it is larger than half of the free memory")
            return
        self._free -= value.nbytes
        plain = value.view(np.ndarray)
        self._saved[id(value)] = name, plain, plain.copy(order="K")

    def _bind(self, name: str, holder: Any, key: str, value: Any) -> None:
        if isinstance(value, (*CONTAINERS, NoneType, bool, int, float, str)) or _is_of_a_user(value):
            self._bindings.append((name, holder, key, value))

    def _search(self, fn: Any, seen: set[int]) -> None:
        """Everything behind a function."""
        if id(fn) in seen or hasattr(fn, "nopython_signatures"):  # compiled code has constants only
            return
        seen.add(id(fn))
        if hasattr(fn, "cache_info"):
            self.cached.append(fn)
        if isinstance(fn, partial):
            self._save("its bound argument", (*fn.args, *fn.keywords.values()))
            self._search(fn.func, seen)
        owner = getattr(fn, "__self__", None)
        owner = tuple(_of_its_class(owner)) if isinstance(owner, type) else owner
        if owner is not None and not isinstance(owner, ModuleType):
            self._save("self", owner)
        inner = getattr(fn, "__func__", fn)
        if isinstance(inner, FunctionType):
            self._search_function(inner, seen)
        elif hasattr(fn, "__wrapped__"):
            self._search(fn.__wrapped__, seen)
        elif isinstance(inspect.getattr_static(type(fn), "__call__", None), FunctionType):  # an object that can be called
            self._save("self", fn)
            self._search(type(fn).__call__, seen)

    def _search_function(self, fn: FunctionType, seen: set[int]) -> None:
        if fn.__code__.co_filename.startswith(LIBRARIES):
            return
        self._paths += _texts_of(fn.__code__)
        self._save("a default of its arguments", (*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()))
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            try:
                self._look_at(f"{name} of its closure", cell, name, cell.cell_contents, seen)
            except ValueError:  # not bound yet
                continue
        for name in _globals_of(fn.__code__):
            if name in fn.__globals__:
                self._look_at(f"global {name}", fn.__globals__, name, fn.__globals__[name], seen)
        for key, value in vars(fn).items():
            self._look_at(f"its attribute {key}", vars(fn), key, value, seen)

    def _look_at(self, name: str, holder: Any, key: str, value: Any, seen: set[int]) -> None:
        if callable(value) and not isinstance(value, type) and not foreign(name, value):
            self._search(value, seen)
        else:
            self._bind(name, holder, key, value)
            self._save(name, value)


def _globals_of(code: CodeType) -> Iterator[str]:
    """Names of globals that the code and the functions in it use."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def _texts_of(code: CodeType) -> list[str]:
    """The texts that the code and the functions in it contain: some name files."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    own = [constant for constant in code.co_consts if isinstance(constant, str)]
    return [*own, *(text for one in inner for text in _texts_of(one))]


def _has_attributes(value: Any, may_be_of_a_library: bool) -> bool:
    """Whether it is an object with attributes that a function may change; what libraries keep behind it is theirs."""
    if (
        _is_frame(value)
        or isinstance(value, (*RANDOM, io.IOBase))
        or hasattr(value, "__code__")
        or hasattr(value, "py_func")
    ):
        return False
    has_any = type(getattr(value, "__dict__", None)) is dict or bool(_slots_of(type(value)))
    return has_any and (may_be_of_a_library or not _is_of_a_library(type(value)))


def _is_of_a_user(value: Any) -> bool:
    return not (isinstance(value, ATOMS) or callable(value) or _is_of_a_library(type(value)))


def _is_another_object(now: Any, value: Any) -> bool:
    """Whether a name that stood for a user's object, or for None, stands for another one: nodes that were linked anew."""
    if not any(map(_is_of_a_user, (now, value))) or (value is not None and not _is_of_a_user(value)):
        return False
    try:
        return pickle.dumps(now) != pickle.dumps(value)
    except Exception:  # pickle raises whatever an object does
        return False


def _is_of_a_library(kind: type) -> bool:
    home = sys.modules.get(kind.__module__)
    return kind.__module__ == "builtins" or (getattr(home, "__file__", None) or "").startswith(LIBRARIES)


def _slots_of(kind: type) -> list[str]:
    """Names under which `__slots__` of Python's classes are kept, private ones with that of their class before them."""
    named = (vars(one) for one in kind.__mro__ if "__slots__" in vars(one))
    return [key for names in named for key, value in names.items() if isinstance(value, MemberDescriptorType)]


def _attributes_of(value: Any) -> dict[str, Any]:
    """Those in its `__dict__` and those in its slots."""
    slots = {key: getattr(value, key) for key in _slots_of(type(value)) if hasattr(value, key)}
    return slots | dict(getattr(value, "__dict__", {}))


def _of_its_class(kind: type) -> list[Any]:
    """What all objects of a user's class share."""
    return [] if _is_of_a_library(kind) else [part for part in vars(kind).values() if isinstance(part, CONTAINERS)]


def _memory_of(value: Any) -> Any:
    """The bytes of a ctypes object or a view, as an array over the same memory."""
    view = memoryview(value)
    return np.frombuffer(view.cast("B"), np.uint8) if view.nbytes and view.c_contiguous and not view.readonly else None


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series))


def _position(value: Any) -> Any:
    """How far an iterator or a file was read, and what a file in memory holds; None where that is unknown."""
    if inspect.isgenerator(value):
        return inspect.getgeneratorstate(value), value.gi_frame and value.gi_frame.f_lasti
    if isinstance(value, io.IOBase):
        try:
            content = value.getvalue() if isinstance(value, (io.StringIO, io.BytesIO)) else size_and_time(value)
            return (value.tell(), content) if value.seekable() else None
        except (OSError, ValueError):  # closed, or read line by line
            return value.closed
    try:
        return value.__length_hint__()
    except (AttributeError, TypeError):
        return None


def _is_read(name: str, value: Any) -> bool:
    return isinstance(value, Iterator) and name.startswith("argument")


def _is_changed(name: str, value: Any, before: Any) -> bool:
    """Whether runs would work on something else: behind a function, a set that grows is what it has seen."""
    if _is_same(value, before):
        return False
    if isinstance(value, set) and not name.startswith("argument"):
        return not _has_grown(value, before)
    return name.startswith("argument") or not inspect.isgenerator(value) or value.gi_frame is None


def _is_same(value: Any, before: Any) -> bool:
    if isinstance(value, Setting):
        return bool(value.now() == before)
    if isinstance(value, np.ndarray):
        return isinstance(before, np.ndarray) and _same_bytes(value, before)
    if _is_frame(value):
        return type(value) is type(before) and value.equals(before)
    if isinstance(value, (Iterator, io.IOBase)):
        return _position(value) == before
    if isinstance(value, dict):
        value, before = list(value.items()), list(before.items()) if isinstance(before, dict) else before
    try:
        return bool(value == before)  # elements that are the same object are equal to Python
    except Exception:  # arrays that took the place of others, objects that do as they like
        return False


def _is_only_used(value: Any, before: Any, is_steady: bool) -> bool:
    if isinstance(value, Setting):
        return value.put is None or (is_steady and not value.kind)
    return isinstance(value, io.IOBase) and is_appended(value, before)


def _same_bytes(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.hasobject:
        return all(a is b for a, b in zip(one.flat, other.flat, strict=True))
    first, second = (np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in (one, other))
    return bool(np.array_equal(first, second))


def _has_grown(value: Any, before: Any) -> bool:
    if isinstance(value, dict):
        return all(key in value and value[key] is part for key, part in before.items())
    if isinstance(value, set):
        return before <= value
    return isinstance(value, list) and all(a is b for a, b in zip(before, value, strict=False)) and len(value) > len(before)


def _put_back(value: Any, before: Any) -> bool:
    """Whether what it held could be put back."""
    if isinstance(value, Setting):
        return value.put_back(before)
    if isinstance(value, np.ndarray):
        if value.shape != before.shape or not value.flags.writeable:
            return False
        value[...] = before
    elif isinstance(value, (list, bytearray, array.array)):
        value[:] = before
    elif isinstance(value, (dict, set)):
        value.clear()
        value.update(before)
    elif isinstance(value, deque):
        value.clear()
        value.extend(before)
    elif _is_frame(value):
        vars(value).update(vars(before.copy()))
    elif isinstance(value, io.IOBase) and isinstance(before, tuple) and not value.closed:
        place, content = before
        if isinstance(content, tuple):  # on disk
            if place == content[0]:
                value.truncate(place)  # what was written behind its end
            value.seek(place)
            return place == content[0] or size_and_time(value) == content
        if content is not None:
            value.seek(0)
            value.truncate()
            value.write(content)
        value.seek(place)
    else:
        return False
    return True


def fresh_copy(value: Any) -> Any:
    """A copy that shares nothing that can be changed; Python's own numbers and words stay the same objects."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.copy(order="K")
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, set, deque)) else (value,)
    if isinstance(value, CONTAINERS) and all(isinstance(part, ATOMS) for part in parts):
        return copy.copy(value)
    typed = typed_copy(value, fresh_copy)
    return copy.deepcopy(value) if typed is None else typed


class Pool:
    """Arguments of its own for each run of a batch.

    args: one set of them; own: indices of those that every run has for itself. draw: returns new sets; None: copies.
    """

    def __init__(
        self,
        args: tuple,
        own: tuple[int, ...],
        call_ns: float,
        draw: Callable[[], tuple] | None = None,
        draw_ns: float = 0.0,
        budget_s: float = 1.0,
        step: int = 0,
        loose: tuple[int, ...] = (),
    ) -> None:
        """call_ns: time of a run, which says how many fill a batch. step: of drawn places; 0: the pool stays in one.

        loose: indices of arrays that differ in shape from draw to draw.
        """
        self.args, self.own, self._draw = args, own, draw
        plain = [i for i in own if i not in loose and type(args[i]) is np.ndarray and not args[i].dtype.hasobject]
        self._arrays = [i for i in plain if args[i].size]
        self._objects = [i for i in own if i not in self._arrays]
        self._has_objects = any(not isinstance(args[i], ATOMS) for i in self._objects)
        extents = {i: _extent(args[i]) for i in self._arrays}
        rooms = itertools.accumulate((-(-size // LINE_BYTES) * LINE_BYTES for _, size in extents.values()), initial=0)
        self._starts = {i: room + extents[i][0] for i, room in zip(self._arrays, rooms, strict=False)}
        self._row_bytes = sum(-(-size // LINE_BYTES) * LINE_BYTES for _, size in extents.values())
        self.set_bytes = self._row_bytes + sum(size_of(args[i]) for i in self._objects)
        shared = sum(a.nbytes for i, a in enumerate(args) if i not in own and isinstance(a, np.ndarray))
        self.count = self._sets_that_fit(shared, call_ns, draw_ns, budget_s)
        least = int(SHORTEST_NS / max(1.0, call_ns)) + 1
        self._is_short = self.count < least and not self._has_objects
        if self._has_objects or self.set_bytes <= SMALL_SET:
            self.count = max(self.count, least)
        self._spare = int(self.count * call_ns < BATCH_NS)  # a set to warm up on, where a batch is short
        rows = self.count + self._spare
        self._contents = aligned_empty((rows, self._row_bytes), np.uint8)
        self._contents[...] = 0
        self._masters: list[tuple] = []
        self._fill()
        self._room = aligned_empty((rows, self._row_bytes), np.uint8)
        self._others = tuple(None if i in own else arg for i, arg in enumerate(args))
        placed = (self._room, *self._others)
        self.placement = Placement(placed, step, outputs=[self._room]) if step and self._arrays else None
        self._now = self.placement.bind(placed) if self.placement else lambda: placed
        self._sets: list[tuple] = []
        self._users: set[str] = set()
        self._is_single_use = bool(draw) and any(own_copy(args[i]) is args[i] for i in self._objects)

    def is_copied(self, scope: str) -> bool:
        """Whether the copy is a part of the run: compiled code copies for next to nothing, Python only where it matters."""
        return self._is_short and (scope == "kernel" or self.set_bytes > SMALL_SET)

    def notes(self, scope: str) -> tuple[str, ...]:
        """What a result should say of it."""
        size = size_text(self.count * self.set_bytes)
        how = f"{self.count} sets ({size}) are refilled, untimed, before each batch"
        if self.is_copied(scope):
            how = "they are copied in the run, and the time of the copy is subtracted"
        what = f"every run has its own arguments: {how}"
        return (what,) if self._draw else (what, COPIES)

    @property
    def is_compilable(self) -> bool:
        """Whether compiled code can go from set to set: it moves the data of arrays; numbers stay those of the first."""
        return not self._has_objects

    def cases(self, label: str, fn: Callable, scope: str, names: tuple[str, ...] = ()) -> list[Case]:
        """The case, and the copy alone where that is a part of it."""
        is_copied = self.is_copied(scope)
        minus = f"<{label}, {scope}, the copy>" if is_copied else ""
        run, warm_up = (self._copied_run if is_copied else self._pooled_run)(fn, scope, names)
        prepare = partial(self.make_ready, label=label, warm_up=warm_up)
        most = 0 if is_copied else self.count
        main = Case(label, scope, run, self.notes(scope), 0.0, prepare, self.placement, most, minus)
        if not minus:
            return [main]
        return [main, Case(minus, scope, self._copy_alone(scope), prepare=prepare, placement=self.placement)]

    def make_ready(self, label: str, warm_up: Callable[[], Any]) -> None:
        """Before a batch of this alternative."""
        self.refill(label)
        warm_up()

    def refill(self, label: str) -> None:
        """New contents where this alternative has used the present ones; the same for all alternatives of a round."""
        if label in self._users or self._is_single_use:
            self._users.clear()
            if self._draw:
                self._fill()
        self._users.add(label)
        room, *others = self._now()
        room[...] = self._contents
        self._sets = [self._set(room[row], others, row) for row in range(len(room))]

    def _sets_that_fit(self, shared: int, call_ns: float, draw_ns: float, budget_s: float) -> int:
        """As many as a batch takes, in the smallest cache that holds one set; more where the next cache costs little."""
        wanted = int(SPARE * BATCH_NS / max(1.0, call_ns)) + 1
        least = int(SHORTEST_NS / max(1.0, call_ns)) + 1
        sizes = sorted(ROOM * cache.size_bytes - shared for cache in data_caches(reported_caches()))
        level = next((size for size in sizes if size >= self.set_bytes), LARGEST_POOL)
        count = max(1, min(wanted, int(level / max(1, self.set_bytes))))
        if call_ns >= NEXT_CACHE * self.set_bytes:  # a copy in the run would take longer, and hide behind the run before
            count = max(count, least)
        if draw_ns:
            count = min(count, max(least, int(budget_s * 1e9 / 20 / draw_ns)))
        return count

    def _fill(self) -> None:
        """Draw or copy what the sets hold."""
        self._masters = []
        for row in range(len(self._contents)):
            values = self._draw() if self._draw else self.args
            for i, view in self._views(self._contents[row]).items():
                if values[i].shape != view.shape or values[i].dtype != view.dtype:
                    was, now = (f"{a.dtype} of shape {a.shape}" for a in (view, values[i]))
                    raise Unmeasurable(f"fresh must return arguments of one kind, got {was} and then {now}")
                view[...] = values[i]
            self._masters.append(tuple(values[i] for i in self._objects))

    def _views(self, row: np.ndarray) -> dict[int, np.ndarray]:
        like = self.args
        return {
            i: np.ndarray(like[i].shape, like[i].dtype, row, start, like[i].strides) for i, start in self._starts.items()
        }

    def _set(self, row: np.ndarray, others: list[Any], number: int) -> tuple:
        parts: dict[int, Any] = dict(self._views(row))
        if self._objects:
            parts |= zip(self._objects, map(own_copy, self._masters[number]), strict=True)
        return tuple(parts.get(i, other) for i, other in enumerate(others))

    def _pooled_run(self, fn: Callable, scope: str, names: tuple[str, ...]) -> tuple[Callable, Callable]:
        """The runs of a batch, and one on the spare set."""
        if scope == "call" and names:
            return (
                lambda reps: call_each_with(fn, [named(one, names) for one in self._sets[:reps]]),
                lambda: call_each_with(fn, [named(one, names) for one in self._sets[self.count :]]),
            )
        if scope == "call":
            return (
                lambda reps: call_each(fn, itertools.islice(self._sets, reps)),
                lambda: call_each(fn, self._sets[self.count :]),
            )
        self.refill("")
        offsets = np.arange(self.count + 1) * self._row_bytes
        moves = tuple(int(i in self._arrays) for i in range(len(self.args)))
        loop = entry_point(rotating_loop, fn, 1, self._sets[0], offsets, 0, moves)
        return (
            lambda reps: loop(fn, reps, self._sets[0], offsets, 0, moves),
            lambda: loop(fn, self._spare, self._sets[0], offsets, self.count, moves),
        )

    def _copied_run(self, fn: Callable, scope: str, names: tuple[str, ...]) -> tuple[Callable, Callable]:
        """The runs of a batch with the copy in them, and one more."""
        self.refill("")
        if scope == "kernel":
            loop = entry_point(refilling_loop, fn, 1, self._sets[0], *self._rows())

            def run(reps: int) -> None:
                loop(fn, reps, self._sets[0], *self._rows())

        else:

            def run(reps: int) -> None:
                args, kwargs = named(self._sets[0], names)
                call_refilled(fn, reps, args, kwargs, *self._rows())

        return run, partial(run, 1)

    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the arguments lie, and what they are to hold, in words."""
        return self._now()[0][0].view(np.uint64), self._contents[:CONTENTS].view(np.uint64)

    def _copy_alone(self, scope: str) -> Callable[[int], Any]:
        if scope == "kernel":
            loop = entry_point(copying_loop, 1, *self._rows())
            return lambda reps: loop(reps, *self._rows())
        return lambda reps: copy_each(reps, *self._rows())


def own_copy(value: Any) -> Any:
    """A copy, or the thing itself where it cannot be copied: then a new one is drawn for every run."""
    try:
        return fresh_copy(value)
    except Exception:  # files and generators, and whatever else refuses
        return value


def size_of(value: Any) -> int:
    return sys.getsizeof(value) + OBJECT_BYTES * (len(value) if hasattr(value, "__len__") else 0)
