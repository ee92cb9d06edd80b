"""Compute block sizes from the geometry of the caches.

    >>> from perflib.kernels.caches import Cache
    >>> sandy_bridge = Cache(1, "Data", 32 << 10, 64, 8, 64), Cache(2, "Unified", 256 << 10, 64, 8, 512)
    >>> analytic_blocks(8, 4, 8, *sandy_bridge)
    Blocks(mc=96, kc=256, nc=None)

Source: Low, Igual, Smith, Quintana-Orti, Analytical modeling is enough for high-performance BLIS, TOMS 43(2), 2016. There
C is stored by columns and vectors run along m; for rows of C and vectors along n the roles of m and n swap.

Raises ValueError for a geometry that no cache has: no ways, no sets, no line.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..caches import LINE_BYTES, Cache, data_caches
from ..jit.compile import compiled
from .microkernel import register_tile


class Blocks(NamedTuple):
    """Rows of A, steps of k and columns of B that are worked on at a time; NC is None where no third level is known."""

    mc: int
    kc: int
    nc: int | None


def analytic_tile(lanes: int, latency: int, per_cycle: int) -> tuple[int, int]:
    """(MR, NR), vectors along n: as many sums as multiply-adds are under way, as square as vectors allow.

    lanes: elements per vector; latency: cycles of a multiply-add; per_cycle: how many start in each cycle.
    """
    sums = lanes * latency * per_cycle
    nr = math.ceil(math.sqrt(sums) / lanes) * lanes
    return math.ceil(sums / nr), nr


def analytic_blocks(mr: int, nr: int, itemsize: int, l1: Cache, l2: Cache, l3: Cache | None = None) -> Blocks:
    """The paper's blocks for its orientation (MR along vectors): a panel of A and one of B share L1, a block of A fills L2.

    Each level keeps one way for what streams through it; what is reused takes the ways that are left.
    """
    way1, way2 = _way_bytes(l1), _way_bytes(l2)
    ways_of_a = math.floor((l1.ways - 1) / (1 + nr / mr))
    kc = ways_of_a * way1 // (mr * itemsize)
    if kc < 1:
        raise ValueError(f"l1 must hold a step of an {mr} x {nr} tile beside one free way, got {l1}")
    mc = _blocks_in(l2.ways - 1 - math.ceil(2 * nr * kc * itemsize / way2), way2, kc * itemsize, mr)
    if l3 is None:
        return Blocks(mc, kc, None)
    way3 = _way_bytes(l3)
    return Blocks(mc, kc, _blocks_in(l3.ways - 1 - math.ceil(mc * kc * itemsize / way3), way3, kc * itemsize, nr))


def _blocks_in(ways: int, way_bytes: int, row_bytes: int, multiple: int) -> int:
    """Rows that so many ways hold, rounded down to whole panels, at least one."""
    return max(multiple, ways * way_bytes // row_bytes // multiple * multiple)


def _way_bytes(cache: Cache) -> int:
    """Bytes of one way: sets times line."""
    for name in ("ways", "sets", "line_bytes"):
        if not getattr(cache, name):
            raise ValueError(f"{name} of {cache.name} must be at least 1, got {getattr(cache, name)}")
    return cache.sets * cache.line_bytes


def chosen_blocks(dtype: np.dtype | type | str, caches: Sequence[Cache], tile: tuple[int, int] | None = None) -> Blocks:
    """MC, KC, NC of `matmul_packed`: A's block and B's panel fill half of L2, B's block a slice of L3.

    tile: MR, NR, this machine's if None.

    Against the paper KC is longer, because its premise does not bind here: a step of a 12 x 32 tile reads 176 bytes in 12
    or 24 cycles, which L2 delivers, while each pass over k reads and writes all of C. Beyond 4 KiB of k that is gone.
    Unknown caches count as 512 KiB and 4 MiB.
    """
    itemsize = np.dtype(dtype).itemsize
    mr, nr = tile or register_tile(dtype)
    data = {c.level: c.size_bytes for c in data_caches(caches)}
    l2 = data.get(2, 512 << 10)
    b_block = max(l2, min(data.get(3, 4 << 20) // 8, 4 * l2))  # a guest has a slice of a shared L3, and not its own
    mc = 8 * mr
    kc = max(64, min(4096, l2 // 2 // (mc + nr)) // itemsize // 16 * 16)
    return Blocks(mc, kc, max(nr, b_block // (kc * itemsize) // nr * nr))


def few_rows_blocks(m: int, blocks: Blocks, nr: int, itemsize: int, l2_bytes: int) -> Blocks:
    """The blocks where few rows of A meet a large B: a block of B takes a quarter of L2, where its few uses find it.

    With those of `chosen_blocks` it would travel to L3 and back. KC grows with M: each pass over k reads and writes C, and
    the fewer steps, the longer the rows of B that are read in one stretch.
    """
    kc = min(blocks.kc, max(64, min(256, m // 16 * 16)))
    return Blocks(blocks.mc, kc, max(nr, l2_bytes // 4 // (kc * itemsize) // nr * nr))


# Whether vectors have 512 bits: float32 blocks of BLIS (config/skx, config/haswell) and OpenBLAS (param.h, P and Q).
LIBRARIES = {
    True: {"BLIS": Blocks(480, 384, 3072), "OpenBLAS": Blocks(448, 448, None)},
    False: {"BLIS": Blocks(144, 256, 4080), "OpenBLAS": Blocks(320, 320, None)},
}


def rival_blocks(
    dtype: np.dtype | type | str, caches: Sequence[Cache], tile: tuple[int, int] | None = None
) -> dict[str, Blocks]:
    """MC and KC by other rules, in whole register tiles, NC as ours: the paper's formula where two caches are known, and
    for float32 the constants of two libraries for CPUs with vectors of this width. tile: MR, NR, this machine's if None.
    """
    itemsize, (mr, nr) = np.dtype(dtype).itemsize, tile or register_tile(dtype)
    data = data_caches(caches)[:2]
    blocks = {}
    if len(data) == 2 and all(c.ways and c.sets and c.line_bytes for c in data):
        blocks["formula"] = analytic_blocks(nr, mr, itemsize, *data)  # there MR runs along the vectors
    if np.dtype(dtype) == np.float32:
        blocks |= LIBRARIES[nr * itemsize >= 2 * 64]
    nc = chosen_blocks(dtype, caches, (mr, nr)).nc
    return {name: Blocks(max(mr, mc // mr * mr), max(16, kc // 16 * 16), nc) for name, (mc, kc, _) in blocks.items()}


@compiled
def shared_sets(stride_bytes, rows, way_bytes):
    """The most of `rows` rows, `stride_bytes` apart, whose first lines fall into one set of a cache with such ways."""
    most = 0
    for i in range(rows):
        mine, same = i * stride_bytes % way_bytes // LINE_BYTES, 0
        for other in range(rows):
            same += other * stride_bytes % way_bytes // LINE_BYTES == mine
        most = max(most, same)
    return most


@compiled
def rows_conflict(distance, rows, width, itemsize, cache_bytes):
    """Whether `rows` rows of `width` elements leave a cache, because their distance has a large power of two."""
    apart = (distance & -distance) * itemsize
    return apart > width * itemsize and rows * apart > cache_bytes
