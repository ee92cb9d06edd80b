"""Does the number of misses explain the time? A line through what the loops do, judged on sizes that it has not seen.

    time = flops x cost + starts x cost + L1 misses x cost + L2 misses x cost

A start is what comes once per innermost loop: its end is mispredicted, a vector loop has its remainder, a register tile
loads and stores C. Flops and starts cost what they cost each kernel. A miss in L1 has two prices: down a column, where each
comes alone, and along a row, where the prefetchers have seen the line coming. No cost is negative.

Raises `SampleError` for fewer sizes than coefficients can be judged by, `RunError` for a run without matmul or caches.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from ..errors import RunError, SampleError
from ..kernels.caches import FLOAT32_BYTES
from ..runs.queries import select
from ..runs.store import Run
from ..runs.sweep import per_run_ns
from .blocked_traces import Choices, choices
from .simulator import TRACES, simulate

FEWEST_SIZES = 4
WORK = ("flops", "starts", "l1_misses", "l2_misses")
MISSES = ("L1, down columns", "L1, along rows", "L2")
DOWN_COLUMNS = ("matmul_naive", "matmul_tiled")  # their innermost loop takes another row of B at each step


@dataclass(frozen=True)
class Explanation:
    """Time = sum of costs times counts: of flops and starts one per kernel, of misses one for all."""

    r_squared: float
    """Of the time per flop in logarithms, so that no size outweighs the others."""
    held_out_error: float
    """Mean of |predicted / measured - 1|, each size predicted from all others."""
    without_misses: float
    """The held-out error of the same line without the misses."""
    ns_per_miss: Mapping[str, float]
    """By `MISSES`."""
    ns_per_start: Mapping[str, float]
    """By kernel; 0 where flops and misses say it all."""
    sizes: int


@lru_cache(maxsize=4)
def miss_table(run: Run, largest: int = 320) -> pd.DataFrame:
    """Median ns of the variants of matmul, float32, kernel scope, up to n = `largest`, beside what their loops do.

    Misses are those of a run that finds the caches as one before has left them, which is how it was timed. Simulated once
    per run and `largest`.
    """
    caches = run.machine.data_caches()
    if len(caches) < 2 or not all(cache.ways for cache in caches[:2]):
        raise RunError(f"run {run.id} does not say how many ways two levels of cache of its machine have")
    samples = per_run_ns(run.samples("matmul"))
    here = select(samples, dtype="float32", scope="kernel", threads=1, block="float32 scaling")
    times = here[here["kernel"].isin(TRACES) & (here["n"] <= largest)].groupby(["kernel", "n"])["per_run_ns"].median()
    if times.empty:
        raise RunError(f"run {run.id} has no matrix multiplication in kernel scope")
    parameters = choices(caches, FLOAT32_BYTES, run.machine.isa)

    def row(case: tuple[str, int]) -> tuple:
        kernel, n = case[0], int(case[1])
        misses = simulate(kernel, (n,) * 3, caches[:2], warm=True, chosen=parameters).misses
        return kernel, n, times[case], 2 * n**3, starts(kernel, n, parameters), *misses

    with ThreadPoolExecutor() as pool:  # simulations run side by side
        rows = list(pool.map(row, times.index))
    return pd.DataFrame(rows, columns=["kernel", "n", "ns", *WORK])


def starts(kernel: str, n: int, parameters: Choices) -> int:
    """How many innermost loops a multiplication of n x n matrices starts: sums, rows, or steps of a register tile."""
    tiles, blocks = -(-n // parameters.tile), -(-n // parameters.kc) if kernel == "matmul_packed" else 1
    register_tiles = -(-n // parameters.mr) * -(-n // parameters.nr) * blocks
    textbook = {"matmul_naive": 1, "matmul_ikj": 1, "matmul_tiled": tiles, "matmul_tiled_vectorised": tiles}
    return n * n * textbook[kernel] if kernel in textbook else register_tiles


def explain(table: pd.DataFrame) -> Explanation:
    """Fit time on flops and starts (a cost per kernel) and misses of two levels; costs are not negative.

    table: kernel, n, ns, flops, starts, l1_misses, l2_misses, a row per kernel and size. Relative least squares, so that
    every row counts the same. The held-out error leaves out all rows of a size and predicts them.
    """
    sizes = sorted(set(table["n"]))
    if len(sizes) < FEWEST_SIZES:
        raise SampleError(f"table must have at least {FEWEST_SIZES} sizes, got {len(sizes)}")
    work, ns = _work(table), table["ns"].to_numpy(np.float64)
    costs, flops = _costs(work, ns), table["flops"].to_numpy(np.float64)
    times, fit = np.log(ns / flops), np.log(work @ costs / flops)
    spread = ((times - times.mean()) ** 2).sum()
    r_squared = 1 - ((times - fit) ** 2).sum() / spread if spread else 0.0
    misses = len(MISSES)
    errors = [float(np.abs(held_out(table, columns) / ns - 1).mean()) for columns in (slice(None), slice(-misses))]
    kernels = sorted(set(table["kernel"]))
    per_start = dict(zip(kernels, costs[len(kernels) : -misses].tolist(), strict=True))
    per_miss = dict(zip(MISSES, costs[-misses:].tolist(), strict=True))
    return Explanation(float(r_squared), *errors, per_miss, per_start, len(sizes))


def held_out(table: pd.DataFrame, columns: slice = slice(None)) -> np.ndarray:
    """Nanoseconds of each row, predicted by a line through the rows of all other sizes; columns: of the work counted."""
    work, ns, n = _work(table)[:, columns], table["ns"].to_numpy(np.float64), table["n"].to_numpy()
    predicted = np.empty(len(ns))
    for size in np.unique(n):
        out = n == size
        predicted[out] = work[out] @ _costs(work[~out], ns[~out])
    return predicted


def _work(table: pd.DataFrame) -> np.ndarray:
    """Rows x (a column of flops for each kernel, one of starts for each, and `MISSES`)."""
    kernels = sorted(set(table["kernel"]))
    own = [np.where(table["kernel"] == kernel, table[count], 0) for count in ("flops", "starts") for kernel in kernels]
    l1 = [np.where(table["kernel"].isin(DOWN_COLUMNS) == down, table["l1_misses"], 0) for down in (True, False)]
    return np.column_stack([*own, *l1, table["l2_misses"]]).astype(np.float64)


def _costs(work: np.ndarray, ns: np.ndarray) -> np.ndarray:
    scale = np.maximum(np.abs(work / ns[:, None]).max(axis=0), 1e-300)
    return nnls(work / ns[:, None] / scale, np.ones(len(ns)))[0] / scale
