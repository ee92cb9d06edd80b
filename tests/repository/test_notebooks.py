"""The committed notebooks: clean as files, and telling the story of whatever run they are given."""

import json
import os
import re
import shutil
import socket

import nbformat
import pages
import pytest

from perflib.errors import ReportError
from perflib.report import notebooks
from perflib.report.page import ENTRANCE
from perflib.runs.store import load_run

FOLDER = notebooks.NOTEBOOKS
PATHS = sorted(FOLDER.glob("*.ipynb"))
PAGES = [path.stem for path in PATHS if path.stem != ENTRANCE]
STEMS = ["00-start-here", "01-timing", "02-matmul-scaling", "03-tile-size", "04-rmsnorm"]
STEMS += ["05-memory", "06-roofline", "08-your-kernel", "09-machines", "90-summary"]
CHECKS = re.compile(r"\b(judge_all|claims_table|settle|race|race_settings)\(|^assert ", re.M)
MEASURED = re.compile(r"\d\s*(GFLOP/s|GB/s|GiB/s|ns|us|µs|μs|ms)\b")
HOST = socket.gethostname()  # looked for unless it could be an ordinary word
PRIVATE = {
    "an address of mail": re.compile(r"[\w.]+@[\w-]+\.\w+"),
    "an address of the net": re.compile(r"\b\d+\.\d+\.\d+\.\d+\b"),
    "an address in memory": re.compile(r"\b0x[0-9a-f]{6,}"),
    "a home folder": re.compile(r"/home/|/root\b|/Users/|[A-Z]:\\"),
    "the name of this host": re.compile(rf"\b{re.escape(HOST)}\b" if re.search(r"[\d.-]", HOST) else "(?!)"),
}

each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def cells(path, kind):
    return [cell for cell in read(path).cells if cell.cell_type == kind]


def outputs(path):
    return [output for cell in cells(path, "code") for output in cell.outputs]


def test_all_notebooks_are_there():
    assert set(STEMS) <= {path.stem for path in PATHS}
    assert all(re.fullmatch(r"\d\d-[a-z-]+", path.stem) for path in PATHS)


@each_notebook
def test_every_code_cell_was_executed_in_order(path):
    counts = [cell.execution_count for cell in cells(path, "code")]

    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_the_file_is_as_perflib_execute_writes_it(path):
    notebook = read(path)

    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata == notebooks.METADATA
    assert path.read_text(encoding="utf-8") == nbformat.writes(notebook) + "\n"


@each_notebook
def test_no_cell_is_marked_skipped_or_timed(path):
    assert all(cell.metadata == {} for cell in read(path).cells)
    assert "NBVAL" not in path.read_text(encoding="utf-8")


@each_notebook
def test_cells_have_ids_that_stay(path):
    ids = [cell.id for cell in read(path).cells]

    assert len(set(ids)) == len(ids)
    assert [i for i in ids if re.match("[0-9a-f]{8}", i)] == []  # what editors draw at random


@each_notebook
def test_outputs_are_text_tables_and_pictures_only(path):
    kinds = {(o.output_type, o.get("name")) for o in outputs(path)}
    types = {name for o in outputs(path) for name in o.get("data", {})}

    assert kinds <= {("stream", "stdout"), ("display_data", None), ("execute_result", None)}
    assert types <= {"text/plain", "text/html", "text/markdown", "image/png"}


@each_notebook
def test_every_picture_says_what_is_to_be_seen(path):
    pictures = [o for o in outputs(path) if "image/png" in o.get("data", {})]

    for picture in pictures:
        assert len(picture.data["text/plain"]) >= 20
        assert picture.metadata["image/png"]["alt"] == picture.data["text/plain"]


@each_notebook
@pytest.mark.parametrize("what", PRIVATE)
def test_nothing_private_is_in_the_file(path, what):
    notebook = read(path)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("image/png", None)

    assert PRIVATE[what].findall(json.dumps(notebook, ensure_ascii=False)) == []


@each_notebook
def test_at_least_one_claim_is_checked(path):
    assert any(CHECKS.search(cell.source) for cell in cells(path, "code"))


@each_notebook
def test_cells_of_code_are_short(path):
    assert [c.source for c in cells(path, "code") if len(c.source.splitlines()) > 10 or not c.source.strip()] == []


@each_notebook
def test_it_opens_with_its_question_three_bullets_and_how_long_it_takes(path):
    opening = read(path).cells[0]

    assert opening.cell_type == "markdown"
    assert re.match(r"# .*\?\n", opening.source)
    assert len(re.findall(r"(?m)^- ", opening.source)) == 3
    assert re.search(r"this page runs in about \w+ seconds", opening.source)


@each_notebook
def test_it_ends_with_what_it_does_not_show(path):
    assert cells(path, "markdown")[-1].source.startswith("## What this does not show\n")


@each_notebook
def test_it_loads_its_run_in_the_first_cell_of_code(path):
    assert "load_run()" in cells(path, "code")[0].source


@each_notebook
def test_prose_contains_no_measured_number(path):
    assert [c.source for c in cells(path, "markdown") if MEASURED.search(c.source)] == []


def environment(tmp_path, **names):
    """The environment of a process that keeps everything it writes in a temporary folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERFLIB")}
    return {**kept, "TMPDIR": str(tmp_path), **names}


@pytest.fixture(scope="module")
def built(reported):
    return reported[1]


def test_a_run_has_a_page_for_every_notebook_but_the_first_whose_place_the_index_takes(built):
    others = {"index", "performance-guide", "glossary", "api-reference"}
    assert {page.stem for page in built.glob("*.html")} == others | set(PAGES)


@pytest.mark.parametrize("reported", [pytest.param("quick", marks=pytest.mark.slow)], indirect=True)
def test_the_whole_report_of_a_quick_run_is_smaller_than_three_megabytes(built):
    assert sum(file.stat().st_size for file in built.rglob("*") if file.is_file()) < 3_000_000


@pytest.mark.parametrize("stem", ["index", *PAGES])
def test_its_pages_are_offline_described_and_in_order(built, stem):
    assert pages.problems(built / f"{stem}.html") == []


def test_no_notebook_warns_of_anything_on_it(built):
    assert [page.name for page in built.glob("*.html") if 'class="out warned"' in page.read_text()] == []


def test_its_pages_tell_the_story_of_that_run(reported):
    run, built = reported

    assert run.id in (built / "90-summary.html").read_text().partition("<article>")[2].partition("</article>")[0]


def test_a_run_that_does_not_exist_is_said_by_the_first_cell(tmp_path, refused):
    with refused(ReportError, "00-start-here.ipynb, cell [1]: RunError: PERFLIB_RUN: no run 'nowhere'; recorded: "):
        notebooks.execute_all([FOLDER / "00-start-here.ipynb"], environment(tmp_path, PERFLIB_RUN="nowhere"))


def test_one_changed_digit_in_the_reference_data_stops_a_notebook(tmp_path, refused):
    reference = load_run().path
    copy = tmp_path / "data" / "reference" / reference.name
    shutil.copytree(reference, copy)
    samples = (copy / "rmsnorm.csv").read_text()
    at = samples.rindex(",") - 1
    digit = next(i for i in range(at, 0, -1) if samples[i].isdigit())
    (copy / "rmsnorm.csv").write_text(samples[:digit] + str((int(samples[digit]) + 1) % 10) + samples[digit + 1 :])

    with refused(ReportError, "90-summary.ipynb, cell [1]: RunError: ", "rmsnorm.csv: checksum differs"):
        notebooks.execute_all([FOLDER / "90-summary.ipynb"], environment(tmp_path, PERFLIB_DATA=str(tmp_path / "data")))
