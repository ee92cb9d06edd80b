"""Attention whose key-value cache is packed like B of a matrix multiplication, so that no operand is moved before use.

    _rope_and_keep(qkv, cosines, sines, keys, values, layer, start, new)      rotate queries, store keys and values
    _attend(qkv, keys, values, layer, start, new, heads, out, threads)          softmax(Q K^T / sqrt(d)) V, causal

Contract: float32, C-contiguous. qkv is M x (H + 2 H_kv) d: queries, keys, values of the new tokens, `new` of each sequence
one after the other, the first of them at position `start`; cosines and sines are context x pairs. keys is layers x
sequences x H_kv x panels x d x 32: the positions of a panel side by side, so that scores are a multiplication by packed
panels; values is layers x sequences x H_kv x panels of d x context x 32, likewise for the second multiplication. H / H_kv
heads share a head of the cache and are rows of one multiplication; in a prompt so are neighbouring tokens.

Rotary embedding (RoPE) rotates the pairs (2i, 2i + 1) by position * base^(-2i/d) (Su et al., RoFormer, 2021): the order
in which GGUF stores the rows of Llama's query and key weights. Compiled and unchecked: `perflib.llm.decoder` is the way in.
"""

import math

import numpy as np
from numba import prange

from ..jit.compile import compiled
from ..jit.elementary import exp, larger, largest
from ..jit.simd import lanes, load, pointer, splat, store, total
from .linear import _interleave, _tiles
from .panels import PANEL
from .tile import FULL_ROWS


@compiled
def _turn(qkv, row, at, cosines, sines, position):
    """The pairs of one head, in place."""
    for i in range(cosines.shape[1]):
        c, s = cosines[position, i], sines[position, i]
        a, b = qkv[row, at + 2 * i], qkv[row, at + 2 * i + 1]
        qkv[row, at + 2 * i], qkv[row, at + 2 * i + 1] = a * c - b * s, a * s + b * c


@compiled
def _rope_and_keep(qkv, cosines, sines, keys, values, layer, start, new):
    """(M, (H + 2 H_kv) d) -> the same, turned, and new places of the cache"""
    groups, d = keys.shape[2], keys.shape[4]
    heads = qkv.shape[1] // d - 2 * groups
    for row in range(qkv.shape[0]):
        sequence, position = row // new, start + row % new
        for head in range(heads + groups):
            _turn(qkv, row, head * d, cosines, sines, position)
        for group in range(groups):
            key, value = (heads + group) * d, (heads + groups + group) * d
            panel, place = keys[layer, sequence, group, position // PANEL], position % PANEL
            for i in range(d):
                panel[i, place] = qkv[row, key + i]
                values[layer, sequence, group, i // PANEL, position, i % PANEL] = qkv[row, value + i]


@compiled
def _softmax(scores, row, length, padded):
    """The first `length` of a row of `padded`, a multiple of 32, in place; the others become 0"""
    scores[row, length:padded] = -np.inf
    step, most = lanes(scores), splat(-np.inf, scores)
    first, last = row * scores.shape[1], row * scores.shape[1] + padded
    for i in range(first, last, step):
        most = larger(load(scores, i), most)
    least, sum_ = splat(-largest(most), scores), splat(0, scores)
    for i in range(first, last, step):
        e = exp(load(scores, i) + least)
        sum_ = sum_ + e
        store(scores, i, e)
    scale = splat(1 / total(sum_), scores)
    for i in range(first, last, step):
        store(scores, i, load(scores, i) * scale)


@compiled
def _attend_some(qkv, keys, values, layer, start, new, heads, out, first, last):
    """Sequences x H_kv heads of the cache, from first to last"""
    groups, panels, d = keys.shape[2], keys.shape[3], keys.shape[4]
    shared, scale = heads // groups, np.float32(1 / math.sqrt(d))
    scores, result = np.empty((FULL_ROWS, panels * PANEL), np.float32), np.empty((FULL_ROWS, d), np.float32)
    queries, weights = np.empty((1, d, FULL_ROWS), np.float32), np.empty((1, panels * PANEL, FULL_ROWS), np.float32)
    for item in range(first, last):
        sequence, group = item // groups, item % groups
        for begin in range(0, new * shared, FULL_ROWS):  # rows: the heads of a token, then those of the next
            count = min(FULL_ROWS, new * shared - begin)
            for r in range(count):
                row, head = sequence * new + (begin + r) // shared, group * shared + (begin + r) % shared
                for i in range(d):
                    queries[0, i, r] = qkv[row, head * d + i] * scale
            visible = start + (begin + count - 1) // shared + 1
            padded = -(-visible // PANEL) * PANEL
            for panel in range(padded // PANEL):
                place = (((layer * keys.shape[1] + sequence) * groups + group) * panels + panel) * d * PANEL
                _tiles(queries, count, d, pointer(keys, place), scores, panel * PANEL, False)
            for r in range(count):
                _softmax(scores, r, start + (begin + r) // shared + 1, padded)
            _interleave(scores, count, visible, weights)
            for panel in range(values.shape[3]):
                place = ((layer * keys.shape[1] + sequence) * groups + group) * values.shape[3] + panel
                place *= values.shape[4] * PANEL
                _tiles(weights, count, visible, pointer(values, place), result, panel * PANEL, False)
            for r in range(count):
                row, head = sequence * new + (begin + r) // shared, group * shared + (begin + r) % shared
                for i in range(d):
                    out[row, head * d + i] = result[r, i]


@compiled(parallel=True)
def _attend_in_parallel(qkv, keys, values, layer, start, new, heads, out, threads):
    items = keys.shape[1] * keys.shape[2]
    for t in prange(threads):
        _attend_some(qkv, keys, values, layer, start, new, heads, out, t * items // threads, (t + 1) * items // threads)


@compiled
def _attend(qkv, keys, values, layer, start, new, heads, out, threads):
    """-> (M, H d)"""
    if threads == 1:
        first, last = np.intp(0), keys.shape[1] * keys.shape[2]  # no literal, as in `_linear`
        _attend_some(qkv, keys, values, layer, start, new, heads, out, first, last)
    else:
        _attend_in_parallel(qkv, keys, values, layer, start, new, heads, out, threads)
