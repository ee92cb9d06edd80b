"""`perflib` and `python -m perflib`: hands over to the command line; Ctrl-C while it still loads is no traceback either."""

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; 130 after an interrupt."""
    try:
        from perflib.cli import run
    except KeyboardInterrupt:
        print("perflib: interrupted before anything was begun", file=sys.stderr)
        return 130
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
