"""Where the time of a pass goes: component times, checked against the whole.

    PerformanceStats()                      empty; fill it with sections or with add()
    PerformanceStats(forward_pass_ms=10.0, attention_ms=4.0, ...)   one pass with known times
    PerformanceStats(components=("load", "solve"))                  any other set of parts

    stats = PerformanceStats()
    with stats.section("forward_pass"):
        with stats.section("attention"):
            ...
    stats.print("first token")

Raises `ValueError` for an unknown component, a negative time or a part outside the whole, and `SampleError` where an
average, a table or a print of no passes is asked for.
"""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from .stats import MIN_SAMPLES, SampleError, median, median_interval
from .timer import Clock

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PerformanceStats"]

WHOLE = "forward_pass"
RESIDUAL = "unexplained"
COMPONENTS = ("embedding", "attention", "ffn", "projection")


class PerformanceStats:
    """Times of a pass and its parts over any number of passes.

    `count` is the number of passes; `forward_pass_ms` and `<component>_ms` are totals over them, in milliseconds.
    Times are kept as integer nanoseconds.
    """

    def __init__(
        self, components: Sequence[str] = COMPONENTS, clock: Clock = time.perf_counter_ns, **times_ms: float
    ) -> None:
        self.components = tuple(components)
        self._names = (WHOLE, *self.components)
        if len(set(self._names)) != len(self._names):
            raise ValueError(f"components must be distinct and none of them {WHOLE!r}, got {self.components}")
        self._clock = clock
        self._passes: list[dict[str, int]] = []
        self._open: dict[str, int] | None = None
        if times_ms:
            self._passes.append(dict.fromkeys(self._names, 0) | self._nanoseconds(times_ms))

    @property
    def count(self) -> int:
        """Number of passes."""
        return len(self._passes)

    def __getattr__(self, field: str) -> float:
        name = field.removesuffix("_ms")
        if field.endswith("_ms") and name in self.__dict__.get("_names", ()):
            return sum(p[name] for p in self._passes) / 1e6
        raise AttributeError(f"{type(self).__name__} has no field {field!r}")

    def add(self, sample: "PerformanceStats") -> None:
        """Take over the passes of `sample`, which must have the same components."""
        if sample.components != self.components:
            raise ValueError(f"sample must have the components {self.components}, got {sample.components}")
        self._passes.extend([dict(p) for p in sample._passes])  # a list: `sample` may be self

    def average(self) -> "PerformanceStats":
        """The mean pass, as statistics of one pass. Raises SampleError if there is none."""
        self._require_passes("average")
        return PerformanceStats(
            self.components, self._clock, **{f"{n}_ms": self._total(n) / self.count / 1e6 for n in self._names}
        )

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Time a part: `forward_pass` opens a pass and counts it when it ends well; the parts run inside it.

        A part that runs several times in one pass adds up. A pass that raises is not counted.
        """
        self._require_name(name)
        if (name == WHOLE) != (self._open is None):
            where = "not be nested" if name == WHOLE else f"run inside section({WHOLE!r})"
            raise ValueError(f"section {name!r} must {where}")
        if name != WHOLE:
            start = self._clock()
            try:
                yield
            finally:
                self._open[name] += self._clock() - start
            return
        self._open = dict.fromkeys(self._names, 0)
        start = self._clock()
        try:
            yield
            self._open[WHOLE] = self._clock() - start
            self._passes.append(self._open)
        finally:
            self._open = None

    def residual_ms(self) -> float:
        """What the parts leave unexplained of the whole, in milliseconds over all passes; negative if they overlap."""
        return (self._total(WHOLE) - sum(map(self._total, self.components))) / 1e6

    def print(self, label: str, file: TextIO | None = None) -> None:
        """Print mean times and shares of the whole, then what the parts leave unexplained, where there is any."""
        self._require_passes("print")
        over = f" (mean of {self.count} passes)" if self.count > 1 else ""
        lines = [f"Performance Stats: {label}{over}", f"Forward pass: {self._total(WHOLE) / self.count / 1e6:.3f} ms"]
        times = {name: self._total(name) / self.count / 1e6 for name in self.components}
        residual = self.residual_ms() / self.count
        if abs(residual) >= 0.0005:  # what the three decimals of a line would show
            times[RESIDUAL] = residual
        width = max(map(len, times), default=0) + 1
        for name, ms in times.items():
            lines.append(f"- {_title(name) + ':':<{width}} {ms:.3f} ms ({self._share(ms):.1f}%)")
        print("\n".join(lines), file=file or sys.stdout)

    def to_frame(self) -> "pd.DataFrame":
        """One row per part, the whole first and the residual last: mean, median and its 95 % interval, share.

        The interval is NaN for fewer than six passes, which have none.
        """
        import pandas as pd

        self._require_passes("to_frame")
        series = {name: [p[name] / 1e6 for p in self._passes] for name in self._names}
        series[RESIDUAL] = [(p[WHOLE] - sum(p[n] for n in self.components)) / 1e6 for p in self._passes]
        rows = [{"component": name, **self._summary(values)} for name, values in series.items()]
        return pd.DataFrame(rows).set_index("component")

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(float_format="{:.3f}".format, escape=True) if self.count else repr(self)

    def __repr__(self) -> str:
        return f"PerformanceStats(count={self.count}, components={self.components})"

    def _summary(self, values: list[float]) -> dict[str, float]:
        mean = sum(values) / len(values)
        enough = len(values) >= MIN_SAMPLES
        interval = median_interval(values) if enough else None
        return {
            "mean_ms": mean,
            "median_ms": median(values),
            "low_ms": interval.low if interval else math.nan,
            "high_ms": interval.high if interval else math.nan,
            "share_percent": self._share(mean),
        }

    def _share(self, ms: float) -> float:
        whole = self._total(WHOLE) / self.count / 1e6
        return 100 * ms / whole if whole else math.nan

    def _total(self, name: str) -> int:
        return sum(p[name] for p in self._passes)

    def _nanoseconds(self, times_ms: dict[str, float]) -> dict[str, int]:
        result = {}
        for field, ms in times_ms.items():
            name = field.removesuffix("_ms")
            if name == field:
                raise ValueError(f"times must be named <component>_ms, got {field!r}")
            self._require_name(name)
            if not (ms >= 0 and math.isfinite(ms)):
                raise ValueError(f"{field} must be finite and at least 0, got {ms}")
            result[name] = round(ms * 1e6)
        return result

    def _require_name(self, name: str) -> None:
        if name not in self._names:
            raise ValueError(f"component must be one of {', '.join(self._names)}; got {name!r}")

    def _require_passes(self, what: str) -> None:
        if not self._passes:
            raise SampleError(f"{what} needs at least 1 pass, got none")


def _title(name: str) -> str:
    return name.upper() if name == "ffn" else name.replace("_", " ").capitalize()
