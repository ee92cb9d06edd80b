"""The report on a small set of notebooks: offline, described, folded, escaped, and never half replaced."""

import base64
import hashlib
import json
import re
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pages
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from perflib import report
from perflib.claims import Claim
from perflib.report import build, execute_in_place
from perflib.store import Run, RunError

HOSTILE = "<script>alert(1)</script>\"'&<b>"
ALT = "A black square, which stands for a figure <of> \"rates\" & 'times'."
CACHE = {"level": 1, "kind": "Data", "size_bytes": 32768, "line_bytes": 64, "ways": 8, "sets": 64, "sharing": 1}
MACHINE = {
    "cpu": HOSTILE,
    "target": "generic",
    "isa": ["avx2"],
    "logical_cpus": 2,
    "caches": [CACHE],
    "memory_bytes": 2**33,
    "page_policy": None,
    "os": "Linux",
    "python": "3.11.0",
    "packages": {"numpy": "2.0"},
    "clock": "a clock",
}
META = {
    "schema": 1,
    "started": "2026-01-01T00:00:00Z",
    "finished": "2026-01-01T00:01:00Z",
    "command": "quick",
    "settings": {"seed": 0},
    "machine": MACHINE,
    "code": {"digest": "0123456789abcdef", "commit": None, "clean": None},
}
SHOW = f"""from IPython.display import display
png = "{{png}}"
display({{{{"image/png": png, "text/plain": {ALT!r}}}}}, raw=True, metadata={{{{"image/png": {{{{"alt": {ALT!r}}}}}}}}})"""
PAIRS = [("text", "ground"), ("text", "panel"), ("muted", "ground"), ("muted", "panel"), ("link", "ground")]
PAIRS += [(name, "ground") for name in ("holds", "fails", "undecided", "keyword", "string", "number", "comment")]


def square(width=8, height=6):
    """A black PNG, made by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(width)) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def write(folder, stem, *cells):
    """A notebook: text that opens with # is markdown, the rest is code."""
    made = [new_markdown_cell(c) if c.startswith("#") else new_code_cell(c) for c in cells]
    folder.mkdir(exist_ok=True)
    path = folder / f"{stem}.ipynb"
    nbformat.write(new_notebook(cells=made), path)
    return path


def show():
    """Source of a cell that displays a picture as perflib does."""
    return SHOW.format(png=base64.b64encode(square()).decode())


def digests(folder):
    return {f.relative_to(folder): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "20260101T000000Z-made-by-hand"
    path.mkdir()
    (path / "run.json").write_text(json.dumps(META))
    (path / "matmul.csv").write_text("block,kernel\n")
    (path / "SHA256SUMS").write_text("")
    return Run(path, META)


@pytest.fixture(scope="module", autouse=True)
def findings():
    """Verdicts and figures that need no samples."""
    verdicts = ("HOLDS", "FAILS", "UNDECIDED", "FAILS")
    claims = [
        Claim(f"S{i}", f"claim {HOSTILE}", f"rule {HOSTILE}", v, f"because {HOSTILE}") for i, v in enumerate(verdicts)
    ]
    picture = SimpleNamespace(png=square(4, 3), alt=ALT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "judge_all", lambda run: claims)
        patch.setattr(report, "overview", lambda run: [(picture, "01-first"), (picture, "99-not-there")])
        yield


@pytest.fixture(scope="module")
def built(run, tmp_path_factory):
    """The folder of a report on two notebooks that try everything."""
    root = tmp_path_factory.mktemp("report")
    folder = root / "notebooks"
    columns = {"kernel": [HOSTILE, "b"], "rate, GFLOP/s": ["1.5 [1.4, 1.6]", "22"]}
    write(
        folder,
        "01-first",
        "# Is *this* a < b?\n\nIt opens with `a` question. You will see\n\n- [the other](02-second.ipynb#Twice)",
        "## Twice",
        f"import os, pathlib\nprint({HOSTILE!r})\nprint(pathlib.Path.cwd().name, os.environ['PERFLIB_RUN'])",
        "### Figure & table",
        show(),
        f"import pandas as pd\npd.DataFrame({columns!r})",
        "import sys\nprint('\\x1b[31mcareful\\x1b[0m', file=sys.stderr)",
        "## Twice",
        f"{HOSTILE!r}",
    )
    write(folder, "02-second", "# What else?\n\nNothing.", "## Twice", "1 + 1")
    return build(run, root / "reports", folder).parent


@pytest.fixture(scope="module")
def first(built):
    return (built / "01-first.html").read_text()


@pytest.fixture(scope="module")
def index(built):
    return (built / "index.html").read_text()


def test_a_report_is_an_index_a_page_per_notebook_and_the_samples(built, run):
    files = {str(f) for f in digests(built)}

    samples = {f"data/{run.id}/{name}" for name in ("run.json", "matmul.csv", "SHA256SUMS")}
    assert files == {"index.html", "01-first.html", "02-second.html", *samples}


@pytest.mark.parametrize("name", ["index.html", "01-first.html", "02-second.html"])
def test_a_page_is_offline_described_and_in_order(built, name):
    assert pages.problems(built / name) == []


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ('<img src="https://example.org/a.png" alt="a picture that is fetched">', "fetches https://example.org"),
        ("<script>1</script>", "<script> is not allowed"),
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


def test_notebooks_are_executed_on_the_run_in_their_own_folder(first, run):
    assert f"notebooks {run.path}" in first


def test_labels_from_data_are_escaped_everywhere(built):
    for page in built.glob("*.html"):
        text = page.read_text()
        assert "<script" not in text
        assert "alert(1)" in text


def test_a_picture_carries_its_sentence(built, first):
    images = [image for name in ("index.html", "01-first.html") for image in pages.Page(built / name).all("img")]

    assert [(i["alt"], i["width"], i["height"]) for i in images] == [(ALT, "4", "3"), (ALT, "8", "6")]


def test_code_is_folded_and_outputs_are_not(first):
    assert first.count("<details>") == first.count("<summary>code</summary>") == 5
    assert re.search(r'<pre class="out">\s*&lt;script&gt;alert', first)


def test_what_a_cell_warned_of_is_shown_without_terminal_codes(first):
    assert re.search(r'<pre class="out warned">\s*careful\s*</pre>', first)


def test_columns_of_numbers_are_aligned(first):
    assert '<th class="num">rate, GFLOP/s</th>' in first
    assert '<td class="num">1.5 [1.4, 1.6]</td>' in first
    assert "<td>b</td>" in first
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


def test_the_index_opens_with_the_verdicts_in_words(index):
    opening = index[: index.index("<h2")]

    assert "of the 4 claims put to the test, 1 holds, 2 fail and 1 is undecided." in opening
    assert re.findall(r'class="verdict (\w+)">(\w+)<', opening) == [
        (v, v) for v in ("HOLDS", "FAILS", "UNDECIDED", "FAILS")
    ]


def test_the_index_tells_machine_run_tiles_and_notebooks(index, run):
    for fact in ("L1d 32 KiB 8-way", f"{run.id}: quick, 0 samples, complete", "digest 0123456789abcdef", "not recorded"):
        assert fact in index
    assert '<th scope="row" class="num">1024</th><td class="num">7</td>' in index
    assert '<a href="01-first.html">Is this a &lt; b?</a><p>It opens with a question.</p>' in index
    assert "99-not-there" not in index


def contrast(one, other):
    """Contrast ratio of two colours, as the Web Content Accessibility Guidelines 2.1 define it."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_defined():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_stands_out_from_its_ground_in_both_schemes(scheme, text, ground):
    light, dark = (Path(report.TEMPLATES) / "style.css").read_text().split("prefers-color-scheme: dark", 1)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", {"light": light, "dark": dark}[scheme]))

    assert contrast(colours[text], colours[ground]) >= 4.5


def test_a_failing_cell_is_named_and_leaves_the_report_that_was_there(built, run, tmp_path, refused):
    before = digests(built)
    write(tmp_path / "bad", "01-good", "# Fine?", "1")
    write(tmp_path / "bad", "02-bad", "# Bad?", "1", "# more", "raise ValueError('first line\\nsecond line')")

    with refused(RunError, "02-bad.ipynb, cell [2]: ValueError: first line"):
        build(run, built, tmp_path / "bad")

    assert digests(built) == before
    assert [p.name for p in built.parent.iterdir() if p.name.startswith(".")] == []


def test_a_kernel_that_dies_is_reported_in_one_line(run, tmp_path, refused):
    write(tmp_path / "bad", "01-dies", "# Alive?", "import os\nos._exit(1)")

    with refused(RunError, "01-dies.ipynb, cell [1]: Kernel died"):
        build(run, tmp_path / "reports", tmp_path / "bad")


def test_a_new_report_replaces_the_old_one_as_a_whole(run, tmp_path):
    write(tmp_path / "notebooks", "01-old", "# Old?")
    build(run, tmp_path / "reports", tmp_path / "notebooks")
    (tmp_path / "notebooks" / "01-old.ipynb").rename(tmp_path / "notebooks" / "01-new.ipynb")

    build(run, tmp_path / "reports", tmp_path / "notebooks")

    assert sorted(p.name for p in (tmp_path / "reports").glob("*.html")) == ["01-new.html", "index.html"]


def test_a_report_can_be_made_again_from_the_samples_inside_it(built, tmp_path, run):
    inside = Run(built / "data" / run.id, META)
    write(tmp_path / "notebooks", "01-a", "# Again?")

    again = build(inside, built.parent / "again", tmp_path / "notebooks").parent

    assert digests(again / "data") == digests(built / "data")


def test_a_folder_that_is_no_report_is_never_replaced(run, tmp_path, refused):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "index.html").write_text("<p>dear</p>")

    with refused(RunError, "letters is not a report of perflib"):
        build(run, tmp_path / "letters", tmp_path)

    assert (tmp_path / "letters" / "index.html").read_text() == "<p>dear</p>"


def test_without_notebooks_it_says_where_they_should_be(run, tmp_path, refused):
    with refused(RunError, "no notebooks in", "a report is built from a clone"):
        build(run, tmp_path / "reports", tmp_path)


def test_a_second_execution_in_place_changes_no_byte(tmp_path, monkeypatch):
    monkeypatch.setenv("PERFLIB_RUN", "something")
    look = "import os\nfor i in range(3):\n    print(i, end=' ', flush=True)\nprint(os.environ.get('PERFLIB_RUN'))"
    path = write(tmp_path, "01-a", "# Why?", look, show(), "{1: 2}")
    notebook = nbformat.read(path, 4)
    notebook.metadata = {"widgets": {"state": {}}, "language_info": {"name": "python", "version": "3.0.1"}}
    notebook.cells[1].metadata = {"tags": ["skip"], "execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"}}
    nbformat.write(notebook, path)

    execute_in_place([path])
    once = path.read_bytes()
    execute_in_place([path])

    assert path.read_bytes() == once
    assert once.endswith(b"}\n")
    done = json.loads(once)
    assert [c["id"] for c in done["cells"]] == [c["id"] for c in notebook.cells]
    assert [c["execution_count"] for c in done["cells"][1:]] == [1, 2, 3]
    assert done["cells"][1]["outputs"] == [{"name": "stdout", "output_type": "stream", "text": ["0 1 2 None\n"]}]
    assert done["cells"][2]["outputs"][0]["metadata"] == {"image/png": {"alt": ALT}}
    assert all(c["metadata"] == {} for c in done["cells"])
    assert done["metadata"] == report.METADATA
    assert list(tmp_path.iterdir()) == [path]


def test_cells_without_an_id_are_numbered(tmp_path):
    path = write(tmp_path, "01-a", "# Why?", "1")
    old = json.loads(path.read_text())
    for cell in old["cells"]:
        del cell["id"]
    path.write_text(json.dumps(old | {"nbformat_minor": 4}))

    execute_in_place([path])

    assert [c["id"] for c in json.loads(path.read_text())["cells"]] == ["cell-00", "cell-01"]


def test_a_notebook_whose_cell_fails_is_not_written(tmp_path, refused):
    good, bad = write(tmp_path, "01-good", "# Why?", "1"), write(tmp_path, "02-bad", "# Why?", "1 / 0")
    before = digests(tmp_path)

    with refused(RunError, "02-bad.ipynb, cell [1]: ZeroDivisionError: division by zero"):
        execute_in_place([good, bad])

    assert digests(tmp_path) == before


@pytest.mark.parametrize("content", ["", "{}", '{"cells": [{}]}', "[]"])
def test_a_file_that_is_no_notebook_is_refused_by_name(tmp_path, content, refused):
    (tmp_path / "01-torn.ipynb").write_text(content)

    with refused(RunError, "01-torn.ipynb: cannot be read as a notebook"):
        execute_in_place([tmp_path / "01-torn.ipynb"])


@pytest.mark.skipif(pages.BROWSER is None, reason="no Chromium here: pages were only parsed, not opened in a browser")
@pytest.mark.parametrize("width", [1200, 360])
def test_a_browser_shows_every_picture_and_requests_nothing(built, tmp_path, width):
    seen, console = pages.in_browser(sorted(built.glob("*.html")), tmp_path, width)

    assert len(seen) == 3
    for page in seen:
        assert all(complete and min(sizes) > 0 for complete, *sizes in page["images"])
        assert page["requests"] == []
        assert page["overflow"] == 0
    assert sum(len(page["images"]) for page in seen) == 2
    assert console == ""


@pytest.mark.skipif(pages.BROWSER is None, reason="no Chromium here: the browser's own check has nothing to look with")
def test_the_browser_check_sees_a_request_and_a_refused_script(tmp_path):
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    (tmp_path / "a.html").write_text('<img src="https://example.org/a.png">')
    (tmp_path / "b.html").write_text(f"{policy}<script>1</script>")

    seen, console = pages.in_browser([tmp_path / "a.html", tmp_path / "b.html"], tmp_path)

    assert ["https://example.org/a.png"] in [page["requests"] for page in seen]
    assert "Content Security Policy" in console
