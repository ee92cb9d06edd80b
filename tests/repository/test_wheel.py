"""A wheel is whole: outside of the clone its runs, notebooks and pages are there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from perflib import cli
from perflib.report.new_notebook import copy_notebooks

ROOT = Path(__file__).parents[2]
PROGRAM = """
import perflib
from pathlib import Path
from perflib import files
from perflib.report.new_notebook import copy_template
from perflib.studies.published import published_figures
from perflib.studies.summary import claims

run = perflib.load_run()
print(run.id, Path(perflib.__file__).is_relative_to({site!r}), len(run.samples("matmul")) > 100, len(claims(run)))
print(len(published_figures("matmul_tiled")), copy_template("mine"), files.SCALING_CASES.is_dir())
"""


@pytest.mark.slow
def test_a_wheel_works_outside_of_the_clone(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if "/runs/2" in name or "data/machine" in name], "no run of this clone"
    assert wheel.stat().st_size < 8 << 20
    site, home = tmp_path / "site", tmp_path / "home"
    home.mkdir()
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERFLIB")}
    alone = kept | {"PYTHONPATH": str(site), "HOME": str(home), "XDG_DATA_HOME": str(home), "TMPDIR": str(home)}

    def python(*words):
        return subprocess.run(
            [sys.executable, *words], cwd=home, env=alone, capture_output=True, text=True, check=True
        ).stdout

    (reference,) = (path.name for path in (ROOT / "data" / "reference").iterdir())
    first, second = python("-c", PROGRAM.format(site=str(site))).splitlines()
    assert first == f"{reference} True True 10"
    assert second == "4 my-notebooks/mine.ipynb True"
    assert reference in python("-m", "perflib", "runs")
    assert (
        "Models of the caches"
        in subprocess.run(
            [sys.executable, "-m", "perflib", "model"], cwd=home, env=alone, capture_output=True, text=True, check=False
        ).stdout
    )


def test_lab_copies_the_notebooks_and_opens_them_there(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(os, "execv", lambda program, words: commands.append(words))

    assert cli.run(["lab", str(tmp_path / "mine")]) == 0

    assert len(list((tmp_path / "mine").glob("*.ipynb"))) == len(list((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"))) > 8
    (words,) = commands
    assert words[1:4] == ["-P", "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={tmp_path / 'mine'}" in words


def test_lab_keeps_a_notebook_that_its_user_changed(tmp_path):
    folder = copy_notebooks(tmp_path)
    (folder / "01-timing.ipynb").write_text("mine")
    copy_notebooks(tmp_path)

    assert (folder / "01-timing.ipynb").read_text() == "mine"


def test_without_jupyterlab_lab_says_how_to_install_it_and_copies_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)

    assert cli.run(["lab", str(tmp_path / "mine")]) == 1
    assert capsys.readouterr().err == "perflib: JupyterLab is not installed; install it: pip install 'perflib[lab]'\n"
    assert not (tmp_path / "mine").exists()
