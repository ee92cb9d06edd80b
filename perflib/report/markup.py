"""Hold the templates of every page: one frame, one way to show a picture.

Pages of users need them too, so nothing here imports nbconvert.
"""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from ..display.figure import Picture

TEMPLATES = Path(__file__).parent / "templates"
GENERATOR = Markup('<meta name="generator" content="perflib">')
HEAD = 2000  # characters of a page in which its generator is named


@cache
def templates() -> Environment:
    """Give the templates of this package, which escape every text that is not marked as markup."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    environment.globals["generator"] = GENERATOR
    return environment


def render(template: str, **values: Any) -> str:
    """Fill a template."""
    return templates().get_template(template).render(values)


def figure(picture: Picture) -> Markup:
    """Show a picture with its sentence below."""
    return templates().get_template("figure.html.j2").module.figure(picture)


def is_own(file: Path) -> bool:
    """Tell whether perflib wrote this page, and may replace it."""
    return GENERATOR in file.read_text(encoding="utf-8", errors="replace")[:HEAD]
