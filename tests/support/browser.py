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
    found += [f"{seen['overflow']} pixels too wide for {width}"] if seen["overflow"] else []
    found += [] if _in_order(seen["levels"]) else [f"headings out of order: {seen['levels']}"]
    found += inaccessible(page)
    page.close()
    return found


def inaccessible(page: Page) -> list[str]:
    """What violates a rule of axe-core, and what axe-core cannot decide: the rule, and the first place."""
    response = Axe().run(page).response
    findings = [("axe", one) for one in response["violations"]] + [
        ("axe, undecided", one) for one in response["incomplete"]
    ]
    return [f"{kind}: {one['id']}, {len(one['nodes'])} times: {one['nodes'][0]['html'][:200]}" for kind, one in findings]


def _in_order(levels: list[int]) -> bool:
    """One h1, first, and no level left out on the way down."""
    return levels[:1] == [1] and levels.count(1) == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
