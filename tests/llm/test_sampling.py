"""The next token: the likeliest, or drawn with the probabilities of the softmax."""

import numpy as np
import pytest

from perflib.errors import TextError
from perflib.llm.sampling import Sampler

LOGITS = np.float32([0.5, -1.0, 2.0, 1.5, -3.0, 2.0])
DRAWS = 4000


def draws(logits=LOGITS, **settings):
    sample = Sampler(**settings)
    return np.array([sample(logits) for _ in range(DRAWS)])


def softmax(logits, temperature):
    weights = np.exp(np.float64(logits) / temperature)
    return weights / weights.sum()


def test_without_a_temperature_the_likeliest_token_is_taken_the_first_of_equals():
    assert set(draws()) == {2}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("top_k", [0, 1, 3, 4, 6, 99])
def test_tokens_are_drawn_as_often_as_the_softmax_of_the_kept_ones_says(temperature, top_k):
    kept = np.argsort(-LOGITS, kind="stable")[: top_k or None]
    if top_k == 1:
        kept = np.array([2, 5])  # either of the equals may be kept
    expected = np.zeros(len(LOGITS))
    expected[kept] = softmax(LOGITS[kept], temperature)

    counts = np.bincount(draws(temperature=temperature, top_k=top_k), minlength=len(LOGITS))

    if top_k == 1:
        assert (counts > 0).sum() == 1 and counts[kept].sum() == DRAWS
        return
    error = np.sqrt(expected * (1 - expected) / DRAWS)
    assert (abs(counts / DRAWS - expected) <= 5 * error).all(), "five standard errors"
    assert (counts[expected == 0] == 0).all()


def test_a_seed_gives_the_same_tokens_and_another_gives_others():
    first, again, other = (draws(temperature=2.0, seed=seed) for seed in (7, 7, 8))

    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("temperature", [5e-324, 1e-30, 1e-3])
def test_a_tiny_temperature_takes_the_likeliest(temperature):
    assert set(draws(np.float32([0, 3, 1]), temperature=temperature)) == {1}


def test_a_logit_of_minus_infinity_is_never_drawn():
    assert set(draws(np.float32([0, -np.inf, 0]), temperature=10.0)) == {0, 2}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_refused(refused, bad, temperature):
    with refused(TextError, "logits are not finite"):
        Sampler(temperature)(np.float32([0, bad, 1]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": -1.0}, "temperature must be 0 or more and finite, got -1.0"),
        ({"temperature": float("nan")}, "temperature must be 0 or more and finite, got nan"),
        ({"temperature": float("inf")}, "temperature must be 0 or more and finite, got inf"),
        ({"temperature": "1"}, "temperature must be 0 or more and finite, got '1'"),
        ({"top_k": -1}, "top_k must be an integer of at least 0, got -1"),
        ({"top_k": 2.5}, "top_k must be an integer of at least 0, got 2.5"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(refused, settings, words):
    with refused(TextError, words):
        Sampler(**settings)
