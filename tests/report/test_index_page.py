"""The first page's leading figures, on runs whose times are known."""

import re

import pytest
from runs import isolate
from synthetic import full, limits, record

from perflib.report.index_page import answers, first_page
from perflib.report.page import Page

SAMPLES = {"name": "run.zip", "link": "data/run.zip", "size": 1000}
STEMS = ("01-timing", "02-matmul-scaling", "03-tile-size", "04-rmsnorm")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        isolate(tmp_path_factory.mktemp("data"), patch)
        return full()


@pytest.fixture(scope="module")
def shown(run):
    pages = [Page(stem, f"{stem}?", "", "", (), stem) for stem in STEMS]
    return first_page(run, pages, SAMPLES).body


def test_the_answers_are_what_the_run_says(run):
    assert [answer.figure for answer in answers(run)] == [
        "25 % of the peak",
        "12 times as long",
        "1.2 times as long",
        "2.0 times as fast",
    ]
    assert "matmul_ikj at n = " in answers(run)[0].detail
    assert re.search(r"matmul_naive / matmul_ikj at n = 512: 12\.\d \[1\d\.\d, 1\d\.\d\]", answers(run)[1].detail)


def test_what_a_run_lacks_is_left_out(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)

    assert answers(record(*limits())) == []
    assert [answer.stem for answer in answers(full(tiles=None, limits=None))] == ["02-matmul-scaling", "04-rmsnorm"]


def test_the_answers_and_the_machine_come_before_verdicts_and_verdicts_before_figures(shown):
    places = [
        shown.index(mark) for mark in ('class="cards"', 'class="facts"', 'id="verdicts"', 'id="figures"', 'id="pages"')
    ]

    assert places == sorted(places)
    assert shown.count("<figure") == 5


def test_each_claim_leads_to_the_page_that_tells_it(shown):
    told = dict(re.findall(r'<a href="([\w-]+)\.html">(S\d+)</a>', shown)[::-1])

    assert set(told) == set(STEMS)
    assert '<a href="03-tile-size.html">S5</a>' in shown


def test_pages_that_are_not_there_are_not_led_to(run):
    body = first_page(run, [], SAMPLES).body

    assert re.findall(r'href="[\w-]+\.html"', body) == []
    assert "25 % of the peak" in body
