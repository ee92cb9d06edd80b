"""perflib: how fast is this kernel really, why, and how far is it from what this machine can do?

    Timer, PerformanceStats                 stopwatch; where the time of a pass goes
    measure, compare                        one function, several functions: intervals, states, verdicts
    sweep, fit_scaling                      grids of sizes and parameters; exponents
    machine, best_tile                      this machine; the tile that suits it, with the evidence of its run
    load_run, list_runs                     recorded evidence
    race                                    a claim settled here and now
    described                               your own kernel, described like those in kernels
    kernels                                 what is measured, and how to describe your own
    explore                                 controls over sweep and its figures in a notebook
    %load_ext perflib                       the magics %measure and %%measure, see perflib.timing.magics

The import compiles nothing, draws nothing and changes nothing.
"""

from . import startup as startup  # first: what Ctrl-C gets while the rest still loads

# isort: split
from . import kernels
from .errors import RunError, Unmeasurable
from .hardware.facts import Machine, machine
from .models.tile_choice import BestTile, best_tile
from .performance_stats import PerformanceStats
from .runs.described import described
from .runs.pyperf_file import write_pyperf
from .runs.store import Run, list_runs, load_run
from .runs.sweep import sweep
from .scaling import ScalingFit, fit_scaling
from .timer import Timer
from .timing.measure import compare, measure
from .timing.race import race
from .timing.results import Comparison, Measurement


def load_ipython_extension(shell: object) -> None:
    """`%load_ext perflib`: the magics `%measure` and `%%measure`."""
    from .timing.magics import load  # IPython is there, for it calls

    load(shell)


def explore() -> object:
    """Controls over `sweep` and its figures, as the last line of a cell; needs ipywidgets. See perflib.explorer."""
    from .explorer import Explorer  # brings the figures with it

    return Explorer()


__all__ = [
    "Timer",
    "PerformanceStats",
    "measure",
    "Measurement",
    "compare",
    "Comparison",
    "Unmeasurable",
    "sweep",
    "fit_scaling",
    "ScalingFit",
    "machine",
    "Machine",
    "best_tile",
    "BestTile",
    "load_run",
    "list_runs",
    "Run",
    "RunError",
    "race",
    "write_pyperf",
    "described",
    "explore",
    "kernels",
]
