"""Claims that a notebook settles here and now, on whatever machine runs it.

LIVE                        every live claim by name
settle(name)                race it on this machine: "HOLDS: ...", "FAILS: ..." or "UNDECIDED: ..."
recorded_ratio(run, name)   the ratio that makes it eligible: the threshold must be at most its square root
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cases import Case, case
from .kernels.catalog import find
from .kernels.description import verify
from .race import race
from .store import Run
from .tables import ratio

__all__ = ["LIVE", "LiveClaim", "recorded_ratio", "settle"]


@dataclass(frozen=True)
class LiveClaim:
    """`slow` takes at least `threshold` times as long as `fast`: each is a kernel, a scope and a size."""

    text: str
    topic: str
    slow: Mapping[str, Any]
    fast: Mapping[str, Any]
    threshold: float


LIVE = {
    "call": LiveClaim(
        "an RMS norm of 64 numbers takes at least 4 times as long when it is called from Python",
        "timing",
        {"kernel": "rms_norm_fast", "scope": "call", "n": 64},
        {"kernel": "rms_norm_fast", "scope": "kernel", "n": 64},
        4,
    ),
    "order": LiveClaim(
        "the naive product of 256 takes at least 2.5 times as long as the one in ikj order",
        "matmul",
        {"kernel": "matmul_naive", "scope": "kernel", "n": 256},
        {"kernel": "matmul_ikj", "scope": "kernel", "n": 256},
        2.5,
    ),
    "expression": LiveClaim(
        "RMS norm of 512 as a NumPy expression takes at least 5 times as long as the compiled loop",
        "rmsnorm",
        {"kernel": "numpy_rms_norm", "scope": "call", "n": 512},
        {"kernel": "rms_norm_fast", "scope": "kernel", "n": 512},
        5,
    ),
}


def settle(name: str) -> str:
    """Race a live claim on this machine and say what came out, with the claim behind it."""
    claim = _claim(name)
    slow, fast = _arm(claim.slow), _arm(claim.fast)
    return f"{race(slow.run, fast.run, claim.threshold)}: {claim.text}"


def recorded_ratio(run: Run, name: str) -> float:
    """Recorded time of the slow arm over that of the fast one, float32."""
    claim = _claim(name)
    return ratio(run, claim.topic, *({**arm, "dtype": "float32"} for arm in (claim.slow, claim.fast))).value


def _claim(name: str) -> LiveClaim:
    if name not in LIVE:
        raise ValueError(f"live claim must be one of {', '.join(LIVE)}; got {name!r}")
    return LIVE[name]


def _arm(chosen: Mapping[str, Any]) -> Case:
    kernel = find(chosen["kernel"])
    args = kernel.make(chosen["n"], "float32", np.random.default_rng(0), **kernel.params)
    kernel.call(*args)
    verify(kernel.name, args[kernel.output], *kernel.exact(*args))
    if chosen["scope"] == "kernel":
        return case(kernel.name, kernel.compiled, kernel.unchecked(*args), "kernel")
    return case(kernel.name, kernel.call, args, "call")
