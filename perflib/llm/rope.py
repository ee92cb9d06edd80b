"""How rotary position embedding (RoPE) turns each pair of a head, and how a file stretches it to longer contexts.

Pair i of a head of d elements turns by base^(-2i/d) radians per position (Su et al., RoFormer, 2021). Stretching changes
these frequencies and the length of the turned vectors only, so one table of cosines and sines holds all of it.
"""

import math
from dataclasses import dataclass

import numpy as np

SCALINGS = ("none", "linear", "yarn")


@dataclass(frozen=True)
class RopeScaling:
    """Scaling of the frequencies under GGUF's names (without `rope.scaling.`).

    linear: divides positions by `factor` (Chen et al., 2023). yarn (Peng et al., 2023): divides the pairs that turn less
    than `yarn_beta_slow` times within the original context, keeps those that turn more than `yarn_beta_fast` times, ramps
    between the two, and lengthens vectors by 1 + 0.1 ln(factor). `factors` divide the frequency of each pair (Llama 3).
    """

    type: str = "none"
    factor: float = 1.0
    original_context_length: int = 0
    attn_factor: float = 1.0
    yarn_beta_fast: float = 32.0
    yarn_beta_slow: float = 1.0
    factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.type not in SCALINGS:
            raise ValueError(f"rope.scaling.type must be one of {', '.join(SCALINGS)}, got {self.type!r}")
        if not all(factor > 0 for factor in self.factors):
            raise ValueError(f"rope_scaling factors must be above 0, got {min(self.factors)}")

    @property
    def magnitude(self) -> float:
        """Factor of the length of a turned vector."""
        return self.attn_factor * (1 + 0.1 * math.log(self.factor) if self.type == "yarn" else 1.0)

    def frequencies(self, base: float, d: int) -> np.ndarray:
        """Radians per position of the d / 2 pairs of a head, float64."""
        plain = base ** (-np.arange(0, d, 2) / d) / (self.factors or 1.0)
        if self.type == "none":
            return plain
        stretched = plain / self.factor
        if self.type == "linear":
            return stretched
        low, high = (self._pair_that_turns(times, base, d) for times in (self.yarn_beta_fast, self.yarn_beta_slow))
        low, high = max(0, math.floor(low)), min(d - 1, math.ceil(high))
        ramp = np.clip((np.arange(d // 2) - low) / max(0.001, high - low), 0, 1)
        return plain + ramp * (stretched - plain)

    def _pair_that_turns(self, times: float, base: float, d: int) -> float:
        """The pair, as a real number, that turns so many times within the original context."""
        return d * math.log(self.original_context_length / (times * 2 * math.pi)) / (2 * math.log(base))
