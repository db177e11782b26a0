"""Trigonometric and hyperbolic functions and their inverses: elementwise, angles in radians."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.primitive import composed, primitive
from ..core.tensor import registry
from .table import entry

sin = entry(np.sin, "The sine of x in radians.", (lambda g, y, x: g * np.cos(x), "g ⊙ cos({0})"), bounds=(-1, 1))
cos = entry(np.cos, "The cosine of x in radians.", (lambda g, y, x: -g * np.sin(x), "−g ⊙ sin({0})"), bounds=(-1, 1))
tan = entry(np.tan, "The tangent of x in radians.", (lambda g, y, x: g * (1 + y * y), "g ⊙ (1 + y²)"))

arctan = entry(
    np.arctan, "The angle in radians whose tangent is x.", (lambda g, y, x: g / (1 + x * x), "g / (1 + {0}²)")
)

sinh = entry(np.sinh, "The hyperbolic sine of x.", (lambda g, y, x: g * np.cosh(x), "g ⊙ cosh({0})"))
cosh = entry(np.cosh, "The hyperbolic cosine of x.", (lambda g, y, x: g * np.sinh(x), "g ⊙ sinh({0})"))
tanh = entry(np.tanh, "The hyperbolic tangent of x.", (lambda g, y, x: g * (1 - y * y), "g ⊙ (1 − y²)"), bounds=(-1, 1))

arcsin = entry(
    np.arcsin,
    "The angle in radians, from -pi/2 to pi/2, whose sine is x.",
    (lambda g, y, x: g / np.sqrt((1 - x) * (1 + x)), "g / √(1 − {0}²)"),
)

arccos = entry(
    np.arccos,
    "The angle in radians, from 0 to pi, whose cosine is x.",
    (lambda g, y, x: -g / np.sqrt((1 - x) * (1 + x)), "−g / √(1 − {0}²)"),
)

arctan2 = entry(
    np.arctan2,
    "The angle in radians of the point (b, a), seen from the origin.",
    (lambda g, y, a, b: g * b / (a * a + b * b), "g ⊙ {1} / ({0}² + {1}²)"),
    (lambda g, y, a, b: -g * a / (a * a + b * b), "−g ⊙ {0} / ({0}² + {1}²)"),
)

arcsinh = entry(
    np.arcsinh, "The number whose hyperbolic sine is x.", (lambda g, y, x: g / np.sqrt(x * x + 1), "g / √({0}² + 1)")
)

arccosh = entry(
    np.arccosh,
    "The number, 0 or more, whose hyperbolic cosine is x.",
    (lambda g, y, x: g / np.sqrt((x - 1) * (x + 1)), "g / √({0}² − 1)"),
)

arctanh = entry(
    np.arctanh, "The number whose hyperbolic tangent is x.", (lambda g, y, x: g / ((1 - x) * (1 + x)), "g / (1 − {0}²)")
)


def _by_hypot(g: Any, y: Any, a: Any, b: Any) -> Any:
    return np.where(y == 0, 0, g * a / np.where(y == 0, 1, y))


hypot = primitive(
    np.hypot,
    vjps=[_by_hypot, lambda g, y, a, b: _by_hypot(g, y, b, a)],
    doc="The root of a * a + b * b without overflow; where it is 0, so is its gradient.",
)

deg2rad = primitive(np.deg2rad, vjps=[lambda g, y, x: g * (math.pi / 180)], doc="Degrees in radians.")
rad2deg = primitive(np.rad2deg, vjps=[lambda g, y, x: g * (180 / math.pi)], doc="Radians in degrees.")


@composed(of=np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), and 1 at 0."""
    angle = x * math.pi
    small = np.abs(angle) < 1e-2
    squared = np.square(np.where(small, angle, 0))
    series = 1 - squared / 6 * (1 - squared / 20 * (1 - squared / 42))  # exact there, with its derivatives
    apart = np.where(small, 1, angle)
    return np.where(small, series, np.sin(apart) / apart)


registry[np.radians] = deg2rad
registry[np.degrees] = rad2deg

__all__ = ["arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cos", "cosh", "deg2rad", "hypot"]
__all__ += ["rad2deg", "sin", "sinc", "sinh", "tan", "tanh"]
