"""Show results in a notebook as a compact table with a small picture.

    >>> table(("name",), [("<b>",)])
    '<table><thead><tr><th scope="col">name</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'

Pictures are SVG of fixed size whose numbers have one digit: the same data give the same bytes. They take the colour of the
text around them, so they are visible on any background, and describe themselves in words.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from ..stats import Interval
from .text import on_one_line

WIDTH, HEIGHT, EDGE = 120, 24, 3
COLOUR = "#0072B2"  # Okabe and Ito's blue: 3 : 1 against white and against near black


class Drawn(str):
    """Markup made here: the one kind of cell that a table does not escape."""


def table(header: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """One table as HTML, each row as long as the header; a column without an entry is left out."""
    places = [place for place in range(len(header)) if not rows or any(row[place] != "" for row in rows)]
    head = "".join(f'<th scope="col">{_cell(header[place])}</th>' for place in places)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(row[place])}</td>' for place in places)}</tr>" for row in rows)
    above = f"<caption>{escape(on_one_line(caption))}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(content: object) -> str:
    return content if isinstance(content, Drawn) else escape(on_one_line(content))


def strip(values: Sequence[float], band: Interval, what: str) -> Drawn:
    """A dot for each value from left to right, over the band of an interval."""
    low, high = min(*values, band.low), max(*values, band.high)
    x = _places(range(len(values)), 0, max(1, len(values) - 1), WIDTH)
    y, (top, bottom) = _heights(values, low, high), _heights((band.high, band.low), low, high)
    height = max(1.0, bottom - top)
    area = f'<rect x="0" y="{top:.1f}" width="{WIDTH}" height="{height:.1f}" fill="{COLOUR}" opacity="0.25"/>'
    return _picture(area + _dots(x, y), what)


def reach(interval: Interval, ends: tuple[float, float], what: str) -> Drawn:
    """The interval of a ratio as a line with a dot, from one end of a logarithmic axis to the other; 1 is marked."""
    logs = np.log([interval.low, interval.value, interval.high, 1.0])
    left, middle, right, one = _places(logs, *np.log(ends), WIDTH)
    half = HEIGHT / 2
    lines = (
        f'<path d="M{one:.1f} 0V{HEIGHT}" stroke="currentColor" opacity="0.5" stroke-dasharray="2 2"/>'
        f'<path d="M{left:.1f} {half}H{max(right, left + 1):.1f}" stroke="{COLOUR}" stroke-width="3"/>'
    )
    return _picture(lines + _dots([middle], [half], 4), what)


def bar(share: float, what: str) -> Drawn:
    """Draw a bar whose length is a share of the whole, from 0 to 1, and none for NaN."""
    width = WIDTH * min(1.0, max(0.0, share)) if np.isfinite(share) else 0.0
    return _picture(f'<rect x="0" y="6" width="{width:.1f}" height="12" fill="{COLOUR}"/>', what)


def image(picture: Any) -> Drawn:
    """A figure as an image that the page holds, with its sentence as the alternative."""
    width, height = picture.size
    source = f"data:image/png;base64,{picture.base64}"
    return Drawn(f'<img src="{source}" alt="{escape(picture.description)}" width="{width}" height="{height}"/>')


def _places(values: Sequence[float], low: float, high: float, length: float) -> np.ndarray:
    """From `low` to `high` along a length, with room for a dot at either end."""
    share = (np.asarray(values, float) - low) / ((high - low) or 1.0)
    return EDGE + np.clip(share, 0, 1) * (length - 2 * EDGE)


def _heights(values: Sequence[float], low: float, high: float, height: float = HEIGHT) -> np.ndarray:
    return height - _places(values, low, high, height)


def _dots(x: Sequence[float], y: Sequence[float], radius: int = 2) -> str:
    return "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}" fill="{COLOUR}"/>' for a, b in zip(x, y, strict=True))


def _picture(shapes: str, what: str, height: int = HEIGHT) -> Drawn:
    words = escape(on_one_line(what))
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return Drawn(f'<svg role="img" aria-label="{words}" {size}>{shapes}</svg>')
