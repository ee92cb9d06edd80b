"""What a page of the report must be, checked with the parser of the standard library.

problems(page)      every fault of one HTML file, as sentences; [] is what a test asks for
contrast(one, other)    how far text stands out from its ground
"""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

FETCHING = {"script", "link", "iframe", "object", "embed", "audio", "video", "source", "base", "form"}
HELD = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+ 2x")  # the larger of two densities, inside the page


class Page(HTMLParser):
    """The parts of a page that the checks ask for."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.title = ""
        self._inside = ""
        self.style = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
        elif self._inside == "style":
            self.style += data

    def all(self, name: str) -> list[dict[str, str]]:
        """Attributes of every element of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]

    @property
    def ids(self) -> list[str]:
        """Every id, in order."""
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]

    @property
    def levels(self) -> list[int]:
        """Levels of the headings, in order."""
        return [int(tag[1]) for tag, _ in self.tags if re.fullmatch("h[1-6]", tag)]


def problems(path: Path) -> list[str]:
    """Every fault of a page."""
    page = Page(path)
    found = [*_structure(page), *_fetching(page), *_links(page)]
    for image in page.all("img"):
        found += _picture(image)
    return [f"{path.name}: {fault}" for fault in found]


def _structure(page: Page) -> list[str]:
    found = []
    if [a.get("lang") for a in page.all("html")] != ["en"]:
        found.append("no language")
    if not page.title.strip():
        found.append("no title")
    if page.levels[:1] != [1] or page.levels.count(1) != 1:
        found.append(f"must open with its only h1, has levels {page.levels}")
    found += [f"h{a} is followed by h{b}" for a, b in zip(page.levels, page.levels[1:], strict=False) if b > a + 1]
    found += [f"id {name!r} occurs more than once" for name in set(page.ids) if page.ids.count(name) > 1]
    found += ["code is not folded" for attributes in page.all("details") if "open" in attributes]
    return found


def _fetching(page: Page) -> list[str]:
    found = [f"<{tag}> is not allowed" for tag, _ in page.tags if tag in FETCHING]
    for tag, attributes in page.tags:
        found += [f"<{tag}> has {name}" for name in attributes if name.startswith("on")]
        densities = attributes.get("srcset")
        found += [f"<{tag}> has srcset {densities[:60]}"] if densities and not HELD.fullmatch(densities) else []
        source = attributes.get("src", "data:")
        found += [f"<{tag}> fetches {source[:60]}"] if not source.startswith("data:") else []
        found += [f"<{tag}> has url() in its style"] if "url(" in attributes.get("style", "") else []
    if "url(" in page.style or "@import" in page.style:
        found.append("the style fetches something")
    if not any("default-src 'none'" in meta.get("content", "") for meta in page.all("meta")):
        found.append("no policy that refuses scripts and requests")
    return found


def _links(page: Page) -> list[str]:
    found = []
    for link in page.all("a"):
        target, _, fragment = link["href"].partition("#")
        if re.match(r"https?://|data:application/zip", target):
            continue  # followed by a reader, fetched by nobody
        file = page.path.parent / unquote(target) if target else page.path
        if not file.is_file():
            found.append(f"link to {target}, which is not there")
        elif fragment and unquote(fragment) not in Page(file).ids:
            found.append(f"link to {link['href']}, which has no such place")
    return found


def _picture(image: dict[str, str]) -> list[str]:
    source, alt = image.get("src", ""), image.get("alt", "")
    if not source.startswith(("data:image/png;base64,", "data:image/webp;base64,")):
        return [f"picture is not embedded: {source[:60]}"]
    width, height = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).size
    found = [] if len(alt) >= 20 else [f"description {alt!r} is shorter than 20 characters"]
    declared = (int(image.get("width") or 0), int(image.get("height") or 0))
    as_drawn, sharp = (width, height), (width // 2, height // 2)
    return (
        found if declared in (as_drawn, sharp) and min(declared) > 0 else [*found, f"declared as {declared}, is {as_drawn}"]
    )


def contrast(one, other):
    """Contrast ratio of two colours, as the Web Content Accessibility Guidelines 2.1 define it."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
