"""The reference: every public name, in order, and nothing that a docstring could break."""

import os
import re
import types

import pdoc.doc
import pytest

import perflib
from perflib.report import api_page as report_api_page
from perflib.report.api_page import api_page
from perflib.report.page import plain


def headings(page, level):
    return re.findall(rf'<h{level} id="([^"]+)">', page.body)


def test_every_public_name_that_says_something_is_there_in_the_order_of_the_package():
    told = [name for name in perflib.__all__ if not isinstance(getattr(perflib, name), types.ModuleType)]

    shown = [name for name in headings(api_page(), 3) if name in told]
    assert shown == told
    described = {name for name in perflib.kernels.__all__ if callable(getattr(perflib.kernels, name))}
    assert described <= {name.removeprefix("kernels.") for name in headings(api_page(), 3)}


def test_members_are_below_their_class_and_private_ones_nowhere():
    assert {"Timer.elapsed_ns", "PerformanceStats.average"} <= set(headings(api_page(), 4))
    assert [name for name in headings(api_page(), 4) if "._" in name] == []


def test_every_module_tells_what_it_gives():
    names = re.findall(r"<dt><code>([\w.]+)</code></dt><dd>(.+?)</dd>", api_page().body)

    assert {"timer", "report.build", "kernels.gemm.textbook"} <= {name for name, _ in names}
    assert all(len(what) > 10 for _, what in names)


def test_it_names_no_path_of_this_machine_and_no_address():
    assert re.findall(rf"0x[0-9a-f]{{6,}}|{re.escape(os.getcwd())}|/home/|site-packages", api_page().body) == []


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a < b > c & d", "    <b>code</b>", "`<i>`", "<!-- x"])
def test_what_looks_like_markup_in_a_docstring_is_text(text):
    shown = report_api_page._docstring_markup(f"First line.\n\n{text}")

    assert re.findall(r"<(?!/?(p|pre|code|div|span)\b)", shown) == []
    assert text.strip().strip("`") in plain(shown)


def test_signatures_name_types_without_their_modules():
    module = pdoc.doc.Module(perflib)

    assert "-> Run" in report_api_page._shorten(module.get("load_run").signature)
    assert "perflib." not in report_api_page._shorten(module.get("best_tile").signature)
