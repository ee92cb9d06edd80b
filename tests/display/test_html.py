"""What results show in a notebook and in a terminal: text is text, and the same data give the same bytes."""

import base64
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from runs import MACHINE

from perflib import fit_scaling
from perflib.display.figure import Picture
from perflib.display.html import bar, image, reach, strip, table
from perflib.display.text import aligned, on_one_line
from perflib.performance_stats import PerformanceStats
from perflib.stats import Interval
from perflib.timing.results import Comparison

HOSTILE = "<script>alert('x')</script>\n\"quoted\" & more"
SHOWN = "<script>alert('x')</script> \"quoted\" & more"


def a_comparison(measurement, name=HOSTILE):
    call = measurement(label=name)
    one = measurement(label=name, call=call, dispatch_ns=Interval(5, 4, 6, 0.97), flops=2000, processes_ns=(990.0, 1010.0))
    other = measurement((2010, 2020, 2030, 2040, 2050, 2060), label="new", notes=(name,), state="noisy", reasons=(name,))
    ratio = {"new": Interval(1.99, 1.98, 2.0, 0.97)}
    return Comparison(name, {name: one, "new": other}, ratio, {"new": "slower"}, Interval(1, 0.99, 1.01, 0.97), 0.02)


def results(measurement, name=HOSTILE):
    """One of each kind of result, every label in it the same."""
    compared = a_comparison(measurement, name)
    part = name.replace("/", "|")
    return {
        "measurement": compared.measurements[name],
        "comparison": compared,
        "fit": fit_scaling([64, 80, 100, 128], [64, 80, 100, 128]),
        "stats": PerformanceStats((part,), forward_pass_ms=2, **{f"{part}_ms": 1}),
        "machine": replace(MACHINE, cpu=name),
    }


KINDS = ("measurement", "comparison", "fit", "stats", "machine")
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_a_result_in_a_notebook_is_one_well_formed_table_without_an_element_of_the_label(measurement, kind):
    html = results(measurement)[kind]._repr_html_()

    elements = {element.tag for element in ElementTree.fromstring(html).iter()}

    assert {"table", "img" if kind == "fit" else "svg"} <= elements
    assert elements <= {
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "svg",
        "rect",
        "circle",
        "path",
        "div",
        "img",
    }
    assert "script" not in elements


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "fit"])
def test_a_label_is_read_as_it_was_written_but_for_its_newline(measurement, kind):
    html = results(measurement)[kind]._repr_html_()

    text = "".join(ElementTree.fromstring(html).itertext())

    assert SHOWN.replace("/", "|" if kind == "stats" else "/") in text


@each_kind
def test_a_result_shows_the_same_bytes_each_time(measurement, kind):
    first, second = results(measurement)[kind], results(measurement)[kind]

    assert first._repr_html_() == second._repr_html_()
    assert repr(first) == repr(second)
    assert "object at 0x" not in repr(first)


@each_kind
def test_every_picture_says_in_words_what_is_to_be_seen(measurement, kind):
    tree = ElementTree.fromstring(results(measurement)[kind]._repr_html_())

    for picture in tree.iter("svg"):
        assert picture.get("role") == "img"
        assert len(picture.get("aria-label")) >= 10


@pytest.mark.parametrize("kind", ["measurement", "comparison"])
def test_the_texts_of_a_result_stand_under_each_other(measurement, kind):
    lines = repr(results(measurement, "sum")[kind]).splitlines()

    starts = {re.match(r"( {5,}| {0,4}[^ :][^:]*: *)\S", line).end() for line in lines}

    assert len(lines) >= 4
    assert len(starts) == 1


def test_statistics_in_a_terminal_are_the_lines_that_print_prints():
    stats = PerformanceStats(forward_pass_ms=10, attention_ms=4, ffn_ms=6)

    assert repr(stats).splitlines()[1:3] == ["Forward pass: 10.000 ms", "- Embedding:  0.000 ms (0.0%)"]


def test_columns_are_as_wide_as_their_widest_cell_and_rows_may_end_early():
    assert aligned([("a", "bb", "c"), ("ddd",), ("e", "f", "g")]) == "a    bb  c\nddd\ne    f   g"


def test_words_keep_one_space_between_them():
    assert on_one_line(" a\n\tb  c\r\n") == "a b c"


def test_a_table_escapes_header_cells_and_caption():
    html = table(("<i>",), [("<b>",)], "<u>")

    assert html.count("&lt;") == 3
    assert "<b>" not in html


def test_a_column_without_an_entry_is_left_out():
    html = table(("what", "rate", "state"), [("a", "", ""), ("b", "", "noisy")])

    assert "rate" not in html
    assert html.endswith("<tr><td>a</td><td></td></tr><tr><td>b</td><td>noisy</td></tr></tbody></table>")
    assert "rate" in table(("rate",), [])


def places(picture, name, *attributes):
    tree = ElementTree.fromstring(picture)
    return [tuple(float(e.get(a)) for a in attributes) for e in tree.iter(name)]


def test_a_strip_puts_larger_values_higher_and_later_ones_further_right():
    dots = places(strip([1.0, 3.0, 2.0], Interval(2, 1.5, 2.5, 0.95), "times"), "circle", "cx", "cy")

    assert [x for x, _ in dots] == sorted(x for x, _ in dots)
    assert dots[1][1] < dots[2][1] < dots[0][1]


def test_the_band_of_a_strip_lies_between_the_heights_of_its_ends():
    picture = strip([1.0, 3.0, 2.0], Interval(2, 1, 3, 0.95), "times")
    (top, height), dots = places(picture, "rect", "y", "height")[0], places(picture, "circle", "cy")

    assert top == dots[1][0]
    assert top + height == pytest.approx(dots[0][0])


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0, 5.0]])
def test_values_that_are_all_the_same_are_drawn(values):
    assert len(places(strip(values, Interval(5, 5, 5, 0.95), "times"), "circle", "cx")) == len(values)


def test_a_ratio_of_one_is_drawn_on_the_mark():
    picture = reach(Interval(1, 0.9, 1.1, 0.95), (0.5, 2.0), "ratio")

    mark = re.search(r"M([\d.]+) 0V", picture)[1]
    assert places(picture, "circle", "cx") == [(float(mark),)]


def test_half_and_twice_as_long_are_equally_far_from_the_mark():
    half, twice = (places(reach(Interval(r, r, r, 0.95), (0.25, 4.0), "ratio"), "circle", "cx")[0][0] for r in (0.5, 2))

    assert half + twice == pytest.approx(120, abs=0.2)


@pytest.mark.parametrize(("share", "width"), [(0, 0), (0.5, 60), (1, 120), (1.3, 120), (-1, 0), (float("nan"), 0)])
def test_a_bar_is_as_long_as_its_share(share, width):
    assert places(bar(share, "share"), "rect", "width") == [(width,)]


def test_a_figure_is_an_image_in_the_page_with_its_words():
    png = b"\x89PNG\r\n\x1a\n" + bytes(8) + (40).to_bytes(4, "big") + (20).to_bytes(4, "big")

    element = ElementTree.fromstring(image(Picture(png, 'a "figure" <b>')))
    assert element.attrib["alt"] == 'a "figure" <b>'
    assert (element.attrib["width"], element.attrib["height"]) == ("20", "10")
    assert base64.b64decode(element.attrib["src"].removeprefix("data:image/png;base64,")) == png
