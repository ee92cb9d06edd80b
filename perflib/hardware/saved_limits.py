"""Save the measured limits of this machine in a file, and refuse a file that is torn or of another machine.

Measuring takes half a minute, so the content is kept in `files.cache_folder()`, in a file for each machine. Where nothing
can be written, nothing is kept, and nothing that was measured while other work disturbed it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..files import cache_folder, replace_text

SCHEMA = 1
DISTURBED: dict[Path, dict] = {}
"""What was measured while other work disturbed it, by the file that it is not kept in: this process measures it once."""


def measured_or_saved(
    name: str, key: Mapping[str, Any], measure: Callable[[], tuple[dict, bool]], fresh: bool = False
) -> dict:
    """The content for this key; measured and written where there is none, or where a fresh one is wanted.

    measure: returns the content, and whether it may be kept: what was disturbed is measured again by the next process.
    """
    file = _file(name, key)
    content = None if fresh else saved(name, key) or DISTURBED.get(file)
    if content is None:
        measured, may_be_kept = measure()
        content = json.loads(json.dumps(measured))  # what is measured and what is read are the same
        if not may_be_kept:
            DISTURBED[file] = content
            return content
        record = {"schema": SCHEMA, "key": key, "digest": _digest(content), "content": content}
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_text(file, json.dumps(record, indent=1) + "\n")
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
