"""Read the columns of a run's tables from the descriptions in data/, their only definition.

    schema("samples")["elapsed_ns"]     Column(kind="integer", minimum=1, required=True)
    topic_columns("matmul")             those of the topic's schema as data/datapackage.json names it, none if it names none

A schema is a table schema of the frictionless standard: fields in the order of the columns, a type, and constraints. In a
clone the files are data/*.json; an installed perflib carries them in perflib/schemas/.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..files import CLONE, PACKAGE


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
    schemas = [r["schema"] for r in _read("datapackage.json")["resources"] if r["name"] == topic]
    return _columns(schemas[0]) if schemas else {}


@cache
def _columns(file: str) -> Mapping[str, Column]:
    fields = ((field, field.get("constraints", {})) for field in _read(file)["fields"])
    return {f["name"]: Column(f["type"], limits.get("minimum", 0), limits.get("required", False)) for f, limits in fields}


def _read(name: str) -> dict[str, Any]:
    folder = CLONE / "data" if (CLONE / "pyproject.toml").is_file() else PACKAGE / "schemas"
    return json.loads((folder / name).read_text(encoding="utf-8"))
