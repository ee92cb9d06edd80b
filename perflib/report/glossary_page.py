"""Explain the technical words of a report on one page, and link their first use on every other page to it.

`templates/glossary.html.j2` has the words: each `dt` is a term, `data-words` has further spellings as regular expressions.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from bs4 import NavigableString, Tag

from .markup import keep_intervals, render
from .page import Page, contents, parse, to_markup

STEM = "glossary"
NO_PROSE = {"a", "summary", "details", "svg", "title", "h1", "h2", "h3", "h4", "h5", "h6", "dt"}


@cache
def glossary_page() -> Page:
    """Every term with its explanation."""
    body = render("glossary.html.j2")
    opening = "Every technical word of these pages in a sentence or two."
    return Page(STEM, "What does this word mean?", opening, body, contents(parse(body)), "glossary")


@cache
def _terms() -> tuple[re.Pattern[str], tuple[str, ...]]:
    """A pattern with one group for each spelling, the longest first, and the id of the term of each group."""
    entries = [(term["id"], term.get_text(), term.get("data-words", "")) for term in parse(glossary_page().body)("dt")]
    pairs = [(re.escape(text), name) for name, text, _ in entries]
    pairs += [(word, name) for name, _, words in entries for word in words.split("|") if word]
    pairs.sort(key=lambda pair: -len(pair[0]))
    groups = "|".join(f"({_any_case(word)})" for word, _ in pairs)
    return re.compile(rf"(?<!\w)(?:{groups})s?(?![\w-])"), tuple(name for _, name in pairs)


def _any_case(word: str) -> str:
    """A spelling that may begin a sentence."""
    return f"[{word[0].upper()}{word[0]}]{word[1:]}" if word[0].islower() else word


def finish(page: Page) -> Page:
    """The page with each term linked at its first use in prose, and with intervals that no line break divides."""
    tree, linked = parse(page.body), {STEM} if page.stem != STEM else {*_terms()[1]}
    for text in tree.find_all(string=True):
        if type(text) is NavigableString and not text.find_parent(["code", "pre", "svg"]):
            whole = keep_intervals(text)
            parts = [whole] if text.find_parent(_is_no_prose) else _link(tree.new_tag, whole, linked)
            text.replace_with(*parts)
    return replace(page, body=to_markup(tree))


def _is_no_prose(tag: Tag) -> bool:
    return tag.name in NO_PROSE or bool({"verdict", "rows"} & set(tag.get("class", ())))


def _link(new_tag, text: str, linked: set[str]) -> Iterator[str | Tag]:
    """The parts of a text: terms that are not in `linked` yet as links, everything else as it is."""
    pattern, names = _terms()
    end = 0
    for match in pattern.finditer(text):
        name = names[match.lastindex - 1]
        if name not in linked:
            linked.add(name)
            yield NavigableString(text[end : match.start()])
            link = new_tag("a", attrs={"class": "term", "href": f"{STEM}.html#{name}"})
            link.string = match[0]
            yield link
            end = match.end()
    yield NavigableString(text[end:])
