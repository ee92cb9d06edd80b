"""Plan what a run of a machine contains, and record it.

A recording goes into data/runs/<run-id>/: blocks of samples, each with the seconds meant for it.

Several fresh processes share the rounds of a block (PROCESSES). On the reference machine `perflib record --quick`
takes 2 min 37 s, and `perflib record --peers` 32 min. A run may hold several sessions of this, spread in time. What a case
needs at least (six rounds, nine for tiles, three of each process) is taken even where it exceeds the seconds of its block.
`harness` holds no samples, but the reports of other harnesses on one kernel: of timeit in a quick run, of all that are
installed in a full one (28 s for pyperf).
"""

import math
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ..display.progress import progress_bar
from ..display.text import text
from ..errors import RunError
from ..hardware.facts import Machine, machine
from ..hardware.limits import copy_elements
from ..kernels.catalog import find
from ..kernels.checks import positive_integer
from ..kernels.peers import LIBRARIES, installed
from ..kernels.probes.peak import FMA_PEAK_OPS
from ..runs.grid import GridPoint
from ..runs.recorder import Block, record_blocks
from ..runs.store import Run, load_run, read_meta
from ..runs.sweep import work_of
from ..runs.writer import RunWriter, measuring_lock
from ..timing.measure import peak_gflops
from .forward_pass import record_forward
from .harnesses import record_harnesses
from .matmul_scaling import count_code, matmul_blocks
from .memory import memory_blocks, width_block
from .rmsnorm import rmsnorm_blocks
from .tile_size import conflict_block, packing_block, tile_blocks
from .timing import places_block, record_clock_steps, self_comparison_blocks, timing_blocks
from .your_kernel import stencil_blocks

PROCESSES = {"quick": 2, "full": 4}
"""Fresh processes that share the rounds of a session, one after the other."""
LONGEST_SLEEP_S = 1.0


def record(
    quick: bool = False,
    seed: int | None = None,
    progress: bool = True,
    peers: bool = False,
    wait: bool | float = False,
    repeat: int = 1,
    every_min: float = 0.0,
) -> Run:
    """Measure this machine, in PROCESSES. An interrupted recording is continued; what it has is not measured again.

    seed: of the places of all arrays and of the order of everything, from fresh entropy if None. wait: for the end of
    another measurement on this machine, which else is an error. repeat: sessions of the run, each a whole recording; they
    begin `every_min` minutes apart, and in between other measurements may take place. With several, the spread between
    sessions is the error of every figure.

    peers: MKL and PyTorch beside NumPy, those that are installed; the run's settings name them with their versions. Raises
    RunError where none is, where another measurement runs, nothing can be written, or machine or code change between
    sessions, WrongResult for a wrong kernel.
    """
    positive_integer("repeat", repeat)
    if not 0 <= every_min < math.inf:
        raise ValueError(f"every_min must be a number of minutes from 0 up, got {every_min}")
    versions, processes = _peers() if peers else {}, PROCESSES["quick" if quick else "full"]
    settings, writer = {"seed": seed, "peers": versions} | ({"sessions": repeat} if repeat > 1 else {}), None
    for session in range(1, repeat + 1):
        if writer:
            _await_session(session, repeat, read_meta(writer.path), every_min, progress)
        with measuring_lock(wait or session > 1):
            here = machine()
            writer = writer.reopen(here) if writer else RunWriter.start("quick" if quick else "full", settings, here)
            if progress and session == 1:
                _tell(writer, versions if peers else LIBRARIES)
            if read_meta(writer.path)["finished"]:
                break  # the same command in another process went on with it
            record_blocks(writer, blocks := plan(quick, here, versions), seed, progress, processes, session=session)
            if not writer.has("clock", "steps"):
                record_clock_steps(writer)
            record_forward(writer, quick, progress, processes, session)
            if session == repeat:
                record_harnesses(writer, quick, progress)
                return writer.finish(codegen=count_code(), work=work_of(blocks))
    return load_run(writer.path)


def _tell(writer: RunWriter, peers: Iterable[str]) -> None:
    """Write to stderr what is recorded where, and what without; a number first, so that something is to be seen."""
    missing = [
        f"not installed, recorded without: {name}" for key, name in LIBRARIES.items() if key not in {"numpy", *peers}
    ]
    first = f"one core reaches {text(peak_gflops(), 0)} GFLOP/s in float32"
    print(*writer.notices, *missing, first, f"recording into {writer.path}", sep="\n", file=sys.stderr)


def _await_session(session: int, sessions: int, meta: Mapping[str, Any], every_min: float, progress: bool) -> None:
    """Sleep until a session is due, so many minutes after the one before began; one that has begun is due at once."""
    begun = {}
    for one in meta.get("processes", ()):
        begun.setdefault(one["session"], datetime.fromisoformat(one["started"]))
    if session in begun or session - 1 not in begun:
        return
    due = begun[session - 1] + timedelta(minutes=every_min)
    total_s = (due - datetime.now(UTC)).total_seconds()
    if total_s <= 0:
        return
    with progress_bar(total_s, progress, leave=False) as bar:
        bar.set_description_str(f"session {session} of {sessions} begins {due:%F %H:%M} UTC")
        while (left_s := (due - datetime.now(UTC)).total_seconds()) > 0:
            time.sleep(min(left_s, LONGEST_SLEEP_S))
            bar.update(total_s - max(0.0, left_s) - bar.n)


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
