"""The progress bar: percentage, time and time left, on stderr and only where somebody watches.

`bar.write` prints a line above the bar.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

FORMAT = "{percentage:3.0f}%|{bar:20}| {elapsed} < {remaining} {desc}"


def progress_bar(total: float, shown: bool = True, **settings: bool) -> tqdm:
    """Make a bar; no terminal sees none, and nobody does unless `shown`. The time left follows from all steps so far."""
    return tqdm(total=total, disable=None if shown else True, bar_format=FORMAT, smoothing=0, **settings)


@contextmanager
def step(bar: tqdm, what: str, size: float = 1) -> Iterator[None]:
    """Show what is done, and count it unless it fails."""
    bar.set_description_str(what)
    yield
    bar.update(size)
