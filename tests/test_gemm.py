"""The fast matrix product: right for every shape, within its arrays, and refused where it cannot be right."""

import numpy as np
import pytest
from reference import agrees, guarded
from reference import matmul as exact

from perflib.kernels import matmul, matmul_packed, matmul_register_blocked

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
WAYS = {"matmul": matmul, "register blocked": matmul_register_blocked, "packed": matmul_packed}
every_way = pytest.mark.parametrize("way", list(WAYS.values()), ids=list(WAYS))


def matrices(m, n, k, dtype, seed=0):
    rng = np.random.default_rng([seed, m, n, k])
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


@every_dtype
def test_every_small_shape_agrees_with_the_oracle_and_stays_within_its_arrays(dtype):
    """m, n, k from 0 to 40, one triple of arrays between guard bands for all shapes of one k."""
    rng = np.random.default_rng(0)
    for k in range(41):
        a_all, b_all = rng.standard_normal((40, k)).astype(dtype), rng.standard_normal((k, 40)).astype(dtype)
        result, bound = exact(a_all, b_all)
        for m in (*range(0, 41, 3 if k % 5 else 1), 40):
            for n in (*range(0, 41, 2 if k % 7 else 1), 40):
                (a, a_kept), (b, b_kept) = guarded(a_all[:m]), guarded(np.ascontiguousarray(b_all[:, :n]))
                out, out_kept = guarded(np.full((m, n), np.nan, dtype))
                matmul(a, b, out)
                assert agrees(out, result[:m, :n], bound[:m, :n]), (m, n, k)
                assert a_kept() and b_kept() and out_kept(), (m, n, k)
