"""Write results as text: labels on one line, numbers with a suitable unit, aligned columns.

>>> print(aligned([("size", "time"), ("64", "1.5 µs")]))
size  time
64    1.5 µs
"""

from collections.abc import Sequence

from ..errors import on_one_line
from ..stats import Interval


def shortened(text: object, letters: int = 32) -> str:
    """On one line, the middle of a long one left out."""
    line = on_one_line(text)
    half = (letters - 1) // 2
    return line if len(line) <= letters else f"{line[:half]}…{line[-half:]}"


def first_line(problem: object) -> str:
    """The first line of what an exception says."""
    return str(problem).strip().partition("\n")[0] or "no message"


def size_text(size_bytes: float) -> str:
    """`31.5 KiB`, `7.6 MiB`"""
    unit, name = (1 << 20, "MiB") if size_bytes >= 1 << 20 else (1 << 10, "KiB")
    return f"{size_bytes / unit:.3g} {name}"


def unit_of(ns: float) -> tuple[str, float]:
    """The unit that suits a time, and its nanoseconds."""
    units = (("ns", 1.0), ("µs", 1e3), ("ms", 1e6))
    return next((u for u in units if abs(ns) < 1000 * u[1]), ("s", 1e9))


def quantity(ns: float) -> str:
    """`62.1 ns`"""
    unit, factor = unit_of(ns)
    return f"{ns / factor:.4g} {unit}"


def duration(time_ns: Interval) -> str:
    """`62.1 ns [61.8, 62.5]`, in the unit that suits the value."""
    factor = unit_of(time_ns.value)[1]
    return f"{quantity(time_ns.value)} [{time_ns.low / factor:.4g}, {time_ns.high / factor:.4g}]"


def change(share: float, digits: int = 0) -> str:
    """`12 %`, and `a factor of 3.4` beyond 100 %."""
    return f"{100 * share:.{digits}f} %" if share <= 1 else f"a factor of {1 + share:.3g}"


def how_many(count: int, noun: str) -> str:
    """`1 machine`, `2 machines`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def aligned(rows: Sequence[Sequence[object]]) -> str:
    """A line per row; rows may end early. Columns are two spaces apart."""
    rows = [[on_one_line(cell) for cell in row] for row in rows]
    widths = [max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(max(map(len, rows)))]
    return "\n".join("  ".join(f"{cell:<{w}}" for cell, w in zip(r, widths, strict=False)).rstrip() for r in rows)


def text(interval: Interval, digits: int = 2) -> str:
    """`2.05 [1.98, 2.11]`"""
    return f"{interval:.{digits}f}"
