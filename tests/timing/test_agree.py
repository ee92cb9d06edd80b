"""Two results are the same where a reader would say so, and a wrong formula is not."""

import numpy as np
import pytest

from perflib.timing.preflight import agree


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, None),
        (1, 1.0),
        ([1.0, 2.0], np.array([1.0, 2.0])),
        ((1, 2), [1, 2]),
        (np.float32(0.1), 0.1),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan])),
        (np.array([np.inf, 1.0]), np.array([np.inf, 1.0])),
        (np.array([1e-17, 1.0]), np.array([0.0, 1.0])),
        ("a", "a"),
        ({"a": [1.0]}, {"a": np.array([1.0])}),
        ([np.ones(2), "x"], [np.ones(2), "x"]),
        ({1, 2}, {2, 1}),
        (np.array([]), []),
    ],
    ids=repr,
)
def test_results_of_one_value_are_the_same(one, other):
    assert agree(one, other)
    assert agree(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, 0),
        (1, 2),
        (1.0, 1.001),
        (np.ones(3), np.zeros(3)),
        (np.ones(3), np.full(3, np.nan)),
        (np.ones((1, 3)), np.ones(3)),
        ([1.0, 2.0], [2.0, 1.0]),
        ("a", "b"),
        ("1", 1),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 2}),
        ([1, "x"], [1, "y"]),
        ([1, "x"], [1]),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array([np.inf]), np.array([-np.inf])),
    ],
    ids=repr,
)
def test_results_of_other_values_are_not(one, other):
    assert not agree(one, other)
    assert not agree(other, one)


def test_sums_in_another_order_are_the_same():
    x = np.random.default_rng(0).random(100_000).astype(np.float32)

    assert agree(np.float32(sum(x.tolist())), np.cumsum(x)[-1])


def test_what_cannot_be_compared_counts_as_the_same():
    class Silent:
        def __eq__(self, other):
            raise RuntimeError("no")

        __hash__ = None

    assert agree(Silent(), Silent())
