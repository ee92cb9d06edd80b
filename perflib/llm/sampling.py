"""Choose the next token from the logits of a pass.

    sample = Sampler(temperature=0.8, top_k=40, seed=1)
    token = sample(logits)

Temperature 0 takes the likeliest token. Any other divides the logits before the softmax, and the draw is one of a seeded
generator: equal seeds and logits give equal tokens. Raises TextError naming the setting, the requirement and the value.
"""

import math
import numbers

import numpy as np

from ..errors import TextError


class Sampler:
    """Draws tokens; each call takes the next number of its generator.

    temperature: 0 or more. top_k: only that many of the likeliest tokens can be drawn, 0 and anything above the vocabulary
    mean all. seed: 0 or more.
    """

    def __init__(self, temperature: float = 0.0, top_k: int = 0, seed: int = 0) -> None:
        if not isinstance(temperature, numbers.Real) or not (math.isfinite(temperature) and temperature >= 0):
            raise TextError(f"temperature must be 0 or more and finite, got {temperature!r}")
        for name, value in (("top_k", top_k), ("seed", seed)):
            if not isinstance(value, numbers.Integral) or value < 0:
                raise TextError(f"{name} must be an integer of at least 0, got {value!r}")
        self._temperature, self._top_k, self._generator = float(temperature), int(top_k), np.random.default_rng(seed)

    def __call__(self, logits: np.ndarray) -> int:
        """The next token; logits: one per token of the vocabulary."""
        likeliest = int(logits.argmax())  # of the NaNs the first, if there is any
        if not math.isfinite(logits[likeliest]):
            raise TextError("the model's logits are not finite; its weights or its context are not what it was made for")
        if not self._temperature:
            return likeliest
        count = min(self._top_k or len(logits), len(logits))
        kept = np.sort(np.argpartition(logits, -count)[-count:])  # sorted: the draw knows tokens, not how they were found
        with np.errstate(over="ignore"):  # a tiny temperature makes -inf of all but the likeliest, whose weight is 1
            weights = np.exp((logits[kept].astype(np.float64) - float(logits[likeliest])) / self._temperature)
        sums = weights.cumsum()
        return int(kept[np.searchsorted(sums, self._generator.random() * sums[-1], side="right")])
