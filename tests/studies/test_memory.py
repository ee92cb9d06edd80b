"""Memory of a machine whose times are known: tables, figures and roofs say what was put in, or that it is missing."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from runs import in_order, isolate, row, start
from synthetic import HERE, limits, matmul, record, rmsnorm
from touched import touched

from perflib.display.figure import Picture
from perflib.display.table import Missing
from perflib.kernels.buffers import BASE_KIB
from perflib.kernels.caches import Cache
from perflib.kernels.memory_catalog import CHASE_STEPS
from perflib.models.cache_model import colour_misses
from perflib.models.simulator import simulate
from perflib.runs.queries import summary
from perflib.studies import memory
from perflib.studies import roofline as studies_roofline
from perflib.studies.memory import PAGE_STRIDE, memory_blocks, width_block
from perflib.studies.roofline import Ceilings, Point, bound, register_tile

KIB, MIB = 1 << 10, 1 << 20
MACHINE = replace(HERE, caches=(*HERE.caches, Cache(3, "Unified", 8 * MIB, 64, 16, 8192, 2)))
COLUMNS = ("chains", "page_kib", "streams", "stride")
FIGURES = ("latency", "page_colours", "pages", "bandwidth_curves", "mountain", "leading", "chains")
TABLES = ("level_table", "colour_table", "leading_table", "chain_table", "bandwidth_table")


def nanoseconds(cell):
    """2, 4, 20 and 100 ns per load in L1, L2, L3 and memory; twice that beyond 64 pages; chains share up to ten ways."""
    kernel, n = cell.kernel, cell.n
    values = kernel.params | dict(cell.values)
    size = n * 64 if kernel.name == "memory_chase" else kernel.bytes(n, 4, **{k: values[k] for k in kernel.params})
    levels = ((32 * KIB, 2.0), (MIB, 4.0), (8 * MIB, 20.0), (np.inf, 100.0))
    load = next(ns for capacity, ns in levels if size <= capacity)
    if kernel.name == "memory_chase":
        far = 2 if values["stride"] == PAGE_STRIDE and n > 64 else 1
        crowded = memory.predicted_column(n, values["stride"] // 4, MACHINE.caches[0]) if n <= 128 else 0
        return CHASE_STEPS * (load * far + 2 * crowded * (values["stride"] < 4160)) / min(values["chains"], 10)
    rate = 200.0 / load
    return (kernel.bytes if kernel.name.endswith("_nt") else kernel.moved or kernel.bytes)(
        n, 4, **{k: values[k] for k in kernel.params}
    ) / rate


@pytest.fixture(scope="module", params=[True, False], ids=["quick", "full"])
def run(request, tmp_path_factory):
    """The plan of a run, told without measuring."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(tmp_path_factory.mktemp("data"), patch)
        patch.setattr(memory, "page_sizes_kib", lambda: (4, 2048))
        writer = start(machine=MACHINE)
        for block in memory_blocks(request.param, MACHINE):
            rng = np.random.default_rng(0)
            with writer.block(block.topic, block.name, COLUMNS) as append:
                rows = []
                for cell in block.cells:
                    times = 100 * nanoseconds(cell) * rng.lognormal(0, 0.002, block.least_rounds)
                    took = [{"reps": 100, "elapsed_ns": max(1, round(ns))} for ns in times]
                    rows += [row(block.name, i, **one, **cell.columns()) for i, one in enumerate(took)]
                append(in_order(rows))
        rates = {"scalar": 10.0, "256": 100.0}
        for topic, name, cells in (*limits(), matmul(), rmsnorm()):
            rows = [row(name, i, reps=1, elapsed_ns=round(ns), **c) for c, times in cells for i, ns in enumerate(times)]
            with writer.block(topic, name) as append:
                append(in_order(rows))
        with writer.block("limits", "widths") as append:
            rows = []
            for width, rate in rates.items():
                shared = {"kernel": f"fma_peak_{width}", "n": 262144, "elapsed_ns": round(524288 / rate), "reps": 1}
                rows += [row("widths", i, **shared) for i in range(6)]
            append(in_order(rows))
        return writer.finish(codegen={})


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_a_run_with_memory_is_a_picture_with_a_sentence(run, name):
    drawn = getattr(memory, name)(run)

    assert isinstance(drawn, Picture), drawn
    assert len(drawn.alt) > 60
    assert drawn.alt.endswith(".")
    assert "nan" not in drawn.alt


@pytest.mark.parametrize(
    "name",
    [
        *(("plot_memory", f) for f in FIGURES),
        *(("memory_tables", t) for t in TABLES),
        ("plot_roofline", "roofs"),
        ("roofline", "roofline_table"),
    ],
)
def test_a_run_without_memory_gives_the_standard_sentence(tmp_path, monkeypatch, name):
    isolate(tmp_path, monkeypatch)
    modules = {
        "plot_memory": memory,
        "memory_tables": memory,
        "plot_roofline": studies_roofline,
        "roofline": studies_roofline,
    }

    missing = getattr(modules[name[0]], name[1])(record(*limits()))

    assert isinstance(missing, Missing)
    assert "`perflib record` measures it." in repr(missing)


def test_columns_that_a_neighbour_slowed_from_the_first_row_on_fit_nowhere(run, monkeypatch):
    found = memory.chase(run, "leading dimension")
    slow = found.assign(ns=found["ns"].where(found["stride"] != 4 * 513, 3 * found["ns"].max()))
    monkeypatch.setattr(memory, "chase", lambda *_: slow)

    rows = {line[0]: line[2] for line in memory.leading_table(run).rows}

    assert rows["513"] == "0" < rows["1040"]


def test_a_curve_without_two_levels_predicts_no_columns(run, monkeypatch):
    levels = memory.levels
    monkeypatch.setattr(memory, "levels", lambda run: levels(run)[:1])

    assert repr(memory.leading(run)).startswith("Not in this run: ")


def test_levels_of_the_run_are_those_that_were_put_in(run):
    found = memory.levels(run)

    assert [d.name for d in found] == ["L1d", "L2", "L3", "memory"]
    assert [d.latency_ns for d in found] == pytest.approx([2, 4, 20, 100], rel=0.02)
    assert [d.capacity_bytes.value for d in found[:3]] == pytest.approx([32 * KIB, MIB, 8 * MIB], rel=0.15)
    assert {d.grade for d in found[:3]} == {"agrees"}


def test_the_table_of_levels_says_what_is_reported_of_each(run, monkeypatch):
    first, *others = memory.levels(run)
    monkeypatch.setattr(memory, "levels", lambda _: (replace(first, reported_bytes=None), *others))

    rows = {name: (reported, measured, error) for name, reported, measured, error, *_ in memory.level_table(run).rows}

    assert [row[0] for row in rows.values()] == ["unknown", "1 MiB", "8 MiB", ""]
    assert rows["L1d"][2] == rows["memory"][2] == rows["memory"][1] == ""
    assert abs(float(rows["L2"][2])) < 15


def test_a_load_of_a_chase_is_a_share_of_its_run(run):
    found = memory.chase(run, "chains")

    one = found[(found["bytes"] == 16 * KIB) & (found["chains"] == 1)].iloc[0]
    assert one["ns"] == pytest.approx(2, rel=0.02)
    assert one["low_ns"] <= one["ns"] <= one["high_ns"]


def test_chains_overlap_as_far_as_they_did(run):
    rows = {cells[0]: cells for cells in memory.chain_table(run).rows}

    assert float(rows["16 KiB"][3]) == pytest.approx(10, rel=0.02)
    assert rows["16 KiB"][4] == "16"


def test_cases_that_differ_in_a_parameter_are_told_apart(run):
    found = summary(run, "memory", kernel="memory_chase", block="chains")

    assert len(found) == len(found[["n", "chains"]].drop_duplicates())
    assert set(found["samples"]) in ({6}, {9})


@pytest.mark.parametrize(
    ("rows", "leading", "share"), [(8, 1024, 0.0), (9, 1024, 1.0), (16, 512, 0.0), (17, 512, 9 / 17), (128, 528, 0.0)]
)
def test_a_column_misses_where_a_set_has_more_lines_than_ways(rows, leading, share):
    """64 sets of 8 ways: rows of 1024 float32 all share one set, those of 512 two, 9 lines in one and 8 in the other."""
    assert memory.predicted_column(rows, leading, MACHINE.caches[0]) == pytest.approx(share)


def test_the_model_of_pages_lies_between_the_latencies_of_the_two_levels(run):
    near, second = memory.colours(run)

    expected = near["ns"].iloc[0] + colour_misses(int(near["bytes"].iloc[3]), second) * (
        near["ns"].iloc[-1] - near["ns"].iloc[0]
    )
    assert near["model_ns"].iloc[3] == pytest.approx(expected)
    assert near["model_ns"].is_monotonic_increasing


def test_moved_bytes_are_more_than_counted_ones_where_a_store_fetches_its_line(run):
    found = studies_roofline.bandwidth(run).set_index(["kernel", "bytes"])
    factor = (found["moved_gb_per_s"] / found["gb_per_s"]).groupby("kernel").median()

    assert factor["memory_copy"] == pytest.approx(1.5)
    assert factor["memory_copy_nt"] == pytest.approx(1)


def test_the_lowest_roof_is_the_one_that_counts():
    roofs = Ceilings({"scalar": 10.0, "256-bit": 100.0}, {"L1d": 200.0, "memory": 20.0})

    assert bound(roofs, Point("k", 8, 1.0, {"L1d": 0.25, "memory": 10.0})) == (50.0, "L1d")
    assert bound(roofs, Point("k", 8, 1.0, {"L1d": 4.0, "memory": 1.0})) == (20.0, "memory")
    assert bound(roofs, Point("k", 8, 1.0, {"L1d": 4.0, "memory": 10.0})) == (100.0, "registers")


def test_intensities_are_those_of_the_textbook(run):
    found = {point.kernel: point for point in studies_roofline.points(run)}

    assert register_tile(12, 32) == pytest.approx(4.36, abs=0.01)
    assert found["matmul_ikj"].intensity["L1d"] == pytest.approx(0.17, abs=0.01)
    assert found["matmul_naive"].intensity["memory"] == pytest.approx(512 / 6)
    # a line per multiply-add, for the rows of a tile meet in few sets
    assert found["matmul_tiled"].intensity["L2"] == pytest.approx(2 / 64, rel=0.05)


def test_intensities_by_level_are_those_of_the_simulated_lines():
    """All of three matrices of 64 x 64 goes into the second level; their lines come once from each level beyond."""
    found = studies_roofline.product_levels(
        replace(MACHINE, isa=("avx512f",)), ["matmul_ikj", "matmul", "numpy_matmul"], 64
    )

    first = simulate("matmul_ikj", (64,) * 3, MACHINE.caches).misses[0]
    assert found["matmul_ikj"] == {
        "L1d": 2 * 64**3 / (4 * 64 * (64 + 64 + 3 * 64 * 64)),
        "L2": 2 * 64**3 / (64 * first),
        "L3": 64 / 6,
        "memory": 64 / 6,
    }
    assert found["matmul"]["L1d"] == pytest.approx(register_tile(12, 32), rel=0.2)  # C is loaded and stored besides
    assert found["numpy_matmul"]["L3"] < 64 / 6  # packed: what is copied is more


def test_where_the_ways_are_not_known_the_formula_says_it():
    unknown = replace(MACHINE, isa=("avx512f",), caches=(Cache(1, "Data", 32 << 10), Cache(2, "Unified", 1 << 20)))
    found = studies_roofline.product_levels(unknown, ["matmul_tiled", "matmul_ikj", "matmul_register_blocked"], 48)

    assert found["matmul_tiled"] == {"L1d": 0.25, "L2": 16, "L3": 16, "memory": 8}
    assert found["matmul_ikj"]["L2"] == 0.5
    assert (found["matmul_register_blocked"]["L1d"], found["matmul_register_blocked"]["L2"]) == (register_tile(12, 32), 6)


@pytest.mark.parametrize("name", sorted(studies_roofline.FIRST))
def test_flops_per_byte_of_the_first_level_count_what_the_innermost_loop_touches(name):
    sizes, flops = ((4, 256), 4) if name.startswith("rms") else ((8, 8, 256), 2)
    loops = SimpleNamespace(tile=256, lanes=8, stream_bytes=1 << 30)

    elements = round(len(touched(name, sizes, loops)) / np.prod(sizes))

    assert studies_roofline.FIRST[name] == flops / (4 * elements)


def test_ceilings_are_the_measured_peaks_and_reads(run):
    roofs = studies_roofline.ceilings(run)

    assert list(roofs.gflops) == ["scalar", "256-bit"]
    assert list(roofs.gflops.values()) == pytest.approx([10, 100], rel=1e-3)
    assert list(roofs.gb_per_s) == ["L1d", "L2", "L3", "memory"]
    assert list(roofs.gb_per_s.values()) == pytest.approx([100, 50, 10, 2], rel=0.05)
    assert studies_roofline._merge({"scalar": 10.0, "256-bit": 100.0, "512-bit": 103.0})[1] == ("256-bit, 512-bit", 103)
    assert "(L1d)" in repr(studies_roofline.roofline_table(run))
    assert isinstance(studies_roofline.roofs(run), Picture)


@pytest.mark.parametrize("pages", [(BASE_KIB,), (BASE_KIB, 2048)])
def test_series_on_pages_that_the_system_does_not_give_are_left_out(monkeypatch, pages):
    monkeypatch.setattr(memory, "page_sizes_kib", lambda: pages)

    used = {cell.values["page_kib"] for block in memory_blocks(True, MACHINE) for cell in block.cells}

    assert used == set(pages)


def test_a_run_keeps_the_columns_of_the_memory_described_in_the_package():
    schema = json.loads((Path(__file__).parents[2] / "data" / "memory.schema.json").read_text())
    described = {field["name"] for field in schema["fields"]}
    planned = {name for block in memory_blocks(True, MACHINE) for cell in block.cells for name in cell.columns()}

    assert planned <= described
    assert width_block().topic == "limits"
