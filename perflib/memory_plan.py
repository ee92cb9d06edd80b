"""What a run measures of the memory: latency, pages, bandwidth, strides, leading dimensions, parallel chains; and peaks.

    memory_blocks(quick, machine)   the blocks of the topic `memory`
    width_block()                   multiply-add peaks by width of the vector, topic `limits`
    LEADING                         leading dimensions that are walked, in float32

Seconds, quick / full: latency 6 / 45, bandwidth 3 / 40, mountain 1 / 6, pages, leading dimensions and chains 6 / 20. Every
case gets six rounds in a quick run and nine in a full one, cells of the mountain three. Where the system gives no huge
pages, series on them are left out.
"""

from collections.abc import Sequence

from .blocks import Block
from .cells import Cell
from .hierarchy import sweep_sizes
from .kernels.arena import BASE_KIB, page_sizes_kib
from .kernels.caches import LINE_BYTES
from .kernels.catalog import find
from .limits import PEAK_OPS, fma_widths
from .machine import Machine

__all__ = ["LEADING", "PAGE_STRIDE", "memory_blocks", "width_block"]

LEADING = (512, 513, 528, 1024, 1025, 1040)
PAGE_STRIDE = (BASE_KIB << 10) + LINE_BYTES
"""From page to page and one line on, so that lines fall into all sets."""
STRIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # of float64: 8 fill a line
SHORT = 1e-3  # seconds of budget: every case gets its least number of rounds
MIB = 1 << 20


def memory_blocks(quick: bool, machine: Machine) -> list[Block]:
    """All blocks of the topic `memory`."""
    rounds = 6 if quick else 9
    best = max(page_sizes_kib())
    sizes = sweep_sizes(machine, 4 if quick else 8)
    sizes = [s for s in sizes if s <= 32 * MIB] if quick else sizes
    coarse = {kib: 2 if quick and kib != best else 1 for kib in page_sizes_kib()}
    named = [(f"latency, pages of {kib} KiB", _latency(sizes[::every], kib)) for kib, every in coarse.items()]
    named += [
        ("one line per page", _pages(3 if quick else 8)),
        ("bandwidth", _bandwidth(sizes[4::6] if quick else sizes[::2], best)),
        ("leading dimension", _leading(best)),
        ("chains", _chains(quick, machine, best)),
    ]
    blocks = [Block("memory", name, tuple(cells), SHORT, rounds) for name, cells in named]
    return [*blocks, Block("memory", "mountain", tuple(_mountain(quick, sizes, best)), SHORT, 3)]


def width_block() -> Block:
    """Peaks of plain numbers and of vectors of every width that the registers have."""
    names = [f"fma_peak_{bits or 'scalar'}" for bits in fma_widths()]
    return Block(
        "limits", "widths", tuple(Cell(find(k), PEAK_OPS, dtype=d) for d in ("float32", "float64") for k in names), 1
    )


def _chase(links: int, page_kib: int, **values: int) -> Cell:
    return Cell(find("memory_chase"), links, dtype="int64", values={"page_kib": page_kib, **values})


def _latency(sizes: Sequence[int], page_kib: int) -> list[Cell]:
    return [_chase(size // LINE_BYTES, page_kib) for size in sizes]


def _pages(per_octave: int) -> list[Cell]:
    counts = sorted({int(2 ** (k / per_octave)) for k in range(3 * per_octave, 14 * per_octave + 1)})
    return [_chase(n, BASE_KIB, stride=stride) for n in counts for stride in (LINE_BYTES, PAGE_STRIDE)]


def _bandwidth(sizes: Sequence[int], page_kib: int) -> list[Cell]:
    cells = []
    for size in sizes:
        for name in ("read", "write", "write_nt", "copy", "copy_nt", "triad", "triad_nt"):
            kernel = find(f"memory_{name}")
            n = size // kernel.bytes(1, 1) // 4 // 16 * 16
            values = {"page_kib": page_kib} | ({"streams": 4} if name == "read" else {})
            cells.append(Cell(kernel, n, values=values))
    return cells


def _mountain(quick: bool, sizes: Sequence[int], page_kib: int) -> list[Cell]:
    strides, chosen = (STRIDES[::2], sizes[8::8]) if quick else (STRIDES, sizes[8::8])
    kernel = find("memory_strided_read")
    values = [(size // 8, {"page_kib": page_kib, "stride": s}) for size in chosen for s in strides]
    return [Cell(kernel, n, dtype="float64", values=v) for n, v in values]


def _leading(page_kib: int) -> list[Cell]:
    """Down a column: so many rows, one line of each."""
    rows = (4, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128)
    return [_chase(n, page_kib, stride=4 * leading) for leading in LEADING for n in rows]


def _chains(quick: bool, machine: Machine, page_kib: int) -> list[Cell]:
    """Independent chains in the middle of each level as reported, and in memory."""
    counts = (1, 4, 16) if quick else (1, 2, 4, 8, 16, 32)
    reported = [c.size_bytes for c in machine.data_caches()][:2] or [32 << 10, MIB]
    sizes = [*(size // 2 for size in reported), 4 * MIB, (16 if quick else 64) * MIB]
    return [_chase(size // LINE_BYTES, page_kib, chains=k) for size in dict.fromkeys(sizes) for k in counts]
