"""Labels of every figure of the reference run, wide and narrow: no box of one lies over another text or over a curve."""

import pytest
from figures import FIGURES, both
from labels import covered


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_no_label_covers_a_curve_or_another_text(pictures, name):
    problems = {width: list(covered(figure)) for width, figure in both(pictures(name)).items()}

    assert problems == {"wide": [], "narrow": []}
