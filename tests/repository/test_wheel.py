"""A wheel is whole: far from the clone it records, reports, and has the notebooks and the reference run."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pages
import pytest

from perflib import cli, files
from perflib.errors import PerflibError, ReportError
from perflib.report.new_notebook import copy_notebooks

ROOT = Path(__file__).parents[2]
(REFERENCE,) = (path.name for path in (ROOT / "data" / "reference").iterdir())
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
BUILT_FROM = ("perflib", "data", "notebooks", "pyproject.toml", "README.md", "LICENSE")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", ".ipynb_checkpoints", "*.html")
PROGRAM = """
import perflib
from perflib import files
from perflib.studies.published import published_figures
from perflib.studies.summary import judge_all

run = perflib.load_run()
print(run.id, len(run.samples("matmul")) > 100, len(judge_all(run)), len(published_figures("matmul_tiled")))
print(perflib.__file__, files.SCALING_CASES.is_dir(), files.README.exists())
"""


def built(folder):
    """The wheel of a copy of the tree, with a recorded run in it that nobody else should get."""
    source = folder / "source"
    source.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=LEFT_OUT)
        else:
            shutil.copy(ROOT / name, source)
    (source / "data" / "runs" / "20260101T000000Z-mine-quick").mkdir(parents=True, exist_ok=True)
    (source / "data" / "runs" / "20260101T000000Z-mine-quick" / "run.json").write_text("{}")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(*words):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Installed:
    """A wheel in an environment of its own, which finds the libraries of this one; commands run in an empty folder."""

    def __init__(self, wheel, folder):
        self.folder, environment = folder / "mine", folder / "environment"
        self.folder.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        self.bin = environment / "bin"
        pip("--python", self.bin / "python", "install", "--no-deps", wheel)
        (self.site,) = environment.glob("lib/python*/site-packages")
        (self.site / "libraries.pth").write_text(sysconfig.get_path("purelib"))  # its own .pth files are not read
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERFLIB", "PYTHON", "XDG"))}
        temporary = folder / "temporary"
        temporary.mkdir()
        self.environment = kept | {
            "HOME": str(self.folder),
            "TMPDIR": str(temporary),
            "JUPYTER_PATH": f"{sys.prefix}/share/jupyter",
        }

    def run(self, program, *words):
        """Status, stdout and stderr."""
        command = [self.bin / program, *words]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def perflib(self, *words):
        """What a command prints; it must succeed."""
        status, printed, errors = self.run("perflib", *words)
        assert status == 0, errors
        return printed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


@pytest.mark.slow
def test_the_wheel_has_the_notebooks_and_the_reference_run_and_none_of_this_clone(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert [name for name in names if "-mine-" in name or "/runs/2" in name or "tests" in name] == []
    assert sorted(Path(name).name for name in names if name.startswith("perflib/notebooks/")) == NOTEBOOKS
    carried = {Path(name).name for name in names if name.startswith(f"perflib/schemas/reference/{REFERENCE}/")}
    assert carried == {file.name for file in (ROOT / "data" / "reference" / REFERENCE).iterdir()}
    assert wheel.stat().st_size < 6_000_000


@pytest.mark.slow
def test_an_installed_perflib_has_its_reference_run_and_lists_it(installed):
    status, printed, errors = installed.run("python", "-c", PROGRAM)

    assert status == 0, errors
    first, second = printed.splitlines()
    assert first == f"{REFERENCE} True 10 4"
    assert second == f"{installed.site / 'perflib' / '__init__.py'} True False"
    assert installed.perflib("runs").startswith(f"{REFERENCE}  reference  complete")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["readme"], ["execute"]])
def test_what_needs_a_clone_says_so_at_once(installed, words):
    status, printed, errors = installed.run("perflib", *words)

    assert (status, printed) == (1, "")
    assert errors.startswith("perflib: perflib ")
    assert errors.endswith("clone the repository\n")
    assert errors.count("\n") == 1


@pytest.mark.slow
def test_an_installed_perflib_copies_its_notebooks(installed):
    (stub := installed.site / "jupyterlab").mkdir()
    (stub / "__init__.py").touch()
    (stub / "__main__.py").write_text("import sys; print(*sys.argv[1:])")

    assert installed.perflib("new", "mine") == "my-notebooks/mine.ipynb\n"
    where, opened = installed.perflib("lab", "here").splitlines()
    assert where == f"notebooks are in {installed.folder / 'here'}"
    assert f"--ServerApp.root_dir={installed.folder / 'here'}" in opened.split()
    assert sorted(path.name for path in (installed.folder / "here").iterdir()) == NOTEBOOKS


@pytest.mark.slow
def test_an_installed_perflib_records_and_reports(installed):
    before = sorted(installed.site.rglob("*.*[!c]"))

    recorded = Path(installed.perflib("record", "--quick").strip())
    report = installed.perflib("report")
    single = installed.perflib("report", "--single-file", REFERENCE)

    assert recorded.is_relative_to(installed.folder / ".local" / "share" / "perflib" / "runs")
    assert report == f"{installed.folder / 'reports' / 'index.html'}\n"
    assert single == f"{installed.folder / REFERENCE}.html\n"
    assert pages.problems(Path(single.strip())) == []
    assert [problem for page in (installed.folder / "reports").glob("*.html") for problem in pages.problems(page)] == []
    assert "1 recording" in installed.perflib("history")
    assert recorded.name in installed.perflib("runs")
    assert sorted(installed.site.rglob("*.*[!c]")) == before, "nothing is written beside the package but compiled code"


def test_lab_copies_the_notebooks_and_opens_them_there(tmp_path, monkeypatch, capsys):
    commands = []
    monkeypatch.setattr(os, "execve", lambda program, words, environment: commands.append(words))

    assert cli.run(["lab", str(tmp_path / "mine")]) == 0

    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == NOTEBOOKS
    (words,) = commands
    assert words[1:4] == ["-P", "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={tmp_path / 'mine'}" in words
    assert capsys.readouterr().out == f"notebooks are in {tmp_path / 'mine'}\n"


def test_lab_keeps_a_notebook_that_its_user_changed(tmp_path):
    folder = copy_notebooks(tmp_path)
    (folder / "01-timing.ipynb").write_text("mine")

    copy_notebooks(tmp_path)

    assert (folder / "01-timing.ipynb").read_text() == "mine"


def test_notebooks_that_cannot_be_written_are_one_line(tmp_path, refused):
    (tmp_path / "file").touch()

    with refused(ReportError, "cannot write", "file", "File exists"):
        copy_notebooks(tmp_path / "file")


def test_without_jupyterlab_lab_says_how_to_install_it_and_copies_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)

    assert cli.run(["lab", str(tmp_path / "mine")]) == 1
    assert capsys.readouterr().err == "perflib: JupyterLab is not installed; install it: pip install 'perflib[lab]'\n"
    assert not (tmp_path / "mine").exists()


def test_an_installed_perflib_refuses_what_changes_a_clone(monkeypatch, refused):
    monkeypatch.setattr(files, "IS_CLONE", False)

    with refused(PerflibError, "perflib readme changes files of a clone of perflib", "clone the repository"):
        files.require_clone("perflib readme")


def test_the_reference_runs_of_an_installed_perflib_are_those_of_the_data_folder_if_it_has_some(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "IS_CLONE", False)
    monkeypatch.setenv("PERFLIB_DATA", str(tmp_path))
    assert files.reference_folder() == files.CARRIED / "reference"

    (tmp_path / "reference").mkdir()
    assert files.reference_folder() == tmp_path / "reference"
