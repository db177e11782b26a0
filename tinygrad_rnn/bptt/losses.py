"""The two losses of a step and their derivatives by hand. NumPy only.

Each is written with analytic functions, so that it can also be evaluated on complex numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Loss(NamedTuple):
    """A loss of the outputs y (..., B, C) of one step, added over the batch, and its derivative."""

    name: str
    value: Callable[[Array, Array], Array]
    """(y, target) -> the sum over rows, (...)."""
    derivative: Callable[[Array, Array], Array]
    """(y, target) -> d value / d y, of y's shape."""
    value_terms: Callable[[Array, Array], Array]
    derivative_terms: Callable[[Array, Array], Array]
    """The same with the absolute values of what is added up or subtracted."""


def _one_hot(target: Array, C: int) -> Array:
    return np.eye(C)[target]


def _softmax(y: Array) -> Array:
    e = np.exp(y - y.real.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _cross_entropy(y: Array, target: Array) -> Array:
    """-log softmax(y)[target] = log(sum_c exp y_c) - y_target."""
    return np.asarray((_log_sum(y) - (y * _one_hot(target, y.shape[-1])).sum(-1)).sum(-1))


def _log_sum(y: Array) -> Array:
    shift = y.real.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(y - shift).sum(-1)) + shift[..., 0])


LOSSES = {
    "softmax_cross_entropy": Loss(
        "softmax_cross_entropy",
        _cross_entropy,
        lambda y, target: _softmax(y) - _one_hot(target, y.shape[-1]),
        lambda y, target: (abs(_log_sum(y)) + (abs(y) * _one_hot(target, y.shape[-1])).sum(-1)).sum(-1),
        lambda y, target: _softmax(y) + _one_hot(target, y.shape[-1]),
    ),
    "squared_error": Loss(
        "squared_error",
        lambda y, target: ((y - target) ** 2).sum((-1, -2)),
        lambda y, target: 2 * (y - target),
        lambda y, target: ((abs(y) + abs(target)) ** 2).sum((-1, -2)),
        lambda y, target: 2 * (abs(y) + abs(target)),
    ),
}
