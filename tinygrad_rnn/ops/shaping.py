"""Operations that move or repeat entries without changing them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..core.primitive import composed, primitive
from ..core.tensor import Array, Axis, raw, registry
from ..errors import ShapeError

Shape = int | Sequence[int]


@primitive(vjps=[lambda g, y, x, shape: np.reshape(g, x.shape)], of=np.reshape)
def reshape(x: Array, shape: Shape) -> Array:
    """The same entries in another shape of the same size; one length may be -1."""
    return np.reshape(x, shape)


@composed(of=np.ravel)
def ravel(x: Any) -> Any:
    """The same entries along one axis."""
    return np.reshape(x, -1)


@primitive(vjps=[lambda g, y, x, axis: np.reshape(g, x.shape)], of=np.expand_dims)
def expand_dims(x: Array, axis: int | tuple[int, ...]) -> Array:
    """x with an axis of length 1 inserted at `axis`."""
    return np.expand_dims(x, axis)


@primitive(vjps=[lambda g, y, x, axis: np.reshape(g, x.shape)], of=np.squeeze)
def squeeze(x: Array, axis: Axis = None) -> Array:
    """x without its axes of length 1, or without those of `axis`."""
    return np.squeeze(x, axis)


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


@primitive(vjps=[lambda g, y, x, source, destination: np.moveaxis(g, destination, source)], of=np.moveaxis)
def moveaxis(x: Array, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """x with the axes `source` at the places `destination`, the others in order."""
    return np.moveaxis(x, source, destination)


@primitive(vjps=[lambda g, y, x, axis: np.flip(g, axis)], of=np.flip)
def flip(x: Array, axis: Axis = None) -> Array:
    """The entries in reverse order along `axis`, by default along all axes."""
    return np.flip(x, axis)


@primitive(vjps=[lambda g, y, x, shape: g], of=np.broadcast_to)
def broadcast_to(x: Array, shape: Shape) -> Array:
    """x repeated along new axes and axes of length 1, as NumPy broadcasts."""
    return np.broadcast_to(x, shape)


@composed(of=np.tile)
def tile(x: Any, reps: int | Sequence[int]) -> Any:
    """x repeated whole, reps[i] times along axis i; missing entries of either are 1 in front."""
    times = [int(n) for n in np.atleast_1d(reps)]
    shape = np.shape(raw(x))
    times = [1] * (len(shape) - len(times)) + times
    shape = (1,) * (len(times) - len(shape)) + shape
    apart = [n for length in shape for n in (1, length)]
    spread = [n for pair in zip(times, shape, strict=True) for n in pair]
    return np.reshape(np.broadcast_to(np.reshape(x, apart), spread), [n * m for n, m in zip(times, shape, strict=True)])


@composed(of=np.repeat)
def repeat(x: Any, repeats: int | Sequence[int] | Array, axis: int | None = None) -> Any:
    """Each entry along `axis` (of the flattened x by default) repeated in place, all alike or repeats[i] times."""
    if axis is None:
        x, axis = np.reshape(x, -1), 0
    return np.take(x, np.repeat(np.arange(np.shape(raw(x))[axis]), raw(repeats)), axis=axis)


def _widths(x: Any, pad_width: Any) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in np.broadcast_to(pad_width, (x.ndim, 2))]


def _by_pad(g: Any, y: Any, x: Any, pad_width: Any, mode: str, constant_values: float) -> Any:
    return g[tuple(slice(a, a + n) for (a, _), n in zip(_widths(x, pad_width), x.shape, strict=True))]


@primitive(vjps=[_by_pad], of=np.pad)
def pad(x: Array, pad_width: Any, mode: str = "constant", *, constant_values: float = 0) -> Array:
    """x with `constant_values` around it.

    Args:
        x: any shape.
        pad_width: ((before, after), ...) for each axis, or one pair or one number for all.
        mode: "constant", the only one with a rule.
        constant_values: the number to pad with.
    """
    if mode != "constant":
        raise ValueError(f"mode={mode!r} has no rule, expected 'constant'")
    if np.asarray(pad_width).dtype.kind not in "iu":
        raise TypeError(f"pad_width={pad_width!r} should hold integers")
    return np.pad(x, _widths(x, pad_width), constant_values=constant_values) if x.ndim else np.array(x)


def _by_concatenate(g: Any, y: Any, xs: Sequence[Any], axis: int | None) -> list[Any]:
    if axis is None:
        ends = np.cumsum([np.size(x) for x in xs])
        return [np.reshape(g[end - np.size(x) : end], np.shape(x)) for x, end in zip(xs, ends, strict=True)]
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


@composed(of=np.split)
def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """x cut along `axis` into so many equal parts, or before each of the given indices.

    Raises:
        ShapeError: the axis does not divide into that many equal parts.
    """
    n = np.shape(raw(x))[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        if indices_or_sections < 1 or n % indices_or_sections:
            raise ShapeError(f"split: axis {axis} of length {n} does not divide into {indices_or_sections} equal parts")
        cuts = range(0, n + 1, n // indices_or_sections) if n else [0] * (indices_or_sections + 1)
    else:
        cuts = [0, *indices_or_sections, n]
    before = (slice(None),) * (axis % np.ndim(raw(x)))
    return [x[before + (slice(int(a), int(b)),)] for a, b in pairwise(cuts)]


registry[np.permute_dims] = transpose

__all__ = [
    "broadcast_to",
    "concatenate",
    "expand_dims",
    "flip",
    "moveaxis",
    "pad",
    "ravel",
    "repeat",
    "reshape",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "transpose",
]
