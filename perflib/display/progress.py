"""Show progress as percentage, time and time left, on a terminal or in a notebook only.

A terminal shows it as a line of stderr. A notebook with ipywidgets shows a widget and removes it at the end.
`bar.write` prints a line above the progress bar.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

FORMAT = "{percentage:3.0f}%|{bar:20}| {elapsed} < {remaining} {desc}"


def progress_bar(total: float, shown: bool = True, **settings: bool) -> tqdm:
    """Make a progress bar, shown on a terminal and only if `shown`. The time left follows from all steps so far."""
    if shown and in_notebook():
        from tqdm.notebook import tqdm as notebook_tqdm  # loads ipywidgets

        own = {"leave": False} | settings
        return notebook_tqdm(total=total, bar_format=FORMAT.replace("{bar:20}", "{bar}"), smoothing=0, **own)
    return tqdm(total=total, disable=None if shown else True, bar_format=FORMAT, smoothing=0, **settings)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook that can show widgets."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return bool(getattr(shell, "kernel", None)) and importlib.util.find_spec("ipywidgets") is not None


@contextmanager
def step(bar: tqdm, what: str, size: float = 1) -> Iterator[None]:
    """Show what is done, and count it unless it fails."""
    bar.set_description_str(what)
    yield
    bar.update(size)
