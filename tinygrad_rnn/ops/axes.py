"""Axes: as integers that are not negative, and behind a new first axis (`Traits.lift`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..core.tensor import Axis, raw
from ..core.traits import Attrs, Shape


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` as a tuple of non-negative integers.

    Raises:
        AxisError: there is no such axis.
        ValueError: one is named twice.
    """
    return tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim)


def behind(axis: int | Sequence[int], ndim: int) -> int | tuple[int, ...]:
    """The same axis or axes of an array of `ndim` axes, counted with a new one in front."""
    return axis % ndim + 1 if isinstance(axis, int) else tuple(int(i) % ndim + 1 for i in axis)


def in_front_of(axis: int, x: Any) -> tuple[slice, ...]:
    """What stands in front of the index of `axis` of x, such as x[:, :, i].

    Raises:
        AxisError: there is no such axis.
    """
    return (slice(None),) * normalize_axis_index(axis, np.ndim(raw(x)))


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
