"""Draw what the figures of several studies share: logarithmic scales, axes of bytes, error bars, words beside a point."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..display.figure import bands, most_ticks, plain_ticks
from ..display.text import size_text
from ..display.ticks import size_ticks
from ..hardware.facts import Machine
from ..stats import Interval


def log_scales(axes: Axes, xlabel: str, ylabel: str, log_y: bool = True) -> None:
    """A logarithmic x axis, and y axis too, with plain numbers at the ticks."""
    axes.set_xscale("log", base=2)
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log_y else "linear")
    plain_ticks(axes)


def byte_scales(axes: Axes, machine: Machine, xlabel: str, ylabel: str, log_y: bool = True) -> None:
    """As `log_scales`, for bytes: ticks at every fourth power of two, and a band for each cache of a machine."""
    log_scales(axes, xlabel, ylabel, log_y)
    low, high = axes.get_xlim()
    size_ticks(axes.xaxis, [2**k for k in range(8, 36, 2) if low <= 2**k <= high], most_ticks(axes), size_text)
    axes.fmt_xdata = size_text
    caches = machine.data_caches()
    bands(axes, [(cache.size_bytes, f"{cache.name}, {size_text(cache.size_bytes)}") for cache in caches], "memory")


def error_bars(intervals: Iterable[Interval]) -> np.ndarray:
    """The lengths of intervals below and above their values, as matplotlib takes them."""
    ends = np.array([(i.value - i.low, i.high - i.value) for i in intervals])
    return np.maximum(ends.T, 0)


def annotate(axes: Axes, words: str, place: tuple[float, float], offset: tuple[float, float], **look: Any) -> None:
    """Small words, `offset` points away from a place."""
    axes.annotate(words, place, offset, textcoords="offset points", **{"fontsize": 8.5} | look)
