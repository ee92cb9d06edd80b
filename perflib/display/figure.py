"""Draw figures in one style, with direct labels, cache levels and a description in words.

Colours are those of Okabe and Ito, and each series has its own marker. A picture has two pixels for each pixel of the
page, in each direction, so that it is sharp on a high-density screen and in print.
"""

import base64
import io
import math
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter
from PIL import Image

from .table import or_missing
from .text import on_one_line

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#555555")
MARKERS = "os^Dv*"
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
    "text.parse_math": False,  # a dollar is a dollar
}
LOOKS = {  # kernel: label, colour, marker
    "matmul_naive": ("naive", "#D55E00", "o"),
    "matmul_tiled": ("tiled 64, as published", "#0072B2", "s"),
    "matmul_tiled_vectorised": ("tiled 64, vectorised", "#009E73", "^"),
    "matmul_ikj": ("ikj", "#CC79A7", "D"),
    "matmul_register_blocked": ("register-blocked", "#E69F00", "P"),
    "matmul_packed": ("packed", "#56B4E9", "X"),
    "matmul": ("matmul (the fast one)", "#000000", "*"),
    "numpy_matmul": ("NumPy (call)", "#555555", "v"),
    "mkl_matmul": ("MKL (call)", "#7a7a7a", "<"),
    "torch_matmul": ("PyTorch (call)", "#999999", ">"),
    "rms_norm_standard": ("standard", "#D55E00", "o"),
    "rms_norm_fast": ("fast", "#0072B2", "s"),
    "rms_norm": ("explicit SIMD", "#009E73", "D"),
    "numpy_rms_norm": ("NumPy expression (call)", "#555555", "v"),
    "torch_rms_norm": ("PyTorch (call)", "#999999", ">"),
}
OTHERS = (("#0072B2", "s"), ("#D55E00", "o"), ("#009E73", "^"), ("#CC79A7", "D"), ("#56B4E9", "v"), ("#555555", "P"))
BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # behind a label, so that no line crosses it
WIDTH, HEIGHT, DPI = 7.6, 4.4, 200
LONG = 1e5  # from here on a power of two or ten is written as one
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
TICKS = 12  # fewer than this on an axis
LEADER = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2, "relpos": (0, 0.5)}
MOVABLE = {"across": 0, "up": 1}  # a label that may move along its line, by its gid: the coordinate that changes
DENSITY = 2  # pixels of a picture for one of the page
PALETTE_SIZE = 128  # a figure has few: a third of the bytes, and nothing to be seen of it


@dataclass(frozen=True)
class Picture:
    """A figure as PNG bytes, and one sentence that says what is to be seen in it."""

    png: bytes
    alt: str
    figure: Figure | None = field(default=None, repr=False, compare=False)
    """What was drawn; None where only its pixels are known."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on a page, in its pixels."""
        width, height = struct.unpack(">II", self.png[16:24])  # every PNG opens with them
        return width // DENSITY, height // DENSITY

    def save(self, path: str | Path) -> Path:
        """Write it as .png or .svg, and return the path."""
        path = Path(path)
        if path.suffix == ".png":
            path.write_bytes(self.png)
        elif path.suffix == ".svg" and self.figure is not None:
            with rc_context(STYLE | {"svg.hashsalt": "perflib"}):  # the same figure gives the same bytes
                self.figure.savefig(path, format="svg", metadata={"Date": None})
        else:
            raise ValueError(f"path must end in .png or .svg, got {str(path)!r}")
        return path

    @property
    def base64(self) -> str:
        """The PNG as text, for a page that holds its pictures."""
        return base64.b64encode(self.png).decode()

    def _repr_mimebundle_(self, **_: object) -> tuple[dict, dict]:
        metadata = {"alt": self.alt, **dict(zip(("width", "height"), self.size, strict=True))}
        return {"image/png": self.png, "text/plain": self.alt}, {"image/png": metadata}


def picture(draw: Callable[..., str]) -> Callable[..., Picture]:
    """Give `draw(axes, run, ...)` a styled figure and turn what it drew and returned into a Picture."""

    @or_missing
    @wraps(draw)
    def draw_picture(*args: Any, **kwargs: Any) -> Picture:
        with rc_context(STYLE):
            figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
            alt = on_one_line(draw(figure.add_subplot(), *args, **kwargs))
            _free_labels(figure)
            return Picture(_png(figure), alt, figure)

    return draw_picture


def _free_labels(figure: Figure) -> None:
    """Move each label of a level or a cache along its line to the first place where it covers no curve and no label."""
    if not any(text.get_gid() in MOVABLE for axes in figure.axes for text in axes.texts):
        return
    figure.draw_without_rendering()
    for axes in figure.axes:
        curves = [line for line in axes.lines if line.get_transform() == axes.transData and len(line.get_xydata())]
        points = np.concatenate([np.empty((0, 2)), *map(_along, curves)])
        for label in [text for text in axes.texts if text.get_gid() in MOVABLE]:
            axis, start, place = MOVABLE[label.get_gid()], label.xy, label.get_position()
            others = [text.get_window_extent() for text in axes.texts if text is not label and text.get_text()]
            for side, at in [*product((1, -4), (start[axis], *np.arange(0.02, 0.95, 0.03))), (1, start[axis])]:
                label.xy = (at, start[1]) if axis == 0 else (start[0], at)
                label.set_position((place[0], side * place[1]) if axis == 0 else label.xy)
                box = label.get_window_extent()
                inside = ((points > (box.x0, box.y0)) & (points < (box.x1, box.y1))).all(axis=1).any()
                if axes.bbox.padded(4).fully_contains(box.x1, box.y1) and not inside and box.count_overlaps(others) == 0:
                    break


def _along(line: Line2D) -> np.ndarray:
    """Pixels along a curve."""
    corners = line.get_transform().transform(np.asarray(line.get_xydata(), float))
    steps = np.linspace(0, 1, 1 if line.get_linestyle() == "None" else 100)[:, None, None]
    return np.concatenate([corners, (corners[:-1] + steps * np.diff(corners, axis=0)).reshape(-1, 2)])


def _png(figure: Figure) -> bytes:
    """The figure in pixels, with a palette of its own."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
    palette = pixels.quantize(PALETTE_SIZE, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(file := io.BytesIO(), "PNG", optimize=True)
    return file.getvalue()


def curve(axes: Axes, name: str, x, y, low=None, high=None, line: str = "-", place: int = 0) -> None:
    """Points with their reach; a kernel that is not built in looks as its place among the others says."""
    label, colour, marker = LOOKS.get(name) or (on_one_line(name), *OTHERS[place % len(OTHERS)])
    reach = None if low is None else np.maximum([np.asarray(y - low, float), np.asarray(high - y, float)], 0)
    x, y = np.asarray(x, float), np.asarray(y, float)
    axes.errorbar(x, y, reach, color=colour, marker=marker, linestyle=line, capsize=2, label=label)


def share_map(axes: Axes, share: np.ndarray, across: Sequence, up: Sequence, label: str, least: float = 0.0) -> None:
    """Shares from `least` to 1 as a map with the numbers in it; NaN stays empty. The last axis of `share` goes across."""
    mesh = axes.pcolormesh(np.ma.masked_invalid(share), cmap="cividis", vmin=least, vmax=1, edgecolors="white", linewidth=1)
    for (row, column), value in np.ndenumerate(share):
        if not np.isnan(value):
            colour = "white" if value - least < 0.6 * (1 - least) else "black"
            axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(np.arange(len(across)) + 0.5, across)
    axes.set_yticks(np.arange(len(up)) + 0.5, up)
    axes.grid(visible=False)
    axes.figure.colorbar(mesh, label=label, ax=axes)


def log_axes(axes: Axes, sizes: Iterable, xlabel: str, ylabel: str) -> None:
    """Logarithmic axes with ticks at sizes that are powers of two, every other where many, or at every size."""
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlabel=xlabel, ylabel=ylabel)
    sizes = sorted({int(n) for n in sizes})
    powers = [n for n in sizes if n & (n - 1) == 0]
    axes.set_xticks(powers[-1 :: -(1 + len(powers) // TICKS)] if len(powers) > 4 else sizes)
    plain_ticks(axes)


def shares(axes: Axes, whole: float, label: str) -> None:
    """A second scale to the right: percent of `whole`; room for the labels of the curves is left before it."""
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * (high / low) ** 0.24)
    scale = axes.secondary_yaxis("right", functions=(lambda y: 100 * y / whole, lambda share: share * whole / 100))
    scale.set_ylabel(label)
    _format_ticks(scale.yaxis, "{:g}".format)


def plain_ticks(axes: Axes) -> None:
    """Numbers as people write them: 64, 0.5, 1000, 2¹⁷, 10⁶."""
    for axis in (axes.xaxis, axes.yaxis):
        _format_ticks(axis, _power_or_number)


def _format_ticks(axis: Axis, text: Callable[[float], str]) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_formatter(NullFormatter())


def _power_or_number(value: float) -> str:
    powers = ((base, round(math.log(value, base))) for base in (2, 10) if value >= LONG)
    texts = (f"{base}{str(power).translate(RAISED)}" for base, power in powers if value == base**power)
    return next(texts, f"{value:g}")


def level(axes: Axes, value: float, label: str, at: float = 0.01) -> None:
    """A dashed line across, named at this share of its length, or where the name covers no curve."""
    axes.axhline(value, color="black", linestyle="--", linewidth=1)
    coordinates = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(label, (at, value), (0, 4), fontsize=9, bbox={**BOX, "pad": 1.5}, gid="across", **coordinates)


def cache_lines(axes: Axes, caches: Iterable[Any], place: Callable[[float], float], what: str, at: float = 0.02) -> None:
    """A line where the data fill each of the caches, if that lies inside the plot; named at this share of its height."""
    low, high = axes.get_xlim()
    for cache in caches:
        x = place(cache.size_bytes)
        if low < x < high:
            axes.axvline(x, color="#999999", linestyle=":", linewidth=1.2)
            style = {"rotation": 90, "ha": "right", "va": "bottom", "fontsize": 8, "color": "#666666", "gid": "up"}
            axes.annotate(f"{what} {cache.name}", (x, at), xycoords=("data", "axes fraction"), **style)
    axes.set_xlim(low, high)


def readable(colour: str) -> tuple[float, float, float]:
    """The colour, darkened until it can be read as text on white: 4.5 : 1 (WCAG 2.1, 1.4.3)."""
    rgb = np.array(to_rgb(colour))
    while 1.05 / (_luminance(rgb) + 0.05) < 4.55:  # eight bits round
        rgb *= 0.97
    return tuple(rgb)


def _luminance(rgb: np.ndarray) -> float:
    """Relative luminance of sRGB, as WCAG defines it."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def label_ends(axes: Axes) -> None:
    """Direct labels to the right of each curve that no legend names, moved apart where they would meet."""
    legend = axes.get_legend()
    names = {entry.get_text() for entry in legend.get_texts()} if legend else set()
    bars = [c for c in axes.containers if c.get_label() not in names]
    curves = [(c.lines[0].get_xydata()[-1], c.get_label(), c.lines[0].get_color()) for c in bars]
    scale = axes.transData.transform
    axes.autoscale_view()
    below = -np.inf
    for (x, y), label, colour in sorted(curves, key=lambda c: c[0][1]):
        pixel = scale((x, y))[1]
        below = max(pixel, below + 13)
        place = {"xytext": (12, (below - pixel) * 72 / axes.figure.dpi), "textcoords": "offset points", "va": "center"}
        if below > pixel + 4:  # moved: a leader shows whose label it is
            place["arrowprops"] = {**LEADER, "color": colour}
        axes.annotate(label, (x, y), color=readable(colour), fontsize=9, bbox=BOX, annotation_clip=False, **place)
