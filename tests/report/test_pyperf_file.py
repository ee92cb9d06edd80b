"""What perflib hands to pyperf: files that its commands read, with the truth about the values beside them."""

import getpass
import gzip
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyperf
import pytest

from perflib.report.pyperf_file import write_pyperf
from perflib.stats import Interval, median_interval
from perflib.timing.measure import measure
from perflib.timing.results import Comparison
from perflib.timing.sampling import Sample

FLOOR_NS = 2.0


def measured(label="kernel", net_ns=(98.0, 99.0, 100.0, 101.0, 102.0, 103.0), scope="kernel", reasons=()):
    """A measurement whose samples take these times net of the floor, in batches of 20 000 runs and more."""
    reps = [20_000 + 100 * i for i in range(len(net_ns))]
    times = [round((ns + FLOOR_NS) * n) for ns, n in zip(net_ns, reps, strict=True)]
    samples = [Sample(label, i, 0, n, ns, ns, 0, 0) for i, (n, ns) in enumerate(zip(reps, times, strict=True))]
    floor = Interval(FLOOR_NS, 1.9, 2.1, 0.97)
    state = "noisy" if reasons else "stable"
    return SimpleNamespace(
        label=label, scope=scope, samples=tuple(samples), floor_ns=floor, state=state, reasons=tuple(reasons)
    )


def noisy_times(ns, seed):
    return ns * np.random.default_rng(seed).lognormal(0, 0.01, 30)


def run_pyperf(*words):
    """What a command of pyperf prints; it must not complain."""
    done = subprocess.run([sys.executable, "-m", "pyperf", *map(str, words)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def only_run(path):
    (benchmark,) = pyperf.BenchmarkSuite.load(str(path)).get_benchmarks()
    (run,) = benchmark.get_runs()
    return run


@pytest.mark.parametrize("command", ["show", "stats", "dump", "metadata"])
def test_pyperf_reads_what_is_written_with_both_scopes_side_by_side(tmp_path, command):
    path = write_pyperf(tmp_path / "both.json", [measured(), measured(scope="call", reasons=("drift over the rounds",))])

    printed = run_pyperf(command, path)

    assert "kernel (kernel scope)" in printed
    assert "kernel (call scope)" in printed


def test_compare_to_finds_the_same_kernel_slower_in_another_file(tmp_path):
    files = [
        write_pyperf(tmp_path / name, [measured(net_ns=noisy_times(ns, seed))])
        for name, ns, seed in (("before.json", 100, 0), ("after.json", 200, 1))
    ]

    assert re.search(r"\[before\] 99.9 ns .* \[after\] 200 ns .* 2\.00x slower", run_pyperf("compare_to", *files))


def test_compare_to_finds_nothing_where_nothing_is(tmp_path):
    files = [
        write_pyperf(tmp_path / f"{seed}.json", [measured(net_ns=noisy_times(100, seed)), measured("other")])
        for seed in (0, 1)
    ]

    hidden = "hidden because not significant (2): kernel (kernel scope), other (kernel scope)"
    assert hidden in run_pyperf("compare_to", *files)


def test_batches_of_a_millisecond_are_long_enough_for_pyperf(tmp_path):
    path = write_pyperf(tmp_path / "long.json", [measured(net_ns=noisy_times(100, 0))])

    assert "WARNING" not in run_pyperf("show", path)


def test_a_real_measurement_is_written(tmp_path):
    one = measure(sorted, [3, 1, 2], budget_s=0.01)

    run = only_run(write_pyperf(tmp_path / "sorted.json", [one]))

    assert len(run.values) == len(one.samples)
    assert run.get_metadata()["name"] == "sorted (call scope)"


def test_a_value_is_the_time_of_one_run_in_seconds_net_of_the_loop(tmp_path):
    run = only_run(write_pyperf(tmp_path / "net.json", [measured(net_ns=(98.0, 99.0, 100.0))]))

    assert run.values == pytest.approx([98e-9, 99e-9, 100e-9])
    assert run.get_metadata()["perflib_values"].startswith("net")
    assert run.get_metadata()["perflib_floor_ns"] == FLOOR_NS


@pytest.mark.parametrize("least", [0.0, -0.5])
def test_values_are_gross_where_one_would_not_be_positive(tmp_path, least):
    run = only_run(write_pyperf(tmp_path / "gross.json", [measured(net_ns=(least, 1.0, 2.0))]))

    assert run.values == pytest.approx([(least + 2) * 1e-9, 3e-9, 4e-9])
    assert run.get_metadata()["perflib_values"].startswith("gross")


def test_loops_are_those_of_a_batch_and_their_range_is_told(tmp_path):
    run = only_run(write_pyperf(tmp_path / "loops.json", [measured(net_ns=(1.0, 2.0, 3.0))]))

    assert (run.get_loops(), run.get_inner_loops()) == (20_100, 1)
    assert run.get_metadata()["perflib_loops"].startswith("20000 to 20200 per value")


def test_the_state_and_all_reasons_go_with_the_values(tmp_path):
    why = ("half-width 6.0 % of the median", "the reference loop moved by 12 %")
    noisy = only_run(write_pyperf(tmp_path / "noisy.json", [measured(reasons=why)])).get_metadata()
    stable = only_run(write_pyperf(tmp_path / "stable.json", [measured()])).get_metadata()

    assert (noisy["perflib_scope"], noisy["perflib_state"]) == ("kernel", "noisy")
    assert noisy["perflib_reasons"] == "; ".join(why)
    assert stable["perflib_state"] == "stable"
    assert "perflib_reasons" not in stable


def test_the_machine_is_told_and_neither_host_nor_user_nor_path(tmp_path):
    path = write_pyperf(tmp_path / "here.json", [measured()])
    told = only_run(path).get_metadata()

    assert told["cpu_model_name"]
    assert told["python_version"] == sys.version.split()[0]
    assert told["numpy_version"] == np.__version__
    private = (f'"{socket.gethostname()}"', f'"{getpass.getuser()}"', sys.executable, str(Path.home()) + "/", str(tmp_path))
    assert [word for word in private if word in path.read_text()] == []


@pytest.mark.parametrize(
    ("mode", "name"), [("throughput", "kernel (kernel scope)"), ("cold", "kernel (kernel scope, cold)")]
)
def test_another_mode_is_another_benchmark(tmp_path, mode, name):
    one = measured()
    one.mode = mode

    assert only_run(write_pyperf(tmp_path / "x.json", [one])).get_metadata()["name"] == name


def test_a_label_of_two_lines_becomes_one(tmp_path):
    assert only_run(write_pyperf(tmp_path / "x.json", [measured("a\n b")])).get_metadata()["name"] == "a b (kernel scope)"


def test_a_name_that_ends_in_gz_is_compressed(tmp_path):
    path = write_pyperf(str(tmp_path / "small.json.gz"), [measured()])

    assert json.loads(gzip.decompress(path.read_bytes()))["version"] == "1.0"
    assert "kernel (kernel scope)" in run_pyperf("show", "--metadata", path) + run_pyperf("dump", "-v", path)


def test_a_file_that_is_there_is_replaced(tmp_path):
    path = tmp_path / "same.json"

    for label in ("old", "new"):
        write_pyperf(path, [measured(label)])

    assert only_run(path).get_metadata()["name"] == "new (kernel scope)"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("broken", [(pyperf.BenchmarkSuite, "dump"), (os, "replace")])
def test_a_file_is_never_torn(tmp_path, monkeypatch, broken):
    path = write_pyperf(tmp_path / "same.json", [measured("old")])
    before = path.read_bytes()

    def half_written(*args, **_):
        Path(str(args[1] if len(args) > 1 and "part" in str(args[1]) else args[0])).write_text('{"version": ')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*broken, half_written)
    with pytest.raises(OSError, match=r"No space left on device: '.*same\.json'"):
        write_pyperf(path, [measured("new")])

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*nowhere/x\.json'"):
        write_pyperf(tmp_path / "nowhere" / "x.json", [measured()])


def test_two_measurements_of_one_name_are_refused(tmp_path, refused):
    with refused(ValueError, "measurements must have names of their own, got 'kernel (kernel scope)' twice"):
        write_pyperf(tmp_path / "x.json", [measured(), measured()])

    assert list(tmp_path.iterdir()) == []


def test_nothing_to_write_is_refused(tmp_path, refused):
    with refused(ValueError, "measurements must be at least one, got none"):
        write_pyperf(tmp_path / "x.json", [])


def test_without_pyperf_one_line_names_the_extra(tmp_path, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "pyperf", None)

    with refused(ImportError, "pyperf is not installed; install it: pip install 'perflib[harnesses]'"):
        write_pyperf(tmp_path / "x.json", [measured()])


def test_a_comparison_is_written_for_pyperf_with_all_its_measurements(measurement, tmp_path):
    same = median_interval([1.0] * 6)
    old, new = measurement(label="old"), measurement(label="new")
    comparison = Comparison("old", {"old": old, "new": new}, {"new": same}, {"new": "equivalent"}, same, 0.02)

    written = pyperf.BenchmarkSuite.load(str(write_pyperf(tmp_path / "x.json", comparison)))

    assert written.get_benchmark_names() == ["old (call scope)", "new (call scope)"]


def test_a_measurement_is_written_for_pyperf_with_both_scopes(measurement, tmp_path):
    call = measurement()
    both = measurement(scope="kernel", call=call)

    files = [write_pyperf(tmp_path / f"{one.scope}.json", one) for one in (call, both)]

    names = [pyperf.BenchmarkSuite.load(str(file)).get_benchmark_names() for file in files]
    assert names == [["work (call scope)"], ["work (kernel scope)", "work (call scope)"]]
