"""The page of a fleet: a column for each usable machine, the reason for any other, in a report without faults."""

import re
from dataclasses import replace

import handmade
import pages
import pytest
from runs import isolate
from synthetic import HERE, full, matmul

from perflib import cli
from perflib.report import build
from perflib.report.fleet_page import fleet_page
from perflib.studies.machines import Fleet, FleetMachine, load_fleet

HOSTILE = "<b>node</b>"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        isolate(tmp_path_factory.mktemp("data"), patch)
        other = full(machine=replace(HERE, cpu="Another", caches=HERE.caches[:1]), matmul=[matmul(naive=10.0, tiled=20.0)])
        machines = FleetMachine("one", full()), FleetMachine(HOSTILE, other), FleetMachine("lost", None, "gone: no sign")
        return Fleet(tmp_path_factory.mktemp("fleet"), machines)


@pytest.fixture(scope="module")
def built(fleet, tmp_path_factory):
    """A report of one notebook that is not executed, and the same as one file."""
    folder = tmp_path_factory.mktemp("built")
    notebook = handmade.write(folder / "notebooks", "01-first", "# Why?\n\nSo.")
    with pytest.MonkeyPatch.context() as patch:
        handmade.findings(patch)
        patch.setattr(build, "execute_all", lambda paths, _: [(path, handmade.nbformat.read(path, 4)) for path in paths])
        run = handmade.run(folder)
        build.build_single(run, folder / "single.html", notebook.parent, fleet)
        return build.build(run, folder / "reports", notebook.parent, fleet).parent


def test_it_is_a_page_of_the_report_without_faults(built):
    assert pages.problems(built / "fleet.html") == []
    assert 'href="fleet.html"' in (built / "index.html").read_text()
    single = (built.parent / "single.html").read_text()
    assert 'id="fleet"' in single
    assert "What do 3 machines say?" in single


def test_it_says_which_machine_which_tile_how_fast_what_holds_and_what_differs(fleet):
    body = fleet_page(fleet).body

    headings = re.findall(r"<h2[^>]*>([^<]+)", body)
    assert [heading.partition(" ")[0] for heading in headings] == ["Which", "Which", "How", "Which", "What"]
    assert body.startswith('\n<p class="lede">3 machines, 2 usable.')
    assert "gone: no sign" in body
    assert body.count("<figure") == 1
    assert re.search(r"matmul_tiled</td>\s*<td[^>]*>2 %</td>\s*<td[^>]*>20 %</td>", body)
    assert re.search(r"L2</td>\s*<td[^>]*>[^<]+</td>\s*<td[^>]*></td>", body), "the other has no L2"
    assert [entry["text"] for entry in fleet_page(fleet).toc] == headings


def test_names_of_machines_are_escaped_everywhere(built):
    text = (built / "fleet.html").read_text()

    assert HOSTILE not in text
    assert "&lt;b&gt;node&lt;/b&gt;" in text


def test_a_fleet_without_a_usable_machine_says_why(fleet):
    page = fleet_page(Fleet(fleet.folder, fleet.machines[2:]))

    assert "gone: no sign" in page.body
    assert "<figure" not in page.body


@pytest.mark.parametrize("words", [[], ["--single-file"]])
def test_the_command_adds_the_page_of_a_folder(words, tmp_path, monkeypatch, capsys):
    isolate(tmp_path, monkeypatch)
    run = full()
    for name in ("build", "build_single"):
        monkeypatch.setattr(build, name, lambda run, fleet, name=name: f"{name} {run.id} {fleet.headline}")

    assert cli.run(["report", *words, "--fleet", str(run.path.parent), str(run.path)]) == 0

    kind = "build_single" if words else "build"
    assert capsys.readouterr().out == f"{kind} {run.id} {load_fleet(run.path.parent).headline}\n"


def test_the_command_refuses_a_folder_without_recordings(tmp_path, capsys):
    assert cli.run(["report", "--fleet", str(tmp_path)]) == 1
    assert "has no recordings" in capsys.readouterr().err
