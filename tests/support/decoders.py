"""Small decoders, their weights, and the float64 logits that they must have."""

import numpy as np
import pytest
import reference

from perflib.llm.weights import RandomWeights, Shape, tensor_shapes

PLAIN = Shape(40, 32, 2, 48, 4, 4, 64)
GROUPED = Shape(67, 48, 2, 52, 8, 2, 64, freq_base=500.0, tied=False)  # heads of 6, four to a key
ODD = Shape(33, 30, 3, 37, 3, 1, 80, layer_norm_rms_epsilon=1e-2)  # heads of 10
LIMIT = 1e-4  # relative to the largest logit

every_shape = pytest.mark.parametrize("shape", [PLAIN, GROUPED, ODD], ids=["plain", "grouped", "odd"])


class Given:
    """Weights from a dictionary."""

    def __init__(self, shape, tensors):
        self.shape, self.tensor = shape, tensors.__getitem__


def weights(shape, seed=0):
    source = RandomWeights(shape, seed)
    return {name: source.tensor(name) for name in tensor_shapes(shape)}


def meant(tensor):
    """Float64 of a tensor, or of scales and quants of Q8_0."""
    if not isinstance(tensor, tuple):
        return np.float64(tensor)
    scales, quants = map(np.float64, tensor)
    return scales.repeat(32, axis=1)[:, : quants.shape[1]] * quants


def exact(shape, tensors, tokens, halves=False):
    return reference.decoder(shape, {name: meant(value) for name, value in tensors.items()}, tokens, halves)


def drawn(shape, count, seed=0):
    return np.random.default_rng(seed).integers(0, shape.vocab_size, count)


def close(result, expected):
    """Positively, so that NaN is not."""
    return result.shape == expected.shape and bool(abs(result - expected).max() <= LIMIT * abs(expected).max())
