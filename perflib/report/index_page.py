"""Make the first page of a report: the results, the machine, three figures, links to the other pages.

What the run lacks is left out; a claim that it cannot judge is undecided and says so.
"""

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ..display.figure import Picture
from ..display.text import text
from ..errors import RunError, SampleError
from ..models.tile_choice import best_tile, default_losses
from ..runs.queries import copy_gb_per_s, peak_gflops, ratio, summary
from ..runs.store import Run
from ..studies.matmul_scaling import matmul_growth, matmul_rates
from ..studies.published import ALONE
from ..studies.rmsnorm import rms_bandwidth, rms_growth, rms_ratio
from ..studies.summary import growth_sentences, judge_all
from ..studies.tile_size import tile_map
from .guide_page import text_or_not_recorded
from .markup import render
from .page import Page

TITLE = "How fast are matrix multiplication and RMS norm on this machine?"
TILE_SIZES = (64, 128, 256, 512, 1024)
ORDER = ("FAILS", "HOLDS", "UNDECIDED")  # what is news first, what is open last
CLAIMS = {
    "01-timing": ("S9",),
    "02-matmul-scaling": ("S1", "S3", "S4", "S6"),
    "03-tile-size": ("S5",),
    "04-rmsnorm": ("S2", "S7", "S8"),
    "07-forward-pass": ("S10",),
}


@dataclass(frozen=True)
class Answer:
    """One figure of the run: what it is, its value, where it comes from, the page that tells more."""

    label: str
    figure: str
    detail: str
    stem: str
    more: str = ""


def first_page(run: Run, pages: Sequence[Page], samples: Mapping[str, Any]) -> Page:
    """The first page; `samples` has name, link and size of what is attached."""
    claims = sorted(judge_all(run), key=lambda claim: ORDER.index(claim.verdict))
    by_stem = {page.stem: page for page in pages}
    stems = {name: stem for stem, names in CLAIMS.items() for name in names if stem in by_stem}
    limits = _limits(run)
    body = render(
        "front.html.j2",
        run=run,
        pages=pages,
        samples=samples,
        quoted=shlex.quote,
        counts=Counter(claim.verdict for claim in claims),
        claims=[(claim, stems.get(claim.id)) for claim in claims],
        sentences=growth_sentences(run),
        answers=[_link(answer, by_stem) for answer in answers(run)],
        briefly=[(name, run.machine.facts()[name]) for name in ("CPU", "caches")] + limits,
        facts=[*run.machine.facts().items(), *limits],
        tiles=[best_tile(n, run=run) for n in TILE_SIZES],
        figures=[(picture, by_stem[stem]) for picture, stem in overview(run) if stem in by_stem],
        as_text=text,
    )
    return Page("index", TITLE, "", body, (), "perflib report")


def answers(run: Run) -> list[Answer]:
    """Those of the leading figures that the run has."""
    figures = []
    for answer in (_best_matmul, _gain, _tile, _norm):
        with suppress(RunError, SampleError):
            figures.append(answer(run))
    return figures


def _fastest(run: Run, *sizes: int) -> Any:
    """Return the row of the compiled variant with the highest rate, at any size or at one of `sizes`."""
    rows = summary(run, "matmul", block="float32 scaling", **ALONE)
    rows = rows[rows["n"].isin(sizes)] if sizes else rows
    return rows.loc[rows["gflops"].idxmax()]


def _best_matmul(run: Run) -> Answer:
    top, peak = _fastest(run), peak_gflops(run)
    detail = f"{top['kernel']} at n = {top['n']:.0f}: {top['gflops']:.0f} of {peak.value:.0f} GFLOP/s, one core."
    share = f"{100 * top['gflops'] / peak.value:.0f} % of the peak"
    return Answer("Best matrix multiplication compiled here", share, detail, "02-matmul-scaling")


def _gain(run: Run) -> Answer:
    same = {**ALONE, "block": "float32 scaling"}
    n = int(summary(run, "matmul", kernel="matmul_naive", **same)["n"].max())
    top = _fastest(run, n)["kernel"]
    gain = ratio(run, "matmul", {**same, "kernel": "matmul_naive", "n": n}, {**same, "kernel": top, "n": n})
    detail = f"matmul_naive / {top} at n = {n}: {text(gain, 1)}."
    return Answer("The textbook loop takes", f"{gain.value:.0f} times as long", detail, "02-matmul-scaling")


def _tile(run: Run) -> Answer:
    losses = default_losses(run)
    worst = max(losses, key=lambda n: losses[n].value)
    detail = f"Tile 64 / best tile at its worst, n = {worst}: {text(losses[worst])}."
    return Answer("Tile 64 takes up to", f"{losses[worst].value:.1f} times as long", detail, "03-tile-size")


def _norm(run: Run, n: int = 1024) -> Answer:
    gain = rms_ratio(run, n)
    detail = f"rms_norm_standard / rms_norm_fast at n = {n}: {text(gain)}."
    return Answer("RMS norm in two passes is", f"{gain.value:.1f} times as fast", detail, "04-rmsnorm")


def _link(answer: Answer, by_stem: Mapping[str, Page]) -> Answer:
    """With a link to its page where the report has that page."""
    page = by_stem.get(answer.stem)
    return replace(answer, stem=page.stem if page else "", more=page.name if page else "")


def _limits(run: Run) -> list[tuple[str, str]]:
    return [
        ("peak", text_or_not_recorded(peak_gflops, run, 1, " GFLOP/s multiply-add, float32, one core")),
        ("copy", text_or_not_recorded(copy_gb_per_s, run, 1, " GB/s read and written in memory, one core")),
    ]


def overview(run: Run) -> list[tuple[Picture, str]]:
    """The main figures, and the stem of the notebook that tells more about each."""
    figures: tuple[tuple[Callable[[Run], Any], str], ...] = (
        (matmul_growth, "02-matmul-scaling"),
        (rms_growth, "04-rmsnorm"),
        (matmul_rates, "02-matmul-scaling"),
        (tile_map, "03-tile-size"),
        (rms_bandwidth, "04-rmsnorm"),
    )
    return [(picture, stem) for draw, stem in figures if isinstance(picture := draw(run), Picture)]
