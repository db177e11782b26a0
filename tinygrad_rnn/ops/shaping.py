"""Operations that move, repeat or select entries without changing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..patch import Patch, fill_key, split_key
from ..primitive import primitive
from ..tensor import Array, Tensor, getitem_key, registry

Shape = int | Sequence[int]


@primitive(vjps=[lambda g, y, x, shape: np.reshape(g, x.shape)], of=np.reshape)
def reshape(x: Array, shape: Shape) -> Array:
    """The same entries in another shape of the same size; one length may be -1."""
    return np.reshape(x, shape)


@primitive(vjps=[lambda g, y, x, axes: np.transpose(g, None if axes is None else _inverse(axes))], of=np.transpose)
def transpose(x: Array, axes: Sequence[int] | None = None) -> Array:
    """The axes in the order of `axes`, by default reversed."""
    return np.transpose(x, axes)


def _inverse(axes: Sequence[int]) -> list[int]:
    return [int(i) for i in np.argsort([axis % len(axes) for axis in axes])]


@primitive(vjps=[lambda g, y, x, axis1, axis2: np.swapaxes(g, axis1, axis2)], of=np.swapaxes)
def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    """Two axes exchanged."""
    return np.swapaxes(x, axis1, axis2)


@primitive(vjps=[lambda g, y, x, shape: g], of=np.broadcast_to)
def broadcast_to(x: Array, shape: Shape) -> Array:
    """x repeated along new axes and axes of length 1, as NumPy broadcasts."""
    return np.broadcast_to(x, shape)


@primitive(vjps=[lambda g, y, x, axis: np.reshape(g, x.shape)], of=np.expand_dims)
def expand_dims(x: Array, axis: int | tuple[int, ...]) -> Array:
    """x with an axis of length 1 inserted at `axis`."""
    return np.expand_dims(x, axis)


def _by_concatenate(g: Any, y: Any, xs: Sequence[Any], axis: int | None) -> list[Any]:
    if axis is None:
        ends = np.cumsum([np.size(x) for x in xs])
        return [np.reshape(g[end - np.size(x) : end], x.shape) for x, end in zip(xs, ends, strict=True)]
    before = (slice(None),) * (axis % g.ndim)
    lengths = [x.shape[axis] for x in xs]
    ends = np.cumsum(lengths)
    return [g[before + (slice(end - n, end),)] for n, end in zip(lengths, ends, strict=True)]


@primitive(vjps=_by_concatenate, of=np.concatenate)
def concatenate(xs: Sequence[Array], axis: int | None = 0) -> Array:
    """Tensors joined along an existing axis; None joins them flattened."""
    return np.concatenate(xs, axis=axis)


def _by_stack(g: Any, y: Any, xs: Sequence[Any], axis: int) -> list[Any]:
    before = (slice(None),) * (axis % g.ndim)
    return [g[before + (i,)] for i in range(len(xs))]


@primitive(vjps=_by_stack, of=np.stack)
def stack(xs: Sequence[Array], axis: int = 0) -> Array:
    """Tensors of one shape joined along a new axis."""
    return np.stack(xs, axis=axis)


def _by_getitem(g: Any, y: Any, operands: Sequence[Any], key: Any) -> list[Any]:
    return [Patch(g, key, tuple(operands[1:])), *[None] * (len(operands) - 1)]


@primitive(vjps=_by_getitem, name="getitem")
def _getitem(operands: Sequence[Array], key: Any) -> Array:
    """The entries of `operands[0]` at `key`, whose arrays are the other operands."""
    return operands[0][fill_key(key, operands[1:])]


def getitem(x: Array | Tensor, key: Any) -> Any:
    """x[key]: integers, slices, None, ..., and integer or boolean arrays; repeated entries add their gradients."""
    template, arrays = split_key(key)
    return _getitem((x, *arrays), key=template)


registry[getitem_key] = getitem
