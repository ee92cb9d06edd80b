"""`perflib new`: a copy that measures, and refusals of one line."""

import os

import nbformat
import pages
import pytest

from perflib import cli
from perflib.errors import ReportError
from perflib.files import NOTEBOOKS
from perflib.report import new_notebook
from perflib.report.new_notebook import copy_template
from perflib.report.notebooks import execute_all


def cells(path):
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


def test_the_copy_measures_where_the_template_reads_the_recorded_run(tmp_path):
    copied, original = cells(copy_template("mine", tmp_path)), cells(new_notebook.TEMPLATE)

    assert copied.keys() == original.keys()
    assert copied["measured"].source.count("perflib.sweep([kernel]") == 2
    assert not any("load_run()" in cell.source or "recorded run" in cell.source for cell in copied.values())
    assert "`mine.html`" in copied["opening"].source
    assert 'write_page("mine.html"' in copied["page"].source
    written_by_its_user = "kernel", "inputs-and-oracle", "description"
    assert [name for name in written_by_its_user if copied[name].source != original[name].source] == []


def test_only_the_three_cells_to_replace_and_the_text_above_them_know_the_stencil(tmp_path):
    code = {name: cell.source for name, cell in cells(copy_template("mine", tmp_path)).items() if cell.cell_type == "code"}

    assert {name for name, source in code.items() if "stencil" in source} == {"kernel", "inputs-and-oracle", "description"}
    assert {name for name, source in code.items() if '"mine' in source} >= {"measured", "table", "times", "growth", "map"}


def test_the_copy_has_no_outputs_and_is_a_valid_notebook(tmp_path):
    notebook = nbformat.read(copy_template("mine", tmp_path), as_version=4)

    nbformat.validate(notebook)
    assert all((c.outputs, c.execution_count) == ([], None) for c in notebook.cells if c.cell_type == "code")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            compile(cell.source, cell.id, "exec")


def test_the_copy_leads_to_nothing_that_is_only_in_the_repository(tmp_path):
    assert [cell.source for cell in cells(copy_template("mine", tmp_path)).values() if ".ipynb" in cell.source] == []


@pytest.mark.slow
def test_the_copy_runs_in_an_empty_folder_and_ends_in_its_own_page(tmp_path):
    (folder := tmp_path / "empty").mkdir()
    path = copy_template("mine", folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERFLIB")}

    ((_, notebook),) = execute_all([path], {**kept, "TMPDIR": str(tmp_path), "PERFLIB_DATA": str(tmp_path / "data")})

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert sorted(file.name for file in path.parent.iterdir()) == ["mine.html", "mine.ipynb"]
    assert pages.problems(path.with_name("mine.html")) == []
    assert path.with_name("mine.html").read_text().count("<figure>") == 3
    assert not (tmp_path / "data" / "runs").exists(), "what an executed notebook records is removed"


@pytest.mark.parametrize(
    "name", ["", "../x", "a b", ".hidden", "-x", "x.ipynb", "a/b", "x\ny", "<script>", "blocks", "summary"]
)
def test_a_bad_name_is_refused_and_nothing_is_written(tmp_path, name, refused):
    with refused(ReportError, "name must be letters, digits, - and _", f"got {name!r}"):
        copy_template(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_as_it_is(tmp_path, refused):
    (tmp_path / "mine.ipynb").write_text("mine")

    with refused(ReportError, "mine.ipynb is there already"):
        copy_template("mine", tmp_path)
    assert (tmp_path / "mine.ipynb").read_text() == "mine"


def test_a_folder_that_is_not_there_and_a_missing_template_are_said(tmp_path, monkeypatch, refused):
    with refused(ReportError, "cannot write", "No such file or directory"):
        copy_template("mine", tmp_path / "nowhere")
    monkeypatch.setattr(new_notebook, "TEMPLATE", tmp_path / "none.ipynb")
    with refused(ReportError, "the template is not installed", "No such file or directory"):
        copy_template("mine", tmp_path)


def test_the_command_prints_the_path_and_refuses_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(new_notebook, "MINE", tmp_path / "my-notebooks")
    path = tmp_path / "my-notebooks" / "mine.ipynb"

    assert cli.run(["new", "mine"]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert cli.run(["new", "mine"]) == 1
    assert capsys.readouterr().err == f"perflib: {path} is there already; choose another name\n"


def test_notebooks_of_the_reader_are_ignored_by_git_and_lie_beside_ours():
    """So no test, report or execution of the project's notebooks meets them."""
    assert NOTEBOOKS.with_name("my-notebooks") == new_notebook.MINE
    assert "my-notebooks/" in (NOTEBOOKS.parent / ".gitignore").read_text().splitlines()
