"""How a time grows with the size: levels, odd sizes and a fixed cost seen apart from the growth, and a verdict on it."""

from .fit import Growth, OddSize, Prediction, Regime, ScalingFit, Step, Verdict, fit_scaling

__all__ = ["Growth", "OddSize", "Prediction", "Regime", "ScalingFit", "Step", "Verdict", "fit_scaling"]
