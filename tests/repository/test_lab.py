"""`make lab` as a newcomer meets it: JupyterLab on this machine only, with its token; notebooks run, controls work.

Everything is seen in a real browser, which reaches nobody but this machine.
"""

import html
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

pytest.importorskip("playwright", reason="playwright is not installed: JupyterLab was not opened in a browser")

from browser import LIMIT_MS, NEEDS_CHROMIUM, chromium, listen
from playwright.sync_api import expect

from perflib.report.notebooks import METADATA

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
FIRST = "00-start-here"
START_S = 60
HERE = ("http://127.0.0.1:", "data:", "blob:")
STATE = """() => [...document.querySelectorAll(".jp-CodeCell .jp-InputArea-prompt")].map(p => p.textContent.trim())"""
CONTROLS = """import os, tempfile
os.environ["PERFLIB_DATA"] = tempfile.tempdir = {folder!r}
import numba, perflib

perflib.described(
    name={name!r}, make=lambda n, dtype, rng: (rng.random(n),), flops=lambda n: n, bytes=lambda n, itemsize: n * itemsize
)(numba.njit(lambda x: x.sum()))
perflib.explore()"""
HOSTILE = "<b>'total\"</b>"
PROGRESS = "() => parseFloat(document.querySelector('.perflib-explore-progress .progress-bar').style.width)"
WRONG = (
    ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error'], .jp-OutputArea-output[data-mime-type*='stderr']"
)

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM, pytest.mark.skipif(MAKE is None, reason="there is no make here")]


@pytest.fixture(scope="module")
def command():
    """The words of the recipe, run by this Python's JupyterLab."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    words = [MAKE, "-n", "--no-print-directory", "lab"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    path, program, *words = shlex.split(done.stdout.splitlines()[-1])
    assert (path, program) == (f"PATH={ROOT}/.venv/bin:$PATH", "jupyter")  # `!perflib new` works in a cell
    return [str(Path(sys.executable).parent / "jupyter"), *words]


@pytest.fixture(scope="module")
def lab(command, tmp_path_factory):
    """Address and token of a server that has the notebooks to itself."""
    folder = tmp_path_factory.mktemp("lab")
    _copy_unexecuted(ROOT / "notebooks" / f"{FIRST}.ipynb", folder / "notebooks")
    source = CONTROLS.format(folder=str(folder), name=HOSTILE)
    nbformat.write(new_notebook(metadata=METADATA, cells=[new_code_cell(source)]), folder / "notebooks" / "controls.ipynb")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PERFLIB", "JUPYTER"))}
    environment |= {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "RUNTIME")}
    environment["PERFLIB_RECORD_TO"] = str(folder / "runs")
    words = [*command, "--no-browser", "--ServerApp.port=0", "--LabApp.news_url=None"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield _started(process, folder)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its kernels too, at once
            process.wait()


def _copy_unexecuted(path, folder):
    """A notebook without numbers and outputs, so that what is seen afterwards was run."""
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"execution_count": None, "outputs": []}
    folder.mkdir()
    (folder / path.name).write_text(json.dumps(notebook))


def _started(process, folder):
    """What the server wrote about itself, once it answers; `opens` is where it sends the browser."""
    for _ in range(START_S * 5):
        for file in (folder / "RUNTIME").glob("jpserver-file-to-run-*-open.html"):
            opens = re.search(r'url=([^"]+)"', file.read_text())
            about = json.loads((file.parent / f"jpserver-{process.pid}.json").read_text())
            if opens and _answers(about["url"]):
                return {**about, "opens": html.unescape(opens[1]), "notebooks": folder / "notebooks"}
        assert process.poll() is None, (folder / "log").read_text()
        time.sleep(0.2)
    raise AssertionError((folder / "log").read_text())


def _answers(url):
    try:
        urllib.request.urlopen(f"{url}api", timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def opened(address, profile):
    """A notebook in a browser that reaches this machine only; and what the browser asked of others."""
    with chromium(profile) as browser:
        asked = []
        browser.route(lambda url: not url.startswith(HERE), lambda route: (asked.append(route.request.url), route.abort()))
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()  # before that Run All asks for a kernel
        yield page, asked


@pytest.fixture
def notebook(lab, tmp_path):
    """The first notebook."""
    with opened(lab["opens"], tmp_path / "profile") as shown:
        yield shown


@pytest.fixture
def controls(lab, tmp_path):
    """A notebook with `explore()`, in a workspace of its own."""
    address = f"{lab['url']}lab/workspaces/controls/tree/notebooks/controls.ipynb?token={lab['token']}"
    with opened(address, tmp_path / "profile") as shown:
        yield shown


def run_all(page):
    """Run All Cells of the menu Run, until every cell has its number."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("[data-command='runmenu:run-all']").click()
    page.wait_for_function(f"({STATE})().every(prompt => /^\\[\\d+\\]:$/.test(prompt))")
    return page.evaluate(STATE)


def test_it_is_bound_to_this_machine_and_asks_for_its_token(command, lab):
    assert "--ip=127.0.0.1" in command
    assert (lab["hostname"], len(lab["token"])) == ("127.0.0.1", 48)
    assert lab["opens"] == f"{lab['url']}lab/tree/notebooks/{FIRST}.ipynb?token={lab['token']}"
    assert not any("token" in word or "password" in word for word in command)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{lab['url']}api/contents", timeout=10)


def test_the_first_notebook_runs_without_an_error_and_asks_nobody_else(notebook):
    page, asked = notebook
    told = listen(page)

    prompts = run_all(page)

    cells = json.loads((ROOT / "notebooks" / f"{FIRST}.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert prompts == [f"[{number}]:" for number in range(1, len(code) + 1)]
    assert page.locator(WRONG).all_inner_texts() == []
    assert page.locator(".jp-RenderedImage img").count() >= 3
    assert [line for line in told if "Error" in line] == []
    assert asked == []


def choose(page, kernel, sizes):
    """What is measured, after which the button Run is pressed."""
    page.get_by_label("kernels", exact=True).select_option(kernel)
    page.get_by_label("sizes", exact=True).fill(sizes)
    page.locator(".perflib-explore-run").click()


def status(page, words):
    """Wait until the line below the buttons has these words."""
    expect(page.locator(".perflib-explore-status")).to_contain_text(words, timeout=LIMIT_MS)


def test_explore_measures_is_stopped_in_the_middle_keeps_its_results_and_leaves_nothing_in_the_file(controls, lab):
    page, asked = controls
    told = listen(page)
    run_all(page)
    drawn = page.locator(".jp-OutputArea img.widget-image")

    choose(page, ["rms_norm_fast", HOSTILE], "16, 32")
    status(page, "done")
    assert page.evaluate(PROGRESS) == 100
    assert HOSTILE in page.locator(".jp-OutputArea td").all_inner_texts()
    assert page.locator(".jp-OutputArea b").count() == 0
    assert (first := drawn.count()) >= 2

    page.get_by_label("seconds", exact=True).fill("120")  # thirty rounds, however busy the machine is
    choose(page, "matmul_naive", "384, 512")
    page.wait_for_function(f"(share => share > 25 && share < 90)(({PROGRESS})())")  # eight of thirty rounds, or more
    page.locator(".perflib-explore-stop").click()
    status(page, "stopped, what has six rounds is kept")
    assert page.evaluate(PROGRESS) < 100
    assert drawn.count() > first
    assert page.locator(WRONG).all_inner_texts() == []

    assert saved(page, lab["notebooks"] / "controls.ipynb") == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    assert [line for line in told if "Error" in line] == []
    assert asked == []


def saved(page, path):
    """Kinds of output in the file, once the browser has written it; nothing else may be left in it."""
    for _ in range(20):
        page.get_by_title("Save and create checkpoint").click()  # passed over while the page is busy
        page.wait_for_timeout(1000)
        if outputs := (notebook := json.loads(path.read_text()))["cells"][0]["outputs"]:
            break
    assert "widgets" not in notebook["metadata"]
    assert "rms_norm_fast" not in json.dumps(notebook)
    (output,) = outputs
    return set(output["data"])
