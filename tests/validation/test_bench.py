"""The bench: figures out of rows, a summary with every key, absent libraries, variables that hold a rival back."""

import json
import os
import re
import sys
from dataclasses import asdict, replace

import pytest
from runs import MACHINE, isolate

from perflib import cli
from perflib.errors import PerflibError, ReportError
from perflib.report import readme
from perflib.validation import bench as program
from perflib.validation import bench_decoder as forward
from perflib.validation import bench_kernels
from perflib.validation.bench import FIGURES, WITHOUT, Bench, bench, geometric_mean, handicaps
from perflib.validation.head_to_head import Row

SUMMARY = [
    "matmul_vs_best_geomean",
    "matmul_vs_best_min",
    "matmul_vs_numpy_geomean",
    "matmul_of_peak_min_from_96",
    "odd_shapes_vs_numpy_geomean",
    "matmul_f64_vs_numpy_geomean",
    "matmul_f64_vs_best_min",
    "every_size_share_ahead",
    "every_size_min",
    "llm_shapes_vs_best_geomean",
    "llm_shapes_vs_best_min",
    "transposed_vs_best_min",
    "batched_small_vs_numpy",
    "two_threads_speedup",
    "rms_of_in_core_bound",
    "rms_of_copy_bandwidth",
    "rms_top_vs_standard_min",
    "rms_vs_torch_min",
    "fused_residual_gain",
    "decode_of_bandwidth",
    "decode_vs_torch_15m",
    "decode_vs_torch_110m",
    "prefill_vs_torch_min",
    "q8_vs_f32_decode",
    "forward_closure",
]
COLUMNS = ["what", "kernel", "peer", "n", "dtype", "threads", "ratio", "low", "high"]


@pytest.fixture(autouse=True)
def nothing_holds_a_rival_back(monkeypatch):
    """Where such a variable is set, the command would put a new program in the place of the tests."""
    for name in handicaps(os.environ):
        monkeypatch.delenv(name)


def row(what, ratio, n=64, peer="numpy_matmul", **changes):
    return Row(what, "matmul", peer, n, "float32", 1, ratio, ratio * 0.99, ratio * 1.01, **changes)


LIBRARY_MATMULS = [
    *(row(bench_kernels.LIBRARY, 2.0, n, "numpy_matmul") for n in (32, 64)),
    *(
        row(bench_kernels.LIBRARY, ratio, n, peer)
        for n, ratio in ((32, 1.6), (64, 1.2))
        for peer in ("mkl_matmul", "torch_matmul")
    ),
    row(bench_kernels.BEST, 0.5, 32, "mkl_matmul"),
    row(bench_kernels.BEST, 1.6, 64, "mkl_matmul"),
    row(bench_kernels.BEST, 1.25, 128, "torch_matmul"),
    *(row(bench_kernels.PEAK, ratio, n, "fma_peak") for n, ratio in ((64, 0.7), (96, 0.9), (128, 0.95))),
]
OTHERS = [
    *(row(bench_kernels.ODD, ratio, shape) for shape, ratio in (("97x97x97", 0.5), ("3x2048x2048", 2.0))),
    *(row(bench_kernels.DOUBLE, ratio, n) for n, ratio in ((32, 0.8), (64, 1.25))),
    *(row(bench_kernels.DOUBLE_BEST, ratio, n) for n, ratio in ((32, 0.5), (64, 1.1))),
    *(row(bench_kernels.ALL_SIZES, ratio, n) for n, ratio in ((15, 0.1), (16, 1.0), (17, 1.2), (32, 0.9), (48, 1.5))),
    *(row(bench_kernels.LAYER, ratio, shape) for shape, ratio in (("1x768x2048", 0.5), ("4x768x2048", 2.0))),
    *(row(bench_kernels.TRANSPOSED, ratio, n) for n, ratio in (("A^T B, 64", 1.2), ("A B^T, 64", 0.9))),
    *(row(bench_kernels.STACK, ratio, n) for n, ratio in (("10000 of 8x8", 3.0), ("10000 of 16x16", 2.5))),
    row(bench_kernels.THREADS, 1.9, 2048),
    row(bench_kernels.BLOCKS, 0.99, 1024),
    row(bench_kernels.CORE, 0.7, 2048),
    row(bench_kernels.COPY, 0.95, "16384x2048"),
    *(row(bench_kernels.STANDARD, ratio, n) for n, ratio in ((512, 4.0), (1024, 3.5), (2048, 5.0))),
    *(row(bench_kernels.TORCH, ratio, n) for n, ratio in ((512, 9.0), (4096, 6.0))),
    row(bench_kernels.FUSED, 1.2, "16384x2048"),
    row(forward.BANDWIDTH, 0.9, "110M"),
    *(row(forward.GENERATION, ratio, shape) for shape, ratio in (("15M", 3.25), ("110M", 2.5))),
    *(row(forward.PROMPT, ratio, shape) for shape, ratio in (("15M", 1.5), ("110M", 1.25))),
    row(forward.QUANTISED, 3.0, "110M"),
    *(row(forward.CLOSURE, ratio, shape) for shape, ratio in (("15M", 0.98), ("110M", 0.99))),
]


def found(rows=(*LIBRARY_MATMULS, *OTHERS), quick=False, notes=("Versions: NumPy 2.4.",)):
    return Bench({**MACHINE.to_dict(), "libraries": {}, "blas": [], "date": "2026-11-28"}, tuple(rows), notes, quick)


@pytest.fixture(autouse=True)
def saved(monkeypatch, tmp_path):
    """Where the command writes, instead of the reports of this clone."""
    monkeypatch.setattr(program, "SAVED", tmp_path / "reports" / "bench")
    return program.SAVED


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The bench without its contests: `measured(libraries, rows)` tells what is there and what comes of it."""
    isolate(tmp_path, monkeypatch)
    for name in (*program.HANDICAPS, WITHOUT):
        monkeypatch.delenv(name, raising=False)

    def make(libraries, rows=(), blas=()):
        monkeypatch.setattr(program, "installed", lambda: libraries)
        monkeypatch.setattr(program, "machine", lambda: MACHINE)
        monkeypatch.setattr(program, "threadpool_info", lambda: list(blas))
        monkeypatch.setattr(bench_kernels, "calls_ns", lambda names: dict.fromkeys(names, 600.0))
        monkeypatch.setattr(program, "forward_steps", lambda quick, names: [])
        monkeypatch.setattr(bench_kernels, "plan", lambda quick, names, here: [("all", lambda: list(rows))])

    return make


def test_a_mean_of_ratios_does_not_depend_on_who_is_divided_by_whom():
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1)
    assert geometric_mean([2.0, 4.0, 8.0]) == pytest.approx(4)


def test_every_figure_sums_up_its_own_rows():
    assert found().summary == {
        "matmul_vs_best_geomean": pytest.approx(1.0),
        "matmul_vs_best_min": 1.25,
        "matmul_vs_numpy_geomean": pytest.approx(2.0),
        "matmul_of_peak_min_from_96": 0.9,
        "odd_shapes_vs_numpy_geomean": pytest.approx(1.0),
        "matmul_f64_vs_numpy_geomean": pytest.approx(1.0),
        "matmul_f64_vs_best_min": 1.1,
        "every_size_share_ahead": 0.75,
        "every_size_min": 0.9,
        "llm_shapes_vs_best_geomean": pytest.approx(1.0),
        "llm_shapes_vs_best_min": 0.5,
        "transposed_vs_best_min": 0.9,
        "batched_small_vs_numpy": 2.5,
        "two_threads_speedup": 1.9,
        "rms_of_in_core_bound": 0.7,
        "rms_of_copy_bandwidth": 0.95,
        "rms_top_vs_standard_min": 3.5,
        "rms_vs_torch_min": 6.0,
        "fused_residual_gain": 1.2,
        "decode_of_bandwidth": 0.9,
        "decode_vs_torch_15m": 3.25,
        "decode_vs_torch_110m": 2.5,
        "prefill_vs_torch_min": 1.25,
        "q8_vs_f32_decode": 3.0,
        "forward_closure": 0.98,
    }


def test_the_json_has_machine_rows_and_summary_and_nothing_else():
    told = json.loads(json.dumps(found().to_dict()))

    assert list(told) == ["machine", "rows", "summary"]
    assert told["machine"]["cpu"] == MACHINE.cpu
    assert {tuple(r) for r in told["rows"]} == {tuple(COLUMNS)}
    assert told["rows"][0] == asdict(LIBRARY_MATMULS[0])
    assert list(told["summary"]) == SUMMARY


@pytest.mark.parametrize("absent", ["numpy_matmul", "mkl_matmul", "torch_matmul"])
def test_the_best_of_three_is_not_known_without_one_of_them(absent):
    rows = [r for r in (*LIBRARY_MATMULS, *OTHERS) if not (r.what == bench_kernels.LIBRARY and r.peer == absent)]

    summary = found(rows).summary

    assert list(summary) == SUMMARY
    assert summary["matmul_vs_best_geomean"] is summary["matmul_vs_best_min"] is None
    assert summary["llm_shapes_vs_best_min"] is summary["every_size_min"] is summary["transposed_vs_best_min"] is None
    assert (summary["matmul_vs_numpy_geomean"] is None) == (absent == "numpy_matmul")


def test_what_was_not_measured_is_neither_met_nor_missed():
    without = found(LIBRARY_MATMULS)

    assert without.summary["fused_residual_gain"] is None
    assert without.missed == []
    assert not without.complete
    assert [line[-1] for line in without.table().rows].count("not measured") == 22
    assert found().complete
    assert not found(quick=True).complete


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.key or "blocks")
def test_a_figure_on_its_bar_is_met_and_below_it_missed(figure):
    rows = figure.rows((*LIBRARY_MATMULS, *OTHERS))

    def scaled(value):
        level = [replace(r, ratio=value) for r in rows]
        if figure.key == "every_size_share_ahead":  # counts rows: so many of a thousand are ahead
            level = [replace(rows[0], ratio=1.0 if i < 1000 * value - 1e-3 else 0.5) for i in range(1000)]
        kept = [r for r in (*LIBRARY_MATMULS, *OTHERS) if r not in rows]
        if figure.key.startswith("matmul_vs_best"):  # one row counts in both
            kept = [r for r in kept if r.what != bench_kernels.BEST]
        return found((*kept, *level))

    assert figure.what not in scaled(figure.reach + 1e-9).missed
    assert figure.what in scaled(figure.reach - 1e-3).missed
    assert figure.what in scaled(float("nan")).missed
    assert figure.reach < figure.then


def test_bars_are_those_of_the_design():
    bars = {figure.key: (figure.reach, figure.then) for figure in FIGURES}

    assert bars == {
        "matmul_vs_best_geomean": (1.0, 1.05),
        "matmul_vs_best_min": (0.93, 1.0),
        "matmul_vs_numpy_geomean": (1.0, 1.05),
        "matmul_of_peak_min_from_96": (0.88, 0.95),
        "odd_shapes_vs_numpy_geomean": (0.9, 1.0),
        "matmul_f64_vs_numpy_geomean": (0.95, 1.0),
        "matmul_f64_vs_best_min": (1.0, 1.03),
        "every_size_share_ahead": (0.95, 1.0),
        "every_size_min": (0.95, 1.0),
        "llm_shapes_vs_best_geomean": (1.05, 1.2),
        "llm_shapes_vs_best_min": (0.9, 1.0),
        "transposed_vs_best_min": (0.95, 1.0),
        "batched_small_vs_numpy": (2.0, 4.0),
        "two_threads_speedup": (1.8, 1.95),
        "": (0.97, 0.99),
        "rms_of_in_core_bound": (0.6, 0.75),
        "rms_of_copy_bandwidth": (0.9, 0.97),
        "rms_top_vs_standard_min": (3, 5),
        "rms_vs_torch_min": (5, 10),
        "fused_residual_gain": (1.1, 1.2),
        "decode_of_bandwidth": (0.85, 0.9),
        "decode_vs_torch_15m": (1.0, 1.05),
        "decode_vs_torch_110m": (1.05, 1.1),
        "prefill_vs_torch_min": (1.2, 1.3),
        "q8_vs_f32_decode": (2.5, 3.0),
        "forward_closure": (0.97, 0.99),
    }


def test_what_is_printed_shows_every_row_and_every_figure_with_its_interval_and_no_target():
    text = str(found())

    assert text.count("[") == 2 + len(LIBRARY_MATMULS) + len(OTHERS) + len(FIGURES), "one for each row and figure"
    assert "matmul / best of NumPy, MKL, PyTorch" in text
    assert not re.search(r"≥|\bmet\b|missed", text)
    assert text.endswith("Versions: NumPy 2.4.")


def test_the_interval_of_a_figure_is_made_of_the_ends_of_its_rows():
    """The worst of a few by the worst ends, the mean of many by the means of ends; none without rows."""
    by_key = {figure.key: figure.interval((*LIBRARY_MATMULS, *OTHERS)) for figure in FIGURES}

    worst, mean = by_key["rms_top_vs_standard_min"], by_key["matmul_f64_vs_numpy_geomean"]
    assert (worst.value, worst.low, worst.high) == (3.5, 3.5 * 0.99, 3.5 * 1.01)
    assert (mean.value, mean.low, mean.high) == (pytest.approx(1), pytest.approx(0.99), pytest.approx(1.01))
    assert [what for what, _ in found(LIBRARY_MATMULS).results().rows] == [figure.what for figure in FIGURES[:4]]


def test_versions_cores_and_calls_are_told(measured):
    blas = [
        {
            "user_api": "blas",
            "internal_api": "openblas",
            "version": "0.3",
            "architecture": "Zen",
            "filepath": "numpy.libs/x",
        },
        {
            "user_api": "blas",
            "internal_api": "openblas",
            "version": "0.2",
            "architecture": "Zen",
            "filepath": "scipy.libs/x",
        },
        {"user_api": "blas", "internal_api": "mkl", "version": "2026.2", "filepath": "lib/x"},
        {"user_api": "openmp", "internal_api": "openmp", "version": None, "filepath": "lib/y"},
    ]
    measured({"numpy": "2.4", "mkl": "2026.2", "torch": "2.13"}, LIBRARY_MATMULS, blas)

    done = bench(progress=False)

    assert done.notes == (
        "Versions: NumPy 2.4, MKL 2026.2, PyTorch 2.13.",
        "BLAS: openblas 0.3 took its code for Zen.",
        "BLAS: mkl 2026.2 does not tell for which core.",
        "The call alone, by a multiplication of 1 x 1: NumPy 600 ns, MKL 600 ns, PyTorch 600 ns; MKL through ctypes.",
    )
    assert done.rows == tuple(LIBRARY_MATMULS)
    assert done.machine["libraries"] == {"numpy": "2.4", "mkl": "2026.2", "torch": "2.13"}
    assert [one["internal_api"] for one in done.machine["blas"]] == ["openblas", "mkl"]


def test_absent_libraries_are_named_in_one_sentence(measured):
    measured({"numpy": "2.4"})

    notes = bench(quick=True, progress=False).notes

    assert "Not installed, and left out: MKL, PyTorch; `make bench` installs the extra `peers`." in notes
    assert notes[-1] == "quick: fewer sizes, and less time for each."
    assert not any("ctypes" in note for note in notes)


@pytest.mark.parametrize("name", ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS"])
def test_with_a_variable_that_holds_a_rival_back_nothing_is_measured(measured, monkeypatch, refused, name):
    measured({"numpy": "2.4"})
    monkeypatch.setenv(name, "Prescott")

    with refused(PerflibError, name, "must not be set before NumPy is loaded"):
        bench(progress=False)


def test_only_what_holds_back_is_a_handicap():
    environment = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "", "OPENBLAS_NUM_THREADS": "1", "PATH": "/bin"}

    assert handicaps(environment) == {"OPENBLAS_CORETYPE": "Haswell"}


def test_the_command_starts_anew_without_them_and_says_so(measured, monkeypatch):
    measured({"numpy": "2.4"})
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")

    class Replaced(BaseException):
        """What execve does to the program."""

    def execve(path, words, environment):
        assert path == sys.executable
        assert words == [path, "-P", "-m", "perflib", "bench", "--quick", "--targets", "--json", "found.json"]
        assert "OPENBLAS_CORETYPE" not in environment
        assert environment[WITHOUT] == "OPENBLAS_CORETYPE=Haswell"
        assert environment.keys() | {"OPENBLAS_CORETYPE"} == os.environ.keys() | {WITHOUT, "PYTHONPATH"}
        raise Replaced

    monkeypatch.setattr(os, "execve", execve)
    with pytest.raises(Replaced):
        cli.run(["bench", "--targets", "--quick", "--json", "found.json"])

    monkeypatch.delenv("OPENBLAS_CORETYPE")
    monkeypatch.setenv(WITHOUT, "OPENBLAS_CORETYPE=Haswell")
    done = bench(progress=False)
    assert any(note.startswith("Measured without OPENBLAS_CORETYPE=Haswell") for note in done.notes)
    assert done.machine["left_out"] == "OPENBLAS_CORETYPE=Haswell"


@pytest.mark.parametrize(("ratio", "flags", "status"), [(1.2, ["--targets"], 0), (1.0, ["--targets"], 1), (1.0, [], 0)])
def test_the_command_prints_and_writes_and_only_with_targets_a_miss_is_a_failure(
    monkeypatch, tmp_path, saved, capsys, ratio, flags, status
):
    met = [replace(r, ratio=1000.0) for r in (*LIBRARY_MATMULS, *OTHERS) if r.what != bench_kernels.FUSED]
    rows = [*met, row(bench_kernels.FUSED, ratio)]
    monkeypatch.setattr(program, "bench", lambda quick: found(rows, quick))

    assert cli.run(["bench", "--quick", *flags, "--json", str(tmp_path / "found.json")]) == status

    printed = capsys.readouterr()
    targets = f"\n{found(rows, True).table()!r}\n" if flags else ""
    assert printed.out == f"{found(rows, True)}\n{targets}"
    assert printed.err == f"written to {saved / 'quick.json'}\n"
    assert json.loads((tmp_path / "found.json").read_text()) == json.loads(json.dumps(found(rows).to_dict()))


def test_the_command_writes_table_and_data_into_reports_and_into_no_tracked_file(monkeypatch, saved, capsys):
    monkeypatch.setattr(program, "bench", lambda quick: found(quick=quick))
    before = readme.README.read_bytes()

    assert cli.run(["bench"]) == cli.run(["bench", "--quick"]) == 0

    assert readme.README.read_bytes() == before
    assert sorted(file.name for file in saved.iterdir()) == ["full.json", "full.txt", "quick.json", "quick.txt"]
    for name, card in (("full", found()), ("quick", found(quick=True))):
        again = program.load_bench(saved / f"{name}.json")
        assert (again.rows, again.notes, again.quick) == (card.rows, card.notes, card.quick)
        assert again.to_dict() == json.loads(json.dumps(card.to_dict()))
    assert "≥ 1.80" in (saved / "full.txt").read_text()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{"what": 1}]}', '{"rows": 1}', "\xff"])
def test_a_file_that_is_no_bench_is_refused_with_its_name(tmp_path, text, refused):
    file = tmp_path / "full.json"
    file.write_text(text, encoding="latin-1")

    with refused(ReportError, "full.json holds no bench"):
        program.load_bench(file)


def test_without_a_bench_the_command_that_measures_it_is_named(tmp_path, refused):
    with refused(ReportError, "full.json holds no bench (FileNotFoundError); `make bench` measures one"):
        program.load_bench(tmp_path / "full.json")


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(program, "bench", lambda quick: pytest.fail("measured"))

    assert cli.run(["bench", "--json", str(tmp_path / "nowhere" / "found.json")]) == 1

    assert capsys.readouterr().err.startswith("perflib: [Errno 2] No such file or directory:")


def test_the_readme_shows_ratios_with_intervals_the_machine_the_date_and_the_versions(tmp_path):
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")

    readme.update_bench(found(), file)

    text = file.read_text()
    assert text.startswith("before\n<!-- bench -->\n\n| times as fast | ratio [95 %] |\n| --- | --- |\n")
    assert text.count("\n| ") == 2 + len(FIGURES)
    assert "| two threads / one | 1.900 [1.881, 1.919] |" in text
    facts = f"{MACHINE.cpu}, 2026-11-28, `make bench`. Versions: NumPy 2.4."
    assert text.endswith(f"|\n\n{facts}\n\n<!-- /bench -->\nafter\n")
    readme.update_bench(found(), file)
    assert file.read_text() == text


@pytest.mark.parametrize("card", [found(quick=True), found(LIBRARY_MATMULS)], ids=["quick", "no norms"])
def test_a_bench_that_lacks_sizes_or_figures_is_not_for_the_readme(tmp_path, card, refused):
    with refused(ReportError, "the bench lacks", "`make bench` measures every figure"):
        readme.update_bench(card, tmp_path / "README.md")

    assert not list(tmp_path.iterdir())
