"""The growth classes that a curve is compared with: their names, their work, and how a caller may write one."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import SampleError

LogWork = Callable[[np.ndarray], np.ndarray]
Expected = str | float | Callable[[float], float]

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


@dataclass(frozen=True)
class Work:
    """How the work of a function grows, as the logarithm of a count: powers overflow, their logarithms do not."""

    name: str
    log: LogWork
    exponent: float | None = None
    """Of a power of n; None for any other work."""

    def span(self, sizes: np.ndarray) -> float:
        """Logarithm of the factor by which the work grows from the first size to the last."""
        first, last = self.log(sizes[[0, -1]])
        return float(last - first)


def power(p: float) -> Work:
    """n^p, by the name that a reader would write."""
    names = {0.0: "1", 0.5: "√n", 1.0: "n", 2.0: "n²", 3.0: "n³"}
    return Work(names.get(p, f"n^{p:.3g}"), lambda n: p * np.log(n), p)


def _log_log(n: np.ndarray) -> np.ndarray:
    """log log n, below 2 that of 2: the work of one element is not 0."""
    return np.log(np.log(np.maximum(n, 2.0)))


CLASSES: Mapping[str, Work] = {
    work.name: work
    for work in (
        power(0.0),
        Work("log n", _log_log),
        power(0.5),
        power(1.0),
        Work("n log n", lambda n: np.log(n) + _log_log(n)),
        power(1.5),
        power(2.0),
        Work("n² log n", lambda n: 2 * np.log(n) + _log_log(n)),
        power(2.81),
        power(3.0),
        Work("2ⁿ", lambda n: n * math.log(2)),
    )
}
"""From the slowest growth to the fastest."""


def work_of(expected: Expected) -> Work:
    """The work that a name, a number or a function of n stands for."""
    if isinstance(expected, str):
        return _named(expected)
    if callable(expected):
        return Work("the work function", _checked(expected))
    if isinstance(expected, bool) or not isinstance(expected, (int, float, np.number)) or not math.isfinite(expected):
        raise SampleError(f"the expected growth must be a number, a class name or a function of n, got {expected!r}")
    return power(float(expected))


def _named(name: str) -> Work:
    plain = name.lower().replace(" ", "").replace("*", "").replace("·", "").translate(_SUPERSCRIPTS)
    plain = re.sub(r"^o\((.*)\)$", r"\1", plain).replace("^", "").replace("log2", "log").replace("ln", "log")
    if plain in ("2n", "2ⁿ"):
        return CLASSES["2ⁿ"]
    if plain in ("sqrtn", "sqrt(n)", "√n"):
        return CLASSES["√n"]
    match = re.fullmatch(r"(?:(n)([\d.]+)?|1)?(log\(?n\)?)?", plain)
    if not plain or match is None:
        raise SampleError(f"{name!r} is no growth class: write one of {', '.join(CLASSES)}, a number or a function of n")
    exponent = float(match[2] or 1) if match[1] else 0.0
    if not match[3]:
        return power(exponent)
    whole = "log n" if not exponent else f"{power(exponent).name} log n"
    return CLASSES.get(whole) or Work(whole, lambda n: exponent * np.log(n) + _log_log(n))


def _checked(count: Callable[[float], float]) -> LogWork:
    """The logarithm of a function of n, refused with the n at which it is no positive number."""

    def log(n: np.ndarray) -> np.ndarray:
        values = []
        for size in np.atleast_1d(n):
            try:
                value = float(count(int(size) if size == int(size) else float(size)))
            except (ArithmeticError, ValueError, TypeError) as problem:
                raise SampleError(f"the work function fails at n = {size:g}: {problem}") from problem
            if not 0 < value < math.inf:
                raise SampleError(f"the work function must be above 0 and finite, got {value:g} at n = {size:g}")
            values.append(math.log(value))
        return np.array(values).reshape(np.shape(n))

    return log


def counted(sizes: np.ndarray, counts: np.ndarray) -> Work:
    """Counts per size; between sizes and beyond them the power law of the nearest two."""
    if counts.shape != sizes.shape:
        raise SampleError(f"work must have one count per size, got {counts.size} for {sizes.size} sizes")
    bad = ~((counts > 0) & (counts < np.inf))
    if bad.any():
        raise SampleError(f"work must be above 0 and finite, got {counts[bad][0]:g} at n = {sizes[bad][0]:g}")
    order = np.argsort(sizes)
    x, y = np.log(sizes[order]), np.log(counts[order])
    keep = np.concatenate([[True], np.diff(x) > 0])
    x, y = x[keep], y[keep]

    def log(n: np.ndarray) -> np.ndarray:
        at = np.log(n)
        right = np.clip(np.searchsorted(x, at), 1, len(x) - 1)
        slope = (y[right] - y[right - 1]) / (x[right] - x[right - 1])
        return y[right - 1] + slope * (at - x[right - 1])

    return Work("the counted work", log)
