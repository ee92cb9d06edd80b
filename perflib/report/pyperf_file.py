"""Write measurements to a file that pyperf reads.

    write_pyperf("here.json.gz", measure(my_kernel, x))

A value is the time of one run in seconds, net of the loop's own cost as everywhere in perflib; where a net value would not
be positive, which pyperf refuses, all values of that measurement are gross. The metadata say which, with the state and its
reasons: pyperf's headline, a mean, shows neither. Its `compare_to` can test only benchmarks with equally many
values; others it calls different and prints that the test failed.

Raises `ValueError` for nothing to write and for two measurements of one name, `ImportError` where pyperf is not installed,
`OSError` where the file cannot be written; a file that was there before is then untouched.
"""

import platform
from collections.abc import Iterable
from pathlib import Path
from statistics import median_low
from typing import Any

from ..files import replace_file
from ..hardware.facts import Machine, machine
from ..timing.results import Comparison, Measurement


def write_pyperf(path: str | Path, results: Measurement | Comparison | Iterable[Measurement]) -> Path:
    """Write results as one pyperf suite and return the path; compressed where its name ends in .gz.

    A measurement brings the one in `call` scope beside it, a comparison all of its measurements, a list those in it.
    A file that is there is replaced as a whole.
    """
    try:
        import pyperf  # the extra `harnesses`
    except ImportError:
        raise ImportError("pyperf is not installed; install it: pip install 'perflib[harnesses]'") from None
    facts, benchmarks = _facts(machine()), {}
    for one in _measurements(results):
        values, metadata = _values(one)
        metadata |= facts | {"name": _name(one), "unit": "second"}
        if metadata["name"] in benchmarks:
            raise ValueError(f"measurements must have names of their own, got {metadata['name']!r} twice")
        run = pyperf.Run(values, metadata=metadata, collect_metadata=False)  # it would collect the host's name
        benchmarks[metadata["name"]] = pyperf.Benchmark([run])
    if not benchmarks:
        raise ValueError("measurements must be at least one, got none")
    path, suite = Path(path), pyperf.BenchmarkSuite(list(benchmarks.values()))
    try:
        replace_file(path, lambda part: suite.dump(str(part), replace=True))
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, str(path)) from None
    return path


def _measurements(results: Measurement | Comparison | Iterable[Measurement]) -> Iterable[Measurement]:
    if isinstance(results, Comparison):
        return results.measurements.values()
    if isinstance(results, Measurement):
        return [one for one in (results, results.call) if one]
    return results


def _name(one: Measurement) -> str:
    """Label, scope and, unless it is the usual one, mode, on one line: what is not the same gets another name."""
    mode = getattr(one, "mode", "throughput")
    where = f"{one.scope} scope" + (f", {mode}" if mode != "throughput" else "")
    return " ".join(f"{one.label} ({where})".split())


def _values(one: Measurement) -> tuple[list[float], dict[str, Any]]:
    """Seconds per run of each sample, and what they are. Batches differ in length, pyperf has one number for it."""
    gross = [s.per_run_ns for s in one.samples]
    net = [ns - one.floor_ns.value for ns in gross]
    is_net = min(net) > 0
    reps = [s.reps for s in one.samples]
    return [ns / 1e9 for ns in (net if is_net else gross)], {
        "loops": median_low(reps),
        "perflib_loops": f"{min(reps)} to {max(reps)} per value, drawn at random; loops is their median",
        "perflib_values": "net of the loop's own cost" if is_net else "gross: the loop's own cost is not subtracted",
        "perflib_floor_ns": float(one.floor_ns.value),
        "perflib_scope": one.scope,
        "perflib_state": one.state,
        **({"perflib_reasons": "; ".join(one.reasons)} if one.reasons else {}),
    }


def _facts(here: Machine) -> dict[str, Any]:
    """The machine by pyperf's names; no host, no user, no path."""
    versions = {f"{name}_version": version for name, version in here.packages.items()}
    return versions | {
        "cpu_model_name": here.cpu,
        "cpu_count": here.logical_cpus,
        "platform": here.os,
        "timer": here.clock,
        "python_implementation": platform.python_implementation().lower(),
        "python_version": here.python,
    }
