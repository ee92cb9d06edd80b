"""Read the text boxes and the lines of a matplotlib figure back, and find what a label covers."""

from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation

SLACK = 1.5  # points that a label's box may touch; glyphs are smaller than their boxes


def drawn_texts(axes):
    """Every text of axes that is drawn: beside data, in a legend, at ticks inside the view, on an axis and above."""
    legend = axes.get_legend()
    texts = [*axes.texts, *(legend.get_texts() if legend else []), axes.title, axes._left_title]
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        texts += [axis.label, *(text for tick in ticks for text in (tick.label1, tick.label2))]
    texts += [text for child in axes.child_axes for text in drawn_texts(child)]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def labels(figure, renderer):
    """Text and box, in pixels, of each text."""
    slack = SLACK * figure.dpi / 72
    for axes in figure.axes:
        for text in drawn_texts(axes):
            box = text.get_window_extent(renderer) if not isinstance(text, Annotation) else words_box(text, renderer)
            yield text.get_text(), box.padded(-slack)


def words_box(text, renderer=None):
    """The box of the words alone, without an arrow."""
    text.get_window_extent(renderer)  # moves it to its place
    return super(Annotation, text).get_window_extent(renderer)


def curves(figure):
    """Name and corners, in pixels, of each curve: lines of several points, not those that mark a level or a cache."""
    for axes in figure.axes:
        for number, line in enumerate(line for line in axes.lines if line.get_transform() == axes.transData):
            points = line.get_transform().transform(line.get_xydata()) if len(line.get_xydata()) else np.empty((0, 2))
            yield f"line {number} ({line.get_label()})", _visible(line, points)


def _visible(line, points):
    """The stretches that are drawn: none between the markers of a line without a style."""
    points = points[np.isfinite(points).all(axis=1)]
    if line.get_linestyle() in ("None", "", " "):
        return [np.array([p, p]) for p in points] if line.get_marker() not in ("None", "", None) else []
    return [points[i : i + 2] for i in range(len(points) - 1)]


def crosses(box, ends):
    """Whether a straight stretch and a box have a point in common (Liang-Barsky)."""
    (x, y), (dx, dy) = ends[0], ends[1] - ends[0]
    first, last = 0.0, 1.0
    for step, low, high in ((dx, box.x0 - x, box.x1 - x), (dy, box.y0 - y, box.y1 - y)):
        if step == 0:
            if low > 0 or high < 0:
                return False
            continue
        near, far = sorted((low / step, high / step))
        first, last = max(first, near), min(last, far)
    return first <= last


def covered(figure):
    """One line for each text whose box lies over another text or over a curve."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = list(labels(figure, canvas.get_renderer()))
    for (one, box), (other, second) in combinations(boxes, 2):
        if box.overlaps(second):
            yield f"{one!r} over {other!r}"
    for name, stretches in curves(figure):
        for text, box in boxes:
            if any(crosses(box, ends) for ends in stretches):
                yield f"{text!r} over {name}"
