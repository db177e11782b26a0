"""Softmax and its relatives, and layer normalisation: shift or scale along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.arguments import NotNegative
from ..core.primitive import composed, primitive
from ..core.tensor import Array, Axis, Tensor
from ..core.traits import Traits
from .axes import lift_along, lift_over
from .elementwise import astype
from .reductions import with_axes


def _finite(x: Any) -> Any:
    """x with 0 for its infinities, so that subtracting it from itself leaves them as they are."""
    return np.where(np.isfinite(x), x, 0)


def _by_logsumexp(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    g, y, infinite = with_axes(g, x, axis, keepdims), with_axes(y, x, axis, keepdims), x == np.inf
    ties = np.maximum(np.sum(astype(infinite, x.dtype), axis=axis, keepdims=True), 1)
    below = np.exp(np.where(infinite, 0, x) - np.where(y == -np.inf, 0, y))
    return g * below + np.where(infinite, g / ties, 0)


@primitive(vjps=[_by_logsumexp], traits=Traits(alias="new", lift=lift_over, backward=("g ⊙ exp({0} − y)",)))
def logsumexp(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over `axis` without overflow; -inf (a masked entry) counts as exp = 0.

    Where the result is inf, the entries that are inf share the gradient evenly; where it is -inf, none has any.
    """
    largest = _finite(np.max(x, axis=axis, keepdims=True))
    with np.errstate(divide="ignore", over="ignore"):  # beside an infinite entry a large one may overflow
        y = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
    return y if keepdims else np.squeeze(y, axis=axis)


@primitive(
    vjps=[lambda g, y, x, axis: y * (g - np.sum(g * y, axis=axis, keepdims=True))],
    traits=Traits(alias="new", lift=lift_along, bounds=(0, 1), backward=("y ⊙ (g − Σ g ⊙ y)",)),
)
def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x) scaled to sum to 1 along `axis`; same shape."""
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


@primitive(
    vjps=[lambda g, y, x, axis: g - np.exp(y) * np.sum(g, axis=axis, keepdims=True)],
    traits=Traits(alias="new", lift=lift_along, backward=("g − exp(y) ⊙ Σ g",)),
)
def log_softmax(x: Array, axis: int = -1) -> Array:
    """log(softmax(x)) along `axis` without underflow; same shape."""
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def _by_standardize(g: Any, y: Any, x: Any, axis: Axis, eps: float) -> Any:
    scale = 1 / np.sqrt(np.var(x, axis=axis, keepdims=True) + eps)
    flat = np.mean(g, axis=axis, keepdims=True) + y * np.mean(g * y, axis=axis, keepdims=True)
    return scale * (g - flat)


def _standardized(x: Any, axis: Axis = -1, eps: float = 1e-5) -> Any:
    centred = x - np.mean(x, axis=axis, keepdims=True)
    return centred * (1 / np.sqrt(np.var(x, axis=axis, keepdims=True) + eps))


@primitive(vjps=[_by_standardize], traits=Traits(alias="new", lift=lift_over, parts=_standardized))
def standardize(x: Array, axis: Axis = -1, eps: NotNegative = 1e-5) -> Array:
    """(x - mean) / sqrt(variance + eps) over `axis`; same shape."""
    return (x - np.mean(x, axis=axis, keepdims=True)) / np.sqrt(np.var(x, axis=axis, keepdims=True) + eps)


@composed()
def layer_norm(
    x: Array | Tensor, weight: Any = None, bias: Any = None, axis: Axis = -1, eps: NotNegative = 1e-5
) -> Any:
    """Layer normalisation (Ba, Kiros and Hinton, 2016): standardize(x) * weight + bias.

    Args:
        x: (..., D).
        weight, bias: (D,), or None for 1 and 0.
        axis: over which to take mean and variance.
        eps: added to the variance.
    """
    y = standardize(x, axis, eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


__all__ = ["layer_norm", "log_softmax", "logsumexp", "softmax", "standardize"]
