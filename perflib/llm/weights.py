"""What a Llama-style decoder is made of: its shape, the names of its tensors, and random ones.

    Shape                   hyper-parameters, named as GGUF names them
    SHAPES                  "15M", "110M", "1.1B"
    RandomWeights(shape)    tensors by name, the same for the same seed; a file has its own class (`perflib.llm.gguf`)
    tensor_shapes(shape)    {name: shape} of every tensor, rows first

A source of weights is anything with `shape` and `tensor(name)`, which returns float32, or a pair (scales, quants) of Q8_0.
Raises ValueError naming the argument, the requirement and the value.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Tensor = np.ndarray | tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Shape:
    """Hyper-parameters of a Llama-style decoder under GGUF's names (without `llama.` and `attention.`)."""

    vocab_size: int
    embedding_length: int
    block_count: int
    feed_forward_length: int
    head_count: int
    head_count_kv: int
    context_length: int
    layer_norm_rms_epsilon: float = 1e-5
    freq_base: float = 10000.0
    tied: bool = True
    """Whether the embedding is the last layer too: then there is no output.weight."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "embedding_length", "block_count", "feed_forward_length", "head_count", "head_count_kv"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.context_length < 1:
            raise ValueError(f"context_length must be at least 1, got {self.context_length}")
        if self.embedding_length % (2 * self.head_count):
            raise ValueError(
                f"embedding_length must be a multiple of 2 head_count = {2 * self.head_count}, got {self.embedding_length}"
            )
        if self.head_count % self.head_count_kv:
            raise ValueError(f"head_count must be a multiple of head_count_kv {self.head_count_kv}, got {self.head_count}")

    @property
    def head_length(self) -> int:
        """d: elements of one head."""
        return self.embedding_length // self.head_count

    @property
    def key_length(self) -> int:
        """Elements of all keys of a token, in one layer."""
        return self.head_length * self.head_count_kv

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(math.prod(shape) for shape in tensor_shapes(self).values())


SHAPES = {
    "15M": Shape(32000, 288, 6, 768, 6, 6, 1024),
    "110M": Shape(32000, 768, 12, 2048, 12, 12, 1024),
    "1.1B": Shape(32000, 2048, 22, 5632, 32, 4, 2048, tied=False),
}
"""stories15M and stories110M (Karpathy, llama2.c) and TinyLlama (Zhang et al., 2024)."""


class Weights(Protocol):
    """Where a decoder gets its tensors from, one at a time."""

    shape: Shape

    def tensor(self, name: str) -> Tensor:
        """Float32 in the shape that `tensor_shapes` gives, or (scales, quants) of Q8_0."""


def tensor_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every tensor in the order of use; a weight of a linear layer is outputs x inputs."""
    return dict(_tensors(shape))


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, inner = shape.embedding_length, shape.feed_forward_length
    yield "token_embd.weight", (shape.vocab_size, width)
    for block in range(shape.block_count):
        yield f"blk.{block}.attn_norm.weight", (width,)
        yield f"blk.{block}.attn_q.weight", (width, width)
        yield f"blk.{block}.attn_k.weight", (shape.key_length, width)
        yield f"blk.{block}.attn_v.weight", (shape.key_length, width)
        yield f"blk.{block}.attn_output.weight", (width, width)
        yield f"blk.{block}.ffn_norm.weight", (width,)
        yield f"blk.{block}.ffn_gate.weight", (inner, width)
        yield f"blk.{block}.ffn_up.weight", (inner, width)
        yield f"blk.{block}.ffn_down.weight", (width, inner)
    yield "output_norm.weight", (width,)
    if not shape.tied:
        yield "output.weight", (shape.vocab_size, width)


class RandomWeights:
    """Weights without a meaning: uniform with variance 1 / K, norms around 1. A tensor depends on seed and name only."""

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        self.shape, self.seed = shape, seed
        self._shapes = tensor_shapes(shape)

    def tensor(self, name: str) -> np.ndarray:
        """Drawn anew at each call."""
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        values = rng.random(self._shapes[name], dtype=np.float32)
        values -= np.float32(0.5)
        if values.ndim == 1:
            return values + np.float32(1)
        values *= np.float32(math.sqrt(12 / values.shape[-1]))
        return values
