"""Multiply matrices of random shapes, layouts and dtypes until one is wrong: `make fuzz`, 100,000 in ten minutes.

    python tests/support/fuzz.py [COUNT [SEED]]

Caches are drawn too, so small matrices take every path. A wrong product ends the run with status 1 and names its seed:
`check(seed)` makes it again.
"""

import sys
import time
from unittest import mock

import numpy as np
from layouts import draw_product, products
from numba import config
from reference import agrees

from perflib.kernels import matmul
from perflib.kernels.gemm import fast
from perflib.kernels.gemm.block_sizes import Blocks
from perflib.kernels.gemm.microkernel import register_tile


def check(seed):
    """The product of this seed: right within its bound, and nothing around a, b and out written."""
    rng = np.random.default_rng(seed)
    (a, b, out), untouched = draw_product(rng)
    mr, nr = register_tile(out.dtype)
    blocks = Blocks(*(int(unit * rng.integers(1, 4)) for unit in (mr, 16, nr)))
    limits = int(rng.choice([1 << 9, 1 << 12, 1 << 15, 1 << 20])), int(rng.choice([2, 8, 12]))
    threads = min(2, config.NUMBA_NUM_THREADS) if rng.random() < 0.02 else 1
    matmul(a[..., :1, :1], b[..., :1, :1])  # the limits of this machine are known then
    with mock.patch.object(fast, "LIMITS", limits), mock.patch.object(fast, "default_blocks", lambda dtype: blocks):
        matmul(a, b, out, threads=threads)
    return agrees(out, *products(a, b)) and untouched()


def main(count=100_000, first=None):
    """Check so many products; the seeds follow the first one, which is drawn."""
    first = int(np.random.SeedSequence().entropy & (1 << 40) - 1) if first is None else first
    print(f"{count} products from seed {first}", flush=True)
    start = time.monotonic()
    for number in range(count):
        if not check(first + number):
            print(f"wrong: seed {first + number}")
            return 1
        if number % 10_000 == 9_999:
            print(f"{number + 1} right, {time.monotonic() - start:.0f} s", flush=True)
    print("all right")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
