"""Tables show text as it is."""

import numpy as np
from synthetic import cell, noisy

from perflib.display.table import Table


def test_a_name_with_markup_is_shown_as_it_is():
    cells = [cell("<b>x</b> $k$", n, noisy(100.0 * n)) for n in (64, 128)]
    names = np.unique([c["kernel"] for c, _ in cells])

    html = Table(("kernel",), ((str(names[0]),),))._repr_html_()

    assert "&lt;b&gt;x&lt;/b&gt; $k$" in html
