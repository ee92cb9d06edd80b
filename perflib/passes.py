"""The topic `forward` of a run as tables: where the time of a pass goes, against context, batch and kind of the weights.

    part_times(run, series)         passes x parts, nanoseconds
    part_share(run, series, part)   share of the whole in percent, an Interval
    breakdown_table(run, shape)     shares of every part: a prompt, and generation at every context recorded
    batch_table(run, shape)         generation against batch: from bandwidth-bound to compute-bound
    gains(run, shape)               what fused kernels and quantised weights buy: Gain, ...; `gain_table` shows them
    stopwatch_table(run)            passes with the stopwatches and without, taken in turn
    counted_table(shape)            flops, bytes and flops per byte of every part, before anything is measured
    predicted_table(run, shape)     the times that follow from them and the limits of the machine, beside the measured ones
    read_gb_per_s(run)              the best read of memory beyond the caches that was recorded beside the passes
    series_of(run, shape, ...)      what was recorded of a shape: (context, batch, series)
    hot_path(run)                   the seed's 40 % attention and 50 % FFN, judged: verdict and evidence

`series` is the name of a block, "110M F32 generation 128 x 1" (see `record_forward`). Raises RunError where it lacks.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .forward import PARTS, work
from .fused import READ_BYTES
from .sections import WHOLE
from .stats import Interval, median_interval, ratio_interval, shift_interval
from .store import Run, RunError
from .tables import Table, or_missing, peak_gflops, text
from .weights import SHAPES

CLAIMED = {"attention": 40.0, "ffn": 50.0}
MARGIN = 10.0
PHASES = {"prompt": 128, "generation": 1}
"""New tokens of a pass."""
QUANTISED = ("attention/qkv", "attention/output", "ffn", "projection", WHOLE)
JUDGED = {"prompt": "110M F32 prompt 128 x 1", "generation": "110M F32 generation 128 x 1"}


def part_times(run: Run, series: str) -> pd.DataFrame:
    """Nanoseconds of every part in every pass; `forward_pass` is the whole."""
    samples = run.samples("forward")
    mine = samples[samples["block"] == series]
    if mine.empty:
        raise RunError(f"run {run.id} has no {series!r} in forward")
    return mine.pivot_table(index="round", columns="kernel", values="elapsed_ns")


def part_share(run: Run, series: str, part: str) -> Interval:
    """Percent of the whole, median over the passes with its 95 % interval."""
    times = part_times(run, series)
    return median_interval((100 * times[part] / times[WHOLE]).to_numpy(), serial=True)


def read_gb_per_s(run: Run) -> Interval:
    """By the number of streams that reads fastest, in the median of its rounds."""
    times = part_times(run, "read")
    best = times[times.median().idxmin()]
    return median_interval((READ_BYTES / best).to_numpy(), serial=True)


def hot_path(run: Run) -> tuple[str, str]:
    """Are attention and FFN within 10 points of 40 % and 50 %, for a prompt and for generation? 110M, context 128."""
    verdicts, told = [], []
    for phase, series in JUDGED.items():
        found = {part: part_share(run, series, part) for part in CLAIMED}
        for part, share in found.items():
            low, high = CLAIMED[part] - MARGIN, CLAIMED[part] + MARGIN
            inside, outside = low <= share.low and share.high <= high, share.high < low or share.low > high
            verdicts.append("HOLDS" if inside else "FAILS" if outside else "UNDECIDED")
        told.append(f"{phase}: " + ", ".join(f"{name} {text(share, 1)} %" for name, share in found.items()))
    verdict = "FAILS" if "FAILS" in verdicts else "HOLDS" if set(verdicts) == {"HOLDS"} else "UNDECIDED"
    return verdict, "; ".join(told)


def series_of(run: Run, shape: str, kind: str, phase: str, needed: bool = True) -> list[tuple[int, int, str]]:
    """(context, batch, series) of a shape, in order."""
    named = [name for topic, name in run.blocks if topic == "forward" and name.startswith(f"{shape} {kind} {phase} ")]
    if needed and not named:
        raise RunError(f"run {run.id} has no {shape} {kind} {phase} in forward")
    return sorted((int(n.split()[3]), int(n.split()[5]), n) for n in named)


@or_missing
def breakdown_table(run: Run, shape: str) -> Table:
    """Shares of the whole in percent; median of the passes."""
    columns = [("prompt", *one) for one in series_of(run, shape, "F32", "prompt", needed=False)]
    columns += [("generation", *one) for one in series_of(run, shape, "F32", "generation") if one[1] == 1]
    parts = ("embedding", "attention", *(p for p in PARTS if p.startswith("attention/")), "ffn", "projection")
    rows = [(part, *(text(part_share(run, name, part), 1) for *_, name in columns)) for part in parts]
    whole = [text(_milliseconds(run, name), 2) for *_, name in columns]
    closed = [f"{_closed(part_times(run, name)):.1%}" for *_, name in columns]
    header = ("part, % of the pass", *(f"{phase}, context {context}" for phase, context, _, _ in columns))
    return Table(header, (*rows, ("whole (ms)", *whole), ("explained by its parts", *closed)))


def _milliseconds(run: Run, series: str) -> Interval:
    return median_interval((part_times(run, series)[WHOLE] / 1e6).to_numpy(), serial=True)


def _closed(times: pd.DataFrame) -> float:
    parts = ["embedding", "attention", "ffn", "projection"]
    return float(np.median(times[parts].sum(axis=1) / times[WHOLE]))


@or_missing
def batch_table(run: Run, shape: str) -> Table:
    """Tokens per second, flops per byte of weights and cache, and the rates that come of them, against batch."""
    peak, read, rows = peak_gflops(run).value, read_gb_per_s(run).value, []
    for context, batch, name in series_of(run, shape, "F32", "generation"):
        if context != 128:
            continue
        ms = _milliseconds(run, name)
        done = work(SHAPES[shape], "F32", batch, 1, context - 1).values()
        flops, moved = sum(w.flops for w in done), sum(w.bytes for w in done)
        rate = flops / ms.value / 1e6
        rows.append(
            (
                str(batch),
                text(ms, 2),
                f"{batch * 1e3 / ms.value:.0f}",
                f"{flops / moved:.1f}",
                f"{moved / ms.value / 1e6:.1f}",
                f"{moved / ms.value / 1e6 / read:.0%}",
                f"{rate:.1f}",
                f"{rate / peak:.0%}",
            )
        )
    header = ("batch", "pass (ms)", "tokens/s", "flop/byte", "GB/s", "of the best read", "GFLOP/s", "of peak")
    return Table(header, tuple(rows))


@dataclass(frozen=True)
class Gain:
    """What one change buys: time without it over time with it, and what it saves of a whole pass."""

    what: str
    phase: str
    ratio: Interval
    saved_percent: float


def gains(run: Run, shape: str) -> list[Gain]:
    """Of one shape: every kernel that is fused, taken in turn with what it replaces, then Q8_0 part by part."""
    found = [gain for phase, new in PHASES.items() for gain in _fused(run, shape, phase, new)]
    return [*found, *(gain for phase in PHASES for gain in _quantised(run, shape, phase))]


def _fused(run: Run, shape: str, phase: str, new: int) -> list[Gain]:
    block = f"{shape} F32 fused {new} x 1"
    whole = _milliseconds(run, f"{shape} F32 {phase} 128 x 1").value
    times, made = part_times(run, block) / 1e6, []
    for name in (column.removesuffix(", fused") for column in times if column.endswith(", fused")):
        together, apart = times[f"{name}, fused"], times[f"{name}, apart"]
        faster = ratio_interval(apart.to_numpy(), together.to_numpy(), serial=True)
        made.append(Gain(name, phase, faster, 100 * float(np.median(apart - together)) / whole))
    return sorted(made, key=lambda gain: -gain.saved_percent)


def _quantised(run: Run, shape: str, phase: str) -> list[Gain]:
    """From two series of passes, which are no pairs."""
    plain, packed = (part_times(run, f"{shape} {kind} {phase} 128 x 1") for kind in ("F32", "Q8_0"))
    made = []
    for part in QUANTISED:
        saved = plain[part].median() - packed[part].median()
        name = "whole pass" if part == WHOLE else part
        faster = shift_interval(plain[part].to_numpy(), packed[part].to_numpy())
        made.append(Gain(f"Q8_0, {name}", phase, faster, 100 * float(saved / plain[WHOLE].median())))
    return made


@or_missing
def gain_table(run: Run, shape: str) -> Table:
    """Times as fast with it as without, and what that saves of a float32 pass of that phase."""
    rows = [(g.what, g.phase, text(g.ratio), f"{round(g.saved_percent, 1) + 0.0:+.1f}") for g in gains(run, shape)]
    one, many = (_milliseconds(run, f"{shape} F32 {phase} 128 x 1").value for phase in ("generation", "prompt"))
    rows.append(("128 tokens at once, not one by one", "prompt", f"{128 * one / many:.1f}", ""))
    return Table(("what", "phase", "times as fast", "saves (% of the pass)"), tuple(rows))


@or_missing
def stopwatch_table(run: Run) -> Table:
    """A pass of one token with the stopwatches switched off and on, in turn."""
    rows = []
    for shape in SHAPES:
        name = f"{shape} F32 stopwatches 128 x 1"
        if ("forward", name) in run.blocks:
            times = part_times(run, name) / 1e6
            off, on = (times[f"stopwatches, {way}"].to_numpy() for way in ("off", "on"))
            cost = ratio_interval(on, off, serial=True)
            cells = [text(median_interval(ms, serial=True), 3) for ms in (off, on)]
            percent = Interval(*(100 * (end - 1) for end in (cost.value, cost.low, cost.high)), cost.coverage)
            entered = 3 + 6 * SHAPES[shape].block_count
            rows.append((shape, str(entered), *cells, text(percent)))
    if not rows:
        raise RunError(f"run {run.id} has no stopwatches in forward")
    return Table(("shape", "sections in a pass", "off (ms)", "on (ms)", "on costs (%)"), tuple(rows))


@or_missing
def predicted_table(run: Run, shape: str) -> Table:
    """A part takes as long as its flops at the peak or its bytes at the best rate from memory, whichever is longer."""
    peak, rate, rows = peak_gflops(run).value, read_gb_per_s(run).value, []
    phases = [(phase, f"{shape} F32 {phase} 128 x 1") for phase in PHASES]
    done = [work(SHAPES[shape], "F32", 1, 128, 0), work(SHAPES[shape], "F32", 1, 1, 127)]
    times = [part_times(run, name).median() / 1e6 for _, name in phases]
    for part in PARTS:
        cells = []
        for counted, measured in zip(done, times, strict=True):
            by_flops, by_bytes = counted[part].flops / peak / 1e6, counted[part].bytes / rate / 1e6
            limit = "flops" if by_flops > by_bytes else "bytes"
            cells += [f"{max(by_flops, by_bytes):.3f} ({limit})", f"{measured[part]:.3f}"]
        rows.append((part, *cells))
    header = (f"{phase}, {what}" for phase, _ in phases for what in ("predicted (ms)", "measured (ms)"))
    return Table(("part", *header), tuple(rows))


def counted_table(shape: str) -> Table:
    """Work of a pass at context 128: a prompt of 128 tokens, and one token."""
    prompt, token = work(SHAPES[shape], "F32", 1, 128, 0), work(SHAPES[shape], "F32", 1, 1, 127)
    rows = []
    for part in PARTS:
        cells = [
            (f"{w.flops / 1e6:.2f}", f"{w.bytes / 1e6:.2f}", f"{w.intensity:.2f}") for w in (prompt[part], token[part])
        ]
        rows.append((part, *cells[0], *cells[1]))
    unit = ("Mflop", "MB", "flop/byte")
    return Table(("part", *(f"prompt {u}" for u in unit), *(f"token {u}" for u in unit)), tuple(rows))
