"""The pages in a real browser, with the network cut: nothing is requested, everything is drawn, everybody can read it."""

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pages were only parsed, not opened in a browser")

from browser import NEEDS_CHROMIUM, chromium, faults

from perflib.execution import NOTEBOOKS

pytestmark = NEEDS_CHROMIUM
STEMS = ["index", *sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))]
AS_SHOWN = [(1200, "light"), (360, "dark")]


@pytest.fixture(scope="module")
def browser(handmade_report, quick_report, tmp_path_factory):
    """Opened when the reports are there, because both use an event loop."""
    with chromium(tmp_path_factory.mktemp("profile"), offline=True) as opened:
        yield opened


@pytest.mark.parametrize("stem", STEMS)
def test_a_page_is_whole_offline_and_accessible_wide_and_light_narrow_and_dark(browser, quick_report, stem):
    assert [f for as_shown in AS_SHOWN for f in faults(browser, quick_report / f"{stem}.html", *as_shown)] == []


@pytest.mark.parametrize("stem", ["index", "01-first", "02-second"])
def test_hostile_labels_run_nothing_and_break_nothing(browser, handmade_report, stem):
    assert [f for as_shown in AS_SHOWN for f in faults(browser, handmade_report / f"{stem}.html", *as_shown)] == []


def test_the_check_sees_every_kind_of_fault(browser, tmp_path):
    policy = '<meta http-equiv="Content-Security-Policy" content="img-src https:; script-src \'none\'">'
    wide, pale = '<div style="width: 2000px">wide</div>', '<p style="color: #aaaaaa; background: #ffffff">pale</p>'
    (tmp_path / "bad.html").write_text(
        f'{policy}<img src="https://example.org/a.png" alt="far"><script>1</script><h1>a</h1><h3>b</h3>{wide}{pale}'
    )

    found = "\n".join(faults(browser, tmp_path / "bad.html", 1200, "light"))

    for fault in (
        "requests https://example.org/a.png",
        "console: Executing inline script violates",
        "a picture is not drawn: far",
        "pixels too wide for 1200",
        "headings out of order: [1, 3]",
        "axe: color-contrast, 1 times",
        "axe: html-has-lang",
    ):
        assert fault in found
