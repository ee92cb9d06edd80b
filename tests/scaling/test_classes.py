"""Names, numbers and functions stand for the work that they say."""

import math

import numpy as np
import pytest

from perflib import fit_scaling
from perflib.errors import SampleError
from perflib.scaling.classes import CLASSES, counted, work_of

N = np.array([2.0, 10.0, 1000.0])


@pytest.mark.parametrize(
    ("expected", "name", "work"),
    [
        (3, "n³", lambda n: n**3),
        (2.0, "n²", lambda n: n**2),
        (0, "1", lambda n: n**0),
        (1.25, "n^1.25", lambda n: n**1.25),
        ("n", "n", lambda n: n),
        ("O(n^2)", "n²", lambda n: n**2),
        ("n³", "n³", lambda n: n**3),
        ("n**3", "n³", lambda n: n**3),
        ("n^1.5", "n^1.5", lambda n: n**1.5),
        ("sqrt(n)", "√n", np.sqrt),
        ("n log n", "n log n", lambda n: n * np.log(n)),
        ("n * log(n)", "n log n", lambda n: n * np.log(n)),
        ("n^3 log n", "n³ log n", lambda n: n**3 * np.log(n)),
        ("log n", "log n", np.log),
        ("1", "1", lambda n: n**0),
        (lambda n: 2 * n + 1, "the work function", lambda n: 2 * n + 1),
    ],
)
def test_a_growth_is_understood(expected, name, work):
    growth = work_of(expected)

    assert growth.name == name
    np.testing.assert_allclose(np.exp(growth.log(N)), work(N))


def test_two_to_the_n_is_known_by_its_logarithm():
    assert work_of("2^n").log(np.array([5000.0])) == pytest.approx(5000 * math.log(2))


def test_one_element_is_some_work_for_every_class():
    assert all(np.isfinite(growth.log(np.array([1.0]))).all() for growth in CLASSES.values())


@pytest.mark.parametrize("bad", ["n!", "fast", "", "n n"])
def test_a_name_that_is_no_growth_is_refused(refused, bad):
    with refused(SampleError, "is no growth class", "n log n"):
        work_of(bad)


@pytest.mark.parametrize("bad", [math.nan, math.inf, None, True])
def test_an_exponent_is_a_finite_number(refused, bad):
    with refused(SampleError, "must be a number, a class name or a function of n"):
        work_of(bad)


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_a_work_function_is_refused_with_the_n_at_which_it_went_wrong(refused, bad):
    sizes = [64, 128, 256, 512]

    with refused(SampleError, "the work function must be above 0 and finite", "at n = 256"):
        fit_scaling(sizes, sizes, work=lambda n: bad if n == 256 else n)


def test_a_work_function_that_raises_is_refused_with_its_n(refused):
    sizes = [64, 128, 256, 512]

    with refused(SampleError, "the work function fails at n = 64", "division"):
        fit_scaling(sizes, sizes).verdict(lambda n: 1 / (n - 64))


def test_counts_are_one_per_size_and_above_zero(refused):
    with refused(SampleError, "one count per size", "got 2 for 3 sizes"):
        counted(N, np.array([1.0, 2.0]))
    with refused(SampleError, "work must be above 0", "got 0 at n = 10"):
        counted(N, np.array([1.0, 0.0, 2.0]))


def test_counts_follow_a_power_between_sizes_and_beyond():
    growth = counted(N, N**2)

    np.testing.assert_allclose(np.exp(growth.log(np.array([1.0, 5.0, 1e5]))), [1, 25, 1e10])
