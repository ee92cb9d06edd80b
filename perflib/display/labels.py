"""Place the labels of a figure where they cover no data, once the places of everything else are known.

A label says by its gid how it may move:

    end       beside the last point of its curve, or in a column to the right of all curves, with a leader line
    near      around its point, with a leader line where that is far
    across    along a horizontal line, above or below it
    up        along a vertical line
    band      above the axes, over its band; shorter where the band is narrow

Labels of ends come first, then those of lines, then those of points, so that a label of few places is not in the way of
one that has many.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from .ticks import thin_out

LEADER = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2, "relpos": (0, 0.5)}
MOVABLE = {"across": 0, "up": 1}  # the coordinate that changes
BESIDE = 12  # points from a curve's last point to its label
GAP = 1.0  # pixels between two labels
MOVED = 4.0  # pixels from which on a label needs a leader
DIRECTIONS = ((0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0))
DISTANCES = (7, 12, 18, 26, 36, 48, 64, 84)  # points
FAR = 15  # points from which on a label at a point needs a leader
SAMPLES = 100  # of each stretch of a curve


def place_labels(figure: Figure) -> None:
    """Lay the figure out, move its labels, and keep the layout as it is then."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        _shorten_bands(axes)
        _place_ends(axes)
    figure.draw_without_rendering()  # labels beside curves take room from them
    for axes in figure.axes:
        _shorten_bands(axes)
        _place_ends(axes)
        for axis in (axes.xaxis, axes.yaxis):
            thin_out(axis)
        _place_lines(axes)
        _place_near(axes)
    figure.set_layout_engine("none")


def _of(axes: Axes, *kinds: str) -> list[Text]:
    return [text for text in axes.texts if text.get_gid() in kinds and text.get_text()]


def words_box(text: Text) -> Bbox:
    """The box of the words alone, in pixels, without a leader."""
    text.get_window_extent()  # moves it to its place
    return Text.get_window_extent(text)


def _curves(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if line.get_transform() is axes.transData and len(line.get_xydata())]


def _points(axes: Axes) -> np.ndarray:
    """Pixels along all curves and error bars."""
    bars = [bar for container in axes.containers for bar in getattr(container, "lines", ((), (), ()))[2]]
    segments = [axes.transData.transform(segment) for bar in bars for segment in bar.get_segments() if len(segment)]
    corners = [line.get_transform().transform(np.asarray(line.get_xydata(), float)) for line in _curves(axes)]
    drawn = [line.get_linestyle() != "None" for line in _curves(axes)] + [True] * len(segments)
    parts = [_along(line, is_line) for line, is_line in zip([*corners, *segments], drawn, strict=True)]
    return np.concatenate([np.empty((0, 2)), *parts])


def _along(corners: np.ndarray, is_line: bool) -> np.ndarray:
    steps = np.linspace(0, 1, SAMPLES if is_line else 1)[:, None, None]
    return np.concatenate([corners, (corners[:-1] + steps * np.diff(corners, axis=0)).reshape(-1, 2)])


def _hits(box: Bbox, points: np.ndarray, others: Sequence[Bbox]) -> int:
    """How many points and boxes a label would cover."""
    inside = ((points > (box.x0, box.y0)) & (points < (box.x1, box.y1))).all(axis=1).sum()
    return int(inside) + 100 * box.count_overlaps(others)


def _shorten_bands(axes: Axes) -> None:
    """The whole name of a band, the part before its comma, or none, whichever fits."""
    bands = [patch for patch in axes.patches if patch.get_gid() == "band"]
    for band, name in zip(bands, [text for text in axes.texts if text.get_gid() == "band"], strict=True):
        room = band.get_window_extent().width
        for words in (name.get_text(), name.get_text().partition(",")[0], ""):
            name.set_text(words)
            if not words or words_box(name).width < room:
                break


def spread(places: np.ndarray, gaps: np.ndarray, low: float, high: float) -> np.ndarray:
    """Rising places that are `gaps` apart, each as near to its own as the others allow, from `low` to `high` if they fit.

    What remains after the gaps is averaged where it falls (pool adjacent violators).
    """
    offsets = np.concatenate([[0.0], np.cumsum(gaps)])
    pools: list[list[float]] = []
    for value in places - offsets:
        pools.append([value])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    level = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
    return np.clip(level, low, max(low, high - offsets[-1])) + offsets


def _place_ends(axes: Axes) -> None:
    """Beside each curve's end, moved apart; a label that would cover another curve goes into the column to the right."""
    labels = _of(axes, "end")
    if not labels:
        return
    scale, to_points = axes.transData.transform, 72 / axes.figure.dpi
    ends = np.array([scale(label.xy) for label in labels])
    column, points = ends[:, 0].max(), _points(axes)
    offsets = np.full(len(labels), float(BESIDE))
    for _ in labels:  # each of them may have to go into the column
        _spread_labels(axes, labels, ends, offsets)
        covering = [bool(_hits(words_box(label), points, [])) for label in labels]
        moving = np.array(covering) & (ends[:, 0] < column - 1) & (offsets == BESIDE)
        if not moving.any():
            break
        offsets[moving] = (column - ends[moving, 0]) * to_points + BESIDE
    for label, offset in zip(labels, offsets, strict=True):
        moved = label.get_position()[1] / to_points
        label.arrow_patch.set_visible(bool(abs(moved) > MOVED or offset > BESIDE))


def _spread_labels(axes: Axes, labels: Sequence[Annotation], ends: np.ndarray, offsets: np.ndarray) -> None:
    """Labels at their distances to the right of the ends of their curves, moved apart from the lowest to the highest."""
    for label, offset in zip(labels, offsets, strict=True):
        label.set_position((offset, 0))
    boxes = [words_box(label) for label in labels]
    order = np.argsort(ends[:, 1], kind="stable")
    heights = np.array([boxes[place].height for place in order])
    middles = np.array([(boxes[place].y0 + boxes[place].y1) / 2 for place in order])
    low, high = axes.bbox.y0 + heights[0] / 2, axes.bbox.y1 - heights[-1] / 2
    for place, to in zip(order, spread(middles, (heights[1:] + heights[:-1]) / 2 + GAP, low, high), strict=True):
        labels[place].set_position((offsets[place], (to - ends[place, 1]) * 72 / axes.figure.dpi))


def _place_lines(axes: Axes) -> None:
    """Each label of a line moves along it to the first place where it covers no curve and no label."""
    points = _points(axes)
    for label in _of(axes, *MOVABLE):
        axis, start, place = MOVABLE[label.get_gid()], label.xy, label.get_position()
        others = [words_box(text) for text in axes.texts if text is not label and text.get_text()]
        shares = (start[axis], *np.arange(0.02, 0.95, 0.03))
        _try(axes, label, points, others, (_along_line(axis, start, place, one) for one in product((1, -4), shares)))


def _along_line(axis: int, start: tuple, place: tuple, choice: tuple) -> tuple:
    """Where a label points to and stands: at a share of its line, above or below it."""
    side, at = choice
    xy = (at, start[1]) if axis == 0 else (start[0], at)
    return xy, (place[0], side * place[1]) if axis == 0 else xy


def _place_near(axes: Axes) -> None:
    """Each label of a point goes around it, and farther away, to the first place where it covers nothing."""
    labels, points = _of(axes, "near"), _points(axes)
    boxes = [words_box(text) for text in axes.texts if text.get_text() and text not in labels]
    for label in labels:
        around = ((label.xy, (dx * r, dy * r)) for r, (dx, dy) in product(DISTANCES, DIRECTIONS))
        _try(axes, label, points, boxes, around)
        boxes.append(words_box(label))
        dx, dy = label.get_position()
        label.arrow_patch.set_visible(bool(np.hypot(dx, dy) > FAR))


def _try(axes: Axes, label: Annotation, points: np.ndarray, others: Sequence[Bbox], choices: Iterator) -> None:
    """Move a label to the first of the choices that is free and inside the axes, else to the one that covers least."""
    best, least = None, np.inf
    for xy, place in choices:
        _move(label, xy, place)
        box = words_box(label)
        is_inside = axes.bbox.padded(1).fully_contains(box.x0, box.y0) and axes.bbox.padded(1).fully_contains(
            box.x1, box.y1
        )
        if (hits := _hits(box, points, others) + (0 if is_inside else 1000)) < least:
            best, least = (xy, place), hits
        if not least:
            break
    _move(label, *best)


def _move(label: Annotation, xy: tuple, place: tuple) -> None:
    label.xy = xy
    label.set_position(place)
    if label.get_gid() == "near":
        label.set_ha({1: "left", -1: "right"}.get(int(np.sign(place[0])), "center"))
        label.set_va({1: "bottom", -1: "top"}.get(int(np.sign(place[1])), "center"))
