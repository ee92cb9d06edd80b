"""Read what a run may hold from the descriptions in data/, their only definition: columns of tables, fields of run.json.

    schema("samples")["elapsed_ns"]     Column(kind="integer", minimum=1, required=True, ...)
    topic_columns("matmul")             those of the topic's schema as data/datapackage.json names it, none if it names none
    document(content)                   the fields of run.json, within bounds
    field_problem(fields)               what is not as data/run.document.json describes it, None if everything is

A schema of a table is one of the frictionless standard: fields in the order of the columns, a type, and constraints. That
of run.json is a JSON Schema, from which fastjsonschema makes the validator. In a clone the files are data/*.json; an
installed perflib carries them in perflib/schemas/.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..display.text import shortened
from ..files import CLONE, PACKAGE

MOST = 10**15
"""The largest integer of a table unless its field says otherwise: two of them add up without an overflow."""
MOST_LETTERS = 1000
"""Of a word of a table."""
MOST_DEPTH = 20
"""Of objects and arrays in run.json."""
MOST_DIGITS = 100
"""Of an integer: a seed may be longer than a word of the machine."""


@dataclass(frozen=True)
class Column:
    """What a field of a row may be: text of a pattern, or an integer between two, empty unless `required`."""

    kind: str
    minimum: int = 0
    required: bool = False
    maximum: int = MOST
    pattern: str = ""

    def problem(self, text: str) -> str | None:
        """What is wrong with the text of a field; None for one that may be."""
        if self.kind == "string" and len(text) > MOST_LETTERS:
            return f"must have at most {MOST_LETTERS} letters"
        if self.kind == "string":
            return None if not self.pattern or re.fullmatch(self.pattern, text) else f"must match {self.pattern}"
        if text == "" and not self.required:
            return None
        if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS and int(text) >= self.minimum:
            return None if int(text) <= self.maximum else f"must be an integer of at most {self.maximum}"
        return f"must be an integer of at least {self.minimum}"


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
    return {f["name"]: _column(f["type"], limits) for f, limits in fields}


def _column(kind: str, limits: Mapping[str, Any]) -> Column:
    pattern = limits.get("pattern", "|".join(map(re.escape, limits.get("enum", ()))))
    return Column(kind, limits.get("minimum", 0), limits.get("required", False), limits.get("maximum", MOST), pattern)


def document(content: bytes) -> dict[str, Any]:
    """The fields of run.json. ValueError, one line, for what is no JSON, too deep, or a number without bounds."""
    fields = json.loads(
        content.decode(),
        object_pairs_hook=_once_each,
        parse_int=_integer,
        parse_float=_Real,
        parse_constant=_Real,
    )
    json.dumps(fields, ensure_ascii=False).encode()  # raises for half of a surrogate pair, which no file could hold
    _require_shallow(fields, MOST_DEPTH)
    return fields


def _require_shallow(value: Any, left: int) -> None:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if inside and not left:
        raise ValueError(f"objects and arrays must lie at most {MOST_DEPTH} deep in each other")
    for inner in inside:
        _require_shallow(inner, left - 1)


def field_problem(fields: Any, schema: str = "run") -> str | None:
    """The first field of run.json, or of fleet.json, that is not as described, with what it must be and its value."""
    from fastjsonschema import JsonSchemaValueException  # tens of milliseconds, which only a run needs

    try:
        _validator(schema)(fields)
    except JsonSchemaValueException as problem:
        value = "" if isinstance(problem.value, dict) else f", got {shortened(repr(problem.value), 60)}"
        return shortened(problem.message.removeprefix("data.").removeprefix("data "), 200) + value
    return None


@cache
def _validator(schema: str) -> Callable[[Any], Any]:
    import fastjsonschema  # as above

    return fastjsonschema.compile(_read(f"{schema}.document.json"))


class _Real(float):
    """A number that is written with a point or an exponent: never an integer, as JSON Schema would have it of 8.0."""

    def __new__(cls, text: str) -> "_Real":
        if not math.isfinite(value := float.__new__(cls, text)):
            raise ValueError(f"a number must be finite, got {text[:20]}")
        return value

    def is_integer(self) -> bool:
        return False


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer must have at most {MOST_DIGITS} digits, got {len(digits)}")
    return int(digits)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"field {shortened(twice)!r} stands there twice")
    return fields


def _read(name: str) -> dict[str, Any]:
    folder = CLONE / "data" if (CLONE / "pyproject.toml").is_file() else PACKAGE / "schemas"
    return json.loads((folder / name).read_text(encoding="utf-8"))
