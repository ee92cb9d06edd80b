"""A figure beside its target: met, missed, or not measured."""

from math import nan

import pytest

from perflib.validation.scorecard import Scorecard, Target, at_least, at_most


@pytest.mark.parametrize(
    ("target", "text", "inside", "outside"),
    [
        (at_least(0.95), "≥ 0.95", (0.95, 1.0), (0.949, nan)),
        (at_most(1.05, "<= {:g}"), "<= 1.05", (1.05, 0.0), (1.051, nan)),
        (Target("0.93 to 0.98", 0.93, 0.98), "0.93 to 0.98", (0.93, 0.98), (0.929, 0.981, nan)),
    ],
)
def test_the_ends_of_a_target_meet_it_and_what_is_no_number_misses_it(target, text, inside, outside):
    assert target.text == text
    assert [target.score("", value, "").met for value in inside] == [True] * len(inside)
    assert [target.score("", value, "").met for value in outside] == [False] * len(outside)


def test_what_was_not_measured_is_neither_met_nor_missed():
    class Card(Scorecard):
        unmeasured = "open"

        def scores(self):
            target = at_least(1.0)
            return target.score("good", 1.5, "1.5"), target.score("bad", 0.5, "0.5"), target.score("absent", None, "")

    assert Card().missed == ["bad"]
    assert Card().table().rows == (
        ("good", "1.5", "≥ 1", "met"),
        ("bad", "0.5", "≥ 1", "missed"),
        ("absent", "", "≥ 1", "open"),
    )
