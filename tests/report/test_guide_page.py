"""The guide: every step with its ratio and its figure, or with what is missing."""

import re

import pytest
from runs import isolate
from synthetic import SIZES, cell, full, matmul, matmul_called, noisy, record

from perflib.report.guide_page import STEPS, guide_page
from perflib.report.page import Page
from perflib.studies.matmul_scaling import matmul_growth, matmul_rates
from perflib.studies.tile_size import tile_map


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        isolate(tmp_path_factory.mktemp("data"), patch)
        topic, block, ladder = matmul()
        ladder += [cell("matmul", n, noisy(2 * n**3 / 80), dtype="float32") for n in SIZES]
        return guide_page(
            full(matmul=[(topic, block, ladder), matmul_called()]),
            {stem: Page(stem, "Which tile?", "", "", (), "tile") for stem in ("03-tile-size", "09-machines")},
        )


def test_every_step_has_its_ratio_and_a_figure_unless_the_first_page_has_it(shown):
    drawn = [step.figure for step in STEPS if step.figure]
    assert shown.body.count("<figure>") == len(drawn) == len(set(drawn))
    assert not {matmul_rates, matmul_growth, tile_map} & set(drawn)
    assert "not recorded" not in shown.body
    assert [entry["id"] for entry in shown.toc] == [*(f"step-{i}" for i in range(1, len(STEPS) + 1)), "last"]


def test_the_ratios_are_those_of_the_run(shown):
    factors = re.findall(r"<strong>([\d.]+) \[([\d.]+), ([\d.]+)\]</strong>", shown.body)

    call, again, place, balance, passes, order, vectors, tile, top = found = [tuple(map(float, f)) for f in factors]
    assert all(low <= value <= high for value, low, high in found)
    assert call[0] == pytest.approx(564 / 64, rel=0.02)
    assert again[0] == pytest.approx(1, abs=0.02)
    assert place[0] == pytest.approx(1.5, rel=0.02)
    assert balance[0] == pytest.approx(100 / 20, rel=0.02)
    assert passes[0] == pytest.approx(2, rel=0.02)
    assert order[0] == pytest.approx(25 / 2, rel=0.02)
    assert vectors[0] == pytest.approx(20 / 2, rel=0.02)
    assert tile[0] == pytest.approx(1.2, rel=0.02)
    assert top[0] == pytest.approx(80 / 25, rel=0.02)


def test_a_step_leads_to_its_page_where_there_is_one(shown):
    assert re.findall(r'href="([\w-]+\.html)"', shown.body) == ["03-tile-size.html", "09-machines.html"]


def test_without_samples_the_advice_stays(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)

    body = guide_page(record(), {}).body

    drawn = [step for step in STEPS if step.figure]
    assert body.count("<strong>not recorded</strong>") == len(STEPS)
    assert body.count("Not in this run</a>") == len(drawn)
    assert body.count("This run lacks the series for") == 1
    assert "Exchange loops" in body
