"""Quantised weights in GGUF's blocks, and the order in which a panel has the blocks of its 32 rows.

    Blocks(kind, columns, data)         rows as a file has them
    FORMATS                             the kinds that products read without unpacking them in memory

A weight is, with q its quant, d and m of its super-block as float16, s and t of its block as small integers:

    kind    columns   bytes   weight              blocks
    Q4_0         32      18   d (q - 8)           one
    Q4_1         32      20   d q + m             one
    Q8_0         32      34   d q                 one
    Q4_K        256     144   d s q - m t         8 of 32 columns, s and t of 6 bits
    Q6_K        256     210   d s (q - 32)        16 of 16 columns, s of 8 bits

A panel has a super-block of its 32 rows in as many bytes as the file: first the head (every d, every m, s and t of Q4_K),
then block after block of 32 columns. There, four neighbours of a row lie in four bytes (columns i and i + 16 in one byte
where quants have four bits), next to those of the next row: one load has the same columns of as many rows as a register has
lanes. Source of the formats: ggml, `ggml-quants.c`.

Raises TypeError or ValueError naming the argument, the requirement and the value.
"""

from dataclasses import dataclass

import numpy as np
from numba.extending import overload

from ..checks import array_of
from ..jit.compile import compiled

PANEL = 32
"""Output rows per panel: two 512-bit registers, four of 256 bit."""
BLOCK = 32
"""Columns that are multiplied before their scale is applied."""
HALVES = 2 * PANEL
"""Bytes of one float16 for each row of a panel."""
WORDS = 4 * PANEL
"""Bytes of four for each row."""


@dataclass(frozen=True)
class Format:
    """How a panel has one super-block of 32 rows: `head` bytes, then `block` bytes for each 32 columns."""

    columns: int
    bytes: int
    """Of one row's super-block, in a file and in a panel."""
    halves: tuple[int, ...]
    """Where a file has d, or d and m, in it."""
    head: int
    block: int
    zero: int = 0
    """The quant that stands for 0."""
    parts: int = 1
    """Of 32 columns, each with a scale."""
    planes: int = 3
    """Of 8 bits, into which a vector is split."""
    minimum: bool = False
    """Whether a number is added to every weight of a block."""

    @property
    def blocks(self) -> int:
        """Of 32 columns, in a super-block."""
        return self.columns // BLOCK


SCALES_4K, SCALES_6K, NIBBLES = 12 * PANEL, 2 * PANEL, 4 * WORDS
FORMATS = {
    "Q4_0": Format(32, 18, (0,), HALVES, NIBBLES, zero=8),
    "Q4_1": Format(32, 20, (0, 2), 2 * HALVES, NIBBLES, minimum=True),
    "Q8_0": Format(32, 34, (0,), HALVES, 8 * WORDS, zero=128, planes=4),
    "Q4_K": Format(256, 144, (0, 2), 2 * HALVES + SCALES_4K, NIBBLES, minimum=True),
    "Q6_K": Format(256, 210, (208,), HALVES, SCALES_6K + NIBBLES + 2 * WORDS, zero=32, parts=2),
}


@dataclass(frozen=True)
class Blocks:
    """Quantised weights N x K; data: N rows of the bytes that a GGUF file has for them."""

    kind: str
    columns: int
    data: np.ndarray

    def __post_init__(self) -> None:
        if self.kind not in FORMATS:
            raise ValueError(f"kind must be one of {', '.join(FORMATS)}, got {self.kind!r}")
        array_of(np.uint8, "data", self.data)
        width = -(-self.columns // self.format.columns) * self.format.bytes
        if self.data.ndim != 2 or self.data.shape[1] != width:
            raise ValueError(
                f"data must be rows of {width} bytes, {self.columns} columns of {self.kind}, got shape {self.data.shape}"
            )

    @property
    def format(self) -> Format:
        """Of this kind."""
        return FORMATS[self.kind]


def panel_dtype(kind: str) -> np.dtype:
    """A super-block of a panel; its one field has the kind's name, by which compiled code knows it."""
    return np.dtype([(kind, np.uint8, (PANEL * FORMATS[kind].bytes,))])


@compiled
def _put_half(source, at, target, place, lane):
    """Two bytes."""
    target[place + 2 * lane], target[place + 2 * lane + 1] = source[at], source[at + 1]


@compiled
def _put_words(source, at, count, target, place, lane, more=0):
    """`count` bytes, four next to each other."""
    for i in range(count):
        target[place + i // 4 * WORDS + 4 * lane + i % 4] = source[at + i] + more


@compiled
def _put_nibbles(source, at, shift, target, place, lane):
    """Four bits of 32 bytes, as 16 bytes."""
    for i in range(16):
        low, high = source[at + i] >> shift & 15, source[at + 16 + i] >> shift & 15
        target[place + i // 4 * WORDS + 4 * lane + i % 4] = low | high << 4


@compiled
def _put_q8_0(source, target, lane):
    """Unsigned, as the others are: 128 more."""
    _put_half(source, 0, target, 0, lane)
    _put_words(source, 2, 32, target, HALVES, lane, 128)


@compiled
def _put_q4_0(source, target, lane):
    _put_half(source, 0, target, 0, lane)
    _put_words(source, 2, 16, target, HALVES, lane)


@compiled
def _put_q4_1(source, target, lane):
    _put_half(source, 0, target, 0, lane)
    _put_half(source, 2, target, HALVES, lane)
    _put_words(source, 4, 16, target, 2 * HALVES, lane)


@compiled
def _scale_and_min(source, j):
    """s and t of block j, of 12 bytes from the fourth on (ggml, get_scale_min_k4)."""
    first, second = np.intp(source[4 + j]), np.intp(source[8 + j])
    if j < 4:
        return first & 63, second & 63
    before = np.intp(source[j])
    return second & 15 | before >> 6 << 4, second >> 4 | first >> 6 << 4


@compiled
def _put_q4_k(source, target, lane):
    """s and t: the low four bits of both in a byte for each block, then the high two of both, two blocks in a byte."""
    _put_half(source, 0, target, 0, lane)
    _put_half(source, 2, target, HALVES, lane)
    low, high = 2 * HALVES, 2 * HALVES + 8 * PANEL
    for j in range(0, 8, 2):
        (s, t), (s_next, t_next) = _scale_and_min(source, j), _scale_and_min(source, j + 1)
        target[low + j * PANEL + lane] = s & 15 | (t & 15) << 4
        target[low + (j + 1) * PANEL + lane] = s_next & 15 | (t_next & 15) << 4
        target[high + j // 2 * PANEL + lane] = s >> 4 | t >> 4 << 2 | s_next >> 4 << 4 | t_next >> 4 << 6
    for j in range(8):
        place = 2 * HALVES + SCALES_4K + j * NIBBLES
        _put_nibbles(source, 16 + j // 2 * 32, j % 2 * 4, target, place, lane)


@compiled
def _put_q6_k(source, target, lane):
    """Four low bits like those of the others; in a byte the two high ones of columns i, i + 16, i + 4, i + 20."""
    _put_half(source, 208, target, 0, lane)
    for j in range(8):
        place, half, quarter = HALVES + j * (SCALES_6K + NIBBLES + 2 * WORDS), j // 4, j % 4
        for i in range(2):
            target[place + i * PANEL + lane] = source[192 + 2 * j + i]
        place += SCALES_6K
        _put_nibbles(source, 64 * half + quarter % 2 * 32, quarter // 2 * 4, target, place, lane)
        place += NIBBLES
        for t in range(2):
            for i in range(4):
                at = 128 + 32 * half + 8 * t + i
                first, second = source[at] >> 2 * quarter & 3, source[at + 16] >> 2 * quarter & 3
                third, fourth = source[at + 4] >> 2 * quarter & 3, source[at + 20] >> 2 * quarter & 3
                target[place + t * WORDS + 4 * lane + i] = first | second << 2 | third << 4 | fourth << 6


PUT = {"Q4_0": _put_q4_0, "Q4_1": _put_q4_1, "Q8_0": _put_q8_0, "Q4_K": _put_q4_k, "Q6_K": _put_q6_k}


def _put(data, source, target, lane):
    raise NotImplementedError("compiled code only")


@overload(_put)
def _put_by_kind(data, source, target, lane):
    """One row's super-block into a panel, by the kind that the type of `data` names."""
    put = PUT[next(iter(data.dtype.fields))]
    return lambda data, source, target, lane: put(source, target, lane)


@compiled(nogil=True)
def _pack_blocks(data, panels, source, begin, first, last):
    """Rows first to last of `source`, N x bytes, into panels (P, super-blocks, bytes), `begin` rows further on"""
    size = panels.shape[2] // PANEL
    for r in range(first, last):
        panel, lane = panels[(begin + r) // PANEL], (begin + r) % PANEL
        for s in range(panels.shape[1]):
            _put(data, source[r, s * size : (s + 1) * size], panel[s], lane)
