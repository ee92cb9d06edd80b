"""Draw how a time grows: per unit of work, where levels, steps and odd sizes show, and as it is.

    growth_figure(fit)                          the fit's own sentence as the title
    growth_figure(fit, caches=..., sentence=fit.verdict(3).sentence)

A flat stretch above is a level whose price is one number; a step is a change of level; a ringed size is slow by itself.
"""

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec

from ..display.figure import COLOURS, Picture, cache_bands, is_narrow, label_point, log_axes, picture
from ..display.text import on_one_line, shortened, unit_of
from ..kernels.caches import Cache
from .classes import CLASSES
from .sentence import size_text

HEIGHT = 5.8  # inches: two plots, and a title of two or three lines
LETTERS, NARROW_LETTERS = 92, 46  # of a line of the title
LEVEL, ODD, STEP = COLOURS[0], COLOURS[1], COLOURS[2]
MOST_LINES = 6  # of the title
PAD = 20  # points between the title and the plot, for the names of bands
FEW_ODD = 6  # more of them are ringed, and named in the title only


def growth_figure(fit: Any, caches: Iterable[Cache] = (), sentence: str = "", what: str = "n", work: str = "") -> Picture:
    """Draw time per unit of work against n over time against n; caches are marked where the fit knows its bytes.

    work: the unit in words; by default the class. The same fit gives the same bytes.
    """
    unit = shortened(work) or (
        fit.growth.name if fit.growth.exponent is not None or fit.growth.name in CLASSES else "unit of work"
    )
    return _draw(fit, tuple(caches), on_one_line(sentence or repr(fit)), shortened(what), unit)


@picture
def _draw(axes: Axes, fit: Any, caches: tuple[Cache, ...], sentence: str, what: str, work: str) -> str:
    axes.figure.set_figheight(HEIGHT)
    above, below = GridSpec(2, 1, axes.figure, height_ratios=(5, 3))
    axes.set_subplotspec(above)
    lower = axes.figure.add_subplot(below, sharex=axes)
    n, times = np.array(fit.sizes, float), np.array(fit.times_ns, float)
    amounts, fitted = (np.array([float(value(size)) for size in n]) for value in (fit.work, fit.curve))
    price_unit, price_ns = _price_unit(float(np.median(times / amounts)))
    time_unit, time_ns = unit_of(float(np.exp(np.log(times).mean())))
    _levels(axes, fit, price_ns, times / amounts / price_ns)
    _points(axes, fit, times / amounts / price_ns, fitted / amounts / price_ns)
    _points(lower, fit, times / time_ns, fitted / time_ns)
    log_axes(axes, n, "", f"time per {work} ({price_unit})")
    log_axes(lower, n, what, f"time ({time_unit})")
    axes.tick_params(labelbottom=False)
    _room(axes)
    _steps(axes, fit, price_ns)
    _name_odd_sizes(axes, fit, times / amounts / price_ns)
    _caches((axes, lower), fit, caches)
    title = textwrap.wrap(sentence, NARROW_LETTERS if is_narrow(axes) else LETTERS, max_lines=MOST_LINES, placeholder=" …")
    axes.set_title("\n".join(title), loc="left", fontsize=8.5 if is_narrow(axes) else 10, pad=PAD)
    return f"Time per {work} against n, and time against n below: {sentence.rstrip('.')}."


def _price_unit(ns: float) -> tuple[str, float]:
    """As `unit_of`, and picoseconds for the price of an operation."""
    return ("ps", 1e-3) if ns < 0.1 else unit_of(ns)


def _points(axes: Axes, fit: Any, values: np.ndarray, fitted: np.ndarray) -> None:
    """Medians with twice their noise, the fitted curve, and a ring around each odd size."""
    odd = np.isin(fit.sizes, [one.size for one in fit.odd_sizes])
    spread = np.minimum(2 * np.nan_to_num(np.array(fit.noise, float)), 0.9) * values
    axes.plot(fit.sizes, fitted, color=LEVEL, linewidth=1, label="fit")
    axes.errorbar(fit.sizes, values, spread, fmt="o", color=LEVEL, label="measured")
    ring = {"marker": "o", "markersize": 12, "markerfacecolor": "none", "markeredgecolor": ODD, "linestyle": ""}
    axes.plot(np.array(fit.sizes)[odd], values[odd], **ring)


def _levels(axes: Axes, fit: Any, unit: float, values: np.ndarray) -> None:
    """A flat band over the sizes of each level, as high as the interval of its price, with the price beside it."""
    for regime in fit.regimes:
        ends, price = (regime.first, regime.last), regime.price.scaled(1 / unit)
        axes.fill_between(ends, price.low, price.high, color=LEVEL, alpha=0.18, linewidth=0)
        axes.plot(ends, [price.value] * 2, color=LEVEL, linewidth=3, alpha=0.8)
        inside = [value for n, value in zip(fit.sizes, values, strict=True) if ends[0] <= n <= ends[1]]
        words = f"{price.value:.3g}" + (f" ({regime.reason})" if regime.reason else "")
        at = np.sqrt(ends[0] * ends[1]), min(price.low, *inside)
        label_point(axes, words, at, LEVEL)


def _room(axes: Axes) -> None:
    """Room for labels, and a factor of nine in all, so that a flat curve looks flat."""
    low, high = axes.get_ylim()
    middle = np.sqrt(low * high)
    axes.set_ylim(min(low / 1.5, middle / 3), max(high * 1.4, middle * 3))


def _steps(axes: Axes, fit: Any, unit: float) -> None:
    """An arrow from the price of a level to that of the next, where the step is, with its factor."""
    for before, after in zip(fit.regimes, fit.regimes[1:], strict=False):
        x, prices = np.sqrt(before.last * after.first), (before.price.value / unit, after.price.value / unit)
        axes.annotate("", (x, prices[1]), (x, prices[0]), arrowprops={"arrowstyle": "->", "color": STEP, "linewidth": 1.6})
        words = f"× {prices[1] / prices[0]:.2g}"
        label_point(axes, words, (x, np.sqrt(prices[0] * prices[1])), STEP)


def _name_odd_sizes(axes: Axes, fit: Any, values: np.ndarray) -> None:
    """Size and factor beside each ring; the reasons stand in the title."""
    heights = dict(zip(fit.sizes, values, strict=True))
    for one in fit.odd_sizes[:FEW_ODD]:
        words = f"{size_text(one.size)}: × {one.factor:.2g}"
        label_point(axes, words, (one.size, heights[one.size]), ODD)


def _caches(plots: Iterable[Axes], fit: Any, caches: tuple[Cache, ...]) -> None:
    """Bands up to where the data fill each cache, by the bytes of the sizes; none where the fit does not know them."""
    if fit.bytes is None or not caches:
        return
    n, filled = np.log(fit.sizes), np.log(fit.bytes)

    def place(size: float) -> float:
        return float(np.exp(np.interp(np.log(size), filled, n, left=-np.inf, right=np.inf)))

    for number, axes in enumerate(plots):
        cache_bands(axes, caches, place, "data fit", is_named=not number)
