"""Operations that move or repeat entries without changing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.arguments import whole
from ..core.primitive import composed, primitive
from ..core.tensor import Array, Axis, raw, registry
from ..core.traits import Attrs, Traits
from ..core.traits import Shape as Dims
from ..errors import InputError
from .axes import axes_of, behind, in_front_of, lift_made, lift_over, lift_shape

Shape = int | Sequence[int]


@primitive(
    vjps=[lambda g, y, x, shape: np.reshape(g, x.shape)],
    of=np.reshape,
    traits=Traits(moves=True, linear=True, lift=lift_shape, backward=("g, reshaped",)),
)
def reshape(x: Array, shape: Shape) -> Array:
    """The same entries in another shape of the same size; one length may be -1."""
    return np.reshape(x, shape)


@reshape.extend
def _reshape(x: Any, shape: Shape, order: str = "C", copy: bool | None = None) -> Any:
    if order not in ("C", "F"):
        raise InputError(f"reshape: got order={order!r}, expected 'C' (the last axis runs fastest) or 'F' (the first)")
    if order == "C":
        return reshape(x, shape)
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    return np.transpose(np.reshape(np.transpose(x), lengths[::-1]))


@composed(of=np.ravel)
def ravel(x: Any, order: str = "C") -> Any:
    """The same entries along one axis; order "F" runs along the first axis fastest."""
    return reshape(x, -1) if order == "C" else reshape(x, -1, order=order)


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


@composed(of=np.roll)
def roll(x: Any, shift: int | Sequence[int], axis: Axis = None) -> Any:
    """The entries moved on by `shift` along `axis`, what leaves at the end entering in front; None: flattened."""
    if axis is None:
        return np.reshape(np.roll(np.reshape(x, -1), shift, 0), np.shape(raw(x)))
    for by, along in np.broadcast(shift, axis):
        length, before = np.shape(raw(x))[along], in_front_of(along, x)
        cut = int(-by % length) if length else 0
        x = np.concatenate([x[before + (slice(cut, None),)], x[before + (slice(cut),)]], axis=int(along))
    return x


@composed(of=np.diff)
def diff(x: Any, n: int = 1, axis: int = -1) -> Any:
    """The differences of neighbours along `axis`, taken n times; the axis is n shorter."""
    before = in_front_of(axis, x)
    for _ in range(min(whole(n, "diff: n"), np.shape(raw(x))[axis])):  # after so many it is empty
        x = x[before + (slice(1, None),)] - x[before + (slice(-1),)]
    return x


@composed(of=np.flipud)
def flipud(x: Any) -> Any:
    """The entries in reverse order along the first axis."""
    return np.flip(x, 0)


@composed(of=np.fliplr)
def fliplr(x: Any) -> Any:
    """The entries in reverse order along the second axis."""
    return np.flip(x, 1)


@composed(of=np.rot90)
def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """x turned by k quarters in the plane of two axes, from the first towards the second."""
    first, second = axes_of(axes, np.ndim(raw(x)))
    if k % 4 == 0:
        return x
    if k % 4 == 2:
        return np.flip(np.flip(x, first), second)
    if k % 4 == 1:
        return np.swapaxes(np.flip(x, second), first, second)
    return np.flip(np.swapaxes(x, first, second), second)


@composed(of=np.rollaxis)
def rollaxis(x: Any, axis: int, start: int = 0) -> Any:
    """x with `axis` moved in front of the axis that is at `start`."""
    n = np.ndim(raw(x))
    (axis,), start = axes_of(axis, n), start + n if start < 0 else start
    return np.moveaxis(x, axis, start - (axis < start))


@composed(of=np.broadcast_arrays)
def broadcast_arrays(*xs: Any) -> Any:
    """The operands, each broadcast to the shape that they have together; a tuple."""
    shape = np.broadcast_shapes(*(np.shape(raw(x)) for x in xs))
    return tuple(np.broadcast_to(x, shape) for x in xs)


@composed(of=np.meshgrid)
def meshgrid(*xs: Any, indexing: str = "xy", sparse: bool = False, copy: bool = True) -> Any:
    """The coordinates of a grid, an array for each of its vectors; a tuple.

    Args:
        xs: vectors or scalars.
        indexing: "xy" puts the second vector along the first axis, "ij" each along its own.
        sparse: leave axes of length 1 instead of repeating.
        copy: ignored: results are not written to.
    """
    if indexing not in ("xy", "ij"):
        raise InputError(f"meshgrid: got indexing={indexing!r}, expected 'xy' or 'ij'")
    place = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        place[:2] = 1, 0
    grid = [np.reshape(x, [-1 if i == at else 1 for i in range(len(xs))]) for at, x in zip(place, xs, strict=True)]
    return tuple(grid) if sparse else np.broadcast_arrays(*grid)


registry[np.permute_dims] = transpose

__all__ = ["broadcast_arrays", "broadcast_to", "diff", "expand_dims", "flip", "fliplr", "flipud", "meshgrid"]
__all__ += ["moveaxis", "pad", "ravel", "repeat", "reshape", "roll", "rollaxis", "rot90", "squeeze", "swapaxes", "tile"]
__all__ += ["transpose"]
