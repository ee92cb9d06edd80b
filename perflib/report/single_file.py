"""All pages of a report as one file to mail: no folder around it, the samples inside.

    join_pages(pages)       pages whose places and links carry the page that they belong to, with headings one level down

The first page keeps its place at the top. Links between pages become links inside the file. Pictures become WebP without
loss, two thirds of the bytes.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from PIL import Image

from .page import Page, parse, to_markup

PNG = "data:image/png;base64,"


def join_pages(pages: Sequence[Page]) -> list[Page]:
    """The pages with ids that differ between them; those after the first have headings one level down."""
    stems = {f"{page.stem}.html": page.stem for page in pages}
    return [replace(page, body=_move(page, stems, deeper=bool(number))) for number, page in enumerate(pages)]


def _move(page: Page, stems: Mapping[str, str], deeper: bool) -> str:
    tree = parse(page.body)
    for image in tree.select(f'img[src^="{PNG}"]'):
        image["src"] = _smaller(image["src"].removeprefix(PNG))
    for place in tree(id=True):
        place["id"] = f"{page.stem}.{place['id']}"
    for link in tree(href=True):
        link["href"] = _inside(link["href"], page.stem, stems)
    for heading in tree(["h1", "h2", "h3", "h4", "h5"]) if deeper else ():
        heading.name = f"h{int(heading.name[1]) + 1}"
    return to_markup(tree)


@lru_cache(64)  # a figure is in several pages
def _smaller(png: str) -> str:
    """The same pixels as lossless WebP; both in base64."""
    Image.open(io.BytesIO(base64.b64decode(png))).save(webp := io.BytesIO(), "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(webp.getvalue()).decode()


def _inside(link: str, stem: str, stems: Mapping[str, str]) -> str:
    """A link on a page to a place in the report as a link into the same file."""
    file, _, place = link.partition("#")
    target = stems.get(file) if file else stem
    if target is None:
        return link
    return f"#{target}.{place}" if place else f"#{target}"
