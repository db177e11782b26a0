"""Elementwise nonlinearities of neural networks, none of which overflows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.primitive import primitive
from ..core.tensor import Array
from ..core.traits import Traits


@primitive(
    vjps=[lambda g, y, x: g * y * (1 - y)],
    traits=Traits(elementwise=True, alias="new", bounds=(0, 1), symbol="σ", backward=("g ⊙ y ⊙ (1 − y)",)),
)
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), to a few units in the last place however small it is."""
    # e / (1 + e) keeps every digit where e is tiny; beyond the limit it rounds to 1, and e must not overflow
    e = np.asarray(np.minimum(x, 11.0 if getattr(x, "dtype", None) == np.float16 else 45.0))
    np.exp(e, out=e)
    return np.divide(e, e + 1, out=e)


@primitive(
    vjps=[lambda g, y, x: g * (x > 0)],
    traits=Traits(elementwise=True, alias="new", bounds=(0, math.inf), backward=("g where {0} > 0, else 0",)),
)
def relu(x: Array) -> Array:
    """max(x, 0); the gradient at 0 is 0."""
    return np.maximum(x, 0)


@primitive(
    vjps=[lambda g, y, x, negative_slope: np.where(x > 0, g, negative_slope * g)],
    traits=Traits(elementwise=True, alias="new"),
)
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x where it is positive, else negative_slope * x; the gradient at 0 is the negative slope."""
    return np.where(x > 0, x, negative_slope * x)


@primitive(
    vjps=[lambda g, y, x, alpha: np.where(x > 0, g, g * (y + alpha))], traits=Traits(elementwise=True, alias="new")
)
def elu(x: Array, alpha: float = 1.0) -> Array:
    """x where it is positive, else alpha * (exp(x) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@primitive(
    vjps=[lambda g, y, x: g * sigmoid(x)],
    traits=Traits(elementwise=True, alias="new", bounds=(0, math.inf), backward=("g ⊙ σ({0})",)),
)
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), a smooth relu."""
    return np.logaddexp(x, 0)


def _by_silu(g: Any, y: Any, x: Any) -> Any:
    s = sigmoid(x)
    return g * (s + y * (1 - s))


@primitive(vjps=[_by_silu], traits=Traits(elementwise=True, alias="new"))
def silu(x: Array) -> Array:
    """x * sigmoid(x), also called swish."""
    return x * sigmoid(x)


_C, _D = math.sqrt(2 / math.pi), 0.044715


def _by_gelu(g: Any, y: Any, x: Any) -> Any:
    t = np.tanh(_C * (x + _D * x * x * x))
    return g * 0.5 * (1 + t + x * (1 - t * t) * _C * (1 + 3 * _D * x * x))


@primitive(vjps=[_by_gelu], traits=Traits(elementwise=True, alias="new"))
def gelu(x: Array) -> Array:
    """x times the normal distribution function at x, by the tanh approximation (Hendrycks and Gimpel, 2016).

    Off by at most 5e-4; it is PyTorch's gelu(approximate="tanh").
    """
    return 0.5 * x * (1 + np.tanh(_C * (x + _D * x * x * x)))


__all__ = ["elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus"]
