"""Make a table of text for notebook, report and terminal, or a sentence where there is no table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from html import escape
from typing import Any

import pandas as pd

from ..errors import LACKS
from .html import table as html_table
from .text import aligned, on_one_line

MISSING = "Not in this run: "
"""How the sentence opens that stands for what a run lacks."""


@dataclass(frozen=True)
class Table:
    """Rows of ready-made text under headers that carry the units."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        widths = [max(len(on_one_line(cell)) for cell in column) for column in zip(self.header, *self.rows, strict=True)]
        return aligned([self.header, tuple("-" * w for w in widths), *self.rows])

    def _repr_html_(self) -> str:
        return pd.DataFrame(list(self.rows), columns=list(self.header)).to_html(index=False, border=0, escape=True)


class Answer:
    """A result that is a headline, sentences and tables, in a terminal, a notebook and a page alike.

    A subclass has `headline`, `notes` if there are any, and `tables()`.
    """

    headline: str
    notes: Sequence[str] = ()

    def tables(self) -> list[Table]:
        """Those that have rows, in order."""
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n\n".join(["\n".join([self.headline, *self.notes]), *map(repr, self.tables())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        sentences = "".join(f"<p>{escape(on_one_line(sentence))}</p>" for sentence in (self.headline, *self.notes))
        return sentences + "".join(html_table(part.header, part.rows) for part in self.tables())


@dataclass(frozen=True)
class Missing:
    """Stands where a table or a picture would, if the run lacks the series."""

    sentence: str

    def __repr__(self) -> str:
        return self.sentence


def or_missing(build: Callable[..., Any]) -> Callable[..., Any]:
    """Let `build(run, ...)` answer with the standard sentence, instead of an error, where the run lacks its series."""

    @wraps(build)
    def build_or_say(*args: Any, **kwargs: Any) -> Any:
        try:
            return build(*args, **kwargs)
        except LACKS as problem:
            return Missing(f"{MISSING}{problem}. `perflib record` measures it.")

    return build_or_say
