"""Every error of perflib, under one base class: a sentence that says what happened, the value, and what to do.

try:
    run = perflib.load_run("latest")
except perflib.PerflibError as problem:
    print(problem)
"""

import re

ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")  # of a terminal
UNSEEN = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # control characters, but for white space
    r"\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"  # marks of direction, spaces without width
    r"\u00ad\u180e\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)


def on_one_line(text: object) -> str:
    """Its words, one space between: neither a newline nor a terminal escape nor a mark of direction breaks a table."""
    return " ".join(UNSEEN.sub("", ESCAPE.sub("", str(text))).split())


class PerflibError(Exception):
    """Base class of the errors that perflib itself raises. Names of files and values in them are shown on one line."""

    def __str__(self) -> str:
        return on_one_line(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: the sentence."""
        return [f"{type(self).__name__}: {self}"]


class RunError(PerflibError):
    """A run that cannot be found, read, written or continued."""


class NothingComparable(RunError):
    """Two runs that have nothing in common that could be compared."""


class ReportError(PerflibError):
    """A page or a notebook that cannot be found, executed or replaced."""


class GGUFError(PerflibError):
    """A file that is no GGUF, not a whole one, or not of a decoder that runs here."""


class TextError(PerflibError, ValueError):
    """A prompt, a setting or a chat template that no text can be generated from."""


class Unmeasurable(PerflibError):
    """A function that cannot be measured as it is."""


class SampleError(PerflibError, ValueError):
    """The samples cannot answer the question."""


class Interrupted(PerflibError, KeyboardInterrupt):
    """A measurement that was interrupted; what is complete is kept, and the same call goes on."""


class FleetError(PerflibError):
    """A cluster or a worker that must not measure, or cannot be reached."""


class GeometryError(PerflibError, ValueError):
    """A cache that cannot be."""


class CallError(PerflibError, TypeError):
    """A call that passes something else than a function and its arguments."""


class WrongResult(PerflibError, ValueError):
    """A kernel's result lies outside the error bound of its oracle."""


LACKS = (RunError, SampleError, GeometryError)
"""What a figure or table of a run may raise where the run lacks what it needs."""
