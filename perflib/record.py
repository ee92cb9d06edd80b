"""What a run of a machine contains, and the program that records it.

    plan(quick)         the blocks of samples: topics, kernels, sizes, and the seconds meant for each
    record(quick)       measure them into data/runs/<run-id>/ and return the Run; `peers`: other libraries too

Seconds, quick / full: limits 7 / 10, timing 6 / 16, matmul 32 / 200, tiles 18 / 480, packing 2 / 35, conflicts 11 / 35,
rmsnorm 11 / 25, memory 14 / 110, stencil 2 / 20, forward 2 / 75, harness 6 / 45; the first time compiling adds 50.
What a case needs at least (six rounds, nine for tiles) is taken even where it exceeds them. `harness` holds no samples but
what other harnesses say of one kernel: a quick run asks timeit only, a full one all that are installed (28 s for pyperf).
"""

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from .blocks import Block, record_blocks
from .cachemodel import TILES
from .cells import Cell
from .example import stencil
from .harness import record_harnesses
from .kernels.blocked import default_blocks
from .kernels.blocking import Blocks, rival_blocks
from .kernels.caches import reported_caches
from .kernels.catalog import find
from .kernels.codegen import count_instructions, count_loop
from .kernels.compile import FASTMATH
from .kernels.description import Kernel
from .kernels.peak import FMA_PEAK_OPS
from .kernels.peers import LIBRARIES, installed
from .limits import copy_elements
from .machine import Machine, machine
from .memory_plan import memory_blocks, width_block
from .record_forward import record_forward
from .store import Run, RunError
from .sweep import work_of
from .timer import Timer, clock_step_ns
from .writer import RunWriter, measuring_lock

__all__ = ["AGAIN", "COLD_SIZES", "LADDER", "LOOPS", "NORMS", "PRODUCTS", "TEXTBOOK", "TILES", "plan", "record"]

AGAIN = " (again)"  # the second label of a kernel that is compared with itself
COLD_SIZES = (512, 4096, 32768)  # of float32: an RMS norm reads and writes 12 bytes each, weights included
CONFLICTS = ("matmul_tiled", "matmul")  # where a leading dimension that is a power of two hurts, and where it must not
TEXTBOOK = ("matmul_naive", "matmul_tiled", "matmul_tiled_vectorised", "matmul_ikj")
LADDER = (*TEXTBOOK, "matmul_register_blocked", "matmul_packed", "matmul")
PRODUCTS = tuple(f"{name}_matmul" for name in LIBRARIES)
NORMS = ("rms_norm_standard", "rms_norm_fast", "rms_norm")
CODEGEN = (*TEXTBOOK, "rms_norm_fast")
LOOPS = ("matmul_tiled_vectorised", "matmul_ikj", "matmul_register_blocked")
"""Of these the innermost loop is counted alone; further up the micro-kernel is the same."""


def record(quick: bool = False, seed: int = 0, progress: bool = True, peers: bool = False) -> Run:
    """Measure this machine. An interrupted recording is continued; what it has is not measured again.

    peers: MKL and PyTorch beside NumPy, those that are installed; the run's settings name them with their versions. Raises
    RunError where none is, where another measurement runs or nothing can be written, WrongResult for a wrong kernel.
    """
    found = _peers() if peers else {}
    with measuring_lock():
        here = machine()
        writer = RunWriter.start("quick" if quick else "full", {"seed": seed, "peers": found}, here)
        if progress:
            absent = [name for key, name in LIBRARIES.items() if peers and key not in {"numpy", *found}]
            missing = [f"not installed, recorded without: {name}" for name in absent]
            _say(*writer.notices, *missing, f"recording into {writer.path}")
        record_blocks(writer, blocks := plan(quick, here, found), seed, progress)
        if not writer.has("clock", "steps"):
            _record_clock_steps(writer)
        record_forward(writer, quick, progress)
        record_harnesses(writer, quick, progress)
        return writer.finish(codegen=_codegen(), work=work_of(blocks))


def _peers() -> dict[str, str]:
    """Versions of the libraries that are here besides NumPy."""
    found = {name: version for name, version in installed().items() if name != "numpy"}
    if not found:
        raise RunError("peers must be installed before they can be recorded, got none; pip install 'perflib[peers]'")
    return found


def plan(quick: bool, machine: Machine, peers: Iterable[str] = ()) -> list[Block]:
    """All blocks of samples, in the order in which they are measured: comparisons of a kernel with itself all along.

    peers: prefixes of the names of other libraries' kernels.
    """
    libraries = ("numpy", *peers)
    others = [*_limits(quick, machine), *_timing(quick), *_matmul(quick, libraries), *_tiles(quick)]
    others += [_packing(quick), _conflicts(quick), *_rmsnorm(quick, libraries), *_stencil(quick)]
    others += [width_block(), *memory_blocks(quick, machine)]
    again = _again(20 if quick else 60)
    step = len(again) / len(others)
    return [b for i, block in enumerate(others) for b in (block, *again[round(i * step) : round((i + 1) * step)])]


def _limits(quick: bool, machine: Machine) -> list[Block]:
    peaks = tuple(Cell(find("fma_peak"), FMA_PEAK_OPS, dtype=d) for d in ("float32", "float64"))
    elements = copy_elements(machine)
    copies = *(Cell(find(k), elements) for k in ("copy_loop", "memory_copy_nt")), Cell(find("numpy_copy"), elements, "call")
    return [Block("limits", "peak", peaks, 1), Block("limits", "copy", copies, 1 if quick else 5)]


def _clock(name: str, call) -> Kernel:
    return Kernel(name, call, make=lambda n, dtype, rng: (), flops=lambda n: 0, bytes=lambda n, itemsize: 0)


def _timing(quick: bool) -> list[Block]:
    fast = find("rms_norm_fast")
    clocks = (
        _clock("two_clock_readings", lambda: (time.perf_counter_ns(), time.perf_counter_ns())),
        _clock("timer_start_and_elapsed", lambda: Timer().elapsed_ns()),
    )
    scopes = [Cell(fast, n, scope) for n in (64, 512, 4096, 32768) for scope in ("kernel", "call")]
    cold = [Cell(fast, n, mode=mode) for n in COLD_SIZES for mode in ("throughput", "cold")]
    cold += [Cell(find("read_lines"), 12 * n, mode=mode) for n in COLD_SIZES for mode in ("throughput", "cold")]
    return [
        Block("timing", "clock", tuple(Cell(k, None, "call") for k in clocks), 0.2),
        Block("timing", "scopes", tuple(scopes), 1),
        Block("timing", "cold", tuple(cold), 1 if quick else 4),
    ]


def _again(count: int) -> list[Block]:
    fast = find("rms_norm_fast")
    twins = Cell(fast, 512), Cell(replace(fast, name=fast.name + AGAIN), 512)
    return [Block("timing", f"a-a {i:02}", twins, 0.15) for i in range(count)]


def _matmul(quick: bool, libraries: Sequence[str]) -> list[Block]:
    sizes = (16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
    few = (64, 128, 192, 256, 384)
    if quick:
        sizes = (32, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512)
    products = [f"{name}_matmul" for name in libraries]
    blocks = [_ladder("float32 scaling", sizes, "float32", products, 9 if quick else 90)]
    called = tuple(Cell(find(k), n, "call") for k in (*LADDER, *products) for n in (64, 128, 256))
    blocks.append(Block("matmul", "float32 called", called, 2 if quick else 10))
    blocks.append(_ladder("float64 scaling", few if quick else sizes[::2], "float64", products, 4 if quick else 40))
    beyond = (1024,) if quick else (1536, 2048)
    blocks.append(_ladder("float32 beyond", beyond, "float32", products, 2 if quick else 15, LADDER[len(TEXTBOOK) :]))
    if not quick:
        blocks.append(_ladder("float32 large", (513, 640, 768, 1024), "float32", products, 60))
    return blocks


def _ladder(
    name: str,
    sizes: tuple[int, ...],
    dtype: str,
    products: Sequence[str],
    budget_s: float,
    rungs: Sequence[str] = LADDER,
) -> Block:
    blocks = default_blocks(np.dtype(dtype))._asdict()
    cells = [Cell(find(k), n, "kernel", dtype, blocks if "mc" in find(k).tuning else {}) for k in rungs for n in sizes]
    cells += [Cell(find(k), n, "call", dtype) for k in products for n in sizes]
    return Block("matmul", name, tuple(cells), budget_s)


def _tiles(quick: bool) -> list[Block]:
    sizes = (64, 96, 128, 192, 256, 320, 384, 448, 512, 513, 528, 768, 1024, 1040)
    tiles = TILES
    if quick:
        sizes, tiles = (64, 128, 256, 384, 512), (16, 32, 64, 96)
    tiled = find("matmul_tiled")
    blocks = []
    for n in sizes:
        fitting = tuple(Cell(tiled, n, values={"tile": t}) for t in tiles if t <= n)
        budget_s = max(0.4, 1e-7 * n**3 * len(fitting) / 11)
        blocks.append(Block("tiles", f"n={n}", fitting, budget_s, least_rounds=9))  # for a tile against all others
    return blocks


def _packing(quick: bool) -> Block:
    """The packed product over MC x KC, among them the blocks of our model and those of other rules."""
    n, packed, float32 = 768 if quick else 1536, find("matmul_packed"), np.dtype("float32")
    ours, rivals = default_blocks(float32), rival_blocks(float32, reported_caches())
    mcs, kcs = (24, 48, 96, 192, 384, 768), (64, 128, 256, 512, 768, 1024, 1536)
    pairs = product(mcs[::2], kcs[::2]) if quick else product(mcs, kcs)
    blocks = dict.fromkeys([ours, *rivals.values(), *(Blocks(mc, kc, ours.nc) for mc, kc in pairs)])
    return Block("packing", f"n={n}", tuple(Cell(packed, n, values=b._asdict()) for b in blocks), 1 if quick else 30)


def _conflicts(quick: bool) -> Block:
    """Two sizes that hardly differ, one a power of two: tiles and the top of the ladder, in the same rounds."""
    sizes = (512, 528) if quick else (1024, 1040)
    tiled, top = (find(name) for name in CONFLICTS)
    cells = [Cell(tiled, n, values={"tile": t}) for n in sizes for t in (48, 64)]
    return Block("conflicts", "leading dimension", (*cells, *(Cell(top, n) for n in sizes)), 1, least_rounds=9)


def _rmsnorm(quick: bool, libraries: Sequence[str]) -> list[Block]:
    norms = [f"{name}_rms_norm" for name in libraries if name != "mkl"]  # which has none
    sizes = [64, 128, 256, 512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 6144, 8192]
    sizes += [2**k for k in range(14, 23, 2 if quick else 1)]
    rows = [4**k for k in range(7)] if quick else [2**k for k in range(15)]
    blocks = []
    for dtype in ("float32", "float64"):
        cells = [Cell(find(k), n, "kernel", dtype) for k in NORMS for n in sizes]
        cells += [Cell(find(k), n, "call", dtype) for k in norms for n in sizes]
        blocks.append(Block("rmsnorm", f"{dtype} scaling", tuple(cells), 2 if quick else 8))
    called = [Cell(find(k), n, "call") for k in (*NORMS, *norms) for n in (512, 1024, 2048)]
    blocks.append(Block("rmsnorm", "float32 called", tuple(called), 1 if quick else 3))
    batch = [Cell(find(k), 2048, values={"rows": r}) for k in NORMS for r in rows]
    blocks.append(Block("rmsnorm", "float32 batch", tuple(batch), 2 if quick else 5))
    return blocks


def _stencil(quick: bool) -> list[Block]:
    """The example of notebook 08-your-kernel: described there as anybody's own kernel is."""
    own, sizes = find(stencil), (64, 96, 128, 192, 256, 320, 384, 512, 768, 1024)
    scaling = Block("stencil", "all sizes", tuple(Cell(own, n) for n in sizes), 1 if quick else 8)
    tiles = (1, 4, 16, 64, 256, 1024)
    blocks = [scaling]
    for n in (256, 1024) if quick else (256, 512, 1024, 1536):
        fitting = tuple(Cell(own, n, values={"tile": t}) for t in tiles if t <= n)
        blocks.append(Block("stencil-tiles", f"n={n}", fitting, 0.8 if quick else 3, least_rounds=9))
    return blocks


def _record_clock_steps(writer: RunWriter) -> None:
    """The smallest step of the clock, thirty times: a step is no batch, so each row is one observation."""
    with writer.block("clock", "steps") as append:
        for number in range(30):
            row = {"kernel": "perf_counter_ns", "scope": "call", "threads": 1, "round": number, "position": 0, "reps": 1}
            step = max(1, clock_step_ns(readings=2000))
            append([{"block": "steps", **row, "elapsed_ns": step, "cpu_ns": 0, "switches": 0, "compiled": 0}])


def _codegen() -> dict[str, dict[str, int]]:
    """Instructions in the machine code of each kernel, float32; the seed's also with sums in the order written."""
    rng = np.random.default_rng(0)
    counts = {}
    for name, suffix, fastmath in (*((k, "", FASTMATH) for k in CODEGEN), ("matmul_tiled", ", strict", set())):
        kernel = find(name)
        args = kernel.unchecked(*kernel.make(8, "float32", rng, **kernel.params), *kernel.tuning.values())
        counts[name + suffix] = count_instructions(kernel.compiled, *args, fastmath=fastmath)
    for name in LOOPS:
        kernel = find(name)
        args = kernel.unchecked(*kernel.make(64, "float32", rng), *kernel.tuning.values())
        counts[f"{name}, inner loop"] = count_loop(kernel.compiled, *args)
    return counts


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)
