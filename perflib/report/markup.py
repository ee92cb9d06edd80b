"""Hold the templates of every page: one frame, one way to show a picture.

Pages of users need them too, so nothing here imports nbconvert.
"""

import re
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from ..display.figure import Picture

TEMPLATES = Path(__file__).parent / "templates"
GENERATOR = Markup('<meta name="generator" content="perflib">')
HEAD = 2000  # characters of a page in which its generator is named
INTERVAL = re.compile(r"\d[\d.,]*(?: [^\s\[\]<]{1,7})? \[[^\[\]<]{1,40}\](?: %)?")
DRAWING = re.compile(r'<svg\b[^>]*\bclass="drawing.*?</svg>', re.S)
LOCAL, EMPTY = re.compile(r'(?<=id="|f="#|rl\(#)drawing-'), re.compile(r"(<(circle|line|path|rect|use)\b[^<>]*)></\2>")


@cache
def templates() -> Environment:
    """Give the templates of this package, which escape every text that is not marked as markup."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    environment.globals["generator"] = GENERATOR
    environment.filters["coded"] = _coded
    environment.filters["distinct"] = distinct
    return environment


def _coded(text: str) -> Markup:
    """A text whose commands stand between backticks, as markup."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def keep_intervals(text: str) -> str:
    """The text with no-break spaces in intervals such as `62.1 ns [61.8, 62.5]`, so that no line break divides one."""
    return INTERVAL.sub(lambda interval: interval[0].replace(" ", "\u00a0"), text)


def render(template: str, **values: Any) -> str:
    """Fill a template."""
    return templates().get_template(template).render(values)


def figure(picture: Picture) -> Markup:
    """Show a picture with its sentence below."""
    return templates().get_template("figure.html.j2").module.figure(picture)


def distinct(html: str) -> Markup:
    """Number the ids inside the drawings of a page, so that no two on it are the same, and close what is empty briefly."""
    numbers = count(1)
    return Markup(DRAWING.sub(lambda drawing: LOCAL.sub(f"d{next(numbers)}-", EMPTY.sub(r"\1/>", drawing[0])), html))


def is_own(file: Path) -> bool:
    """Tell whether perflib wrote this page, and may replace it."""
    return GENERATOR in file.read_text(encoding="utf-8", errors="replace")[:HEAD]
