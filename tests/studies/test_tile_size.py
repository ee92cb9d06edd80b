"""The study of tiles and blocks, from runs whose times are known."""

import pytest
from synthetic import full, matmul, record

from perflib.display.table import Missing
from perflib.models.time_model import explain, miss_table
from perflib.studies import tile_size


def test_time_explained_is_drawn_with_what_was_left_out(data):
    run = record(matmul(sizes=(16, 24, 32, 40, 48)))

    shown = tile_size.explained(run)

    expected = explain(miss_table(run))
    assert f"sizes left out are predicted within {100 * expected.held_out_error:.1f} %" in shown.alt
    assert isinstance(tile_size.explained(record()), Missing)


def test_the_choices_of_rules_lie_where_their_blocks_are(data, monkeypatch):
    monkeypatch.setattr("perflib.studies.tile_size.rules", lambda run: {"exact": (96, 256), "between": (192, 512)})

    axes = tile_size.block_map(full()).figure.axes[0]

    placed = {line.get_label(): tuple(line.get_xydata()[0]) for line in axes.lines}
    assert placed == {"exact 0.97": pytest.approx((1.5, 1.5)), "between": pytest.approx((2.0, 2.0))}
