"""The glossary: every term once, linked where a page first uses it, and nowhere that is not prose."""

import re

import pytest
from pages import Page as Parsed

from perflib.report.glossary_page import finish, glossary_page
from perflib.report.page import Page


def links(body, stem="any"):
    """Term and words of each link to the glossary."""
    return re.findall(r'href="glossary\.html#([\w-]+)">([^<]+)</a>', finish(Page(stem, stem, "", body, (), stem)).body)


def ids(kind="dt"):
    return re.findall(rf'<{kind} id="([^"]+)"', glossary_page().body)


def test_every_term_has_its_own_place_and_an_explanation():
    explanations = re.findall(r"<dd>(.+?)</dd>", glossary_page().body)

    assert len(ids()) == len(set(ids())) == len(explanations) > 50
    assert min(map(len, explanations)) > 30


def test_only_the_first_use_on_a_page_is_linked():
    body = "<p>A roofline, and two rooflines.</p><p>Theil-Sen on a roofline.</p>"

    assert links(body) == [("roofline", "roofline"), ("theil-sen", "Theil-Sen")]


def test_a_term_is_found_at_the_beginning_of_a_sentence_and_in_the_plural():
    assert links("<p>Oracles differ. Leading dimensions too.</p>") == [
        ("oracle", "Oracles"),
        ("leading-dimension", "Leading dimensions"),
    ]


def test_the_longest_spelling_wins():
    assert links("<p>the multiply-add peak</p>") == [("peak", "multiply-add peak")]


@pytest.mark.parametrize(
    "body",
    [
        "<h2>Oracle</h2>",
        "<pre>oracle</pre>",
        "<p><code>oracle</code></p>",
        '<p><a href="x.html">oracle</a></p>',
        "<details><summary>code</summary><p>oracle</p></details>",
        "<p>my_oracle, oracle_of, oraclesque, oracle-like</p>",
        '<table><tr><td class="verdict HOLDS">HOLDS</td></tr></table>',
    ],
)
def test_headings_code_links_verdicts_and_parts_of_names_stay(body):
    assert finish(Page("any", "any", "", body, (), "any")).body == body


def test_the_glossary_does_not_lead_to_itself():
    assert links(glossary_page().body, "glossary") == []


def test_an_interval_is_kept_on_one_line_and_code_keeps_its_spaces():
    body = "<p>62.1 ns [61.8, 62.5] and 37.0 [36.7, 37.3] %</p><pre>2 [1, 3]</pre>"

    assert finish(Page("glossary", "", "", body, (), "")).body == (
        "<p>62.1\u00a0ns\u00a0[61.8,\u00a062.5] and 37.0\u00a0[36.7,\u00a037.3]\u00a0%</p><pre>2 [1, 3]</pre>"
    )


def test_every_link_of_a_report_to_the_glossary_has_its_place(handmade_report):
    places = {
        link["href"]
        for page in handmade_report.glob("*.html")
        for link in Parsed(page).all("a")
        if link["href"].startswith("glossary.html#")
    }

    assert {place.partition("#")[2] for place in places} <= set(ids()) | set(ids("h2"))
    assert len(places) > 10
