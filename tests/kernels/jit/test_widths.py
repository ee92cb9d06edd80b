"""Every vector width that a reader's machine may have: forced in a process of its own, the same products and norms."""

import itertools
import os
import platform
import subprocess
import sys
from pathlib import Path

import fuzz
import numpy as np
import pytest
import quants
from reference import agrees, guarded, matmul, rms_norm

from perflib import kernels
from perflib.kernels.jit.vector import vector_bytes

WIDTHS = {
    "no features listed": ("generic", "", 16),
    "128 bits": ("generic", "+sse2", 16),
    "256 bits": ("haswell", "+sse2,+avx,+avx2,+fma", 32),
    "512 bits": ("skylake-avx512", "+sse2,+avx,+avx2,+fma,+avx512f,+avx512vl,+avx512bw,+avx512dq", 64),
}
SIZES = (0, 1, 2, 5, 6, 7, 12, 13, 17, 24, 33)


def check(width_bytes):
    """Run in the process with the forced width: raises AssertionError where something is wrong."""
    assert vector_bytes() == width_bytes
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        for m, n, k in itertools.product(SIZES, repeat=3):
            a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
            out, kept = guarded(np.full((m, n), np.nan, dtype))
            assert agrees(kernels.matmul(a, b, out), *matmul(a, b)) and kept(), (dtype, m, n, k)
        for n in range(70):
            x, weight = rng.standard_normal((2, n)).astype(dtype), rng.standard_normal(n).astype(dtype)
            out, kept = guarded(np.full((2, n), np.nan, dtype))
            assert agrees(kernels.rms_norm(x, weight, 1e-5, out), *rms_norm(x, weight, 1e-5)) and kept(), (dtype, n)
    assert [seed for seed in range(150) if not fuzz.check(seed)] == []
    a, b = rng.standard_normal((70, 90)).astype("float32"), rng.standard_normal((90, 80)).astype("float32")
    assert agrees(kernels.matmul_packed(a, b, None, 24, 32, 48), *matmul(a, b))
    for kind, (columns, _) in quants.SIZES.items():
        data = quants.drawn_rows(kind, 45, 2 * columns)
        panels = kernels.pack(kernels.Blocks(kind, 2 * columns, data))
        for m in (1, 2, 13):
            x = rng.standard_normal((m, 2 * columns)).astype("float32")
            assert agrees(kernels.matvec(panels, x), *quants.product(kind, data, x)), (kind, m)
    print("right")


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the widths are those of x86-64")
@pytest.mark.parametrize(("cpu", "features", "width_bytes"), list(WIDTHS.values()), ids=list(WIDTHS))
def test_products_and_norms_are_right_at_every_width(cpu, features, width_bytes):
    if width_bytes == vector_bytes():
        pytest.skip("this width is the machine's own, which every other test uses")
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    for needed in {32: ("avx2", "fma"), 64: ("avx512f", "avx512vl")}.get(width_bytes, ()):
        if needed not in flags:
            pytest.skip(f"this CPU has no {needed}")
    support = str(Path(__file__).parents[2] / "support")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([support, os.environ.get("PYTHONPATH", "")]),
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": features,
    }

    program = f"import test_widths; test_widths.check({width_bytes})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("right\n", "")


FIRST_CALLS = """
import time
import numpy as np
from numba import njit
from perflib import kernels
x = np.random.default_rng(0).random((256, 256), dtype="float32")
panels, times, out = kernels.pack(x), [], np.empty_like(x)
for call in (lambda: kernels.matmul(x, x, out), lambda: kernels.matvec(panels, x[0])):
    begin = time.process_time()
    call()
    times.append(time.process_time() - begin)

@njit(fastmath=True)
def plain(a, b, c):
    c[:] = 0
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            for j in range(b.shape[1]):
                c[i, j] += a[i, k] * b[k, j]

def shortest(call):
    times = []
    for _ in range(15):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)

print(*times, shortest(lambda: kernels.matmul(x, x, out)) / shortest(lambda: plain(x, x, out)))
"""


@pytest.mark.slow
def test_a_processor_without_listed_features_compiles_no_longer_than_this_one_and_beats_a_plain_loop(tmp_path):
    """Scalar code for a panel of 32 took three minutes there."""

    def first_calls(name, **settings):
        environment = {**os.environ, **settings, "NUMBA_CACHE_DIR": str(tmp_path / name)}
        command = [sys.executable, "-c", FIRST_CALLS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return list(map(float, done.stdout.split()))

    *here, _ = first_calls("here")
    *generic, ratio = first_calls("generic", NUMBA_CPU_NAME="generic")

    assert sum(generic) < 2 * sum(here)
    assert ratio < 1.5
