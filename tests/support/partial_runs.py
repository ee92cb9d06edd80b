"""Runs that lack series: every figure and table must say so in one sentence."""

from synthetic import SIZES, cell, clock, limits, matmul, rmsnorm, tiles, timing

TILE_TIMES = {16: 900.0, 32: 800.0, 64: 1000.0}
PARTS = {
    "limits": limits()[:1],
    "timing": timing(pairs=0),
    "a-a alone": timing()[3:],
    "matmul": [matmul(sizes=SIZES[:6])],
    "few sizes": [matmul(sizes=(64, 128)), *limits()],
    "one rung": [("matmul", "float32 scaling", [cell("matmul_naive", n, 1.0 * n**3) for n in (64, 128)]), *limits()],
    "tiles without 64": tiles({256: {16: 100.0, 32: 90.0}}),
    "tile 64 alone": tiles({64: {64: 100.0}}),
    "tiles of few rounds": tiles({256: {t: [ns] * 3 for t, ns in TILE_TIMES.items()}}),
    "tiles that never met": tiles({256: {32: [1e6, None] * 6, 64: [None, 1e6] * 6}}),
    "rmsnorm": [rmsnorm()],
    "batch alone": [rmsnorm(sizes=(2048,), block="float32 batch", rows=4), *limits()],
    "clock": [clock()],
}
