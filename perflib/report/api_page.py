"""Make the page that documents the public names, from their docstrings by pdoc, in the order of their use.

Signatures and docstrings are those that pdoc reads; the frame and the look are the report's own. `templates/examples.txt`
has the groups, the names in each, and an example for every name; a test runs the examples from top to bottom.
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
from .markup import TEMPLATES, templates
from .page import Page, contents, parse

FACES = {"perflib": "", "perflib.kernels": "kernels."}
"""Modules whose names are public, and how the page prefixes them."""


@cache
def api_page() -> Page:
    """The reference: the public names by use, each with an example, and a line for each module."""
    docs = {}
    for name, prefix in FACES.items():
        face = import_module(name)
        for public in face.__all__:
            getattr(face, public)  # loaded at first use; pdoc sees only what is loaded
        members = pdoc.doc.Module(face).flattened_own_members
        docs |= {f"{prefix}{doc.qualname}": doc for doc in members if doc.docstring and doc.kind != "module"}
    environment = templates().overlay()
    environment.filters |= {"short": _shorten, "as_markup": _docstring_markup}
    groups = [(title, [(name, docs[name], code) for name, code in names if name in docs]) for title, names in examples()]
    body = environment.get_template("api.html.j2").render(groups=groups, openings=_module_openings())
    opening = "Every public name with an example, its signature, shapes, units and errors."
    return Page("api-reference", "Which function does what?", opening, body, contents(parse(body)), "reference")


def examples() -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of public names in the order of their use, each name with its example, which may be empty."""
    groups = (TEMPLATES / "examples.txt").read_text(encoding="utf-8").split("## ")[1:]
    entries = ((group.partition("\n")[0], re.findall(r"(?ms)^# ([\w.]+)\n(.*?)(?=^# |\Z)", group)) for group in groups)
    return [(title, [(name, code.strip()) for name, code in names]) for title, names in entries]


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
