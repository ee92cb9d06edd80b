"""Does the number of misses explain the time? A line through flops and simulated misses, judged on sizes it has not seen.

    miss_table(run)         -> DataFrame: time, flops, L1 and L2 misses per kernel and size of a run
    explain(table)          -> Explanation: R^2, held-out error, cost of each flop and miss

Raises `SampleError` for fewer sizes than coefficients can be judged by, `RunError` for a run without products or caches.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .simulator import simulate
from .stats import SampleError
from .store import Run, RunError
from .sweep import per_run_ns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FEWEST_SIZES", "Explanation", "explain", "miss_table"]

FEWEST_SIZES = 4
WORK = ("flops", "l1_misses", "l2_misses")


@dataclass(frozen=True)
class Explanation:
    """Time = sum of costs times counts, a flop's cost per kernel, a miss's the same for all."""

    r_squared: float
    """Of the time per flop in logarithms, so that no size outweighs the others."""
    held_out_error: float
    """Mean of |predicted / measured - 1|, each size predicted from all others."""
    ns_per_miss: tuple[float, float]
    """L1, L2."""
    sizes: int


def miss_table(run: Run, largest: int = 256) -> "pd.DataFrame":
    """Median ns of the ladder's products, float32, kernel scope, up to n = `largest`, beside what their loops do."""
    import pandas as pd

    caches = run.machine.data_caches()[:2]
    if len(caches) < 2:
        raise RunError(f"run {run.id} does not say what two levels of cache its machine has")
    samples = per_run_ns(run.samples("matmul"))
    case = {"dtype": "float32", "scope": "kernel", "threads": 1, "block": "float32 scaling"}
    here = samples[(samples[list(case)] == list(case.values())).all(axis=1) & (samples["n"] <= largest)]
    rows = []
    for (kernel, n), ns in here.groupby(["kernel", "n"])["per_run_ns"].median().items():
        if kernel in ("matmul_naive", "matmul_tiled", "matmul_tiled_vectorised", "matmul_ikj"):
            size = int(n)
            cold, twice = (simulate(kernel, (size,) * 3, caches, runs=runs).misses for runs in (1, 2))
            rows.append((kernel, size, ns, 2 * size**3, twice[0] - cold[0], twice[1] - cold[1]))
    if not rows:
        raise RunError(f"run {run.id} has no products in kernel scope")
    return pd.DataFrame(rows, columns=["kernel", "n", "ns", *WORK])


def explain(table: "pd.DataFrame") -> Explanation:
    """Fit time on flops (a cost per kernel) and misses of two levels; costs are not negative.

    table: kernel, n, ns, flops, l1_misses, l2_misses, a row per kernel and size. Relative least squares, so that every row
    counts the same. The held-out error leaves out all rows of a size and predicts them.
    """
    sizes = sorted(set(table["n"]))
    if len(sizes) < FEWEST_SIZES:
        raise SampleError(f"table must have at least {FEWEST_SIZES} sizes, got {len(sizes)}")
    work, ns = _work(table), table["ns"].to_numpy(np.float64)
    costs = _costs(work, ns)
    flops = table["flops"].to_numpy(np.float64)
    measured, fitted = np.log(ns / flops), np.log(work @ costs / flops)
    spread = ((measured - measured.mean()) ** 2).sum()
    errors = []
    for n in sizes:
        out = (table["n"] == n).to_numpy()
        errors += list(np.abs(work[out] @ _costs(work[~out], ns[~out]) / ns[out] - 1))
    share = 1 - ((measured - fitted) ** 2).sum() / spread if spread else 0.0
    return Explanation(float(share), float(np.mean(errors)), (float(costs[-2]), float(costs[-1])), len(sizes))


def _work(table: "pd.DataFrame") -> np.ndarray:
    """Rows x (a column of flops for each kernel, misses of both levels)."""
    kernels = sorted(set(table["kernel"]))
    flops = [np.where(table["kernel"] == kernel, table["flops"], 0) for kernel in kernels]
    return np.column_stack([*flops, table["l1_misses"], table["l2_misses"]]).astype(np.float64)


def _costs(work: np.ndarray, ns: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    scale = np.maximum(np.abs(work / ns[:, None]).max(axis=0), 1e-300)
    return nnls(work / ns[:, None] / scale, np.ones(len(ns)))[0] / scale
