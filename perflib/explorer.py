"""`perflib.explore()`: controls in a notebook over the same sweep and the same figures.

    explore()                                       the described kernels
    explore({"f": f, "g": g}, make=lambda n, rng: rng.random(n))    functions of your own, as for `sweep`

Every run is recorded as `sweep` records it; one that is stopped keeps and shows what has six rounds. The measurement has a
thread of its own, so that the buttons answer meanwhile. The notebook file keeps no state, only one line: figures live in
the widgets.
Raises `PerflibError`, one line, where ipywidgets is not installed.
"""

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from .display.figure import Picture
from .display.text import on_one_line
from .errors import PerflibError
from .kernels.catalog import KERNELS, known
from .kernels.peers import LIBRARIES, installed
from .runs.recorder import StopEarly
from .studies import grid_figures
from .sweeps.result import Sweep
from .sweeps.sweep import sweep

TOPIC = "explore"
PAUSE_S = 0.02  # compiled loops hold the interpreter: between two rounds it is the buttons' turn
STOPPING = "stopping after this round"
LINE = "perflib.explore(): controls, as long as the kernel of this notebook runs"


class Explorer:
    """The controls, the thread that measures, and the results so far."""

    def __init__(
        self, functions: Mapping[str, Callable[..., Any]] | None = None, make: Callable[..., Any] | None = None
    ) -> None:
        try:
            import ipywidgets as widgets  # the extra `lab`
        except ImportError:
            raise PerflibError("ipywidgets is not installed; install it: pip install 'perflib[lab]'") from None
        self.results: list[str] = []
        self._functions, self._make = functions or {}, make
        self._stop, self._thread = threading.Event(), None
        names, chosen = (list(functions), list(functions)) if functions else (_offered(), ["matmul_ikj"])
        self.kernels = widgets.SelectMultiple(options=names, value=chosen, description="kernels", rows=8)
        self.sizes = widgets.Text("64, 96, 128, 192, 256", description="sizes")
        self.tile = widgets.Text("", description="tile", placeholder="default; or 16, 32, 64")
        how = "default: kernel where it is compiled, else call; call: from Python"
        self.scope = widgets.Dropdown(options=("default", "kernel", "call"), description="scope", tooltip=how)
        self.dtype = widgets.Dropdown(options=("float32", "float64"), description="dtype")
        self.threads = widgets.BoundedIntText(1, min=1, max=256, description="threads")
        self.seconds = widgets.BoundedFloatText(3.0, min=0.01, max=600, description="seconds")
        self.run = widgets.Button(description="Run", tooltip="measure what is chosen")
        self.stop = widgets.Button(description="Stop", disabled=True, tooltip="end the measurement after this round")
        self.clear = widgets.Button(description="Clear", tooltip="remove what is shown below; the recorded runs stay")
        self.progress = widgets.FloatProgress(0.0, min=0.0, max=1.0, description="progress")
        self.status = widgets.Label("choose and run")
        self.shown = widgets.VBox()
        for name in ("run", "stop", "clear", "progress", "status"):
            getattr(self, name).add_class(f"perflib-explore-{name}")
        self.run.on_click(lambda _: self.start())
        self.stop.on_click(lambda _: self._end())
        self.clear.on_click(lambda _: setattr(self.shown, "children", ()))
        columns = (self.kernels, self.sizes, self.tile), (self.scope, self.dtype, self.threads, self.seconds)
        choices = widgets.HBox([*map(widgets.VBox, columns)])
        buttons = widgets.HBox([self.run, self.stop, self.clear])
        self.box = widgets.VBox([choices, buttons, self.progress, self.status, self.shown])
        self._widgets = widgets

    def _repr_mimebundle_(self, **kwargs: object) -> Any:
        return self.box._repr_mimebundle_(**kwargs) | {"text/plain": LINE}

    def start(self) -> None:
        """Measure what is chosen, in a thread; nothing happens while one is at it."""
        if self._thread and self._thread.is_alive():
            return
        self._stop.clear()
        self.run.disabled, self.stop.disabled, self.progress.value = True, False, 0.0
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _end(self) -> None:
        """Say at once that the measurement will end; it ends after the round that runs."""
        self.status.value = STOPPING
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> None:
        """Until the measurement is over."""
        if self._thread:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            with warnings.catch_warnings(record=True) as notices:
                warnings.simplefilter("always", UserWarning)
                self.status.value = "compiling and checking"
                result = sweep(progress=self._advance, **self._settings())
            self.results.append(result.run.id)
            self._show(result)
            state = "stopped, what has six rounds is kept" if self._stop.is_set() else "done"
            self.status.value = on_one_line("; ".join([state, self.results[-1], *(str(w.message) for w in notices)]))
        except Exception as problem:  # whatever it is, the buttons work again
            is_known = isinstance(problem, (PerflibError, ValueError, TypeError))
            self.status.value = on_one_line(problem if is_known else f"{type(problem).__name__}: {problem}")
        finally:
            self.run.disabled, self.stop.disabled = False, True

    def _advance(self, share: float) -> None:
        """Called after each step."""
        if self._stop.wait(PAUSE_S):
            raise StopEarly
        if share and not self.progress.value and not self._stop.is_set():
            self.status.value = "measuring"
        self.progress.value = share

    def _settings(self) -> dict[str, Any]:
        settings = {name: getattr(self, name).value for name in ("dtype", "threads")}
        settings["scope"] = None if self.scope.value == "default" else self.scope.value
        settings |= {"kernels": list(self.kernels.value), "sizes": _whole("sizes", self.sizes.value), "name": TOPIC}
        if self._functions:
            own = {name: self._functions[name] for name in self.kernels.value}
            settings |= {"kernels": own, "make": self._make}
        tiles = _whole("tile", self.tile.value)
        return settings | {"budget_s": self.seconds.value} | ({"tile": tiles} if tiles else {})

    def _show(self, result: Sweep) -> None:
        """Figures, times, speed-ups and growth of a run above what was shown before."""
        if self._functions:
            self._add([result.plot()], result, result.growth())
            return
        run = result.run
        pictures = [*grid_figures.growths(run, TOPIC)]
        pictures += [draw(run, TOPIC) for draw in (grid_figures.times, grid_figures.rates, grid_figures.roofline)]
        pictures.append(grid_figures.heat_map(run, TOPIC, "tile"))
        self._add(pictures, result, result.growth(), grid_figures.grid_table(run, TOPIC))

    def _add(self, pictures: Sequence[Any], *tables: Any) -> None:
        """Those of the pictures that there are, each with its sentence, and tables."""
        parts = []
        for picture in pictures:
            if isinstance(picture, Picture):
                image = self._widgets.Image(value=picture.png, format="png", width=picture.size[0])
                parts += [image, self._widgets.HTML(f"<p>{escape(picture.alt)}</p>")]
        parts += [self._widgets.HTML(table._repr_html_()) for table in tables]
        self.shown.children = (self._widgets.VBox(parts), *self.shown.children)


def _offered() -> list[str]:
    """Described kernels, those of the user first; without those of libraries that are not installed."""
    absent = tuple(f"{name}_" for name in LIBRARIES.keys() - installed().keys())
    names = [name for name in known() if not name.startswith(absent)]
    return sorted(names, key=lambda name: name in KERNELS)


def _whole(name: str, text: str) -> list[int]:
    """`64, 128` as numbers; nothing is no number."""
    words = text.replace(",", " ").split()
    if wrong := [word for word in words if not word.isdecimal()]:
        raise ValueError(f"{name} must be whole numbers, got {wrong[0]!r}")
    return [int(word) for word in words]


def explore(functions: Mapping[str, Callable[..., Any]] | None = None, make: Callable[..., Any] | None = None) -> Explorer:
    """Show controls over `sweep` and its figures, as the last line of a cell; needs ipywidgets.

    functions, make: functions by name and what makes their arguments, as for `sweep`; without them the described kernels.
    """
    return Explorer(functions, make)
