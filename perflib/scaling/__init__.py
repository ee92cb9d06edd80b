"""How a time grows with the size: levels, odd sizes and a fixed cost seen apart from the growth, and a verdict on it."""

from .fit import ScalingFit as ScalingFit
from .fit import fit_scaling as fit_scaling
