"""Oracles: slow, obvious, float64, by plain NumPy and Python; nothing here comes from perflib.

matmul, rms_norm                result and elementwise error bound
order_coverage, kendall_tau     statistics by their definitions
tile_limit                      conflicts of a tile counted line by line
decoder                         logits of a Llama or Qwen decoder, every token against all before it, no cache
guarded                         a buffer between two bands that nobody may touch
"""

import itertools
import math

import numpy as np

BAND = 67  # elements on each side: odd, so that no alignment hides an overrun


def matmul(a, b):
    """A B and (K + 2) eps |A| |B|, plus half a denormal for each product that may underflow."""
    products = a.astype(np.float64)[:, :, None] * b.astype(np.float64)[None, :, :]
    info, k = np.finfo(a.dtype), a.shape[1]
    return products.sum(axis=1), (k + 2) * info.eps * abs(products).sum(axis=1) + k * float(info.smallest_subnormal)


def rms_norm(x, weight, eps):
    """x weight / sqrt(mean(x^2) + eps) by rows, and its relative bound (n / 16 + 16) eps."""
    x64 = x.astype(np.float64)
    mean = np.array([math.fsum(v * v for v in row) / max(1, len(row)) for row in np.atleast_2d(x64).tolist()])
    exact = np.atleast_2d(x64) / np.sqrt(mean + eps)[:, None] * weight.astype(np.float64)
    info, n = np.finfo(x.dtype), x.shape[-1]
    bound = (n / 16 + 16) * info.eps * abs(exact) + 4 * float(info.smallest_subnormal)
    return exact.reshape(x.shape), bound.reshape(x.shape)


def rope_speed(scaling, base, d, i):
    """Radians per position of pair i, by the text of the papers: how often it turns within the original context decides."""
    speed = base ** (-2 * i / d) / (scaling.factors[i] if scaling.factors else 1)
    if scaling.type != "yarn":
        return speed / (scaling.factor if scaling.type == "linear" else 1)

    def pair(turns):
        return d / 2 * math.log(scaling.original_context_length / (2 * math.pi * turns), base)

    first, last = math.floor(pair(scaling.yarn_beta_fast)), math.ceil(pair(scaling.yarn_beta_slow))
    first, last = max(first, 0), min(last, d - 1)
    kept = 1 - min(1, max(0, (i - first) / max(last - first, 0.001)))
    return speed * kept + speed / scaling.factor * (1 - kept)


def decoder(shape, tensors, tokens, halves=False):
    """Logits (tokens x vocabulary) of one sequence; tensors: float64 by GGUF's names. Biases and norms of heads are used
    where there are some. halves: RoPE turns the pairs (i, i + d/2) of a head, as in Qwen's files, not (2i, 2i + 1).
    """
    heads, shared = shape.head_count, shape.head_count // shape.head_count_kv
    d, position = len(tensors["blk.0.attn_q.weight"]) // heads, np.arange(len(tokens))

    def norm(x, name):
        return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + shape.layer_norm_rms_epsilon) * tensors[name]

    def linear(x, name):
        return x @ tensors[f"{name}.weight"].T + tensors.get(f"{name}.bias", 0)

    def turned(x, name):
        """A head, normed if there is such a norm, then its pairs as complex numbers, turned by position * base^(-2i/d) or
        what the scaling makes of it.
        """
        speeds = [rope_speed(shape.rope_scaling, shape.freq_base, d, i) for i in range(d // 2)]
        length = 1 + 0.1 * math.log(shape.rope_scaling.factor) if shape.rope_scaling.type == "yarn" else 1
        length *= shape.rope_scaling.attn_factor
        x = norm(x, name) if name in tensors else x
        first, second = (x[:, : d // 2], x[:, d // 2 :]) if halves else (x[:, 0::2], x[:, 1::2])
        pairs = (first + 1j * second) * length * np.exp(1j * np.outer(position, speeds))
        if halves:
            return np.hstack([pairs.real, pairs.imag])
        return np.stack([pairs.real, pairs.imag], axis=2).reshape(x.shape)

    x = tensors["token_embd.weight"][tokens]
    for layer in range(shape.block_count):
        here = f"blk.{layer}."
        normed = norm(x, here + "attn_norm.weight")
        q, k, v = (linear(normed, f"{here}attn_{part}") for part in "qkv")
        parts = []
        for head in range(heads):
            mine, theirs = slice(head * d, (head + 1) * d), slice(head // shared * d, (head // shared + 1) * d)
            queries, keys = (
                turned(q[:, mine], f"{here}attn_q_norm.weight"),
                turned(k[:, theirs], f"{here}attn_k_norm.weight"),
            )
            scores = queries @ keys.T / math.sqrt(d)
            weights = np.where(position[:, None] >= position, np.exp(scores - scores.max(axis=1, keepdims=True)), 0)
            parts.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, theirs])
        x = x + linear(np.hstack(parts), here + "attn_output")
        normed = norm(x, here + "ffn_norm.weight")
        gate, up = (linear(normed, f"{here}ffn_{part}") for part in ("gate", "up"))
        x = x + linear(gate / (1 + np.exp(-gate)) * up, here + "ffn_down")
    last = "token_embd.weight" if shape.tied else "output.weight"
    return norm(x, "output_norm.weight") @ tensors[last].T


def agrees(result, exact, bound):
    """Positively within the bound everywhere, so that NaN does not agree."""
    return result.shape == exact.shape and bool((abs(result.astype(np.float64) - exact) <= bound).all())


def order_coverage(count, rank):
    """Chance that the median lies between the values of rank `rank` from below and from above, counted from 0."""
    return 1 - 2 * sum(math.comb(count, i) for i in range(rank + 1)) / 2**count


def kendall_tau(values):
    """Concordant less discordant pairs over all pairs, for values without ties."""
    signs = [math.copysign(1, later - earlier) for earlier, later in itertools.combinations(values, 2)]
    return sum(signs) / len(signs)


def tile_limit(n, itemsize, size_bytes, line_bytes, ways):
    """Largest T such that T rows of T items at a stride of n items put at most ways - 1 lines into each set."""
    sets = size_bytes // (line_bytes * ways)
    tile = 1
    while True:
        larger = tile + 1
        lines = {(i * n + j) * itemsize // line_bytes for i in range(larger) for j in range(larger)}
        taken = [0] * sets
        for line in lines:
            taken[line % sets] += 1
        if max(taken) > max(1, ways - 1):
            return tile
        tile = larger


def guarded(values):
    """A copy of `values` between two bands of NaN, and a function that says whether the bands are as they were."""
    buffer = np.full(values.size + 2 * BAND, np.nan, values.dtype)
    inner = buffer[BAND : BAND + values.size].reshape(values.shape)
    inner[...] = values
    bands = buffer[:BAND], buffer[BAND + values.size :]
    before = [band.tobytes() for band in bands]
    return inner, lambda: [band.tobytes() for band in bands] == before
