"""What was measured of this machine once and holds for it: kept in a file, recognised where it is torn or of another one.

    measured_or_saved(name, key, measure, fresh)   -> what `measure()` gives, from the file if it holds this key
    saved(name, key)                       -> the same without measuring, or None

The file lies in PERFLIB_DATA if that is set, else in the user's cache folder (platformdirs). Where nothing can be written,
nothing is remembered.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

SCHEMA = 1


def measured_or_saved(name: str, key: Mapping[str, Any], measure: Callable[[], dict], fresh: bool = False) -> dict:
    """The content for this key; measured and written where there is none, or where a fresh one is wanted."""
    content = None if fresh else saved(name, key)
    if content is None:
        content = measure()
        with suppress(OSError):
            _write(_file(name, key), {"schema": SCHEMA, "key": key, "digest": _digest(content), "content": content})
        content = json.loads(json.dumps(content))  # what is measured and what is read are the same
    return content


def saved(name: str, key: Mapping[str, Any]) -> dict | None:
    """The content for this key; None if there is no file, if it is torn or changed, or if it tells of something else."""
    try:
        told = json.loads(_file(name, key).read_text(encoding="utf-8"))
        content = told["content"]
        whole = (told["schema"], told["key"], told["digest"]) == (SCHEMA, json.loads(json.dumps(key)), _digest(content))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return content if whole else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _file(name: str, key: Mapping[str, Any]) -> Path:
    named = os.environ.get("PERFLIB_DATA")
    folder = Path(named) / "machine" if named else platformdirs.user_cache_path("perflib")
    return folder / f"{name}-{_digest(key)}.json"  # a home may be shared by several machines


def _write(file: Path, told: dict) -> None:
    """As a whole: the file is the old one or the new one, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    os.replace(part, file)
