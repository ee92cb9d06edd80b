"""Render the chat template of a model file: Jinja in a sandbox, in a process with limits, as a file can hold any program.

The sandbox (`jinja2.sandbox.ImmutableSandboxedEnvironment`) keeps a template from files and from Python's internals. The
system ends the process of a template that loops or grows without end. The environment has what templates of models count
on (Hugging Face transformers, `apply_chat_template`): trimmed blocks, loop controls, `raise_exception`, `strftime_now`.
Raises TextError, one line.
"""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from ..display.text import first_line
from ..errors import TextError
from ..system.children import program

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

CPU_S, MEMORY_BYTES, MOST_CHARACTERS = 2, 1 << 30, 1_000_000
TOO_LONG = f"it did not end within {CPU_S} s of CPU time"


def render(template: str, prompts: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """What the template makes of each prompt, as the only message of a user, with the begin of an answer.

    names: what else the template may use, such as `bos_token`. All prompts together have one limit of time.
    """
    if find_spec("jinja2") is None:
        raise TextError("a chat template needs the package jinja2; pip install 'perflib[text]'")
    if resource is None:
        raise TextError("a chat template runs only where the system limits its time and memory, which Windows does not")
    job = json.dumps({"template": template, "prompts": list(prompts), "names": dict(names)})
    command = program(f"from {__name__} import _work; _work()")
    done = subprocess.run(command, input=job, capture_output=True, encoding="utf-8", check=False)
    if done.returncode == 0:
        answer = json.loads(done.stdout)
    elif -done.returncode in (signal.SIGKILL, signal.SIGXCPU):
        answer = {"problem": TOO_LONG}
    else:
        answer = {"problem": f"its process ended with status {done.returncode}"}
    if "problem" in answer:
        raise TextError(f"the chat template is refused: {answer['problem']}")
    return answer["texts"]


def _work() -> None:
    """What the process does: a job from stdin, its texts or what is wrong with it to stdout."""
    job = json.load(sys.stdin)
    _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + CPU_S)
    with suppress(ValueError, OSError):  # macOS has no limit of memory
        _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    try:
        answer: dict[str, Any] = {"texts": _texts(**job)}
    except MemoryError:
        answer = {"problem": f"it needs more than {MEMORY_BYTES >> 20} MiB of memory"}
    except Exception as problem:  # a template can raise whatever Python does
        answer = {"problem": f"{type(problem).__name__}: {first_line(problem)}"}
    json.dump(answer, sys.stdout)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _texts(template: str, prompts: list[str], names: dict[str, str]) -> list[str]:
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # the extra `text`

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.unsafe_undefined = _refuse_attribute  # even where the template does nothing with it
    environment.globals |= {"raise_exception": _refuse, "strftime_now": time.strftime}
    compiled = environment.from_string(template)
    messages = [[{"role": "user", "content": prompt}] for prompt in prompts]
    return [_bounded(compiled.generate(messages=m, add_generation_prompt=True, tools=None, **names)) for m in messages]


def _bounded(parts: Iterable[str]) -> str:
    """The parts together, which are refused as soon as they are too long."""
    text = ""
    for part in parts:
        text += part
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"it writes more than {MOST_CHARACTERS} characters")
    return text


def _to_json(value: Any, ensure_ascii: bool = False, **layout: Any) -> str:
    """JSON as it is; jinja2's own filter writes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **layout)


def _refuse(reason: str) -> None:
    raise ValueError(reason)


def _refuse_attribute(value: object, name: str) -> None:
    raise ValueError(f"it reaches for {name} of a {type(value).__name__}")
