"""The reference: every public name, in order, and nothing that a docstring could break."""

import os
import re
import shutil
import types
from importlib import import_module

import numba
import numpy as np
import pdoc.doc
import pytest
from runs import isolate

import perflib
from perflib.kernels import catalog
from perflib.report import api_page as report_api_page
from perflib.report.api_page import api_page
from perflib.report.page import plain


def headings(page, level):
    return re.findall(rf'<h{level} id="([^"]+)">', page.body)


def test_every_public_name_that_says_something_is_there():
    named = [name for name in perflib.__all__ if not isinstance(getattr(perflib, name), types.ModuleType)]

    assert set(named) <= set(headings(api_page(), 3))
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


def test_every_public_name_stands_in_one_group():
    names = [name for _, names in report_api_page.examples() for name, _ in names]
    public = {f"{prefix}{name}" for face, prefix in report_api_page.FACES.items() for name in import_module(face).__all__}

    assert len(names) == len(set(names))
    assert set(names) == public - {"kernels"}


def test_the_contents_list_groups_and_names():
    toc = [(entry["level"], entry["text"]) for entry in api_page().toc]

    assert toc[:3] == [(2, "Measure and compare"), (3, "measure"), (3, "Measurement")]
    assert toc[-1] == (2, "Modules")


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow, id="with the limits of this machine")])
def test_the_examples_run_from_top_to_bottom(tmp_path, monkeypatch, slow):
    """Those that measure this machine's limits take a minute."""
    monkeypatch.chdir(tmp_path)
    reference = perflib.load_run().path
    isolate(tmp_path, monkeypatch)
    shutil.copytree(reference, tmp_path / "reference" / reference.name)
    names = {"numba": numba, "np": np, "perflib": perflib}
    registered = dict(catalog._registered)

    try:
        for name, code in (pair for _, pairs in report_api_page.examples() for pair in pairs):
            if slow or name not in ("limits", "hierarchy"):
                exec(compile(code, f"example of {name}", "exec"), names)
    finally:
        catalog._registered.clear()
        catalog._registered.update(registered)

    assert names["product"].shape == (256, 256)
    assert {file.name for file in tmp_path.iterdir()} >= {"sort.json", "sorting.html"}
