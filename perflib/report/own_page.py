"""Write a user's page: headings, tables, figures and results in a single HTML file.

    write_page("stencil.html", "My stencil", run.machine, "# How it grows", fit, times(run, "stencil"))

Every text is escaped; a script or a request is refused by the page itself. Raises `ReportError` where the file is no page
of perflib that may be replaced, or cannot be written, `TypeError` for a part that has nothing to show.
"""

from pathlib import Path
from typing import Any

from markupsafe import escape

from ..display.figure import Picture
from ..display.table import Missing
from ..display.text import on_one_line
from ..errors import ReportError
from ..files import replace_text
from .markup import figure, is_own, keep_intervals, render


def write_page(path: str | Path, title: str, *parts: Any) -> Path:
    """Write the page and return its path; an earlier page of perflib is replaced as a whole."""
    path = Path(path)
    body = keep_intervals("\n".join(_markup(part) for part in parts))
    heading = escape(on_one_line(title))
    text = render("frame.html.j2", title=heading, heading=heading, body=body)
    try:
        if path.exists() and not is_own(path):
            raise ReportError(f"{path} is not a page of perflib; remove it or name another file")
        replace_text(path, text)
    except OSError as problem:
        raise ReportError(f"cannot write {path}: {problem.strerror or problem}") from None
    return path


def _markup(part: Any) -> str:
    if isinstance(part, str):
        words = escape(on_one_line(part.removeprefix("# ")))
        return f"<h2>{words}</h2>" if part.startswith("# ") else f"<p>{words}</p>"
    if isinstance(part, Missing):
        return f"<p>{escape(repr(part))}</p>"
    if isinstance(part, Picture):
        return figure(part)
    if show := getattr(part, "_repr_html_", None):
        return f'<div class="scroll">{show()}</div>'
    raise TypeError(f"part must be a text, a figure, a table or a result, got {type(part).__name__}")
