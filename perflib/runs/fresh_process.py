"""A generator that runs in a fresh process, where memory and machine code lie elsewhere: its items arrive as they come.

    for item in from_fresh_process(partial(count, 3)):
        ...

The process ends with the loop, however that ends: it ignores Ctrl-C, is killed, or finds nobody who reads. Built-in
kernels and compiled functions of importable modules are looked up there, so that their code comes from the cache; the rest
travels by value. An exception of the generator is raised here; `RunError` where the process ends before its generator.
"""

import io
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

import cloudpickle

from ..errors import RunError
from ..kernels.catalog import KERNELS, find
from ..kernels.description import Kernel
from ..timing.case import is_compiled
from ..timing.processes import _look_up, importable


class _Pickler(cloudpickle.Pickler):
    """Names what can be looked up: pickled by value it would be compiled again."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Kernel) and KERNELS.get(value.name) is value:
            return find, (value.name,)
        if is_compiled(value) and (place := importable(value)):
            return _look_up, place
        return super().reducer_override(value)


class FreshProcess:
    """A process that runs the jobs it is given, one after the other, until `end` or the end of the `with`."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", f"from {__name__} import _work; _work()"]
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

    def begin(self, job: Callable[[], Iterator[Any]]) -> None:
        """Hand over a job; `items` has what it yields."""
        request = io.BytesIO()
        _Pickler(request).dump(job)
        self._send(request.getvalue())

    def items(self) -> Iterator[Any]:
        """Yield what the job yields; raises what it raises."""
        while True:
            try:
                kind, content = pickle.load(self._process.stdout)
            except EOFError:
                status = self._process.wait()
                raise RunError(f"a measuring process ended by itself, exit status {status}") from None
            if kind == "end":
                return
            if kind == "raised":
                raise content
            yield content

    def _send(self, request: bytes) -> None:
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()  # and not closed: its end says that this process is gone


def from_fresh_process(job: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Yield what `job()` yields in a fresh process."""
    with FreshProcess() as process:
        process.begin(job)
        yield from process.items()


def _work() -> None:
    """What the fresh process does: answer every job with its items."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who reads ends this process
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
            with suppress(OSError):  # nobody reads any more
                tell("raised", problem)


def _receive(requests: SimpleQueue) -> None:
    """Take the jobs as they come; who asked is gone where they end."""
    while True:
        try:
            requests.put(pickle.load(sys.stdin.buffer))
        except EOFError:
            os._exit(1)
