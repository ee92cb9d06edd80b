"""Describe how the built-in kernels walk through their data, which gives a growth curve its reasons."""

from ..hardware.facts import Machine
from ..kernels.gemm.fast import B_IN_PLACE
from ..kernels.gemm.textbook import DEFAULT_TILE
from ..models.blocked_traces import choices
from ..scaling.reasons import Layout


def layout_of(kernel: str, itemsize: int, machine: Machine, tile: int = DEFAULT_TILE) -> Layout:
    """The layout of a kernel on n x n matrices, or on a row of n; an empty one for a kernel that is not built in.

    `matmul_tiled` comes back to columns of `tile` elements of B, the vectorised one to whole tiles, the naive
    one to columns of all n. The others go along rows, in vectors whose last one is masked.
    """
    chosen = choices(machine.data_caches(), itemsize, machine.isa, tile)
    rows = {
        "matmul_naive": (lambda n: n, itemsize),
        "matmul_tiled": (lambda n: min(n, tile), itemsize),
        "matmul_tiled_vectorised": (lambda n: min(n, tile), tile * itemsize),
    }
    if kernel in rows:
        down, width = rows[kernel]
        return Layout(lambda n: n * itemsize, down, width)
    if kernel == "matmul":
        packed = (B_IN_PLACE * chosen.l2_bytes / itemsize) ** 0.5
        return Layout(tiles=(chosen.lanes,), masked=True, changes=((packed, "B is packed"),))
    if kernel in ("matmul_register_blocked", "matmul_packed"):
        return Layout(tiles=(chosen.lanes,), masked=True)
    if kernel == "rms_norm":
        return Layout(changes=((chosen.stream_bytes / itemsize, "stores go past the caches"),))
    return Layout(tiles=(chosen.lanes,)) if kernel == "matmul_ikj" else Layout()
