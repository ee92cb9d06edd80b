"""Run work in fresh processes, where memory and machine code lie elsewhere than here.

    for item in from_fresh_process(partial(count, 3)):
        ...

What a job yields arrives as it comes. A process ignores Ctrl-C and ends when its reader ends, however that happens.
Built-in kernels and functions of importable modules are looked up there, so that compiled code comes from Numba's cache
where it has one; anything else, such as a function of a notebook, travels by value. An exception of the job is raised here.
`Unmeasurable`: a process ended before its job. `TypeError`: a job cannot travel.
"""

import io
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from operator import attrgetter
from queue import SimpleQueue
from threading import Thread
from typing import Any

import cloudpickle
import numpy as np

from ..display.text import on_one_line
from ..errors import Unmeasurable
from ..kernels.description import Kernel
from ..system.children import program
from .case import is_compiled


def in_processes(
    measure: Callable[..., Any], count: int, fn: Callable | Mapping[str, Callable], args: tuple, settings: Mapping[str, Any]
) -> list[Any]:
    """Run `measure(fn, *args, **settings)` in `count` processes, one after another, each with a seed of its own."""
    seeds = np.random.SeedSequence(settings.get("seed")).generate_state(count, np.uint64) >> np.uint64(1)
    jobs = [partial(_once, measure, fn, args, {**settings, "seed": int(seed)}) for seed in seeds]
    return [_result_of(job) for job in jobs]


def _once(measure: Callable[..., Any], fn: Any, args: tuple, settings: Mapping[str, Any]) -> Iterator[Any]:
    yield measure(fn, *args, **settings)


def _result_of(job: Callable[[], Iterator[Any]]) -> Any:
    with FreshProcess() as process:
        process.begin(job)
        try:
            (result,) = process.items()
        except (Exception, SystemExit) as problem:
            reason = f"{type(problem).__name__}: {on_one_line(problem)}"
            raise Unmeasurable(f"a fresh process could not measure it: {reason}") from None
    return result


def from_fresh_process(job: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Yield what `job()` yields in a fresh process."""
    with FreshProcess() as process:
        process.begin(job)
        yield from process.items()


class FreshProcess:
    """A process that runs the jobs it is given, one after the other, until `end` or the end of the `with`."""

    def __init__(self) -> None:
        command = program(f"from {__name__} import _work; _work()")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._send(pickle.dumps(sys.path))

    def __enter__(self) -> "FreshProcess":
        return self

    def __exit__(self, *problem: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill the process, whatever it does; once it is gone there is nothing to do."""
        self._process.kill()
        with suppress(OSError):  # a job that it never read
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    @property
    def number(self) -> int:
        """Of the process, as the system counts."""
        return self._process.pid

    def begin(self, job: Callable[[], Iterator[Any]]) -> None:
        """Hand over a job; `items` has what it yields."""
        request = io.BytesIO()
        try:
            _Pickler(request).dump(job)
        except Exception as problem:  # pickle raises whatever the object does
            message = f"a fresh process needs a function and arguments that can be pickled, got {on_one_line(problem)}"
            raise TypeError(message) from None
        self._send(request.getvalue())

    def items(self) -> Iterator[Any]:
        """Yield what the job yields; raises what it raises."""
        while True:
            try:
                kind, content = pickle.load(self._process.stdout)
            except EOFError:
                status = self._process.wait()
                raise Unmeasurable(f"a measuring process ended by itself, exit status {status}") from None
            if kind == "end":
                return
            if kind == "raised":
                raise content
            yield content

    def _send(self, request: bytes) -> None:
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()  # and not closed: its end says that this process is gone


def _work() -> None:
    """What the fresh process does: answer every job with its items."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the reader ends this process
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a function prints is no answer
    requests: SimpleQueue = SimpleQueue()
    Thread(target=_receive, args=(requests,), daemon=True).start()
    sys.path[:] = pickle.loads(requests.get())

    def tell(kind: str, content: Any = None) -> None:
        answer.write(cloudpickle.dumps((kind, content)))
        answer.flush()

    while True:
        request = requests.get()
        try:
            for item in pickle.loads(request)():
                tell("item", item)
            tell("end")
        except BaseException as problem:
            with suppress(OSError):  # the reader has ended
                tell("raised", problem)


def _receive(requests: SimpleQueue) -> None:
    """Receive jobs until the input ends, which means that the parent process has ended; then exit."""
    while True:
        try:
            requests.put(pickle.load(sys.stdin.buffer))
        except EOFError:
            os._exit(1)


class _Pickler(cloudpickle.Pickler):
    """Names compiled code that can be looked up, which would be compiled again, as cloudpickle names other functions."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Kernel):
            from ..kernels.catalog import KERNELS, find  # all kernels: not for those who measure their own

            if KERNELS.get(value.name) is value:
                return find, (value.name,)
        if is_compiled(value) and (place := importable(value)):
            return _look_up, place
        return super().reducer_override(value)


def importable(value: Any) -> tuple[str, str] | None:
    """Module and name under which a fresh process finds the same; None for what travels by value."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    try:
        return (module, name) if module != "__main__" and attrgetter(name)(sys.modules[module]) is value else None
    except (AttributeError, KeyError):
        return None


def _look_up(module: str, name: str) -> Any:
    return attrgetter(name)(import_module(module))
