"""Repeat a measurement in fresh processes, where the layout of memory is drawn anew.

Compiled code comes from Numba's cache where the function has one. A function that an importable module holds is imported
there; any other, such as one from a notebook, travels by value. Raises `Unmeasurable` with the last line of what a process
said that failed, `TypeError` where function or arguments cannot travel.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any

import cloudpickle
import numpy as np

from ..errors import Unmeasurable


def in_processes(
    measure: Callable[..., Any], count: int, fn: Callable | Mapping[str, Callable], args: tuple, settings: Mapping[str, Any]
) -> list[Any]:
    """Run `measure(fn, *args, **settings)` in `count` processes, one after another, each with a seed of its own."""
    seeds = np.random.SeedSequence(settings.get("seed")).generate_state(count, np.uint64) >> np.uint64(1)
    return [_measure_anew(_pack(measure, fn, args, {**settings, "seed": int(seed)})) for seed in seeds]


def _pack(
    measure: Callable[..., Any], fn: Callable | Mapping[str, Callable], args: tuple, settings: Mapping[str, Any]
) -> bytes:
    fn = {label: importable(one) or one for label, one in fn.items()} if isinstance(fn, Mapping) else importable(fn) or fn
    try:
        request = cloudpickle.dumps((measure, fn, args, dict(settings)))
    except Exception as problem:  # pickle raises whatever the object does
        raise TypeError(f"processes needs a function and arguments that can be pickled, got {problem}") from None
    return pickle.dumps(sys.path) + request  # the request may need the path already when it is unpacked


def importable(value: Any) -> tuple[str, str] | None:
    """Module and name under which a fresh process finds the same; None for what travels by value."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    try:
        return (module, name) if module != "__main__" and attrgetter(name)(sys.modules[module]) is value else None
    except (AttributeError, KeyError):
        return None


def _look_up(module: str, name: str) -> Any:
    return attrgetter(name)(import_module(module))


def _function(reference: Callable | tuple[str, str]) -> Callable:
    return _look_up(*reference) if isinstance(reference, tuple) else reference


def _measure_anew(payload: bytes) -> Any:
    command = [sys.executable, "-c", f"from {__name__} import _work; _work()"]
    process = subprocess.run(command, input=payload, capture_output=True, check=False)
    if process.returncode or not process.stdout:
        lines = process.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {process.returncode}"]
        raise Unmeasurable(f"a fresh process could not measure it: {lines[-1]}")
    return pickle.loads(process.stdout)


def _work() -> None:
    """What a fresh process does: read what to measure, answer with the measurement."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints is no answer
    sys.path[:] = pickle.load(sys.stdin.buffer)
    measure, fn, args, settings = pickle.load(sys.stdin.buffer)
    fn = {label: _function(one) for label, one in fn.items()} if isinstance(fn, dict) else _function(fn)
    try:
        measurement = measure(fn, *args, **settings)
    except Exception as problem:
        sys.exit(f"{type(problem).__name__}: {problem}")
    with answer:
        answer.write(pickle.dumps(measurement))
