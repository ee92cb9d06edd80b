"""Count right verdicts of `fit_scaling` on seeded curves of known growth, and on curves that other tools misjudged.

A drawn curve has a class of growth, a fixed cost, lower-order work, steps in cost, odd sizes, model error and noise. It is
decidable where the model that generated it, its structure known and its values fitted, is more likely than every other
class with its best arrangement, by more than ten units of twice the log-likelihood.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from ..errors import SampleError
from ..files import SCALING_CASES
from ..scaling import ScalingFit, fit_scaling
from ..scaling.classes import CLASSES
from ..scaling.cost_model import Arrangement, Data, fit_work
from ..scaling.levels import TAUS

DRAWN = ("1", "log n", "√n", "n", "n log n", "n^1.5", "n²", "n^2.81", "n³")
PAIRS = ("n", "n log n", "n^2.81", "n³")
DECIDABLE = 10.0
CHEAP = np.array([-2.0, -4.0, -6.0, 0.0, 0.0])
"""Costs of a structure with which a rival's best arrangement is looked for: steps and odd sizes nearly free."""
UNIT_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9, "arbitrary": 1.0}


@dataclass(frozen=True)
class Curve:
    """A drawn curve and how it was made."""

    name: str
    sizes: np.ndarray
    times: np.ndarray
    """ns, rounds x sizes."""
    fixed: float
    """As a share of the smallest time."""
    lower: float
    """Lower-order work, as a share of the declared one at the smallest size."""
    level: np.ndarray
    """Of every size; -1 on a ramp."""
    price: np.ndarray
    odd: np.ndarray
    model_error: float

    @property
    def work(self) -> np.ndarray:
        """Of the class alone, 1 at the smallest size."""
        log_work = CLASSES[self.name].log(self.sizes)
        return np.exp(log_work - log_work[0])

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to find."""
        return not (self.fixed or self.lower or self.odd.any() or self.level.max())


@dataclass(frozen=True)
class Kind:
    """What is drawn: `sizes` and `decades` from, to; the shares are probabilities that a part is there at all."""

    sizes: tuple[int, int]
    decades: tuple[float, float]
    fixed: float = 0.0
    lower: float = 0.0
    steps: bool = False
    odd: bool = False
    either: bool = False
    """Steps or odd sizes, never both; steps are sharp."""
    names: tuple[str, ...] = DRAWN


KINDS: Mapping[str, Kind] = {
    "all": Kind((8, 25), (1, 4), fixed=0.6, lower=0.5, steps=True, odd=True),
    "plain": Kind((8, 25), (1, 4)),
    "simple": Kind((12, 12), (1.5, 1.5), steps=True, odd=True, either=True),
    "pairs": Kind((20, 20), (4, 4), names=PAIRS),
}


def draw(rng: np.random.Generator, kind: Kind) -> Curve:
    """One curve."""
    name = str(rng.choice(kind.names))
    sizes = _sizes(rng, kind)
    count = len(sizes)
    fixed = rng.uniform(0, 0.9) if name != "1" and rng.random() < kind.fixed else 0.0
    lower = rng.uniform(0, 0.75) if CLASSES[name].log(np.e**8) > 8.1 and rng.random() < kind.lower else 0.0
    wants_steps = kind.steps and not (kind.either and rng.random() < 0.5)
    steps = int(rng.integers(1 if kind.either else 0, 4)) if wants_steps else 0
    on_ramp = 2 if not kind.either and rng.random() < 0.5 else 0
    level, price = _levels(rng, count, steps, on_ramp)
    most_odd = count // 5 if kind.odd and not (kind.either and wants_steps) else 0
    factor = np.ones(count)
    odd = rng.choice(count, rng.integers(1 if kind.either and most_odd else 0, most_odd + 1), replace=False)
    factor[odd] = rng.uniform(1.3, 3, len(odd))
    model_error, noise, rounds = rng.uniform(0, 0.05), rng.uniform(0.01, 0.05), int(rng.integers(9, 31))
    log_work = CLASSES[name].log(sizes)
    work = np.exp(log_work - log_work[0]) * (1 + lower * sizes[0] / sizes) * price
    logs = np.log((fixed / (1 - fixed) * work[0] + work) * factor) + model_error * rng.standard_normal(count)
    times = 1000 * np.exp(logs + noise * rng.standard_normal((rounds, count)))
    return Curve(name, sizes, times, fixed, lower, level, price, factor > 1, model_error)


def _sizes(rng: np.random.Generator, kind: Kind) -> np.ndarray:
    """Whole numbers, evenly spread over the decades, some of them moved to the nearest power of two."""
    count, decades = int(rng.integers(kind.sizes[0], kind.sizes[1] + 1)), rng.uniform(*kind.decades)
    smallest = 10 ** rng.uniform(0.9, 2)
    even = np.round(np.geomspace(smallest, smallest * 10**decades, count))
    share = rng.uniform(0, 1)
    sizes = set(even.tolist())
    for size in even.tolist():
        power = float(2 ** np.round(np.log2(size)))
        if power not in sizes and rng.random() < share:
            sizes = (sizes - {size}) | {power}
    return np.array(sorted(sizes))


def _levels(rng: np.random.Generator, count: int, steps: int, on_ramp: int) -> tuple[np.ndarray, np.ndarray]:
    """Level and price of every size: at least three sizes to a level, and sizes on the ramp between two."""
    while steps and 3 * (steps + 1) + on_ramp * steps > count:
        on_ramp, steps = (0, steps) if on_ramp else (0, steps - 1)
    spare = count - 3 * (steps + 1) - on_ramp * steps
    lengths = 3 + np.diff([0, *np.sort(rng.integers(0, spare + 1, steps)), spare])
    level, price, middle = [], [], 1.0
    for k, length in enumerate(lengths.tolist()):
        level += [k] * length
        price += [middle] * length
        if k < steps:
            factor = rng.uniform(1.2, 4)
            level += [-1] * on_ramp
            price += [middle * factor ** ((j + 1) / (on_ramp + 1)) for j in range(on_ramp)]
            middle *= factor
    return np.array(level), np.array(price)


def advantage(curve: Curve, fit: ScalingFit) -> float:
    """Units of twice the log-likelihood by which the generating model is better than every other class."""
    data = fit.data
    own = _likelihood(_known_structure(curve, data), data)
    rivals = (name for name in DRAWN if name != curve.name)
    return min(_best_rival(name, fit) for name in rivals) - own


def _best_rival(name: str, fit: ScalingFit) -> float:
    cheap = fit_work(fit.data, CLASSES[name].log(fit.data.sizes), refinements=2, costs=CHEAP)
    return min(_likelihood(_explained(arrangement), fit.data) for arrangement in (fit.rivals[name], cheap))


def _explained(arrangement: Arrangement) -> np.ndarray:
    """What an arrangement leaves over; odd sizes and ramps leave nothing."""
    return np.where(arrangement.odd | (arrangement.levels < 0), 0.0, arrangement.residuals)


def _likelihood(residuals: np.ndarray, data: Data) -> float:
    """Twice the negative log-likelihood with the best model error."""
    variances = data.variance + TAUS[:, None] ** 2
    return float((residuals**2 / variances + np.log(variances)).sum(axis=1).min())


def _known_structure(curve: Curve, data: Data) -> np.ndarray:
    """What the generating model leaves over, prices, fixed cost and lower-order work fitted by least squares."""
    logs, used, count = np.log(data.times), (curve.level >= 0) & ~curve.odd, int(curve.level.max()) + 1
    level = np.maximum(curve.level, 0)
    share = curve.sizes[0] / curve.sizes
    whole = curve.work * (1 + curve.lower * share) * curve.price
    unit = float(np.median(data.times / (whole + curve.fixed / (1 - curve.fixed) * whole[0])))
    start = [np.log(curve.price[curve.level == k][0] * unit) for k in range(count)]
    parts = [(curve.fixed / (1 - curve.fixed) * whole[0] * unit, bool(curve.fixed)), (curve.lower, bool(curve.lower))]

    def residuals(x: np.ndarray) -> np.ndarray:
        rest = iter(x[count:])
        fixed, lower = (next(rest) if there else 0.0 for _, there in parts)
        return (logs - np.log(fixed + curve.work * (1 + lower * share) * np.exp(x[level])))[used]

    values = np.array([*start, *(value for value, there in parts if there)])
    least = [-np.inf] * count + [0.0] * (len(values) - count)
    scale = np.maximum(abs(values), 0.01)
    fitted = scipy.optimize.least_squares(residuals, values, bounds=(least, np.inf), x_scale=scale)
    left = np.zeros(len(logs))
    left[used] = fitted.fun
    return left


def oracle_width(curve: Curve, data: Data, exponent: float, confidence: float = 0.95) -> float:
    """Width of the interval of the exponent where structure, model error and noise are known (delta method)."""
    used = (curve.level >= 0) & ~curve.odd
    work = curve.work * curve.price
    time = work + curve.fixed / (1 - curve.fixed) * work[0]
    columns = [work / time * (curve.level == k) for k in range(int(curve.level.max()) + 1)]
    columns += [1 / time] if curve.fixed else []
    columns.append(work / time * np.log(curve.sizes))
    deviations = np.sqrt(data.variance + max(curve.model_error, float(TAUS[0])) ** 2)
    design = (np.array(columns) / deviations).T[used]
    error = np.sqrt(np.linalg.pinv(design.T @ design)[-1, -1])
    return float(2 * scipy.stats.t.ppf((1 + confidence) / 2, max(1, len(design) - design.shape[1])) * error)


@dataclass(frozen=True)
class ScalingCoverage:
    """Shares of the curves, from 0 to 1, but for `width`."""

    curves: int
    """Per row."""
    decidable: float
    right: float
    """Of the decidable curves those whose class is consistent."""
    undecided: float
    """Of the decidable curves."""
    false_accept: float
    """Of all curves those that some false class is consistent with."""
    false_reject: float
    """Of all curves those that are called inconsistent with their class."""
    false_findings: float
    """Of curves without structure those in which a step, an odd size or a fixed cost was found."""
    simple: float
    """Of the curves with sharp steps or odd sizes alone, those whose class is consistent; of the decidable ones."""
    told_apart: float
    """Of n, n log n, n^2.81 and n^3 over four decades those whose class is consistent."""
    coverage: float
    """Of the intervals of exponents, those that contain the power."""
    width: float
    """Their mean width over that of an oracle."""
    steps_found: float
    """Of the steps of 1.5 times and more those that were found within one size."""


def scaling_coverage(
    curves: int = 2000, seed: int = 0, step: Callable[[], AbstractContextManager[object]] = nullcontext
) -> ScalingCoverage:
    """Judge so many curves of every kind; `step` encloses the four of each number."""
    if curves < 1:
        raise SampleError(f"curves must be at least 1, got {curves}")
    generators = {kind: np.random.default_rng([seed, place]) for place, kind in enumerate(KINDS)}
    rows: dict[str, list[Judged]] = {kind: [] for kind in KINDS}
    for _ in range(curves):
        with step():
            for kind, rng in generators.items():
                rows[kind].append(_judged(kind, rng))
    drawn, simple = rows["all"], [row for row in rows["simple"] if row.is_decidable]
    decidable = [row for row in drawn if row.is_decidable]
    powers = [row for row in drawn if row.width]
    steps = [hit for row in drawn for hit in row.steps]
    return ScalingCoverage(
        curves,
        decidable=len(decidable) / curves,
        right=_share(row.own == "consistent" for row in decidable),
        undecided=_share(row.own == "undecided" for row in decidable),
        false_accept=_share(row.false_accept for row in drawn),
        false_reject=_share(row.own == "inconsistent" for row in drawn),
        false_findings=_share(row.findings for row in rows["plain"]),
        simple=_share(row.own == "consistent" for row in simple),
        told_apart=_share(row.own == "consistent" for row in rows["pairs"]),
        coverage=_share(row.covers for row in powers),
        width=sum(row.width for row in powers) / max(sum(row.oracle_width for row in powers), 1e-300),
        steps_found=_share(steps),
    )


def _share(hits: Any) -> float:
    values = list(hits)
    return sum(map(bool, values)) / len(values) if values else float("nan")


@dataclass(frozen=True)
class Judged:
    """What became of one curve."""

    own: str
    is_decidable: bool
    false_accept: bool = False
    findings: bool = False
    covers: bool = False
    width: float = 0.0
    oracle_width: float = 0.0
    steps: tuple[bool, ...] = ()


def _judged(kind: str, rng: np.random.Generator) -> Judged:
    """One curve drawn and judged; a refused one counts as undecided."""
    curve = draw(rng, KINDS[kind])
    try:
        return _judge(curve, kind)
    except SampleError:
        return Judged("undecided", is_decidable=True)


def _judge(curve: Curve, kind: str) -> Judged:
    fit = fit_scaling(curve.sizes, curve.times)
    own = fit.verdict(curve.name)
    false = any(fit.verdict(name) == "consistent" for name in DRAWN if name != curve.name)
    exponent = CLASSES[curve.name].exponent
    has_power = exponent is not None and not curve.lower and kind == "all"
    return Judged(
        own,
        is_decidable=kind in ("all", "simple") and advantage(curve, fit) > DECIDABLE,
        false_accept=false,
        findings=bool(fit.steps or fit.odd_sizes or fit.fixed_cost.value),
        covers=exponent is not None and fit.exponent.low - 1e-9 <= exponent <= fit.exponent.high + 1e-9,
        width=fit.exponent.high - fit.exponent.low if has_power else 0.0,
        oracle_width=oracle_width(curve, fit.data, exponent) if has_power and exponent is not None else 0.0,
        steps=tuple(_steps_found(curve, fit)),
    )


def _steps_found(curve: Curve, fit: ScalingFit) -> Iterator[bool]:
    """For every step of 1.5 times and more: whether the fit has one that lies within it, give or take one size."""
    places = [np.searchsorted(curve.sizes, [step.last, step.first]) for step in fit.steps]
    for k in range(int(curve.level.max())):
        last, first = np.flatnonzero(curve.level == k)[-1], np.flatnonzero(curve.level == k + 1)[0]
        if curve.price[first] >= 1.5 * curve.price[last]:
            yield any(last - 1 <= a and b <= first + 1 for a, b in places)


def expected_of(truth: Mapping[str, float]) -> str | float:
    """The class that a case is said to have: as a name where it has a logarithm, else as a number."""
    if not truth["log"]:
        return float(truth["exponent"])
    return {0: "log n", 1: "n log n", 2: "n² log n"}[int(truth["exponent"])]


def judge_cases() -> dict[str, tuple[str, bool]]:
    """Published curves: the verdict of each, and whether it is the right one for what is known of the curve."""
    return {case["id"]: _judge_case(case) for case in json.loads((SCALING_CASES / "cases.json").read_text())}


def _judge_case(case: Mapping[str, Any]) -> tuple[str, bool]:
    try:
        fit = fit_scaling(case["sizes"], UNIT_NS[case["unit"]] * np.array(case["times"]))
    except SampleError:
        return "refused", bool(case.get("refuse") or case.get("must_not_claim") or not case.get("decidable", True))
    if case.get("refuse"):
        return "fitted", False
    if case.get("must_not_claim"):
        claims = [name for name in CLASSES if fit.verdict(name) == "consistent"]
        return "claimed" if claims else "undecided", not claims or bool(fit.odd_sizes)
    if bound := case.get("at_most"):
        verdict = fit.verdict(at_most=expected_of(bound))
        return verdict, verdict != "inconsistent"
    verdict = fit.verdict(expected_of(case["truth"]))
    return verdict, verdict == ("consistent" if case.get("decidable", True) else "undecided")


def judge_ladders() -> dict[str, tuple[str, bool]]:
    """Real series against what their authors declared: the verdict, and whether it has seven sizes over a decade."""
    verdicts = {}
    for case in json.loads((SCALING_CASES / "ladders.json").read_text()):
        sizes = case["sizes"]
        try:
            fit = fit_scaling(sizes, UNIT_NS[case["unit"]] * np.array(case["times"]))
            verdict: str = fit.verdict(expected_of(case["declared"]))
        except SampleError:
            verdict = "refused"
        verdicts[case["id"]] = verdict, len(sizes) >= 7 and max(sizes) >= 10 * min(sizes)
    return verdicts


def scaling_figures(curves: int, step: Callable[[], AbstractContextManager[object]] = nullcontext) -> dict[str, float]:
    """The figures of the self-check; those of the published curves only where the data folder of a clone is there."""
    drawn = scaling_coverage(curves, step=step)
    names = ("right", "undecided", "false_accept", "false_reject", "false_findings", "simple", "told_apart")
    figures = {f"scaling_{name}": getattr(drawn, name) for name in (*names, "coverage", "width", "steps_found")}
    if SCALING_CASES.is_dir():
        figures["scaling_cases"] = _share(right for _, right in judge_cases().values())
        large = [verdict for verdict, is_large in judge_ladders().values() if is_large]
        figures["scaling_ladders_decided"] = _share(verdict in ("consistent", "inconsistent") for verdict in large)
    return figures
