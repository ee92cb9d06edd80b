"""Join all pages of a report into one file to mail, with the samples inside.

The first page keeps its place at the top. Links between pages become links inside the file. Pictures become WebP without
loss, two thirds of the bytes. A picture that stands in several places is kept once: SVG shows it again by its name, which
an img cannot.
"""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bs4 import BeautifulSoup, Tag
from PIL import Image

from .page import Page, parse, to_markup

PNG = "data:image/png;base64,"
PICTURES = f'img[src^="{PNG}"]'


def join_pages(pages: Sequence[Page]) -> list[Page]:
    """The pages with ids that differ between them; those after the first have headings one level down."""
    stems = {f"{page.stem}.html": page.stem for page in pages}
    trees = [_sharp(parse(page.body)) for page in pages]
    counts = Counter(image["src"] for tree in trees for image in tree.select(PICTURES))
    names = {src: f"picture-{number}" for number, (src, count) in enumerate(counts.items(), start=1) if count > 1}
    kept: set[str] = set()
    bodies = [
        _move(tree, page, stems, bool(number), names, kept)
        for number, (tree, page) in enumerate(zip(trees, pages, strict=True))
    ]
    return [replace(page, body=body) for page, body in zip(pages, bodies, strict=True)]


def _move(
    tree: BeautifulSoup, page: Page, stems: Mapping[str, str], deeper: bool, names: Mapping[str, str], kept: set[str]
) -> str:
    for place in tree(id=_is_of_page):
        place["id"] = f"{page.stem}.{place['id']}"
    for link in tree("a", href=True):
        link["href"] = _inside(link["href"], page.stem, stems)
    for heading in tree(["h1", "h2", "h3", "h4", "h5"]) if deeper else ():
        heading.name = f"h{int(heading.name[1]) + 1}"
    for image in tree.select(PICTURES):
        src = image["src"]
        image["src"] = _smaller(src.removeprefix(PNG))
        if src in names:
            image.replace_with(_by_name(image, names[src], names[src] in kept))
            kept.add(names[src])
    return to_markup(tree)


def _sharp(tree: BeautifulSoup) -> BeautifulSoup:
    """Of a picture at two densities the larger one, which looks right at both."""
    for image in tree("img", srcset=True):
        image["src"] = image.attrs.pop("srcset").removesuffix(" 2x")
    return tree


def _is_of_page(name: str | None) -> bool:
    """Whether an id belongs to the page, not to a drawing on it."""
    return bool(name) and not name.startswith("drawing-")


def _by_name(image: Tag, name: str, is_kept: bool) -> Tag:
    """An SVG in place of a picture with width and height: the picture under its name, or that one again."""
    size = {side: image[side] for side in ("width", "height")}
    svg = BeautifulSoup("", "html.parser").new_tag("svg", role="img", viewBox=f"0 0 {size['width']} {size['height']}")
    svg.attrs |= size | {"aria-label": image["alt"]}
    look = {"href": f"#{name}"} if is_kept else {"id": name, "href": image["src"], **size}
    svg.append(BeautifulSoup("", "html.parser").new_tag("use" if is_kept else "image", attrs=look))
    return svg


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
