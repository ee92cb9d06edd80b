"""The generated parts of README.md: the ladder as a table and as a picture, from the reference run.

    update_readme(run)      writes them between their markers, and data/ladder.png beside
    markdown(table)         a Table as Markdown

Raises `RunError` where the README or a marker is missing.
"""

import re
from pathlib import Path

from .plot import Picture, matmul_rates
from .store import Run, RunError
from .story import rate_table
from .tables import Table

__all__ = ["between", "markdown", "update_readme"]

README = Path(__file__).parents[1] / "README.md"


def update_readme(run: Run, readme: Path = README) -> None:
    """Write the result table and the picture of a run; a second time changes nothing."""
    table, picture = rate_table(run), matmul_rates(run)
    if not (isinstance(table, Table) and isinstance(picture, Picture)):
        raise RunError(f"run {run.id} has no ladder to show in {readme.name}")
    try:
        text = between(readme.read_text(encoding="utf-8"), "ladder", markdown(table))
    except OSError as problem:
        raise RunError(f"{readme}: {problem.strerror}") from None
    readme.write_text(text, encoding="utf-8")
    (readme.parent / "data" / "ladder.png").write_bytes(picture.png)


def markdown(table: Table) -> str:
    """One line for the header, one for the alignment, one per row; a bar in a cell is escaped."""
    lines = [table.header, ("---",) * len(table.header), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def between(text: str, marker: str, content: str) -> str:
    """`text` with `content` between the comments that name the marker."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.S)
    if len(pattern.findall(text)) != 1:
        raise RunError(f"README.md must have the marker {marker!r} once")
    return pattern.sub(lambda found: f"{found[1]}\n{content}\n\n{found[2]}", text)
