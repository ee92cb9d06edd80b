"""Answer Ctrl-C with one line and no traceback, from the first moment of the program on.

Loading Numba takes half a second, and Ctrl-C may come at any time in it, or within a compilation, where an exception can
surface as another one. So the program ends at once. A run on disk survives this, because it may be killed at any
byte. A program that merely imports perflib keeps its own handling.
"""

import os
import shlex
import signal
import sys
from pathlib import Path


def leave(*_) -> None:
    """Handle SIGINT: say how to continue, and end."""
    newline = "\n" if os.isatty(2) else ""  # below the progress bar
    os.write(2, f"{newline}interrupted; continue with: perflib {shlex.join(sys.argv[1:])}\n".encode())
    os._exit(130)


# While Python looks for the module of `python -m perflib`, the program's name is -m.
_name = sys.argv[0] if sys.argv else ""
_is_program = _name == "-m" or Path(_name).stem == "perflib"

if _is_program and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, leave)
