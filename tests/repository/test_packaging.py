"""What is installed, described and committed: every list that stands in two places says the same."""

import csv
import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from oldest import lowest
from packaging.requirements import Requirement
from runs import MACHINE

from perflib.runs.columns import topic_columns
from perflib.runs.store import load_run
from perflib.runs.tables import BLOCK_COLUMNS, COLUMNS, TABLES
from perflib.studies.recording_plan import plan

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REFERENCES = sorted((ROOT / "data" / "reference").glob("*/"))
CONDA_NAMES = {"matplotlib-base": "matplotlib", "nbconvert-core": "nbconvert", "pytorch-cpu": "torch"}
NEEDS_MAKE = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def requirements():
    """Everything that pyproject.toml names, extras included; an extra that takes in another names nothing."""
    extras = PROJECT["optional-dependencies"]
    named = [Requirement(line) for lines in (PROJECT["dependencies"], *extras.values()) for line in lines]
    return [requirement for requirement in named if requirement.name != PROJECT["name"]]


def described(resource):
    """The fields of a resource of data/datapackage.json."""
    schema = resource["schema"]
    if isinstance(schema, str):
        schema = json.loads((ROOT / "data" / schema).read_text())
    return schema["fields"]


def package():
    return json.loads((ROOT / "data" / "datapackage.json").read_text())


def make(folder, *words):
    """Exit status and output of make with the Makefile in a folder of its own."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        if not (folder / name).exists():
            shutil.copy(ROOT / name, folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_conda_and_pip_name_the_same_packages_with_the_same_bounds():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *lines, from_pypi = (line for line in environment["dependencies"] if line != "pip")
    lines += [line for line in from_pypi["pip"] if line != "-e ."]
    conda = {CONDA_NAMES.get(r.name, r.name): str(r.specifier) for r in map(Requirement, lines)}

    assert conda.pop("python") == PROJECT["requires-python"]
    assert conda == {r.name: str(r.specifier) for r in requirements()}
    assert environment["channels"] == ["conda-forge"]


def test_constraints_are_exact_versions_and_hold_every_bound():
    lines = (ROOT / "constraints.txt").read_text().splitlines()

    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (line.split("==") for line in lines)}
    assert len(pinned) == len(lines)
    for requirement in requirements():
        assert requirement.specifier.contains(pinned[requirement.name])


def test_the_lowest_versions_are_those_that_are_declared():
    versions = dict(line.split("==") for line in lowest(PROJECT))

    assert versions["numpy"] == "2.0"
    assert versions["distributed"] == "2026.8", "of an extra that the tests take in"
    assert "torch" not in versions
    for requirement in requirements():
        if requirement.name in versions:
            assert str(requirement.specifier) == f">={versions[requirement.name]}"


def test_a_clone_keeps_the_bytes_of_its_data_on_every_system():
    assert "data/** -text" in (ROOT / ".gitattributes").read_text().splitlines()


def test_the_tests_install_the_harnesses_and_the_laboratory_that_they_ask():
    assert "perflib[fleet,harnesses,lab]" in PROJECT["optional-dependencies"]["test"]


def test_every_package_of_ours_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]

    folders = [file.parent.relative_to(ROOT) for file in ROOT.glob("perflib/**/__init__.py")]
    assert sorted(listed) == sorted(
        [*(".".join(folder.parts) for folder in folders), "perflib.notebooks", "perflib.schemas"]
    )


def test_descriptions_reference_runs_and_notebooks_are_installed_and_no_run_of_this_clone():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]

    assert settings["package-dir"] == {"perflib.notebooks": "notebooks", "perflib.schemas": "data"}
    assert settings["package-data"]["perflib.notebooks"] == ["*.ipynb"]
    assert settings["package-data"]["perflib.schemas"] == [
        "*.json",
        "geometries/*",
        "published/*",
        "reference/*/*",
        "scaling/*",
    ]
    names = {file.name for file in (ROOT / "data").glob("*.json")}
    texts = {resource["schema"] for resource in package()["resources"] if isinstance(resource["schema"], str)}
    names -= {"datapackage.json", "run.document.json", "fleet.document.json"}
    assert names == texts, "each schema belongs to a resource"


@NEEDS_MAKE
def test_make_lists_every_target_with_one_line_of_help(tmp_path):
    status, printed = make(tmp_path)

    assert status == 0
    listed = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in printed.splitlines()}
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert list(listed) == phony
    assert {"report", "check", "test", "lab", "bench", "faults", "clean"} <= listed.keys()


@NEEDS_MAKE
@pytest.mark.parametrize("found", ["Python 3.10.13", "Python 2.7.18", None])
def test_make_refuses_a_python_that_is_too_old_in_one_sentence(tmp_path, found):
    python = tmp_path / "python"
    if found:
        python.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo {found} && exit 0\nexit 1\n')
        python.chmod(0o755)

    status, printed = make(tmp_path, "report", f"PYTHON={python}")

    said, *stopped = printed.splitlines()
    assert status == 2
    assert said.startswith(f"perflib needs Python 3.11 or newer, got {found or ''}")
    assert said.endswith("name one: make PYTHON=python3.12")
    assert len(stopped) == 1, "make's own line that it stopped"
    assert not (tmp_path / ".venv").exists()


@NEEDS_MAKE
def test_make_installs_what_is_missing_once_and_nothing_twice(tmp_path):
    def installed(target):
        status, printed = make(tmp_path, "-n", target)
        assert status == 0
        return re.findall(r"--editable '(.*?)'", printed)

    targets = ("report", "test", "lab", "bench")
    assert [installed(target) for target in targets] == [["."], [".[test]"], [".[lab]"], [".[peers]"]]

    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    for file in (python, tmp_path / ".venv" / "base", tmp_path / ".venv" / "test"):
        file.touch()
    assert [installed(target) for target in ("report", "test", "faults", "lab")] == [[], [], [], [".[lab]"]]

    os.utime(tmp_path / "constraints.txt", (later := python.stat().st_mtime + 10, later))
    assert installed("test") == [".[test]"], "a new set of versions is installed"


def test_every_column_is_described_with_type_unit_and_meaning():
    for resource in package()["resources"]:
        for field in described(resource):
            assert field["type"] in ("string", "integer", "number")
            assert field["unit"]
            assert field["description"]


def test_every_topic_is_described_and_has_the_columns_that_are_written():
    resources = {resource["name"]: resource for resource in package()["resources"]}
    topics = {block.topic for quick in (True, False) for block in plan(quick, MACHINE)} | {"clock", "forward"}

    assert resources.keys() == topics | TABLES.keys() | {"blocks", "geometries", "published", "summary"}
    for topic in topics | TABLES.keys():
        columns = TABLES.get(topic, COLUMNS)
        further = {c for b in plan(True, MACHINE) if b.topic == topic for cell in b.cells for c in cell.columns()}
        parameters = sorted(further - columns.keys())
        assert resources[topic]["path"] == f"reference/*/{topic}.csv"
        described = list(topic_columns(topic).items())
        shared, own = described[: len(columns)], described[len(columns) :]
        assert shared == list(columns.items())
        assert [name for name, _ in own] == parameters
        assert {(column.kind, column.required) for _, column in own} <= {("integer", False)}
    assert list(BLOCK_COLUMNS) == ["topic", "block", "process", "rows"]


def test_the_published_figures_are_those_of_the_seed_as_described():
    (resource,) = (resource for resource in package()["resources"] if resource["name"] == "published")
    with (ROOT / "data" / resource["path"]).open(newline="") as stream:
        header, *rows = csv.reader(stream)

    assert header == [field["name"] for field in described(resource)]
    figures = [(row[0], int(row[1]), int(row[4])) for row in rows]
    assert figures == [
        ("matmul_tiled", 64, 953),
        ("matmul_tiled", 64, 1014),
        ("matmul_tiled", 128, 8544),
        ("matmul_tiled", 256, 67923),
        ("rms_norm_fast", 512, 2),
        ("rms_norm_fast", 1024, 4),
        ("rms_norm_fast", 2048, 8),
    ]
    assert {row[5] for row in rows} == {"0.5"}, "whole microseconds"


def test_the_committed_runs_are_whole_and_small_and_one_per_machine():
    runs = [load_run(path) for path in REFERENCES]

    machines = [(run.machine.cpu, run.machine.target, run.machine.logical_cpus) for run in runs]
    assert len(set(machines)) == len(machines)
    for run in runs:
        assert run.finished
        assert sum(file.stat().st_size for file in run.path.iterdir()) < 5_000_000
        for topic in {topic for topic, _ in run.blocks} - TABLES.keys():
            samples = run.samples(topic)
            own = set(samples.columns) - COLUMNS.keys()  # the parameters of this topic's kernels
            key = ["block", "kernel", "scope", "dtype", "n", "tile", "rows", "round", *own]
            assert not samples.duplicated(key).any()
        if run.has("harness"):
            assert not run.table("harness").duplicated(["block", "scope", "statistic"]).any()


def test_the_committed_runs_name_no_host_no_user_and_no_path():
    private = "|".join(map(re.escape, {socket.gethostname(), getpass.getuser()}))

    for file in (file for path in REFERENCES for file in path.iterdir()):
        text = file.read_text()
        assert not re.search(rf"\b({private})\b", text), file
        assert not re.search(r"(?<![\w.])(/[\w.-]+){2,}|[A-Z]:\\", text), file
