"""The worked example of notebook 08-your-kernel: a stencil, described as a user describes a kernel.

The notebook has the same text, and a test compares both, so `perflib record` measures what the notebook shows.

Each point of out is the mean of the four neighbours of the same point of x, computed in strips of `tile` columns. x has a
border of one around the n x n points of out. Three additions and one multiplication for every point; each number is
read and written once if the rows above and below stay in a cache.
"""

import numba
import numpy as np

from ..kernels.catalog import find
from ..runs.described import described
from ..runs.grid import GridPoint
from ..runs.recorder import Block


def stencil_inputs(n, dtype, rng):
    """A field with its border, and room for the result."""
    return rng.standard_normal((n + 2, n + 2)).astype(dtype), np.empty((n, n), dtype)


def stencil_bound(x, out):
    """The float64 result, and how far four rounded operations may be from it."""
    exact = x.astype(float)
    mean = (exact[:-2, 1:-1] + exact[2:, 1:-1] + exact[1:-1, :-2] + exact[1:-1, 2:]) / 4
    return mean, 4 * np.finfo(x.dtype).eps * abs(x).max()


@described(
    make=stencil_inputs,
    exact=stencil_bound,
    output=1,
    tuning={"tile": 64},
    flops=lambda n: 4 * n * n,
    bytes=lambda n, itemsize: ((n + 2) ** 2 + n * n) * itemsize,
)
@numba.njit
def stencil(x, out, tile):
    for left in range(0, out.shape[1], tile):
        right = min(left + tile, out.shape[1])
        for i in range(out.shape[0]):
            up, down = x[i, left + 1 : right + 1], x[i + 2, left + 1 : right + 1]
            west, east = x[i + 1, left:right], x[i + 1, left + 2 : right + 2]
            result = out[i, left:right]
            for j in range(len(result)):
                result[j] = (up[j] + down[j] + west[j] + east[j]) * x.dtype.type(0.25)


def stencil_blocks(quick: bool) -> list[Block]:
    """The example of notebook 08-your-kernel: described there as anybody's own kernel is."""
    own, sizes = find(stencil), (64, 96, 128, 192, 256, 320, 384, 512, 768, 1024)
    tiles = (1, 4, 16, 64, 256, 1024)
    blocks = [Block("stencil", "all sizes", tuple(GridPoint(own, n) for n in sizes), 1 if quick else 8)]
    for n in (256, 1024) if quick else (256, 512, 1024, 1536):
        fitting = tuple(GridPoint(own, n, values={"tile": t}) for t in tiles if t <= n)
        blocks.append(Block("stencil-tiles", f"n={n}", fitting, 0.8 if quick else 3, least_rounds=9))
    return blocks
