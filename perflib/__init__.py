"""perflib: how fast is this kernel really, why, and how far is it from what this machine can do?

    Timer, PerformanceStats                 stopwatch; where the time of a pass goes
    measure, compare                        one function, several functions: intervals, states, verdicts
    sweep, fit_scaling                      versions of a function over sizes; how a time grows
    machine, limits, hierarchy              this machine: what it reports, its measured limits and caches
    best_tile                               the tile that suits it, with the evidence of its run
    load_run, list_runs, compare_runs       recorded evidence
    race                                    a claim settled here and now
    write_pyperf                            measurements for the tools of pyperf
    described                               your own kernel, described like those in kernels
    kernels                                 what is measured, and how to describe your own
    fleet                                   the same on many machines, over a Dask cluster
    explore                                 controls over sweep and its figures in a notebook
    %load_ext perflib                       the magics %measure and %%measure, see perflib.timing.magics

The import loads a name when it is first used (SPEC 1), compiles nothing, draws nothing and changes nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .system import startup as startup  # first: what Ctrl-C gets while the rest still loads

if TYPE_CHECKING:
    from . import kernels
    from .errors import Interrupted, PerflibError, RunError, SampleError, Unmeasurable
    from .explorer import explore
    from .hardware.facts import Machine, machine
    from .hardware.hierarchy import hierarchy
    from .hardware.limits import limits
    from .models.tile_choice import BestTile, best_tile
    from .performance_stats import PerformanceStats
    from .report.pyperf_file import write_pyperf
    from .runs.compare import compare_runs
    from .runs.described import described
    from .runs.store import Run, list_runs, load_run
    from .scaling import ScalingFit, fit_scaling
    from .sweeps.result import Sweep
    from .sweeps.sweep import sweep
    from .timer import Timer
    from .timing.measure import compare, measure
    from .timing.race import race
    from .timing.results import Comparison, Measurement

_HOMES = {
    "timer": ["Timer"],
    "performance_stats": ["PerformanceStats"],
    "timing.measure": ["measure", "compare"],
    "timing.results": ["Measurement", "Comparison"],
    "sweeps.sweep": ["sweep"],
    "sweeps.result": ["Sweep"],
    "scaling": ["fit_scaling", "ScalingFit"],
    "hardware.facts": ["machine", "Machine"],
    "hardware.limits": ["limits"],
    "hardware.hierarchy": ["hierarchy"],
    "models.tile_choice": ["best_tile", "BestTile"],
    "runs.store": ["load_run", "list_runs", "Run"],
    "runs.compare": ["compare_runs"],
    "errors": ["Interrupted", "PerflibError", "RunError", "SampleError", "Unmeasurable"],
    "timing.race": ["race"],
    "report.pyperf_file": ["write_pyperf"],
    "runs.described": ["described"],
    "explorer": ["explore"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*_HOME_OF, "kernels"]


def __getattr__(name: str) -> Any:
    if name in ("fleet", "kernels"):
        return import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module 'perflib' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: object) -> None:
    """`%load_ext perflib`: the magics `%measure` and `%%measure`."""
    from .timing.magics import load  # needs IPython, which calls this function

    load(shell)
