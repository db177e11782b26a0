"""Operations that move or repeat entries without changing them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..core.primitive import composed, primitive
from ..core.tensor import Array, Axis, raw, registry
from ..core.traits import Attrs, Traits
from ..core.traits import Shape as Dims
from ..errors import InputError, ShapeError
from .axes import behind, lift_along, lift_made, lift_over, lift_shape

Shape = int | Sequence[int]


@primitive(
    vjps=[lambda g, y, x, shape: np.reshape(g, x.shape)],
    of=np.reshape,
    traits=Traits(moves=True, linear=True, lift=lift_shape, backward=("g, reshaped",)),
)
def reshape(x: Array, shape: Shape) -> Array:
    """The same entries in another shape of the same size; one length may be -1."""
    return np.reshape(x, shape)


@composed(of=np.ravel)
def ravel(x: Any) -> Any:
    """The same entries along one axis."""
    return np.reshape(x, -1)


@primitive(
    vjps=[lambda g, y, x, axis: np.reshape(g, x.shape)],
    of=np.expand_dims,
    traits=Traits(alias="view", moves=True, linear=True, lift=lift_made, backward=("g, reshaped",)),
)
def expand_dims(x: Array, axis: int | tuple[int, ...]) -> Array:
    """x with an axis of length 1 inserted at `axis`."""
    return np.expand_dims(x, axis)


def _lift_squeeze(attrs: Attrs, shapes: Sequence[Dims], shape: Dims, length: int) -> Attrs:
    axis, x = attrs["axis"], shapes[0]
    if axis is None:
        axis = tuple(i for i, n in enumerate(x) if n == 1)
    return {"axis": behind(axis, len(x))}


@primitive(
    vjps=[lambda g, y, x, axis: np.reshape(g, x.shape)],
    of=np.squeeze,
    traits=Traits(alias="view", moves=True, linear=True, lift=_lift_squeeze, backward=("g, reshaped",)),
)
def squeeze(x: Array, axis: Axis = None) -> Array:
    """x without its axes of length 1, or without those of `axis`."""
    return np.squeeze(x, axis)


def _lift_transpose(attrs: Attrs, shapes: Sequence[Dims], shape: Dims, length: int) -> Attrs:
    n, axes = len(shape), attrs["axes"]
    return {"axes": (0, *(i % n + 1 for i in (reversed(range(n)) if axes is None else axes)))}


@primitive(
    vjps=[lambda g, y, x, axes: np.transpose(g, None if axes is None else _inverse(axes))],
    of=np.transpose,
    traits=Traits(alias="view", moves=True, linear=True, lift=_lift_transpose, formula="{0}ᵀ", backward=("gᵀ",)),
)
def transpose(x: Array, axes: Sequence[int] | None = None) -> Array:
    """The axes in the order of `axes`, by default reversed."""
    return np.transpose(x, axes)


def _inverse(axes: Sequence[int]) -> list[int]:
    return [int(i) for i in np.argsort([axis % len(axes) for axis in axes])]


def _lift_swapaxes(attrs: Attrs, shapes: Sequence[Dims], shape: Dims, length: int) -> Attrs:
    return {name: behind(axis, len(shape)) for name, axis in attrs.items()}


@primitive(
    vjps=[lambda g, y, x, axis1, axis2: np.swapaxes(g, axis1, axis2)],
    of=np.swapaxes,
    traits=Traits(alias="view", moves=True, linear=True, lift=_lift_swapaxes, formula="{0}ᵀ", backward=("gᵀ",)),
)
def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    """Two axes exchanged."""
    return np.swapaxes(x, axis1, axis2)


@primitive(
    vjps=[lambda g, y, x, source, destination: np.moveaxis(g, destination, source)],
    of=np.moveaxis,
    traits=Traits(alias="view", moves=True, linear=True, lift=_lift_swapaxes),
)
def moveaxis(x: Array, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """x with the axes `source` at the places `destination`, the others in order."""
    return np.moveaxis(x, source, destination)


@primitive(
    vjps=[lambda g, y, x, axis: np.flip(g, axis)],
    of=np.flip,
    traits=Traits(moves=True, linear=True, lift=lift_over, backward=("g, reversed",)),
)
def flip(x: Array, axis: Axis = None) -> Array:
    """The entries in reverse order along `axis`, by default along all axes."""
    return np.flip(x, axis)


def _lift_broadcast(attrs: Attrs, shapes: Sequence[Dims], shape: Dims, length: int) -> Attrs | None:
    return {"shape": (length, *shape)} if len(shapes[0]) == len(shape) else None


@primitive(
    vjps=[lambda g, y, x, shape: g],
    of=np.broadcast_to,
    traits=Traits(alias="view", moves=True, linear=True, lift=_lift_broadcast, backward=("g",)),
)
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


def _lift_pad(attrs: Attrs, shapes: Sequence[Dims], shape: Dims, length: int) -> Attrs:
    widths = np.broadcast_to(attrs["pad_width"], (len(shape), 2)).tolist()
    return {**attrs, "pad_width": ((0, 0), *map(tuple, widths))}


@primitive(
    vjps=[_by_pad],
    of=np.pad,
    traits=Traits(alias="new", moves=True, lift=_lift_pad, backward=("the inner part of g",)),
)
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


@primitive(
    vjps=_by_concatenate,
    of=np.concatenate,
    traits=Traits(alias="new", moves=True, linear=True, lift=lift_along, symbol="concat", backward=("the part of g",)),
)
def concatenate(xs: Sequence[Array], axis: int | None = 0) -> Array:
    """Tensors joined along an existing axis; None joins them flattened."""
    return np.concatenate(xs, axis=axis)


def _by_stack(g: Any, y: Any, xs: Sequence[Any], axis: int) -> list[Any]:
    before = (slice(None),) * (axis % g.ndim)
    return [g[before + (i,)] for i in range(len(xs))]


@primitive(
    vjps=_by_stack,
    of=np.stack,
    traits=Traits(alias="new", moves=True, linear=True, lift=lift_made, backward=("the slice of g",)),
)
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


@composed(of=np.atleast_1d)
def atleast_1d(*xs: Any) -> Any:
    """Each operand with an axis if it is a scalar; several give a tuple."""
    return _each(xs, lambda x: np.reshape(x, 1) if np.ndim(raw(x)) == 0 else x)


@composed(of=np.atleast_2d)
def atleast_2d(*xs: Any) -> Any:
    """Each operand with axes of length 1 in front, up to two; several give a tuple."""
    return _each(xs, lambda x: np.reshape(x, (1, -1)) if np.ndim(raw(x)) < 2 else x)


@composed(of=np.atleast_3d)
def atleast_3d(*xs: Any) -> Any:
    """Each operand with three axes at least: (n,) becomes (1, n, 1) and (m, n) becomes (m, n, 1)."""
    return _each(np.atleast_2d(*xs) if len(xs) > 1 else [np.atleast_2d(*xs)], _deeper)


def _deeper(x: Any) -> Any:
    return np.expand_dims(x, -1) if np.ndim(raw(x)) < 3 else x


def _each(xs: Sequence[Any], change: Any) -> Any:
    changed = tuple(change(x) for x in xs)
    return changed[0] if len(changed) == 1 else changed


@composed(of=np.hstack)
def hstack(xs: Sequence[Any]) -> Any:
    """Tensors joined along their second axis, vectors along their only one."""
    parts = [np.atleast_1d(x) for x in xs]
    return np.concatenate(parts, axis=0 if np.ndim(raw(parts[0])) == 1 else 1)


@composed(of=np.vstack)
def vstack(xs: Sequence[Any]) -> Any:
    """Tensors joined along their first axis, vectors as rows."""
    return np.concatenate([np.atleast_2d(x) for x in xs], axis=0)


@composed(of=np.column_stack)
def column_stack(xs: Sequence[Any]) -> Any:
    """Vectors as the columns of a matrix; matrices are joined along their second axis."""
    return np.concatenate([np.reshape(x, (-1, 1)) if np.ndim(raw(x)) < 2 else x for x in xs], axis=1)


@composed(of=np.unstack)
def unstack(x: Any, *, axis: int = 0) -> Any:
    """The parts of x along `axis`, each without it: what `stack` joins; a tuple."""
    return tuple(np.moveaxis(x, axis, 0)[i] for i in range(np.shape(raw(x))[axis]))


@composed(of=np.append)
def append(x: Any, values: Any, axis: int | None = None) -> Any:
    """`values` joined to x along `axis`; None joins both flattened."""
    return np.concatenate([x, values], axis=axis)


@composed(of=np.roll)
def roll(x: Any, shift: int | Sequence[int], axis: Axis = None) -> Any:
    """The entries moved on by `shift` along `axis`, what leaves at the end entering in front; None: flattened."""
    if axis is None:
        return np.reshape(np.roll(np.reshape(x, -1), shift, 0), np.shape(raw(x)))
    for by, along in np.broadcast(shift, axis):
        length, before = np.shape(raw(x))[along], (slice(None),) * (along % np.ndim(raw(x)))
        cut = int(-by % length) if length else 0
        x = np.concatenate([x[before + (slice(cut, None),)], x[before + (slice(cut),)]], axis=int(along))
    return x


@composed(of=np.diff)
def diff(x: Any, n: int = 1, axis: int = -1) -> Any:
    """The differences of neighbours along `axis`, taken n times; the axis is n shorter."""
    if n < 0:
        raise InputError(f"diff: got n={n}, expected how often to take the difference, 0 or more")
    before = (slice(None),) * (axis % np.ndim(raw(x)))
    for _ in range(n):
        x = x[before + (slice(1, None),)] - x[before + (slice(-1),)]
    return x


registry[np.permute_dims] = transpose

__all__ = [
    "append",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_to",
    "column_stack",
    "concatenate",
    "diff",
    "expand_dims",
    "flip",
    "hstack",
    "moveaxis",
    "pad",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "transpose",
    "unstack",
    "vstack",
]
