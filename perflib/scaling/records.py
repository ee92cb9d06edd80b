"""What a fit returns: levels of price, steps, odd sizes, classes of growth, predictions and the verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from ..stats import Interval


class Verdict(str):
    """`consistent`, `inconsistent` or `undecided`, with the sentence to read and what would decide it."""

    sentence: str
    _advise: Callable[[], str]

    def __new__(cls, verdict: str, sentence: str = "", advise: Callable[[], str] = str) -> "Verdict":
        """The str, with its sentence; advise: called when the advice is read, for it may take a second to find."""
        self = super().__new__(cls, verdict)
        self.sentence, self._advise = sentence, advise
        return self

    @cached_property
    def advice(self) -> str:
        """What would decide; empty where that is done."""
        return self._advise()


@dataclass(frozen=True)
class Regime:
    """Sizes whose unit of work has one price."""

    first: float
    last: float
    price: Interval
    """Nanoseconds per unit of work."""
    exponent: Interval | None
    """Of the time inside the regime less the fixed cost; None for fewer than three usable sizes."""
    reason: str = ""


@dataclass(frozen=True)
class Step:
    """Where the price of a unit of work rises: from the last size of a level to the first one of the next."""

    last: float
    first: float
    factor: float


@dataclass(frozen=True)
class OddSize:
    """A size that takes `factor` times as long as its neighbours say."""

    size: float
    factor: float
    reason: str = ""


@dataclass(frozen=True)
class Growth:
    """One class beside the data; `distance` to the best fit is in units of twice the log-likelihood."""

    name: str
    fits: bool
    distance: float
    same_as: tuple[str, ...]
    """Classes that these data cannot tell from it."""

    def __repr__(self) -> str:
        word = "fits" if self.fits else "does not fit"
        same = f", indistinguishable from {', '.join(self.same_as)}" if self.same_as else ""
        return f"{self.name}: {word} ({self.distance:.1f}){same}"


class Prediction(float):
    """A number with an interval; `extrapolated` where it lies beyond three times the range of the sizes."""

    low: float
    high: float
    extrapolated: bool

    def __new__(cls, value: float, low: float, high: float, extrapolated: bool) -> "Prediction":
        """The float, with its interval."""
        self = super().__new__(cls, value)
        self.low, self.high, self.extrapolated = min(low, value), max(high, value), extrapolated
        return self

    def __repr__(self) -> str:
        note = ", extrapolated" if self.extrapolated else ""
        return f"{float(self):.4g} [{self.low:.4g}, {self.high:.4g}]{note}"
