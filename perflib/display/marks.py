"""Read a figure back from what was drawn: its axes, curves and points, as words and numbers.

The description of a picture and the title of each point come from here, so a wrong unit, scale or series is read as it is
drawn, not as it was meant.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .text import on_one_line
from .ticks import has_names

COLOUR_SCALE = "<colorbar>"  # matplotlib's label of the axes that hold one
MISSING = ("None", "none", " ", "", None)
SCALES = {"log": "logarithmic", "linear": "linear"}


@dataclass(frozen=True)
class Marks:
    """The points, cells or bars of one artist, and what stands in the title of each."""

    artist: Artist
    places: np.ndarray
    """x and y of each in data coordinates; empty for cells and bars, which are drawn in their order."""
    titles: tuple[str, ...]


def plots(figure: Figure) -> list[Axes]:
    """The axes that show data."""
    return [axes for axes in figure.axes if axes.get_label() != COLOUR_SCALE]


def data_lines(axes: Axes) -> list[Line2D]:
    """What is drawn in data coordinates, without the caps of error bars."""
    caps = {cap for bars in _error_bars(axes) for cap in bars.lines[1]}
    return [line for line in axes.lines if line.get_transform() is axes.transData and line not in caps]


def levels(axes: Axes) -> list[Line2D]:
    """Lines right across, or up and down, at one value."""
    # by identity: transforms of axes without limits yet are equal
    return [line for line in axes.lines if any(line.get_transform() is one for one in _across(axes))]


def _across(axes: Axes) -> tuple:
    return axes.get_yaxis_transform(which="grid"), axes.get_xaxis_transform(which="grid")


def name_of(artist: Artist, axes: Axes) -> str:
    """The label of a line or of the error bars that it belongs to; empty where it has none."""
    owners = {bars.lines[0]: bars.get_label() for bars in _error_bars(axes)}
    label = str(owners.get(artist) or artist.get_label() or "")
    return "" if label.startswith("_") else on_one_line(label)


def _error_bars(axes: Axes) -> list[ErrorbarContainer]:
    return [one for one in axes.containers if isinstance(one, ErrorbarContainer)]


def number(value: float) -> str:
    """Four digits that count; whole numbers as they are."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.4g}"


def written(axes: Axes, axis: Axis, value: float) -> str:
    """A value as its axis writes it: with a unit where the axes say how, by its name where the axis has names."""
    if how := axes.fmt_xdata if axis is axes.xaxis else axes.fmt_ydata:
        return str(how(value))
    if has_names(axis) and len(places := axis.get_majorticklocs()):
        names = axis.get_major_formatter().format_ticks(places)
        return on_one_line(names[int(np.abs(np.asarray(places) - value).argmin())])
    return number(value)


def marks(figure: Figure) -> list[Marks]:
    """All points, cells and bars that are drawn."""
    return [one for axes in plots(figure) for one in (*_points(axes), *_cells(axes), *_bars(axes))]


def _points(axes: Axes) -> Iterator[Marks]:
    """Markers; one without a name, as the hollow ones over others, has that of the point below it."""
    titles: dict[tuple[float, float], str] = {}
    ends = _interval_ends(axes)
    for line in sorted(data_lines(axes), key=lambda line: not name_of(line, axes)):
        if line.get_marker() in MISSING:
            continue
        name, places = name_of(line, axes), np.asarray(line.get_xydata(), float)
        words = []
        for place in map(tuple, places):
            at = _equals(_short(axes.get_xlabel() or _below(axes)), written(axes, axes.xaxis, place[0]))
            value = _equals(axes.get_ylabel(), written(axes, axes.yaxis, place[1]) + ends.get(place, ""))
            own = f"{name}: {at}, {value}" if name else f"{at}, {value}"
            titles.setdefault(place, own)
            words.append(own if name else titles[place])
        yield Marks(line, places, tuple(words))


def _equals(label: str, value: str) -> str:
    """`n = 64`; the value alone on an axis without a label."""
    return f"{on_one_line(label)} = {value}" if label.strip() else value


def _below(axes: Axes) -> str:
    """What the shared x axis of the plot below is called."""
    others = [other for other in axes.figure.axes if other is not axes and other.get_shared_x_axes().joined(axes, other)]
    return next((other.get_xlabel() for other in others if other.get_xlabel()), "")


def _short(label: str) -> str:
    """`n` of `n (one row, float32)`: what stands in brackets is on the axis."""
    return label.partition(" (")[0]


def _interval_ends(axes: Axes) -> dict[tuple[float, float], str]:
    """` [1.9, 2.1]` by point: the ends of its error bar."""
    ends = {}
    for bars in _error_bars(axes):
        places = [tuple(place) for place in np.asarray(bars.lines[0].get_xydata(), float)]
        for collection in bars.lines[2]:
            for place, segment in zip(places, collection.get_segments(), strict=False):
                if len(segment) == 2:
                    (x0, y0), (x1, y1) = segment
                    axis, low, high = (axes.yaxis, y0, y1) if x0 == x1 else (axes.xaxis, x0, x1)
                    ends[place] = f" [{written(axes, axis, low)}, {written(axes, axis, high)}]"
    return ends


def _cells(axes: Axes) -> Iterator[Marks]:
    for mesh in (one for one in axes.collections if isinstance(one, QuadMesh)):
        values = np.ma.filled(np.ma.masked_invalid(mesh.get_array()), np.nan)
        scale = mesh.colorbar.ax.get_ylabel() or mesh.colorbar.ax.get_xlabel() if mesh.colorbar else ""
        titles = []
        for (row, column), value in np.ndenumerate(values):
            x, y = written(axes, axes.xaxis, column + 0.5), written(axes, axes.yaxis, row + 0.5)
            at = f"{_short(axes.get_xlabel())} {x}, {_short(axes.get_ylabel())} {y}"
            titles.append("" if np.isnan(value) else f"{at}: {number(value)} {scale}".strip())
        yield Marks(mesh, np.empty((0, 2)), tuple(titles))


def _bars(axes: Axes) -> Iterator[Marks]:
    for bars in (one for one in axes.containers if isinstance(one, BarContainer)):
        for bar in bars.patches:
            place = written(axes, axes.xaxis, bar.get_x() + bar.get_width() / 2)
            name = "" if bars.get_label().startswith("_") else f"{on_one_line(bars.get_label())}, "
            yield Marks(bar, np.empty((0, 2)), (f"{name}{place}: {number(bar.get_height())} {axes.get_ylabel()}",))


def describe(figure: Figure) -> str:
    """What is drawn, plot by plot: both axes with scale and range, every curve from end to end, every level."""
    return " ".join(" ".join(_describe_plot(axes)) for axes in plots(figure))


def _describe_plot(axes: Axes) -> Iterator[str]:
    for axis, label, limits, scale in (
        (axes.xaxis, axes.get_xlabel() or _below(axes), axes.get_xlim(), axes.get_xscale()),
        (axes.yaxis, axes.get_ylabel(), axes.get_ylim(), axes.get_yscale()),
    ):
        low, high = (written(axes, axis, value) for value in limits)
        words = ", ".join(filter(None, (on_one_line(label), SCALES.get(scale, scale), f"{low} to {high}")))
        yield f"{'Across' if axis is axes.xaxis else 'Up'}: {words}."
    if curves := [words for line in data_lines(axes) if (words := _describe_curve(axes, line))]:
        yield f"Curves: {'; '.join(curves)}."
    for mesh in _cells(axes):
        shown = [title for title in mesh.titles if title]
        yield f"Cells: {len(shown)}, the first is {shown[0]}, the last {shown[-1]}." if shown else "No cells."
    if lines := [words for line in levels(axes) if (words := name_of(line, axes))]:
        yield f"Levels: {'; '.join(lines)}."


def _describe_curve(axes: Axes, line: Line2D) -> str:
    """`naive from 32, 1.2 to 512, 0.8`; empty for a line without a name."""
    places = [place for place in np.asarray(line.get_xydata(), float) if np.isfinite(place).all()]
    if not (name := name_of(line, axes)) or not places:
        return ""
    ends = [f"{written(axes, axes.xaxis, x)}, {written(axes, axes.yaxis, y)}" for x, y in (places[0], places[-1])]
    return f"{name} from {ends[0]} to {ends[1]}"
