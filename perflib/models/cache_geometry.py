"""Give sets, ways and lines of caches, of this machine or of a described one.

    {"caches": [{"size_bytes": 49152, "ways": 12}, {"size_bytes": 2097152, "ways": 16, "line_bytes": 64}]}

Unknown ways count as fully associative, an unknown line as 64 bytes. The number of sets need not be a power of two (slices
of a shared level). Raises `GeometryError`, a `ValueError` of one line that names the level and what it must be.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import GeometryError
from ..kernels.caches import LINE_BYTES, Cache


@dataclass(frozen=True)
class Geometry:
    """A set-associative cache: `sets` times `ways` lines of `line_bytes`."""

    sets: int
    ways: int
    line_bytes: int = LINE_BYTES

    @property
    def size_bytes(self) -> int:
        """All that it holds."""
        return self.sets * self.ways * self.line_bytes


def geometry(cache: Cache) -> Geometry:
    """Sets, ways and line of a level. Raises `GeometryError` unless its size is a whole number of them."""
    line = LINE_BYTES if cache.line_bytes is None else _positive(cache.name, "line_bytes", cache.line_bytes)
    size = _positive(cache.name, "size_bytes", cache.size_bytes)
    if size % line:
        raise GeometryError(f"{cache.name}: size_bytes must be a multiple of the line of {line} bytes, got {size}")
    ways = size // line if cache.ways is None else _positive(cache.name, "ways", cache.ways)
    if (size // line) % ways:
        raise GeometryError(f"{cache.name}: size_bytes must be a multiple of {ways} ways of {line} bytes, got {size}")
    return Geometry(size // line // ways, ways, line)


def _positive(level: str, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GeometryError(f"{level}: {name} must be an integer of at least 1, got {value!r}")
    return value


def described(path: Path) -> tuple[Cache, ...]:
    """The data caches of a described machine, checked, nearest first; those of instructions have no place there."""
    try:
        facts = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise GeometryError(f"{path.name}: must be JSON, got {problem}") from None
    levels = facts.get("caches") if isinstance(facts, dict) else None
    if not isinstance(levels, list) or not levels or not all(isinstance(level, dict) for level in levels):
        raise GeometryError(f'{path.name}: must be an object with "caches", a list of at least one level')
    return tuple(_cache(number, level) for number, level in enumerate(levels, start=1))


def _cache(number: int, facts: dict) -> Cache:
    if unknown := sorted(facts.keys() - {"size_bytes", "line_bytes", "ways"}):
        raise GeometryError(f"L{number}: has size_bytes, ways and line_bytes, got {unknown[0]!r}")
    if "size_bytes" not in facts:
        raise GeometryError(f"L{number}: size_bytes is missing")
    cache = Cache(number, "Data" if number == 1 else "Unified", **facts)
    shape = geometry(cache)
    return Cache(number, cache.kind, cache.size_bytes, shape.line_bytes, cache.ways, shape.sets)
