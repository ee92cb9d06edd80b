"""A notebook as a page: what only a notebook says is left out, what a run lacks is said once, prose is stacked."""

import re

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from perflib.display.table import Missing, Table, or_missing
from perflib.errors import RunError
from perflib.report.page import exporter, page


def shown(*cells):
    """The page of a notebook of these texts and results."""
    made = [new_markdown_cell(c) if isinstance(c, str) else new_code_cell("x", outputs=[_output(c)]) for c in cells]
    return page(exporter(), "01-any", nbformat.from_dict(new_notebook(cells=made)))


def _output(result):
    html = result._repr_html_() if hasattr(result, "_repr_html_") else None
    return new_output("execute_result", {"text/plain": repr(result)} | ({"text/html": html} if html else {}))


@or_missing
def absent(name):
    raise RunError(f"run x has no {name}")


def test_how_long_a_notebook_takes_is_not_said_on_a_page():
    made = shown("# Why?\n\nOne. You will learn\n\n- x\n\nAs a notebook this page runs in about ten seconds.\n\nTwo.")

    assert "As a notebook" not in made.body
    assert "<p></p>" not in made.body
    assert "Two." in made.body


def test_what_a_run_lacks_is_a_word_in_its_place_and_one_line_at_the_end():
    made = shown("# Why?", absent("tiles"), "Between.", absent("forward"), "After.")

    assert isinstance(absent("tiles"), Missing)
    assert made.body.count('<a href="#lacks">Not in this run</a>') == 2
    assert re.findall(r'id="lacks">([^.]+\.)', made.body) == ["This run lacks the series for 2 places of this page."]
    assert made.body.index("After.") < made.body.index('id="lacks"')
    assert "run x has no" not in made.body


def test_a_page_that_lacks_nothing_says_nothing_of_it():
    assert "lacks" not in shown("# Why?", Table(("a",), (("1",),))).body


def test_a_link_to_the_first_notebook_leads_to_the_first_page():
    made = shown("# Why?\n\n[00-start-here](00-start-here.ipynb) [b](02-b.ipynb#C)")

    assert re.findall(r'href="([^"]+)"', made.body) == ["index.html", "02-b.html#C"]
    assert ">the first page</a>" in made.body


def test_a_table_of_prose_or_of_many_columns_is_stacked_on_a_phone_with_the_name_of_each_column():
    prose = shown("# Why?", Table(("id", "evidence"), (("S1", "word " * 20),))).body
    numbers = shown("# Why?", Table(("n", "time"), (("1", "2.0 [1.9, 2.1]"),))).body

    assert 'class="stacked"' in prose
    assert '<td data-label="evidence">' in prose
    assert "stacked" not in numbers
    assert "data-label" not in numbers
    wide = shown("# Why?", Table(("kernel", *(f"n = {n} (GFLOP/s)" for n in range(6))), (("k", *("100.0",) * 6),))).body
    assert 'class="stacked"' in wide
