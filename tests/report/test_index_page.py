"""The first page's leading figures, on runs whose times are known."""

import re

import pytest
from runs import isolate, row, start
from synthetic import full, limits, matmul, record

from perflib.report.index_page import answers, first_page, headline, quietness
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
    share, numpy, *others = [answer.figure for answer in answers(run)]
    assert share == "25 % of the peak"
    assert re.fullmatch(r"0\.4\d times as long", numpy)
    assert others == [
        "12 times as long",
        "1.2 times as long",
        "2.0 times as fast",
    ]
    assert "matmul_ikj at n = " in answers(run)[0].detail
    assert re.search(r"matmul_naive / matmul_ikj at n = 512: 12\.\d \[1\d\.\d, 1\d\.\d\]", answers(run)[2].detail)


def test_what_a_run_lacks_is_left_out(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)

    assert answers(record(*limits())) == []
    assert [answer.stem for answer in answers(full(tiles=None, limits=None))] == [
        "02-matmul-scaling",
        "02-matmul-scaling",
        "04-rmsnorm",
    ]


def test_the_answer_comes_first_then_figures_verdicts_the_way_on_and_the_machine(shown):
    marks = ['class="lede"', 'class="cards"', "<figure", 'id="tile"']
    marks += ['id="verdicts"', 'id="own"', 'id="pages"', 'id="machine"']
    places = [shown.index(mark) for mark in marks]

    assert places == sorted(places)
    assert shown.count("<figure") == 3
    assert all(f'id="figure-{number}">' in shown for number in (1, 2, 3))


def test_each_claim_leads_to_the_page_that_tells_it(shown):
    told = dict(re.findall(r'<a href="([\w-]+)\.html">(S\d+)</a>', shown)[::-1])

    assert set(told) == set(STEMS)
    assert '<a href="03-tile-size.html">S5</a>' in shown


def test_pages_that_are_not_there_are_not_led_to(run):
    body = first_page(run, [], SAMPLES).body

    assert re.findall(r'href="[\w-]+\.html"', body) == []
    assert "25 % of the peak" in body


def test_the_first_line_answers_the_title(run):
    """ikj has 25 GFLOP/s of 100, NumPy 60 and the textbook loop 2, all at n = 512."""
    words = re.fullmatch(
        r"On Test\(R\) Chip 9000, the best matrix multiplication reaches (\d+) GFLOP/s, (\d+) % of the peak of one core\. "
        r"It is ([\d.]+) times as fast as NumPy \(n = 512\) and ([\d.]+) times as fast as the textbook loop \(n = 512\)\.",
        headline(run),
    )

    rate, share, numpy, textbook = map(float, words.groups())
    assert (rate, share) == (pytest.approx(25, abs=1), pytest.approx(25, abs=1))
    assert (numpy, textbook) == (pytest.approx(25 / 60, rel=0.02), pytest.approx(12.5, rel=0.02))


def test_what_the_first_line_cannot_compare_it_leaves_out(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)

    assert headline(record(matmul(libraries={}), *limits())).endswith("as fast as the textbook loop (n = 512).")
    assert "NumPy" not in headline(record(matmul(libraries={}), *limits()))
    assert headline(record(*limits())).endswith("this run has no matrix multiplication and no peak to compare it with.")


@pytest.mark.parametrize(
    ("switches", "canary_ns", "words"),
    [
        (0, [1000.0], "The machine was quiet: other programs took 0.0 % of the time, and the reference loop varied by 0 %"),
        (1, [1000.0], "The machine was not quiet: other programs took 10.0 % of the time, "),
        (0, [1000.0, 1500.0], "The machine was not quiet: other programs took 0.0 % of the time, "),
    ],
)
def test_it_says_whether_the_machine_was_quiet(tmp_path, monkeypatch, switches, canary_ns, words):
    isolate(tmp_path, monkeypatch)
    times = {"reps": 1, "elapsed_ns": 1000, "cpu_ns": 900, "switches": switches}
    run = start()
    with run.block("matmul", "float32 scaling") as append:
        for number in range(12):
            cells = [("matmul_naive", 1000.0), ("canary", canary_ns[number % len(canary_ns)])]
            rows = [times | {"kernel": name, "elapsed_ns": round(ns), "cpu_ns": round(0.9 * ns)} for name, ns in cells]
            append(row("float32 scaling", number, position=place, **one) for place, one in enumerate(rows))

    assert quietness(run.finish()).startswith(words)


def test_without_samples_nothing_is_said_of_quiet(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)

    assert quietness(record()) == ""


def test_an_undecided_claim_says_what_to_run_next(shown, tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    pages = [Page(stem, f"{stem}?", "", "", (), stem) for stem in STEMS]

    assert first_page(record(), pages, SAMPLES).body.count("To decide: <code>make report FULL=1</code>") >= 8
    assert shown.count("To decide: ") == len(re.findall(r'class="verdict UNDECIDED"', shown))
