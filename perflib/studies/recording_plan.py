"""Plan what a run of a machine contains, and record it.

A recording goes into data/runs/<run-id>/: blocks of samples, each with the seconds meant for it.

Several fresh processes share the rounds of a block (PROCESSES). On the reference machine `perflib record --quick`
takes 2 min 37 s, and `perflib record --peers` 32 min. What a case needs at least (six rounds, nine for tiles, three of each
process) is taken even where it exceeds the seconds of its block. `harness` holds no samples, but the reports of other
harnesses on one kernel: of timeit in a quick run, of all that are installed in a full one (28 s for pyperf).
"""

import sys
from collections.abc import Iterable

from ..errors import RunError
from ..hardware.facts import Machine, machine
from ..hardware.limits import copy_elements
from ..kernels.catalog import find
from ..kernels.peers import LIBRARIES, installed
from ..kernels.probes.peak import FMA_PEAK_OPS
from ..runs.grid import GridPoint
from ..runs.recorder import Block, record_blocks
from ..runs.store import Run
from ..runs.sweep import work_of
from ..runs.writer import RunWriter, measuring_lock
from .forward_pass import record_forward
from .harnesses import record_harnesses
from .matmul_scaling import count_code, matmul_blocks
from .memory import memory_blocks, width_block
from .rmsnorm import rmsnorm_blocks
from .tile_size import conflict_block, packing_block, tile_blocks
from .timing import places_block, record_clock_steps, self_comparison_blocks, timing_blocks
from .your_kernel import stencil_blocks

PROCESSES = {"quick": 2, "full": 4}
"""Fresh processes that share the rounds of a recording, one after the other."""


def record(
    quick: bool = False, seed: int | None = None, progress: bool = True, peers: bool = False, wait: bool = False
) -> Run:
    """Measure this machine, in PROCESSES. An interrupted recording is continued; what it has is not measured again.

    seed: of the places of all arrays and of the order of everything, from fresh entropy if None. wait: for the end of
    another measurement on this machine, which else is an error.

    peers: MKL and PyTorch beside NumPy, those that are installed; the run's settings name them with their versions. Raises
    RunError where none is, where another measurement runs or nothing can be written, WrongResult for a wrong kernel.
    """
    versions, processes = _peers() if peers else {}, PROCESSES["quick" if quick else "full"]
    with measuring_lock(wait):
        here = machine()
        writer = RunWriter.start("quick" if quick else "full", {"seed": seed, "peers": versions}, here)
        if progress:
            absent = [name for key, name in LIBRARIES.items() if peers and key not in {"numpy", *versions}]
            missing = [f"not installed, recorded without: {name}" for name in absent]
            lines = (*writer.notices, *missing, f"recording into {writer.path}")
            print(*lines, sep="\n", file=sys.stderr)
        record_blocks(writer, blocks := plan(quick, here, versions), seed, progress, processes)
        if not writer.has("clock", "steps"):
            record_clock_steps(writer)
        record_forward(writer, quick, progress, processes)
        record_harnesses(writer, quick, progress)
        return writer.finish(codegen=count_code(), work=work_of(blocks))


def _peers() -> dict[str, str]:
    """Versions of the libraries that are here besides NumPy."""
    versions = {name: version for name, version in installed().items() if name != "numpy"}
    if not versions:
        raise RunError("peers must be installed before they can be recorded, got none; pip install 'perflib[peers]'")
    return versions


def plan(quick: bool, machine: Machine, peers: Iterable[str] = ()) -> list[Block]:
    """All blocks of samples, in the order in which they are measured: comparisons of a kernel with itself all along.

    peers: prefixes of the names of other libraries' kernels.
    """
    libraries = ("numpy", *peers)
    others = [
        *_limits(quick, machine),
        *timing_blocks(quick),
        places_block(),
        *matmul_blocks(quick, libraries),
        *tile_blocks(quick),
    ]
    others += [packing_block(quick), conflict_block(quick), *rmsnorm_blocks(quick, libraries)]
    others += [*stencil_blocks(quick), width_block(), *memory_blocks(quick, machine)]
    again = self_comparison_blocks(20 if quick else 60)
    step = len(again) / len(others)
    return [b for i, block in enumerate(others) for b in (block, *again[round(i * step) : round((i + 1) * step)])]


def _limits(quick: bool, machine: Machine) -> list[Block]:
    peaks = tuple(GridPoint(find("fma_peak"), FMA_PEAK_OPS, dtype=d) for d in ("float32", "float64"))
    elements = copy_elements(machine)
    scopes = {"copy_loop": "kernel", "memory_copy_nt": "kernel", "numpy_copy": "call"}
    copies = tuple(GridPoint(find(name), elements, scope) for name, scope in scopes.items())
    return [Block("limits", "peak", peaks, 1), Block("limits", "copy", copies, 1 if quick else 5)]
