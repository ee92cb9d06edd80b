"""Pack the weights of a linear layer in the order of their use: panels of 32 output rows, column after column.

    pack(weight)                -> Panels: of float32, panel p holds weight[32 p : 32 p + 32] transposed, one after the
                                   other; of `Blocks`, the super-blocks of 32 rows side by side (see `blocks`)
    pack_q8_0(scales, quants)   -> Panels of Q8_0, blocks of 32 columns
    quantise(weight)            -> scales, quants: llama.cpp's Q8_0, one scale per 32 neighbours of a row
    Arena().empty(shape, dtype) memory for many weights, packed on shared huge pages
    huge_empty(shape, dtype)    memory on 2 MiB pages where the system gives them

Contract: a weight is N x K, C-contiguous, and maps K inputs to N outputs (y = W x), as in GGUF. A multiplication
with one vector reads a panel from its first byte to its last, and every load is one full register, without a sum across
lanes at the end; one with many vectors finds each panel packed as B of a GEMM (BLIS: NR = 32). Rows beyond N and columns
beyond K are zeros. The packed weights are the only copy in memory. Threads share
the panels out.

Raises TypeError or ValueError naming the argument, the requirement and the value.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np

from ..buffers import huge_empty
from ..checks import array_of
from .blocks import BLOCK, FORMATS, PANEL, Blocks, _pack_blocks, panel_dtype

SHARE_BYTES = 1 << 20
"""What a thread is worth starting for."""


@dataclass(frozen=True)
class Panels:
    """A packed weight; `data` is panels x K x 32 of float32, or panels x super-blocks of the records of its kind."""

    rows: int
    columns: int
    data: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes that a multiplication reads."""
        return self.data.nbytes

    @property
    def kind(self) -> str:
        """F32, Q8_0 and so on, as GGUF calls them."""
        return self.data.dtype.names[0] if self.data.dtype.names else "F32"


def pack(weight: np.ndarray | Blocks, empty: Callable[..., np.ndarray] = huge_empty) -> Panels:
    """Panels of a weight N x K, float32 or blocks. empty: where the memory comes from."""
    if not isinstance(weight, Blocks):
        _matrix("weight", weight, np.float32)
    return pack_together([weight], empty)


def pack_together(weights: Sequence[np.ndarray | Blocks], empty: Callable[..., np.ndarray] = huge_empty) -> Panels:
    """Panels of several weights of one kind and K, whose rows follow each other; floats of any size become float32."""
    first, parts = weights[0], [np.asarray(w.data if isinstance(w, Blocks) else w) for w in weights]
    *begins, rows = accumulate(map(len, parts), initial=0)
    panels = -(-rows // PANEL)
    if isinstance(first, Blocks):
        size = FORMATS[first.kind].bytes
        data = empty((panels, parts[0].shape[1] // size), panel_dtype(first.kind))
        columns, target, pack_rows = (
            first.columns,
            (data, data.view(np.uint8).reshape(*data.shape, PANEL * size)),
            _pack_blocks,
        )
    else:
        columns, pack_rows = first.shape[1], _pack_floats
        data = empty((panels, columns, PANEL), np.float32)
        target = (data,)
    for begin, part in zip(begins, parts, strict=True):
        source = np.ascontiguousarray(part).view() if isinstance(first, Blocks) else part.view()
        source.flags.writeable = False  # one type for the compiler, of arrays and mapped files
        _in_threads(partial(pack_rows, *target, source, begin), source)
    return Panels(rows, columns, data)


def _in_threads(pack_rows: Callable[[int, int], None], source: np.ndarray) -> None:
    """All rows, in as many threads as there are cores for what is worth it."""
    threads = max(1, min(os.cpu_count() or 1, source.nbytes // SHARE_BYTES))
    ends = [len(source) * t // threads for t in range(threads + 1)]
    if threads == 1:
        pack_rows(*ends)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(pack_rows, ends[:-1], ends[1:]))


def _pack_floats(data: np.ndarray, source: np.ndarray, begin: int, first: int, last: int) -> None:
    """Rows first to last of `source`; row 0 is row `begin` of the panels."""
    row = first
    while row < last:
        place = (begin + row) % PANEL
        count = min(PANEL - place, last - row)
        data[(begin + row) // PANEL, :, place : place + count] = source[row : row + count].T
        row += count


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
    return pack_together([q8_0_blocks(scales, quants)], empty)


def q8_0_blocks(scales: np.ndarray, quants: np.ndarray) -> Blocks:
    """The blocks that a file has of them."""
    rows, columns = _matrix("quants", quants, np.int8)
    blocks = -(-columns // BLOCK)
    if _matrix("scales", scales, np.float16) != (rows, blocks):
        raise ValueError(f"scales must have shape {(rows, blocks)}, one for 32 quants of a row, got {scales.shape}")
    if not np.isfinite(scales).all():
        raise ValueError("scales must be finite, got infinity or NaN")
    data = np.zeros((rows, blocks, FORMATS["Q8_0"].bytes), np.uint8)
    padded = np.zeros((rows, blocks * BLOCK), np.int8)
    padded[:, :columns] = quants
    data[:, :, :2] = np.ascontiguousarray(scales).view(np.uint8).reshape(rows, blocks, 2)
    data[:, :, 2:] = padded.view(np.uint8).reshape(rows, blocks, BLOCK)
    return Blocks("Q8_0", columns, data.reshape(rows, -1))


def _matrix(name: str, value: np.ndarray, dtype: type) -> tuple[int, int]:
    array_of(dtype, name, value)
    if value.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got shape {value.shape}")
    return value.shape
