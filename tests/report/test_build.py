"""The report on a small set of notebooks: offline, described, folded, escaped, and never half replaced."""

import base64
import html
import re
import zipfile

import pages
import pytest
from handmade import ALT, META, RUN_ID, digests, findings, run, square, write

from perflib.errors import ReportError
from perflib.files import CLONE
from perflib.report.build import build
from perflib.report.markup import TEMPLATES
from perflib.runs.store import Run

STEMS = ["index", "performance-guide", "01-first", "02-second", "glossary", "api-reference"]
PAIRS = [("text", "ground"), ("text", "panel"), ("muted", "ground"), ("muted", "panel"), ("link", "ground")]
PAIRS += [(name, "ground") for name in ("holds", "fails", "undecided", "keyword", "string", "number", "comment")]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A run made by hand, and its findings."""
    findings(monkeypatch)
    return run(tmp_path)


@pytest.fixture(scope="module")
def built(handmade_report):
    return handmade_report


@pytest.fixture(scope="module")
def first(built):
    return (built / "01-first.html").read_text()


@pytest.fixture(scope="module")
def index(built):
    return (built / "index.html").read_text()


def test_a_report_is_an_index_a_page_per_notebook_and_the_samples(built):
    files = {str(f) for f in digests(built)}

    assert files == {*(f"{stem}.html" for stem in STEMS), f"data/{RUN_ID}.zip"}


@pytest.mark.parametrize("stem", STEMS)
def test_a_page_is_offline_described_and_in_order(built, stem):
    assert pages.problems(built / f"{stem}.html") == []


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ('<img src="https://example.org/a.png" alt="a picture that is fetched">', "fetches https://example.org"),
        ("<script>1</script>", "<script> is not allowed"),
        ('<img srcset="https://example.org/a.png 2x">', "has srcset https://example.org"),
        ('<p onclick="x()">', "has onclick"),
        ('<link rel="stylesheet" href="a.css">', "<link> is not allowed"),
        ("<style>@import 'a.css'</style>", "style fetches"),
        ('<p id="a"><p id="a">', "id 'a' occurs more than once"),
        ("<h1>a</h1><h3>b</h3>", "h1 is followed by h3"),
        ('<a href="#nowhere">a</a>', "no such place"),
        ('<a href="gone.html">a</a>', "is not there"),
        (f'<img src="data:image/png;base64,{base64.b64encode(square()).decode()}" alt="short">', "shorter than 20"),
        (
            f'<img src="data:image/png;base64,{base64.b64encode(square()).decode()}" alt="">',
            "declared as (0, 0), is (8, 6)",
        ),
        ("<details open>", "not folded"),
        ("<p>", "no policy"),
    ],
)
def test_the_check_of_pages_sees_each_fault(tmp_path, page, fault):
    (tmp_path / "page.html").write_text(page)

    assert fault in "\n".join(pages.problems(tmp_path / "page.html"))


def test_notebooks_are_executed_on_the_run_in_their_own_folder(built, first):
    assert f"notebooks {html.escape(str(built.parent / RUN_ID))}" in first


def test_labels_from_data_are_escaped_everywhere(built):
    for stem in STEMS:
        text = (built / f"{stem}.html").read_text()
        assert "<script" not in text
        assert "alert(1)" in text
        assert "<b>" not in text.partition("<body>")[2].replace("<b></b>", "")


def test_a_picture_carries_its_sentence(built, first):
    images = [image for name in ("index.html", "01-first.html") for image in pages.Page(built / name).all("img")]

    assert [(i["alt"], i["width"], i["height"]) for i in images] == [(ALT, "4", "3"), (ALT, "8", "6")]


def test_code_is_folded_and_outputs_are_not(first):
    assert first.count("<details>") == first.count("<summary>code</summary>") == 5
    assert re.search(r'<pre class="out">\s*&lt;script&gt;alert', first)


def test_what_a_cell_warned_of_is_shown_without_terminal_codes(first):
    assert re.search(r'<pre class="out warned">\s*careful\s*</pre>', first)


def test_columns_of_numbers_are_aligned(first):
    assert '<th class="num">rate, <a class="term" href="glossary.html#gflops">GFLOP/s</a></th>' in first
    assert '<td class="num" data-label="rate, GFLOP/s">1.5\u00a0[1.4,\u00a01.6]</td>' in first
    assert '<td data-label="kernel">b</td>' in first
    assert "<style scoped" not in first


def test_the_contents_list_every_section_under_distinct_anchors(built, first):
    contents = re.findall(r'<li class="h(\d)"><a href="#([^"]+)">([^<]+)</a>', first)

    assert contents == [("2", "Twice", "Twice"), ("3", "Figure-%26-table", "Figure &amp; table"), ("2", "Twice-2", "Twice")]
    assert {"Twice", "Figure-&-table", "Twice-2"} <= set(pages.Page(built / "01-first.html").ids)


def test_links_between_notebooks_become_links_between_pages(first):
    assert 'href="02-second.html#Twice"' in first
    assert ".ipynb" not in first


def test_pages_lead_to_each_other_and_to_the_index(built, first):
    second = pages.Page(built / "02-second.html").all("a")

    assert 'rel="next" href="02-second.html"' in first
    assert '<a href="01-first.html" aria-current="page">first</a>' in first
    assert [a["href"] for a in second if a.get("rel") == "prev"] == ["01-first.html"]
    assert "index.html" in [a["href"] for a in second]


def test_the_index_counts_the_verdicts_in_words_and_what_is_news_comes_first(index):
    verdicts = index[index.index('id="verdicts"') : index.index('id="own"')]

    assert "claims 4 things about its kernels. Here 1 holds, 2 fail and 1 is undecided." in verdicts
    assert re.findall(r'class="verdict (\w+)">(\w+)<', verdicts) == [
        (v, v) for v in ("FAILS", "FAILS", "HOLDS", "UNDECIDED")
    ]


def test_the_index_tells_machine_run_tiles_and_notebooks(index):
    for fact in (
        "L1d 32 KiB 8-way",
        f"{html.escape(RUN_ID)}: quick, 0 samples, complete",
        "digest 0123456789abcdef",
        "not recorded",
    ):
        assert fact in index
    unknown, known = r'<td class="num" data-label="[^"]+">[a-z–]+ ?[a-z]*</td>', r'data-label="tile by the model">\d+</td>'
    assert re.search(rf'<th scope="row" class="num">1024</th>({unknown})+<td class="num" {known}', index)
    assert '<a href="01-first.html">Is this a &lt; b?</a><p>It opens with a question.</p>' in index
    assert "99-not-there" not in index


def test_contrast_is_computed_as_defined():
    assert pages.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert pages.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_stands_out_from_its_ground_in_both_schemes(scheme, text, ground):
    light, dark = (TEMPLATES / "style.css").read_text().split("prefers-color-scheme: dark", 1)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", {"light": light, "dark": dark}[scheme]))

    assert pages.contrast(colours[text], colours[ground]) >= 4.5


def test_a_failing_cell_is_named_and_leaves_the_report_that_was_there(built, made, tmp_path, refused):
    before = digests(built)
    write(tmp_path / "bad", "01-good", "# Fine?", "1")
    write(tmp_path / "bad", "02-bad", "# Bad?", "1", "# more", "raise ValueError('first line\\nsecond line')")

    with refused(ReportError, "02-bad.ipynb, cell [2]: ValueError: first line"):
        build(made, built, tmp_path / "bad")

    assert digests(built) == before
    assert [p.name for p in built.parent.iterdir() if p.name.startswith(".")] == []


def test_a_kernel_that_dies_is_reported_in_one_line(made, tmp_path, refused):
    write(tmp_path / "bad", "01-dies", "# Alive?", "import os\nos._exit(1)")

    with refused(ReportError, "01-dies.ipynb, cell [1]: Kernel died"):
        build(made, tmp_path / "reports", tmp_path / "bad")


def test_a_new_report_replaces_the_old_one_as_a_whole(made, tmp_path):
    write(tmp_path / "notebooks", "01-old", "# Old?")
    build(made, tmp_path / "reports", tmp_path / "notebooks")
    (tmp_path / "notebooks" / "01-old.ipynb").rename(tmp_path / "notebooks" / "01-new.ipynb")

    build(made, tmp_path / "reports", tmp_path / "notebooks")

    named = {p.stem for p in (tmp_path / "reports").glob("*.html")}
    assert named == {"index", "01-new", "performance-guide", "glossary", "api-reference"}


def test_what_the_bench_wrote_is_there_before_the_first_report_and_after_the_next(made, tmp_path):
    write(tmp_path / "notebooks", "01-a", "# A?")
    (tmp_path / "reports" / "bench").mkdir(parents=True)
    (tmp_path / "reports" / "bench" / "full.json").write_text("{}")

    for _ in range(2):
        build(made, tmp_path / "reports", tmp_path / "notebooks")

        assert (tmp_path / "reports" / "bench" / "full.json").read_text() == "{}"
        assert (tmp_path / "reports" / "index.html").is_file()


def test_a_report_can_be_made_again_from_the_samples_inside_it(built, tmp_path, made):
    with zipfile.ZipFile(built / "data" / f"{RUN_ID}.zip") as packed:
        packed.extractall(tmp_path / "unpacked")
        assert {info.date_time for info in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}, "no time of day"
    write(tmp_path / "notebooks", "01-a", "# Again?")

    again = build(Run(tmp_path / "unpacked" / RUN_ID, META), tmp_path / "again", tmp_path / "notebooks").parent

    assert digests(again / "data") == digests(built / "data")
    assert digests(tmp_path / "unpacked" / RUN_ID) == digests(made.path)


def test_the_same_samples_are_packed_into_the_same_bytes(made, tmp_path):
    write(tmp_path / "notebooks", "01-a", "# Again?")
    once, again = (build(made, tmp_path / name, tmp_path / "notebooks").parent for name in ("once", "again"))

    assert digests(once) == digests(again)


def test_a_folder_that_is_no_report_is_never_replaced(made, tmp_path, refused):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "index.html").write_text("<p>dear</p>")

    with refused(ReportError, "letters is not a report of perflib"):
        build(made, tmp_path / "letters", tmp_path)

    assert (tmp_path / "letters" / "index.html").read_text() == "<p>dear</p>"


def test_without_notebooks_it_says_where_they_should_be(made, tmp_path, refused):
    with refused(ReportError, "no notebooks in", "name a folder that has some"):
        build(made, tmp_path / "reports", tmp_path)


def test_a_notebook_of_the_reader_that_raises_is_not_executed(made, tmp_path):
    """`my-notebooks` lies beside `notebooks`; the recipe of the tests names the latter alone."""
    write(tmp_path / "notebooks", "01-a", "# A?", "1")
    write(tmp_path / "my-notebooks", "mine", "# Mine?", "raise ValueError('not ready')")

    index = build(made, tmp_path / "reports", tmp_path / "notebooks")

    assert index.with_name("01-a.html").is_file()
    assert not index.with_name("mine.html").exists()
    tests = [line.split() for line in (CLONE / "Makefile").read_text().splitlines() if "--nbval" in line]
    assert [words[-1] for words in tests] == ["notebooks"]
