"""The study of notebook 07-forward-pass: passes of a decoder by part; what fusing buys, what stopwatches cost.

A row's `kernel` is the part (`forward_pass` is the whole), `dtype` the kind of the weights, `n` the tokens that the last
new one looks at, `rows` the batch, `round` the pass; the parameter `new` is the new tokens of each sequence in a pass. A
block is one series, named like "110M F32 generation 128 x 1".

The block "read" holds reads of READ_BYTES, which generation is compared with: `kernel` is "read, 4" for four streams.

Of work that is done in two ways in turn (see `fusion_experiment`) the `kernel` is name and way, "QKV, fused", `round` the
turn. Such blocks are named like "110M F32 fused 128 x 1", and for the stopwatches "110M F32 stopwatches 128 x 1".
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter

from ..display.colours import ink, readable
from ..display.figure import COLOURS, MARKERS, is_narrow, label_point, name_above, picture, plain_ticks
from ..display.progress import progress_bar
from ..display.table import Table, or_missing
from ..display.text import text
from ..errors import RunError
from ..llm.decoder import Decoder, statistics
from ..llm.fusion_experiment import READ_BYTES, alternatives, in_turn, reads, stopwatch_runs
from ..llm.operation_counts import PACKING, PARTS, effort, work
from ..llm.weights import SHAPES, RandomWeights
from ..runs.queries import middle, paired, peak_gflops, select, topic_prior
from ..runs.recorder import LEAST_ROUNDS
from ..runs.store import Run
from ..runs.writer import RunWriter
from ..section_timer import WHOLE
from ..stats import Interval, shift_interval
from ..timing.processes import from_fresh_process
from ..timing.sampling import quiet
from .drawing import error_bars, log_scales

PROMPT = 128
READS = 12
MAX_PASSES = 1000  # no two processes have passes of one number
FIXED = {"scope": "call", "threads": 1, "reps": 1, "cpu_ns": 0, "switches": 0, "compiled": 0}
CLAIMED = {"attention": 40.0, "ffn": 50.0}
MARGIN = 10.0
PHASES = {"prompt": 128, "generation": 1}
"""New tokens of a pass."""
QUANTISED = ("attention/qkv", "attention/output", "ffn", "projection", WHOLE)
LOOK = {  # part: label and colour, which stands out from a light and a dark ground
    "attention/qkv": ("QKV", "#0072B2"),
    "attention/rope": ("RoPE", "#3E97CC"),
    "attention/scores": ("scores", "#D55E00"),
    "attention/output": ("output", "#7B6FD0"),
    "ffn": ("FFN", "#009E73"),
    "projection": ("projection", "#B87F00"),
    "embedding": ("embedding", "#CC79A7"),
    "unexplained": ("unexplained", "#8a8a8a"),
}
WRITTEN = 4.0  # percent: a share from which on its number fits into its column
APART = 4.2  # percent between two labels beside the last column
SHORT = {"generation": "gen."}  # where columns are narrow
CLAIMED_ENDS = {"attention": 40.0, "FFN": 90.0}  # percent: where the claimed shares would end, one on the other


@dataclass(frozen=True)
class Series:
    """Passes of one kind on one model."""

    shape: str
    kind: str
    context: int
    """Tokens that the last new one looks at, itself included."""
    batch: int = 1
    new: int = 1
    passes: int = 12

    @property
    def name(self) -> str:
        """Of the block."""
        return f"{self.shape} {self.kind} {'generation' if self.new == 1 else 'prompt'} {self.context} x {self.batch}"

    def shared(self, processes: int) -> "Series":
        """The part of one of so many processes."""
        return replace(self, passes=max(LEAST_ROUNDS, -(-self.passes // processes))) if processes > 1 else self

    @property
    def cost(self) -> float:
        """In passes of one token."""
        return (self.passes + 1) * effort(self.batch * self.new)

    def rows(self, decoder: Decoder) -> list[dict]:
        """The passes: the cache holds what stands there, zeros or what another pass left, which costs the same."""
        cache, stats = decoder.cache(self.batch, self.context), statistics()
        tokens = np.random.default_rng(0).integers(0, decoder.shape.vocab_size, (self.batch, self.new))
        for number in range(self.passes + 1):
            cache.length = self.context - self.new
            decoder.forward(tokens, cache, *((stats,) if number else ()))  # the first pass warms up
        case = _case(self, n=self.context, rows=self.batch, new=self.new)
        return [
            {**case, "kernel": part, "round": number, "position": place, "elapsed_ns": max(1, ns)}
            for number, one in enumerate(stats.passes)
            for place, (part, ns) in enumerate(one.items())
        ]


@dataclass(frozen=True)
class Turns:
    """Work done in two ways, in turn, on one model; `what`: fused, or stopwatches (a pass of one token, off and on)."""

    shape: str
    what: str
    new: int
    """Rows that go through every layer at once."""
    rounds: int
    kind: str = "F32"

    @property
    def name(self) -> str:
        """Of the block."""
        return f"{self.shape} {self.kind} {self.what} {self.new if self.what == 'fused' else PROMPT} x 1"

    def shared(self, processes: int) -> "Turns":
        """The part of one of so many processes."""
        return replace(self, rounds=max(LEAST_ROUNDS, -(-self.rounds // processes))) if processes > 1 else self

    @property
    def cost(self) -> float:
        """In passes of one token."""
        return 2 * (self.rounds + 1) * effort(self.new)

    def rows(self, decoder: Decoder) -> list[dict]:
        """One for each way and round."""
        runs = alternatives(decoder, self.new) if self.what == "fused" else stopwatch_runs(decoder, PROMPT)
        case = _case(self, n=self.new if self.what == "fused" else PROMPT, rows=1, new=self.new)
        return _turns(case, runs, self.rounds)


def _case(series: Series | Turns, **counted: int) -> dict:
    return {"block": series.name, "dtype": series.kind, **FIXED, **counted}


def _turns(case: dict, runs: dict, rounds: int) -> list[dict]:
    return [
        {**case, "kernel": f"{name}, {way}", "round": number, "position": place, "elapsed_ns": max(1, ns)}
        for number, place, name, way, ns in in_turn(runs, rounds)
    ]


def _plan(
    shape: str, contexts: Iterable[int], batches: Iterable[int], passes: int, turns: int
) -> tuple[Series | Turns, ...]:
    prompts = [Series(shape, kind, PROMPT, new=PROMPT, passes=7) for kind in ("F32", "Q8_0")]
    by_context = [Series(shape, "F32", context, passes=passes) for context in contexts]
    by_batch = [Series(shape, "F32", PROMPT, batch, passes=passes) for batch in batches]
    in_two_ways = Turns(shape, "fused", 1, turns), Turns(shape, "fused", PROMPT, 8), Turns(shape, "stopwatches", 1, turns)
    return (*prompts, *by_context, *by_batch, *in_two_ways, Series(shape, "Q8_0", PROMPT, passes=passes))


QUICK_PLAN = _plan("15M", (16, 128, 512), (8, 64), 8, 30)
FORWARD_PLAN = (
    *_plan("15M", (16, 128, 512, 1024), (2, 4, 8, 16, 32, 64), 24, 200),
    *_plan("110M", (16, 128, 512, 1024), (2, 4, 8, 16, 32, 64), 16, 60),
    Series("1.1B", "F32", 16, passes=6),
)


def record_forward(writer: RunWriter, quick: bool, progress: bool = True, processes: int = 1, session: int = 1) -> None:
    """Record every series that the session does not have yet, its passes shared by so many fresh processes."""
    plan = tuple(series.shared(processes) for series in (QUICK_PLAN if quick else FORWARD_PLAN))
    names = ("read", *(series.name for series in plan))
    numbers = range((session - 1) * processes + 1, session * processes + 1)
    missing = {p: {name for name in names if not writer.has("forward", name, p)} for p in numbers}
    with progress_bar(sum(_cost(plan, wanted) for wanted in missing.values()), progress) as bar:
        for process, wanted in missing.items():
            if not wanted:
                continue
            job = partial(_pass_rows, plan, wanted)
            for what, cost, rows in from_fresh_process(job) if processes > 1 else job():
                bar.set_description_str(f"forward: {what}")
                bar.update(cost)
                if rows:
                    with writer.block("forward", rows[0]["block"], ["new"], process=process) as append:
                        append(
                            {**row, "process": process, "round": row["round"] + (process - 1) * MAX_PASSES} for row in rows
                        )


def _pass_rows(plan: Sequence[Series | Turns], wanted: Collection[str]) -> Iterator[tuple[str, float, list[dict]]]:
    """What comes next, what has been done since, and the rows of a series that is done. Weights are packed once a model."""
    if "read" in wanted:
        case = {"block": "read", "dtype": "float32", "n": READ_BYTES, "rows": 1, "new": 0, **FIXED}
        with quiet():
            yield "read", 0, _turns(case, reads(), READS)
    for shape, kind in dict.fromkeys((s.shape, s.kind) for s in plan if s.name in wanted):
        yield f"packing {shape} as {kind}", 0, []
        decoder = Decoder(RandomWeights(SHAPES[shape]), kind)
        yield f"packing {shape} as {kind}", PACKING * SHAPES[shape].parameters, []
        for series in plan:
            if (series.shape, series.kind) == (shape, kind) and series.name in wanted:
                with quiet():
                    rows = series.rows(decoder)
                yield series.name, series.cost * SHAPES[shape].parameters, rows
        del decoder  # before the next one is packed


def _cost(plan: Sequence[Series | Turns], wanted: Collection[str]) -> float:
    """Of one process, in passes of a parameter."""
    due = [s for s in plan if s.name in wanted]
    models = {(s.shape, s.kind) for s in due}
    packing = sum(PACKING * SHAPES[shape].parameters for shape, _ in models)
    return packing + sum(s.cost * SHAPES[s.shape].parameters for s in due)


def part_times(run: Run, series: str) -> pd.DataFrame:
    """Nanoseconds of every part in every pass; `forward_pass` is the whole."""
    samples = select(run.samples("forward"), block=series)
    if samples.empty:
        raise RunError(f"run {run.id} has no {series!r} in forward")
    return samples.pivot_table(index=["process", "round"], columns="kernel", values="elapsed_ns")


def part_share(run: Run, series: str, part: str) -> Interval:
    """Percent of the whole, median over the passes with its 95 % interval."""
    times = part_times(run, series)
    return middle(100 * times[part] / times[WHOLE], topic_prior(run, "forward"))


def read_gb_per_s(run: Run) -> Interval:
    """By the number of streams that reads fastest, in the median of its rounds."""
    times = part_times(run, "read")
    best = times[times.median().idxmin()]
    return middle(READ_BYTES / best, topic_prior(run, "forward"))


def hot_path(run: Run) -> tuple[str, str]:
    """Are attention and FFN within 10 points of 40 % and 50 %, for a prompt and for generation? 110M, context 128."""
    verdicts, evidence = [], []
    for phase in ("prompt", "generation"):
        series = f"110M F32 {phase} 128 x 1"
        shares = {part: part_share(run, series, part) for part in CLAIMED}
        inside = [share.inside(CLAIMED[part] - MARGIN, CLAIMED[part] + MARGIN) for part, share in shares.items()]
        verdicts += [{True: "HOLDS", False: "FAILS", None: "UNDECIDED"}[answer] for answer in inside]
        evidence.append(f"{phase}: " + ", ".join(f"{name} {text(share, 1)} %" for name, share in shares.items()))
    verdict = "FAILS" if "FAILS" in verdicts else "HOLDS" if set(verdicts) == {"HOLDS"} else "UNDECIDED"
    return verdict, "; ".join(evidence)


def series_of(run: Run, shape: str, kind: str, phase: str, needed: bool = True) -> list[tuple[int, int, str]]:
    """(context, batch, series) of a shape, in order."""
    names = [name for topic, name in run.blocks if topic == "forward" and name.startswith(f"{shape} {kind} {phase} ")]
    if needed and not names:
        raise RunError(f"run {run.id} has no {shape} {kind} {phase} in forward")
    return sorted((int(name.split()[3]), int(name.split()[5]), name) for name in names)


def _columns(run: Run, shape: str) -> list[tuple[str, int, str]]:
    """(phase, context, series) of one sequence: prompts where the run has them, then generation."""
    series = {phase: series_of(run, shape, "F32", phase, needed=phase == "generation") for phase in PHASES}
    return [(phase, *one[::2]) for phase in PHASES for one in series[phase] if phase == "prompt" or one[1] == 1]


@or_missing
def breakdown_table(run: Run, shape: str) -> Table:
    """Shares of the whole in percent; median of the passes."""
    columns = _columns(run, shape)
    parts = ("embedding", "attention", *(p for p in PARTS if p.startswith("attention/")), "ffn", "projection")
    rows = [(part, *(text(part_share(run, name, part), 1) for *_, name in columns)) for part in parts]
    whole = [text(_milliseconds(run, name), 2) for *_, name in columns]
    closed = [f"{_closed(part_times(run, name)):.1%}" for *_, name in columns]
    header = ("part, % of the pass", *(f"{phase}, context {context}" for phase, context, _ in columns))
    return Table(header, (*rows, ("whole (ms)", *whole), ("explained by its parts", *closed)))


def _milliseconds(run: Run, series: str) -> Interval:
    return middle(part_times(run, series)[WHOLE] / 1e6, topic_prior(run, "forward"))


def _closed(times: pd.DataFrame) -> float:
    return float(np.median(times[["embedding", "attention", "ffn", "projection"]].sum(axis=1) / times[WHOLE]))


@or_missing
def batch_table(run: Run, shape: str) -> Table:
    """Tokens per second, flops per byte of weights and cache, and the rates that come of them, against batch."""
    peak, read, rows = peak_gflops(run).value, read_gb_per_s(run).value, []
    for batch, name in (one[1:] for one in series_of(run, shape, "F32", "generation") if one[0] == 128):
        ms = _milliseconds(run, name)
        intensity, gflops = _reach(run, shape, batch, 1, name)
        rate = gflops / intensity
        per_pass = str(batch), text(ms, 2), f"{batch * 1e3 / ms.value:.0f}", f"{intensity:.1f}"
        rows.append((*per_pass, f"{rate:.1f}", f"{rate / read:.0%}", f"{gflops:.1f}", f"{gflops / peak:.0%}"))
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
    fusing = [gain for phase, new in PHASES.items() for gain in _fusing_gains(run, shape, phase, new)]
    return [*fusing, *(gain for phase in PHASES for gain in _quantising_gains(run, shape, phase))]


def _fusing_gains(run: Run, shape: str, phase: str, new: int) -> list[Gain]:
    whole = _milliseconds(run, f"{shape} F32 {phase} 128 x 1").value
    times, gains = part_times(run, f"{shape} F32 fused {new} x 1") / 1e6, []
    for name in (column.removesuffix(", fused") for column in times if column.endswith(", fused")):
        together, apart = times[f"{name}, fused"], times[f"{name}, apart"]
        faster = paired(apart, together, topic_prior(run, "forward"))
        gains.append(Gain(name, phase, faster, 100 * float(np.median(apart - together)) / whole))
    return sorted(gains, key=lambda gain: -gain.saved_percent)


def _quantising_gains(run: Run, shape: str, phase: str) -> list[Gain]:
    """From two series of passes, which are no pairs."""
    plain, packed = (part_times(run, f"{shape} {kind} {phase} 128 x 1") for kind in ("F32", "Q8_0"))
    gains = []
    for part in QUANTISED:
        saved = plain[part].median() - packed[part].median()
        name = "whole pass" if part == WHOLE else part
        faster = shift_interval(plain[part].to_numpy(), packed[part].to_numpy())
        gains.append(Gain(f"Q8_0, {name}", phase, faster, 100 * float(saved / plain[WHOLE].median())))
    return gains


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
    rows, prior = [], topic_prior(run, "forward")
    for shape in SHAPES:
        name = f"{shape} F32 stopwatches 128 x 1"
        if ("forward", name) in run.blocks:
            times = part_times(run, name) / 1e6
            off, on = (times[f"stopwatches, {way}"] for way in ("off", "on"))
            cost = paired(on, off, prior)
            cells = [text(middle(ms, prior), 3) for ms in (off, on)]
            percent = Interval(*(100 * (end - 1) for end in (cost.value, cost.low, cost.high)), cost.coverage)
            sections = 3 + 6 * SHAPES[shape].block_count
            rows.append((shape, str(sections), *cells, text(percent)))
    if not rows:
        raise RunError(f"run {run.id} has no stopwatches in forward")
    return Table(("shape", "sections in a pass", "off (ms)", "on (ms)", "on costs (%)"), tuple(rows))


@or_missing
def predicted_table(run: Run, shape: str) -> Table:
    """A part takes as long as its flops at the peak or its bytes at the best rate from memory, whichever is longer."""
    peak, rate, rows = peak_gflops(run).value, read_gb_per_s(run).value, []
    phases = [(phase, f"{shape} F32 {phase} 128 x 1") for phase in PHASES]
    counts = [work(SHAPES[shape], "F32", 1, 128, 0), work(SHAPES[shape], "F32", 1, 1, 127)]
    times = [part_times(run, name).median() / 1e6 for _, name in phases]
    for part in PARTS:
        cells = []
        for counted, measured in zip(counts, times, strict=True):
            by_flops, by_bytes = counted[part].flops / peak / 1e6, counted[part].bytes / rate / 1e6
            limit = "flops" if by_flops > by_bytes else "bytes"
            cells += [f"{max(by_flops, by_bytes):.3f} ({limit})", f"{measured[part]:.3f}"]
        rows.append((part, *cells))
    header = (f"{phase}, {what}" for phase, _ in phases for what in ("predicted (ms)", "measured (ms)"))
    return Table(("part", *header), tuple(rows))


def counted_table(shape: str) -> Table:
    """Work of a pass at context 128: a prompt of 128 tokens, and one token."""
    passes = work(SHAPES[shape], "F32", 1, 128, 0), work(SHAPES[shape], "F32", 1, 1, 127)
    rows = []
    for part in PARTS:
        counts = [count for w in passes for count in (w[part].flops / 1e6, w[part].bytes / 1e6, w[part].intensity)]
        rows.append((part, *(f"{count:.2f}" for count in counts)))
    unit = ("Mflop", "MB", "flop/byte")
    return Table(("part", *(f"prompt {u}" for u in unit), *(f"token {u}" for u in unit)), tuple(rows))


@picture
def breakdown(axes: Axes, run: Run, shape: str) -> str:
    """Stacked shares of a pass, medians; dotted: where attention and FFN would end as claimed."""
    columns = _columns(run, shape)
    prompts, tokens = ([column for column in columns if column[0] == phase] for phase in PHASES)
    shares = [_shares(run, name) for *_, name in columns]
    places = np.arange(len(columns)) + 0.6 * np.array([phase == "generation" for phase, *_ in columns])
    for place, column in zip(places, shares, strict=True):
        below = 0.0
        for part, share in column.items():
            label, colour = LOOK[part]
            axes.bar(place, share, 0.84, below, color=colour, edgecolor="white", linewidth=0.6, label=label, gid="cell")
            if share >= WRITTEN:
                look = {"ha": "center", "va": "center", "color": ink(colour), "fontsize": 9, "gid": "cell"}
                axes.text(place, below + share / 2, f"{share:.0f}", **look)
            below += share
    _label_parts(axes, places[-1] + 0.5, shares[-1])
    claims = ", ".join(f"{part} at {level:.0f} %" for part, level in CLAIMED_ENDS.items())
    ends = places[0] - 0.42, places[-1] + 0.42
    look = {"color": "black", "linestyle": ":", "linewidth": 1, "label": f"claimed ends: {claims}"}
    name_above(axes, [axes.hlines(list(CLAIMED_ENDS.values()), *ends, **look)])
    axes.set_xticks(
        places, [f"{SHORT.get(phase, phase) if is_narrow(axes) else phase}\n{context}" for phase, context, _ in columns]
    )
    axes.grid(visible=False)
    axes.set(xlim=(places[0] - 0.6, places[-1] + 1.5), ylim=(0, 100))
    axes.set(xlabel="tokens that the last one looks at", ylabel=f"% of the pass, {shape} float32, one thread")
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
    shares = {part: float(np.median(100 * times[part] / times[WHOLE])) for part in LOOK if part in PARTS}
    return shares | {"unexplained": max(0.0, 100 - sum(shares.values()))}


def _label_parts(axes: Axes, x: float, shares: dict[str, float]) -> None:
    """Names beside the last column, each at its part or as near as the one below leaves it."""
    below, lowest, rest = 0.0, -np.inf, APART * len(shares)
    for part, share in shares.items():
        label, colour = LOOK[part]
        rest -= APART
        lowest = min(max(below + share / 2, lowest + APART), 101 - rest - APART / 2)
        axes.plot([x - 0.07, x + 0.03], [below + share / 2, lowest], color=colour, linewidth=1)
        axes.annotate(label, (x + 0.06, lowest), va="center", fontsize=9, color=readable(colour))
        below += share


@picture
def batches(axes: Axes, run: Run, shapes: Sequence[str] = ("15M", "110M")) -> str:
    """GFLOP/s against flops per byte of weights and cache: one more sequence, and every weight is used once more."""
    recorded = [shape for shape in shapes if series_of(run, shape, "F32", "generation", needed=False)]
    if not recorded:
        raise RunError(f"run {run.id} has no forward passes of {' or '.join(shapes)}")
    peak, rate, sentences = peak_gflops(run).value, read_gb_per_s(run).value, []
    _draw_ceilings(axes, peak, rate)
    for number, shape in enumerate(recorded):
        tokens = [one for one in series_of(run, shape, "F32", "generation") if one[0] == PHASES["prompt"]]
        reach = [_reach(run, shape, batch, 1, name) for _, batch, name in tokens]
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(*zip(*reach, strict=True), color=colour, marker=MARKERS[number], label=shape)
        for (_, batch, _), place in zip(tokens, reach, strict=True):
            label_point(axes, str(batch), place, colour)
        if not is_narrow(axes):
            label_point(axes, f"{shape}, batch", reach[0], colour)
        for context, _, name in series_of(run, shape, "F32", "prompt", needed=False):
            place = _reach(run, shape, 1, context, name)
            prompt = f"{shape}, prompt of {context}"
            look = {"color": colour, "marker": MARKERS[number], "markerfacecolor": "white", "markersize": 7}
            axes.plot(*place, **look, linestyle="", label=prompt)
            if not is_narrow(axes):
                label_point(axes, prompt, place, colour)
        sentences.append(f"{shape} from {reach[0][1]:.0f} at batch {tokens[0][1]} to {reach[-1][1]:.0f} at {tokens[-1][1]}")
    log_scales(axes, "flops per byte of weights, keys and values", "GFLOP/s, one core, float32")
    if is_narrow(axes):
        name_above(axes)
    return (
        f"GFLOP/s climb with the batch from the bandwidth ceiling towards the peak of {peak:.0f}: {'; '.join(sentences)}."
    )


def _draw_ceilings(axes: Axes, peak: float, rate: float) -> None:
    """The best read of memory, up to the multiply-add peak."""
    intensity = np.array([0.25, peak / rate, 128])
    axes.plot(intensity, np.minimum(intensity * rate, peak), color="#555555", linewidth=1.2)
    label_point(axes, f"memory {rate:.0f} GB/s", (1, rate), "#555555")
    at = np.sqrt(intensity[1] * intensity[2]) if is_narrow(axes) else intensity[2]  # a prompt's point is near the end
    label_point(axes, f"peak {peak:.0f}", (at, peak), "#555555")


def _reach(run: Run, shape: str, batch: int, new: int, name: str) -> tuple[float, float]:
    """Flops per byte, and GFLOP/s by the median pass."""
    parts = work(SHAPES[shape], "F32", batch, new, PHASES["prompt"] - new).values()
    flops, moved = sum(w.flops for w in parts), sum(w.bytes for w in parts)
    return flops / moved, flops / float(part_times(run, name)[WHOLE].median())


@picture
def gain_map(axes: Axes, run: Run, shape: str) -> str:
    """Time without over time with, 95 % intervals; the number beside it is what that saves of the pass."""
    shape_gains = gains(run, shape)
    names = list(dict.fromkeys(gain.what for gain in shape_gains))
    for number, (phase, new) in enumerate(PHASES.items()):
        look = {"color": COLOURS[number], "marker": MARKERS[number]}
        around = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8, "color": readable(COLOURS[number])}
        axes.plot([], [], **look, label=f"{phase}, {new} new token{'s' * (new > 1)}")
        for gain in (g for g in shape_gains if g.phase == phase):
            place = -names.index(gain.what) + 0.17 - 0.34 * number
            axes.errorbar(gain.ratio.value, place, xerr=error_bars([gain.ratio]), **look)
            axes.annotate(f"{round(gain.saved_percent, 1) + 0.0:+.1f} %", (1.01, place), **around)
    name_above(axes)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    plain_ticks(axes)
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.yaxis.set_major_formatter(FixedFormatter(names))
    axes.grid(visible=False, axis="y")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.8), max(high, 4.5))
    axes.set_xlabel(f"times as fast with it as without, {shape}; to the right: saved of the pass")
    best = max(shape_gains, key=lambda gain: gain.saved_percent if "whole" not in gain.what else 0)
    return (
        f"{best.what} in {best.phase} saves most, {best.saved_percent:.0f} % of the pass, {best.ratio.value:.1f} times the "
        "speed; to the right stands what each saves."
    )
