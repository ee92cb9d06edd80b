"""Compute the parts of a Llama-style decoder besides attention, each in one compiled call for all rows of a pass.

    _embed(data, tokens, out)                                           rows of the packed embedding
    _norm_linear(x, weight, eps, normed, data, out, threads)            RMS norm, then a linear layer
    _norm_heads(qkv, first, last, weight, eps)                          RMS norm of each head by itself, in place
    _feed_forward(x, weight, eps, normed, gate_up, both, down, threads) RMS norm, SwiGLU between two layers, residual added
    swiglu(both, out=None)                                              x sigmoid(x) * y of rows of all x, then all y

Contract: x M x K, float32, C-contiguous; weights packed (see `panels`), gate and up as one weight of 2 F rows. The residual
is added where the last result is stored, so the norm that follows has none to add; queries, keys and values, like gate and
up, are one multiplication. Sources: Shazeer, GLU Variants Improve Transformer, 2020; Touvron et al., LLaMA, 2023.
"""

import numpy as np
from numba import types
from numba.extending import overload

from ..checks import array_of
from ..jit.compile import compiled
from ..jit.elementary import divide, exp
from ..jit.simd import lanes, load, load_first, pointer, splat, store, store_first
from ..rmsnorm.fast import _normalise, _rms_norm
from .linear import _linear
from .panels import BLOCK, BLOCK_BYTES, PANEL
from .tile import widen

NEVER = 1 << 62  # bytes from which on the norm writes past the caches: here its output is read at once


def _lookup(data, tokens, out):
    raise NotImplementedError("compiled code only")


@overload(_lookup)
def _lookup_by_kind(data, tokens, out):
    """A row of the embedding is a column of a panel."""
    if data.dtype == types.float32:

        def rows(data, tokens, out):
            for r in range(tokens.size):
                panel, place = data[tokens[r] // PANEL], tokens[r] % PANEL
                for i in range(out.shape[1]):
                    out[r, i] = panel[i, place]

        return rows

    def columns(data, tokens, out):
        block = np.empty((BLOCK, PANEL), np.float32)
        for r in range(tokens.size):
            panel, place = tokens[r] // PANEL, tokens[r] % PANEL
            for i in range(out.shape[1]):
                if i % BLOCK == 0:
                    widen(pointer(data, (panel * data.shape[1] + i // BLOCK) * BLOCK_BYTES), pointer(block, 0))
                out[r, i] = block[i % BLOCK, place]

    return columns


@compiled
def _embed(data, tokens, out):
    """packed V x K, (M,) -> (M, K)"""
    _lookup(data, tokens, out)


@compiled
def _norm_linear(x, weight, eps, normed, data, out, threads):
    """(M, K), (K,), packed N x K -> (M, K), (M, N)"""
    _rms_norm(x, weight, eps, normed, NEVER)
    _linear(data, normed, out, np.bool_(False), threads)  # a literal would be a type of its own, compiled for 4 s more


@compiled
def _norm_heads(qkv, first, last, weight, eps):
    """(M, heads d), (d,) -> the same, heads first to last of every row normed"""
    d, number = weight.size, qkv.dtype.type
    units = number(1), number(1 / d), number(eps)
    for row in range(qkv.shape[0]):
        heads = pointer(qkv, row * qkv.shape[1])
        _normalise(heads, pointer(weight, 0), eps, heads, heads, False, d, units, first, last, False)


@compiled
def _swiglu(both, out):
    """(M, 2 F) -> (M, F)"""
    f, step, one, minus = out.shape[1], lanes(out), splat(1, out), splat(-1, out)
    for r in range(out.shape[0]):
        gate, up, place = 2 * r * f, 2 * r * f + f, r * f
        for i in range(0, f - f % step, step):
            x = load(both, gate + i)
            store(out, place + i, divide(x, one + exp(x * minus)) * load(both, up + i))
        if f % step:
            i, rest = f - f % step, f % step
            x = load_first(both, gate + i, rest)
            store_first(out, place + i, divide(x, one + exp(x * minus)) * load_first(both, up + i, rest), rest)


@compiled
def _feed_forward(x, weight, eps, normed, gate_up, both, hidden, down, threads):
    """x (M, K) += W_down SwiGLU(W_gate_up norm(x)); both (M, 2 F), hidden (M, F)"""
    _norm_linear(x, weight, eps, normed, gate_up, both, threads)
    _swiglu(both, hidden)
    _linear(down, hidden, x, np.bool_(True), threads)


def swiglu(both: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """x sigmoid(x) * y. both: M x 2 F of float32, the x of a row first; out: M x F, new if None."""
    array_of(np.float32, "both", both)
    if both.ndim != 2 or both.shape[1] % 2 or not both.flags.c_contiguous:
        raise ValueError(f"both must be C-contiguous rows of an even length, got shape {both.shape}")
    shape = both.shape[0], both.shape[1] // 2
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous or np.may_share_memory(out, both):
        raise ValueError(f"out must be C-contiguous float32 of shape {shape} and not overlap both, got shape {out.shape}")
    _swiglu(both, out)
    return out
