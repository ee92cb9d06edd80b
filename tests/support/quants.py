"""Rows of quantised weights as files have them, and what they stand for by the public package gguf."""

import numpy as np

EPS = np.finfo(np.float32).eps
HALVES = {"Q4_0": (0,), "Q4_1": (0, 2), "Q8_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,)}
SIZES = {"Q4_0": (32, 18), "Q4_1": (32, 20), "Q8_0": (32, 34), "Q4_K": (256, 144), "Q6_K": (256, 210)}
LARGEST = {"Q4_0": 8, "Q4_1": 15, "Q8_0": 128, "Q4_K": 15 * 63, "Q6_K": 32 * 128}
"""Of a weight, in terms of d."""


def drawn_rows(kind, rows, columns, seed=0, size=1.0):
    """Any bytes, but float16 of both signs whose weights are about `size`."""
    rng = np.random.default_rng(seed)
    each, bytes_ = SIZES[kind]
    data = rng.integers(0, 256, (rows, columns // each, bytes_), np.uint8)
    for place in HALVES[kind]:
        halves = rng.uniform(0.5, 1, data.shape[:2]) * rng.choice([-1, 1], data.shape[:2]) * 2 * size / LARGEST[kind]
        data[:, :, place : place + 2] = halves.astype(np.float16)[..., None].view(np.uint8)
    return data.reshape(rows, -1)


def meant(kind, data):
    """Float32 of the rows."""
    import gguf

    return gguf.dequantize(data, gguf.GGMLQuantizationType[kind])


def summands(kind, data):
    """What is added to the weights of each block, per weight: 0 but for the kinds that have a minimum."""
    if kind not in ("Q4_1", "Q4_K"):
        return np.zeros_like(meant(kind, data))
    each, bytes_ = SIZES[kind]
    blocks = data.reshape(-1, bytes_).copy()
    blocks[:, bytes_ - each // 2 :] = 0  # every quant
    return meant(kind, blocks.reshape(data.shape))


def product(kind, data, x):
    """x W^T in float64, and its bound: (K + 2) eps on each part of a weight."""
    weight, added, x = (np.float64(array) for array in (meant(kind, data), summands(kind, data), x))
    bound = (weight.shape[1] + 2) * EPS * (abs(x) @ (abs(weight) + 2 * abs(added)).T) + 1e-30
    return x @ weight.T, bound
