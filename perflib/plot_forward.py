"""The figures of a forward pass: each from a run, each with a sentence that says what is to be seen.

breakdown       shares of the parts: a prompt, and generation against the context
batches         generation of batches, and a prompt, below the roofs of arithmetic and memory
gain_map        how many times as fast each fused kernel and each quantised part is, and what that saves of a pass
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter

from .drawing import picture, plain_ticks
from .forward import PARTS, work
from .passes import PHASES, WHOLE, gains, part_times, read_gb_per_s, series_of
from .plot_memory import COLOURS, MARKERS
from .store import Run, RunError
from .tables import peak_gflops
from .weights import SHAPES

__all__ = ["batches", "breakdown", "gain_map"]

LOOK = {  # part: label, colour, colour of the text on it
    "attention/qkv": ("QKV", "#0072B2", "white"),
    "attention/rope": ("RoPE", "#56B4E9", "black"),
    "attention/scores": ("scores", "#D55E00", "white"),
    "attention/output": ("output", "#004A73", "white"),
    "ffn": ("FFN", "#009E73", "white"),
    "projection": ("projection", "#E69F00", "black"),
    "embedding": ("embedding", "#CC79A7", "black"),
    "unexplained": ("unexplained", "#BBBBBB", "black"),
}
WRITTEN = 4.0  # percent: a share from which on its number fits into the bar
APART = 4.2  # percent between two labels beside the last bar
CLAIMED = {"attention": 40.0, "FFN": 90.0}  # percent: where the seed's would end, one on the other
SIDES = (((6, -10), (2, -24), (6, -14)), ((-4, 6), (-8, 2), (-24, -16)))
"""Where names stand by their points, for one shape and the next: of a batch, of the curve, of a prompt."""


@picture
def breakdown(axes: Axes, run: Run, shape: str) -> str:
    """Stacked shares of a pass, medians; dotted: where attention and FFN would end after the seed."""
    prompts = [("prompt", *one) for one in series_of(run, shape, "F32", "prompt", needed=False)]
    tokens = [("generation", *one) for one in series_of(run, shape, "F32", "generation") if one[1] == 1]
    columns = [*prompts, *tokens]
    shares = [_shares(run, name) for *_, name in columns]
    places = np.arange(len(columns)) + 0.6 * np.array([phase == "generation" for phase, *_ in columns])
    for place, own in zip(places, shares, strict=True):
        below = 0.0
        for part, share in own.items():
            _, colour, ink = LOOK[part]
            axes.bar(place, share, 0.84, below, color=colour, edgecolor="white", linewidth=0.6)
            if share >= WRITTEN:
                axes.text(place, below + share / 2, f"{share:.0f}", ha="center", va="center", color=ink, fontsize=9)
            below += share
    _label_parts(axes, places[-1] + 0.5, shares[-1])
    for part, level in CLAIMED.items():
        axes.hlines(level, places[0] - 0.42, places[-1] + 0.42, color="black", linestyle=":", linewidth=1)
        if prompts:
            _name(axes, f"seed:\n{part}\nends", (places[0] + 0.8, level), (0, 3), "black", "center")
    axes.set_xticks(places, [f"{phase}\n{context}" for phase, context, *_ in columns])
    axes.set_xlim(places[0] - 0.6, places[-1] + 1.5)
    axes.set_ylim(0, 100)
    axes.grid(visible=False)
    axes.set_xlabel("tokens that the last one looks at")
    axes.set_ylabel(f"% of the pass, {shape} float32, one thread")
    first, last = shares[len(prompts)], shares[-1]
    read = f"A prompt of {prompts[0][1]} spends {shares[0]['ffn']:.0f} % in the FFN. " if prompts else ""
    return (
        f"{read}In generation the projection takes {first['projection']:.0f} % at context {tokens[0][1]} and "
        f"{last['projection']:.0f} % at {tokens[-1][1]}, the scores {first['attention/scores']:.0f} and "
        f"{last['attention/scores']:.0f} %."
    )


def _shares(run: Run, series: str) -> dict[str, float]:
    """Percent of the whole, the parts of attention first."""
    times = part_times(run, series)
    found = {part: float(np.median(100 * times[part] / times[WHOLE])) for part in LOOK if part in PARTS}
    return found | {"unexplained": max(0.0, 100 - sum(found.values()))}


def _label_parts(axes: Axes, x: float, shares: dict[str, float]) -> None:
    """Names beside the last bar, each at its part or as near as the one below leaves it."""
    below, lowest = 0.0, -np.inf
    rest = APART * len(shares)
    for part, share in shares.items():
        label, colour, _ = LOOK[part]
        rest -= APART
        lowest = min(max(below + share / 2, lowest + APART), 101 - rest - APART / 2)
        axes.plot([x - 0.07, x + 0.03], [below + share / 2, lowest], color=colour, linewidth=1)
        axes.annotate(
            label, (x + 0.06, lowest), va="center", fontsize=9, color=colour if part != "unexplained" else "#666666"
        )
        below += share


@picture
def batches(axes: Axes, run: Run, shapes: Sequence[str] = ("15M", "110M")) -> str:
    """GFLOP/s against flops per byte of weights and cache: one more sequence, and every weight is used once more."""
    recorded = [shape for shape in shapes if series_of(run, shape, "F32", "generation", needed=False)]
    if not recorded:
        raise RunError(f"run {run.id} has no forward passes of {' or '.join(shapes)}")
    peak, rate, told = peak_gflops(run).value, read_gb_per_s(run).value, []
    _draw_roofs(axes, peak, rate)
    for number, shape in enumerate(recorded):
        tokens = [one for one in series_of(run, shape, "F32", "generation") if one[0] == PHASES["prompt"]]
        reached = [_reached(run, shape, batch, 1, name) for _, batch, name in tokens]
        prompts = [
            (one[0], _reached(run, shape, 1, *one[::2])) for one in series_of(run, shape, "F32", "prompt", needed=False)
        ]
        colour, sides = COLOURS[number % len(COLOURS)], SIDES[number % len(SIDES)]
        axes.plot(*zip(*reached, strict=True), color=colour, marker=MARKERS[number])
        for (_, batch, _), place in zip(tokens, reached, strict=True):
            _name(axes, str(batch), place, sides[0], colour)
        _name(axes, f"{shape}, batch", reached[0], sides[1], colour, "right" if sides[1][0] < 0 else "left")
        for context, place in prompts:
            axes.plot(*place, color=colour, marker=MARKERS[number], markerfacecolor="white", markersize=7)
            _name(axes, f"{shape}, prompt of {context}", place, sides[2], colour)
        told.append(f"{shape} from {reached[0][1]:.0f} at batch {tokens[0][1]} to {reached[-1][1]:.0f} at {tokens[-1][1]}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlabel("flops per byte of weights, keys and values")
    axes.set_ylabel("GFLOP/s, one core, float32")
    plain_ticks(axes)
    return f"GFLOP/s climb with the batch from the roof of memory towards the peak of {peak:.0f}: {'; '.join(told)}."


def _name(axes: Axes, words: str, place: tuple[float, float], offset: tuple, colour: str, ha: str = "left") -> None:
    axes.annotate(words, place, offset, textcoords="offset points", fontsize=8.5, color=colour, ha=ha)


def _draw_roofs(axes: Axes, peak: float, rate: float) -> None:
    """The best read of memory, up to the multiply-add peak."""
    intensity = np.array([0.25, peak / rate, 128])
    axes.plot(intensity, np.minimum(intensity * rate, peak), color="#555555", linewidth=1.2)
    _name(axes, f"read from memory {rate:.0f} GB/s", (2, 2 * rate), (-8, 2), "#555555", "right")
    _name(axes, f"multiply-add peak {peak:.0f}", (intensity[-1], peak), (0, 4), "#555555", "right")


def _reached(run: Run, shape: str, batch: int, new: int, name: str) -> tuple[float, float]:
    """Flops per byte, and GFLOP/s by the median pass."""
    done = work(SHAPES[shape], "F32", batch, new, PHASES["prompt"] - new).values()
    flops, moved = sum(w.flops for w in done), sum(w.bytes for w in done)
    return flops / moved, flops / float(part_times(run, name)[WHOLE].median())


@picture
def gain_map(axes: Axes, run: Run, shape: str) -> str:
    """Time without over time with, 95 % intervals; the number beside it is what that saves of the pass."""
    found = gains(run, shape)
    names = list(dict.fromkeys(gain.what for gain in found))
    for number, phase in enumerate(PHASES):
        for gain in (g for g in found if g.phase == phase):
            place, ratio = -names.index(gain.what) + 0.17 - 0.34 * number, gain.ratio
            reach = [[ratio.value - ratio.low], [ratio.high - ratio.value]]
            colour = COLOURS[number]
            axes.errorbar(ratio.value, place, xerr=reach, color=colour, marker=MARKERS[number], capsize=2)
            axes.annotate(
                f"{round(gain.saved_percent, 1) + 0.0:+.1f} %",
                (1.01, place),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                color=colour,
            )
    for number, (phase, new) in enumerate(PHASES.items()):
        axes.plot([], [], color=COLOURS[number], marker=MARKERS[number], label=f"{phase}, {new} new token{'s' * (new > 1)}")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8.5)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    plain_ticks(axes)
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.yaxis.set_major_formatter(FixedFormatter(names))
    axes.grid(visible=False, axis="y")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.8), max(high, 4.5))
    axes.set_xlabel(f"times as fast with it as without, {shape}; to the right: saved of the pass")
    best = max(found, key=lambda gain: gain.saved_percent if "whole" not in gain.what else 0)
    return (
        f"{best.what} in {best.phase} saves most, {best.saved_percent:.0f} % of the pass, {best.ratio.value:.1f} times the "
        "speed; to the right stands what each saves."
    )
