"""Start Python processes that end with this one and import nothing from the folder that they are started in.

    subprocess.Popen(command("from perflib.timing.processes import _work; _work()"), stdin=subprocess.PIPE)

A `pickle.py` beside a user's script is no module of ours (`python -P`). Linux ends a child when its parent ends, however
that happens (PR_SET_PDEATHSIG), also behind an exec. Elsewhere a child that reads its input sees the end of it.
"""

import os
import sys

from .files import CLONE

BEGIN = """\
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != {parent}:
        os._exit(1)  # the parent has ended before
sys.path.append({clone!r})
"""


def command(program: str) -> list[str]:
    """The words that run a program; perflib is found from it, though modules of the current folder are not."""
    return [sys.executable, "-P", "-c", BEGIN.format(parent=os.getpid(), clone=str(CLONE)) + program]


def bound(*words: str) -> list[str]:
    """Words for Python, such as `-m pyperf`, as a command that ends with this process."""
    return [*command("os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"), *words]
