"""The pages in a real browser, with the network cut: nothing is requested, everything is drawn, everybody can read it."""

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pages were only parsed, not opened in a browser")

from browser import NEEDS_CHROMIUM, chromium, drawings, faults
from figures import FIGURES

from perflib.report.notebooks import NOTEBOOKS
from perflib.report.own_page import write_page
from perflib.report.page import ENTRANCE

pytestmark = NEEDS_CHROMIUM
STEMS = ["index", "performance-guide", *sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb") if path.stem != ENTRANCE)]
STEMS += ["glossary", "api-reference"]
AS_SHOWN = [(1280, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def browser(handmade_report, reported, tmp_path_factory):
    """Opened when the reports are there, because both use an event loop."""
    with chromium(tmp_path_factory.mktemp("profile"), offline=True) as opened:
        yield opened


@pytest.mark.parametrize("stem", STEMS)
def test_a_page_is_whole_offline_and_accessible_wide_and_light_narrow_and_dark(browser, reported, stem):
    assert [f for as_shown in AS_SHOWN for f in faults(browser, reported[1] / f"{stem}.html", *as_shown)] == []


@pytest.mark.parametrize("name", ["reports/index.html", "reports/01-first.html", "single.html"])
def test_hostile_labels_run_nothing_and_break_nothing(browser, handmade_report, name):
    assert [f for as_shown in AS_SHOWN for f in faults(browser, handmade_report.parent / name, *as_shown)] == []


def test_one_file_shows_the_page_that_was_asked_for_and_prints_all(browser, handmade_report):
    page = browser.new_page()
    shown = "[...document.querySelectorAll('.page')].filter(p => p.checkVisibility()).map(p => p.id)"
    page.goto((handmade_report.parent / "single.html").as_uri())
    assert page.evaluate(shown) == ["index"]

    page.click("nav >> text=second")
    assert page.evaluate(shown) == ["02-second"]
    page.go_back()
    assert page.evaluate(shown) == ["index"]

    page.emulate_media(media="print")
    assert len(page.evaluate(shown)) == 6
    page.close()


def test_the_keyboard_reaches_the_text_first_and_every_link_shows_where_it_is(browser, handmade_report):
    page = browser.new_page()
    page.goto((handmade_report / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the text"

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "perflib report"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.close()


def test_the_check_sees_every_kind_of_fault(browser, tmp_path):
    policy = '<meta http-equiv="Content-Security-Policy" content="img-src https:; script-src \'none\'">'
    wide, pale = '<div style="width: 2000px">wide</div>', '<p style="color: #aaaaaa; background: #ffffff">pale</p>'
    (tmp_path / "bad.html").write_text(
        f'{policy}<img src="https://example.org/a.png" alt="far"><script>1</script><h1>a</h1><h3>b</h3>{wide}{pale}'
        '<svg class="drawing"><path d="M0 0H9"><title>a</title/><path d="M0 9H9"><title>b</title/></svg>'
    )

    found = "\n".join(faults(browser, tmp_path / "bad.html", 1200, "light"))

    for fault in (
        "requests https://example.org/a.png",
        "console: Executing inline script violates",
        "a picture is not drawn: far",
        "pixels too wide for 1200",
        "headings out of order: [1, 3]",
        "1 elements inside a shape, where nothing is drawn",
        "axe: color-contrast, 1 times",
        "axe: html-has-lang",
    ):
        assert fault in found


@pytest.fixture(scope="module")
def figures(once, pictures):
    """A page of every figure of the reference run."""

    def make(folder):
        parts = [part for name in FIGURES for part in (f"# {name}", pictures(name))]
        return write_page(folder / "figures.html", "All figures", *parts)

    return once("figures", make)


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_text_of_a_figure_covers_another_or_a_curve_in_a_browser(browser, figures, width):
    overlaps, sizes = drawings(browser, figures, width)

    assert overlaps == []
    assert len(sizes) > 20 * len(FIGURES)
    assert [text for text in sizes if text[1] < 11] == []


def test_the_check_of_figures_sees_a_text_over_a_curve_and_over_another(browser, tmp_path):
    path = '<g class="curve"><path d="M0 50L400 50" style="fill:none;stroke:#000"/></g>'
    texts = '<text x="50" y="55">crossed</text><text x="200" y="105">one</text><text x="210" y="105">other</text>'
    shape = '<svg class="drawing wide" aria-label="bad" viewBox="0 0 400 200" width="400" height="200">'
    (tmp_path / "bad.html").write_text(f"<figure>{shape}{path}{texts}</svg></figure>")

    overlaps, _ = drawings(browser, tmp_path / "bad.html", 800)

    assert overlaps == ['bad: "one" over "other"', 'bad: "crossed" over a curve']


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_have_the_ground_of_the_page(browser, figures, scheme):
    page = browser.new_page()
    page.emulate_media(color_scheme=scheme)
    page.goto(figures.as_uri())
    shown = page.evaluate(
        "() => { const s = document.querySelector('svg.drawing'), style = getComputedStyle;"
        "return [style(document.body).backgroundColor, style(s).backgroundColor, style(s.querySelector('text')).fill]; }"
    )
    page.close()

    assert shown[1] == "rgba(0, 0, 0, 0)"
    assert (shown[0], shown[2]) == {
        "light": ("rgb(255, 255, 255)", "rgb(0, 0, 0)"),
        "dark": ("rgb(20, 23, 28)", "rgb(232, 232, 232)"),
    }[scheme]


def test_no_filter_turns_colours_over(figures):
    assert "filter:" not in figures.read_text()
