"""Run a Llama-style decoder on perflib's kernels: a prompt at once, then token by token, with the time of each part.

    Decoder(weights)                    packed weights, float32 as they come or quantised to Q8_0
    decoder.cache(batch, context)       keys and values of `batch` sequences, and how far they are
    decoder.forward(tokens, cache)      logits of the last token of each sequence; the cache holds them from now on
    decoder.generate(prompt)            the tokens that continue a prompt, one after the other
    statistics()                        PerformanceStats with the parts of a pass

    decoder = Decoder(RandomWeights(SHAPES["15M"]))
    cache = decoder.cache(batch=1, context=256)
    logits = decoder.forward(np.arange(128).reshape(1, -1), cache)          # the prompt
    logits = decoder.forward(logits.argmax(axis=1).reshape(1, 1), cache)    # one token

Raises TypeError or ValueError naming the argument, the requirement and the value.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import TextError
from ..kernels.buffers import Arena, aligned_empty, huge_empty
from ..kernels.checks import positive_integer
from ..kernels.decoder.attention import _attend, _rope_and_keep
from ..kernels.decoder.layers import _embed, _feed_forward, _norm_heads, _norm_linear, _swiglu
from ..kernels.decoder.linear import _linear
from ..kernels.decoder.panels import PANEL, Panels, pack, pack_q8_0, quantise
from ..performance_stats import PerformanceStats
from .operation_counts import BYTES_PER_WEIGHT
from .sampling import Sampler
from .weights import EXTRAS, Shape, Tensor, Weights

ATTENTION = "attention", "attention/qkv", "attention/rope", "attention/scores", "attention/output"
COMPONENTS = ("embedding", *ATTENTION, "ffn", "projection")
KINDS = ("F32", "Q8_0")


def statistics(enabled: bool = True) -> PerformanceStats:
    """Statistics with the parts of a decoder's pass; switched off they cost next to nothing and count nothing."""
    return PerformanceStats(COMPONENTS, enabled=enabled)


_DISABLED = statistics(enabled=False)


class KVCache:
    """Keys and values of some sequences of one length, and the buffers of a pass. `length` tokens are in it."""

    def __init__(self, shape: Shape, batch: int, context: int) -> None:
        self.batch, self.context, self.length = batch, context, 0
        heads, d, panels = shape.head_count_kv, shape.head_length, -(-context // PANEL)
        self.keys = huge_empty((shape.block_count, batch, heads, panels, d, PANEL), np.float32)
        self.values = huge_empty((shape.block_count, batch, heads, -(-d // PANEL), context, PANEL), np.float32)
        self.cosines, self.sines = shape.rotations(context)
        self._shape, self._buffers = shape, None

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.keys.nbytes + self.values.nbytes

    def clear(self) -> None:
        """Forget every token; what stands there is overwritten before it is read."""
        self.length = 0

    def buffers(self, rows: int) -> "_Buffers":
        """Those of the last pass if it had as many rows."""
        if self._buffers is None or len(self._buffers.x) != rows:
            shape, width, inner = self._shape, self._shape.embedding_length, self._shape.feed_forward_length
            widths = width, width, shape.query_length + 2 * shape.key_length, shape.query_length, 2 * inner, inner
            self._buffers = _Buffers(*(aligned_empty((rows, w), np.float32) for w in widths))
        return self._buffers


@dataclass(frozen=True)
class _Buffers:
    """What a pass of M rows writes: each M x the width of its kind."""

    x: np.ndarray
    normed: np.ndarray
    qkv: np.ndarray
    attended: np.ndarray
    both: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True)
class _Block:
    """Packed weights of one layer; biases, and norms of the heads, are None where the model has none."""

    attn_norm: np.ndarray
    attn_qkv: np.ndarray
    qkv_bias: np.ndarray | None
    q_norm: np.ndarray | None
    k_norm: np.ndarray | None
    attn_output: np.ndarray
    output_bias: np.ndarray | None
    ffn_norm: np.ndarray
    ffn_gate_up: np.ndarray
    gate_up_bias: np.ndarray | None
    ffn_down: np.ndarray
    down_bias: np.ndarray | None


class Decoder:
    """Weights of a Llama-style decoder, packed; norms and biases stay float32.

    kind: None keeps each tensor as it comes. packed: called with a number of weights once they are packed. `blocks`: the
    weights of every layer.
    """

    def __init__(
        self, weights: Weights, kind: str | None = None, packed: Callable[[int], object] = lambda size: None
    ) -> None:
        if kind not in (None, *KINDS):
            raise ValueError(f"kind must be one of {', '.join(KINDS)} or None, got {kind!r}")
        self.shape, self.nbytes, self._kinds = weights.shape, 0, {}
        self._arena, self._weights, self._kind, self._report = Arena(), weights, kind, packed
        self._embedding = self._pack("embedding", "token_embd.weight")
        self.blocks = tuple(self._block(f"blk.{number}") for number in range(self.shape.block_count))
        self._output_norm = self._norm("output_norm.weight")
        self._output = self._embedding if self.shape.tied else self._pack("projection", "output.weight")
        del self._weights, self._report  # a file may be closed now

    @property
    def kind(self) -> str:
        """Of the packed weights, `F32 and Q8_0` where a file has both."""
        return " and ".join(sorted({kind for kinds in self._kinds.values() for kind in kinds}))

    @property
    def bytes_per_weight(self) -> dict[str, float]:
        """Of the weights that each part of a pass reads."""
        each = {
            p: sum(BYTES_PER_WEIGHT[k] * n for k, n in sizes.items()) / sizes.total() for p, sizes in self._kinds.items()
        }
        return {"projection": each["embedding"]} | each

    def _pack(self, part: str, *names: str) -> np.ndarray:
        """One weight of a part of the pass from several, whose rows follow each other."""
        panels = _pack([self._weights.tensor(name) for name in names], self._kind, self._arena)
        self.nbytes += panels.nbytes
        self._kinds.setdefault(part, Counter())[panels.kind] += panels.rows * panels.columns
        self._report(panels.rows * panels.columns)
        return panels.data

    def _norm(self, name: str) -> np.ndarray:
        weight = np.array(self._weights.tensor(name), np.float32)
        self.nbytes += weight.nbytes
        return weight

    def _extra(self, block: str, *names: str) -> np.ndarray | None:
        """Vectors one after the other, zeros for one that the model does not have; None where it has none of them."""
        if not set(names) & set(self.shape.extras):
            return None
        none = {name: np.zeros(getattr(self.shape, EXTRAS[name]), np.float32) for name in names}
        parts = [self._norm(f"{block}.{name}") if name in self.shape.extras else none[name] for name in names]
        return np.concatenate(parts)

    def _block(self, name: str) -> _Block:
        return _Block(
            attn_norm=self._norm(f"{name}.attn_norm.weight"),
            attn_qkv=self._pack("attention/qkv", *(f"{name}.attn_{part}.weight" for part in "qkv")),
            qkv_bias=self._extra(name, "attn_q.bias", "attn_k.bias", "attn_v.bias"),
            q_norm=self._extra(name, "attn_q_norm.weight"),
            k_norm=self._extra(name, "attn_k_norm.weight"),
            attn_output=self._pack("attention/output", f"{name}.attn_output.weight"),
            output_bias=self._extra(name, "attn_output.bias"),
            ffn_norm=self._norm(f"{name}.ffn_norm.weight"),
            ffn_gate_up=self._pack("ffn", f"{name}.ffn_gate.weight", f"{name}.ffn_up.weight"),
            gate_up_bias=self._extra(name, "ffn_gate.bias", "ffn_up.bias"),
            ffn_down=self._pack("ffn", f"{name}.ffn_down.weight"),
            down_bias=self._extra(name, "ffn_down.bias"),
        )

    def cache(self, batch: int = 1, context: int | None = None) -> KVCache:
        """An empty cache for `batch` sequences of up to `context` tokens, by default the model's context_length."""
        context = self.shape.context_length if context is None else context
        return KVCache(self.shape, positive_integer("batch", batch), positive_integer("context", context))

    def forward(
        self, tokens: np.ndarray, cache: KVCache, stats: PerformanceStats = _DISABLED, threads: int = 1, every: bool = False
    ) -> np.ndarray:
        """Logits (batch x vocab_size) of the last token of each sequence, or (batch x new x vocab_size) of `every` one.

        tokens: batch x new integers, the next ones of each sequence. They are appended to the cache.
        """
        tokens, threads = self._check(tokens, cache), positive_integer("threads", threads)
        batch, new = tokens.shape
        buffers, section, start = cache.buffers(batch * new), stats.section, cache.length
        with section("forward_pass"):
            with section("embedding"):
                _embed(self._embedding, tokens.reshape(-1), buffers.x)
            for layer, block in enumerate(self.blocks):
                self._attention(layer, block, cache, buffers, start, new, section, threads)
                with section("ffn"):
                    self._feed_forward(block, buffers, threads)
            with section("projection"):
                logits = self._logits(buffers, batch, new, every, threads)
        cache.length += new
        return logits

    def generate(
        self,
        prompt: Sequence[int],
        tokens: int = 128,
        *,
        temperature: float = 0.0,
        top_k: int = 0,
        seed: int = 0,
        stop: Collection[int] = (),
        threads: int = 1,
        prompt_stats: PerformanceStats = _DISABLED,
        stats: PerformanceStats = _DISABLED,
    ) -> Iterator[int]:
        """Yield up to `tokens` tokens that continue the prompt, the likeliest each time unless the temperature is above 0.

        Ends before a token of `stop`, and once the context of the model is full. The settings are those of `Sampler`.
        prompt_stats gets the pass of the prompt, stats those of a token. Raises TextError for a setting, and for a prompt
        that is empty or longer than the context.
        """
        sample, count = Sampler(temperature, top_k, seed), positive_integer("tokens", tokens)
        check_prompt(self.shape, prompt)
        cache = self.cache(1, min(self.shape.context_length, len(prompt) + count - 1))  # the last token is never looked at

        def continued() -> Iterator[int]:
            new, watch = np.array([prompt]), prompt_stats
            for left in reversed(range(count)):
                token = sample(self.forward(new, cache, watch, threads)[0])
                if token in stop:
                    return
                yield token
                if not left or cache.length == cache.context:
                    return
                new, watch = np.array([[token]]), stats

        return continued()

    def _attention(self, layer, block, cache, buffers, start, new, section, threads) -> None:
        heads, eps = self.shape.head_count, self.shape.layer_norm_rms_epsilon
        with section("attention"):
            with section("qkv"):
                _norm_linear(buffers.x, block.attn_norm, eps, buffers.normed, block.attn_qkv, buffers.qkv, threads)
                _add(block.qkv_bias, buffers.qkv)
                if block.q_norm is not None:
                    _norm_heads(buffers.qkv, 0, heads, block.q_norm, eps)
                if block.k_norm is not None:
                    _norm_heads(buffers.qkv, heads, heads + self.shape.head_count_kv, block.k_norm, eps)
            with section("rope"):
                _rope_and_keep(buffers.qkv, cache.cosines, cache.sines, cache.keys, cache.values, layer, start, new)
            with section("scores"):
                _attend(buffers.qkv, cache.keys, cache.values, layer, start, new, heads, buffers.attended, threads)
            with section("output"):
                _linear(block.attn_output, buffers.attended, buffers.x, True, threads)
                _add(block.output_bias, buffers.x)

    def _feed_forward(self, block: _Block, buffers: _Buffers, threads: int) -> None:
        x, normed, both, hidden = buffers.x, buffers.normed, buffers.both, buffers.hidden
        norm, eps, gate_up, down = block.ffn_norm, self.shape.layer_norm_rms_epsilon, block.ffn_gate_up, block.ffn_down
        if block.gate_up_bias is None:
            _feed_forward(x, norm, eps, normed, gate_up, both, hidden, down, threads)
        else:
            _norm_linear(x, norm, eps, normed, gate_up, both, threads)
            _add(block.gate_up_bias, both)
            _swiglu(both, hidden)
            _linear(down, hidden, x, True, threads)
        _add(block.down_bias, x)

    def _logits(self, buffers: _Buffers, batch: int, new: int, every: bool, threads: int) -> np.ndarray:
        x, normed = buffers.x, buffers.normed
        if not every and new > 1:
            x, normed = x.reshape(batch, new, -1)[:, -1].copy(), normed[:batch]
        logits = np.empty((len(x), self.shape.vocab_size), np.float32)
        _norm_linear(x, self._output_norm, self.shape.layer_norm_rms_epsilon, normed, self._output, logits, threads)
        return logits.reshape(batch, new, -1) if every else logits

    def _check(self, tokens: np.ndarray, cache: KVCache) -> np.ndarray:
        if not isinstance(tokens, np.ndarray) or not np.issubdtype(tokens.dtype, np.integer):
            raise TypeError(f"tokens must be an array of integers, got {getattr(tokens, 'dtype', type(tokens).__name__)}")
        if tokens.ndim != 2 or tokens.shape[0] != cache.batch or tokens.shape[1] < 1:
            raise ValueError(f"tokens must have shape ({cache.batch}, at least 1), got {tokens.shape}")
        if tokens.min() < 0 or tokens.max() >= self.shape.vocab_size:
            raise ValueError(f"tokens must lie in 0 to {self.shape.vocab_size - 1}, got {tokens.min()} to {tokens.max()}")
        if tokens.shape[1] > (room := cache.context - cache.length):
            raise ValueError(f"tokens must be at most {room}, what the cache has room for, got {tokens.shape[1]}")
        return np.ascontiguousarray(tokens, np.int64)


def check_prompt(shape: Shape, prompt: Sequence[int], name: str = "the prompt") -> None:
    """Raise TextError unless the prompt has tokens and all of them fit into the context of the model."""
    if not 1 <= len(prompt) <= shape.context_length:
        raise TextError(f"{name} must have 1 to {shape.context_length} tokens, the context of the model, got {len(prompt)}")


def _add(bias: np.ndarray | None, rows: np.ndarray) -> None:
    """To each row, in place."""
    if bias is not None:
        np.add(rows, bias, out=rows)


def _pack(tensors: Sequence[Tensor], kind: str | None, arena: Arena) -> Panels:
    if kind == "Q8_0" or kind is None and all(isinstance(t, tuple) for t in tensors):
        pairs = [t if isinstance(t, tuple) else quantise(t) for t in tensors]
        return pack_q8_0(*(np.concatenate(parts) for parts in zip(*pairs, strict=True)), arena.empty)
    return pack(np.concatenate([widen(t) for t in tensors]), arena.empty)


def widen(tensor: Tensor) -> np.ndarray:
    """Float32 of a tensor."""
    if not isinstance(tensor, tuple):
        return tensor
    scales, quants = tensor
    return np.repeat(scales.astype(np.float32), PANEL, axis=1)[:, : quants.shape[1]] * quants
