"""Write the generated parts of README.md: its pictures, and the results of the bench.

Raises `ReportError` where the README or a marker is missing, `RunError` for a run without one of the pictures.
"""

import re
from pathlib import Path

from ..display.figure import Picture
from ..display.table import Table
from ..errors import ReportError, RunError
from ..files import README, replace_file, replace_text
from ..runs.store import Run
from ..studies.matmul_scaling import matmul_growth, matmul_rates
from ..validation.bench import Bench

PICTURES = {"growth.png": matmul_growth, "ladder.png": matmul_rates}
"""Files in `data`, and what draws each of them from a run."""


def update_readme(run: Run, readme: Path = README) -> None:
    """Draw the pictures of a run beside the README that shows them; a second time changes nothing."""
    for name, draw in PICTURES.items():
        picture = draw(run)
        if not isinstance(picture, Picture):
            raise RunError(f"run {run.id} has no variants of matmul to show in {readme.name}")
        try:
            replace_file(readme.parent / "data" / name, picture.save)
        except OSError as problem:
            raise ReportError(f"{readme.parent / 'data'}: {problem.strerror}") from None


def update_bench(bench: Bench, readme: Path = README) -> None:
    """Write the ratios, and where, when and with what they were measured; ReportError where a figure is not measured."""
    if not bench.complete:
        lacks = ", ".join(score.what for score in bench.scores() if score.met is None) or "sizes"
        raise ReportError(f"the bench lacks {lacks}; `make bench` measures every figure")
    facts = f"{bench.machine['cpu']}, {bench.machine['date']}, `make bench`. {bench.notes[0]}"
    content = f"{markdown(bench.results())}\n\n{facts}"
    try:
        replace_text(readme, between(readme.read_text(encoding="utf-8"), "bench", content))
    except OSError as problem:
        raise ReportError(f"{readme}: {problem.strerror}") from None


def markdown(table: Table) -> str:
    """One line for the header, one for the alignment, one per row; escape `|` in a cell."""
    lines = [table.header, ("---",) * len(table.header), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def between(text: str, marker: str, content: str) -> str:
    """`text` with `content` between the comments that name the marker."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.S)
    if len(pattern.findall(text)) != 1:
        raise ReportError(f"README.md must have the marker {marker!r} once")
    return pattern.sub(lambda markers: f"{markers[1]}\n{content}\n\n{markers[2]}", text)
