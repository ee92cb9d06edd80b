"""Run the same decoder by PyTorch's operators, for comparison: same weights, same passes, a cache allocated once.

    TorchDecoder(weights, batch, context)       needs PyTorch (extra `peers`)
    .forward(tokens)                            logits of the last token of each sequence, a tensor

The code is what a careful user of PyTorch writes: queries, keys and values in one linear layer, gate and up in another,
weights kept as they are stored (outputs x inputs), rms_norm and scaled_dot_product_attention from torch.nn.functional,
no gradients, no copies of the cache. Weights lie on huge pages as ours do. `perflib.timing.sampling.quiet` sets
PyTorch's threads. Raises ModuleNotFoundError where PyTorch is absent, ValueError for a shape with extras, which it does
not compute.
"""

import numpy as np

from ..kernels.buffers import huge_empty
from ..llm.decoder import widen
from ..llm.weights import Weights


class TorchDecoder:
    """Weights and cache as tensors."""

    def __init__(self, weights: Weights, batch: int, context: int) -> None:
        if weights.shape.extras:
            raise ValueError(f"weights must have no extras for PyTorch's decoder, got {', '.join(weights.shape.extras)}")
        import torch  # the extra `peers`

        self.torch, self.shape, self.length = torch, weights.shape, 0
        shape, d = weights.shape, weights.shape.head_length

        def tensor(*names: str) -> "torch.Tensor":
            parts = [widen(weights.tensor(name)) for name in names]
            whole = huge_empty((sum(map(len, parts)), *parts[0].shape[1:]), np.float32)
            np.concatenate(parts, out=whole)
            return torch.from_numpy(whole)

        self._embedding = tensor("token_embd.weight")
        self._blocks = [
            (
                tensor(f"blk.{n}.attn_norm.weight"),
                tensor(*(f"blk.{n}.attn_{part}.weight" for part in "qkv")),
                tensor(f"blk.{n}.attn_output.weight"),
                tensor(f"blk.{n}.ffn_norm.weight"),
                tensor(f"blk.{n}.ffn_gate.weight", f"blk.{n}.ffn_up.weight"),
                tensor(f"blk.{n}.ffn_down.weight"),
            )
            for n in range(shape.block_count)
        ]
        self._norm = tensor("output_norm.weight")
        self._output = self._embedding if shape.tied else tensor("output.weight")
        size = shape.block_count, batch, shape.head_count_kv, context, d
        self._keys, self._values = torch.zeros(size), torch.zeros(size)
        self._cosines, self._sines = map(torch.from_numpy, shape.rotations(context))

    def forward(self, tokens: np.ndarray):
        """Logits of the last token of each sequence; tokens batch x new."""
        with self.torch.inference_mode():
            return self._forward(self.torch.from_numpy(tokens))

    def _forward(self, tokens):
        functional, shape = self.torch.nn.functional, self.shape
        (batch, new), d, start = tokens.shape, shape.head_length, self.length
        end, width, eps = start + new, (shape.embedding_length,), shape.layer_norm_rms_epsilon
        counts = [shape.query_length, shape.key_length, shape.key_length]
        shared = shape.head_count != shape.head_count_kv
        x = functional.embedding(tokens, self._embedding)
        for layer, (attn_norm, qkv, output, ffn_norm, gate_up, down) in enumerate(self._blocks):
            q, k, v = functional.linear(functional.rms_norm(x, width, attn_norm, eps), qkv).split(counts, dim=-1)
            q, k, v = (part.view(batch, new, -1, d).transpose(1, 2) for part in (q, k, v))
            keys, values = self._keys[layer, :, :, :end], self._values[layer, :, :, :end]
            keys[:, :, start:].copy_(self._rotate(k, start, end))
            values[:, :, start:].copy_(v)
            q = self._rotate(q, start, end)
            # one new token sees everything; several at once only come first here, and PyTorch's mask fits that
            mixed = functional.scaled_dot_product_attention(q, keys, values, is_causal=new > 1, enable_gqa=shared)
            x = x + functional.linear(mixed.transpose(1, 2).reshape(batch, new, -1), output)
            gate, up = functional.linear(functional.rms_norm(x, width, ffn_norm, eps), gate_up).chunk(2, dim=-1)
            x = x + functional.linear(functional.silu(gate) * up, down)
        self.length = end
        return functional.linear(functional.rms_norm(x[:, -1], width, self._norm, eps), self._output)

    def _rotate(self, x, start: int, end: int):
        """Pairs (2i, 2i + 1) by their position."""
        cosines, sines = self._cosines[start:end], self._sines[start:end]
        a, b = x[..., 0::2], x[..., 1::2]
        return self.torch.stack((a * cosines - b * sines, a * sines + b * cosines), dim=-1).flatten(-2)
