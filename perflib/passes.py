"""The topic `forward` of a run as tables: where the time of a pass goes, against context, batch and kind of the weights.

    part_times(run, series)         passes x parts, nanoseconds
    part_share(run, series, part)   share of the whole in percent, an Interval
    breakdown_table(run, shape)     shares of every part: a prompt, and generation at every context recorded
    batch_table(run, shape)         generation against batch: from bandwidth-bound to compute-bound
    gain_table(run)                 Q8_0 against float32, a prompt against single tokens
    counted_table(shape)            flops, bytes and flops per byte of every part, before anything is measured
    hot_path(run)                   the seed's 40 % attention and 50 % FFN, judged: verdict and evidence

`series` is the name of a block, "110M F32 generation 128 x 1" (see `record_forward`). Raises RunError where it lacks.
"""

import numpy as np
import pandas as pd

from .forward import PARTS, work
from .stats import Interval, median_interval
from .store import Run, RunError
from .tables import Table, or_missing, peak_gflops, text
from .weights import SHAPES

__all__ = ["batch_table", "breakdown_table", "counted_table", "gain_table", "hot_path", "part_share", "part_times"]

WHOLE = "forward_pass"
CLAIMED = {"attention": 40.0, "ffn": 50.0}
MARGIN = 10.0
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


def _series(run: Run, shape: str, kind: str, phase: str, needed: bool = True) -> list[tuple[int, int, str]]:
    """(context, batch, series) of a shape, in order."""
    named = [name for topic, name in run.blocks if topic == "forward" and name.startswith(f"{shape} {kind} {phase} ")]
    if needed and not named:
        raise RunError(f"run {run.id} has no {shape} {kind} {phase} in forward")
    return sorted((int(n.split()[3]), int(n.split()[5]), n) for n in named)


@or_missing
def breakdown_table(run: Run, shape: str) -> Table:
    """Shares of the whole in percent; median of the passes."""
    columns = [("prompt", *one) for one in _series(run, shape, "F32", "prompt", needed=False)]
    columns += [("generation", *one) for one in _series(run, shape, "F32", "generation") if one[1] == 1]
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
    peak = peak_gflops(run).value
    rows = []
    for context, batch, name in _series(run, shape, "F32", "generation"):
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
                f"{rate:.1f}",
                f"{rate / peak:.0%}",
            )
        )
    header = ("batch", "pass (ms)", "tokens/s", "flop/byte", "GB/s", "GFLOP/s", "of peak")
    return Table(header, tuple(rows))


@or_missing
def gain_table(run: Run) -> Table:
    """What quantised weights and many tokens at once buy, by medians of series that were recorded after each other."""
    rows = []
    for shape in ("15M", "110M"):
        if ("forward", f"{shape} F32 prompt 128 x 1") not in run.blocks:
            continue
        ms = {
            (kind, phase): _milliseconds(run, f"{shape} {kind} {phase} 128 x 1").value
            for kind in ("F32", "Q8_0")
            for phase in ("prompt", "generation")
        }
        for phase in ("generation", "prompt"):
            rows.append((shape, f"Q8_0 instead of F32, {phase}", f"{ms['F32', phase] / ms['Q8_0', phase]:.2f}"))
        gained = 128 * ms["F32", "generation"] / ms["F32", "prompt"]
        rows.append((shape, "128 tokens at once instead of one by one", f"{gained:.2f}"))
    if not rows:
        raise RunError(f"run {run.id} has no forward passes of 15M or 110M")
    return Table(("shape", "what", "times as fast"), tuple(rows))


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
