"""Describe a Llama-style decoder by its shape and the names of its tensors, and make random weights for it.

A source of weights is anything with `shape`, `kinds` and `tensor(name)`, which returns floats, blocks, or a pair (scales,
quants) of Q8_0.
Raises ValueError naming the argument, the requirement and the value.
"""

import math
import zlib
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from ..kernels.decoder.blocks import Blocks
from .rope import RopeScaling

Tensor = np.ndarray | Blocks | tuple[np.ndarray, np.ndarray]
EXTRAS = {
    "attn_q.bias": "query_length",
    "attn_k.bias": "key_length",
    "attn_v.bias": "key_length",
    "attn_output.bias": "embedding_length",
    "ffn_gate.bias": "feed_forward_length",
    "ffn_up.bias": "feed_forward_length",
    "ffn_down.bias": "embedding_length",
    "attn_q_norm.weight": "head_length",
    "attn_k_norm.weight": "head_length",
}
"""Vectors that the blocks of some models have besides, with the length of each in terms of the shape."""


@dataclass(frozen=True)
class Shape:
    """Hyper-parameters of a Llama-style decoder under GGUF's names (without `llama.` and `attention.`).

    head_length is d, the elements of one head: GGUF's attention.key_length, embedding_length / head_count where it is 0.
    extras are the names in `EXTRAS` of the tensors that every block has besides.
    """

    vocab_size: int
    embedding_length: int
    block_count: int
    feed_forward_length: int
    head_count: int
    head_count_kv: int
    context_length: int
    layer_norm_rms_epsilon: float = 1e-5
    freq_base: float = 10000.0
    rope_scaling: RopeScaling = RopeScaling()
    tied: bool = True
    """Whether the embedding is the last layer too: then there is no output.weight."""
    head_length: int = 0
    extras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            least = int(field.name != "head_length")
            if field.type is int and (value := getattr(self, field.name)) < least:
                raise ValueError(f"{field.name} must be at least {least}, got {value}")
        if not self.head_length:
            if self.embedding_length % (pairs := 2 * self.head_count):
                raise ValueError(
                    f"embedding_length must be a multiple of 2 head_count = {pairs}, got {self.embedding_length}"
                )
            object.__setattr__(self, "head_length", self.embedding_length // self.head_count)
        if self.head_length % 2:
            raise ValueError(f"head_length must be even, got {self.head_length}")
        if unknown := [name for name in self.extras if name not in EXTRAS]:
            raise ValueError(f"extras must be some of {', '.join(EXTRAS)}, got {unknown[0]!r}")
        if len(factors := self.rope_scaling.factors) not in (0, self.head_length // 2):
            raise ValueError(f"rope_scaling must have {self.head_length // 2} factors, got {len(factors)}")
        if self.head_count % self.head_count_kv:
            raise ValueError(f"head_count must be a multiple of head_count_kv {self.head_count_kv}, got {self.head_count}")

    @property
    def query_length(self) -> int:
        """Elements of all queries of a token, in one layer."""
        return self.head_length * self.head_count

    @property
    def key_length(self) -> int:
        """Elements of all keys of a token, in one layer."""
        return self.head_length * self.head_count_kv

    def rotations(self, context: int) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and sines, float32, context x head_length / 2, by which a head's pairs turn at each position."""
        angles = np.outer(np.arange(context), self.rope_scaling.frequencies(self.freq_base, self.head_length))
        cosines, sines = (self.rope_scaling.magnitude * turn(angles) for turn in (np.cos, np.sin))
        return cosines.astype(np.float32), sines.astype(np.float32)

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
    kinds: tuple[str, ...]
    """Of the matrices, as `Decoder` keeps them."""

    def tensor(self, name: str) -> Tensor:
        """Floats in the shape that `tensor_shapes` gives, blocks, or (scales, quants) of Q8_0."""


def tensor_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every tensor in the order of use; a weight of a linear layer is outputs x inputs."""
    width, inner, queries, keys = shape.embedding_length, shape.feed_forward_length, shape.query_length, shape.key_length
    block: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (width,),
        "attn_q.weight": (queries, width),
        "attn_k.weight": (keys, width),
        "attn_v.weight": (keys, width),
        "attn_output.weight": (width, queries),
        "ffn_norm.weight": (width,),
        "ffn_gate.weight": (inner, width),
        "ffn_up.weight": (inner, width),
        "ffn_down.weight": (width, inner),
    }
    block |= {name: (getattr(shape, EXTRAS[name]),) for name in shape.extras}
    blocks = {f"blk.{n}.{name}": size for n in range(shape.block_count) for name, size in block.items()}
    output = {} if shape.tied else {"output.weight": (shape.vocab_size, width)}
    return {"token_embd.weight": (shape.vocab_size, width), **blocks, "output_norm.weight": (width,), **output}


class RandomWeights:
    """Weights without a meaning: uniform with variance 1 / K, norms around 1, biases around 0.

    A tensor depends on seed and name only.
    """

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        self.shape, self.seed, self.kinds = shape, seed, ("F32",)
        self._shapes = tensor_shapes(shape)

    def tensor(self, name: str) -> np.ndarray:
        """Drawn anew at each call."""
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        values = rng.random(self._shapes[name], dtype=np.float32)
        values -= np.float32(0.5)
        if values.ndim == 1:
            return values + np.float32(name.endswith("weight"))
        values *= np.float32(math.sqrt(12 / values.shape[-1]))
        return values
