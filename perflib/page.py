"""An executed notebook as a page: markup without scripts, real descriptions, folded code, anchors for every heading.

page(exporter, stem, notebook)      -> Page: heading, opening, body, contents
exporter()                          nbconvert with the template of this package and none of its own pages
plain(markup)                       markup as text
"""

import base64
import html
import re
import struct
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, FileSystemLoader
from nbconvert import HTMLExporter

__all__ = ["TEMPLATES", "Page", "exporter", "page", "plain", "templates", "with_anchors"]

TEMPLATES = Path(__file__).parent / "templates"
NUMBER = re.compile(r"[-−+]?\d[^A-Za-z]*(e[+-]?\d+)?( \([^()]*\))?|[-–—]?|nan|NaN")


@dataclass(frozen=True)
class Page:
    """A notebook as HTML: `heading` and `body` are markup, all else is text; `toc` has level, id and text."""

    stem: str
    heading: str
    opening: str
    body: str
    toc: tuple[dict[str, Any], ...]
    name: str
    """What the navigation calls it."""

    @property
    def title(self) -> str:
        return plain(self.heading)


def page(exporter: HTMLExporter, stem: str, notebook: nbformat.NotebookNode) -> Page:
    """An executed notebook as a page that is called `stem`."""
    body, _ = exporter.from_notebook_node(notebook)
    body = re.sub(r'href="([\w-]+)\.ipynb(?=["#])', r'href="\1.html', body)
    found = re.search(r"(?s)<h1>(.*?)</h1>", body)
    if found:
        body = body.replace(found[0], "", 1)
    first = re.search(r"(?s)<p>(.*?)</p>", body)
    opening = re.match(r"(?s)(.*[.?!])?", plain(first[1]) if first else "")[0]  # whole sentences
    body, toc = with_anchors(body)
    name = stem.lstrip("0123456789-").replace("-", " ")
    return Page(stem, found[1] if found else html.escape(stem), opening, body, toc, name)


def with_anchors(body: str) -> tuple[str, tuple[dict[str, Any], ...]]:
    """Give every heading the id that JupyterLab gives it unless it has one; collect the contents.

    The second of a name gets a number.
    """
    toc, used = [], Counter({"main": 1})

    def anchor(heading: re.Match) -> str:
        level, given, inside = heading.groups()
        name = html.unescape(given) if given else re.sub(r"\s+", "-", plain(inside))
        used[name] += 1
        name += f"-{used[name]}" if used[name] > 1 else ""
        toc.append({"level": int(level), "id": name, "text": plain(inside)})
        return f'<h{level} id="{html.escape(name)}">{inside}</h{level}>'

    body = re.sub(r'(?s)<h([2-6])(?: id="([^"]*)")?>(.*?)</h\1>', anchor, body)
    return body, tuple(entry for entry in toc if entry["level"] <= 3)


def exporter() -> HTMLExporter:
    """nbconvert with the template of this package and none of its own pages."""
    exporter = HTMLExporter(
        template_name="base",
        template_file="notebook.html.j2",
        extra_template_paths=[str(TEMPLATES)],
        exclude_anchor_links=True,
    )
    exporter.register_filter("png_size", _png_size)
    exporter.register_filter("aligned", _aligned)
    return exporter


@cache
def templates() -> Environment:
    """The templates of this package; whatever is not markup of ours is escaped."""
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)


def _aligned(markup: str) -> str:
    """A table as pandas writes it, without its style sheet; columns of numbers get the class `num`."""
    markup = re.sub(r"(?s)<style.*?</style>\s*", "", markup)
    markup = re.sub(r"<td>(HOLDS|FAILS|UNDECIDED)</td>", r'<td class="verdict \1">\1</td>', markup)
    rows = [re.findall(r"(?s)<t[hd].*?</t[hd]>", row) for row in re.findall(r"(?s)<tr.*?</tr>", markup)]
    if len({len(row) for row in rows}) != 1 or len(rows) < 2:  # no table, or one with joined cells
        return markup
    numeric = [all(NUMBER.fullmatch(plain(cell)) for cell in column[1:]) for column in zip(*rows, strict=True)]
    marks = iter([number for _ in rows for number in numeric])
    return re.sub(r"<t[hd](?=[ >])", lambda cell: cell[0] + ' class="num"' * next(marks), markup)


def _png_size(png: str) -> tuple[int, int]:
    """Width and height in pixels, from the header that every PNG opens with."""
    return struct.unpack(">II", base64.b64decode(png[:44])[16:24])


def plain(markup: str) -> str:
    """Markup as text."""
    return html.unescape(re.sub(r"<[^>]+>", "", markup)).strip()
