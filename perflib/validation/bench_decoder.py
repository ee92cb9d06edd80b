"""Compare a decoder's pass with PyTorch and the read bandwidth, and Q8_0 with float32, for `perflib bench`.

Every step is one session, one thread on both sides. PyTorch makes the same passes on the same weights, and its logits are
compared with ours before anything is timed. Generation is a pass of one token at context 128, a prompt has 128 tokens.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..errors import WrongResult
from ..llm.decoder import Decoder, KVCache, statistics
from ..llm.fusion_experiment import READ_BYTES, STREAMS, reads
from ..llm.weights import SHAPES, RandomWeights
from ..stats import Interval, median_interval
from ..timing.case import case
from ..timing.sampling import quiet
from ..timing.session import Session, take
from .head_to_head import Row, Step
from .torch_decoder import TorchDecoder

GENERATION, PROMPT = "generation / PyTorch", "prompt of 128 / PyTorch"
BANDWIDTH, QUANTISED = "generation, bytes of weights / best read", "generation, Q8_0 / float32"
CLOSURE = "parts of a pass / the whole"
CONTEXT = 128
LIMIT = 1e-4  # relative to the largest logit
PASSES = 30


def forward_steps(quick: bool, libraries: Sequence[str]) -> list[Step]:
    """Both shapes; without PyTorch what needs none."""
    budget_s = 1.5 if quick else 6.0
    return [(f"decoder, {shape}", partial(_shape, shape, "torch" in libraries, budget_s)) for shape in ("15M", "110M")]


def _shape(shape: str, torch: bool, budget_s: float) -> list[Row]:
    weights = RandomWeights(SHAPES[shape])
    ours, rows = Decoder(weights), []
    cache = ours.cache(1, 2 * CONTEXT)
    prompt = np.random.default_rng(0).integers(0, ours.shape.vocab_size, (1, CONTEXT))
    passes = {"ours": partial(_token, ours, cache, prompt[:, :1])}
    if torch:
        peer = _Peer(weights, ours, cache, prompt)
        passes["torch"] = peer.token
    if shape == "110M":
        quantised = Decoder(weights, "Q8_0")
        passes["q8_0"] = partial(_token, quantised, quantised.cache(1, 2 * CONTEXT), prompt[:, :1])
        passes |= {f"read {streams}": read for streams, read in reads()["read"].items()}
    session = _session(passes, budget_s)
    if torch:
        rows.append(_row(GENERATION, shape, "torch", session.ratio("torch", "ours")))
        prompts = {"ours": partial(_prompt, ours, cache, prompt), "torch": peer.prompt}
        rows.append(_row(PROMPT, shape, "torch", _session(prompts, budget_s).ratio("torch", "ours")))
    if shape == "110M":
        best = min(STREAMS, key=lambda k: session.gross(f"read {k}").value)
        share = session.ratio(f"read {best}", "ours").scaled(ours.nbytes / READ_BYTES)
        rows.append(_row(BANDWIDTH, shape, f"read, {best} streams", share))
        rows.append(_row(QUANTISED, shape, "F32", session.ratio("ours", "q8_0"), kernel="decoder, Q8_0"))
    return [*rows, _row(CLOSURE, shape, "whole", _closure(ours, cache, prompt))]


class _Peer:
    """PyTorch's passes, after their logits agreed with ours."""

    def __init__(self, weights: RandomWeights, ours: Decoder, cache: KVCache, prompt: np.ndarray) -> None:
        self.decoder, self.tokens = TorchDecoder(weights, 1, 2 * CONTEXT), prompt
        for run, expected, tokens in ((self.prompt, _prompt, prompt), (self.token, _token, prompt[:, :1])):
            logits = expected(ours, cache, tokens)
            error = abs(run().numpy() - logits).max()
            if not error <= LIMIT * abs(logits).max():
                raise WrongResult(f"logits must agree with PyTorch's to {LIMIT}, got {error:.3g} between them")

    def prompt(self):
        """128 tokens into an empty cache."""
        self.decoder.length = 0
        return self.decoder.forward(self.tokens)

    def token(self):
        """One token after 128."""
        self.decoder.length = CONTEXT
        return self.decoder.forward(self.tokens[:, :1])


def _prompt(decoder: Decoder, cache: KVCache, tokens: np.ndarray) -> np.ndarray:
    cache.clear()
    return decoder.forward(tokens, cache)


def _token(decoder: Decoder, cache: KVCache, tokens: np.ndarray) -> np.ndarray:
    cache.length = CONTEXT
    return decoder.forward(tokens, cache)


def _session(passes: dict[str, Callable], budget_s: float) -> Session:
    """All of them in every round, the first one compared with each other."""
    first, *others = passes
    for run in passes.values():
        run()  # compiled and warm
    with quiet():
        cases = [case(label, run, (), "call") for label, run in passes.items()]
        return take(cases, budget_s, lambda session: [session.ratio(label, first) for label in others])


def _closure(decoder: Decoder, cache: KVCache, tokens: np.ndarray) -> Interval:
    """Share of the passes that the parts explain."""
    stats = statistics()
    for _ in range(PASSES):
        cache.length = CONTEXT
        decoder.forward(tokens[:, :1], cache, stats)
    parts = "embedding", "attention", "ffn", "projection"
    return median_interval([sum(one[part] for part in parts) / one["forward_pass"] for one in stats.passes])


def _row(what: str, shape: str, peer: str, ratio: Interval, kernel: str = "decoder") -> Row:
    return Row(what, kernel, peer, shape, "float32", 1, ratio.value, ratio.low, ratio.high)
