"""All pages of a report as one file to mail: no folder around it, the samples inside.

    joined(pages)       pages whose places and links carry the page that they belong to, with headings one level down

The first page keeps its place at the top. Links between pages become links inside the file. Pictures become WebP without
loss, two thirds of the bytes.
"""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from PIL import Image

from .page import Page

__all__ = ["joined"]

TAG = re.compile(r"<[a-zA-Z/][^<>]*>")


def joined(pages: Sequence[Page]) -> list[Page]:
    """The pages with ids that differ between them; those after the first have headings one level down."""
    stems = {page.stem for page in pages}
    return [
        replace(
            page,
            body=TAG.sub(lambda tag, page=page, deeper=bool(number): _moved(tag[0], page.stem, stems, deeper), page.body),
        )
        for number, page in enumerate(pages)
    ]


def _moved(tag: str, stem: str, stems: set[str], deeper: bool) -> str:
    tag = re.sub(r' src="data:image/png;base64,([^"]*)"', lambda png: f' src="{_smaller(png[1])}"', tag)
    tag = re.sub(r' id="([^"]*)"', rf' id="{stem}.\1"', tag)
    tag = re.sub(r' href="#([^"]*)"', rf' href="#{stem}.\1"', tag)
    tag = re.sub(r' href="([^"#:/]+)\.html(?:#([^"]*))?"', lambda found: _inside(found, stems), tag)
    return re.sub(r"^(</?h)([1-5])", lambda found: f"{found[1]}{int(found[2]) + 1}", tag) if deeper else tag


@lru_cache(64)  # a figure is in several pages
def _smaller(png: str) -> str:
    """The same pixels as lossless WebP; both in base64."""
    Image.open(io.BytesIO(base64.b64decode(png))).save(webp := io.BytesIO(), "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(webp.getvalue()).decode()


def _inside(found: re.Match, stems: set[str]) -> str:
    """A link to a page of the report as a link into the same file."""
    stem, place = found[1], found[2]
    if stem not in stems:
        return found[0]
    return f' href="#{stem}.{place}"' if place else f' href="#{stem}"'
