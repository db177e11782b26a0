"""Reductions over axes: `axis` is an integer, a tuple, or None for all; `keepdims` leaves length-1 axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..primitive import primitive
from ..tensor import Array, registry

Axis = int | tuple[int, ...] | None


def _stretch(g: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """Give a reduced gradient its axes back, broadcast over what was reduced."""
    return np.broadcast_to(_with_axes(g, x, axis, keepdims), x.shape)


def _with_axes(reduced: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    if keepdims or x.ndim == 0:
        return reduced
    kept = [1 if i in _axes(axis, x.ndim) else n for i, n in enumerate(x.shape)]
    return np.reshape(reduced, kept)


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(i % ndim for i in (axis if isinstance(axis, tuple) else (axis,)))


def _count(x: Any, axis: Axis) -> int:
    return math.prod(x.shape[i] for i in _axes(axis, x.ndim))


@primitive(vjps=[lambda g, y, x, axis, keepdims: _stretch(g, x, axis, keepdims)], of=np.sum)
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The sum over `axis`."""
    return np.sum(x, axis=axis, keepdims=keepdims)


@primitive(vjps=[lambda g, y, x, axis, keepdims: _stretch(g, x, axis, keepdims) / _count(x, axis)], of=np.mean)
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The mean over `axis`."""
    return np.mean(x, axis=axis, keepdims=keepdims)


def _by_max(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    hit = x == _with_axes(y, x, axis, keepdims)
    share = hit / np.sum(hit, axis=axis, keepdims=True)
    return _with_axes(g, x, axis, keepdims) * share.astype(x.dtype)


@primitive(vjps=[_by_max], of=np.max)
def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The maximum over `axis`; equal maxima share the gradient evenly."""
    return np.max(x, axis=axis, keepdims=keepdims)


registry[np.amax] = max
