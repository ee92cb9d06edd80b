"""Count flops and bytes of every part of a decoder's pass, before any measurement.

Bytes are the useful ones: weights once per pass, the keys and values that attention reads, activations not at all.
Biases and norms are not counted: a weight of a layer has thousands of times as many numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..kernels.decoder.blocks import FORMATS
from .weights import Shape

PACKING = 5
"""Packing a weight takes about as long as so many passes of one token over it."""
TOGETHER = 10  # tokens of one pass that take twice as long as a single one
BYTES_PER_WEIGHT = {"F32": 4.0} | {name: one.bytes / one.columns for name, one in FORMATS.items()}
PARTS = ("embedding", "attention/qkv", "attention/rope", "attention/scores", "attention/output", "ffn", "projection")


@dataclass(frozen=True)
class Work:
    """Of one part of one pass."""

    flops: float
    bytes: float

    @property
    def intensity(self) -> float:
        """Flops per byte."""
        return self.flops / self.bytes


def work(shape: Shape, each: str | Mapping[str, float], batch: int, new: int, start: int) -> dict[str, Work]:
    """Work of a pass over `new` tokens of each of `batch` sequences that hold `start` already; logits of the last ones.

    each: the kind of all weights, or the bytes of a weight in every part that has some.
    """
    width, inner, keys, layers = shape.embedding_length, shape.feed_forward_length, shape.key_length, shape.block_count
    queries = shape.query_length
    rows = batch * new
    if isinstance(each, str):
        each = dict.fromkeys(PARTS, BYTES_PER_WEIGHT[each])
    pairs = batch * (new * start + new * (new + 1) // 2)  # pairs of a token and one that it looks at

    def linear(part: str, inputs: int, outputs: int, m: int, times: int = layers) -> Work:
        return Work(2.0 * m * inputs * outputs * times, each[part] * inputs * outputs * times)

    rotated = rows * (queries + keys) * layers
    return {
        "embedding": Work(0.0, each["embedding"] * rows * width),
        "attention/qkv": linear("attention/qkv", width, queries + 2 * keys, rows),
        "attention/rope": Work(3.0 * rotated, 4.0 * (rotated + rows * keys * layers)),
        "attention/scores": Work(4.0 * pairs * queries * layers, 8.0 * batch * (start + new) * keys * layers),
        "attention/output": linear("attention/output", queries, width, rows),
        "ffn": linear("ffn", width, 3 * inner, rows),
        "projection": linear("projection", width, shape.vocab_size, batch, 1),
    }


def effort(rows: int) -> float:
    """Of a pass over so many rows, in passes over one: about what it takes, for progress."""
    return 1 + rows / TOGETHER
