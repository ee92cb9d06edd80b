"""Pack the weights of a linear layer in the order of their use: panels of 32 output rows, column after column.

    pack(weight)                -> Panels of float32: panel p holds weight[32 p : 32 p + 32] transposed, one after the other
    pack_q8_0(scales, quants)   -> Panels of Q8_0: blocks of 32 columns, in each the 32 scales as float16, then 32 x 32 int8
    quantise(weight)            -> scales, quants: llama.cpp's Q8_0, one scale per 32 neighbours of a row
    Arena().empty(shape, dtype) memory for many weights, packed on shared huge pages
    huge_empty(shape, dtype)    memory on 2 MiB pages where the system gives them

Contract: a weight is N x K, float32, C-contiguous, and maps K inputs to N outputs (y = W x), as in GGUF. A multiplication
with one vector reads a panel from its first byte to its last, and every load is one full register, without a sum across
lanes at the end; one with many vectors finds each panel packed as B of a GEMM (BLIS: NR = 32). Rows beyond N and columns
beyond K are zeros. The packed weights are the only copy in memory.

Raises TypeError or ValueError naming the argument, the requirement and the value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..buffers import huge_empty
from ..checks import array_of

PANEL = 32
"""Output rows per panel: two 512-bit registers, four of 256 bit."""
BLOCK = 32
"""Neighbours in a row that share a scale in Q8_0."""
BLOCK_BYTES = PANEL * (2 + BLOCK)
"""Of a block of 32 x 32 weights: a cache line of scales, sixteen of quants."""


@dataclass(frozen=True)
class Panels:
    """A packed weight; `data` is panels x K x 32 of float32, or panels x blocks x BLOCK_BYTES of uint8."""

    rows: int
    columns: int
    data: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes that a multiplication reads."""
        return self.data.nbytes

    @property
    def kind(self) -> str:
        """F32 or Q8_0, as GGUF calls them."""
        return "F32" if self.data.dtype == np.float32 else "Q8_0"


def pack(weight: np.ndarray, empty: Callable[..., np.ndarray] = huge_empty) -> Panels:
    """Panels of a float32 weight N x K. empty: where the memory comes from."""
    rows, columns = _matrix("weight", weight, np.float32)
    data = empty((-(-rows // PANEL), columns, PANEL), np.float32)
    for number, panel in enumerate(data):
        part = weight[PANEL * number : PANEL * (number + 1)]
        panel[:, : len(part)] = part.T
    return Panels(rows, columns, data)


def quantise(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q8_0 of a float32 weight N x K: scales N x blocks of float16, quants N x K of int8.

    A scale is the largest magnitude of its block over 127 (llama.cpp, quantize_row_q8_0_ref).
    """
    rows, columns = _matrix("weight", weight, np.float32)
    blocks = -(-columns // BLOCK)
    padded = np.zeros((rows, blocks * BLOCK), np.float32)
    padded[:, :columns] = weight
    padded = padded.reshape(rows, blocks, BLOCK)
    scales = np.abs(padded).max(axis=2) / np.float32(127)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    quants = np.rint(padded * inverse[:, :, None]).astype(np.int8).reshape(rows, -1)[:, :columns]
    return scales.astype(np.float16), quants


def pack_q8_0(scales: np.ndarray, quants: np.ndarray, empty: Callable[..., np.ndarray] = huge_empty) -> Panels:
    """Panels of Q8_0 weights: scales N x blocks of float16, finite, quants N x K of int8."""
    rows, columns = _matrix("quants", quants, np.int8)
    blocks = -(-columns // BLOCK)
    if _matrix("scales", scales, np.float16) != (rows, blocks):
        raise ValueError(f"scales must have shape {(rows, blocks)}, one for 32 quants of a row, got {scales.shape}")
    if not np.isfinite(scales).all():
        raise ValueError("scales must be finite, got infinity or NaN")
    data = empty((-(-rows // PANEL), blocks, BLOCK_BYTES), np.uint8)
    for number, panel in enumerate(data):
        mine = slice(PANEL * number, PANEL * (number + 1))
        part = np.zeros((PANEL, blocks * BLOCK), np.int8)
        part[: len(quants[mine]), :columns] = quants[mine]
        panel[:, : 2 * PANEL].view(np.float16)[:, : len(scales[mine])] = scales[mine].T
        by_column = part.reshape(PANEL, blocks, BLOCK).transpose(1, 2, 0)
        panel[:, 2 * PANEL :] = by_column.reshape(blocks, -1).view(np.uint8)
    return Panels(rows, columns, data)


def _matrix(name: str, value: np.ndarray, dtype: type) -> tuple[int, int]:
    array_of(dtype, name, value)
    if value.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got shape {value.shape}")
    return value.shape
