"""Find where a latency curve leaves one level of memory for the next, by a fit.

    levels = find_levels(sizes, samples)        # samples: a row per size, a column per round, ns per load
    levels[0].capacity_bytes.value              # where half of the loads leave the nearest level

The curve is a sum of ramps over log2 of the working set, as few as the noise allows, each upwards (a ramp of one step of
the grid is a step). An edge is where the fit is steep: one that raises the latency by less than `least_jump` is none, nor
is a rise over more than three octaves, one slower than the root of the working set, or one that is no steeper than twice
what lies around it. The last level of a sweep has no capacity: nothing was seen beyond it. Gradual edges within two octaves
of each other may be found as one.

Raises `SampleError` for sizes and samples that are no such curve.
"""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ..errors import SampleError
from ..stats import MIN_SAMPLES, Interval, median_interval

LEAST_JUMP = 1.3
"""Levels differ by 2 and more; a translation buffer that no longer reaches costs less (measured: 6.0 to 7.9 ns)."""
FEWEST_SIZES = 8
RAMPS = 8
WIDTHS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 20)  # of a ramp, in steps of the grid
GAIN = 25.0  # least reduction of the squared residuals in units of the noise: 5 sigma, for some 1000 ramps are tried
PLATEAU = 3  # sizes that a level must show on either side of an edge
STEEP = 0.25  # least slope anywhere in an edge, octaves of latency per octave of the working set
DRIFT = 0.5  # least slope of all of an edge
CONTRAST = 2.0  # slope of an edge over that of the octave on either side
TOUCHING, SHARP, WIDEST = 2, 2, 3.0  # steps of the grid, steps of the grid, octaves


@dataclass(frozen=True)
class Level:
    """One plateau of the curve and the edge at which it ends."""

    latency_ns: float
    """Median over the plateau."""
    capacity_bytes: Interval | None
    """Working set at which half of the rise is paid; None where the sweep does not show it."""
    width: float
    """Working set at nine tenths of the rise / at one tenth; 1 without an edge."""
    grade: str
    """sharp, gradual or not resolved."""
    reason: str

    @property
    def resolved(self) -> bool:
        """Does the sweep show where this level ends?"""
        return self.capacity_bytes is not None


@dataclass(frozen=True)
class _Edge:
    """A steep part of the fit: where it begins, 10, 50 and 90 % of the rise are paid, and it ends (log2 bytes)."""

    begin: float
    tenth: float
    middle: float
    ninth: float
    end: float
    jump: float
    """Latency at the end / at the beginning."""
    around: float
    """Slope of the octave before or behind, the larger."""

    @property
    def slope(self) -> float:
        """Octaves of latency per octave of the working set."""
        return float(np.log2(self.jump)) / self.width

    @property
    def width(self) -> float:
        """Octaves from one tenth to nine tenths of the rise."""
        return self.ninth - self.tenth


@threadpool_limits.wrap(limits=1, user_api="blas")  # for small matrices threads cost more than they save
def find_levels(sizes_bytes: np.ndarray, ns: np.ndarray, least_jump: float = LEAST_JUMP) -> tuple[Level, ...]:
    """Levels of the memory that a latency sweep shows, nearest first.

    sizes_bytes: working sets, increasing, at least eight, evenly spaced on a log scale (8 per octave: edges to 5 %). ns: ns
    per load, sizes x rounds, or one value per size. least_jump: the smallest factor of latency that counts as an edge.
    The interval of a capacity is that over refitted rounds, never narrower than the two sizes around it.
    """
    sizes, samples = _curve(sizes_bytes, ns, least_jump)
    octaves = np.log2(sizes)
    middle = np.median(samples, axis=1)
    edges = _edges(octaves, middle, least_jump)
    rounds = [_edges(octaves, column, least_jump) for column in samples.T] if samples.shape[1] > 1 and edges else []
    whole = [e for e in edges if (octaves > e.end - 1e-9).sum() >= PLATEAU]
    rising = edges[len(whole) :]
    ends = [-np.inf, *(edge.end for edge in whole)]
    latencies = [_latency(octaves, middle, begin, edge.begin) for begin, edge in zip(ends, whole, strict=False)]
    levels = [_level(edge, latency, sizes, rounds) for edge, latency in zip(whole, latencies, strict=True)]
    last = _latency(octaves, middle, ends[-1], rising[0].begin if rising else np.inf)
    beyond = "the latency still rises where the sweep ends" if rising else "the sweep ends before this level does"
    return (*levels, Level(last, None, 1.0, "not resolved", f"{beyond}, at {sizes[-1]:.0f} bytes"))


def _curve(sizes_bytes: np.ndarray, ns: np.ndarray, least_jump: float) -> tuple[np.ndarray, np.ndarray]:
    sizes, samples = np.asarray(sizes_bytes, np.float64), np.asarray(ns, np.float64)
    samples = samples[:, None] if samples.ndim == 1 else samples
    if sizes.ndim != 1 or len(sizes) < FEWEST_SIZES:
        raise SampleError(f"sizes_bytes must be at least {FEWEST_SIZES} working sets, got shape {sizes.shape}")
    if not (sizes[0] > 0 and (np.diff(sizes) > 0).all() and np.isfinite(sizes).all()):
        raise SampleError("sizes_bytes must increase from above 0")
    if samples.ndim != 2 or len(samples) != len(sizes) or samples.shape[1] == 0:
        raise SampleError(f"ns must have a row for each of {len(sizes)} sizes, got shape {np.shape(ns)}")
    if not ((samples > 0).all() and np.isfinite(samples).all()):
        raise SampleError("ns must be finite and above 0")
    if not least_jump > 1:
        raise SampleError(f"least_jump must be above 1, got {least_jump}")
    return sizes, samples


def _edges(octaves: np.ndarray, ns: np.ndarray, least_jump: float) -> list[_Edge]:
    """The edges of one curve: where its fit is steep, those that are too small or too wide left out."""
    ramps, heights = _fit(octaves, ns)
    step = _step(octaves)
    fine = np.arange(octaves[0] - step, octaves[-1] + step / 8, step / 4)
    level = np.concatenate([np.ones((len(fine), 1)), _shape(fine, ramps)], axis=1) @ heights
    steep = np.flatnonzero(np.diff(np.log2(level)) > STEEP * step / 4)
    runs = np.split(steep, np.flatnonzero(np.diff(steep) > 4 * TOUCHING) + 1) if len(steep) else []
    edges = [_edge(fine, level, run[0], run[-1] + 1) for run in runs]
    return [e for e in edges if _is_edge(e, least_jump) and (octaves < e.begin + 1e-9).sum() >= PLATEAU]


def _is_edge(edge: _Edge, least_jump: float) -> bool:
    least_slope = max(DRIFT, CONTRAST * edge.around)
    return edge.jump >= least_jump and edge.width <= WIDEST and edge.slope >= least_slope


def _edge(octaves: np.ndarray, level: np.ndarray, begin: int, end: int) -> _Edge:
    share = (level[begin : end + 1] - level[begin]) / (level[end] - level[begin])
    tenth, middle, ninth = np.interp([0.1, 0.5, 0.9], share, octaves[begin : end + 1])
    before, behind = np.interp([octaves[begin] - 1, octaves[end] + 1], octaves, np.log2(level))
    around = max(np.log2(level[begin]) - before, behind - np.log2(level[end]))
    return _Edge(octaves[begin], tenth, middle, ninth, octaves[end], float(level[end] / level[begin]), float(around))


def _step(octaves: np.ndarray) -> float:
    return float(np.median(np.diff(octaves)))


def _shape(octaves: np.ndarray, ramps: np.ndarray) -> np.ndarray:
    """0 before each ramp, 1 beyond it: points x ramps. A ramp is (begin, length) in octaves."""
    return np.clip((octaves[:, None] - ramps[:, 0]) / ramps[:, 1], 0, 1)


def _fit(octaves: np.ndarray, ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ramps, and the heights of the first plateau and of each ramp: relative least squares, one ramp after another.

    Every ramp is chosen again among all, given the others, until none moves (orthogonal matching pursuit with exchange).
    """
    step = _step(octaves)
    lengths = step * np.array(WIDTHS)
    begins = np.arange(octaves[0] - step, octaves[-1], step / 2)
    ramps = np.array([(b, w) for w in lengths for b in begins])
    columns = _shape(octaves, ramps) / ns[:, None]
    units = columns / np.sqrt(np.einsum("ij,ij->j", columns, columns) + 1e-300)
    base = 1 / ns
    noise = _noise(ns)
    places: list[int] = []
    while len(places) < RAMPS:
        best, gain = _best(units, base, places)
        if gain < GAIN * noise**2:
            break
        places = _exchange(units, base, [*places, best])
    heights = np.linalg.lstsq(np.column_stack([base, *columns[:, places].T]), np.ones(len(ns)), rcond=None)[0]
    upwards = [i for i, height in enumerate(heights[1:]) if height > 0]
    return ramps[np.array(places, int)[upwards]], heights[[0, *(i + 1 for i in upwards)]]


def _noise(ns: np.ndarray) -> float:
    """Standard deviation of the relative noise, from second differences: they see neither levels nor slopes."""
    bends = np.diff(np.log(ns), 2) / np.sqrt(6)
    return max(1e-3, float(np.median(np.abs(bends))) / 0.6745)


def _best(units: np.ndarray, base: np.ndarray, places: list[int]) -> tuple[int, float]:
    """The upward ramp that explains most of what those at `places` leave, and by how much the squared residuals shrink.

    What a column of unit length shares with the basis gives its free part without writing it out: 1,200 fits of a run take
    a tenth of the time.
    """
    basis, _ = np.linalg.qr(np.column_stack([base, *units[:, places].T]))
    residuals = 1 - basis @ basis.sum(axis=0)
    free = 1 - ((basis.T @ units) ** 2).sum(axis=0)
    gains = np.where(free > 1e-9, np.maximum(residuals @ units, 0.0) ** 2 / np.maximum(free, 1e-9), 0.0)
    best = int(gains.argmax())
    return best, float(gains[best])


def _exchange(units: np.ndarray, base: np.ndarray, places: list[int]) -> list[int]:
    for _ in range(10):
        before = list(places)
        for i in range(len(places)):
            places[i] = _best(units, base, places[:i] + places[i + 1 :])[0]
        if places == before:
            break
    return places


def _latency(octaves: np.ndarray, ns: np.ndarray, begin: float, end: float) -> float:
    plateau = (octaves > begin - 1e-9) & (octaves < end + 1e-9)
    return float(np.median(ns[plateau] if plateau.any() else ns[octaves > begin - 1e-9]))


def _level(edge: _Edge, latency: float, sizes: np.ndarray, rounds: list[list[_Edge]]) -> Level:
    capacity = 2**edge.middle
    at = int(np.searchsorted(sizes, capacity))
    cell = sizes[max(0, at - 1)], sizes[min(at, len(sizes) - 1)]
    nearest = (min((e.middle for e in edges), key=lambda m: abs(m - edge.middle), default=np.inf) for edges in rounds)
    capacities = [2**m for m in nearest if abs(m - edge.middle) <= 1]  # a round without an edge within an octave has none
    if len(capacities) >= MIN_SAMPLES:
        around = median_interval(capacities)
    else:
        ends = capacities or [capacity]
        around = Interval(capacity, min(ends), max(ends), 1 - 2.0 ** (1 - len(ends)))
    interval = Interval(capacity, float(min(around.low, *cell)), float(max(around.high, *cell)), around.coverage)
    width = 2**edge.width
    sharp = edge.width <= SHARP * _step(np.log2(sizes))
    growth = "" if sharp else f" while the working set grows {width:.1f} times"
    reason = f"the latency rises by {edge.jump:.1f} times{growth}"
    return Level(latency, interval, width, "sharp" if sharp else "gradual", reason)
