"""Draw figures in one style, with direct labels, bands of the caches and a description in words.

Colours are those of Okabe and Ito, two of them darker so that they stand out from white, and each series has its own
marker. A picture for a notebook has two pixels for each pixel of the page, in each direction, so that it is sharp on a
high-density screen and in print. A page gets the figure as lines, in two widths: `drawings`.
"""

import base64
import io
import math
import os
import struct
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from .colours import ink, readable
from .labels import BESIDE, LEADER, place_labels
from .marks import describe, levels, name_of
from .svg import MOST_MARKS, count_marks, svg
from .table import or_missing
from .text import on_one_line, shortened
from .ticks import NARROW_TICKS, TICKS, plain_numbers, plain_ticks, size_ticks

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B87F00", "#555555")
MARKERS = "os^Dv*PX<>phd8"
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "legend.edgecolor": "none",
    "errorbar.capsize": 0,  # intervals are thin lines
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "text.parse_math": False,  # a dollar is a dollar
}
LOOKS = {  # kernel: label, colour, marker
    "matmul_naive": ("naive", "#D55E00", "o"),
    "matmul_tiled": ("tiled 64, as published", "#0072B2", "s"),
    "matmul_tiled_vectorised": ("tiled 64, vectorised", "#009E73", "^"),
    "matmul_ikj": ("ikj", "#CC79A7", "D"),
    "matmul_register_blocked": ("register-blocked", "#B87F00", "P"),
    "matmul_packed": ("packed", "#3E97CC", "X"),
    "matmul": ("matmul (the fast one)", "#000000", "*"),
    "numpy_matmul": ("NumPy (call)", "#555555", "v"),
    "mkl_matmul": ("MKL (call)", "#7a7a7a", "<"),
    "torch_matmul": ("PyTorch (call)", "#8a8a8a", ">"),
    "rms_norm_standard": ("standard", "#D55E00", "o"),
    "rms_norm_fast": ("fast", "#0072B2", "s"),
    "rms_norm": ("explicit SIMD", "#009E73", "D"),
    "numpy_rms_norm": ("NumPy expression (call)", "#555555", "v"),
    "torch_rms_norm": ("PyTorch (call)", "#8a8a8a", ">"),
}
OTHERS = (("#0072B2", "s"), ("#D55E00", "o"), ("#009E73", "^"), ("#CC79A7", "D"), ("#3E97CC", "v"), ("#555555", "P"))
FURTHER = "*X<>ph"  # markers of those after them
BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # behind a label, so that no line crosses it
WIDTH, HEIGHT, DPI = 7.6, 4.4, 200
NARROW = 3.58  # inches: what a page of 390 pixels leaves for a figure
SMALLEST = 8.0  # points of a text: 11 pixels of a page
DENSITY = 2  # pixels of a picture for one of the page
PALETTE_SIZE = 128  # a figure has few: a third of the bytes, and nothing to be seen of it
SHADES = 20  # of a map: steps of 5 %
LINE, TINT = "#767676", {"color": "#000000", "alpha": 0.06}  # the end of a band, and every other band
STRIP = 1.06  # of the height of the axes: where a strip of names above them ends
LETTERS, LETTERS_OF_TWO = 44, 38  # of a name above narrow axes, and of two beside each other
NUMBER = 4  # letters beside the axes that leave this room
ROW = 0.17  # inches of a line of a legend
ON_PAGES = "PERFLIB_FIGURES"  # set to "page" where a page is made: figures come as lines


@dataclass(frozen=True)
class Picture:
    """A figure as PNG bytes, and one sentence that says what is to be seen in it."""

    png: bytes
    alt: str
    figure: Figure | None = field(default=None, repr=False, compare=False)
    """What was drawn; None where only its pixels are known."""
    draw_narrow: Callable[[], Figure] | None = field(default=None, repr=False, compare=False)
    """Draws it again for a narrow page."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on a page, in its pixels."""
        width, height = struct.unpack(">II", self.png[16:24])  # every PNG opens with them
        return width // DENSITY, height // DENSITY

    @cached_property
    def description(self) -> str:
        """The sentence, then what was drawn: axes, curves and levels, read back from the figure."""
        return " ".join(f"{self.alt} {describe(self.figure) if self.figure else ''}".split())

    @cached_property
    def drawings(self) -> tuple[str, ...]:
        """The figure as SVG for a wide and a narrow page; none where only its pixels are known or its marks are many."""
        if self.figure is None or count_marks(self.figure) >= MOST_MARKS:
            return ()
        with _styled():
            narrow = (svg(self.draw_narrow(), self.description, "narrow"),) if self.draw_narrow else ()
            return svg(self.figure, self.description), *narrow

    def save(self, path: str | Path) -> Path:
        """Write it as .png or .svg, and return the path."""
        path = Path(path)
        if path.suffix == ".png":
            path.write_bytes(self.png)
        elif path.suffix == ".svg" and self.figure is not None:
            with _styled(), rc_context({"svg.hashsalt": "perflib"}):  # the same figure gives the same bytes
                self.figure.savefig(path, format="svg", metadata={"Date": None})
        else:
            raise ValueError(f"path must end in .png or .svg, got {str(path)!r}")
        return path

    @property
    def base64(self) -> str:
        """The PNG as text, for a page that holds its pictures."""
        return base64.b64encode(self.png).decode()

    @property
    def half(self) -> str:
        """The PNG with a pixel for each pixel of the page, as text, for a screen of low density."""
        return base64.b64encode(_png(self.figure, DPI // DENSITY)).decode() if self.figure else ""

    def _repr_mimebundle_(self, **_: object) -> tuple[dict, dict]:
        is_page = os.environ.get(ON_PAGES) == "page"
        if is_page and self.drawings:
            return {"image/svg+xml": "".join(self.drawings), "text/plain": self.description}, {}
        metadata = {"alt": self.description, **dict(zip(("width", "height"), self.size, strict=True))}
        metadata |= {"half": self.half} if is_page and self.figure else {}
        return {"image/png": self.png, "text/plain": self.description}, {"image/png": metadata}


def picture(draw: Callable[..., str]) -> Callable[..., Picture]:
    """Give `draw(axes, run, ...)` a styled figure and turn what it drew and returned into a Picture."""

    @or_missing
    @wraps(draw)
    def draw_picture(*args: Any, **kwargs: Any) -> Picture:
        def drawn(width: float) -> tuple[Figure, str]:
            with _styled(), rc_context({"font.size": 8.5} if width <= NARROW else {}):
                figure = Figure(figsize=(width, HEIGHT), layout="constrained")
                alt = on_one_line(draw(figure.add_subplot(), *args, **kwargs))
                if width <= NARROW:
                    _fit_in(figure)
                for text in figure.findobj(Text):
                    text.set_text("\n".join(map(on_one_line, text.get_text().splitlines())))
                place_labels(figure)
                return figure, alt

        figure, alt = drawn(WIDTH)
        with _styled():
            return Picture(_png(figure), alt, figure, lambda: drawn(NARROW)[0])

    return draw_picture


def _fit_in(figure: Figure) -> None:
    """Make a narrow figure higher by its legends, and break the names of its axes into lines."""
    for axes in figure.axes:
        axes.set_xlabel("\n".join(textwrap.wrap(axes.get_xlabel(), LETTERS)))
        axes.set_ylabel("\n".join(textwrap.wrap(axes.get_ylabel(), LETTERS)))
        if legend := axes.get_legend():
            rows = math.ceil(len(legend.get_texts()) / legend._ncols)  # it has no public name
            figure.set_figheight(figure.get_figheight() + ROW * rows)


@contextmanager
def _styled() -> Iterator[None]:
    """The style of all figures; a letter that the font lacks is shown as a box, without a warning."""
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        yield


def is_narrow(axes: Axes) -> bool:
    """Whether the drawing is for a narrow page."""
    return axes.figure.get_figwidth() <= NARROW


def most_ticks(axes: Axes) -> int:
    """How many ticks an x axis has room for."""
    return NARROW_TICKS if is_narrow(axes) else TICKS


def _png(figure: Figure, dpi: int = DPI) -> bytes:
    """The figure in pixels, with a palette of its own."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
    palette = pixels.quantize(PALETTE_SIZE, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(file := io.BytesIO(), "PNG", optimize=True)
    return file.getvalue()


def curve(axes: Axes, name: str, x, y, low=None, high=None, line: str = "-", place: int = 0) -> None:
    """Points with their intervals; a kernel that is not built in looks as its place among the others says."""
    label, colour, marker = LOOKS.get(name) or (series_name(name), *look_of(place))
    reach = None if low is None else np.maximum([np.asarray(y - low, float), np.asarray(high - y, float)], 0)
    x, y = np.asarray(x, float), np.asarray(y, float)
    axes.errorbar(x, y, reach, color=colour, marker=marker, linestyle=line, label=label)


def look_of(place: int) -> tuple[str, str]:
    """Colour and marker of the curve at a place among those that are not built in: no two of 12 have one marker."""
    colour, marker = OTHERS[place % len(OTHERS)]
    return colour, marker if place % (2 * len(OTHERS)) < len(OTHERS) else FURTHER[place % len(OTHERS)]


def series_name(name: object) -> str:
    """A name as a label, short enough for a figure; matplotlib hides a label that begins with an underscore."""
    label = shortened(name)
    return f" {label}" if label.startswith("_") else label


def share_map(
    axes: Axes,
    share: np.ndarray,
    across: Sequence,
    up: Sequence,
    label: str,
    least: float = 0.0,
    height: float = 0.5,
) -> None:
    """Shares from `least` to 1 as a map with the numbers in it; NaN stays empty. The last axis of `share` goes across."""
    cell_map(axes, share, across, up, label, (least, 1.0), "{:.2f}".format, lambda value: f"{100 * value:.0f}", height)


def cell_map(
    axes: Axes,
    values: np.ndarray,
    across: Sequence,
    up: Sequence,
    label: str,
    ends: tuple[float, float],
    wide: Callable[[float], str],
    narrow: Callable[[float], str],
    height: float = 0.5,
) -> None:
    """A map with a number in each cell, at a share of its height; the scale of colours goes between two ends."""
    shades = colormaps["cividis"].resampled(SHADES)
    shown = np.ma.masked_invalid(values)
    mesh = axes.pcolormesh(shown, cmap=shades, vmin=ends[0], vmax=ends[1], edgecolors="white", linewidth=1, gid="cell")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            look = {"ha": "center", "va": "center", "fontsize": SMALLEST, "color": ink(mesh.to_rgba(value)), "gid": "cell"}
            axes.text(column + 0.5, row + height, (narrow if is_narrow(axes) else wide)(value), **look)
    crowded = is_narrow(axes) and sum(len(str(one)) for one in across) > 24
    axes.set_xticks(np.arange(len(across)) + 0.5, across, rotation=90 if crowded else 0)
    axes.set_yticks(np.arange(len(up)) + 0.5, up)
    axes.grid(visible=False)
    scale = axes.figure.colorbar(mesh, label=label, ax=axes, location="bottom" if is_narrow(axes) else "right")
    scale.solids.set_gid("cell")


def log_axes(axes: Axes, sizes: Iterable, xlabel: str, ylabel: str) -> None:
    """Logarithmic axes with ticks at sizes that are powers of two, every other where many, or at every size."""
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlabel=xlabel, ylabel=ylabel)
    plain_ticks(axes)
    size_ticks(axes.xaxis, sizes, most_ticks(axes))


def shares(axes: Axes, whole: float, label: str) -> None:
    """A second scale to the right: percent of `whole`; room for the labels of the curves is left before it."""
    low, high = axes.get_xlim()
    axes.set_xlim(low, high if is_narrow(axes) else high * (high / low) ** 0.3)
    scale = axes.secondary_yaxis("right", functions=(lambda y: 100 * y / whole, lambda share: share * whole / 100))
    scale.set_ylabel(label)
    plain_numbers(scale.yaxis)


def level(axes: Axes, value: float, label: str, at: float = 0.01) -> None:
    """A dashed line across, named at this share of its length, or where the name covers no curve; above narrow axes."""
    axes.axhline(value, color="black", linestyle="--", linewidth=1, label=label)
    if is_narrow(axes):
        name_above(axes)
        return
    coordinates = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(label, (at, value), (0, 4), fontsize=9, bbox={**BOX, "pad": 1.5}, gid="across", **coordinates)


def bands(axes: Axes, ends: Iterable[tuple[float, str]], last: str) -> None:
    """Tints behind the data from one end to the next, every other one empty, named in a strip above the axes.

    ends: where each band ends, and its name, of which what stands after a comma is left out where it is narrow.
    last: the name of what lies beyond the last end.
    """
    low, high = axes.get_xlim()
    start, is_log = low, axes.get_xscale() == "log"
    for number, (end, name) in enumerate([*ends, (np.inf, last)]):
        end = min(end, high)
        if end <= start:
            continue
        look = TINT if number % 2 else {"color": "none"}
        axes.axvspan(start, end, **look, linewidth=0, zorder=0, gid="band")
        if end < high:
            axes.axvline(end, color=LINE, linestyle=":", linewidth=1.2)
        middle = np.sqrt(start * end) if is_log else (start + end) / 2
        look = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        axes.annotate(name, (middle, 1), (0, 3), fontsize=8.5, color="#555555", gid="band", annotation_clip=False, **look)
        start = end
    axes.set_xlim(low, high)


def cache_bands(
    axes: Axes, caches: Iterable[Any], place: Callable[[float], float], what: str, is_named: bool = True
) -> None:
    """A band for each cache that the data fill inside the plot: up to there they lie in it."""
    low, high = axes.get_xlim()
    ends = [(place(cache.size_bytes), f"{cache.name}, {what}" if is_named else "") for cache in caches]
    if any(low < end < high for end, _ in ends):
        bands(axes, ends, "memory" if is_named else "")


def label_ends(axes: Axes) -> None:
    """Name each curve that no legend names: beside its end, or above the axes of a narrow drawing."""
    legend = axes.get_legend()
    names = {entry.get_text() for entry in legend.get_texts()} if legend else set()
    if is_narrow(axes):
        name_above(axes)
        return
    ends = [c for c in axes.containers if c.get_label() not in names and not c.get_label().startswith("_")]
    for bars in ends:
        label_point(axes, bars.get_label(), bars.lines[0].get_xydata()[-1], bars.lines[0].get_color(), "end")


def name_above(axes: Axes, handles: Sequence = (), columns: int = 2) -> None:
    """A legend above the axes, where it covers nothing: of these or of all curves, where narrow of the levels too."""
    lines = [line for line in levels(axes) if name_of(line, axes)]
    handles = handles or [handle for handle in axes.get_legend_handles_labels()[0] if handle not in lines]
    handles = [*handles, *(lines if is_narrow(axes) else ())]
    beside = max([0, *(len(tick.get_text()) - NUMBER for tick in axes.get_yticklabels())])  # names of rows take room
    letters = LETTERS - beside if is_narrow(axes) else LETTERS
    labels = [shortened(handle.get_label(), letters) for handle in handles]
    if is_narrow(axes):
        half = (len(labels) + 1) // 2
        together = sum(max(map(len, part), default=0) for part in (labels[:half], labels[half:]))
        columns = 2 if together + beside <= LETTERS_OF_TWO else 1
    look = {"loc": "lower left", "fontsize": SMALLEST if is_narrow(axes) else 9, "handlelength": 1.6, "columnspacing": 1.0}
    above = (0, STRIP if _has_strip(axes) else 1.0)
    axes.legend(handles, labels, bbox_to_anchor=above, ncols=columns, borderaxespad=0.2, labelspacing=0.3, **look)


def _has_strip(axes: Axes) -> bool:
    return any(text.get_gid() == "band" for text in axes.texts)


def label_point(axes: Axes, words: str, at: Sequence[float], colour: str, how: str = "near") -> None:
    """Small words that find their place beside a point: near it, or beside the end of a curve."""
    look = {"xytext": (BESIDE, 0), "textcoords": "offset points", "va": "center", "fontsize": 9 if how == "end" else 8.5}
    look |= {"color": readable(colour), "bbox": BOX, "annotation_clip": False, "gid": how}
    leader = {**LEADER, "relpos": (0, 0.5) if how == "end" else (0.5, 0.5), "color": colour}
    axes.annotate(words, tuple(at), **look, arrowprops=leader).arrow_patch.set_visible(False)
