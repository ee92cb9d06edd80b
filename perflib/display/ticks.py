"""Place and write the ticks of an axis: 1, 2 and 5 in each decade, numbers as people write them, one style on an axis."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

TICKS, NARROW_TICKS = 12, 6  # at most on an axis of a wide and of a narrow drawing
LONG, SHORT = 1e5, 1e-4  # from and below these an axis has powers
FEW = 3  # fewer ticks than these say little about a scale
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class PlainNumbers(Formatter):
    """64, 0.5, 1000, or all of an axis as powers: 2¹⁷, 10⁶, 2·10⁶."""

    def __call__(self, value: float, pos: int | None = None) -> str:
        """One tick, as it is written where it stands alone."""
        return self.format_ticks([value])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """All ticks of an axis in one style, which those inside the view decide."""
        low, high = sorted(self.axis.get_view_interval()) if self.axis else (-math.inf, math.inf)
        inside = [value for value in values if low <= value <= high] or list(values)
        if all(value == 0 or SHORT <= abs(value) < LONG for value in inside):
            return [f"{value:g}" for value in values]
        if all(value >= 1 and math.log2(value).is_integer() for value in inside):
            return [f"2{_raised(math.log2(value))}" if value > 0 else "" for value in values]
        return [_power_of_ten(value, all(_mantissa(v) == 1 for v in inside)) for value in values]


def _mantissa(value: float) -> float:
    return float(f"{value:.3e}".partition("e")[0])


def _power_of_ten(value: float, is_bare: bool) -> str:
    """`10⁶` where all ticks are powers, else `2·10⁶`."""
    mantissa, _, power = f"{value:.3e}".partition("e")
    return "0" if value == 0 else f"{'' if is_bare else f'{float(mantissa):g}·'}10{_raised(int(power))}"


def _raised(power: float) -> str:
    return str(int(power)).translate(RAISED)


class OneTwoFive(LogLocator):
    """Ticks at 1, 2 and 5 of each decade, at 1 alone where those are many, at even steps where those are few."""

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        """The places of the ticks, which may lie just outside the view."""
        most = min(TICKS, max(FEW, self.axis.get_tick_space())) if self.axis else TICKS
        for subs in ((1.0, 2.0, 5.0), (1.0,)):
            self.set_params(subs=subs, numticks=most)
            ticks = np.asarray(super().tick_values(vmin, vmax))
            if FEW <= np.count_nonzero((ticks >= vmin) & (ticks <= vmax)) <= most:
                return ticks
        return ticks if vmax > 100 * vmin else MaxNLocator(FEW + 2, steps=[1, 2, 5, 10]).tick_values(vmin, vmax)


def plain_ticks(axes: Axes) -> None:
    """Plain numbers on both axes, and 1, 2 and 5 in the decades of a logarithmic y axis."""
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_locator(OneTwoFive())
    for axis in (axes.xaxis, axes.yaxis):
        plain_numbers(axis)
        axis.set_minor_locator(NullLocator())  # 1, 2 and 5 are enough


def plain_numbers(axis: Axis) -> None:
    """Numbers as people write them at the ticks of one axis."""
    axis.set_major_formatter(PlainNumbers())
    axis.set_minor_formatter(NullFormatter())


def size_ticks(axis: Axis, sizes: Iterable[float], most: int, text: Callable[[float], str] | None = None) -> None:
    """Ticks at the sizes that are powers of two, every so many where they are more than `most`, or at every size."""
    sizes = sorted({int(n) for n in sizes})
    powers = [n for n in sizes if n > 0 and n & (n - 1) == 0]
    places = powers if len(powers) >= FEW else sizes
    places = places[-1 :: -(1 + (len(places) - 1) // most)][::-1]
    axis.set_ticks(places, [text(place) for place in places] if text else None)


def thin_out(axis: Axis) -> None:
    """Leave out labels of ticks that would lie over the one before, once their places are known."""
    ticks = [tick for tick in axis.get_major_ticks() if tick.label1.get_visible() and tick.label1.get_text()]
    low, high = sorted(axis.get_view_interval())
    ticks = sorted((t for t in ticks if low <= t.get_loc() <= high), key=lambda tick: tick.get_loc())
    kept, last = [], None
    for tick in ticks:
        box = tick.label1.get_window_extent().padded(1)
        if last is None or not box.overlaps(last):
            kept, last = [*kept, tick], box
    if len(kept) < len(ticks):
        axis.set_ticks([t.get_loc() for t in kept], [t.label1.get_text() for t in kept] if has_names(axis) else None)


def has_names(axis: Axis) -> bool:
    """Whether an axis has words at its ticks, not the numbers of its scale."""
    return isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter)
