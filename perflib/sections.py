"""The stopwatch behind `PerformanceStats`: sections that nest, the passes they add up to, and what one section costs.

    outline(paths)                      the paths in the order of their tree; `field_of` and `parent_of` one
    Stopwatch(paths, clock)             `sections` to enter, `passes` that ended well
    section_cost_ns(section, clock)     what entering and leaving a section costs

    watch = Stopwatch(("attention", "attention/qkv"))
    with watch.sections["forward_pass"], watch.sections["attention"], watch.sections["qkv"]:
        ...

One thread at a time: what is open is known to the stopwatch, not to the section. Raises `ValueError` for a section that
is entered where it has no place, or left before the sections inside it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from .stats import median
from .timer import Clock

__all__ = ["Pass", "RESIDUAL", "Section", "Stopwatch", "WHOLE", "field_of", "outline", "parent_of", "section_cost_ns"]

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
            twice = f"{field_of(path)} twice from {paths}"
            raise ValueError(f"components must be distinct and none of them {WHOLE!r}, got {twice}")
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


class _Node:
    """A place in the tree of sections, with what the running pass has spent there."""

    __slots__ = ("children", "entries", "name", "ns", "parent", "path", "start")

    def __init__(self, path: str, parent: "_Node | None" = None) -> None:
        self.path, self.name = path, path.rpartition("/")[2]
        self.parent = parent or self  # the root is its own, so that nothing is ever left to None
        self.children: dict[str, _Node] = {}
        self.start = self.ns = self.entries = 0
        if parent:
            parent.children[self.name] = self


class Section:
    """Context manager of all parts called `name`. It has no state of its own: it may be kept, at every level."""

    __slots__ = ("_name", "_watch")

    def __init__(self, watch: "Stopwatch", name: str) -> None:
        self._watch, self._name = watch, name

    def __enter__(self) -> None:
        watch = self._watch
        try:
            node = watch.open.children[self._name]
        except KeyError:
            raise watch.misplaced(self._name) from None
        node.start = watch.clock()
        watch.open = node  # last: Ctrl-C within this method leaves nothing open, and after it `with` is sure to leave

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        watch = self._watch
        now = watch.clock()
        node = watch.open
        if node.name != self._name:
            node = watch.unwound(self._name, failing=kind is not None)
        node.ns += now - node.start
        node.entries += 1
        watch.open = node.parent


class _Whole(Section):
    """The section that is a pass: it starts from zero, and is kept if it ends well."""

    __slots__ = ()

    def __enter__(self) -> None:
        self._watch.reset()
        super().__enter__()

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        watch = self._watch
        try:
            super().__exit__(kind, error, trace)
            if kind is None:
                watch.keep()
        finally:
            watch.open = watch.root


class Stopwatch:
    """Times passes and the parts inside them; `paths` as in ("attention", "attention/qkv"), a parent before its children.

    `sections[name]` is the context manager of a name, `passes` what ended well. `open` is the innermost running section.
    """

    __slots__ = ("clock", "nodes", "open", "passes", "root", "sections")

    def __init__(self, paths: Iterable[str], clock: Clock = time.perf_counter_ns) -> None:
        self.clock = clock
        self.root = self.open = _Node("")
        self.nodes = {WHOLE: _Node(WHOLE, self.root)}
        for path in paths:
            self.nodes[path] = _Node(path, self.nodes[parent_of(path)])
        self.sections = {n.name: (_Whole if n.path == WHOLE else Section)(self, n.name) for n in self.nodes.values()}
        self.passes: list[Pass] = []

    def reset(self) -> None:
        """Forget what an earlier pass has left; refused while one is running."""
        if self.open is not self.root:
            raise self.misplaced(WHOLE)
        for node in self.nodes.values():
            node.ns = node.entries = 0

    def keep(self) -> None:
        """Add what the nodes hold to the passes."""
        nodes = self.nodes.items()
        self.passes.append(Pass({path: node.ns for path, node in nodes}, {path: node.entries for path, node in nodes}))

    def unwound(self, name: str, failing: bool) -> _Node:
        """The running section called `name`, those inside it forgotten: only a failure may have left them open."""
        node = self.open
        while node.name != name and node is not self.root:
            node = node.parent
        if node is self.root or not failing:
            running = self.open.path or "none"
            raise ValueError(f"section {name!r} must be the innermost one when it is left, got {running!r}")
        return node

    def misplaced(self, name: str) -> ValueError:
        """The error of entering a section where it has no place."""
        got = f"got it inside {_call(self.open)}" if self.open is not self.root else "got it outside"
        if name == WHOLE:
            return ValueError(f"section {name!r} must not be nested, {got}")
        places = " or ".join(_call(node.parent) for node in self.nodes.values() if node.name == name)
        return ValueError(f"section {name!r} must run inside {places}, {got}")


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


def _call(node: _Node) -> str:
    return f"section({node.path!r})"
