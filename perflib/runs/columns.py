"""The columns of a run's tables, read from the descriptions in data/, so that they are written once.

    schema("samples")["elapsed_ns"]     Column(kind="integer", minimum=1, required=True)
    topic_columns("matmul")             those of the topic's schema as data/datapackage.json names it, none if it names none

A schema is a table schema of the frictionless standard: fields in the order of the columns, a type, and constraints. In a
clone the files are data/*.json; an installed perflib carries them as perflib/schemas/, where it finds them as a resource.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Column:
    """What a field of a row may be: any text, or an integer from `minimum` on, empty unless `required`."""

    kind: str
    minimum: int = 0
    required: bool = False


def schema(name: str) -> Mapping[str, Column]:
    """The columns of data/<name>.schema.json in their order."""
    return _columns(f"{name}.schema.json")


@cache
def topic_columns(topic: str) -> Mapping[str, Column]:
    """The columns that data/datapackage.json describes for a topic; none for a topic of a user's own."""
    described = [r["schema"] for r in _read("datapackage.json")["resources"] if r["name"] == topic]
    return _columns(described[0]) if described else {}


@cache
def _columns(file: str) -> Mapping[str, Column]:
    return {field["name"]: _column(field) for field in _read(file)["fields"]}


def _column(field: Mapping[str, Any]) -> Column:
    constraints = field.get("constraints", {})
    return Column(field["type"], constraints.get("minimum", 0), constraints.get("required", False))


def _read(name: str) -> dict[str, Any]:
    package = files("perflib")
    clone = Path(str(package)).parent
    folder = clone / "data" if (clone / "pyproject.toml").is_file() else package / "schemas"
    return json.loads((folder / name).read_text(encoding="utf-8"))
