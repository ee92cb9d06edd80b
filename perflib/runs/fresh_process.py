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


def from_fresh_process(job: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Yield what `job()` yields in a fresh process."""
    request = io.BytesIO()
    _Pickler(request).dump(job)
    command = [sys.executable, "-c", f"from {__name__} import _work; _work()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdin.write(pickle.dumps(sys.path) + request.getvalue())
        process.stdin.flush()  # and not closed: its end says that this process is gone
        while True:
            try:
                kind, content = pickle.load(process.stdout)
            except EOFError:
                raise RunError(f"a measuring process ended by itself, exit status {process.wait()}") from None
            if kind == "end":
                return
            if kind == "raised":
                raise content
            yield content
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait()


def _work() -> None:
    """What the fresh process does: read the job, answer with its items."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who reads ends this process
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a function prints is no answer
    sys.path[:] = pickle.load(sys.stdin.buffer)
    job = pickle.load(sys.stdin.buffer)
    Thread(target=lambda: os.read(0, 1) or os._exit(1), daemon=True).start()  # who asked is gone

    def tell(kind: str, content: Any = None) -> None:
        answer.write(cloudpickle.dumps((kind, content)))
        answer.flush()

    try:
        for item in job():
            tell("item", item)
        tell("end")
    except BaseException as problem:
        with suppress(OSError):  # nobody reads any more
            tell("raised", problem)
