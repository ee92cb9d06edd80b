"""Debian's Chromium, driven by Playwright: what it sees of a page, with the network cut.

chromium(profile)                   a browser with a fresh profile that can reach nothing but files
faults(browser, file, ...)          everything that is wrong with a page as it is shown; [] is what a test asks for
"""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here to look with")
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
LIMIT_MS = 60_000
SEEN = """() => ({
    undrawn: [...document.images].filter(i => !i.naturalWidth || i.checkVisibility() && !i.width).map(i => i.alt),
    levels: [...document.querySelectorAll("h1, h2, h3, h4, h5")].filter(h => h.checkVisibility()).map(h => +h.tagName[1]),
    hidden: document.querySelectorAll(".drawing :is(circle, line, path, rect, use) :not(title)").length,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
})"""


@contextmanager
def chromium(profile: Path, **settings):
    """A browser that is closed again; `settings` are those of Playwright's contexts."""
    arguments = [*FLAGS.split(), "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, headless=True, args=arguments, **settings
        )
        browser.set_default_timeout(LIMIT_MS)
        yield browser
        browser.close()


def listen(page: Page) -> list[str]:
    """Everything that the console will tell, as it comes."""
    told = []
    page.on("console", lambda message: told.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: told.append(f"console: {error}"))
    return told


def faults(browser: BrowserContext, file: Path, width: int, scheme: str) -> list[str]:
    """What is wrong with a file, shown so wide and in a colour scheme, as sentences."""
    page = browser.new_page()
    found = listen(page)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(file.as_uri())
    seen = page.evaluate(SEEN)
    found += [f"requests {url[:100]}" for url in asked[1:] if not url.startswith("data:")]
    found += [f"a picture is not drawn: {alt}" for alt in seen["undrawn"]]
    found += [f"{seen['hidden']} elements inside a shape, where nothing is drawn"] if seen["hidden"] else []
    found += [f"{seen['overflow']} pixels too wide for {width}"] if seen["overflow"] else []
    found += [] if _in_order(seen["levels"]) else [f"headings out of order: {seen['levels']}"]
    found += inaccessible(page)
    page.close()
    return found


OVERLAPS = """() => {
    const found = [], px = 1.5;
    for (const drawing of [...document.querySelectorAll("svg.drawing")].filter(d => d.checkVisibility())) {
        const name = drawing.closest("section, figure").dataset.name || drawing.getAttribute("aria-label").slice(0, 60);
        const texts = [...drawing.querySelectorAll("text")].filter(t => t.textContent.trim());
        const boxes = texts.map(t => {
            const {x, y, width, height} = t.getBBox(), matrix = t.getScreenCTM();
            const ends = [[x, y], [x + width, y], [x, y + height], [x + width, y + height]]
                .map(([a, b]) => new DOMPoint(a, b).matrixTransform(matrix));
            const xs = ends.map(p => p.x), ys = ends.map(p => p.y), trim = 0.18 * (Math.max(...ys) - Math.min(...ys));
            return {left: Math.min(...xs) + px, right: Math.max(...xs) - px,
                    top: Math.min(...ys) + Math.min(trim, 3), bottom: Math.max(...ys) - Math.min(trim, 3)};
        });
        const say = i => JSON.stringify(texts[i].textContent);
        boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b, j) => {
            if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
                found.push(`${name}: ${say(i)} over ${say(i + 1 + j)}`);
        }));
        for (const curve of drawing.querySelectorAll("g.curve > path")) {
            const matrix = curve.getScreenCTM(), length = curve.getTotalLength(), hit = new Set();
            for (let at = 0; at <= length; at += 2) {
                const p = curve.getPointAtLength(at).matrixTransform(matrix);
                boxes.forEach((b, i) => {
                    if (p.x > b.left && p.x < b.right && p.y > b.top && p.y < b.bottom) hit.add(i);
                });
            }
            hit.forEach(i => found.push(`${name}: ${say(i)} over a curve`));
        }
    }
    return found;
}"""
SIZES = """() => [...document.querySelectorAll("svg.drawing text")].filter(t => t.checkVisibility()).map(
    t => [t.textContent, parseFloat(getComputedStyle(t).fontSize) * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b)])"""


def drawings(browser: BrowserContext, file: Path, width: int) -> tuple[list[str], list[tuple[str, float]]]:
    """Of a page so wide: texts of drawings that lie over others or over curves, and each text with its size in pixels."""
    page = browser.new_page()
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(file.as_uri())
    result = page.evaluate(OVERLAPS), [tuple(text) for text in page.evaluate(SIZES)]
    page.close()
    return result


def inaccessible(page: Page) -> list[str]:
    """What violates a rule of axe-core, and what axe-core cannot decide: the rule, and the first place.

    It cannot tell the ground of a text inside a drawing: the contrast of figures is measured where they are drawn
    (tests/studies/test_pictures.py).
    """
    response = Axe().run(page).response
    for one in response["incomplete"]:
        if one["id"] == "color-contrast":
            one["nodes"] = [node for node in one["nodes"] if not node["html"].startswith("<text ")]
    findings = [("axe", one) for one in response["violations"]]
    findings += [("axe, undecided", one) for one in response["incomplete"] if one["nodes"]]
    return [f"{kind}: {one['id']}, {len(one['nodes'])} times: {one['nodes'][0]['html'][:200]}" for kind, one in findings]


def _in_order(levels: list[int]) -> bool:
    """One h1, first, and no level left out on the way down."""
    return levels[:1] == [1] and levels.count(1) == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
