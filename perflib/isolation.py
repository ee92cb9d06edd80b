"""Repeat a measurement in fresh processes, where the layout of memory is drawn anew.

    in_processes(measure, count, fn, args, settings)    -> Measurement, with the median of each process

Compiled code comes from Numba's cache where the function has one. A function that an importable module holds is imported
there; any other, such as one from a notebook, travels by value. Raises `Unmeasurable` with the last line of what a process
said that failed, `TypeError` where function or arguments cannot travel.
"""

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from operator import attrgetter
from typing import Any

from .conduct import Unmeasurable
from .results import Measurement
from .stats import MIN_SAMPLES, Interval, median, median_interval

__all__ = ["in_processes"]

SPREAD = 0.02  # medians that differ by more than this, and by more than their own intervals, are worth a reason


def in_processes(
    measure: Callable[..., Measurement], count: int, fn: Callable, args: tuple, settings: Mapping[str, Any]
) -> Measurement:
    """Run `measure(fn, *args, **settings)` in `count` processes, one after another, and put the results together."""
    payload = _packed(measure, fn, args, settings)
    return _together([_measured(payload) for _ in range(count)])


def _packed(measure: Callable[..., Measurement], fn: Callable, args: tuple, settings: Mapping[str, Any]) -> bytes:
    import cloudpickle

    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", "")
    try:
        importable = module != "__main__" and attrgetter(name)(sys.modules[module]) is fn
    except (AttributeError, KeyError):
        importable = False
    try:
        wanted = cloudpickle.dumps((measure, (module, name) if importable else fn, args, dict(settings)))
    except Exception as problem:  # pickle raises whatever the object does
        raise TypeError(f"processes needs a function and arguments that can be pickled, got {problem}") from None
    return pickle.dumps(sys.path) + wanted  # what is wanted may need the path already when it is unpacked


def _measured(payload: bytes) -> Measurement:
    command = [sys.executable, "-c", f"from {__name__} import _work; _work()"]
    done = subprocess.run(command, input=payload, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise Unmeasurable(f"a fresh process could not measure it: {lines[-1]}")
    return pickle.loads(done.stdout)


def _together(found: Sequence[Measurement]) -> Measurement:
    """One measurement of many: the median process, all samples, every reason, and how far the processes lie apart."""
    medians = tuple(m.time_ns.value for m in found)
    reasons = list({re.sub(r"[\d.]+", "", reason): reason for m in reversed(found) for reason in m.reasons}.values())
    spread = max(medians) / max(min(medians), 1e-9) - 1
    if spread > max(SPREAD, *(2 * m.time_ns.half_width for m in found)):
        reasons.append(f"processes differ by {100 * spread:.0f} %: layout of memory")
    states = {m.state for m in found} | ({"noisy"} if reasons else set())
    starts = [sum(1 + m.samples[-1].round for m in found[:i]) for i in range(len(found))]
    samples = [replace(s, round=s.round + start) for m, start in zip(found, starts, strict=True) for s in m.samples]
    return replace(
        found[0],
        time_ns=_pooled([m.time_ns for m in found]),
        gross_ns=_pooled([m.gross_ns for m in found]),
        floor_ns=_pooled([m.floor_ns for m in found]),
        samples=tuple(samples),
        ended_by="budget" if any(m.ended_by == "budget" for m in found) else found[0].ended_by,
        state=next(state for state in ("invalid", "noisy", "stable") if state in states),
        reasons=tuple(reasons),
        seconds=sum(m.seconds for m in found),
        call=_together([m.call for m in found]) if found[0].call else None,
        dispatch_ns=_pooled([m.dispatch_ns for m in found]) if found[0].dispatch_ns else None,
        processes_ns=medians,
    )


def _pooled(intervals: Sequence[Interval]) -> Interval:
    """The median process; around it the order statistics of the processes, or all of their intervals where they are few."""
    middles = [i.value for i in intervals]
    if len(middles) >= MIN_SAMPLES:
        return median_interval(middles)
    low, high = min(i.low for i in intervals), max(i.high for i in intervals)
    return Interval(median(middles), low, high, min(i.coverage for i in intervals))


def _work() -> None:
    """What a fresh process does: read what to measure, answer with the measurement."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints is no answer
    sys.path[:] = pickle.load(sys.stdin.buffer)
    measure, fn, args, settings = pickle.load(sys.stdin.buffer)
    if isinstance(fn, tuple):
        fn = attrgetter(fn[1])(import_module(fn[0]))
    try:
        found = measure(fn, *args, **settings)
    except Exception as problem:
        sys.exit(f"{type(problem).__name__}: {problem}")
    with answer:
        answer.write(pickle.dumps(found))
