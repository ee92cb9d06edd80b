"""Make tables from samples: times net of loop overhead, medians with intervals, ratios paired by round.

Every table and figure uses these functions, so all of them subtract loop overhead and pair their cases in the same way.
Raises `RunError` where the run lacks the rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from ..display.text import text
from ..errors import RunError
from ..stats import (
    MIN_SAMPLES,
    Interval,
    Medians,
    Prior,
    median,
    median_interval,
    prior_of,
    ratio_interval,
)
from .store import Run, work
from .tables import COLUMNS, HIDDEN

CASE = ["kernel", "scope", "dtype", "n", "tile", "rows"]
COPIES = ("copy_loop", "memory_copy_nt", "numpy_copy")


@lru_cache(maxsize=16)
def net_times(run: Run, topic: str) -> pd.DataFrame:
    """Samples of a topic without `floor` and `canary`; `net_ns` is time per run less the round's loop overhead.

    What the system did not tell is what an undisturbed sample shows, as in `Sample.as_calm`.
    """
    samples = run.samples(topic)
    calm = {"cpu_ns": samples["elapsed_ns"], "switches": 0}
    samples = samples.assign(**{name: samples[name].fillna(value).astype("int64") for name, value in calm.items()})
    samples = samples.assign(net_ns=samples["elapsed_ns"] / samples["reps"])
    floor = samples[samples["kernel"] == "floor"].groupby(["block", "scope", "round"])["net_ns"].min().rename("floor_ns")
    cases = samples[~samples["kernel"].isin(HIDDEN)].join(floor, on=["block", "scope", "round"])
    # a round without a `floor` row takes the median of its block
    cases = cases.join(floor.groupby(["block", "scope"]).median().rename("usual_ns"), on=["block", "scope"])
    floor_ns = cases["floor_ns"].fillna(cases.pop("usual_ns")).fillna(0.0)
    return cases.assign(floor_ns=floor_ns, net_ns=cases["net_ns"] - floor_ns).reset_index(drop=True)


def select(times: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """Rows whose columns have the wanted values; None is no condition."""
    for name, value in wanted.items():
        if value is not None:
            times = times[times[name] == value]
    return times


def summary(run: Run, topic: str, **wanted: Any) -> pd.DataFrame:
    """Median and interval in nanoseconds of every case of a topic; GFLOP/s and GB/s where the kernel counts them.

    The interval is one for the median over placements and processes of the machine, see `middle`.
    """
    rows, times, prior = [], net_times(run, topic), topic_prior(run, topic)
    columns, times = [*CASE, *parameters(times)], select(times, **wanted)
    for case, (net_ns, process) in in_groups(times, columns, ("net_ns", "process")):
        interval = _middle(net_ns, process, prior)
        rates = _rates(run, case, interval) if interval.low > 0 else {}
        counts = {"samples": len(net_ns), "processes": len(np.unique(process))}
        rows.append({**case, **_columns("ns", interval), **rates, **counts})
    if not rows:
        raise RunError(f"run {run.id} has no {topic} with {wanted}")
    return pd.DataFrame(rows)


def in_groups(
    times: pd.DataFrame, columns: Sequence[str], wanted: Sequence[str], sort: bool = True
) -> Iterator[tuple[dict[str, Any], list[np.ndarray]]]:
    """The values of `columns` and the `wanted` arrays of each group of rows, sooner than by a frame for each.

    sort: by those values, else in the order of their first rows.
    """
    if times.empty:
        return
    numbers = times.groupby([*columns], dropna=False, sort=sort).ngroup().to_numpy()
    order = np.argsort(numbers, kind="stable")
    places = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    arrays = [times[name].to_numpy() for name in wanted]
    firsts = times[[*columns]].iloc[[rows[0] for rows in places]].itertuples(index=False, name=None)
    for values, rows in zip(firsts, places, strict=True):
        yield dict(zip(columns, values, strict=True)), [array[rows] for array in arrays]


def process_medians(times: Mapping[str, Any]) -> Medians | None:
    """Of the columns `net_ns` and `process` of one case, as in `net_times`; None where a net time is no time."""
    return _medians(np.asarray(times["net_ns"]), np.asarray(times["process"]))


def _medians(values: np.ndarray, process: np.ndarray) -> Medians | None:
    return Medians.of([values[process == number] for number in np.unique(process)])  # a tenth of the time of a groupby


@lru_cache(maxsize=64)
def topic_prior(run: Run, topic: str) -> Prior | None:
    """What the cases of a topic say of the variance between processes; None where too few were measured in several."""
    times = net_times(run, topic)
    columns = ["block", *CASE, "threads", *parameters(times)]
    return prior_of(_medians(*arrays) for _, arrays in in_groups(times, columns, ("net_ns", "process")))


def middle(values: pd.Series, prior: Prior | None = None) -> Interval:
    """Median and 95 % interval of samples of one case, whose index has the level `process`.

    From several processes: `Medians.interval`, which holds for other placements and processes too. From one: the order
    statistics of its rounds, which know nothing of others.
    """
    return _middle(values.to_numpy(), values.index.get_level_values("process").to_numpy(), prior)


def _middle(values: np.ndarray, process: np.ndarray, prior: Prior | None) -> Interval:
    medians = _medians(values, process)
    return medians.interval(prior) if medians and medians.freedom else _interval(values)


def paired(over: pd.Series, under: pd.Series, prior: Prior | None = None, comparisons: int = 1) -> Interval:
    """Median of over / under with its interval as for `middle`; both have one index, a pair is of one round.

    prior: of the times; the variance of their ratio is taken for that of both together. `comparisons` divides the error
    rate.
    """
    medians = None
    if "process" in over.index.names:
        medians = _medians((over / under).to_numpy(), over.index.get_level_values("process").to_numpy())
    if medians and medians.freedom:
        return medians.interval(prior and prior.of_ratio(), 1 - 0.05 / comparisons)
    return ratio_interval(over.to_numpy(), under.to_numpy(), comparisons=comparisons, serial=True)


def parameters(times: pd.DataFrame) -> list[str]:
    """Columns that only this topic's kernels have."""
    return [name for name in times.columns if name not in COLUMNS and not name.endswith("_ns")]


def by_size(run: Run, topic: str, kernel: str, **wanted: Any) -> tuple[list[int], np.ndarray]:
    """Sizes in rising order, and net nanoseconds as rounds x sizes, NaN for a case not measured in a round."""
    times = select(net_times(run, topic), kernel=kernel, **wanted)
    if times.empty:
        raise RunError(f"run {run.id} has no {kernel} in {topic} with {wanted}")
    table = times.pivot_table(index=["block", "round"], columns="n", values="net_ns", aggfunc="median")
    return [int(n) for n in table.columns], table.to_numpy(dtype=float)


def ratio(run: Run, topic: str, over: Mapping[str, Any], under: Mapping[str, Any], comparisons: int = 1) -> Interval:
    """Time of the case `over` / time of the case `under`, from the rounds of the blocks that have both."""
    times = net_times(run, topic)
    pairs = [select(times, **case).set_index(["block", "process", "round"])["net_ns"] for case in (over, under)]
    for case, times_of_case in zip((over, under), pairs, strict=True):
        if times_of_case.index.has_duplicates:
            raise RunError(f"run {run.id} has more than one case of {dict(case)} in a round of {topic}")
    shared = pairs[0].index.intersection(pairs[1].index)
    if len(shared) < MIN_SAMPLES:
        raise RunError(f"run {run.id} has {len(shared)} rounds of both {dict(over)} and {dict(under)} in {topic}")
    return paired(pairs[0][shared], pairs[1][shared], topic_prior(run, topic), comparisons)


def peak_gflops(run: Run, dtype: str = "float32") -> Interval:
    """Multiply-add peak of one core of the run's machine, GFLOP/s."""
    limit = _limit(run, f"peak_gflops_{dtype}")
    return limit or interval_of(summary(run, "limits", kernel="fma_peak", dtype=dtype).iloc[0], "gflops")


def copy_gb_per_s(run: Run) -> Interval:
    """The better of the copies recorded, arrays far larger than the caches, GB/s of bytes read and written."""
    if limit := _limit(run, "copy_gb_per_s"):
        return limit
    limits = summary(run, "limits")
    copies = limits[limits["kernel"].isin(COPIES)]
    if copies.empty or "gb_per_s" not in copies or copies["gb_per_s"].isna().all():
        raise RunError(f"run {run.id} has no copy in limits")
    return interval_of(copies.loc[copies["gb_per_s"].idxmax()], "gb_per_s")


def _limit(run: Run, name: str) -> Interval | None:
    """What a sweep keeps in run.json, for it records no topic of limits."""
    limit = None if run.has("limits") else run.meta.get("limits", {}).get(name)
    return limit and Interval(**limit)


def _interval(times: np.ndarray) -> Interval:
    """Median and interval; fewer than six samples have none and get their range."""
    if len(times) >= MIN_SAMPLES:
        return median_interval(times, serial=True)
    return Interval(median(times), float(times.min()), float(times.max()), 1 - 2 * 0.5 ** len(times))


def _rates(run: Run, case: Mapping[str, Any], time_ns: Interval) -> dict[str, float]:
    if (amounts := work(run, case)) is None:
        return {}
    gflops, gb_per_s = map(time_ns.inverse, amounts)
    return dict(zip(("flops", "bytes"), amounts, strict=True)) | _columns("gflops", gflops) | _columns("gb_per_s", gb_per_s)


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"low_{name}": interval.low, f"high_{name}": interval.high}


def interval_of(row: Mapping[str, Any], column: str = "ns") -> Interval:
    """The 95 % interval of a row of `summary`: of its time, or of the rate `gflops` or `gb_per_s`."""
    if pd.isna(row.get(column)):  # the work is not counted, or the time is no longer than the loop's own
        raise RunError(f"{row.get('kernel')} at n = {row.get('n')} has no {column}")
    return Interval(row[column], row[f"low_{column}"], row[f"high_{column}"], 0.95)


def ns_text(row: Mapping[str, Any], digits: int = 0) -> str:
    """Time and interval of a row of `summary`, in nanoseconds."""
    return text(interval_of(row), digits)


def scaling_rows(table, name: str, scope: str):
    """The rows of one kernel, one per n; RunError where there are none."""
    rows = table[(table["kernel"] == name) & (table["scope"] == scope)]
    if rows.empty:
        raise RunError(f"the run has no {name} in {scope} scope")
    return rows.drop_duplicates("n", keep="first")
