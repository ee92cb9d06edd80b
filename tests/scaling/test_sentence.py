"""The sentence of a growth, on fits whose parts are given: each part in the words in which a figure shows it."""

from types import SimpleNamespace

import pytest

from perflib.scaling.classes import work_of
from perflib.scaling.records import OddSize, Regime
from perflib.scaling.sentence import grows_as, grows_unlike, may_grow_as, price_text
from perflib.stats import Interval


def level(first, last, price, reason=""):
    return Regime(first, last, Interval(price, price, price, 0.95), None, reason)


ONE = (level(64, 512, 0.9),)


def fit(growth=3, levels=ONE, odd=(), fixed=0.0, sizes=(64, 512)):
    exponent, cost = Interval(3.0, 2.99, 3.02, 0.95), Interval(fixed, fixed, fixed, 0.95)
    parts = {"regimes": levels, "odd_sizes": odd, "fixed_cost": cost, "exponent": exponent}
    return SimpleNamespace(growth=work_of(growth), sizes=sizes, **parts)


def test_growth_alone_is_its_class_and_exponent_over_its_range():
    assert grows_as(fit()) == "grows as n³: exponent 3.00 [2.99, 3.02] over 64 to 512"
    assert grows_as(fit(0)).startswith("stays the same: ")
    assert grows_as(fit(sizes=(0.5, 2**20))).endswith("over 0.5 to 1048576")


def test_odd_sizes_are_named_by_reason_with_their_factors():
    odd = (OddSize(256, 1.63, "rows share sets of L1"), OddSize(300, 1.4), OddSize(512, 2.78, "rows share sets of L1"))

    parts = grows_as(fit(odd=odd)).split("; ")[1:]
    assert parts == [
        "n = 300 takes 1.4 times as long",
        "n = 256 and 512 take 1.6 and 2.8 times as long (rows share sets of L1)",
    ]


def test_many_odd_sizes_are_counted():
    odd = tuple(OddSize(n, n / 10) for n in (13, 15, 20, 25, 30))

    assert grows_as(fit(odd=odd)).endswith("; 5 sizes take 1.3 to 3 times as long")


def test_levels_have_their_prices_and_reasons():
    levels = (level(64, 2048, 0.07), level(6144, 10**5, 0.145, "L2"), level(2**20, 2**22, 0.6, "memory"))

    parts = grows_as(fit("n", levels)).split("; ")
    assert parts[1] == "70 ps per n up to 2048, 0.145 ns from 6144 (L2), 0.6 ns from 1048576 (memory)"


@pytest.mark.parametrize(("fixed", "words"), [(24.0, "24 ns fixed"), (-60_300.0, "-60.3 µs fixed")])
def test_a_fixed_cost_stands_at_the_end(fixed, words):
    assert grows_as(fit(fixed=fixed)).split("; ")[1:] == [words]


@pytest.mark.parametrize(("is_steeper", "word"), [(True, "steeper"), (False, "slower")])
def test_rejected_growth_says_on_which_side_and_what_fits_better(is_steeper, word):
    told = grows_unlike(fit(), "n^3.3", is_steeper)

    assert told == f"grows {word} than n³: exponent 3.00 [2.99, 3.02] over 64 to 512, n^3.3 fits better"


def test_growth_that_cannot_be_told_names_both():
    assert may_grow_as(fit(), "n^2.81") == "may grow as n³ or n^2.81: exponent 3.00 [2.99, 3.02] over 64 to 512"


@pytest.mark.parametrize(("ns", "words"), [(0.0444, "44.4 ps"), (0.9123, "0.912 ns"), (1234.5, "1.23 µs")])
def test_a_price_has_three_digits_and_the_unit_that_suits(ns, words):
    assert price_text(ns) == words
