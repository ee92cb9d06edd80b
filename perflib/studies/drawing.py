"""Draw what the figures of several studies share: logarithmic scales, error bars, words beside a point."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..display.figure import plain_ticks
from ..stats import Interval


def log_scales(axes: Axes, xlabel: str, ylabel: str, log_y: bool = True) -> None:
    """A logarithmic x axis, and y axis too, with plain numbers at the ticks."""
    axes.set_xscale("log", base=2)
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log_y else "linear")
    plain_ticks(axes)


def error_bars(intervals: Iterable[Interval]) -> np.ndarray:
    """The lengths of intervals below and above their values, as matplotlib takes them."""
    ends = np.array([(i.value - i.low, i.high - i.value) for i in intervals])
    return np.maximum(ends.T, 0)


def annotate(axes: Axes, words: str, place: tuple[float, float], offset: tuple[float, float], **look: Any) -> None:
    """Small words, `offset` points away from a place."""
    axes.annotate(words, place, offset, textcoords="offset points", **{"fontsize": 8.5} | look)
