"""What the first page of a report shows: the answer, the machine, the figures, the way on.

front(run, pages, data)     -> what templates/index.html.j2 is given
"""

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .cachemodel import best_tile
from .claims import judge_all
from .drawing import Picture
from .page import Page
from .plot import overview
from .stats import Interval
from .store import Run, RunError
from .tables import copy_gb_per_s, peak_gflops, text

__all__ = ["front"]

TITLE = "How fast are matrix product and RMS norm on this machine?"
TILE_SIZES = (64, 128, 256, 512, 1024)


def front(run: Run, pages: Sequence[Page], data: Path) -> dict[str, Any]:
    """What the first page shows."""
    claims = judge_all(run)
    by_stem = {page.stem: page for page in pages}
    return {
        "title": TITLE,
        "counts": Counter(claim.verdict for claim in claims),
        "claims": claims,
        "as_text": text,
        "facts": [*_machine(run), *_limits(run)],
        "tiles": [best_tile(n, run=run) for n in TILE_SIZES],
        "figures": [_figure(picture, by_stem[stem]) for picture, stem in overview(run) if stem in by_stem],
        "files": [(file.name, file.stat().st_size) for file in sorted(data.iterdir())],
    }


def _machine(run: Run) -> list[tuple[str, str]]:
    """The machine's own lines, as names and values."""
    return [tuple(line.split(maxsplit=1)) for line in str(run.machine).splitlines()]


def _limits(run: Run) -> list[tuple[str, str]]:
    return [
        ("peak", _limit(lambda: peak_gflops(run, "float32"), "GFLOP/s multiply-add, float32, one core")),
        ("copy", _limit(lambda: copy_gb_per_s(run), "GB/s read and written in memory, one core")),
    ]


def _limit(measured: Callable[[], Interval], unit: str) -> str:
    try:
        return f"{text(measured(), 1)} {unit}"
    except RunError:
        return "not recorded"


def _figure(picture: Picture, page: Page) -> dict[str, Any]:
    width, height = picture.size
    return {
        "png": base64.b64encode(picture.png).decode(),
        "alt": picture.alt,
        "width": width,
        "height": height,
        "page": page,
    }
