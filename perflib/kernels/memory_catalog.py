"""Describe the memory kernels: buffers from one arena on pages of a chosen size, warm when a batch begins.

TRAFFIC             descriptions of the chase, of reads, writes, copies and triads, and of strided reads
CHASE_STEPS         loads in one run of the chase, whatever the size of its cycle

Sizes: `memory_chase` walks n places, `stride` bytes apart, by `chains` chains; the others work on vectors of n elements.
Counted bytes are STREAM's: every array once. Moved bytes add the line that a plain store fetches before it writes
(write allocate) where nothing is cached; non-temporal stores move what they count.
"""

from collections.abc import Callable

import numpy as np

from .buffers import BASE_KIB, arena
from .caches import LINE_BYTES
from .description import Kernel
from .probes import stream
from .probes.chase import Cycle, _chase, chase, link, relink

CHASE_STEPS = 4096
PATTERN = 251  # values 0 to 250, exact in float32; no vector is a multiple of it, so a misplaced element shows
VALUE = 0.5


def _cycle(links: int, dtype: str, rng: np.random.Generator, page_kib: int, chains: int, stride: int) -> tuple[Cycle, int]:
    elements = (links - 1) * stride // 8 + 1
    return link(arena(8 * elements, page_kib).view(np.int64), links, stride, chains), CHASE_STEPS


def _walk(cycle: Cycle, steps: int) -> tuple[np.ndarray, float]:
    """The sum of the positions, walked in Python."""
    positions = [int(cursor[0]) for cursor in cycle.cursors]
    for _ in range(steps // len(positions)):
        positions = [int(cycle.memory[position]) for position in positions]
    return np.array(sum(positions)), 0.0


def _vectors(count: int, n: int, dtype: str, page_kib: int) -> tuple[np.ndarray, ...]:
    """So many vectors one after another, each on a cache line of its own; the pattern is in all of them."""
    room = -(-n * np.dtype(dtype).itemsize // LINE_BYTES) * LINE_BYTES
    block = arena(max(1, count * room), page_kib)
    vectors = tuple(block[i * room : (i + 1) * room].view(dtype)[:n] for i in range(count))
    _refill(*vectors)
    return vectors


def _refill(*vectors: np.ndarray) -> None:
    for vector in vectors:
        pattern, whole = np.arange(PATTERN, dtype=vector.dtype), vector.size // PATTERN * PATTERN
        vector[:whole].reshape(-1, PATTERN)[...] = pattern
        vector[whole:] = pattern[: vector.size - whole]


def _sum(x: np.ndarray, stride: int = 1) -> tuple[np.ndarray, float]:
    wide = x[::stride].astype(np.float64)
    return np.array(wide.sum()), x.size * np.finfo(x.dtype).eps * abs(wide).sum()


def _describe(
    name: str,
    arrays: int,
    fetched: int,
    exact: Callable[..., tuple],
    leading: tuple = (),
    stride: bool = False,
    **more: object,
) -> Kernel:
    """A kernel of `stream` on that many vectors, `fetched` of them only because a store would overwrite them."""
    call, compiled = getattr(stream, name), getattr(stream, f"_{name}")

    def make(n: int, dtype: str, rng: np.random.Generator, page_kib: int, **last: int) -> tuple:
        return (*leading, *_vectors(arrays, n, dtype, page_kib), *last.values())

    def prepare(*args: object) -> None:
        _refill(*(a for a in args if isinstance(a, np.ndarray)))
        compiled(*args, *more.get("tuning", {}).values())

    return Kernel(
        f"memory_{name}",
        call,
        compiled=compiled,
        make=make,
        exact=exact,
        prepare=prepare,
        placement="own",
        params={"page_kib": BASE_KIB} | ({"stride": 1} if stride else {}),
        flops=lambda n, **_: 2 * n if arrays == 3 else 0,
        bytes=lambda n, itemsize, stride=1, **_: arrays * -(-n // stride) * itemsize,
        moved=None if stride else lambda n, itemsize, **_: (arrays + fetched) * n * itemsize,
        **more,
    )


# of a kernel and of its variant past the caches: vectors, arguments before them, place of the output, its exact value
_WRITERS = {
    "write": (1, (VALUE,), 1, lambda value, out: (np.full(out.size, value), 0.0)),
    "copy": (2, (), 1, lambda x, out: (x.astype(np.float64), 0.0)),
    "triad": (3, (), 2, lambda b, c, out: (b.astype(np.float64) + stream.FACTOR * c, 0.0)),
}

TRAFFIC = (
    Kernel(
        "memory_chase",
        chase,
        compiled=_chase,
        make=_cycle,
        exact=_walk,
        prepare=lambda cycle, steps: relink(cycle),
        placement="own",
        unchecked=lambda cycle, steps: (cycle.memory, cycle.cursors, steps),
        params={"page_kib": BASE_KIB, "chains": 1, "stride": LINE_BYTES},
        flops=lambda n, **_: 0,
        bytes=lambda n, itemsize, **_: 8 * CHASE_STEPS,
        moved=lambda n, itemsize, **_: LINE_BYTES * CHASE_STEPS,
    ),
    _describe("read", 1, 0, _sum, tuning={"streams": 1}),
    *(
        _describe(f"{name}{suffix}", arrays, fetched, exact, leading, output=output)
        for name, (arrays, leading, output, exact) in _WRITERS.items()
        for suffix, fetched in (("", 1), ("_nt", 0))
    ),
    _describe("strided_read", 1, 0, _sum, stride=True),
)
