"""Runs whose times are known: each case takes what the test chooses, plus the cost of the loop around it.

cell(kernel, n, ns, ...)                    one case; ns for all rounds or per round, None: sits it out
matmul, rmsnorm, tiles, packing, conflicts, limits, timing, clock, harness   blocks as `perflib record` writes them
record(*blocks)                             a finished run of these blocks
full(**chosen)                              all blocks, those named replaced
"""

from dataclasses import replace

import numpy as np
from runs import MACHINE, in_order, row, start, tell, told

from perflib.kernels.caches import Cache
from perflib.kernels.catalog import find
from perflib.kernels.probes.peak import FMA_PEAK_OPS
from perflib.studies.matmul_scaling import LOOPS
from perflib.studies.timing import COLD_SIZES

ROUNDS = 12
REPS = 10_000  # so that a ten-thousandth of a nanosecond shows
FLOOR_NS = {"kernel": 1, "call": 20}
HERE = replace(
    MACHINE,
    caches=(Cache(1, "Data", 32 << 10, 64, 8, 64, 1), Cache(2, "Unified", 1 << 20, 64, 8, 2048, 1)),
)
SIZES = (32, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512)
RMS_SIZES = (64, 512, 640, 768, 1024, 1280, 1536, 2048, 4096, 8192, 65536)
FURTHER = {"mc", "kc", "nc", "x_at", "weight_at", "out_at"}
MCS, KCS = (24, 96, 384), (64, 256, 1024)
NUMPY = {"numpy": 60.0}
PEERS = {**NUMPY, "mkl": 50.0, "torch": 40.0}
CODE = {"packed_fma": 5, "scalar_fma": 1, "gathers": 18, "vector_bits": 256}
LOOP = {"packed_fma": 48, "scalar_fma": 0, "gathers": 0, "vector_bits": 512, "reads": 28, "spills": 0}
CODEGEN = {"matmul_tiled": CODE, "matmul_tiled, strict": {**CODE, "packed_fma": 0}}
CODEGEN |= {f"{name}, inner loop": LOOP for name in LOOPS}


def cell(kernel, n, ns, scope="kernel", **columns):
    """Columns and the time of each round."""
    times = list(ns) if np.iterable(ns) else [ns] * ROUNDS
    return {"kernel": kernel, "n": n, "scope": scope, **columns}, times


def record(*blocks, codegen=CODEGEN, machine=HERE, floors=True, processes=1):
    """A finished run of (topic, block, cells); a floor in every round unless told otherwise, processes share the rounds."""
    run = start(machine=machine)
    for topic, block, cells in blocks:
        if topic == "harness":
            tell(run, *cells)
            continue
        rows, reps, has_floors = [], 1 if topic == "clock" else REPS, floors and topic != "clock"
        for columns, times in [*cells, *(_floors(cells) if has_floors else ())]:
            floor = FLOOR_NS[columns["scope"]] if has_floors and columns["kernel"] != "floor" else 0
            for number, ns in enumerate(times):
                if ns is not None:
                    drawn = {"process": number * processes // len(times) + 1, "placement": number + 1}
                    drawn |= {"reps": reps, "elapsed_ns": round((ns + floor) * reps)}
                    rows.append(row(block, number, **drawn | columns))
        further = sorted({name for columns, _ in cells for name in columns} & FURTHER)
        with run.block(topic, block, further) as append:
            append(in_order(rows))
    return run.finish(codegen=codegen)


def _floors(cells):
    rounds = max(len(times) for _, times in cells)
    scopes = sorted({columns["scope"] for columns, _ in cells})
    return [cell("floor", "", [FLOOR_NS[s]] * rounds, s, dtype="") for s in scopes]


def noisy(ns, noise=0.01, rounds=ROUNDS, seed=0):
    """A time per round around `ns`."""
    return ns * np.random.default_rng([seed, round(ns)]).lognormal(0, noise, rounds)


def matmul(
    naive=2.0,
    tiled=2.0,
    sizes=SIZES,
    block="float32 scaling",
    dtype="float32",
    law=lambda n: n**3,
    libraries=NUMPY,
    fast=(),
    **changes,
):
    """The ladder and libraries at these GFLOP/s, `fast` the rungs above the textbook's; tiled ones grow like `law`."""
    rates = {"matmul_naive": naive, "matmul_tiled": tiled, "matmul_tiled_vectorised": 20.0, "matmul_ikj": 25.0}
    rates |= dict(fast)
    cells = []
    for kernel, rate in rates.items():
        columns = {"dtype": dtype, **({"tile": 64} if "tile" in find(kernel).tuning else {}), **changes}
        cells += [cell(kernel, n, noisy(2 * 256**3 / rate * law(n) / law(256)), **columns) for n in sizes]
    for name, rate in libraries.items():
        cells += [cell(f"{name}_matmul", n, noisy(2 * n**3 / rate), "call", dtype=dtype) for n in sizes]
    return "matmul", block, cells


def matmul_called(libraries=PEERS):
    """The ladder and libraries called from Python at the seed's sizes."""
    _, _, cells = matmul(sizes=(64, 128, 256), libraries=libraries)
    return "matmul", "float32 called", [({**columns, "scope": "call"}, times) for columns, times in cells]


def rmsnorm(standard=2.0, law=lambda n: n, sizes=RMS_SIZES, block="float32 scaling", scope="kernel", rows=1):
    """The fast norm takes n / 8 ns, the standard one `standard` times as long: a factor, or one per round."""
    cells = []
    for n in sizes:
        fast = np.array(noisy(law(n) / 8))
        ways = {"rms_norm_fast": fast, "rms_norm_standard": fast * standard}
        cells += [cell(kernel, n, times * rows, scope, rows=rows) for kernel, times in ways.items()]
        cells.append(cell("numpy_rms_norm", n, noisy(4000.0 + n), "call", rows=rows))
    return "rmsnorm", block, cells


def tiles(sizes):
    """{n: {tile: ns}} as one block per size."""
    return [
        ("tiles", f"n={n}", [cell("matmul_tiled", n, ns, tile=t) for t, ns in times.items()]) for n, times in sizes.items()
    ]


def packing(times, n=768):
    """{(MC, KC): time in tens of microseconds} of the packed product in one block."""
    cells = [cell("matmul_packed", n, 1e4 * ns, mc=mc, kc=kc, nc=1024) for (mc, kc), ns in times.items()]
    return "packing", f"n={n}", cells


def conflicts(tiled=2.0, top=1.0, sizes=(1024, 1040)):
    """Products that take so many times as long per flop at the first, a power of two, as at the second."""
    ways = [("matmul_tiled", tiled, {"tile": t}) for t in (48, 64)] + [("matmul", top, {})]
    slower = {sizes[0]: True, sizes[1]: False}
    cells = [cell(name, n, n**3 * (by if slower[n] else 1), **tile) for name, by, tile in ways for n in sizes]
    return "conflicts", "leading dimension", cells


def limits(gflops=100.0, gb_per_s=20.0):
    """The peak, by dtype the same, and copies of a million floats, the loop at half the speed of NumPy."""
    peak = [cell("fma_peak", FMA_PEAK_OPS, noisy(2 * FMA_PEAK_OPS / gflops), dtype=d) for d in ("float32", "float64")]
    copy_ns = 8e6 / gb_per_s
    copies = [cell("copy_loop", 10**6, noisy(2 * copy_ns)), cell("numpy_copy", 10**6, noisy(copy_ns), "call")]
    return [("limits", "peak", peak), ("limits", "copy", copies)]


def timing(timer_ns=200.0, pairs=3):
    """The clocks, both scopes, and a kernel compared with itself."""
    clocks = [cell("two_clock_readings", "", noisy(80.0), "call", dtype="float32")]
    clocks.append(cell("timer_start_and_elapsed", "", timer_ns, "call", dtype="float32"))
    sizes = (64, 512, 4096, 32768)
    scopes = [cell("rms_norm_fast", n, noisy(n / 8), rows=1) for n in sizes]
    scopes += [cell("rms_norm_fast", n, noisy(500 + n / 8), "call", rows=1) for n in sizes]
    cold = []
    for n in COLD_SIZES:
        cold += [cell("rms_norm_fast", n, noisy(n / 8), rows=1), cell("rms_norm_fast (cold)", n, noisy(n / 2), rows=1)]
        cold += [cell("read_lines", 12 * n, noisy(n / 4)), cell("read_lines (cold)", 12 * n, noisy(n))]
    again = []
    for i in range(pairs):
        names = enumerate(("rms_norm_fast", "rms_norm_fast (again)"))
        twins = [cell(name, 512, noisy(64.0, seed=i + 100 * twin), rows=1) for twin, name in names]
        again.append(("timing", f"a-a {i:02}", twins))
    return [("timing", "clock", clocks), ("timing", "scopes", scopes), ("timing", "cold", cold), *again]


def places(aligned=140.0, off=170.0, behind=1.5):
    """Four places on line boundaries and four off them; one of each with its output close behind an input."""
    cells = []
    for weight_at, ns in ((0, aligned), (16, off)):
        for k, (out_at, factor) in enumerate([(1024, 1), (2048, 1), (3072, 1), (448, behind)]):
            at = {"x_at": 0, "weight_at": weight_at, "out_at": out_at}
            cells.append(cell("rms_norm_fast placed", 2048, noisy(ns * factor + k), **at))
    return "places", "n=2048", cells


def clock(step_ns=40):
    """Smallest steps: one observation per row, no loop."""
    return "clock", "steps", [cell("perf_counter_ns", "", [step_ns] * 30, "call", dtype="")]


def harness():
    """Three harnesses of which a first call that compiles misleads one, not in reading order."""
    cold = {"block": "timeit, compiles", "first_call": "compiles", "loops": 1}
    pytest = {"block": "pytest-benchmark, warmed", "harness": "pytest-benchmark", "version": "5.3.1", "loops": 1}
    ours = {"block": "perflib, compiles", "harness": "perflib", "version": "0.1.0", "first_call": "compiles"}
    call = {"median": 239_000, "low": 234_100, "high": 246_900}
    kernel = {"median": 59_520, "low": 58_970, "high": 60_070}
    blocks = [
        [told(statistic=name, reported_ps=ps, scope="call", **ours) for name, ps in call.items()]
        + [told(statistic=name, reported_ps=ps, scope="kernel", **ours) for name, ps in kernel.items()],
        [told(statistic=name, reported_ps=ps, **pytest) for name, ps in (("mean", 444_068), ("median", 421_002))],
        [told(reported_ps=581_000, **cold)],
        [told()],
    ]
    return [("harness", rows[0]["block"], rows) for rows in blocks]


def full(codegen=CODEGEN, machine=HERE, **chosen):
    """A run with every series; `chosen` blocks replace those of the same name, None leaves them out."""
    usual = {
        "limits": limits(),
        "timing": timing(),
        "matmul": [matmul(), matmul_called()],
        "tiles": tiles({n: {16: n**3 * 1.1, 32: n**3, 64: n**3 * 1.2} for n in (128, 256, 512)}),
        "packing": [packing({(mc, kc): 1e3 * (1 + abs(mc - 96) / 1e3) * (1 + 9 / kc) for mc in MCS for kc in KCS})],
        "conflicts": [conflicts()],
        "rmsnorm": [
            rmsnorm(),
            rmsnorm(sizes=(512, 1024, 2048), block="float32 called", scope="call"),
            rmsnorm(sizes=(2048,), block="float32 batch", rows=64),
        ],
        "clock": [clock()],
        "places": [places()],
        "harness": harness(),
    }
    blocks = [block for kind in (usual | chosen).values() if kind for block in kind]
    return record(*blocks, codegen=codegen, machine=machine)
