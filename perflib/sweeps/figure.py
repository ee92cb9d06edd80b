"""Draw a sweep: time against n with intervals above, how much faster each function is than the first below.

Points that are noisy or invalid, and sizes that the fit of the growth calls odd, are hollow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec

from ..display.figure import OTHERS, Picture, label_ends, log_axes, picture, plain_ticks
from ..display.text import on_one_line, quantity, unit_of
from ..errors import RunError

HEIGHT = 6.4  # inches of both plots


def draw_sweep(curves: Mapping[str, Sequence[Any]], growths: Mapping[str, Any], first: str, is_numeric: bool) -> Picture:
    """The figure of a sweep. growths: the fits of the curves that have one."""
    return _draw(curves, growths, first, is_numeric)


@picture
def _draw(axes: Axes, curves: Mapping[str, Sequence[Any]], growths: Mapping[str, Any], first: str, is_numeric: bool) -> str:
    shown = {name: [p for p in points if p.time_ns.value > 0] for name, points in curves.items()}
    shown = {name: points for name, points in shown.items() if points}
    if not shown:
        raise RunError("no point took longer than the loop overhead")
    places = _places(curves, is_numeric)
    ratios = {name: [p for p in points if p.speed_up] for name, points in shown.items()}
    ratios = {name: points for name, points in ratios.items() if points}
    lower = None
    if ratios:
        axes.figure.set_figheight(HEIGHT)
        above, below = GridSpec(2, 1, axes.figure, height_ratios=(5, 3))
        axes.set_subplotspec(above)
        lower = axes.figure.add_subplot(below, sharex=axes)
    unit, factor = unit_of(float(np.exp(np.mean([np.log(p.time_ns.value) for ps in shown.values() for p in ps]))))
    sentences = []
    looks = dict(zip(curves, range(len(curves)), strict=True))
    for name, points in shown.items():
        growth = growths.get(name)
        label = f"{name}{_growth(growth)}" if growth else name
        odd = {one.size for one in growth.odd_sizes} if growth else set()
        ends = [(p.time_ns.value / factor, p.time_ns.low / factor, p.time_ns.high / factor) for p in points]
        _curve(axes, label, looks[name], [places[p.n] for p in points], ends, _hollow(points, odd), is_numeric)
        sentences.append(f"{name} from {quantity(points[0].time_ns.value)} to {quantity(points[-1].time_ns.value)}")
    _scales(axes, places, is_numeric, f"time of one run ({unit})")
    if lower is not None:
        for name, points in ratios.items():
            ends = [(p.speed_up.value, p.speed_up.low, p.speed_up.high) for p in points]
            _curve(lower, name, looks[name], [places[p.n] for p in points], ends, _hollow(points, set()), is_numeric)
            low, high = (end(p.speed_up.value for p in points) for end in (min, max))
            sentences.append(f"{name} is {low:.3g} to {high:.3g} times as fast as {first}")

        lower.axhline(1.0, color="black", linestyle="--", linewidth=1)
        _scales(lower, places, is_numeric, f"speed-up over {on_one_line(first)}")
        axes.tick_params(labelbottom=False)
        axes.set_xlabel("")
        label_ends(lower)
    label_ends(axes)
    return f"Time against n: {'; '.join(map(on_one_line, sentences))}."


def _growth(fit: Any) -> str:
    """The class where the times tell it from every other, else the exponent with its interval."""
    told = sum(one.fits for one in fit.classes()) == 1 and not fit.exponent.half_width > 0.5
    return f" ∝ {fit.growth.name}" if told else f" ∝ n^{fit.exponent:.2f}"


def _hollow(points: Sequence[Any], odd: set) -> list[bool]:
    return [point.state != "stable" or point.n in odd for point in points]


def _places(curves: Mapping[str, Sequence[Any]], is_numeric: bool) -> dict[Any, float]:
    """Where a size stands on the axis: at its number, names side by side."""
    sizes = list(dict.fromkeys(point.n for points in curves.values() for point in points))
    return {n: float(n) if is_numeric else float(place) for place, n in enumerate(sizes)}


def _curve(
    axes: Axes, label: str, place: int, x: Sequence[float], ends: Sequence[tuple], hollow: Sequence[bool], is_line: bool
) -> None:
    """Points with their intervals; hollow ones have a white middle."""
    colour, marker = OTHERS[place % len(OTHERS)]
    y, low, high = np.array(ends, float).T
    reach = np.maximum([np.minimum(y - low, 0.95 * y), high - y], 0)
    line = "-" if is_line else ""
    axes.errorbar(x, y, reach, color=colour, marker=marker, linestyle=line, capsize=2, label=on_one_line(label))
    at = np.array(hollow, bool)
    axes.plot(np.array(x)[at], y[at], color=colour, marker=marker, linestyle="", markerfacecolor="white", zorder=4)


def _scales(axes: Axes, places: Mapping[Any, float], is_numeric: bool, label: str) -> None:
    if is_numeric and all(place == int(place) for place in places.values()):
        log_axes(axes, places.values(), "n", label)
        return
    axes.set(yscale="log", xlabel="n", ylabel=label)
    if is_numeric:
        axes.set_xscale("log")
    else:
        axes.set_xlim(-0.5, len(places) - 0.5)
        plain_ticks(axes)
        axes.set_xticks(list(places.values()), [on_one_line(n) for n in places])
        return
    plain_ticks(axes)
