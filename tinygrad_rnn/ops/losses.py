"""Losses, written so that no intermediate result overflows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, InputError, ShapeError
from ..primitive import primitive
from ..tensor import Array, Tensor, raw

_REDUCTIONS = ("mean", "sum", "none")


def _softmax(x: Any) -> Any:
    """Along the last axis; shifting by the maximum changes nothing but the range."""
    e = np.exp(x - np.max(raw(x), axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def _one_hot(targets: Any, like: Any) -> Array:
    classes = raw(targets)
    return (np.arange(like.shape[-1]) == classes[..., None]).astype(like.dtype)


@primitive(vjps=[lambda g, y, x, targets: np.expand_dims(g, -1) * (_softmax(x) - _one_hot(targets, x)), None])
def cross_entropy_of_classes(logits: Array, targets: Array) -> Array:
    """-log softmax(logits)[target] for each row: (..., C) and integers (...) -> (...)."""
    shifted = logits - np.max(logits, axis=-1, keepdims=True)
    picked = np.take_along_axis(shifted, targets[..., None], axis=-1)[..., 0]
    return np.log(np.sum(np.exp(shifted), axis=-1)) - picked


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
    if classes.size and not (classes.min() >= 0 and classes.max() < shape[-1]):
        raise ShapeError(
            f"softmax_cross_entropy: targets run from {classes.min()} to {classes.max()}, and there are "
            f"{shape[-1]} classes, numbered from 0"
        )
    return _reduce(cross_entropy_of_classes(logits, targets if isinstance(targets, Tensor) else classes), reduction)


def squared_error(prediction: Tensor | Array, target: Any, reduction: str = "mean") -> Any:
    """(prediction - target)^2, averaged ("mean"), added ("sum"), or as it is ("none").

    Raises:
        ShapeError: prediction and target have different shapes; broadcasting here hides mistakes.
    """
    _check_reduction("squared_error", reduction)
    given, expected = np.shape(raw(prediction)), np.shape(raw(target))
    if given != expected:
        raise ShapeError(f"squared_error: prediction {given} and target {expected} differ; reshape one of them")
    difference = prediction - target
    return _reduce(difference * difference, reduction)


def _check_reduction(caller: str, reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise InputError(f"{caller}: got reduction={reduction!r}, expected one of {', '.join(map(repr, _REDUCTIONS))}")


def _reduce(losses: Any, reduction: str) -> Any:
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()
