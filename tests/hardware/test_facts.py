"""Facts of a machine, read from a tree of the test's own: what stands there, and nothing where nothing stands."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from runs import MACHINE

from perflib.hardware import facts
from perflib.hardware.facts import Machine, hardware_differences, machine, software
from perflib.hardware.limits import copy_elements, copy_gb_per_s
from perflib.kernels.caches import Cache
from perflib.timing.measure import peak_gflops

L1D = {
    "level": "1",
    "type": "Data",
    "size": "48K",
    "coherency_line_size": "64",
    "ways_of_associativity": "12",
    "number_of_sets": "64",
    "shared_cpu_list": "0-1",
}
L1I = {"level": "1", "type": "Instruction", "size": "32K"}
L2 = {"level": "2", "type": "Unified", "size": "2048K"}


@pytest.fixture(autouse=True)
def linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.fixture
def tree(tmp_path):
    """Write the caches and further files below a root, as Linux has them; returns the root."""

    def write(*caches, **files):
        for number, cache in enumerate(caches):
            for name, content in cache.items():
                files[f"sys/devices/system/cpu/cpu0/cache/index{number}/{name}"] = content
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content + "\n")
        return tmp_path

    return write


def test_a_machine_is_what_its_files_say(tree):
    files = {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Test(R) Chip 9000\nflags\t: fpu\n\nmodel name\t: another",
        "proc/meminfo": "MemTotal:       16384 kB\nMemFree:         1024 kB",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
    }

    here = machine(tree(L1D, L1I, L2, **files))

    assert (here.cpu, here.memory_bytes, here.page_policy) == ("Test(R) Chip 9000", 16 << 20, "madvise")
    assert here.clock.endswith(" on tsc")
    assert here.caches[0] == Cache(1, "Data", 48 << 10, line_bytes=64, ways=12, sets=64, sharing=2)
    assert [c.name for c in here.caches] == ["L1d", "L1i", "L2"]
    assert [c.name for c in here.data_caches()] == ["L1d", "L2"]
    assert here.python == platform.python_version()


def test_what_the_system_does_not_tell_is_none(tmp_path):
    here = machine(tmp_path)

    assert (here.caches, here.data_caches(), here.memory_bytes, here.page_policy) == ((), (), None, None)
    assert " on " not in here.clock
    assert here.cpu
    assert "caches     unknown" in str(here)
    assert "memory     unknown, transparent huge pages: unknown" in str(here)


@pytest.mark.parametrize(
    ("name", "attribute"),
    [("ways_of_associativity", "ways"), ("number_of_sets", "sets"), ("coherency_line_size", "line_bytes")],
)
@pytest.mark.parametrize("content", ["0", ""])
def test_a_count_of_zero_is_unknown(tree, name, attribute, content):
    (cache,) = machine(tree(L1D | {name: content})).caches

    assert getattr(cache, attribute) is None
    assert cache.size_bytes == 48 << 10


@pytest.mark.parametrize(
    ("listed", "cpus"), [("0", 1), ("0-3", 4), ("0,64", 2), ("0-3,8-11", 8), ("0-1,7,9-10", 5), ("", None)]
)
def test_the_cpus_that_share_a_cache_are_counted(tree, listed, cpus):
    (cache,) = machine(tree(L1D | {"shared_cpu_list": listed})).caches

    assert cache.sharing == cpus


@pytest.mark.parametrize("broken", [{"size": "0K"}, {"size": ""}, {"level": ""}, {"type": ""}])
def test_a_cache_without_size_level_or_kind_is_left_out(tree, broken):
    caches = machine(tree(L1D | broken, L2)).caches

    assert [c.name for c in caches] == ["L2"]


def test_macos_tells_by_sysctl(monkeypatch, tmp_path):
    told = {"hw.l1dcachesize": "65536", "hw.l2cachesize": "4194304", "hw.memsize": "8589934592"}
    told["machdep.cpu.brand_string"] = "Apple M9"

    def sysctl(command, **_):
        return subprocess.CompletedProcess(command, 0, stdout=told.get(command[-1], "") + "\n")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", sysctl)
    here = machine(tmp_path)

    assert here.caches == (Cache(1, "Data", 65536), Cache(2, "Unified", 4 << 20))
    assert (here.cpu, here.memory_bytes) == ("Apple M9", 8 << 30)


def test_caches_of_macos_are_those_of_the_fast_cores(monkeypatch, tmp_path):
    values = {"hw.l1dcachesize": "65536", "hw.l2cachesize": "4194304", "hw.cachelinesize": "128"}
    values |= {
        "hw.perflevel0.l1dcachesize": "131072",
        "hw.perflevel0.l1icachesize": "196608",
        "hw.perflevel0.cpusperl2": "4",
    }
    values |= {"hw.perflevel0.l2cachesize": "16777216", "hw.perflevel1.l2cachesize": "4194304"}
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("perflib.kernels.caches.sysctl", values.get)

    assert machine(tmp_path).caches == (
        Cache(1, "Data", 128 << 10, 128),
        Cache(1, "Instruction", 192 << 10, 128),
        Cache(2, "Unified", 16 << 20, 128, sharing=4),
    )


@pytest.mark.parametrize(
    ("processor", "target", "name"),
    [
        ("", "apple-m1", "apple-m1"),
        ("aarch64", "neoverse-n1", "neoverse-n1"),
        ("Intel64 Family 6", "skylake", "Intel64 Family 6"),
        ("", "generic", "aarch64"),
    ],
)
def test_a_cpu_without_a_model_name_has_the_name_that_llvm_gives_it(monkeypatch, tmp_path, processor, target, name):
    monkeypatch.setattr(facts.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(facts.platform, "processor", lambda: processor)
    monkeypatch.setattr(facts.binding, "get_host_cpu_name", lambda: target)

    assert machine(tmp_path).cpu == name


@pytest.mark.parametrize("spelling", ["arm64", "aarch64", "ARM64"])
def test_a_64_bit_arm_has_neon_listed_or_not(monkeypatch, spelling):
    monkeypatch.setattr(facts.platform, "machine", lambda: spelling)
    monkeypatch.setattr(facts.binding, "get_host_cpu_features", dict)

    assert machine().isa == ("neon",)


def test_where_a_sysctl_cannot_be_started_its_values_are_unknown(monkeypatch, tmp_path):
    def missing(*_, **__):
        raise FileNotFoundError(2, "No such file or directory", "sysctl")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", missing)

    here = machine(tmp_path)
    assert (here.caches, here.memory_bytes) == ((), None)


def test_a_machine_survives_json(tree):
    here = machine(tree(L1D, L1I, L2))

    again = Machine.from_dict(json.loads(json.dumps(here.to_dict())))

    assert again == here
    assert isinstance(again.isa, tuple)
    assert isinstance(again.caches[0], Cache)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, []),
        ({"packages": {"numpy": "2.1"}, "os": "Linux 7 x86_64", "python": "3.14.0", "clock": "other"}, []),
        ({"target": "znver9", "page_policy": "always"}, []),
        ({"memory_bytes": MACHINE.memory_bytes - (5 << 20)}, []),
        ({"memory_bytes": MACHINE.memory_bytes // 2}, ["memory_bytes"]),
        ({"memory_bytes": None}, ["memory_bytes"]),
        ({"cpu": "Test(R) Chip 9001"}, ["cpu"]),
        ({"isa": ("avx2", "fma")}, ["isa"]),
        ({"logical_cpus": 4}, ["logical_cpus"]),
        ({"caches": (Cache(1, "Data", 49152),)}, ["caches"]),
    ],
)
def test_a_machine_is_its_hardware_and_not_its_versions(changes, names):
    other = replace(MACHINE, **changes)

    assert hardware_differences(MACHINE, other) == hardware_differences(other, MACHINE) == names


def test_two_machines_of_unknown_memory_are_not_told_apart_by_it():
    unknown = replace(MACHINE, memory_bytes=None)

    assert hardware_differences(unknown, unknown) == []


def test_the_versions_of_a_machine_are_named():
    assert software(MACHINE) == {
        "system": "Linux 6 x86_64",
        "Python": "3.11.0",
        "clock": "hand",
        "compiled for": "generic",
        "huge pages": "unknown",
        "numpy": "2.0",
    }


def test_no_host_and_no_user_is_told(monkeypatch, tree):
    names = {"USER": "nobody-7f3a", "LOGNAME": "nobody-7f3a", "HOME": "/home/nobody-7f3a", "HOSTNAME": "host-91bc"}
    for variable, value in names.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(platform, "uname", lambda: platform.uname_result("Linux", "host-91bc", "6.1", "#1", "x86_64"))
    here = machine(tree(L1D))

    told = str(here) + repr(here) + json.dumps(here.to_dict())

    assert not [name for name in names.values() if name in told]
    assert os.sep + "sys" not in told
    assert here.os == "Linux 6.1 x86_64"


def test_the_description_has_a_line_per_fact():
    lines = str(replace(MACHINE, caches=(Cache(1, "Data", 49152, ways=12), Cache(2, "Unified", 2 << 20)))).splitlines()

    assert len(lines) == 7
    assert lines[0] == "CPU        Test(R) Chip 9000 (generic), 2 logical CPUs"
    assert lines[2] == "caches     L1d 48 KiB 12-way, L2 2 MiB (as reported)"
    assert lines[3] == "memory     1.0 GiB, transparent huge pages: unknown"


def test_this_machine_tells_what_it_can():
    here = machine()

    assert {f.name for f in fields(here)} == here.to_dict().keys()
    assert here.logical_cpus >= 1
    assert {"numpy", "numba"} <= here.packages.keys()
    assert all(c.size_bytes > 0 and c.level >= 1 for c in here.caches)


@pytest.mark.parametrize(
    ("caches", "mib"),
    [
        ((), 64),
        ((Cache(1, "Data", 32 << 10),), 64),
        ((Cache(2, "Unified", 1 << 20), Cache(3, "Unified", 32 << 20)), 128),
        ((Cache(3, "Unified", 1 << 30),), 256),
        ((Cache(1, "Instruction", 1 << 30),), 64),
    ],
)
def test_a_copy_is_four_times_the_last_cache_within_limits(caches, mib):
    here = replace(MACHINE, caches=caches)

    assert copy_elements(here) * 4 == copy_elements(here, "float64") * 8 == mib << 20


def test_the_peak_is_measured_once_per_process():
    peak = peak_gflops()

    assert 0 < peak.low <= peak.value <= peak.high
    assert peak_gflops() is peak


def test_the_copy_is_measured_once_per_process(monkeypatch):
    monkeypatch.setattr(sys.modules["perflib.hardware.limits"], "LARGEST_COPY", 1 << 16)

    copy = copy_gb_per_s(MACHINE)

    assert 0 < copy.low <= copy.value <= copy.high
    assert copy_gb_per_s(MACHINE) is copy
