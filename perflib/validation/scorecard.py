"""Show figures in a scorecard, each beside its target.

    at_least(0.95).score("inserted slow-down found", 0.97, "0.97")   -> Score, met
    Scorecard       what shows scores as a table: `scores()` is all that a class of them must define

A figure without a value is not measured: neither met nor missed. NaN misses every target.
"""

from dataclasses import dataclass
from math import inf

from ..display.table import Table


@dataclass(frozen=True)
class Score:
    """One figure as shown. `met`: None where it was not measured."""

    what: str
    value: str
    target: str
    met: bool | None
    aim: tuple[str, ...] = ()
    """Where the figure should go from its target, if the scorecard has such a column."""


@dataclass(frozen=True)
class Target:
    """Values from `low` to `high`, both included; `text` says so."""

    text: str
    low: float = -inf
    high: float = inf

    def score(self, what: str, value: float | None, display: str, *aim: str) -> Score:
        """Judge a value, and show it as `display`."""
        return Score(what, display, self.text, None if value is None else bool(self.low <= value <= self.high), aim)


def at_least(low: float, text: str = "≥ {:g}") -> Target:
    """Values from `low` upwards."""
    return Target(text.format(low), low=low)


def at_most(high: float, text: str = "≤ {:g}") -> Target:
    """Values up to `high`."""
    return Target(text.format(high), high=high)


class Scorecard:
    """Scores of one kind."""

    header = "what", "found", "target", "verdict"
    unmeasured = "not measured"

    def scores(self) -> tuple[Score, ...]:
        """Every figure, in the order of the table."""
        raise NotImplementedError

    @property
    def missed(self) -> list[str]:
        """What was measured and misses its target."""
        return [score.what for score in self.scores() if score.met is False]

    def table(self) -> Table:
        """Every figure beside its target."""
        verdicts = {True: "met", False: "missed", None: self.unmeasured}
        return Table(self.header, tuple((s.what, s.value, s.target, *s.aim, verdicts[s.met]) for s in self.scores()))
