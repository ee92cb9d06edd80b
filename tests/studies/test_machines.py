"""Machines side by side: verdicts and shares of each one's own limits, and none of a machine that is not usable."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from runs import isolate
from synthetic import HERE, cell, full, limits, matmul, noisy, record, timing

from perflib import cli
from perflib.display.table import Missing
from perflib.errors import RunError
from perflib.models.cache_model import tile_limit
from perflib.models.geometry_counts import load_counts
from perflib.runs.integrity import digest
from perflib.studies import machines
from perflib.studies.machines import best_shares, folder_of, known_machines, load_fleet, not_usable, on_most, shares_of_many

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
    facts, claims, shares, tiles, differences = fleet.tables()
    assert [row[0] for row in facts.rows] == ["one", "two"]
    assert claims.header == ("id", "claim", "one", "two", "in all")
    assert all(row[-1] for row in claims.rows)
    by_kernel = {row[0]: row[1:] for row in shares.rows}
    assert by_kernel["matmul_tiled"] == ("2 %", "20 %")
    assert tiles.rows[0][1].startswith("32")
    assert [row[0] for row in differences.rows] == ["CPU"]


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


def test_a_run_whose_rows_cannot_be_spoils_no_fleet(home):
    put(home, "one", full())
    path = put(home, "two", full(machine=OTHER))
    lines = (path / "matmul.csv").read_text().splitlines(keepends=True)
    (path / "matmul.csv").write_text("".join([*lines[:-2], lines[-1], lines[-2]]))
    (path / "SHA256SUMS").write_text("".join(f"{digest(f.read_bytes())}  {f.name}\n" for f in path.glob("[!S]*")))

    text = str(load_fleet(home))

    assert "2 machines, 1 usable." in text
    assert "damaged: " in text
    assert "matmul.csv: row " in text


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

    assert [one.name for one in load_fleet(home).machines] == [HERE.cpu]


def test_of_the_runs_of_one_machine_the_newest_that_counts_speaks_for_it(home):
    """Three of one machine, the newest disturbed, a sweep, and one of another machine with the same name."""
    others = [full(), full(), full(), disturbed(), full(machine=replace(HERE, logical_cpus=64))]
    for number, run in enumerate(others, start=1):
        shutil.copytree(run.path, home / f"2026010{number}T000000Z-chip-quick")
    shutil.copytree(others[0].path, home / "20260109T000000Z-chip-sweep")

    fleet = load_fleet(home)

    assert {one.name: one.run.id[:8] for one in fleet.machines} == {HERE.cpu: "20260105", f"{HERE.cpu} (2)": "20260103"}
    assert fleet.headline == "2 machines, 2 usable."


def test_two_machines_of_one_kind_in_a_fleet_are_two(home):
    for name in ("one", "two"):
        put(home, name, full())

    assert load_fleet(home).headline == "2 machines, 2 usable."


def test_a_run_stands_beside_folders_and_the_reference_and_works_alone(home, data):
    run = full()
    assert known_machines(run).headline == "1 machine, 1 usable."
    shutil.copytree(full(machine=replace(HERE, cpu="Reference")).path, data / "reference" / "20260101T000000Z-r-full")
    shutil.copytree(full().path, data / "reference" / "20260102T000000Z-same-full")
    put(home, "node", full(machine=replace(HERE, cpu="Node")))
    put(home, "itself", run)

    fleet = known_machines(run, home)

    assert [one.name for one in fleet.machines] == [HERE.cpu, "node", "Reference"]
    assert fleet.machines[0].run is run


def test_what_few_or_equal_machines_cannot_show_is_said(home):
    put(home, "one", full())
    assert "One machine shows neither" in str(load_fleet(home))
    put(home, "two", full())
    assert "All caches have the same sizes" in str(load_fleet(home))
    put(home, "three", full(machine=replace(HERE, caches=HERE.caches[:1])))
    assert load_fleet(home).notes == ()


def test_only_what_differs_is_listed(home):
    put(home, "one", full())
    put(home, "two", full(machine=replace(HERE, packages={**HERE.packages, "numpy": "9.9"}, isa=("neon",))))

    rows = {row[0]: row[1:] for row in load_fleet(home).differences().rows}

    assert set(rows) == {"ISA", "numpy"}
    assert rows["numpy"][1] == "9.9"
    assert load_fleet(home).differences().header == ("what differs", "one", "two")


def test_shares_are_drawn_for_each_machine_at_the_place_of_its_kernel(home):
    put(home, "one", full())
    put(home, "two", full(machine=replace(HERE, cpu="Another"), matmul=[matmul(naive=10.0, tiled=20.0)]))

    axes = machines.shares_figure(load_fleet(home)).figure.axes[0]

    names = [label.get_text() for label in axes.get_yticklabels()]
    for line, tiled in zip(axes.lines, (2, 20), strict=True):
        by_kernel = {names[int(place)]: share for share, place in line.get_xydata()}
        assert by_kernel["tiled 64, as published"] == pytest.approx(tiled, rel=0.05)
    assert [line.get_label() for line in axes.lines] == ["one", "two"]


def test_tile_64_is_right_where_its_rows_fit(home):
    counts, fleet = load_counts(), known_machines(full())

    axes = machines.tile_64(counts, fleet).figure.axes[0]

    counted = next(line for line in axes.lines if line.get_label().startswith("counted"))
    rows, cost = np.asarray(counted.get_xydata()).T
    assert len(rows) == 250
    assert cost.min() == 1
    (measured,) = (bars for bars in axes.containers if bars.get_label() == f"measured: {HERE.cpu}")
    at, losses = np.asarray(measured.lines[0].get_xydata()).T
    assert losses == pytest.approx([1.2] * 3, rel=1e-3)
    assert at.tolist() == [tile_limit(n, 4, HERE.data_caches()[0]) for n in (128, 256, 512)]
    right = cost <= 1.05
    assert f"right in {right[rows >= 64].sum()} of {(rows >= 64).sum()} cases" in machines.tile_64(counts, fleet).alt


def test_the_table_of_tile_64_counts_geometries():
    best = load_counts().best()

    for n, right, worst, models, worst_model in machines.tile_64_table(load_counts()).rows:
        here = best[best["n"] == int(n)]
        assert right == f"{(here['loss_of_64'] <= 1.05).sum()} of 50"
        assert models == f"{(here['loss_of_model'] <= 1.05).sum()} of 50"
        assert (worst, worst_model) == (f"{here['loss_of_64'].max():.2f}", f"{here['loss_of_model'].max():.2f}")


def test_without_what_a_figure_needs_there_is_a_sentence(home):
    fleet = known_machines(record(matmul()))

    for draw in (machines.shares_figure, machines.bends):
        assert isinstance(draw(fleet), Missing), draw.__name__


def test_an_empty_folder_says_what_to_do(home, refused, capsys):
    with refused(RunError, "has no recordings", "perflib fleet record --scheduler"):
        load_fleet(home)
    assert cli.run(["fleet", "show", str(home)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_shows_a_folder_and_writes_a_page(home, tmp_path, capsys):
    put(home, "one", full())

    assert cli.run(["fleet", "show", str(home), "--html", str(tmp_path / "fleet.html")]) == 0
    assert capsys.readouterr().out.startswith("1 machine, 1 usable.")
    assert "1 machine, 1 usable." in (tmp_path / "fleet.html").read_text()


def test_how_many_agree():
    assert on_most(["faster"] * 11 + ["unresolved"]) == "faster on 11 of 12, unresolved on 1"
    assert on_most(["", "HOLDS"]) == "HOLDS on 1 of 2"
    assert on_most([]) == ""


def test_many_machines_are_judged_by_their_summaries_alone(home):
    paths = [put(home, name, full()) for name in ("one", "two", "three")]
    for path in paths:
        (path / "matmul.csv").unlink()
    (paths[2] / "summary.csv").write_text("changed")

    shares = shares_of_many(paths)

    assert shares["matmul_tiled"].round(2).tolist()[:2] == [0.02, 0.02]
    assert shares["problem"].tolist()[:2] == ["", ""]
    assert "checksum differs" in shares["problem"].iloc[2]


@pytest.mark.filterwarnings("error")
def test_long_names_of_machines_leave_a_narrow_figure_its_axes(home):
    for name in ("Intel(R) Xeon(R) Platinum 8488C CPU @ 2.40 GHz", "AMD EPYC 9R14 96-Core Processor"):
        put(home, name, full(machine=replace(HERE, cpu=name)))

    narrow = machines.shares_figure(load_fleet(home)).draw_narrow()

    assert narrow.axes[0].get_position().width > 0.5
