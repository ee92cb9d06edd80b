"""Make the first page of a report: the answer in its first line, three figures, the verdicts, the machine, the way on.

What the run lacks is left out; a claim that it cannot judge is undecided and says what to run next.
"""

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..display.figure import Picture
from ..display.text import text
from ..errors import LACKS, RunError
from ..models.tile_choice import best_tile, default_losses
from ..runs.cases import topics
from ..runs.queries import copy_gb_per_s, peak_gflops, ratio, select, summary
from ..runs.store import Run
from ..stats import Interval
from ..studies.matmul_scaling import matmul_growth, matmul_rates
from ..studies.published import ALONE
from ..studies.rmsnorm import rms_ratio
from ..studies.summary import growth_sentences, judge_all
from ..studies.tile_size import tile_map
from ..timing.diagnostics import CANARY_SPREAD, LOST
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
SCALING = {**ALONE, "block": "float32 scaling"}
TEXTBOOK, NUMPY = "matmul_naive", "numpy_matmul"


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
    body = render(
        "front.html.j2",
        run=run,
        pages=pages,
        samples=samples,
        quoted=shlex.quote,
        headline=headline(run),
        quiet=quietness(run),
        counts=Counter(claim.verdict for claim in claims),
        claims=[(claim, stems.get(claim.id)) for claim in claims],
        answers=[_link(answer, by_stem) for answer in answers(run)],
        stems=by_stem,
        facts=[*run.machine.facts().items(), *_limits(run)],
        tiles=[best_tile(n, run=run) for n in TILE_SIZES],
        figures=[(title, picture, by_stem[stem]) for title, picture, stem in overview(run) if stem in by_stem],
        as_text=text,
    )
    return Page("index", TITLE, "", body, (), "perflib report")


def headline(run: Run) -> str:
    """The answer to the title: the best matrix multiplication, beside the peak, NumPy and the textbook loop."""
    try:
        top, peak = _fastest(run), peak_gflops(run).value
    except LACKS:
        return f"On {run.machine.cpu}, this run has no matrix multiplication and no peak to compare it with."
    share = f"{top['gflops']:.0f} GFLOP/s, {100 * top['gflops'] / peak:.0f} % of the peak of one core"
    words = f"On {run.machine.cpu}, the best matrix multiplication reaches {share}."
    factors = []
    for other, name in ((NUMPY, "NumPy"), (TEXTBOOK, "the textbook loop")):
        with suppress(*LACKS):
            gain, n, _ = _gain_over(run, other)
            factors.append(f"{gain.value:.3g} times as fast as {name} (n = {n})")
    return f"{words} It is {' and '.join(factors)}." if factors else words


def quietness(run: Run) -> str:
    """Whether other programs took time from the recording, or the clock frequency changed; empty where no sample tells."""
    tables = [run.samples(topic) for topic in topics(run)]
    samples = pd.concat(tables) if tables else pd.DataFrame(columns=["cpu_ns", "kernel"])
    samples = samples[samples["cpu_ns"] > 0]
    loops = samples[samples["kernel"] == "canary"]
    if loops.empty:
        return ""
    waits = (samples["elapsed_ns"] - samples["cpu_ns"]).clip(lower=0)[samples["switches"] > 0]
    lost = float(waits.sum() / samples["elapsed_ns"].sum())
    low, middle, high = np.percentile(loops["elapsed_ns"] / loops["reps"], [10, 50, 90])
    spread = (high - low) / middle
    facts = f"other programs took {100 * lost:.1f} % of the time, and the reference loop varied by {100 * spread:.0f} %"
    if lost <= LOST and spread <= CANARY_SPREAD:
        return f"The machine was quiet: {facts}."
    return f"The machine was not quiet: {facts}. Intervals are wider for it; record again with nothing else running."


def answers(run: Run) -> list[Answer]:
    """Those of the leading figures that the run has."""
    figures = []
    for answer in (_best_matmul, _numpy, _gain, _tile, _norm):
        with suppress(*LACKS):
            figures.append(answer(run))
    return figures


def _fastest(run: Run, *sizes: int) -> Any:
    """Return the row of the compiled variant with the highest rate, at any size or at one of `sizes`."""
    rows = summary(run, "matmul", **SCALING)
    rows = rows[rows["n"].isin(sizes)] if sizes else rows
    return rows.loc[rows["gflops"].idxmax()]


def _gain_over(run: Run, other: str) -> tuple[Interval, int, str]:
    """Time of another kernel over that of the fastest variant at the other's largest size, the size, the variant."""
    rows = select(run.samples("matmul"), kernel=other, block=SCALING["block"], threads=1)
    if rows.empty:
        raise RunError(f"run {run.id} has no {other}")
    n = int(rows["n"].max())
    top = _fastest(run, n)["kernel"]
    theirs = {"kernel": other, "n": n, "scope": rows["scope"].iloc[0], "dtype": "float32", "block": SCALING["block"]}
    return ratio(run, "matmul", theirs, {**SCALING, "kernel": top, "n": n}), n, top


def _best_matmul(run: Run) -> Answer:
    top, peak = _fastest(run), peak_gflops(run)
    detail = f"{top['kernel']} at n = {top['n']:.0f}: {top['gflops']:.0f} of {peak.value:.0f} GFLOP/s, one core."
    share = f"{100 * top['gflops'] / peak.value:.0f} % of the peak"
    return Answer("Best matrix multiplication compiled here", share, detail, "02-matmul-scaling")


def _numpy(run: Run) -> Answer:
    gain, n, top = _gain_over(run, NUMPY)
    detail = f"{NUMPY} / {top} at n = {n}: {text(gain)}."
    return Answer("NumPy takes", f"{gain.value:.2f} times as long", detail, "02-matmul-scaling")


def _gain(run: Run) -> Answer:
    gain, n, top = _gain_over(run, TEXTBOOK)
    detail = f"{TEXTBOOK} / {top} at n = {n}: {text(gain, 1)}."
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


def overview(run: Run) -> list[tuple[str, Picture, str]]:
    """The main figures that the run has, each with a sentence as its title and the stem of the page that tells more."""
    figures: tuple[tuple[Callable[[Run], Any], Callable[[Run], str], str], ...] = (
        (matmul_rates, _shares, "02-matmul-scaling"),
        (matmul_growth, _growth, "02-matmul-scaling"),
        (tile_map, lambda run: f"{(worst := _tile(run)).label} {worst.figure} as the best one", "03-tile-size"),
    )
    shown = []
    for draw, title, stem in figures:
        with suppress(*LACKS):
            if isinstance(picture := draw(run), Picture):
                shown.append((title(run), picture, stem))
    return shown


def _shares(run: Run) -> str:
    rates, peak = summary(run, "matmul", **SCALING).groupby("kernel")["gflops"].max(), peak_gflops(run).value
    top, textbook = (f"{100 * rate / peak:.0f} %" for rate in (rates.max(), rates[TEXTBOOK]))
    return f"{rates.idxmax()} reaches {top} of the peak, the textbook loop {textbook}"


def _growth(run: Run) -> str:
    """The first clause of the sentence on the growth of the tiled variant."""
    return growth_sentences(run)[0].partition(";")[0]
