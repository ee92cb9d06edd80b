"""Write a figure as SVG for a page: colours that follow the theme, a title for each point, and no byte without effect.

matplotlib draws; its output is taken apart and made smaller. Colours become CSS variables that are defined where the
reader's scheme is dark, so one drawing has both themes. The fill of what has the gid "cell" stays: a map has the same
colours in both, and the numbers in its cells stand out from them. Texts stay texts in the font of the page.
"""

import io
import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .colours import in_the_dark
from .marks import Marks, data_lines, marks, plots

MOST_MARKS = 2000  # from here on a page is lighter with pixels
POINTS = 72  # of an inch: matplotlib's unit in SVG
PIXELS = 100  # of an inch on a page
PLACES = 1  # digits behind the point: a tenth of a point is not seen
NAMESPACE = re.compile(r"\{[^}]*\}")
NUMBER = re.compile(r"-?\d+\.\d+")
COLOUR = re.compile(r"#[0-9a-f]{6}")
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # in XML
LOCAL = "drawing-"  # begins the ids of a drawing, which a page makes distinct
MARK, CELL = "mark-", "cell"  # gids: of what has titles or is a curve, and of what keeps its colours
SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "perflib"}
ROOT = "fill:#000000;stroke-linejoin:round"
NEAR = 0.1  # points between a marker and the place of its title


def svg(figure: Figure, words: str, kind: str = "wide") -> str:
    """The figure as the markup of one svg element of the class `drawing` and its kind, described by `words`."""
    groups = marks(figure)
    lines = [line for axes in plots(figure) for line in data_lines(axes)]
    before = {artist: artist.get_gid() for artist in [*lines, *(group.artist for group in groups)]}
    names = {artist: f"{MARK}{number}" for number, artist in enumerate(before)}
    dpi = figure.dpi
    try:
        for artist, name in names.items():
            artist.set_gid(f"{name} {CELL}" if before[artist] == CELL else name)
        figure.set_dpi(POINTS)
        places = [group.artist.get_transform().transform(group.places) if len(group.places) else () for group in groups]
        with rc_context(SETTINGS):
            FigureCanvasSVG(figure).print_svg(text := io.BytesIO(), metadata={"Date": None})  # savefig draws twice
    finally:
        figure.set_dpi(dpi)
        for artist, gid in before.items():
            artist.set_gid(gid)
    root = ElementTree.fromstring(UNWRITABLE.sub("", text.getvalue().decode()))
    height = figure.get_figheight() * POINTS
    _drop(root)
    elements = {element.get("id", "").split(" ")[0]: element for element in root.iter("g")}
    for line in lines:
        if names[line] in elements:
            elements[names[line]].set("class", "curve")
    for group, pixels in zip(groups, places, strict=True):
        if names[group.artist] in elements:
            _title(elements[names[group.artist]], group, pixels, height)
    _join_segments(root)
    _number_ids(root)
    _unwrap(root)
    _theme(root)
    width, height = (round(PIXELS * side) for side in figure.get_size_inches())
    root.attrib = {"class": f"drawing {kind}", "role": "img", "aria-label": words, "viewBox": root.get("viewBox", "")}
    root.attrib |= {"width": str(width), "height": str(height), "style": _variables(ROOT)}
    root.insert(0, _dark_colours(root))
    return ElementTree.tostring(root, encoding="unicode")


def count_marks(figure: Figure) -> int:
    """Points, cells and bars of a figure."""
    return sum(len(group.titles) for group in marks(figure))


def _drop(root: Element) -> None:
    """Names without their namespace, no metadata, no ground of the figure, no style sheet, no white space."""
    for element in root.iter():
        element.tag = NAMESPACE.sub("", element.tag)
        element.attrib = {NAMESPACE.sub("", name): value for name, value in element.attrib.items()}
        if element.tag != "text":
            element.text = None
        element.tail = None
    for parent in list(root.iter()):
        for child in list(parent):
            is_style = child.tag == "defs" and child.find("style") is not None
            if child.tag == "metadata" or is_style or child.get("id") == "patch_1":
                parent.remove(child)


def _title(group: Element, of: Marks, pixels: np.ndarray, height: float) -> None:
    """Give each marker, cell or bar below a group its title; what lies outside of the drawing is not there."""
    if not len(of.places):
        for shape, title in zip(group.iter("path"), of.titles, strict=False):
            _add_title(shape, title)
        return
    waiting = [(x, height - y, title) for (x, y), title in zip(pixels, of.titles, strict=True) if np.isfinite((x, y)).all()]
    for marker in group.iter("use"):
        x, y = (float(marker.get(side, 0)) for side in ("x", "y"))
        nearest = min(waiting, key=lambda point: np.hypot(point[0] - x, point[1] - y), default=None)
        if nearest and np.hypot(nearest[0] - x, nearest[1] - y) < NEAR:
            _add_title(marker, nearest[2])
            waiting.remove(nearest)


def _add_title(element: Element, title: str) -> None:
    if title:
        child = ElementTree.SubElement(element, "title")
        child.text = title


def _join_segments(root: Element) -> None:
    """What all shapes of a group have in common stands at the group; the error bars of a curve are one path."""
    for group in list(root.iter("g")):
        children = list(group)
        if len(children) < 2 or not {child.tag for child in children} <= {"path", "use"}:
            continue
        styles = [_declarations(child) for child in children]
        # opacity of a group is that of the whole
        shared = [part for part in styles[0] if all(part in one for one in styles) and not part.startswith("opacity")]
        if shared:
            group.set("style", "; ".join(shared))
            for child, parts in zip(children, styles, strict=True):
                child.set("style", "; ".join(part for part in parts if part not in shared))
        if len(clips := {child.get("clip-path") for child in children}) == 1 and None not in clips:
            group.set("clip-path", *clips)
            for child in children:
                del child.attrib["clip-path"]
        is_same = len({child.get("style") for child in children}) == 1
        if is_same and "fill: none" in shared and all(child.tag == "path" and not len(child) for child in children):
            children[0].set("d", " ".join(child.get("d", "") for child in children))
            for child in children[1:]:
                group.remove(child)


def _declarations(element: Element) -> list[str]:
    return [part.strip() for part in element.get("style", "").split(";") if part.strip()]


def _number_ids(root: Element) -> None:
    """Short ids for what is used again, none for the rest."""
    texts = [value for element in root.iter() for name, value in element.attrib.items() if name in ("href", "clip-path")]
    names = dict.fromkeys(re.search(r"#([^)]+)", text)[1] for text in texts if "#" in text)
    numbers = {name: f"{LOCAL}{number}" for number, name in enumerate(names)}
    for element in root.iter():
        if (name := element.get("id")) in numbers:
            element.set("id", numbers[name])
        elif name and "cell" not in name:
            del element.attrib["id"]
        for reference in ("href", "clip-path"):
            if "#" in (text := element.get(reference, "")):
                element.set(reference, re.sub(r"#([^)]+)", lambda match: f"#{numbers[match[1]]}", text))


def _unwrap(element: Element) -> None:
    """Groups that say nothing give way to what is in them."""
    children = []
    for child in element:
        _unwrap(child)
        children += list(child) if child.tag == "g" and not child.attrib else [child]
    element[:] = children


def _theme(root: Element) -> None:
    """Colours as variables but for the fill of cells, numbers of few digits, styles without spaces and fonts."""
    for element, is_cell in _walk(root, False):
        if "style" in element.attrib:
            pairs = [part.split(":", 1) for part in _declarations(element)]
            style = {name.strip(): value.strip() for name, value in pairs}
            style = {name: value for name, value in style.items() if name != "font-family"}
            if is_cell and element.tag == "text":
                style.setdefault("fill", "#000000")
            parts = (f"{k}:{v if is_cell and k == 'fill' else _variables(v)}" for k, v in style.items())
            element.set("style", ";".join(parts))
            if not style:
                del element.attrib["style"]
        for name in ("d", "x", "y", "width", "height", "transform"):
            if name in element.attrib:
                element.set(name, _rounded(" ".join(element.get(name, "").split())))
        if "d" in element.attrib:
            element.set("d", _straight(re.sub(r" ?([A-Za-z]) ?", r"\1", element.get("d", ""))))
        if element.get("transform", "").startswith(("rotate(-0 ", "rotate(0 ")):
            del element.attrib["transform"]
        if "cell" in element.get("id", ""):
            del element.attrib["id"]
    own = {f"#{path.get('id')}": path.get("style") for path in root.iter("path") if "id" in path.attrib}
    for marker in root.iter("use"):
        if own.get(marker.get("href")) == marker.get("style"):
            marker.attrib.pop("style", None)


def _straight(path: str) -> str:
    """The path with the shorter commands for lines along an axis."""
    parts, x, y = [], "", ""
    for command, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        to = numbers.split()
        if command == "L" and to[1:] == [y]:
            command, numbers = "H", to[0]
        elif command == "L" and to[:-1] == [x]:
            command, numbers = "V", to[1]
        x, y = to[-2:] if len(to) > 1 else ("", "")
        parts.append(command + numbers)
    return "".join(parts)


def _walk(element: Element, is_cell: bool) -> Iterator[tuple[Element, bool]]:
    is_cell = is_cell or "cell" in element.get("id", "")
    yield element, is_cell
    for child in element:
        yield from _walk(child, is_cell)


def _rounded(text: str) -> str:
    return NUMBER.sub(lambda match: f"{float(match[0]):.{PLACES}f}".removesuffix(".0"), text)


def _variables(style: str) -> str:
    """`#0072b2` as `var(--c0072b2,#0072b2)`: where nothing defines the variable, as in print, the colour is as drawn."""
    return COLOUR.sub(lambda match: f"var(--c{match[0][1:]},{match[0]})", style)


def _dark_colours(root: Element) -> Element:
    """The variables of a drawing for readers whose scheme is dark."""
    styles = (element.get("style", "") for element in root.iter())
    colours = sorted({name for style in styles for name in re.findall(r"var\(--c([0-9a-f]{6})", style)})
    pairs = "".join(f"--c{colour}:{in_the_dark(f'#{colour}')};" for colour in colours)
    style = Element("style")
    style.text = f"@media screen and (prefers-color-scheme:dark){{.drawing{{{pairs}}}}}"
    return style
