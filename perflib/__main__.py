"""`perflib` and `python -m perflib`: hands over to the command line."""

import signal
import sys

from .cli import run
from .system.startup import leave


def main() -> int:
    """Run the command line; returns the exit status."""

    def loaded() -> None:
        if signal.getsignal(signal.SIGINT) is leave and "record" not in sys.argv[1:2]:  # the others have things to tidy up
            signal.signal(signal.SIGINT, signal.default_int_handler)

    return run(sys.argv[1:], loaded)


if __name__ == "__main__":
    sys.exit(main())
