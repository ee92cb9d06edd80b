"""Read the weights of a Llama-style decoder from a GGUF file, by the public `gguf` package, each when it is used.

    GGUFWeights(path)           .shape from the file's hyper-parameters, .tensor(name) when it is needed
    READABLE                    types of tensors: what the package can turn into float32, and Q8_0 as it is

    decoder = Decoder(GGUFWeights("stories15M.gguf"))

Raises GGUFError, one line with the file and what is wrong: foreign, truncated, another architecture, a tensor that is
missing, has another shape or an unsupported type.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GGUFError
from ..kernels.decoder.panels import BLOCK
from .weights import Shape, Tensor, tensor_shapes

READABLE = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
ARCHITECTURE = "llama"
SCALE_BYTES = 2


class GGUFWeights:
    """Tensors of a file by GGUF's names. The file stays mapped while this lives."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._reader = _open(self.path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self.shape = self._read_shape()
        for name, expected in tensor_shapes(self.shape).items():
            self._check(name, expected)
        if "rope_freqs.weight" in self._tensors:
            raise self._error("has scaled rotary positions (rope_freqs.weight), which are not supported")

    def tensor(self, name: str) -> Tensor:
        """Float32, or scales and quants of Q8_0."""
        from gguf import dequantize  # the extra `gguf`

        data, kind = self._tensors[name].data, self._tensors[name].tensor_type
        if kind.name == "Q8_0":
            return _q8_0(data)
        if kind.name == "F32":
            return np.asarray(data)
        return dequantize(data, kind).astype(np.float32, copy=False)

    def _read_shape(self) -> Shape:
        if (architecture := self._field("general.architecture")) != ARCHITECTURE:
            raise self._error(f"general.architecture must be {ARCHITECTURE!r}, got {architecture!r}")
        heads = self._hyper("attention.head_count")
        names = "embedding_length", "block_count", "feed_forward_length", "context_length"
        sizes = {name: self._hyper(name) for name in names}
        if (scaling := self._hyper("rope.scaling.type", "none")) != "none":
            raise self._error(f"llama.rope.scaling.type must be 'none', got {scaling!r}")
        if "token_embd.weight" not in self._tensors:
            raise self._error("has no tensor token_embd.weight")
        try:
            shape = Shape(
                vocab_size=int(self._tensors["token_embd.weight"].shape[-1]),  # GGUF counts dimensions from the innermost
                head_count=heads,
                head_count_kv=self._hyper("attention.head_count_kv", heads),
                **sizes,
                layer_norm_rms_epsilon=float(self._hyper("attention.layer_norm_rms_epsilon")),
                freq_base=float(self._hyper("rope.freq_base", 10000.0)),
                tied="output.weight" not in self._tensors,
            )
        except ValueError as problem:
            raise self._error(str(problem)) from None
        if (rotary := self._hyper("rope.dimension_count", shape.head_length)) != shape.head_length:
            raise self._error(f"llama.rope.dimension_count must be {shape.head_length}, the length of a head, got {rotary}")
        return shape

    def _hyper(self, name: str, default: Any = None) -> Any:
        return self._field(f"{ARCHITECTURE}.{name}", default)

    def _field(self, key: str, default: Any = None) -> Any:
        field = self._reader.get_field(key)
        if field is None and default is None:
            raise self._error(f"has no {key}")
        return default if field is None else field.contents()

    def _check(self, name: str, expected: tuple[int, ...]) -> None:
        if name not in self._tensors:
            raise self._error(f"has no tensor {name}")
        tensor = self._tensors[name]
        shape, kind = tuple(int(n) for n in reversed(tensor.shape)), tensor.tensor_type.name
        if shape != expected:
            raise self._error(f"tensor {name} must have shape {expected}, got {shape}")
        if kind not in READABLE or len(expected) == 1 and kind not in READABLE[:3]:
            raise self._error(f"tensor {name} must be one of {', '.join(READABLE)}, got {kind}")

    def _error(self, what: str) -> GGUFError:
        return GGUFError(f"{self.path}: {what}")


def _open(path: Path) -> Any:
    """The package meets a torn file somewhere in its arrays: any of its errors means the same."""
    try:
        from gguf import GGUFReader  # the extra `gguf`
    except ModuleNotFoundError:
        raise GGUFError(f"{path}: reading GGUF needs the package gguf; pip install 'perflib[gguf]'") from None
    if not path.is_file():
        raise GGUFError(f"{path}: no such file")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise GGUFError(f"{path}: is not a GGUF file, it begins with {magic!r}")
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeDecodeError, MemoryError) as problem:
        raise GGUFError(f"{path}: is truncated or damaged: {' '.join(str(problem).split())}") from None


def _q8_0(data: np.ndarray) -> Tensor:
    """Blocks of a float16 scale and 32 int8, as the file has them."""
    blocks = np.asarray(data).reshape(len(data), -1, SCALE_BYTES + BLOCK)
    scales = np.ascontiguousarray(blocks[:, :, :SCALE_BYTES]).view(np.float16)[:, :, 0]
    return scales, np.ascontiguousarray(blocks[:, :, SCALE_BYTES:]).view(np.int8).reshape(len(data), -1)
