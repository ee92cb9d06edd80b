"""The axes of a sweep: sizes, threads, types and keywords, and the integers that stand for their values in a run.

    >>> axis("n", ["short", "long"]).codes
    (1, 2)
    >>> axis("n", [np.int64(8), 16]).codes
    (8, 16)

The table of a run holds integers only. An axis of integers stands for itself, any other is counted from 1; the settings
of the run hold the values.
"""

import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..runs.columns import MOST

Label = int | float | str | tuple
"""A size: a positive number, or the name of an input."""


@dataclass(frozen=True)
class Axis:
    """The values of one axis and their codes."""

    name: str
    values: tuple[Any, ...]
    codes: tuple[int, ...]

    def value(self, code: int) -> Any:
        """The value that a code stands for."""
        return self.values[self.codes.index(code)]

    def code(self, value: Any) -> int:
        """The code of a value."""
        return self.codes[self.values.index(value)]

    @property
    def is_numeric(self) -> bool:
        """Whether all values are numbers, so that a time can grow with them."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    @property
    def is_coded(self) -> bool:
        """Whether a table of a run holds codes and not the values themselves; a type stands there by its name."""
        return self.name != "dtype" and (self.codes != self.values or any(isinstance(value, bool) for value in self.values))


def axis(name: str, values: Iterable[Any]) -> Axis:
    """The axis of these values, each once, numbers of NumPy as those of Python."""
    plain = list(map(_plain, values))
    if not plain:
        raise ValueError(f"{name} must not be empty")
    if all(isinstance(value, float) and value.is_integer() for value in plain):
        plain = [int(value) for value in plain]
    distinct = [value for place, value in enumerate(plain) if not any(_same(value, other) for other in plain[:place])]
    whole = all(type(value) is int and 0 <= value <= MOST for value in distinct)
    return Axis(name, tuple(distinct), tuple(distinct) if whole else tuple(range(1, len(distinct) + 1)))


def size_axis(sizes: Iterable[Label]) -> Axis:
    """The axis of sizes, numbers in rising order; ValueError or TypeError for what is no size."""
    if isinstance(sizes, str):
        raise TypeError(f"sizes must be a list, got the string {sizes!r}; write [{sizes!r}]")
    if not isinstance(sizes, Iterable):
        raise TypeError(f"sizes must be a list, got {sizes!r}; write [{sizes!r}]")
    found = axis("sizes", sizes)
    for size in found.values:
        if isinstance(size, bool) or not isinstance(size, int | float | str | tuple):
            raise TypeError(f"sizes must be positive numbers, strings or tuples; got {size!r}")
        if isinstance(size, int | float) and not 0 < size < float("inf"):
            raise ValueError(f"sizes must be above 0 and finite, got {size!r}")
    return axis("n", sorted(found.values)) if found.is_numeric else Axis("n", found.values, found.codes)


def _plain(value: Any) -> Any:
    """A number of NumPy as a number of Python, an integer of any kind as int."""
    if isinstance(value, np.generic):
        return value.item()
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
