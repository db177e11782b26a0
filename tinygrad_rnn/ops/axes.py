"""Axes: as integers that are not negative, and behind a new first axis (`Traits.lift`)."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.tensor import Axis
from ..core.traits import Attrs, Shape


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` as a tuple of non-negative integers."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(i % ndim for i in (axis if isinstance(axis, tuple) else (axis,)))


def behind(axis: int | Sequence[int], ndim: int) -> int | tuple[int, ...]:
    """The same axis or axes of an array of `ndim` axes, counted with a new one in front."""
    return axis % ndim + 1 if isinstance(axis, int) else tuple(int(i) % ndim + 1 for i in axis)


def lift_unchanged(attrs: Attrs, shapes: Sequence[Shape], shape: Shape, length: int) -> Attrs | None:
    """Where all attributes count from the last axis, or there are none."""
    return attrs


def lift_matrices(attrs: Attrs, shapes: Sequence[Shape], shape: Shape, length: int) -> Attrs | None:
    """Where the last two axes are a matrix and those in front of it may be any."""
    return attrs if len(shapes[0]) > 1 and len(set(map(len, shapes))) == 1 else None


def lift_over(attrs: Attrs, shapes: Sequence[Shape], shape: Shape, length: int) -> Attrs | None:
    """Where `axis` is one axis of the first operand, several, or None for all."""
    n, axis = len(shapes[0]), attrs["axis"]
    return {**attrs, "axis": tuple(range(1, n + 1)) if axis is None else behind(axis, n)} if n else None


def lift_along(attrs: Attrs, shapes: Sequence[Shape], shape: Shape, length: int) -> Attrs | None:
    """Where `axis` is one axis of the first operand, and None flattens, which cannot be done for many calls at once."""
    return None if attrs["axis"] is None else lift_over(attrs, shapes, shape, length)


def lift_made(attrs: Attrs, shapes: Sequence[Shape], shape: Shape, length: int) -> Attrs | None:
    """Where `axis` is an axis of the result that the operation makes."""
    return {**attrs, "axis": behind(attrs["axis"], len(shape))}


def lift_shape(attrs: Attrs, shapes: Sequence[Shape], shape: Shape, length: int) -> Attrs | None:
    """Where `shape` is that of the result."""
    return {**attrs, "shape": (length, *shape)}
