"""Curves read from files of other tools: the same sizes and nanoseconds whoever wrote them."""

import gzip
import json

import pytest

from perflib.errors import SampleError
from perflib.scaling.files import read_curves

SIZES = (8, 64, 512)
NS = (100.0, 900.0, 8000.0)


def curves(tmp_path, text, name="file.csv", **options):
    """Name, sizes and times of each curve of a text."""
    (tmp_path / name).write_text(text if isinstance(text, str) else json.dumps(text))
    return [(c.name, c.sizes, c.times_ns) for c in read_curves(tmp_path / name, **options)]


def google(name, ns, **more):
    return {"name": name, "run_type": "iteration", "real_time": ns, "cpu_time": 1.0, "time_unit": "ns", **more}


@pytest.mark.parametrize(
    ("header", "factor"),
    [
        ("size,time_ns", 1),
        ("n,time_us", 1e3),
        ("N,Time (ms)", 1e6),
        ("size,seconds", 1e9),
        ("size,time", 1e9),
        ("input size;elapsed [µs]", 1e3),
        ("length\tns", 1),
    ],
)
def test_a_column_of_times_has_its_unit_in_its_name_or_is_in_seconds(tmp_path, header, factor):
    separator = next(mark for mark in ",;\t" if mark in header)
    rows = [f"{n}{separator}{t}" for n, t in zip(SIZES, NS, strict=True)]

    ((_, sizes, times),) = curves(tmp_path, "\n".join([header, *rows]))

    assert sizes == SIZES
    assert times == pytest.approx([factor * t for t in NS])


def test_a_column_may_name_the_unit_of_each_row(tmp_path):
    ((_, sizes, times),) = curves(tmp_path, "size,time,unit\n8,100,ns\n64,0.9,us\n512,0.008,ms\n")

    assert (sizes, times) == (SIZES, pytest.approx(NS))


def test_a_unit_given_by_the_caller_is_that_of_times_without_one(tmp_path):
    text = "size,time\n8,100\n64,900\n512,8000\n"

    assert curves(tmp_path, text, unit="ns")[0][2] == NS


def test_a_column_of_names_gives_a_curve_for_each(tmp_path):
    text = "kernel,threads,size,time_ns\n" + "".join(f"{k},1,{n},{n}\n" for n in SIZES for k in ("sort", "search"))

    assert [(name, sizes) for name, sizes, _ in curves(tmp_path, text)] == [("sort", SIZES), ("search", SIZES)]


def test_a_column_of_whole_numbers_that_all_have_every_size_tells_curves_apart(tmp_path):
    text = "threads,size,time_ns,stddev\n" + "".join(f"{k},{n},{n / k},{n * k}\n" for k in (1, 2) for n in SIZES)

    assert [name for name, *_ in curves(tmp_path, text)] == ["1", "2"]


def test_rounds_are_no_curves(tmp_path):
    text = "round,size,time_ns\n" + "".join(f"{k},{n},{n + k}\n" for k in range(3) for n in SIZES)

    ((name, sizes, times),) = curves(tmp_path, text)
    assert (name, sizes, times) == ("size", SIZES * 3, (8, 64, 512, 9, 65, 513, 10, 66, 514))


def test_google_benchmark_gives_repetitions_and_no_summaries(tmp_path):
    found = [google(f"BM_sort/{n}", t + k, repetition_index=k) for n, t in zip(SIZES, NS, strict=True) for k in (0, 1)]
    found += [google(f"BM_sort/{n}_mean", 5.0, run_type="aggregate", aggregate_name="mean") for n in SIZES]
    found += [{"name": "BM_sort_BigO", "cpu_coefficient": 1.0, "big_o": "N", "run_type": "aggregate"}]
    found += [{"name": "BM_sort_RMS", "rms": 0.01, "run_type": "aggregate"}]
    found += [google("BM_sort/9", 0.0, error_occurred=True)]

    ((name, sizes, times),) = curves(tmp_path, {"context": {}, "benchmarks": found}, "bench.json")

    assert name == "BM_sort/n"
    assert (sizes, times) == ((8, 8, 64, 64, 512, 512), (100, 101, 900, 901, 8000, 8001))


def test_google_benchmark_of_summaries_alone_gives_the_medians(tmp_path):
    kinds = [("mean", 5.0), ("median", 1.0), ("stddev", 9.0)]
    found = [
        google(f"BM_sort/{n}_{kind}", t * by, run_type="aggregate", aggregate_name=kind)
        for n, t in zip(SIZES, NS, strict=True)
        for kind, by in kinds
    ]

    assert curves(tmp_path, {"benchmarks": found}, "bench.json") == [("BM_sort/n", SIZES, NS)]


def test_the_size_is_the_number_of_a_name_that_varies_most(tmp_path):
    found = [google(f"BM_copy<float32>/{n}/threads:{k}", n * k) for k in (1, 2) for n in SIZES]

    shown = curves(tmp_path, {"benchmarks": found}, "bench.json")

    assert [(name, sizes) for name, sizes, _ in shown] == [
        ("BM_copy<float32>/n/threads:1", SIZES),
        ("BM_copy<float32>/n/threads:2", SIZES),
    ]


def test_both_sides_of_a_square_are_one_size(tmp_path):
    found = [google(f"BM_mm/{n}/{n}", t) for n, t in zip(SIZES, NS, strict=True)]

    assert curves(tmp_path, {"benchmarks": found}, "bench.json") == [("BM_mm/n/n", SIZES, NS)]


def test_pyperf_gives_a_round_for_each_value_and_leaves_out_the_warm_up(tmp_path):
    found = [
        {"metadata": {"name": f"sort[{n}]"}, "runs": [{"warmups": [[1, 9.0]]}, {"values": [t / 1e9, t / 1e9]}]}
        for n, t in zip(SIZES, NS, strict=True)
    ]
    text = json.dumps({"version": "1.0", "metadata": {"unit": "second"}, "benchmarks": found})
    (tmp_path / "suite.json.gz").write_bytes(gzip.compress(text.encode()))

    (curve,) = read_curves(tmp_path / "suite.json.gz")

    assert (curve.name, curve.sizes) == ("sort[n]", (8, 8, 64, 64, 512, 512))
    assert curve.times_ns == pytest.approx([t for t in NS for _ in range(2)])


def test_pytest_benchmark_gives_its_data(tmp_path):
    found = [
        {"fullname": f"test_sort[{n}]", "stats": {"data": [t / 1e9], "median": 1.0}} for n, t in zip(SIZES, NS, strict=True)
    ]

    ((_, sizes, times),) = curves(tmp_path, {"benchmarks": found}, "bench.json")
    assert (sizes, times) == (SIZES, pytest.approx(NS))


def test_records_have_their_unit_and_their_rounds(tmp_path):
    records = [
        {"id": "a", "sizes": [8, 64], "times": [1, 2], "unit": "us"},
        {"name": "b", "sizes": [8, 64], "times": [[1, None], [3, 4]], "unit": "arbitrary"},
    ]

    one, two = curves(tmp_path, records, "records.json")

    assert one == ("a", (8, 64), (1000, 2000))
    assert two[:2] == ("b", (8, 64))
    assert repr(two[2]) == "((1.0, nan), (3.0, 4.0))"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column of the name size; its columns are none"),
        ("a,b\n1,2\n", "no column of the name size; its columns are a, b"),
        ("size,b\n1,2\n", "no column of the name time; its columns are b"),
        ("size,time\n", "has no times"),
        ("size,time\n8,fast\n", "row 2: time is 'fast'; give a number"),
        ("size,time\n8\n", "row 2: time is None; give a number"),
        ("size,time,unit\n8,1,fortnight\n", "row 2: the unit is 'fortnight'; give one of ns, us, ms, s"),
        ("{", "is no JSON"),
        ("{}", "has neither benchmarks nor records"),
        ("[3]", "record 1 must be an object with the lists sizes and times"),
        ('{"benchmarks": [{"name": "x"}]}', "benchmark x has neither runs nor stats nor real_time"),
        ('{"benchmarks": [{"name": "x", "real_time": 1}]}', "'x' names no size"),
        ('{"benchmarks": []}', "has no times"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_a_line_with_its_name(tmp_path, refused, text, words):
    (tmp_path / "file.csv").write_text(text)

    with refused(SampleError, "file.csv", words):
        read_curves(tmp_path / "file.csv")


def test_two_numbers_that_vary_alike_are_refused(tmp_path, refused):
    found = [google(f"BM_copy/{n}/{m}", 1.0) for n in SIZES for m in SIZES]
    (tmp_path / "b.json").write_text(json.dumps({"benchmarks": found}))

    with refused(SampleError, "'BM_copy/#/#': two numbers take 3 values each; give a CSV with the column size"):
        read_curves(tmp_path / "b.json")


def test_bytes_that_are_no_text_are_refused(tmp_path, refused):
    (tmp_path / "b.bin").write_bytes(bytes(range(128, 256)))

    with refused(SampleError, "b.bin is no text; give CSV or JSON"):
        read_curves(tmp_path / "b.bin")


def test_an_unknown_unit_of_the_caller_is_refused(tmp_path, refused):
    with refused(SampleError, "unit is 'hours'; give one of ns, us, ms, s"):
        read_curves(tmp_path / "none.csv", "hours")
