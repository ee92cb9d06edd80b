"""Time the nested sections of a pass for `PerformanceStats`, and measure what one section costs.

    watch = Stopwatch(("attention", "attention/qkv"))
    with watch.sections["forward_pass"], watch.sections["attention"], watch.sections["qkv"]:
        ...

One thread at a time: the stopwatch knows which section is open, the section does not. Raises `ValueError` for a section
that is entered where it has no place, or left before the sections inside it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from .stats import median
from .timer import Clock

WHOLE = "forward_pass"
"""The section that is a pass; all others run inside it."""
RESIDUAL = "unexplained"
"""The row of what the parts leave unexplained."""
ROW = 100  # sections in a row: the two readings around it and their jitter are shared by so many


def parent_of(path: str) -> str:
    """`attention` of `attention/qkv`, `forward_pass` of `attention`."""
    return path.rpartition("/")[0] or WHOLE


def field_of(path: str) -> str:
    """What a path is called as an attribute: `attention_qkv_ms`."""
    return path.replace("/", "_") + "_ms"


def outline(paths: Sequence[str]) -> tuple[str, ...]:
    """The paths in the order of a walk through their tree. Raises ValueError where they are none."""
    if isinstance(paths, str):
        raise ValueError(f"components must be several names, got the one string {paths!r}")
    paths = tuple(paths)
    fields = [field_of(path) for path in (WHOLE, *paths)]
    for path in paths:
        if fields.count(field_of(path)) > 1:
            names = f"{field_of(path)} twice from {paths}"
            raise ValueError(f"components must be distinct and none of them {WHOLE!r}, got {names}")
        if path == "residual" or {"", WHOLE, RESIDUAL} & set(path.split("/")):  # residual_ms is a method
            raise ValueError(f"component must not be empty, {WHOLE!r}, {RESIDUAL!r} or 'residual', got {path!r}")
        if parent_of(path) not in (WHOLE, *paths):
            raise ValueError(f"component {path!r} must come with its parent {parent_of(path)!r}, got {paths}")
    return tuple(_walk(paths, WHOLE))


def _walk(paths: Sequence[str], above: str) -> Iterator[str]:
    for path in paths:
        if parent_of(path) == above:
            yield path
            yield from _walk(paths, path)


@dataclass(frozen=True)
class Pass:
    """One pass: for every path the nanoseconds spent there, and how often it was entered (0 where nothing was timed)."""

    ns: dict[str, int]
    entries: dict[str, float]


class Section:
    """A place in the tree of parts, and its context manager, which may be kept: at most one entry of it runs at a time.

    At `number` and behind it the running pass counts nanoseconds and entries. Little is looked up and nothing called but
    the clock: among real work this code is in no cache. Entered where another part of its name belongs, it enters that one.
    """

    __slots__ = ("_start", "_watch", "name", "number", "parent", "path", "twins")

    def __init__(self, watch: "Stopwatch", path: str, number: int, parent: "Section | None" = None) -> None:
        self._watch, self._start = watch, 0
        self.path, self.name, self.number = path, path.rpartition("/")[2], number
        self.parent = parent or self  # the root is its own, so that nothing is ever left to None
        self.twins: dict[Section, Section] = {}
        """The parts of this name, by their parents."""

    def __enter__(self) -> None:
        watch = self._watch
        if watch.open is not self.parent:
            watch.twin(self).__enter__()
            return
        self._start = watch.clock()
        watch.open = self  # last: Ctrl-C within this method leaves nothing open, and after it `with` is sure to leave

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        watch, section = self._watch, self
        now = watch.clock()
        if watch.open is not self:
            section = watch.unwound(self.name, watch.open, failing=kind is not None)
        counts, number = watch.counts, section.number
        counts[number] += now - section._start
        counts[number + 1] += 1
        watch.open = section.parent


class _Whole(Section):
    """The section that is a pass: it starts from zero, and is kept if it ends well."""

    __slots__ = ()

    def __enter__(self) -> None:
        watch = self._watch
        if watch.open is not self.parent:
            raise watch.misplaced(WHOLE)
        watch.counts = [0] * watch.size
        self._start = watch.clock()
        watch.open = self

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        watch = self._watch
        inside, watch.open = watch.open, self.parent  # first: Ctrl-C while the clock is read leaves nothing open either
        now = watch.clock()
        if inside is not self:
            watch.unwound(WHOLE, inside, failing=kind is not None)
        if kind is None:
            counts = watch.counts
            counts[0] = now - self._start
            counts[1] = 1
            watch.unread.append(counts)


class Stopwatch:
    """Times passes and the parts inside them; `paths` as in ("attention", "attention/qkv"), a parent before its children.

    `sections[name]` is the context manager of a name, `open` the innermost running section, `counts` the nanoseconds and
    entries of each in the running pass. With `is_growing` a part may begin anywhere inside a pass, without being declared.
    A pass that ends leaves its list behind: among real work, where no cache holds this
    code, making a `Pass` of it took as long as all its sections. That waits for the first use of `passes`.
    """

    __slots__ = ("_passes", "clock", "counts", "is_growing", "open", "places", "root", "sections", "size", "unread")

    def __init__(self, paths: Iterable[str], clock: Clock = time.perf_counter_ns, is_growing: bool = False) -> None:
        self.clock, self.is_growing = clock, is_growing
        self.root = self.open = Section(self, "", 0)
        self.places: dict[str, Section] = {WHOLE: _Whole(self, WHOLE, 0, self.root)}
        self.sections = dict(self.places)
        self._passes: list[Pass] = []
        self.size, self.counts = 2, [0]
        self.unread: list[list[int]] = []
        for path in paths:
            self._add(path)

    def add(self, path: str) -> Section:
        """A part that may be entered from now on; ValueError where it has no place among the others."""
        outline([*list(self.places)[1:], path])
        return self._add(path)

    def _add(self, path: str) -> Section:
        section = self.places[path] = Section(self, path, self.size, self.places[parent_of(path)])
        section.twins = self.sections.setdefault(section.name, section).twins
        section.twins[section.parent] = section
        self.size += 2
        self.counts += [0, 0]
        return section

    def twin(self, section: Section) -> Section:
        """The part of the same name that belongs where the stopwatch is."""
        if place := section.twins.get(self.open):
            return place
        if not self.is_growing or self.open is self.root:
            raise self.misplaced(section.name)
        return self.begin(section.name)

    def begin(self, name: str) -> Section:
        """A new part of the running section; of the pass where none runs."""
        if not isinstance(name, str) or "/" in name:
            raise ValueError(f"section must be called by its own name inside its parent, got {name!r}")
        return self.add(name if self.open.path in ("", WHOLE) else f"{self.open.path}/{name}")

    @property
    def passes(self) -> list[Pass]:
        """Those that ended well, and what was added to them; parts that came later are in none before."""
        for counts in self.unread:
            ns, entries = (dict(zip(self.places, each, strict=False)) for each in (counts[::2], counts[1::2]))
            self._passes.append(Pass(ns, entries))
        self.unread.clear()
        return self._passes

    def unwound(self, name: str, running: Section, failing: bool) -> Section:
        """The section called `name` around the running one, which is forgotten: only a failure may have left it open."""
        section = running
        while section.name != name and section is not self.root:
            section = section.parent
        if section is self.root or not (failing or section is running):
            raise ValueError(f"section {name!r} must be the innermost one when it is left, got {running.path or 'none'!r}")
        return section

    def misplaced(self, name: str) -> ValueError:
        """The error of entering a section where it has no place."""
        place = f"got it inside {_call(self.open)}" if self.open is not self.root else "got it outside"
        if name == WHOLE:
            return ValueError(f"section {name!r} must not be nested, {place}")
        parents = " or ".join(_call(section.parent) for section in self.places.values() if section.name == name)
        return ValueError(f"section {name!r} must run inside {parents}, {place}")


def section_cost_ns(section: Callable[[str], AbstractContextManager], clock: Clock = time.perf_counter_ns) -> float:
    """What `with section("empty"): ...` costs on this clock, in nanoseconds, where it is written inside a running pass.

    Median over 51 rows of 100 empty sections, less a row of empty turns beside each. The code is warm in such a row:
    among real work a section costs at least this much.
    """
    return max(0.0, median([(_row_ns(section, clock) - _empty_row_ns(clock)) / ROW for _ in range(51)]))


def _row_ns(section: Callable[[str], AbstractContextManager], clock: Clock) -> int:
    start = clock()
    for _ in range(ROW):
        with section("empty"):
            pass
    return clock() - start


def _empty_row_ns(clock: Clock) -> int:
    start = clock()
    for _ in range(ROW):
        pass
    return clock() - start


def _call(section: Section) -> str:
    return f"section({section.path!r})"
