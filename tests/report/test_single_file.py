"""The report as one file: the same pages, every place and link inside it, the samples attached."""

import base64
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pages
import pytest
from handmade import RUN_ID, digests
from PIL import Image

from perflib.report import build
from perflib.report.page import Page
from perflib.report.single_file import join_pages
from perflib.runs.store import load_run

ROOT = Path(__file__).parents[2]
LIGHT = 4_500_000  # bytes of one file, which has each figure in two widths


@pytest.fixture(scope="module")
def single(handmade_report):
    return handmade_report.parent / "single.html"


def page(stem, body):
    return Page(stem, stem, "", body, (), stem)


def test_it_is_offline_described_and_in_order(single):
    assert pages.problems(single) == []


def test_it_has_every_page_and_leads_to_none_outside(single, handmade_report):
    shown = pages.Page(single)

    assert set(shown.ids) >= {file.stem for file in handmade_report.glob("*.html")}
    assert {a["href"].partition(":")[0] for a in shown.all("a") if not a["href"].startswith("#")} <= {"data", "https"}


def test_the_samples_are_inside(single, handmade_report):
    (link,) = (a for a in pages.Page(single).all("a") if "download" in a)

    packed = base64.b64decode(link["href"].partition(",")[2])
    assert link["download"] == f"{RUN_ID}.zip"
    assert packed == (handmade_report / "data" / f"{RUN_ID}.zip").read_bytes()
    assert f"{RUN_ID}/run.json" in zipfile.ZipFile(io.BytesIO(packed)).namelist()


def test_places_and_links_carry_their_page():
    first = page("index", '<h2 id="a">A</h2><a href="other.html">o</a><a href="other.html#a">oa</a><a href="#a">a</a>')
    other = page("other", '<h2 id="a">A</h2><a href="#a">a</a><a href="index.html#a">i</a><a href="data/x.zip">x</a>')

    one, two = join_pages([first, other])

    assert re.findall(r'(?:id|href)="(.*?)"', one.body) == ["index.a", "#other", "#other.a", "#index.a"]
    assert re.findall(r'(?:id|href)="(.*?)"', two.body) == ["other.a", "#other.a", "#index.a", "data/x.zip"]


def test_headings_go_one_level_down_but_on_the_first_page():
    one, two = join_pages([page("index", "<h2>a</h2><hr>"), page("other", "<h2>a</h2><h3>b</h3><hr>")])

    assert (one.body, two.body) == ("<h2>a</h2><hr>", "<h3>a</h3><h4>b</h4><hr>")


def test_text_that_looks_like_a_place_stays():
    body = '<pre>&lt;p id="a"&gt; href="#a" h2</pre>'

    assert join_pages([page("index", ""), page("other", body)])[1].body == body


def test_pictures_keep_every_pixel_and_their_description():
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(png := io.BytesIO(), "PNG")
    shown = f'<img src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}" alt="a &gt; b">'

    (one,) = join_pages([page("index", shown)])

    kind, packed, rest = re.fullmatch(r'<img src="data:(.*?);base64,(.*?)"(.*)>', one.body).groups()
    assert (kind, rest) == ("image/webp", ' alt="a &gt; b"')
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(packed)))) == pixels).all()


def test_the_full_reference_run_fits_into_a_mail(committed_report):
    """Its notebooks as they are committed, so that none is executed."""
    assert load_run().meta["command"] == "full"
    assert (committed_report.parent / "single.html").stat().st_size <= LIGHT


@pytest.mark.slow
def test_a_report_with_its_drawings_is_light(tmp_path, monkeypatch):
    """Notebooks executed once on the full reference run, whose figures come as lines in two widths.

    They measure a little; their lock is their own, as in every test, so that a measurement elsewhere does not end them.
    """
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    execute, executed = build.execute_all, []
    monkeypatch.setattr(build, "execute_all", lambda *given: executed or executed.extend(execute(*given)) or executed)
    run = load_run(next((ROOT / "data" / "reference").iterdir()))

    folder = build.build(run, tmp_path / "reports").parent
    file = build.build_single(run, tmp_path / "mail.html")

    assert sum(one.stat().st_size for one in folder.rglob("*") if one.is_file()) <= 3_500_000
    assert file.stat().st_size <= LIGHT
    found = re.compile(r'<svg [^>]*?class="drawing (wide|narrow)').findall
    drawings = [kind for page in folder.glob("*.html") for kind in found(page.read_text())]
    assert drawings.count("wide") == drawings.count("narrow") >= 40
    assert "<img" not in "".join(page.read_text() for page in folder.glob("*.html"))
    assert [fault for page in folder.glob("*.html") for fault in pages.problems(page)] == []
    assert pages.problems(file) == []


def test_of_two_densities_one_file_keeps_the_larger():
    Image.new("RGB", (30, 20), "red").save(half := io.BytesIO(), "PNG")
    Image.new("RGB", (60, 40), "red").save(whole := io.BytesIO(), "PNG")
    small, large = (f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}" for png in (half, whole))

    (one,) = join_pages([page("index", f'<img src="{small}" srcset="{large} 2x" alt="a" width="30" height="20">')])

    (image,) = re.findall(r'<img src="data:image/webp;base64,([^"]+)" alt="a" width="30" height="20">', one.body)
    assert Image.open(io.BytesIO(base64.b64decode(image))).size == (60, 40)


def test_places_inside_a_drawing_stay_as_they_are():
    drawing = '<svg class="drawing wide"><path id="drawing-0"></path><use href="#drawing-0"></use></svg>'

    assert join_pages([page("index", drawing)])[0].body == drawing


def test_a_picture_in_two_places_is_kept_once_and_shown_in_both():
    Image.new("RGB", (30, 20), "red").save(png := io.BytesIO(), "PNG")
    src = base64.b64encode(png.getvalue()).decode()
    shown = f'<img src="data:image/png;base64,{src}" alt="a &gt; b" width="30" height="20">'

    one, two = join_pages([page("index", shown), page("other", shown)])

    frame = '<svg role="img" viewBox="0 0 30 20" width="30" height="20" aria-label="a &gt; b">'
    assert re.fullmatch(
        rf'{frame}<image id="picture-1" href="data:image/webp;base64,[^"]+" width="30" height="20">.*', one.body
    )
    assert two.body == f'{frame}<use href="#picture-1"></use></svg>'


def test_it_replaces_the_file_as_a_whole(single):
    assert [p.name for p in single.parent.iterdir() if p.name.startswith(".")] == []
    assert digests(single.parent)
