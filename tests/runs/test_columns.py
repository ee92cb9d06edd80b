"""Columns come from the descriptions in data/, in a clone and where only the package is installed."""

import json
import shutil
from pathlib import Path

import pytest

from perflib.runs import columns
from perflib.runs.columns import Column, schema, topic_columns

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package that lies in a folder of its own; nothing that was read before counts."""
    folder = tmp_path / "perflib"
    folder.mkdir()
    monkeypatch.setattr(columns, "CLONE", tmp_path)
    monkeypatch.setattr(columns, "PACKAGE", folder)
    for function in (columns._columns, columns.topic_columns):
        function.cache_clear()
    yield folder
    for function in (columns._columns, columns.topic_columns):
        function.cache_clear()


def describe(file, *fields):
    file.parent.mkdir()
    file.write_text(json.dumps({"fields": fields}))


def test_the_columns_are_the_fields_in_their_order():
    fields = json.loads((DATA / "samples.schema.json").read_text())["fields"]

    assert list(schema("samples")) == [field["name"] for field in fields]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("block", Column("string", 0, False)),
        ("scope", Column("string", 0, False, pattern="kernel|call")),
        ("threads", Column("integer", 1, True, 65536)),
        ("tile", Column("integer", 1, False)),
        ("elapsed_ns", Column("integer", 1, True, 86_400 * 10**9)),
        ("cpu_ns", Column("integer", 0, False, 86_400 * 10**9)),
    ],
)
def test_a_column_has_the_type_the_minimum_and_the_requirement_of_its_field(name, column):
    assert schema("samples")[name] == column


def test_a_topic_has_the_columns_of_its_own_schema():
    assert topic_columns("matmul") == schema("blocked")
    assert topic_columns("harness") == schema("harness")
    assert topic_columns("sweep") == {}


def test_a_clone_is_read_from_its_data_folder(package):
    (package.parent / "pyproject.toml").touch()
    describe(package.parent / "data" / "own.schema.json", {"name": "n", "type": "integer"})
    describe(package / "schemas" / "own.schema.json", {"name": "other", "type": "string"})

    assert schema("own") == {"n": Column("integer")}


def test_an_installed_package_is_read_from_its_own_folder_whatever_lies_beside_it(package):
    describe(package.parent / "data" / "own.schema.json", {"name": "other", "type": "string"})
    describe(package / "schemas" / "own.schema.json", {"name": "n", "type": "integer"})

    assert schema("own") == {"n": Column("integer")}


def test_an_installed_package_has_the_columns_of_the_clone(package):
    cloned = {file.name.partition(".")[0]: file for file in DATA.glob("*.schema.json")}
    shutil.copytree(DATA, package / "schemas", ignore=shutil.ignore_patterns("reference", "runs", "published"))

    for name, file in cloned.items():
        assert list(schema(name)) == [field["name"] for field in json.loads(file.read_text())["fields"]]
    assert topic_columns("memory") == schema("memory")
