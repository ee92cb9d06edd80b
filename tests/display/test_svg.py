"""Drawings for a page: a title on each point, both themes, texts as texts, and no harm from any name."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from pages import contrast

from perflib.display.colours import DARK_GROUND
from perflib.display.figure import ON_PAGES, curve, label_ends, level, log_axes, picture, share_map
from perflib.display.svg import MOST_MARKS
from perflib.report.markup import distinct
from perflib.report.page import parse, to_markup

HOSTILE = {
    "script": "<script>alert('x')</script>",
    "long": "name " * 40,
    "one long word": "x" * 200,
    "right to left": "\u202eשלום עולם\u202c",
    "terminal": "\x1b[31mred\x1b[0m\x07",
    "other letters": "核心 🚀",
    "half a letter": "a\ud800b",
    "entities": "a & b < c > \"d\" 'e' --",
    "mathematics": "$\\frac{$",
}


@picture
def rates(axes, points=3, name="ikj"):
    x = np.geomspace(64, 512, points)
    curve(axes, name, x, x / 8, x / 9, x / 7)
    curve(axes, "other", x, x / 16, place=1)
    log_axes(axes, x, "n", "GFLOP/s")
    level(axes, 50, "peak 50")
    label_ends(axes)
    return "Two curves."


def tree(drawing):
    return ElementTree.fromstring(drawing)


def styles(drawing):
    return re.findall(r'style="([^"]*)"', drawing)


def titled(drawing):
    """x, y and title of each marker."""
    uses = [use for use in tree(drawing).iter("use") if use.find("title") is not None]
    return [(float(use.get("x")), float(use.get("y")), use.find("title").text) for use in uses]


@pytest.mark.parametrize("number", [0, 1], ids=["wide", "narrow"])
def test_every_point_has_its_title_at_its_place(number):
    first, last, *others = (points := titled(rates(points=2).drawings[number]))

    assert [title for *_, title in points] == [
        "ikj: n = 64, GFLOP/s = 8 [7.111, 9.143]",
        "ikj: n = 512, GFLOP/s = 64 [56.89, 73.14]",
        "other: n = 64, GFLOP/s = 4",
        "other: n = 512, GFLOP/s = 32",
    ]
    assert first[0] < last[0] and first[1] > last[1], "to the right and up"
    assert [place[0] for place in others] == [first[0], last[0]]
    assert others[0][1] > first[1], "half the rate is below"


def test_every_cell_has_its_title_and_keeps_its_colour_in_the_dark():
    @picture
    def shown(axes):
        share_map(axes, np.array([[0.2, 1.0], [np.nan, 0.6]]), (64, 128), (8, 16), "share")
        axes.set(xlabel="n", ylabel="tile")
        return "A map."

    cells = [path for path in tree(shown().drawings[0]).iter("path") if path.find("title") is not None]

    assert [cell.find("title").text for cell in cells] == [
        "n 64, tile 8: 0.2 share",
        "n 128, tile 8: 1 share",
        "n 128, tile 16: 0.6 share",
    ]
    fills = [re.search(r"fill:([^;]+)", cell.get("style"))[1] for cell in cells]
    assert all(re.fullmatch("#[0-9a-f]{6}", fill) for fill in fills)
    assert contrast(fills[1], DARK_GROUND) > contrast(fills[2], DARK_GROUND) > contrast(fills[0], DARK_GROUND)


def test_colours_follow_the_theme_by_variables_and_no_filter():
    for drawing in rates().drawings:
        used = set(re.findall(r"var\(--c([0-9a-f]{6}),#\1\)", drawing))
        defined = dict(re.findall(r"--c([0-9a-f]{6}):(#[0-9a-f]{6});", tree(drawing).find("style").text))

        assert used == set(defined) > {"000000", "ffffff"}
        assert defined["ffffff"] == DARK_GROUND
        assert not [style for style in styles(drawing) if re.search(r"(?<!,)#[0-9a-f]{6}", style)], "none is fixed"
        assert "filter" not in drawing
        assert "prefers-color-scheme:dark" in drawing


def test_texts_are_texts_in_the_font_of_the_page():
    for drawing in rates().drawings:
        words = [text.text for text in tree(drawing).iter("text")]

        assert {"n", "GFLOP/s", "other", "peak 50"} <= set(words)
        assert "font-family" not in drawing


def test_a_narrow_drawing_is_as_wide_as_a_phone_and_its_text_no_smaller():
    wide, narrow = map(tree, rates().drawings)

    assert (wide.get("class"), narrow.get("class")) == ("drawing wide", "drawing narrow")
    assert (int(wide.get("width")), int(narrow.get("width"))) == (760, 358)
    scale = int(narrow.get("width")) / float(narrow.get("viewBox").split()[2])
    sizes = [float(size) for size in re.findall(r"font-size:([0-9.]+)px", rates().drawings[1])]
    assert min(sizes) * scale >= 11


def test_what_is_defined_to_be_used_again_is_not_drawn_itself():
    for drawing in rates().drawings:
        inside = {element.get("id") for defs in tree(drawing).iter("defs") for element in defs.iter() if element.get("id")}

        assert inside
        assert inside == {element.get("id") for element in tree(drawing).iter() if element.get("id")}


def test_a_drawing_describes_itself():
    for drawing in rates().drawings:
        assert tree(drawing).get("role") == "img"
        assert tree(drawing).get("aria-label") == rates().description


def test_the_same_figure_gives_the_same_bytes():
    assert rates().drawings == rates().drawings


def test_a_figure_of_many_marks_is_pixels_at_two_densities(monkeypatch):
    few, many = rates(points=MOST_MARKS // 2 - 1), rates(points=MOST_MARKS // 2)
    assert (len(few.drawings), many.drawings) == (2, ())

    monkeypatch.setenv(ON_PAGES, "page")
    data, metadata = many._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    assert 0 < len(metadata["image/png"]["half"]) < len(many.base64)
    assert set(few._repr_mimebundle_()[0]) == {"image/svg+xml", "text/plain"}


def test_a_notebook_gets_pixels():
    assert set(rates()._repr_mimebundle_()[0]) == {"image/png", "text/plain"}


def test_ids_of_drawings_on_one_page_differ():
    """As they come, and with their attributes sorted, as a page has them that was read and written."""
    drawings = "".join(rates().drawings)
    page = distinct(drawings + to_markup(parse(drawings)) + '<p id="drawing-0">mine</p>')

    ids = re.findall(r'id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 8
    assert {*re.findall(r'href="#([^"]+)"', page), *re.findall(r"url\(#([^)]+)\)", page)} <= set(ids)
    assert "drawing-0" in ids, "which is no part of a drawing"


def test_on_a_page_every_point_keeps_its_title_and_stands_beside_the_others():
    drawings = rates().drawings
    page = distinct("".join(drawings) + to_markup(parse("".join(drawings))))

    found = re.findall("<svg.*?</svg>", page, re.S)

    assert [titled(drawing) for drawing in found] == 2 * [titled(drawing) for drawing in drawings]
    assert not any(list(tree(drawing).iterfind(f".//{shape}/*//{shape}")) for drawing in found for shape in ("use", "path"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_whatever_it_tries(name):
    picture = rates(name=HOSTILE[name])

    assert picture.png.startswith(b"\x89PNG")
    for drawing in picture.drawings:
        elements = {element.tag for element in tree(drawing).iter()}
        assert elements <= {"svg", "style", "g", "defs", "path", "use", "text", "title", "clipPath", "rect"}
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e\u202c\ud800-\udfff]", drawing)
        assert "[31m" not in drawing
        assert all(len(text.text) <= 44 for text in tree(drawing).iter("text"))
    assert "\x1b" not in picture.description


def test_a_drawing_is_light():
    wide, narrow = rates(points=20).drawings

    assert len(wide) < 20_000
    assert len(narrow) < 20_000
