"""Count the misses of a kernel's loops by sending their addresses, one after another, through simulated caches.

An access is one scalar load or store of an array's element, as the loops of the source make them: sums and scales stay in
registers, a vector of 16 counts as 16 accesses (15 of them hit), temporaries of the standard norm and buffers of packed
variants are arrays. Caches are set-associative, replace the least recently used line, allocate on stores, and a level
sees only the misses of the level before. They begin empty; arrays are contiguous, one behind the other, each at the
start of a page.

    >>> from perflib.kernels.caches import Cache
    >>> simulate("matmul_naive", (4, 4, 4), [Cache(1, "Data", 1024, 64, 4)])
    Misses(accesses=144, misses=(3,))

Raises `GeometryError` for a cache that cannot be, ValueError for a kernel without a trace or a size below 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..hardware.facts import machine
from ..kernels.caches import FLOAT32_BYTES, Cache
from ..kernels.checks import positive_integer
from ..kernels.gemm.textbook import DEFAULT_TILE
from ..kernels.rmsnorm.fast import PAGE
from .blocked_traces import Choices, choices, matmul, matmul_packed, matmul_register_blocked, rms_norm, room
from .lru import emptied, misses
from .traces import matmul_ikj, matmul_naive, matmul_tiled, matmul_tiled_vectorised, rms_norm_fast, rms_norm_standard

TEXTBOOK = (matmul_naive, matmul_tiled, matmul_tiled_vectorised, matmul_ikj)
FAST = (matmul_register_blocked, matmul_packed, matmul)
TRACES = {t.__name__: t for t in (*TEXTBOOK, *FAST, rms_norm_standard, rms_norm_fast, rms_norm)}
"""By name: the trace."""


@dataclass(frozen=True)
class Misses:
    """What a trace did: accesses, and misses of each level, nearest first."""

    accesses: int
    misses: tuple[int, ...]


def simulate(
    name: str,
    shape: tuple[int, ...],
    caches: Sequence[Cache],
    tile: int = DEFAULT_TILE,
    itemsize: int = FLOAT32_BYTES,
    warm: bool = False,
    chosen: Choices | None = None,
) -> Misses:
    """Accesses and misses of a run of a kernel, the caches empty before it, or, if warm, as one such run has left them.

    shape: M, N, K of a multiplication, rows and n of a norm. caches: nearest first. chosen: choices of the fast kernels, by
    default what they would for these caches and this machine's vectors, with `tile` for the tiled variants.
    """
    if name not in TRACES:
        raise ValueError(f"name must be one of {', '.join(TRACES)}, got {name!r}")
    sizes = tuple(positive_integer("shape", size) for size in shape)
    matmul = name.startswith("matmul")
    if len(sizes) != (3 if matmul else 2):
        raise ValueError(f"shape must be {'M, N, K' if matmul else 'rows, n'}, got {shape}")
    tile, (l1, memory) = positive_integer("tile", tile), emptied(caches)
    if chosen is None:
        chosen = choices(caches, itemsize, machine().isa, tile)
    m, n, k = sizes = sizes if matmul else (*sizes, 1)
    elements = (m * k, k * n, m * n, room(sizes, chosen)) if matmul else (m * n, n, m * n, n, n)
    pages = [-(-count * itemsize // PAGE) for count in elements]
    bases = PAGE * (1 + np.concatenate([[0], np.cumsum(pages)[:-1]])).astype(np.int64)
    for _ in range(1 + warm):
        misses(memory)[:] = 0
        accesses = TRACES[name](sizes, chosen, itemsize, bases, l1, memory)
    return Misses(accesses, tuple(misses(memory).tolist()))
