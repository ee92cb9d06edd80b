"""Show what a sweep of functions says on many machines: verdicts inside each, and how many agree.

    print(sweep(client, {"a": f, "b": g}, sizes, make=...))

`studies.machines` shows recordings of machines side by side.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..display.table import Answer, Table
from ..display.text import how_many, on_one_line
from ..stats import Interval
from ..studies.machines import on_most
from ..sweeps.result import Sweep
from ..timing.diagnostics import verdict
from ..timing.measure import MARGIN


@dataclass(frozen=True, eq=False, repr=False)
class FleetSweep(Answer):
    """A sweep on each machine, or why there is none. `sweeps[name]` is what `perflib.sweep` gives there."""

    sweeps: Mapping[str, Sweep]
    problems: Mapping[str, str]

    def verdicts(self) -> dict[tuple[str, str], dict[str, tuple[Interval, str]]]:
        """By curve and n: on each machine the ratio to the time of the first function, and the verdict."""
        found: dict[tuple[str, str], dict[str, tuple[Interval, str]]] = {}
        for name, one in self.sweeps.items():
            for point in one.points:
                if point.speed_up:
                    ratio = point.speed_up.inverse()
                    found.setdefault((point.curve, str(point.n)), {})[name] = ratio, verdict(ratio, MARGIN, MARGIN)
        return found

    def table(self) -> Table:
        """A row for each curve and n: ratio and verdict on each machine, and how many agree."""
        names, rows = list(self.sweeps), []
        for (curve, n), cells in self.verdicts().items():
            texts = [f"{cells[name][0]:.3f} {cells[name][1]}" if name in cells else "" for name in names]
            rows.append((curve, n, *texts, on_most([cells[name][1] if name in cells else "" for name in names])))
        return Table(("time / first function's", "n", *map(on_one_line, names), "in all"), tuple(rows))

    @property
    def headline(self) -> str:
        """How many machines have one."""
        return f"{how_many(len(self.sweeps), 'machine')}."

    @property
    def notes(self) -> list[str]:
        """Why the others have none."""
        return [on_one_line(f"{name}: {problem}") for name, problem in self.problems.items()]

    def tables(self) -> list[Table]:
        """The one of `table`."""
        return [self.table()]
