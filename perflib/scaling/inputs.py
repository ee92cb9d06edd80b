"""What a caller may hand to `fit_scaling`, turned into sizes and a table of times; what no fit can answer is refused."""

import math
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SampleError
from ..runs.queries import by_size, net_times
from ..runs.store import Run
from .cost_model import Data

MOST_SIZES = 48
"""More sizes are thinned: a search takes the third power of their number."""
LEAST_RANGE = 1.5
WILD = math.log(2.5)
"""Times that a function of n alone does not take from one size to the next and back."""
CLOCK_TICKS = 3.0
"""Whole numbers of which the smallest is below this and several are equal are counts of a clock's ticks."""
SHARED = 6
"""Sizes from which on the median of a round says what is common to them."""
PRIOR = 8.0
"""Rounds that the noise of all sizes counts as, beside those of a size."""
SIZE_COLUMNS, TIME_COLUMNS = ("n", "size", "sizes"), ("net_ns", "time_ns", "ns", "time", "times", "elapsed_ns")


def read(sizes: Any, times: Any) -> tuple[np.ndarray, np.ndarray]:
    """Distinct sizes in rising order and times as rounds x sizes, NaN for a size not measured in a round."""
    if isinstance(sizes, Run):
        sizes, times = _of_run(sizes, times)
    elif isinstance(sizes, pd.DataFrame):
        sizes, times = _of_frame(sizes)
    elif times is None:
        raise SampleError("times are missing: give one per size, or a DataFrame with the columns size and time")
    n = np.asarray(sizes, dtype=np.float64)
    table = np.atleast_2d(np.asarray(times, dtype=np.float64))
    if n.ndim != 1 or table.ndim != 2 or table.shape[1] != len(n):
        raise SampleError(f"times must have {n.size} columns, one per size, got shape {np.shape(times)}")
    _check_sizes(n)
    _check_times(n, table)
    _check_clock(table)
    n, table = _merge(n, table)
    return n, table[~np.isnan(table).all(axis=1)]


def _of_run(run: Run, topic: str | None) -> tuple[list[int], np.ndarray]:
    topics = [topic] if topic else sorted(run.topics)
    if len(topics) != 1:
        raise SampleError(f"run {run.id} has the topics {', '.join(topics)}: name one as the second argument")
    kernels = net_times(run, topics[0])["kernel"].unique()
    if len(kernels) != 1:
        raise SampleError(f"{topics[0]} has the kernels {', '.join(kernels)}: use by_size(run, topic, kernel)")
    return by_size(run, topics[0], kernels[0])


def _of_frame(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """One row per time; rounds are the order in which a size occurs."""
    columns = {str(name).lower(): name for name in frame.columns}
    size = next((columns[name] for name in SIZE_COLUMNS if name in columns), None)
    time = next((columns[name] for name in TIME_COLUMNS if name in columns), None)
    if size is None or time is None:
        raise SampleError(f"the columns size and time are missing, the table has {', '.join(map(str, frame.columns))}")
    values = frame[time].astype(float)
    if time == "elapsed_ns" and "reps" in columns:
        values = values / frame[columns["reps"]]
    return frame[size].to_numpy(dtype=float), values.to_numpy()


def _check_sizes(n: np.ndarray) -> None:
    wrong = n[~((n > 0) & (n < np.inf))]
    if len(wrong):
        raise SampleError(f"sizes must be above 0 and finite, got {wrong[0]:g}")
    distinct = np.unique(n)
    if len(distinct) < 3:
        raise SampleError(f"sizes must be at least 3 distinct numbers, got {len(distinct)}: add sizes")
    if distinct[-1] < LEAST_RANGE * distinct[0]:
        raise SampleError(
            f"sizes span {distinct[0]:g} to {distinct[-1]:g}, a factor of {distinct[-1] / distinct[0]:.3g}: "
            f"growth needs a factor of at least {LEAST_RANGE}"
        )


def _check_times(n: np.ndarray, table: np.ndarray) -> None:
    absent = np.isnan(table)
    bad = ~absent & ~((table > 0) & (table < np.inf))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise SampleError(f"times must be above 0 and finite, got {table[row, column]:g} at n = {n[column]:g}")
    for size in n[absent.all(axis=0)]:
        if absent[:, n == size].all():
            raise SampleError(f"size {size:g} has no time: every round of it is NaN, leave it out or measure it")


def _check_clock(table: np.ndarray) -> None:
    values = table[~np.isnan(table)]
    distinct = np.unique(values)
    if len(distinct) == 1:
        raise SampleError(f"every time is {distinct[0]:g} ns: a constant shows no growth, check that the work depends on n")
    if len(distinct) < len(values) and distinct[0] < CLOCK_TICKS and not (values % 1).any():
        raise SampleError(f"times of {distinct[0]:g} ns are at the clock's resolution: repeat the call within one reading")


def _merge(n: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal sizes become rounds of one; sizes beyond MOST_SIZES are thinned evenly on the logarithmic axis."""
    distinct, place = np.unique(n, return_inverse=True)
    if len(distinct) < len(n):
        series = [table[:, place == k].ravel() for k in range(len(distinct))]
        rows = max(map(len, series))
        table = np.array([np.pad(s, (0, rows - len(s)), constant_values=np.nan) for s in series]).T
    else:
        table = table[:, np.argsort(n)]
    if len(distinct) <= MOST_SIZES:
        return distinct, table
    targets = np.linspace(np.log(distinct[0]), np.log(distinct[-1]), MOST_SIZES)
    keep = np.unique(np.abs(np.log(distinct)[:, None] - targets).argmin(axis=0))
    return distinct[keep], table[:, keep]


def noise_of(table: np.ndarray) -> np.ndarray:
    """Standard error of the logarithm of each size's median: its own, and that of all sizes where rounds are few.

    What a round has in common, a machine that slowed down, is taken off first: it moves every size alike. 0 where all sizes
    have one round: noise and model error are one there.
    """
    logs = np.log(table)
    present = ~np.isnan(logs)
    count = present.sum(axis=0)
    degrees = np.maximum(count - 1, 0)
    if not degrees.any():
        return np.zeros(table.shape[1])
    median = np.median if present.all() else np.nanmedian  # which takes 20 times as long
    deviations = logs - median(logs, axis=0)
    if table.shape[1] >= SHARED:
        deviations -= median(deviations, axis=1, keepdims=True)
    squares = np.where(present, deviations, 0.0) ** 2
    common = float(squares.sum() / degrees.sum())
    single = squares.sum(axis=0) / np.maximum(degrees, 1)
    share = degrees / (degrees + PRIOR)
    return np.sqrt(np.pi / 2 * (share * single + (1 - share) * common) / count)


def check_shape(data: Data) -> None:
    """Refuse times that are no function of n alone: neighbours that fall and rise more often than odd sizes let them."""
    swings = np.diff(np.log(data.times))
    turns = (swings[1:] * swings[:-1] < 0) & (np.minimum(abs(swings[1:]), abs(swings[:-1])) > WILD)
    if turns.sum() >= max(2, 2 * data.most_odd):
        place = int(np.argmax(turns))
        a, b, c = (f"{size:g}" for size in data.sizes[place : place + 3])
        raise SampleError(
            f"times are no function of n alone, they jump up and down between {a}, {b} and {c}: "
            "group the sizes by n mod 8, by their prime factors or by the algorithm that they take"
        )
