"""Make the page that documents the public names, from their docstrings by pdoc.

Signatures and docstrings are those that pdoc reads; the frame and the look are the report's own.
"""

import ast
import inspect
import re
from functools import cache
from importlib import import_module

import pdoc.doc
from markupsafe import Markup
from pdoc.render_helpers import to_html

from ..files import PACKAGE
from .markup import templates
from .page import Page, contents, parse


@cache
def api_page() -> Page:
    """The reference: the names of the package, those of its kernels, and a line for each module."""
    faces = [import_module(name) for name in ("perflib", "perflib.kernels")]
    for name in faces[0].__all__:
        getattr(faces[0], name)  # loaded at first use; pdoc sees only what is loaded
    environment = templates().overlay()
    environment.filters |= {"short": _shorten, "as_markup": _docstring_markup}
    modules = [pdoc.doc.Module(face) for face in faces]
    body = environment.get_template("api.html.j2").render(modules=modules, openings=_module_openings())
    opening = "Every public name with its signature, shapes, units and errors, from the docstrings."
    toc = tuple(entry for entry in contents(parse(body)) if entry["level"] == 2)
    return Page("api-reference", "Which function does what?", opening, body, toc, "reference")


def _shorten(signature: object) -> str:
    """A signature on as few lines as it needs, names of types without the modules that they come from."""
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", str(signature))


def _docstring_markup(docstring: str) -> Markup:
    """A docstring as markup: what looks like a tag in it is text."""
    return Markup(to_html(inspect.cleandoc(docstring).replace("<", "&lt;")).replace("&amp;lt;", "&lt;"))


def _module_openings() -> list[tuple[str, str]]:
    """Every module, and the first sentence that it says of itself."""
    openings = []
    for file in sorted(PACKAGE.glob("**/*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        opening = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        if "__" not in name and opening:
            openings.append((name, opening.partition("\n\n")[0].replace("\n", " ")))
    return openings
