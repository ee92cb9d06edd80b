"""The figure of a growth: what it says and marks, on fits whose parts are known."""

import struct

import matplotlib.pyplot as plt
import numpy as np
import pytest

from perflib import fit_scaling
from perflib.display.figure import Picture
from perflib.kernels.caches import Cache
from perflib.scaling import figure
from perflib.scaling.figure import growth_figure

SIZES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
CACHES = (Cache(1, "Data", 32 << 10, 64, 8, 64), Cache(2, "Unified", 1 << 20, 64, 8, 2048))


def fit_of(law, sizes=SIZES, bytes=None):
    rng = np.random.default_rng(0)
    times = np.array([[law(n) * rng.lognormal(0, 0.01) for n in sizes] for _ in range(9)])
    return fit_scaling(sizes, times, work=3, bytes=bytes)


def with_odd(n):
    return n**3 * (2.0 if n in (256, 512) else 1.0)


def with_step(n):
    return n**3 * (2.0 if n > 200 else 1.0)


@pytest.fixture
def texts(monkeypatch):
    """The words in the two plots of the picture drawn last."""
    seen = []
    png = figure.picture.__globals__["_png"]

    def look(drawn):
        seen[:] = [words.get_text() for axes in drawn.axes for words in (axes.title, axes._left_title, *axes.texts)]
        return png(drawn)

    monkeypatch.setitem(figure.picture.__globals__, "_png", look)
    return seen


def test_it_is_a_png_with_the_sentence_and_the_same_each_time():
    fit = fit_of(with_odd)

    drawn = growth_figure(fit, CACHES, fit.verdict(3).sentence)

    assert isinstance(drawn, Picture)
    assert drawn == growth_figure(fit, CACHES, fit.verdict(3).sentence)
    assert fit.verdict(3).sentence.rstrip(".") in drawn.alt
    assert struct.unpack(">II", drawn.png[16:24]) == (1520, 1160)
    assert plt.get_fignums() == []


def test_odd_sizes_are_named_with_their_factor(texts):
    growth_figure(fit_of(with_odd))

    assert [words for words in texts if ": ×" in words] == ["256: × 2", "512: × 2"]
    assert not [words for words in texts if words.startswith("×")]


def test_a_step_has_its_factor_and_each_level_its_price(texts):
    fit = fit_of(with_step)

    growth_figure(fit)

    assert [words for words in texts if words.startswith("×")] == ["× 2"]
    assert sum(f"{level.price.value:.3g}" in texts for level in fit.regimes) == 2


def test_caches_are_marked_where_the_bytes_are_known_and_fill_them(texts):
    growth_figure(fit_of(with_odd, bytes=[12 * n * n for n in SIZES]), CACHES)
    assert [words for words in texts if "L1" in words or "L2" in words] == ["L2, data fit"]

    growth_figure(fit_of(with_odd), CACHES)
    assert not [words for words in texts if "L2" in words or "memory" in words]


def test_the_title_is_the_sentence_on_short_lines(texts):
    growth_figure(fit_of(with_odd), sentence="words that go on " * 20)

    title = next(words for words in texts if "go on" in words)
    assert max(map(len, title.splitlines())) <= figure.LETTERS
    assert " ".join(title.split()) == ("words that go on " * 20).strip()


def test_the_price_of_a_level_stands_below_all_its_points_the_last_one_too(monkeypatch):
    labels = []
    monkeypatch.setattr(figure, "label_point", lambda axes, words, at, colour: labels.append((words, at)))
    fit = fit_of(lambda n: n**3 * (0.97 if n == SIZES[-1] else 1.0))

    growth_figure(fit)

    prices = np.array(fit.times_ns) / [fit.work(n) for n in SIZES]
    ((_, (x, y)),) = [label for label in labels if not label[0].startswith("×")]
    assert x == pytest.approx(np.sqrt(SIZES[0] * SIZES[-1]))
    assert y * figure._price_unit(np.median(prices))[1] == pytest.approx(prices[-1]) == pytest.approx(prices.min())
