"""Apply the models to a machine that is described in a file and not present.

Raises `GeometryError` for a description of an impossible machine, OSError for a file that cannot be read.
"""

from pathlib import Path

from ..kernels.gemm.block_sizes import analytic_blocks, analytic_tile
from .cache_geometry import described
from .cache_model import colour_misses, model_tile

SIZES = (64, 128, 256, 512, 513, 1024, 1040)
LANES, LATENCY, PER_CYCLE = 8, 4, 2  # 256-bit float32, two multiply-adds a cycle: what a description does not say


def predict(path: Path) -> str:
    """Predictions for the caches described in `path`, float32; register tile for 8 lanes, 4 cycles, 2 units."""
    caches = described(path)
    mr, nr = analytic_tile(LANES, LATENCY, PER_CYCLE)
    lines = [f"register tile {mr} x {nr} (256-bit vectors, two multiply-adds of 4 cycles in each)"]
    for cache in caches:
        gradual = colour_misses(cache.size_bytes, cache)
        edge = f"a step at {cache.size_bytes} bytes"
        if gradual:
            edge += f" on contiguous pages; on scattered ones {100 * gradual:.0f} % of the loads miss there already"
        lines.append(f"{cache}: {edge}")
    if len(caches) > 1 and all(cache.ways for cache in caches[:3]):
        mc, kc, nc = analytic_blocks(nr, mr, 4, *caches[:3])  # vectors along n: the paper's m is our n
        lines.append(f"blocks after Low et al.: KC {kc}, NC {mc}" + (f", MC {nc}" if nc else ""))
    else:
        lines.append("blocks: unknown, they need the ways of two levels")
    lines += [f"tile of matmul_tiled at n = {n}: {model_tile(n, 4, caches)}" for n in SIZES]
    return "\n".join(lines)
