"""A sweep on many machines: judged on each by itself, and no time of one beside that of another."""

import pytest
from runs import isolate
from synthetic import cell, noisy, record

from perflib.fleet.machines import FleetSweep
from perflib.sweeps.axes import axis
from perflib.sweeps.result import Sweep


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path / "data", monkeypatch)


def test_a_sweep_is_judged_on_each_machine_by_itself():
    """On the second everything takes ten times as long; the ratio inside is what counts."""
    runs = {}
    for name, factor in (("one", 1.0), ("two", 10.0)):
        cells = [
            cell(kernel, n, noisy(factor * ns * n, 0.002), "call")
            for kernel, ns in (("a", 100), ("b", 50))
            for n in (8, 16)
        ]
        cells.append(cell("canary", "", [2.0] * 12))
        run = record(("sweep", "all sizes", cells), processes=1)
        runs[name] = Sweep(run, "sweep", {"a": "a", "b": "b"}, {"n": axis("n", [8, 16])})

    found = FleetSweep(runs, {"three": "gone"})

    for cells in found.verdicts().values():
        assert {name: verdict for name, (_, verdict) in cells.items()} == {"one": "faster", "two": "faster"}
        assert all(0.49 < ratio.value < 0.51 for ratio, _ in cells.values())
    assert {row[-1] for row in found.table().rows} == {"faster on 2 of 2"}
    assert "three: gone" in str(found)
    assert found._repr_html_().startswith("<p>2 machines.</p><p>three: gone</p><table>")
