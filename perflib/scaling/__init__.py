"""How a time grows with the size: levels, odd sizes and a fixed cost seen apart from the growth, and a verdict on it."""

from .fit import ScalingFit, fit_scaling
from .records import Growth, OddSize, Prediction, Regime, Step, Verdict

__all__ = ["Growth", "OddSize", "Prediction", "Regime", "ScalingFit", "Step", "Verdict", "fit_scaling"]
