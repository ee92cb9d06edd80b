"""Limits of a core: from counted work, in one session, each under its own name."""

import inspect
import sys

import pytest
from runs import MACHINE, isolate

from perflib.hardware import limits as limits_module
from perflib.hardware.limits import Limits, fma_widths, limit_case, limits
from perflib.hardware.saved_limits import saved
from perflib.kernels import find
from perflib.kernels.jit.vector import vector_bytes
from perflib.kernels.probes.peak import FMA_BLOCK
from perflib.stats import Interval
from perflib.timing.loops import canary


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    monkeypatch.setattr(limits_module, "BUDGET_S", 0.05)
    monkeypatch.setattr(sys.modules["perflib.hardware.limits"], "LARGEST_COPY", 1 << 20)
    monkeypatch.setattr(limits_module, "disturbances", lambda evidence: [])  # of the work beside the tests


def test_every_limit_is_measured_and_remembered():
    told = []

    found = limits(MACHINE, progress=told.append)

    expected = {f"peak_{bits or 'scalar'}_gflops_{d}" for bits in fma_widths() for d in ("float32", "float64")}
    expected |= {"l1_read_gb_per_s", "effective_ghz", *(f"read_{k}_gb_per_s" for k in (1, 4, 8))}
    expected |= {f"{name}{nt}_gb_per_s" for name in ("write", "copy", "triad") for nt in ("", "_nt")}
    assert found.keys() == expected
    assert all(0 < i.low <= i.value <= i.high for i in found.values())
    assert limits(MACHINE, progress=told.append) == found
    assert told == ["limits of one core"]


def test_a_wider_vector_multiplies_more_per_cycle():
    """Counted: steps of the loop for the same work, by width; no wider than the registers."""
    steps = {bits: find(f"fma_peak_{bits or 'scalar'}").make(16 * FMA_BLOCK, "float32", None)[1] for bits in fma_widths()}

    assert fma_widths()[0] == 0
    assert max(fma_widths()) == 8 * vector_bytes()
    assert all(steps[0] == steps[bits] * bits // 32 for bits in fma_widths()[1:])


@pytest.mark.parametrize(
    ("name", "kernel", "amount"),
    [
        ("copy_gb_per_s", "memory_copy", 2 * 4 * 512),
        ("triad_nt_gb_per_s", "memory_triad_nt", 3 * 4 * 512),
        ("peak_128_gflops_float32", "fma_peak_128", 2 * 512),
    ],
)
def test_the_work_behind_a_rate_is_counted_from_the_description(name, kernel, amount):
    one, work = limit_case(name, kernel, 512, "float32", {})

    assert work == amount
    assert (one.label, one.scope) == (name, "kernel")
    assert (one.prepare is None) == kernel.startswith("fma")


def test_the_peak_is_that_of_the_best_width_and_of_its_type():
    rates = {"peak_512_gflops_float32": 113.0, "peak_256_gflops_float32": 115.0, "peak_256_gflops_float64": 58.0}
    found = Limits({name: Interval(v, v - 1, v + 1, 0.95) for name, v in rates.items()})

    assert found.peak_gflops().value == 115
    assert found.peak_gflops("float64").value == 58
    assert str(found).splitlines()[1] == "peak_256_gflops_float32  115.0 [114.0, 116.0] GFLOP/s"


def test_the_clock_is_six_cycles_over_a_step_of_the_canary():
    """Counted in the source: three shifts and three exclusive ors, each on the result of the last."""
    source = inspect.getsource(canary.py_func)

    assert source.count("^=") + source.count("<<") + source.count(">>") == limits_module.CANARY_CYCLES


def test_limits_that_other_work_disturbed_are_not_kept(monkeypatch):
    seen = []
    monkeypatch.setattr(
        limits_module, "disturbances", lambda evidence: seen.append(evidence) or ["the reference loop moved"]
    )

    found = limits(MACHINE)

    assert {sample.label for sample in seen[0].own} == limits_module._plan(MACHINE).keys()
    assert saved("limits", limits_module.machine_key(MACHINE)) is None
    assert limits(MACHINE) == found
