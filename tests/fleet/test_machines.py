"""Machines side by side: verdicts and shares of each one's own limits, and none of a machine that is not usable."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from runs import isolate
from synthetic import HERE, cell, full, limits, matmul, noisy, record, timing

from perflib import cli
from perflib.errors import RunError
from perflib.fleet.machines import FleetSweep, best_shares, folder_of, load_fleet, not_usable, on_most, shares_of_many
from perflib.sweeps.axes import axis
from perflib.sweeps.result import Sweep

OTHER = replace(HERE, cpu="Other <b>chip</b>\nof two lines", caches=())


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path / "data", monkeypatch)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "fleet"


def put(home, name, run):
    """A run in the folder of a machine."""
    folder = folder_of(home, name)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(run.path, folder / run.id)
    return folder / run.id


def journal(home, **machines):
    home.mkdir(exist_ok=True)
    jobs = {"j": {"kind": "record", "machines": machines}}
    (home / "fleet.json").write_text(json.dumps({"schema": 1, "id": "x", "jobs": jobs}))


def gone(problem, run=""):
    return {"state": "gone", "run": run, "problem": problem}


def disturbed(spread=0.5):
    """A run whose reference loop moves."""
    times = 2.0 * np.exp(spread * np.random.default_rng(0).standard_normal(12))
    topic, block, cells = matmul(sizes=(64,))
    return record(*limits(), *timing(), (topic, block, [*cells, cell("canary", "", times)]))


def test_claims_shares_and_tiles_of_two_machines(home):
    put(home, "one", full())
    put(home, "two", full(machine=replace(HERE, cpu="Another"), matmul=[matmul(naive=10.0, tiled=20.0)]))

    fleet = load_fleet(home)

    assert fleet.headline == "2 machines, 2 usable."
    facts, claims, shares, tiles = fleet.tables()
    assert [row[0] for row in facts.rows] == ["one", "two"]
    assert claims.header == ("id", "claim", "one", "two", "in all")
    assert all(row[-1] for row in claims.rows)
    by_kernel = {row[0]: row[1:] for row in shares.rows}
    assert by_kernel["matmul_tiled"] == ("2 %", "20 %")
    assert tiles.rows[0][1].startswith("32")


def test_shares_are_of_the_runs_own_peak():
    assert best_shares(record(*limits(50.0), matmul(tiled=10.0)))["matmul_tiled"] == pytest.approx(0.2, rel=0.03)
    assert best_shares(record(matmul())) == {}, "no peak, no share"


def test_a_machine_whose_reference_loop_moves_shows_nothing_but_the_reason(home):
    put(home, "one", full())
    put(home, "restless", disturbed())

    fleet = load_fleet(home)

    assert [one.name for one in fleet.usable] == ["one"]
    assert "not usable: the reference loop moved" in str(fleet)
    assert fleet.claims().header == ("id", "claim", "one", "in all")


def test_a_machine_that_finds_differences_where_none_are_is_not_usable():
    twins = [
        cell(name, 512, noisy(ns, 0.001), rows=1) for name, ns in (("rms_norm_fast", 64), ("rms_norm_fast (again)", 66))
    ]
    blocks = [("timing", f"a-a {i:02}", twins) for i in range(5)]

    assert "not usable: 5 of 5 comparisons of a kernel with itself" in not_usable(record(*blocks))
    assert not_usable(full()) == ""


def test_half_a_fleet_is_shown_with_the_reasons_for_the_rest(home):
    put(home, "one", full())
    broken = put(home, "broken", full())
    (broken / "matmul.csv").write_text("torn")
    journal(home, one={"state": "done", "run": "x", "problem": ""}, lost=gone("no sign of progress in 900 s"))

    text = str(load_fleet(home))

    assert "3 machines, 1 usable." in text
    assert "gone: no sign of progress in 900 s" in text
    assert "damaged: " in text
    assert "checksum differs" in text


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".", "ä «ö» \n", "x" * 300, "-", "con", "a b"])
def test_names_of_any_characters_have_folders_of_their_own_inside(tmp_path, name):
    folder = folder_of(tmp_path, name)

    assert folder.parent == tmp_path
    assert folder.name not in ("", ".", "..")
    assert len(folder.name) < 80
    folder.mkdir()
    assert folder_of(tmp_path, name + "!") != folder


def test_the_name_of_a_machine_comes_back_from_the_journal(home):
    put(home, "a/b «c»", full())
    journal(home, **{"a/b «c»": {"state": "done", "run": "x", "problem": ""}})

    assert [one.name for one in load_fleet(home).machines] == ["a/b «c»"]


def test_a_machine_without_known_caches_and_with_a_hostile_name_is_shown(home):
    put(home, "one", full(machine=OTHER))

    fleet = load_fleet(home)

    assert "unknown" in str(fleet)
    assert "<b>" not in fleet._repr_html_()
    assert "Other <b>chip</b> of two lines" in str(fleet)


def test_a_folder_of_runs_is_a_fleet_too(home):
    home.mkdir()
    shutil.copytree((run := full()).path, home / run.id)

    assert [one.name for one in load_fleet(home).machines] == [run.id]


def test_an_empty_folder_says_what_to_do(home, refused, capsys):
    with refused(RunError, "has no recordings", "perflib fleet record --scheduler"):
        load_fleet(home)
    assert cli.run(["fleet", "show", str(home)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_shows_a_folder_and_writes_a_page(home, tmp_path, capsys):
    put(home, "one", full())

    assert cli.run(["fleet", "show", str(home), "--html", str(tmp_path / "fleet.html")]) == 0
    assert capsys.readouterr().out.startswith("1 machines, 1 usable.")
    assert "1 machines, 1 usable." in (tmp_path / "fleet.html").read_text()


def test_how_many_agree():
    assert on_most(["faster"] * 11 + ["unresolved"]) == "faster on 11 of 12, unresolved on 1"
    assert on_most(["", "HOLDS"]) == "HOLDS on 1 of 2"
    assert on_most([]) == ""


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


def test_many_machines_are_judged_by_their_summaries_alone(home):
    paths = [put(home, name, full()) for name in ("one", "two", "three")]
    for path in paths:
        (path / "matmul.csv").unlink()
    (paths[2] / "summary.csv").write_text("changed")

    shares = shares_of_many(paths)

    assert shares["matmul_tiled"].round(2).tolist()[:2] == [0.02, 0.02]
    assert shares["problem"].tolist()[:2] == ["", ""]
    assert "checksum differs" in shares["problem"].iloc[2]
