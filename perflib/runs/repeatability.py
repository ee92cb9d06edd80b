"""Find the cases whose times change from minute to minute on this machine, from earlier recordings.

    keys = not_repeatable(earlier_recordings(before, after), cases(before))

Some quantities change by themselves: the latency beyond the share of the last level, a whole forward pass. For them a
difference between two recordings says nothing. Only data from before both recordings mark a case, so that no result
decides how it is judged.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import scipy  # loads scipy.stats, half a second, when it is used

from ..errors import RunError
from ..hardware.facts import hardware_differences
from ..stats import Medians, prior_of
from .cases import Key, Spread, cases, spread_within
from .queries import process_medians
from .store import Run, list_runs, load_run, read_meta

SPREAD = 0.04
"""Moderated standard deviation of the logarithm of a process's median, beyond which a case is not repeatable."""
CLEARLY = 0.99
"""Confidence that the rounds of each process do not explain it."""
SHARE = 0.10
"""Of the cases that may be marked."""
MOST_RECORDINGS = 4
"""The newest ones that are read; each takes about a second."""
ALWAYS = frozenset({"matmul", "tiles", "packing", "conflicts", "stencil", "stencil-tiles"})
"""Topics whose cases repeat: if they move, something is wrong and must show."""


def earlier_recordings(before: Run, after: Run) -> list[Run]:
    """The newest recordings of the hardware of either run that were finished before the first of the two began."""
    started = min(str(run.meta.get("started") or "") for run in (before, after))
    earlier = []
    for path in sorted(list_runs(), key=lambda path: path.name, reverse=True):
        try:
            meta = read_meta(path)
            if meta["schema"] < 2 or not meta["finished"] or str(meta["finished"]) >= started:
                continue
            run = load_run(path)
            if not all(hardware_differences(run.machine, other.machine) for other in (before, after)):
                earlier.append(run)
        except RunError:
            continue  # a damaged one says nothing
        if len(earlier) == MOST_RECORDINGS:
            break
    return earlier


def not_repeatable(earlier: Sequence[Run], among: Collection[Key]) -> list[Key]:
    """Those of the cases `among` that are not repeatable by earlier recordings, the worst first; none without any.

    Marked: a moderated standard deviation between processes and recordings above `SPREAD`, and more than the rounds
    explain with the confidence `CLEARLY`. At most one case in ten, never matrix multiplications, stencils or norms in L2.
    """
    spreads = {key: spread for key in among if (spread := _spread(earlier, key)) and spread.freedom}
    priors = {topic: prior_of(s for key, s in spreads.items() if key[0] == topic) for topic in {key[0] for key in spreads}}
    variances = {}
    for key, spread in spreads.items():
        if not (prior := priors[key[0]]) and spread.freedom < 3:
            continue
        variance = prior.shrink(spread.variance, spread.freedom, spread.scatter)[0] if prior else spread.variance
        by_rounds = spread.scatter * scipy.stats.chi2.ppf(CLEARLY, spread.freedom) / spread.freedom
        if variance > SPREAD**2 and spread.variance > by_rounds and not _is_repeatable(key, earlier):
            variances[key] = variance
    return sorted(variances, key=variances.get, reverse=True)[: int(SHARE * len(among))]


def _spread(earlier: Iterable[Run], key: Key) -> Spread | None:
    """Between processes and recordings of one code on one machine; None where no run has a time of the case."""
    groups = defaultdict(list)
    for run in earlier:
        if (samples := cases(run).get(key)) and (medians := process_medians(samples)):
            groups[run.meta["code"].get("digest"), run.machine.cpu].append(medians)
    pools = [
        Medians(np.concatenate([m.logs for m in group]), float(np.mean([m.scatter for m in group])))
        for group in groups.values()
    ]
    return spread_within(pools) if pools else None


def _is_repeatable(key: Key, earlier: Sequence[Run]) -> bool:
    """Whether the case must repeat: matrix multiplications, stencils, norms whose arrays lie in L2 (unknown: all norms)."""
    topic, case = key[0], dict(key[1])
    if topic in ALWAYS:
        return True
    if topic != "rmsnorm":
        return False
    level_two = [cache.size_bytes for cache in earlier[0].machine.data_caches() if cache.level == 2]
    elements = case.get("n", 0) * (2 * case.get("rows", 1) + 1)  # x, out and the weights
    return not level_two or elements * np.dtype(case.get("dtype", "float32")).itemsize <= max(level_two)
