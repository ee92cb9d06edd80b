"""Matrices and stacks of them in every layout: a view of a larger buffer of NaN, whose other elements nobody may touch.

x, untouched = laid_out(values, rng)        a view with these values; whether everything around it is as it was
products(a, b)                              A B and its bound for stacks that broadcast, one product after the other
draw_product(rng)                           a, b, out in drawn shapes and layouts, and their `untouched`
"""

import numpy as np
from reference import matmul

KINDS = ("rows", "columns", "part of rows", "part of columns", "every second", "backwards", "any")


def laid_out(values, rng, kind=None):
    """A view with these values in a layout of this kind, by default a drawn one."""
    kind = kind or KINDS[rng.integers(len(KINDS))]
    rank = values.ndim
    order, steps, margins = list(range(rank)), [1] * rank, [0] * rank
    if "columns" in kind:
        order[-2:] = order[-1], order[-2]
    if "part" in kind:
        margins[order[-1]] = int(rng.integers(1, 5))
    if kind == "every second":
        steps[-1] = 2
    if kind == "backwards":
        steps[int(rng.integers(rank))] = -1
    if kind == "any":
        rng.shuffle(order)
        steps, margins = rng.choice([-2, -1, 1, 1, 2, 3], rank).tolist(), rng.integers(0, 4, rank).tolist()
    sizes = [abs(step) * size + margin for size, step, margin in zip(values.shape, steps, margins, strict=True)]
    start = int(rng.integers(0, 40))  # elements before and behind, so that no alignment hides an overrun
    buffer = np.full(int(np.prod(sizes)) + start + 37, np.nan, values.dtype)
    whole = buffer[start : start + int(np.prod(sizes))].reshape([sizes[axis] for axis in order])
    whole = whole.transpose(np.argsort(order))
    picked = tuple(slice(None, abs(step) * size, abs(step)) for size, step in zip(values.shape, steps, strict=True))
    inner = whole[picked][tuple(slice(None, None, -1 if step < 0 else 1) for step in steps)]
    marks = np.zeros(buffer.size, bool)
    inner[...] = 1
    marks[:] = buffer == 1
    inner[...] = values
    before = buffer[~marks].tobytes()
    return inner, lambda: buffer[~marks].tobytes() == before


def products(a, b):
    """A B and its bound by `reference.matmul`, product by product."""
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(x, shape + x.shape[-2:]) for x in (a, b))
    result = np.empty((*shape, a.shape[-2], b.shape[-1]))
    bound = np.empty_like(result)
    for index in np.ndindex(shape):
        result[index], bound[index] = matmul(a[index], b[index])
    return result, bound


def draw_product(rng):
    """a, b, out and a function that says whether everything around them is as it was."""
    most = int(rng.choice([4, 20, 70, 200]))
    m, k, n = (int(size) for size in rng.integers(0 if rng.random() < 0.1 else 1, most, 3))
    dtype = ("float32", "float64")[rng.integers(2)]
    rank = int(rng.integers(0, 4)) if most < 100 else int(rng.integers(0, 2))
    stack = rng.integers(0 if rng.random() < 0.1 else 1, 4, rank).tolist()
    stacks = []
    for _ in "ab":  # ones are repeated, and so is what is missing in front
        repeated = [1 if rng.random() < 0.3 else size for size in stack]
        stacks.append(repeated[int(rng.integers(0, rank + 1)) :] if rng.random() < 0.5 else repeated)
    a, b = rng.standard_normal((*stacks[0], m, k)).astype(dtype), rng.standard_normal((*stacks[1], k, n)).astype(dtype)
    out = np.full((*np.broadcast_shapes(*stacks), m, n), np.nan, dtype)
    views, untouched = zip(*(laid_out(x, rng) for x in (a, b, out)), strict=True)
    return views, lambda: all(check() for check in untouched)
