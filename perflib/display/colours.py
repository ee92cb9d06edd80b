"""Choose colours that can be read: contrast as WCAG 2.1 defines it, ink on a ground, and what a colour is in the dark.

Text needs a contrast of 4.5 : 1 with its ground, a curve or a marker 3 : 1. A colour in the dark keeps its hue and has the
contrast with the dark ground that it had with white, so what can be read in one theme can be read in the other.
"""

from functools import cache

import numpy as np
from matplotlib.colors import to_hex, to_rgb

WHITE, DARK_GROUND = "#ffffff", "#14171c"  # the ground of a page in both themes, as style.css has it
BRIGHTEST = 0.9  # of the way from the dark ground to white: black text is not glaring in the dark
GREY = 0.04  # colours whose parts differ less are grey
STEP = 0.01  # of the way from one colour to another


def luminance(colour: str | tuple) -> float:
    """Relative luminance of sRGB (WCAG 2.1)."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: str | tuple, other: str | tuple) -> float:
    """From 1 to 21 : 1 (WCAG 2.1, 1.4.3)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: str) -> tuple[float, float, float]:
    """The colour, darkened until it can be read as text on white: 4.5 : 1."""
    rgb = np.array(to_rgb(colour))
    while contrast(tuple(rgb), WHITE) < 4.55:  # eight bits round
        rgb *= 0.97
    return tuple(rgb)


def ink(ground: str | tuple) -> str:
    """Black or white, whichever stands out more from the ground: at least 4.58 : 1."""
    return max("#000000", WHITE, key=lambda text: contrast(text, ground))


@cache
def in_the_dark(colour: str) -> str:
    """The colour of the same hue that has the contrast with the dark ground that `colour` has with white."""
    rgb, needed = np.array(to_rgb(colour)), contrast(colour, WHITE)
    start = np.array(to_rgb(DARK_GROUND)) if np.ptp(rgb) < GREY else rgb
    shades = (tuple(start + share * (1 - start)) for share in np.arange(0, BRIGHTEST, STEP))
    brightest = tuple(start + BRIGHTEST * (1 - start))
    return to_hex(next((shade for shade in shades if contrast(shade, DARK_GROUND) >= needed), brightest))
