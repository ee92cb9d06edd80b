"""Every figure of a study by name: `FIGURES[name](run)` draws it.

draw(name, file)    draws it for the reference run and keeps it in a file, wide and narrow
both(picture)       the figure for a wide page, and that for a narrow one
texts(figure)       the texts that are drawn
"""

from dataclasses import replace
from functools import partial, wraps

import cloudpickle
from labels import drawn_texts

from perflib import load_run
from perflib.models.geometry_counts import load_counts
from perflib.studies import (
    forward_pass,
    grid_figures,
    machines,
    matmul_scaling,
    memory,
    rmsnorm,
    roofline,
    tile_size,
    timing,
)

FIGURES = {
    name: getattr(module, name)
    for module, names in (
        (matmul_scaling, "matmul_rates matmul_times matmul_growth"),
        (memory, "latency page_colours pages bandwidth_curves mountain leading chains"),
        (rmsnorm, "rms_growth rms_times rms_bandwidth rms_batch"),
        (roofline, "roofs"),
        (tile_size, "tile_map tile_losses block_map explained"),
        (timing, "scopes places self_comparisons"),
        (forward_pass, "batches"),
    )
    for name in names.split()
}
FIGURES |= {f"growth of {name}": partial(matmul_scaling.matmul_growth, kernel=name) for name in ("matmul_naive", "matmul")}
FIGURES |= {f"growth of {name}": partial(rmsnorm.rms_growth, kernel=name) for name in ("rms_norm_standard", "rms_norm")}


def of_machines(draw, *first):
    """A figure of the machine of a run, beside those of the reference."""

    @wraps(draw)
    def draw_known(run):
        return draw(*first, machines.known_machines(run))

    return draw_known


FIGURES |= {"shares": of_machines(machines.shares_figure), "bends": of_machines(machines.bends)}
FIGURES |= {"tile 64": of_machines(machines.tile_64, load_counts())}
FIGURES |= {f"{name} of stencil": partial(getattr(grid_figures, name), topic="stencil") for name in ("times", "rates")}
FIGURES |= {f"{name} 15M": partial(getattr(forward_pass, name), shape="15M") for name in ("breakdown", "gain_map")}


def drawn_by(value):
    """The module of a function that gives a Picture; None for anything else."""
    is_figure = hasattr(value, "__wrapped__") and "axes" in value.__annotations__
    return value.__module__ if is_figure else None


def draw(name, file):
    """The file with a figure of the reference run, pickled, and no run in it."""
    picture = FIGURES[name](load_run())
    narrow = picture.draw_narrow()
    file.write_bytes(cloudpickle.dumps(replace(picture, draw_narrow=lambda: narrow)))
    return file


def both(picture):
    """The figures for a wide and for a narrow page."""
    return {"wide": picture.figure, "narrow": picture.draw_narrow()}


def texts(figure):
    """The texts that are drawn."""
    return [text for axes in figure.axes for text in drawn_texts(axes)]
