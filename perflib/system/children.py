"""Start Python processes that import nothing from the current folder and end with the process that started them.

    subprocess.Popen(program("from perflib.timing.processes import _work; _work()"), stdin=subprocess.PIPE)
    subprocess.run(bound("-m", "pyperf", "timeit", "pass"))

A `pickle.py` in the current folder is not Python's module (`python -P`). Linux ends a child when the thread that started it
ends, however that happens (PR_SET_PDEATHSIG), also after an exec. Elsewhere a child of `program` can read its input, which
ends with the parent.
"""

import os
import subprocess
import sys
from collections.abc import Mapping

from ..files import CLONE

SIGKILL, SET_DEATH_SIGNAL = 9, 1
BEGIN = f"""\
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl({SET_DEATH_SIGNAL}, {SIGKILL})
    if os.getppid() != {{parent}}:
        os._exit(1)  # the parent has ended before
sys.path.append({{folder!r}})
"""


def program(source: str) -> list[str]:
    """The command that runs a program in Python; it finds perflib where this process found it."""
    return [sys.executable, "-P", "-c", BEGIN.format(parent=os.getpid(), folder=str(CLONE)) + source]


def bound(*words: str) -> list[str]:
    """The command that starts Python with `words`, such as `-m pyperf`."""
    if sys.platform != "linux":  # an exec keeps the bond on Linux alone
        return [sys.executable, *words]
    return [*program("os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"), *words]


def become(*words: str, environment: Mapping[str, str] = os.environ) -> None:
    """Let this process go on as Python with `words`, such as `-m jupyterlab`, which finds perflib as this process does."""
    path = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), str(CLONE))))
    command, variables = [sys.executable, "-P", *words], {**environment, "PYTHONPATH": path}
    if sys.platform == "win32":  # there an exec hands the prompt back at once
        sys.exit(subprocess.run(command, env=variables, check=False).returncode)
    os.execve(sys.executable, command, variables)
