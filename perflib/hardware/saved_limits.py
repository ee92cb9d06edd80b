"""Save the measured limits of this machine in a file, and refuse a file that is torn or of another machine.

Measuring takes half a minute, so the content is kept in `files.cache_folder()`, in a file for each machine. Where nothing
can be written, nothing is kept.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..files import cache_folder, replace_text

SCHEMA = 1


def measured_or_saved(name: str, key: Mapping[str, Any], measure: Callable[[], dict], fresh: bool = False) -> dict:
    """The content for this key; measured and written where there is none, or where a fresh one is wanted."""
    content = None if fresh else saved(name, key)
    if content is None:
        content = measure()
        record = {"schema": SCHEMA, "key": key, "digest": _digest(content), "content": content}
        file = _file(name, key)
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_text(file, json.dumps(record, indent=1) + "\n")
        content = json.loads(json.dumps(content))  # what is measured and what is read are the same
    return content


def saved(name: str, key: Mapping[str, Any]) -> dict | None:
    """The content for this key; None if there is no file, if it is torn or changed, or if it tells of something else."""
    try:
        entry = json.loads(_file(name, key).read_text(encoding="utf-8"))
        content = entry["content"]
        plain = json.loads(json.dumps(key))  # as it is after a round trip through the file
        is_valid = (entry["schema"], entry["key"], entry["digest"]) == (SCHEMA, plain, _digest(content))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return content if is_valid else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _file(name: str, key: Mapping[str, Any]) -> Path:
    return cache_folder() / f"{name}-{_digest(key)}.json"  # a home may be shared by several machines
