"""Make the guide for a slow kernel: one step at a time, the cheapest to check first, each with a ratio of the run.

A figure that stands on the first page is not drawn again: its step leads to the page that explains it. A step whose series
the run lacks keeps its advice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..display.figure import Picture
from ..display.table import Missing
from ..display.text import text
from ..errors import LACKS
from ..models.tile_choice import default_losses
from ..runs.queries import copy_gb_per_s, interval_of, peak_gflops, ratio
from ..runs.store import Run
from ..stats import Interval
from ..studies import matmul_scaling, rmsnorm, timing
from ..studies.published import ALONE
from ..studies.timing import self_ratios
from .markup import render
from .page import Page, contents, gather_missing, parse, to_markup

MACHINES = "09-machines"
SIZE = 512  # of the comparisons: the largest that every run has


@dataclass(frozen=True)
class Step:
    """A question, what to do about it, and what this run says: a ratio in words, a figure, the page that tells more."""

    question: str
    advice: str
    ratio_of: str
    measured: Callable[[Run], Interval]
    figure: Callable[[Run], Picture | Missing] | None
    """None where the first page has it."""
    stem: str


def guide_page(run: Run, pages: Mapping[str, Page]) -> Page:
    """The guide, with what the run shows of each step."""
    steps = [_describe(number, step, run, pages) for number, step in enumerate(STEPS, start=1)]
    tree = parse(render("guide.html.j2", steps=steps, machines=pages.get(MACHINES)))
    gather_missing(tree)
    opening = "What to try in which order, from the cheapest question to the most work, each step with what it gained here."
    title = "My kernel is slow: what to try, in which order?"
    toc = contents(tree)
    return Page("performance-guide", title, opening, to_markup(tree), toc, "guide")


def _describe(number: int, step: Step, run: Run, pages: Mapping[str, Page]) -> dict[str, Any]:
    picture = step.figure and step.figure(run)
    figure = {"missing": picture.sentence} if isinstance(picture, Missing) else {"picture": picture}
    factor = text_or_not_recorded(step.measured, run)
    return {"step": step, "number": number, "page": pages.get(step.stem), "factor": factor, **figure}


def text_or_not_recorded(measured: Callable[[Run], Interval], run: Run, digits: int = 2, unit: str = "") -> str:
    """What was measured as text with its unit, or that the run lacks it."""
    try:
        return text(measured(run), digits) + unit
    except LACKS:
        return "not recorded"


def _call(run: Run) -> Interval:
    case = {"kernel": "rms_norm_fast", "n": SIZE, "block": "scopes"}
    return ratio(run, "timing", {**case, "scope": "call"}, {**case, "scope": "kernel"})


def _balance(run: Run) -> Interval:
    peak, copy = peak_gflops(run), copy_gb_per_s(run)
    return Interval(peak.value / copy.value, peak.low / copy.high, peak.high / copy.low, 0.9)


def _speed_up(slow: str, fast: str) -> Callable[[Run], Interval]:
    same = {**ALONE, "block": "float32 scaling", "n": SIZE}
    return lambda run: ratio(run, "matmul", {**same, "kernel": slow}, {**same, "kernel": fast})


def _passes(run: Run) -> Interval:
    samples = run.samples("rmsnorm")
    same = {"block": "float32 batch", "rows": samples["rows"].max()}
    return ratio(run, "rmsnorm", {**same, "kernel": "rms_norm_standard"}, {**same, "kernel": "rms_norm_fast"})


def _worst_place(run: Run) -> Interval:
    times = timing.place_times(run)
    off = times[~times["on_lines"]].sort_values("ns")
    slowest, usual = interval_of(off.iloc[-1]), interval_of(off.iloc[len(off) // 2])
    return Interval(slowest.value / usual.value, slowest.low / usual.high, slowest.high / usual.low, 0.9)


def _worst_tile(run: Run) -> Interval:
    return max(default_losses(run).values(), key=lambda loss: loss.value)


STEPS = (
    Step(
        "Is it the kernel at all?",
        "Measure in both scopes before changing a line. A call from Python pays for dispatch and checks; where that is "
        "most of the time, call less often: pass a whole batch, or move the loop that calls into compiled code.",
        "called from Python / the kernel itself, rms_norm_fast",
        _call,
        timing.scopes,
        "01-timing",
    ),
    Step(
        "Can the figure be believed?",
        "Compare the kernel with itself. What that calls different is the smallest gain worth talking about; a change "
        "below it needs more rounds, fresh processes or a quieter machine, not an explanation.",
        "rms_norm_fast / itself, the comparison that went farthest from 1",
        lambda run: max(self_ratios(run), key=lambda factor: abs(np.log(factor.value))),
        timing.self_comparisons,
        "01-timing",
    ),
    Step(
        "Is it only unlucky?",
        "Before you optimise, measure the kernel in many places: arrays whose addresses agree modulo 4096, or that begin "
        "off a line boundary, can cost more than any change of the code gains. `measure` draws a place in every round and "
        "says how many are slow. If some are, align the arrays to 64 bytes and move the output away from the inputs.",
        "slowest / median of the places off line boundaries, rms_norm_fast",
        _worst_place,
        timing.places,
        "01-timing",
    ),
    Step(
        "What could it reach at most?",
        "Count flops and bytes. A kernel with fewer flops per byte than the machine's balance is limited by memory, and "
        "arithmetic costs it nothing; one with more is limited by the multipliers, and should get near the peak.",
        "balance of this machine: flop per byte of the peak / the copy",
        _balance,
        rmsnorm.rms_bandwidth,
        "04-rmsnorm",
    ),
    Step(
        "Does it touch memory more often than it must?",
        "Fuse the passes and drop the temporaries: each pass over an array that no cache holds costs its bytes again. "
        "A NumPy expression makes one of each per operator; a compiled loop needs none.",
        "RMS norm in four passes and two temporaries / in two and none, the largest batch",
        _passes,
        rmsnorm.rms_batch,
        "04-rmsnorm",
    ),
    Step(
        "Does the inner loop walk along rows?",
        "Exchange loops so that the innermost index is the last one of every array. Neighbours then come with one line "
        "of the cache and fill one vector register; a walk down a column fetches a line for each element.",
        "ijk / ikj order, the same work",
        _speed_up("matmul_naive", "matmul_ikj"),
        None,
        "02-matmul-scaling",
    ),
    Step(
        "Are the vector instructions there?",
        "Look for packed multiply-adds in the machine code. Sums need leave to be reordered (fastmath: reassoc, contract), "
        "slices or unsigned indices spare the check for negative ones, and gathers are not what was meant.",
        "tiles as published by the original engine / the same tiles, vectorised",
        _speed_up("matmul_tiled", "matmul_tiled_vectorised"),
        matmul_scaling.matmul_times,
        "02-matmul-scaling",
    ),
    Step(
        "Does the block fit, and do its rows collide?",
        "Block only when the data outgrow a cache, and sweep the block's size: the best one depends on the leading "
        "dimension, and a power of two sends a column into few sets. Pad by one line, or copy the block (packing).",
        "tile 64 / best tile, at the worst size recorded",
        _worst_tile,
        None,
        "03-tile-size",
    ),
    Step(
        "Is what was loaded used often enough?",
        "Keep a block of results in registers, so that each number loaded serves several multiply-adds, and copy what the "
        "loops read into the order in which they read it (packing). This is the most work, and the last factor.",
        "ikj order / register blocks, packed where it pays",
        _speed_up("matmul_ikj", "matmul"),
        None,
        "02-matmul-scaling",
    ),
)
