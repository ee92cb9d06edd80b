"""Ask many machines one question, over a Dask cluster: `pip install 'perflib[fleet]'`.

    fleet = perflib.fleet.record(client)                            one recording on each machine
    perflib.fleet.sweep(client, {"a": f, "b": g}, sizes, make=...)  functions of yours, compared on each machine
    perflib.fleet.simulate({"small": caches}, sizes=[128, 256])     misses and best tiles in caches of any machine

A machine takes part with one worker, `perflib fleet worker ADDRESS`. It measures in child processes of that worker, one at
a time, and keeps its recording on its own disk; perflib collects and checks it. Dask unpickles what it receives: whoever
reaches the scheduler runs code on every worker. So perflib wants TLS, or a scheduler on this machine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..studies.machines import load_fleet as load_fleet
    from .counting import simulate as simulate
    from .gather import record as record
    from .gather import sweep as sweep

_HOMES = {"record": ".gather", "sweep": ".gather", "simulate": ".counting", "load_fleet": "..studies.machines"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'perflib.fleet' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
