"""Notebooks executed in place: cleanly, all or none, the same bytes each time."""

import json
import os

import nbformat
import pytest
from handmade import ALT, digests, show, write

from perflib.errors import ReportError
from perflib.report.notebooks import METADATA, execute_all, execute_in_place


def test_a_second_execution_in_place_changes_no_byte(tmp_path, monkeypatch):
    monkeypatch.setenv("PERFLIB_RUN", "something")
    look = "import os\nfor i in range(3):\n    print(i, end=' ', flush=True)\nprint(os.environ.get('PERFLIB_RUN'))"
    path = write(tmp_path, "01-a", "# Why?", look, show(), "{1: 2}")
    notebook = nbformat.read(path, 4)
    notebook.metadata = {"widgets": {"state": {}}, "language_info": {"name": "python", "version": "3.0.1"}}
    notebook.cells[1].metadata = {"tags": ["skip"], "execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"}}
    nbformat.write(notebook, path)

    execute_in_place([path])
    once = path.read_bytes()
    execute_in_place([path])

    assert path.read_bytes() == once
    assert once.endswith(b"}\n")
    done = json.loads(once)
    assert [c["id"] for c in done["cells"]] == [c["id"] for c in notebook.cells]
    assert [c["execution_count"] for c in done["cells"][1:]] == [1, 2, 3]
    assert done["cells"][1]["outputs"] == [{"name": "stdout", "output_type": "stream", "text": ["0 1 2 None\n"]}]
    assert done["cells"][2]["outputs"][0]["metadata"] == {"image/png": {"alt": ALT}}
    assert all(c["metadata"] == {} for c in done["cells"])
    assert done["metadata"] == METADATA
    assert list(tmp_path.iterdir()) == [path]


def test_cells_without_an_id_are_numbered(tmp_path):
    path = write(tmp_path, "01-a", "# Why?", "1")
    old = json.loads(path.read_text())
    for cell in old["cells"]:
        del cell["id"]
    path.write_text(json.dumps(old | {"nbformat_minor": 4}))

    execute_in_place([path])

    assert [c["id"] for c in json.loads(path.read_text())["cells"]] == ["cell-00", "cell-01"]


def test_a_notebook_whose_cell_fails_is_not_written(tmp_path, refused):
    good, bad = write(tmp_path, "01-good", "# Why?", "1"), write(tmp_path, "02-bad", "# Why?", "1 / 0")
    before = digests(tmp_path)

    with refused(ReportError, "02-bad.ipynb, cell [1]: ZeroDivisionError: division by zero"):
        execute_in_place([good, bad])

    assert digests(tmp_path) == before


@pytest.mark.parametrize("content", ["", "{}", '{"cells": [{}]}', "[]"])
def test_a_file_that_is_no_notebook_is_refused_by_name(tmp_path, content, refused):
    (tmp_path / "01-torn.ipynb").write_text(content)

    with refused(ReportError, "01-torn.ipynb: cannot be read as a notebook"):
        execute_in_place([tmp_path / "01-torn.ipynb"])


def test_notebooks_run_side_by_side_and_come_back_in_order(tmp_path):
    """Each waits for a file that the other writes: one after the other, neither would end."""
    wait = "import pathlib, time\npathlib.Path('{}').touch()\nwhile not pathlib.Path('{}').exists(): time.sleep(0.01)\n'{}'"
    cells = {"01-a": wait.format("a", "b", "a"), "02-b": wait.format("b", "a", "b")}
    paths = [write(tmp_path, name, "# Why?", source) for name, source in cells.items()]

    results = execute_all(paths, os.environ)

    assert [path for path, _ in results] == paths
    assert [notebook.cells[1].outputs[0].data["text/plain"] for _, notebook in results] == ["'a'", "'b'"]


def test_where_one_notebook_fails_the_kernels_of_the_others_are_killed(tmp_path, refused):
    lasting = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(300)"
    failing = "import pathlib, time\nwhile not pathlib.Path('pid').exists():\n    time.sleep(0.01)\nraise ValueError('no')"
    paths = [write(tmp_path, "01-lasting", "# A?", lasting), write(tmp_path, "02-failing", "# B?", failing)]

    with refused(ReportError, "02-failing.ipynb, cell [1]: ValueError: no"):
        execute_all(paths, os.environ)

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
