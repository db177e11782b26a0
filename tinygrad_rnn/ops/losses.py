"""Losses, written so that no intermediate result overflows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.primitive import composed, primitive
from ..core.tensor import Array, Tensor, raw
from ..core.traits import Traits
from ..errors import DTypeError, InputError, ShapeError
from .activations import sigmoid
from .axes import lift_unchanged
from .elementwise import astype
from .normalization import softmax
from .ranges import in_range

_REDUCTIONS = ("mean", "sum", "none")


def _one_hot(targets: Any, like: Any) -> Any:
    return astype(np.arange(like.shape[-1]) == np.expand_dims(targets, -1), like.dtype)


@primitive(
    vjps=[lambda g, y, x, targets: np.expand_dims(g, -1) * (softmax(x) - _one_hot(targets, x)), None],
    traits=Traits(
        alias="new", lift=lift_unchanged, symbol="cross-entropy", backward=("g · (softmax({0}) − one-hot({1}))",)
    ),
)
def cross_entropy_of_classes(logits: Array, targets: Array) -> Array:
    """-log softmax(logits)[target] for each row: (..., C) and integers (...) -> (...)."""
    shifted = logits - np.max(logits, axis=-1, keepdims=True)
    picked = np.take_along_axis(shifted, targets[..., None], axis=-1)[..., 0]
    return np.log(np.sum(np.exp(shifted), axis=-1)) - picked


@composed()
def softmax_cross_entropy(logits: Tensor | Array, targets: Any, reduction: str = "mean") -> Any:
    """The cross-entropy between softmax(logits) and the target classes.

    Args:
        logits: unnormalised scores, (..., C).
        targets: class numbers 0 to C - 1, integers of shape (...).
        reduction: "mean" over all rows, "sum", or "none" for one loss per row.

    Raises:
        ShapeError: the targets do not have the logits' shape without its last axis, or a class is out of range.
        DTypeError: the targets are not integers.
    """
    _check_reduction("softmax_cross_entropy", reduction)
    classes = np.asarray(raw(targets))
    if classes.dtype.kind not in "iu":
        raise DTypeError(f"softmax_cross_entropy: targets have dtype {classes.dtype}, expected integer class numbers")
    shape = np.shape(raw(logits))
    if classes.shape != shape[:-1] or not shape:
        raise ShapeError(
            f"softmax_cross_entropy: logits {shape} and targets {classes.shape} do not fit; expected logits (..., C) "
            "and one class number for each row, (...)"
        )
    wrong = f"softmax_cross_entropy: targets run from {{}} to {{}}, and there are {shape[-1]} classes, numbered from 0"
    targets = in_range(targets if isinstance(targets, Tensor) else classes, 0, shape[-1] - 1, wrong)
    return _reduce(cross_entropy_of_classes(logits, targets), reduction)


@primitive(
    vjps=[lambda g, y, x, targets: g * (sigmoid(x) - targets), lambda g, y, x, targets: -g * x],
    traits=Traits(elementwise=True, alias="new", backward=("g ⊙ (σ({0}) − {1})", "−g ⊙ {0}")),
)
def cross_entropy_of_logits(logits: Array, targets: Array) -> Array:
    """-log sigmoid(logits) and -log(1 - sigmoid(logits)), weighted by targets and 1 - targets; elementwise."""
    return np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))


@composed()
def binary_cross_entropy_with_logits(logits: Tensor | Array, targets: Any, reduction: str = "mean") -> Any:
    """The cross-entropy between sigmoid(logits) and targets, for classes that are there or not.

    Args:
        logits: unnormalised scores, any shape.
        targets: 0, 1 or a probability for each, the same shape.
        reduction: "mean", "sum", or "none".

    Raises:
        ShapeError: logits and targets have different shapes.
        InputError: a target is not in [0, 1].
    """
    _check_reduction("binary_cross_entropy_with_logits", reduction)
    _check_shapes("binary_cross_entropy_with_logits", "logits", logits, targets)
    values = np.asarray(raw(targets))
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise InputError(
            f"binary_cross_entropy_with_logits: targets run from {values.min()} to {values.max()}, "
            "expected probabilities between 0 and 1"
        )
    return _reduce(cross_entropy_of_logits(logits, targets), reduction)


@composed()
def squared_error(prediction: Tensor | Array, target: Any, reduction: str = "mean") -> Any:
    """(prediction - target)^2, averaged ("mean"), added ("sum"), or as it is ("none").

    Raises:
        ShapeError: prediction and target have different shapes; broadcasting here hides mistakes.
    """
    _check_reduction("squared_error", reduction)
    _check_shapes("squared_error", "prediction", prediction, target)
    return _reduce(np.square(prediction - target), reduction)


@primitive(vjps=[lambda g, y, x, delta: g * np.clip(x, -delta, delta)], traits=Traits(elementwise=True, alias="new"))
def huber_of(x: Array, delta: float = 1.0) -> Array:
    """x^2 / 2 where |x| <= delta, and delta * (|x| - delta / 2) beyond; elementwise."""
    size = np.abs(x)
    return np.where(size <= delta, 0.5 * x * x, delta * (size - 0.5 * delta))


@composed()
def huber(prediction: Tensor | Array, target: Any, delta: float = 1.0, reduction: str = "mean") -> Any:
    """The Huber loss of prediction - target: a parabola up to `delta`, straight lines beyond (Huber, 1964).

    Raises:
        ShapeError: prediction and target have different shapes.
        InputError: `delta` is not a positive number.
    """
    _check_reduction("huber", reduction)
    _check_shapes("huber", "prediction", prediction, target)
    if not isinstance(delta, (int, float)) or not delta > 0:
        raise InputError(f"huber: got delta={delta!r}, expected a positive number")
    return _reduce(huber_of(prediction - target, delta), reduction)


def _check_reduction(caller: str, reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise InputError(f"{caller}: got reduction={reduction!r}, expected one of {', '.join(map(repr, _REDUCTIONS))}")


def _check_shapes(caller: str, name: str, given: Any, target: Any) -> None:
    shape, expected = np.shape(raw(given)), np.shape(raw(target))
    if shape != expected:
        raise ShapeError(f"{caller}: {name} {shape} and target {expected} differ; reshape one of them")


def _reduce(losses: Any, reduction: str) -> Any:
    if reduction == "none" or np.ndim(raw(losses)) == 0:
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


__all__ = ["binary_cross_entropy_with_logits", "huber", "softmax_cross_entropy", "squared_error"]
