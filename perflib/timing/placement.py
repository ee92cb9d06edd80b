"""Where the arguments lie in memory: drawn anew in every round, because the place alone changes the time of a kernel.

Two arrays whose addresses agree modulo 4096, rows that share the sets of a cache, vectors that split lines: who measures in
one place measures the luck of one draw. A `Placement` copies the arguments into memory of its own, each array to a random
offset within sixteen pages. Arrays that share memory move as one block, so what aliased still aliases. Layout, strides,
order, read-only flag and the address modulo 16 stay. The arrays of the caller are read and never written.

Sixteen pages and not one: with one page, 0, 11 and 0 % of the places of an RMS norm of 2,048 float32 were slow in three
processes, because which page it is matters too; with sixteen, 2 to 6 % in each of five.

    placement = Placement((x, out))
    args = placement.bind((x, out))
    placement.draw(np.random.default_rng(0))
    fn(*args())

Arrays of objects, subclasses, memory maps, arrays in lists or other objects and arrays larger than half of the free memory
stay where they lie; `notes` says which. Lists, dictionaries, sets and bytearrays of plain data are made anew in each draw.
"""

import ctypes
import io
import mmap
import pickle
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import NoneType
from typing import Any

import numpy as np

from ..kernels.buffers import BASE_KIB, HUGE_KIB, mapped
from ..kernels.caches import LINE_BYTES, data_caches, reported_caches
from ..timer import Clock
from .cold_cache import _available_bytes

PAGE = 4096
PAGES = (
    16  # that a block may begin in; with one, 0 to 11 % of the places of an RMS norm were slow by process, with 16 2 to 6 %
)
NUMPY_STEP = 16  # bytes; the alignment that NumPy promises
HUGE_FROM = 4 << 20  # bytes from which on NumPy asks for huge pages
SELDOM = 5  # rounds between two draws where one is expensive
EXPENSIVE = 0.10  # of a batch
LAST_LEVEL = 32 << 20  # where the system does not say
LARGEST_PICKLE = 256 << 10  # copying more containers takes more than a batch
CONTAINERS = (list, dict, set, bytearray)
NO_MEMORY = (NoneType, bool, int, float, complex, str, bytes, frozenset, range, slice, type, np.generic, np.dtype)


def drawn_seed(seed: int | None) -> int:
    """The seed itself, or 63 bits of fresh entropy."""
    return np.random.SeedSequence().entropy & (1 << 63) - 1 if seed is None else seed


@dataclass(eq=False)
class _Block:
    """Arrays that share memory, from the lowest byte of any to the highest."""

    low: int
    high: int
    arrays: list[np.ndarray]
    page_kib: int = BASE_KIB
    slot: int = 0
    """Where its room begins in the memory of its pages."""
    start: int = 0
    """Where its lowest byte lies now, counted as `slot`."""
    is_output: bool = False

    @property
    def size(self) -> int:
        return self.high - self.low

    def source(self) -> np.ndarray:
        """The bytes of the caller, with gaps between the arrays."""
        return np.frombuffer((ctypes.c_ubyte * self.size).from_address(self.low), np.uint8)


class Placement:
    """Copies of arguments in drawn places. `args`, and tuples in `others`, share it where they share memory."""

    def __init__(
        self, args: tuple, step: int = LINE_BYTES, others: Sequence[tuple] = (), outputs: Sequence[Any] = ()
    ) -> None:
        """step: bytes that every offset is a multiple of. outputs: arrays that every alternative writes before it reads."""
        self.step, self.number, self.drawn_in = step, 0, 0
        self.cost_ns = self.batch_ns = float("inf")  # of a draw, and of the shortest batch
        self.notes: tuple[str, ...] = ()
        parts = [list(_leaves(part)) for part in (args, *others)]
        self.names = {id(leaf): name for part in reversed(parts) for name, leaf in reversed(part)}
        self._given = {id(leaf) for _, leaf in parts[0]}
        leaves = {id(leaf): leaf for part in parts for _, leaf in part}.values()
        self._blocks = self._choose(leaves)
        for block in self._blocks:
            block.is_output = all(any(array is output for output in outputs) for array in block.arrays)
        self._containers, self._pickle = self._choose_containers(leaves)
        self._offsets: list[np.ndarray] = []
        self._writers: dict[str, list[_Block]] = {}
        self._dirty: list[_Block] = []
        self._lent: list[weakref.ref] = []
        self._made: dict[int, tuple[Any, Any]] = {}
        self._bound: dict[object, tuple] = {}
        self._warm: set[str] = set()
        self._map()
        self._place(np.arange(len(self._blocks)) * 17 * LINE_BYTES % PAGE)  # apart, until the first draw

    def __bool__(self) -> bool:
        """Whether there is anything to place."""
        return bool(self._blocks or self._containers)

    @property
    def size(self) -> int:
        """Bytes that are copied."""
        return sum(block.size for block in self._blocks)

    @property
    def period(self) -> float:
        """Rounds from one draw to the next: infinity where the arrays exceed the caches."""
        if self.size > last_level_bytes():
            return float("inf")
        return SELDOM if self.size >= HUGE_FROM or self.cost_ns > EXPENSIVE * self.batch_ns else 1

    def begin_round(self, number: int, rng: np.random.Generator, clock: Clock) -> None:
        """Draw, unless the last draw is too few rounds ago; numbers that start again are another series of rounds."""
        if self.number and 0 <= number - self.drawn_in < self.period:
            return
        self.drawn_in = number
        for place in (partial(self.draw, rng), *([] if self.number else [lambda: self.revisit(1)])):  # one may be disturbed
            start = clock()
            place()
            self.cost_ns = min(self.cost_ns, clock() - start)

    def draw(self, rng: np.random.Generator) -> None:
        """Copy every block to a random offset within its pages, and every container to a new object."""
        self._offsets.append(rng.integers(0, PAGES * PAGE // self.step, len(self._blocks)) * self.step)
        self.revisit(len(self._offsets))

    def revisit(self, number: int) -> None:
        """The draw of this number again, counted from 1."""
        self._place(self._offsets[number - 1])
        self.number = number

    def bind(self, args: tuple, through: Callable[..., tuple] | None = None) -> Callable[[], tuple]:
        """A function that returns `args` in their present place, passed `through` another once per draw."""
        key = object()

        def current() -> tuple:
            if key not in self._bound:
                moved = self._move(args)
                self._bound[key] = moved if through is None else through(*moved)
            return self._bound[key]

        return current

    def restore(self) -> None:
        """Undo what alternatives wrote since the draw."""
        for block in self._dirty:
            self._bytes(block)[...] = block.source()
        self._dirty = []

    def restore_all(self) -> None:
        """Put back what every block held, whoever wrote it; outputs stay."""
        for block in self._blocks:
            if not block.is_output:
                self._bytes(block)[...] = block.source()
        self._dirty = []

    def is_new_to(self, label: str) -> bool:
        """Whether this alternative has not run here since the draw."""
        return label not in self._warm

    def record_run(self, label: str, elapsed_ns: int) -> None:
        """Note a batch of this alternative. Which blocks it writes is seen at its first."""
        if label not in self._writers:
            blocks = [block for block in self._blocks if not block.is_output]
            self._writers[label] = [b for b in blocks if not np.array_equal(self._bytes(b), b.source())]
        self._dirty += [block for block in self._writers[label] if block not in self._dirty]
        self._warm.add(label)
        self.batch_ns = min(self.batch_ns, elapsed_ns)

    def addresses(self, number: int) -> dict[str, tuple[int, int]]:
        """First byte and size of each array in a draw, by the name of its argument; addresses agree modulo 2 MiB."""
        places = {}
        for block, offset in zip(self._blocks, self._offsets[number - 1], strict=True):
            for array in block.arrays:
                low, high = np.lib.array_utils.byte_bounds(array)
                start = block.slot + block.low % NUMPY_STEP + int(offset) + low - block.low
                places[self.names[id(array)]] = start, high - low
        return places

    @property
    def is_alignable(self) -> bool:
        """Whether a step of 64 puts every array on a boundary of 64 bytes."""
        arrays = [(block, array) for block in self._blocks for array in block.arrays]
        starts = [np.lib.array_utils.byte_bounds(array)[0] - block.low + block.low % NUMPY_STEP for block, array in arrays]
        return bool(starts) and not any(start % LINE_BYTES for start in starts)

    def _stay(self, value: Any, reason: str) -> None:
        if id(value) in self._given:
            self.notes += (f"argument {self.names[id(value)]} stays where it lies: {reason}",)

    def _choose(self, leaves: Iterable[Any]) -> list[_Block]:
        """The blocks of the arrays that can be placed; a note on each that cannot."""
        spans: dict[int, _Block] = {}
        for value in leaves:
            if reason := _why_it_stays(value):
                self._stay(value, reason)
            elif isinstance(value, np.ndarray) and value.nbytes:
                low, high = np.lib.array_utils.byte_bounds(value)
                block = spans.setdefault(id(_owner(value)), _Block(low, high, []))
                block.low, block.high = min(block.low, low), max(block.high, high)
                block.arrays.append(value)
        blocks: list[_Block] = []
        for block in sorted(spans.values(), key=lambda block: block.low):
            if blocks and block.low < blocks[-1].high:
                blocks[-1].high = max(blocks[-1].high, block.high)
                blocks[-1].arrays += block.arrays
            else:
                blocks.append(block)
        free, kept = (_available_bytes() or 1 << 62) // 2, []
        for block in sorted(blocks, key=lambda block: block.size):
            if block.size > free:
                self._stay(block.arrays[0], "it is larger than half of the free memory")
            else:
                free -= block.size
                kept.append(block)
        return sorted(kept, key=lambda block: block.low)

    def _choose_containers(self, leaves: Iterable[Any]) -> tuple[list[Any], bytes]:
        """The containers of plain data, and all of them pickled together, so that what they share stays shared."""
        containers = []
        for value in leaves:
            if type(value) in CONTAINERS and 0 < len(_pickled([value])) < LARGEST_PICKLE:
                containers.append(value)
            elif type(value) in CONTAINERS:
                self._stay(value, f"it is a {type(value).__name__} that is large or holds more than plain data")
        return containers, _pickled(containers)

    def _map(self) -> None:
        """Memory of its own, every page present, with huge pages where NumPy has them."""
        rooms = dict.fromkeys((BASE_KIB, HUGE_KIB), 0)
        for block in self._blocks:
            block.page_kib = HUGE_KIB if block.size >= HUGE_FROM else BASE_KIB
            block.slot = rooms[block.page_kib]
            rooms[block.page_kib] += -(-block.size // PAGE) * PAGE + (PAGES + 1) * PAGE
        self._memory = {pages: mapped(size, pages) for pages, size in rooms.items() if size}
        # through ctypes: a view of a placed array then keeps that array alive, not the memory alone
        self._rooms = {p: (ctypes.c_ubyte * len(memory)).from_buffer(memory) for p, memory in self._memory.items()}

    def _place(self, offsets: np.ndarray) -> None:
        self._made.clear()
        self._bound.clear()
        if any(array() is not None for array in self._lent):  # one is still in use, with its memory
            self._map()
        self._lent = []
        for block, offset in zip(self._blocks, offsets, strict=True):
            block.start = block.slot + int(offset) + block.low % NUMPY_STEP
            self._bytes(block)[...] = block.source()
        if self._containers:
            copies = pickle.loads(self._pickle)
            self._made = {id(value): (value, copy) for value, copy in zip(self._containers, copies, strict=True)}
        self._dirty = []
        self._warm.clear()

    def _bytes(self, block: _Block) -> np.ndarray:
        return self._memory[block.page_kib][block.start : block.start + block.size]

    def _move(self, value: Any) -> Any:
        """The same value, made of what was placed."""
        if _is_branch(value):
            parts = [self._move(part) for part in value]
            return value if all(map(_same, parts, value)) else getattr(value, "_make", tuple)(parts)
        if id(value) not in self._made and type(value) is np.ndarray and (block := self._block_of(value)):
            start = block.start + value.__array_interface__["data"][0] - block.low
            copy = np.ndarray(value.shape, value.dtype, self._rooms[block.page_kib], start, value.strides)
            copy.flags.writeable = value.flags.writeable
            self._made[id(value)] = value, copy  # with what it is a copy of: else another object might get that identity
            self._lent.append(weakref.ref(copy))
        return self._made.get(id(value), (value, value))[1]

    def _block_of(self, array: np.ndarray) -> _Block | None:
        if not array.nbytes or array.dtype.hasobject:
            return None
        low, high = np.lib.array_utils.byte_bounds(array)
        return next((block for block in self._blocks if block.low <= low and high <= block.high), None)


@cache
def last_level_bytes() -> int:
    """The largest cache that the system reports."""
    return max((c.size_bytes for c in data_caches(reported_caches())), default=LAST_LEVEL)


def _same(one: object, other: object) -> bool:
    return one is other


def _is_branch(value: object) -> bool:
    return type(value) is tuple or (isinstance(value, tuple) and hasattr(value, "_make"))


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What tuples and named tuples hold, with a name such as 2 or 2[0]."""
    if not _is_branch(value):
        yield name, value
        return
    for i, part in enumerate(value):
        yield from _leaves(part, f"{name}[{i}]" if name else str(i))


def _why_it_stays(value: Any) -> str:
    """The reason against copying, empty for what is copied and for what has no memory worth placing."""
    if isinstance(value, np.ndarray):
        if type(value) is not np.ndarray:
            return f"it is a {type(value).__name__}"
        if value.dtype.hasobject:
            return "it is an array of objects"
        return "it is a memory map" if _is_mapped(value) else ""
    if callable(value) or isinstance(value, NO_MEMORY) or type(value) in CONTAINERS:
        return ""
    return f"it is a {type(value).__name__}"


def _is_mapped(value: Any) -> bool:
    while value is not None:
        if isinstance(value, (mmap.mmap, np.memmap)):
            return True
        value = value.obj if isinstance(value, memoryview) else getattr(value, "base", None)
    return False


def _owner(array: np.ndarray) -> Any:
    """The array or buffer that all views of it share."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array if array.base is None else array.base


class _PlainPickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        """Refuse everything that pickle does not write by itself."""
        raise pickle.PicklingError(type(value).__name__)


def _pickled(values: list[Any]) -> bytes:
    """Empty where anything in it is not plain data."""
    buffer = io.BytesIO()
    try:
        _PlainPickler(buffer, pickle.HIGHEST_PROTOCOL).dump(values)
    except Exception:  # pickle raises whatever an object does
        return b""
    return buffer.getvalue()
