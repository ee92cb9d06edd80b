"""What `make check` tests: each change has its tests, in the flat tree and in folders."""

import os
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path

import changed
import pytest
from changed import changed_files, changed_folders, relevant_tests

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")

IDENTITY = {f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
FILES = {
    "perflib/__init__.py": "",
    "perflib/stats.py": "",
    "perflib/runs/store.py": "",
    "data/samples.schema.json": "{}",
    "tests/support/runs.py": "",
    "tests/repository/test_notebooks.py": "",
    "tests/support/pages.py": "",
    "tests/test_face.py": "import perflib\n",
    "tests/test_stats.py": "",
    "tests/runs/test_store.py": "from perflib.runs.store import load_run\n",
    "tests/timing/test_measure.py": "def test_it():\n    from perflib import stats\n",
    "tests/report/test_page.py": "import perflib.runs.store as store\nfrom pages import page\n",
    "tests/report/test_own_page.py": "from runs import row\nfrom perflib.runs import writer\n",
}


@pytest.fixture
def git(tmp_path, monkeypatch):
    """`git(words)` in a repository with two commits, the second of which changed nothing but its README."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)

    def run(*words):
        environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", *words], cwd=tmp_path, env=environment, check=True, capture_output=True)

    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    run("init", "-b", "main")
    for number in range(2):
        (tmp_path / "README.md").write_text(str(number))
        run("add", "-A")
        run("commit", "-m", "x")
    return run


@pytest.mark.parametrize(
    ("path", "tests"),
    [
        ("perflib/stats.py", ["tests/test_stats.py", "tests/timing/test_measure.py"]),
        ("perflib/runs/store.py", ["tests/report/test_page.py", "tests/runs/test_store.py"]),
        ("perflib/runs/writer.py", ["tests/report/test_own_page.py"]),
        ("perflib/__init__.py", ["tests/test_face.py"]),
        ("perflib/report/templates/page.html.j2", []),
        ("tests/test_stats.py", ["tests/test_stats.py"]),
        ("tests/test_gone.py", []),
        ("tests/support/runs.py", ["tests/report/test_own_page.py"]),
        ("tests/support/pages.py", ["tests/report/test_page.py"]),
        ("README.md", []),
    ],
)
def test_a_file_has_the_test_of_its_name_and_those_that_import_it(tmp_path, git, path, tests):
    assert relevant_tests(tmp_path, {path}) == tests


@pytest.mark.parametrize("path", ["data/samples.schema.json", "tests/faults/faults.toml", "notebooks/10-timing.ipynb"])
def test_data_faults_and_notebooks_have_the_checks_of_the_repository(tmp_path, git, path):
    assert relevant_tests(tmp_path, {path}) == ["tests/repository"]


@pytest.mark.parametrize(
    ("path", "folders"),
    [
        ("perflib/timing/measure.py", ["tests/repository", "tests/timing"]),
        ("tests/report/test_page.py", ["tests/report", "tests/repository"]),
        ("perflib/stats.py", ["tests/repository"]),
        ("notebooks/10-timing.ipynb", ["tests/repository"]),
        ("perflib/gone/old.py", ["tests/repository"]),
        ("README.md", []),
    ],
)
def test_a_path_has_the_slow_tests_of_its_folder_and_of_the_repository(tmp_path, git, path, folders):
    assert changed_folders(tmp_path, {path}) == folders


def test_without_a_remote_the_last_commit_and_what_is_not_committed_count(tmp_path, git):
    assert changed_files(tmp_path) == {"README.md"}

    (tmp_path / "perflib" / "stats.py").write_text("x = 1\n")
    (tmp_path / "perflib" / "runs" / "new one.py").touch()
    (tmp_path / "tests" / "support" / "runs.py").unlink()
    git("add", "perflib/stats.py")
    assert changed_files(tmp_path) == {"README.md", "perflib/stats.py", "perflib/runs/new one.py", "tests/support/runs.py"}


def test_with_a_remote_everything_since_the_merge_base_counts(tmp_path, git):
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    assert changed_files(tmp_path) == set()

    for name in ("one", "two"):
        (tmp_path / name).touch()
        git("add", "-A")
        git("commit", "-m", "x")
    git("mv", "perflib/stats.py", "perflib/statistics.py")
    git("commit", "-m", "x")
    assert changed_files(tmp_path) == {"one", "two", "perflib/stats.py", "perflib/statistics.py"}


def test_a_repository_of_one_commit_counts_what_is_not_committed(tmp_path, git):
    git("checkout", "--orphan", "fresh")
    git("commit", "-m", "x")
    (tmp_path / "three").touch()

    assert changed_files(tmp_path) == {"three"}


def test_the_arguments_are_printed_and_nothing_to_test_is_said_in_one_line(tmp_path, git, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path / "tests")
    monkeypatch.setattr("sys.argv", ["changed.py"])
    assert changed.main() == 0
    assert capsys.readouterr() == ("", "nothing changed that has a test\n")

    (tmp_path / "perflib" / "stats.py").write_text("x = 1\n")
    assert changed.main() == 0
    assert capsys.readouterr() == ("tests/test_stats.py\ntests/timing/test_measure.py\n", "")

    monkeypatch.setattr("sys.argv", ["changed.py", "--folders"])
    assert changed.main() == 0
    assert capsys.readouterr() == ("tests/repository\n", "")


def test_a_bug_is_inserted_where_its_file_its_test_or_its_entry_changed(tmp_path, git):
    entry = '[[fault]]\nname = "{0}"\nfile = "perflib/{0}.py"\ntest = "tests/test_{0}.py::test_it"\n'
    entries = tmp_path / "tests" / "faults" / "faults.toml"
    entries.parent.mkdir()
    entries.write_text("".join(map(entry.format, ("stats", "timer", "files", "errors"))))
    git("add", "-A")
    git("commit", "-m", "x")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    (tmp_path / "perflib" / "stats.py").write_text("x = 1\n")
    (tmp_path / "tests" / "test_timer.py").touch()
    entries.write_text(entries.read_text().replace("perflib/files.py", "perflib/file.py"))
    faults = tomllib.loads(entries.read_text())["fault"]
    program = runpy.run_path(str(Path(__file__).parents[1] / "faults" / "run.py"))

    assert [fault["name"] for fault in program["changed_faults"](faults, tmp_path)] == ["stats", "timer", "files"]
