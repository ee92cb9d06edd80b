"""Give every run of a function separate arguments, for a function that changes its arguments.

A pool holds as many sets of arguments as a batch has runs, each drawn separately. Every batch first restores all sets,
untimed. Different sets matter: identical copies train the branch predictor, and a quicksort of 1,000 floats
then takes a quarter of its time.
"""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..timing.case import Case
from ..timing.fresh_arguments import SHORTEST_NS, Pool
from ..timing.loops import call_each
from ..timing.sampling import BATCH_NS

POOL_BYTES = 256 << 10  # about what the second level holds: a pool in memory would measure memory
MOST_SETS = 1000
SPARE = 1.2  # batches are drawn up to this much longer
ATOMS = (bool, int, float, complex, str, bytes, type(None))


class Sets:
    """Sets of arguments drawn one after another from `draw`, shared by all functions of a size."""

    def __init__(self, draw: Callable[[], tuple]) -> None:
        self._draw, self._drawn = draw, [draw()]

    def take(self, count: int) -> list[tuple]:
        """The first so many."""
        self._drawn += [self._draw() for _ in range(count - len(self._drawn))]
        return self._drawn[:count]

    @property
    def fitting(self) -> int:
        """As many as the pool may hold."""
        (first,) = self.take(1)
        return max(1, min(MOST_SETS, POOL_BYTES // max(1, sum(map(_bytes, first)))))


def fresh_case(label: str, fn: Callable[..., Any], drawn: Sets, arrange: Callable[..., tuple], run_ns: float) -> Case:
    """A case in `call` scope whose every run has a set of its own; run_ns: how long a run takes, roughly."""
    count = int(max(1, min(drawn.fitting, BATCH_NS / max(run_ns, 1.0))))
    originals = drawn.take(max(2, int(SPARE * count)))
    sets = [arrange(*map(copied, args)) for args in originals]

    def refill() -> None:
        for place, args in enumerate(originals):
            sets[place] = tuple(map(_restored, sets[place], arrange(*args)))

    def run(reps: int) -> None:
        call_each(fn, itertools.islice(itertools.cycle(sets), reps))

    note = f"every run on one of {len(sets)} sets of arguments, each drawn by itself, filled again before every batch"
    return Case(label, "call", run, (note,), prepare=refill, most=count)


def fresh_kernel_case(
    label: str, fn: Callable[..., Any], drawn: Sets, arrange: Callable[..., tuple], run_ns: float
) -> Case:
    """The same in compiled code, for arguments that are arrays and numbers."""
    places = itertools.cycle(range(MOST_SETS))

    def draw() -> tuple:
        return arrange(*drawn.take(next(places) + 1)[-1])

    args = draw()
    own = tuple(place for place, arg in enumerate(args) if isinstance(arg, np.ndarray))
    pool = Pool(args, own, max(run_ns, SHORTEST_NS), draw)  # so short a run is never copied in its time
    return pool.cases(label, fn, "kernel")[0]


def copied(value: Any) -> Any:
    """A copy that shares no memory that anybody changes; the value itself where it cannot be copied."""
    if type(value) is np.ndarray and not value.dtype.hasobject:
        return value.copy(order="K")
    if type(value) is list and all(type(item) in ATOMS for item in value):
        return list(value)
    try:
        return copy.deepcopy(value)
    except Exception:  # deepcopy raises whatever the object does
        return value


def _restored(value: Any, original: Any) -> Any:
    """The original's contents: in the same memory for an array, as a new object for anything else."""
    if type(value) is np.ndarray and type(original) is np.ndarray and not original.dtype.hasobject:
        if value.flags.writeable and value.shape == original.shape:
            value[...] = original
        return value
    return copied(original)


def _bytes(value: Any) -> int:
    """Bytes of an argument, roughly."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    return 32 * len(value) if hasattr(value, "__len__") else 0
