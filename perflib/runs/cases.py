"""Give every case of a run one key, whatever its topic, so that two runs can be compared.

    key = ("rmsnorm", (("kernel", "rms_norm"), ("scope", "kernel"), ("n", 512), ...))
    process_medians(cases(run)[key])

A key holds the columns that have a value. The blocks of a case stand under it together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from ..display.text import on_one_line
from ..stats import Medians
from .queries import CASE, in_groups, net_times, parameters
from .store import Run
from .tables import TABLES

Key = tuple[str, tuple[tuple[str, object], ...]]
ASIDE = {"clock", "limits", "places", *TABLES}
"""Topics that hold no cases of kernels, or where the place is the question."""
OF_CASE = ("net_ns", "process", "compiled", "switches", "elapsed_ns", "cpu_ns")


def topics(run: Run) -> list[str]:
    """Topics of a run that hold cases, in the order recorded."""
    return [topic for topic in dict.fromkeys(t for t, _ in run.blocks) if topic not in ASIDE]


@lru_cache(maxsize=16)
def cases(run: Run) -> Mapping[Key, dict[str, np.ndarray]]:
    """Every case of a run's topics, as `cases_of` has it."""
    return {key: samples for topic in topics(run) for key, samples in cases_of(run, topic).items()}


def cases_of(run: Run, topic: str) -> dict[Key, dict[str, np.ndarray]]:
    """The columns of OF_CASE of every case of a topic, samples in the order taken."""
    times, samples = net_times(run, topic), {}
    for case, arrays in in_groups(times, [*CASE, "threads", *parameters(times)], OF_CASE, sort=False):
        key = tuple((name, value) for name, value in case.items() if pd.notna(value) and value != "")
        samples[topic, key] = dict(zip(OF_CASE, arrays, strict=True))
    return samples


@dataclass(frozen=True)
class Spread:
    """How far the median of a case moves between processes: variance of its logarithm, degrees of freedom, and `scatter`,
    the variance that the rounds of a process explain."""

    variance: float
    freedom: int
    scatter: float


def spread_within(groups: Sequence[Medians]) -> Spread:
    """Pooled over groups of processes that each have a mean of their own."""
    freedom = sum(group.freedom for group in groups)
    squares = sum(float(((group.logs - group.logs.mean()) ** 2).sum()) for group in groups)
    return Spread(squares / max(1, freedom), freedom, float(np.mean([group.scatter for group in groups])))


def label(key: Key) -> str:
    """The case in words, without its topic."""
    words = [str(v) if isinstance(v, str) else f"{name} {v}" for name, v in key[1] if (name, v) != ("threads", 1)]
    return on_one_line(", ".join(words))
