"""Read the weights of a Llama, Qwen2 or Qwen3 decoder from a GGUF file, by the public `gguf` package.

    decoder = Decoder(GGUFWeights("stories15M.gguf"))

Nothing in a file is ignored in silence: a tensor or a key that would change the logits and is not computed here is refused
by its name, an unknown key is named in a warning. The file is mapped, a tensor is read when it is used.
Raises GGUFError, one line with the file and what is wrong.
"""

import math
import os
import re
import warnings
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ..display.text import first_line
from ..errors import GGUFError
from ..kernels.decoder.panels import BLOCK
from .rope import SCALINGS, RopeScaling
from .weights import EXTRAS, Shape, Tensor, tensor_shapes

READABLE = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
ARCHITECTURES = {
    "llama": (),
    "qwen2": ("attn_q.bias", "attn_k.bias", "attn_v.bias"),
    "qwen3": ("attn_q_norm.weight", "attn_k_norm.weight"),
}
"""The architectures that this reads, and the extras that a file of each must have."""
LLAMA_EXTRAS = tuple(name for name in EXTRAS if name.endswith(".bias"))
"""The extras that a file of the architecture llama may have."""
ROTATED = re.compile(r"blk\.\d+\.attn_[qk](_norm)?\.(weight|bias)")
"""Tensors whose rows RoPE turns in pairs: (2i, 2i + 1) in files of llama, as in the kernels, (i, i + d/2) in the others."""
VERSIONS = (2, 3)
YARN = {"attn_factor": 1.0, "yarn_beta_fast": 32.0, "yarn_beta_slow": 1.0}
DAMAGE = ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, RecursionError
MOST_ENTRIES = 1 << 20  # of an array; the largest vocabularies have a quarter of it
SHOWN = 5
SCALE_BYTES = 2
READ = (
    *("embedding_length", "block_count", "feed_forward_length", "context_length", "rope.freq_base"),
    *("attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon"),
    *("rope.scale_linear", "rope.scaling.attn_factor", "rope.scaling.factor", "rope.scaling.original_context_length"),
    *("rope.scaling.type", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"),
)
FACTORS = "rope_freqs.weight"
NEUTRAL = {
    "attention.causal": True,
    "attention.clamp_kqv": 0.0,
    "attention.max_alibi_bias": 0.0,
    "attention.sliding_window": 0,
    "attn_logit_softcapping": 0.0,
    "embedding_scale": 1.0,
    "expert_count": 0,
    "final_logit_softcapping": 0.0,
    "logit_scale": 1.0,
    "residual_scale": 1.0,
    "rope.scaling.yarn_attn_factor": 1.0,
    "rope.scaling.yarn_ext_factor": 1.0,
    "rope.scaling.yarn_log_multiplier": 0.0,
    "tensor_data_layout": "Meta AI original pth",
    "use_parallel_residual": False,
}
"""Keys that change the logits, with the value at which they do not (GGUF standard; llama.cpp, `llama-model.cpp`)."""
HARMLESS = re.compile(r"attention\.layer_norm_epsilon|expert_\w+|rope\.scaling\.finetuned")
"""Keys that other architectures read, or that count only where another key is refused."""
UNUSED = re.compile(r"blk\.\d+\.attn_rot_embd(\.weight)?")
"""Tensors that no program reads: rotary positions, written by old converters."""


class GGUFWeights:
    """Tensors of a file by GGUF's names. The file stays mapped while this lives."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._reader = _open(self.path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self.shape = self._read_shape()
        expected = tensor_shapes(self.shape)
        for name, size in expected.items():
            self._check(name, size)
        others = self._tensors.keys() - expected - ({FACTORS} if self._architecture == "llama" else set())
        if foreign := sorted(name for name in others if not UNUSED.fullmatch(name)):
            more = f" and {len(foreign) - 1} more" if foreign[1:] else ""
            raise self._error(f"has the tensor {foreign[0]!r}{more}, which this decoder does not use")
        self._check_keys()

    def tensor(self, name: str) -> Tensor:
        """Float32, or scales and quants of Q8_0. Raises GGUFError where a value is not finite."""
        from gguf import dequantize  # the extra `gguf`

        data, kind = self._tensors[name].data, self._tensors[name].tensor_type
        if kind.name == "Q8_0":
            tensor = values, _ = _q8_0(data)
        else:
            tensor = values = np.asarray(data) if kind.name == "F32" else dequantize(data, kind)
            tensor = values = values.astype(np.float32, copy=False)
        if not (math.isfinite(values.min()) and math.isfinite(values.max())):
            raise self._error(f"tensor {name} holds values that are not finite")
        if self._architecture == "llama" or not ROTATED.fullmatch(name):
            return tensor
        if not isinstance(tensor, tuple):
            return self._paired(tensor)
        scales, quants = tensor
        return self._paired(scales), self._paired(quants)

    def metadata(self, key: str) -> Any:
        """The value of a key, an array as a list; None where the file has no such key."""
        field = self._reader.get_field(key)
        try:
            return None if field is None else field.contents()
        except DAMAGE as problem:
            raise self._error(f"{key} cannot be read: {first_line(problem)}") from None

    def _paired(self, rows: np.ndarray) -> np.ndarray:
        """Move the two rows of each pair, which are half a head apart, next to each other."""
        halves = rows.reshape(-1, 2, self.shape.head_length // 2, *rows.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)

    def _read_shape(self) -> Shape:
        if (parts := self._integer("split.count", 1)) != 1:
            raise self._error(f"is part {self._integer('split.no', 0) + 1} of {parts}; join them: llama-gguf-split --merge")
        if (purpose := self._field("general.type", "model")) != "model":
            raise self._error(f"general.type must be 'model', got {purpose!r}")
        self._architecture = self._field("general.architecture")
        if self._architecture not in ARCHITECTURES:
            names = ", ".join(map(repr, ARCHITECTURES))
            raise self._error(f"general.architecture must be one of {names}, got {self._architecture!r}")
        heads = self._hyper("attention.head_count")
        names = "embedding_length", "block_count", "feed_forward_length", "context_length"
        sizes = {name: self._hyper(name) for name in names}
        blocks = next(n for n in count() if f"blk.{n}.attn_norm.weight" not in self._tensors)
        if "token_embd.weight" not in self._tensors or sizes["block_count"] > blocks:
            missing = f"blk.{blocks}.attn_norm.weight" if "token_embd.weight" in self._tensors else "token_embd.weight"
            raise self._error(f"has no tensor {missing}")
        try:
            shape = Shape(
                vocab_size=int(self._tensors["token_embd.weight"].shape[-1]),  # GGUF counts dimensions from the innermost
                head_count=heads,
                head_count_kv=self._hyper("attention.head_count_kv", heads),
                **sizes,
                layer_norm_rms_epsilon=self._positive("attention.layer_norm_rms_epsilon"),
                freq_base=self._positive("rope.freq_base", 10000.0),
                tied="output.weight" not in self._tensors,
                head_length=self._hyper("attention.key_length", 0),
                extras=self._read_extras(sizes["block_count"]),
            )
            return replace(shape, rope_scaling=self._read_scaling(shape))
        except ValueError as problem:
            raise self._error(str(problem)) from None

    def _read_extras(self, blocks: int) -> tuple[str, ...]:
        """Those that the architecture must have, or of those that it may have the ones that some block has."""
        if self._architecture != "llama":
            return ARCHITECTURES[self._architecture]
        return tuple(name for name in LLAMA_EXTRAS if any(f"blk.{n}.{name}" in self._tensors for n in range(blocks)))

    def _read_scaling(self, shape: Shape) -> RopeScaling:
        """How rotary positions are stretched; a factor without a type is linear."""
        factor = self._positive("rope.scaling.factor", self._positive("rope.scale_linear", 1.0))
        kind = self._field(f"{self._architecture}.rope.scaling.type", "none" if factor == 1 else "linear")
        if kind not in SCALINGS:
            raise self._error(f"{self._architecture}.rope.scaling.type must be one of {', '.join(SCALINGS)}, got {kind!r}")
        if kind == "yarn" and shape.freq_base <= 1:
            raise self._error(f"{self._architecture}.rope.freq_base must be above 1 for yarn, got {shape.freq_base}")
        numbers = {name: self._positive(f"rope.scaling.{name}", default) for name, default in YARN.items()}
        factors = ()
        if FACTORS in self._tensors:
            self._check(FACTORS, (shape.head_length // 2,))
            factors = tuple(map(float, self.tensor(FACTORS)))
        original = self._hyper("rope.scaling.original_context_length", shape.context_length)
        return RopeScaling(kind, factor, original, **numbers, factors=factors)

    def _check_keys(self) -> None:
        """Refuse what changes the logits and is not computed, warn of unknown keys."""
        length = self.shape.head_length
        lengths = dict.fromkeys(("rope.dimension_count", "attention.key_length", "attention.value_length"), length)
        neutral = NEUTRAL | lengths | {"attention.scale": length**-0.5, "vocab_size": self.shape.vocab_size}
        unknown = []
        for key in (key for key in self._reader.fields if key.startswith(f"{self._architecture}.")):
            name = key.removeprefix(f"{self._architecture}.")
            if name in neutral and not _is_same(value := self._field(key), neutral[name]):
                raise self._error(f"{key} must be {neutral[name]!r}, got {value!r}")
            if not (name in neutral or name in READ or HARMLESS.fullmatch(name)):
                unknown.append(repr(key))
        if unknown:
            names = ", ".join(unknown[:SHOWN]) + (f" and {len(unknown) - SHOWN} more" if unknown[SHOWN:] else "")
            warnings.warn(f"{self.path}: not known here: {names}; the logits may not be what the file means", stacklevel=3)

    def _hyper(self, name: str, default: int | None = None) -> int:
        return self._integer(f"{self._architecture}.{name}", default)

    def _integer(self, key: str, default: int | None = None) -> int:
        if not isinstance(value := self._field(key, default), int) or isinstance(value, bool):
            raise self._error(f"{key} must be an integer, got {value!r}")
        return value

    def _positive(self, name: str, default: float | None = None) -> float:
        value = self._field(f"{self._architecture}.{name}", default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise self._error(f"{self._architecture}.{name} must be above 0 and finite, got {value!r}")
        return float(value)

    def _field(self, key: str, default: Any = None) -> Any:
        """The value of a key; of an array the one that all its entries share."""
        if (value := self.metadata(key)) is None:
            value = default
        if value is None:
            raise self._error(f"has no {key}")
        if not isinstance(value, list):
            return value
        if not value or any(entry != value[0] for entry in value):
            raise self._error(f"{key} must be the same for every layer, got {len(value)} values that differ")
        return value[0]

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
        from gguf import GGUFReader, GGUFValueType  # the extra `gguf`
    except ModuleNotFoundError:
        raise GGUFError(f"{path}: reading GGUF needs the package gguf; pip install 'perflib[gguf]'") from None
    if path.is_dir():
        raise GGUFError(f"{path}: is a folder, not a file")
    if not path.is_file():
        raise GGUFError(f"{path}: no such file")

    class BoundedReader(GGUFReader):
        """The package's reader, which else takes what lies beyond the end for empty and counts on."""

        def _get(self, offset: int, dtype: Any, count: int = 1, *order: Any, **named: Any) -> np.ndarray:
            if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError(f"it ends before byte {offset + np.dtype(dtype).itemsize * int(count)}")
            return super()._get(offset, dtype, count, *order, **named)

        def _get_field_parts(self, offset: int, kind: int) -> Any:
            if kind == GGUFValueType.ARRAY and (entries := int(self._get(offset + 4, np.uint64)[0])) > MOST_ENTRIES:
                raise ValueError(f"an array has {entries} entries")
            return super()._get_field_parts(offset, kind)

    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as problem:
        raise GGUFError(f"{path}: cannot be read: {problem.strerror}") from None
    if head[:4] != b"GGUF":
        raise GGUFError(f"{path}: is not a GGUF file, it begins with {head[:4]!r}")
    version, swapped = (int.from_bytes(head[4:], order) for order in ("little", "big"))
    if swapped in VERSIONS:
        raise GGUFError(f"{path}: is a big-endian file; convert it: gguf-convert-endian {path} little")
    if version not in VERSIONS and len(head) == 8:
        raise GGUFError(f"{path}: is a GGUF of version {version}, must be {' or '.join(map(str, VERSIONS))}")
    try:
        return BoundedReader(path)
    except DAMAGE as problem:
        raise GGUFError(f"{path}: is truncated or damaged: {first_line(problem)}") from None


def _is_same(value: Any, expected: Any) -> bool:
    """Whether two values of a key agree, numbers to the precision of float32."""
    numbers = int | float
    if isinstance(value, numbers) and isinstance(expected, numbers):
        return math.isclose(value, expected, rel_tol=1e-6)
    return bool(value == expected)


def _q8_0(data: np.ndarray) -> Tensor:
    """Blocks of a float16 scale and 32 int8, as the file has them."""
    blocks = np.asarray(data).reshape(len(data), -1, SCALE_BYTES + BLOCK)
    scales = np.ascontiguousarray(blocks[:, :, :SCALE_BYTES]).view(np.float16)[:, :, 0]
    return scales, np.ascontiguousarray(blocks[:, :, SCALE_BYTES:]).view(np.int8).reshape(len(data), -1)
