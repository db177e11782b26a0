"""Operations that join tensors, and that cut one into parts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..core.arguments import Size
from ..core.primitive import composed, primitive
from ..core.tensor import Array, Tensor, numeric, raw
from ..core.traits import Traits
from ..errors import ShapeError
from .axes import in_front_of, lift_along, lift_made


def _by_concatenate(g: Any, y: Any, xs: Sequence[Any], axis: int | None) -> list[Any]:
    if axis is None:
        ends = np.cumsum([np.size(x) for x in xs])
        return [np.reshape(g[end - np.size(x) : end], np.shape(x)) for x, end in zip(xs, ends, strict=True)]
    before = in_front_of(axis, g)
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
    before = in_front_of(axis, g)
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
def split(x: Any, indices_or_sections: Size | Sequence[int], axis: int = 0) -> list[Any]:
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
    before = in_front_of(axis, x)
    return [x[before + (slice(int(a), int(b)),)] for a, b in pairwise(cuts)]


@composed(of=np.atleast_1d)
def atleast_1d(*xs: Any) -> Any:
    """Each operand with an axis if it is a scalar; several give a tuple."""
    return _each(xs, lambda x: np.reshape(x, 1) if np.ndim(x) == 0 else x)


@composed(of=np.atleast_2d)
def atleast_2d(*xs: Any) -> Any:
    """Each operand with axes of length 1 in front, up to two; several give a tuple."""
    return _each(xs, lambda x: np.reshape(x, (1, -1)) if np.ndim(x) < 2 else x)


@composed(of=np.atleast_3d)
def atleast_3d(*xs: Any) -> Any:
    """Each operand with three axes at least: (n,) becomes (1, n, 1) and (m, n) becomes (m, n, 1)."""
    return _each(np.atleast_2d(*xs) if len(xs) > 1 else [np.atleast_2d(*xs)], _deeper)


def _deeper(x: Any) -> Any:
    return np.expand_dims(x, -1) if np.ndim(x) < 3 else x


def _numbers(x: Any, what: str) -> Any:
    """x, a tensor or an array of numbers."""
    return x if isinstance(x, Tensor) else numeric(x, what)


def _each(xs: Sequence[Any], change: Any) -> Any:
    changed = tuple(change(_numbers(x, "atleast")) for x in xs)
    return changed[0] if len(changed) == 1 else changed


@composed(of=np.array_split)
def array_split(x: Any, indices_or_sections: Size | Sequence[int], axis: int = 0) -> list[Any]:
    """x cut along `axis` into so many parts, the first ones longer by one if need be, or before the given indices."""
    if not isinstance(indices_or_sections, (int, np.integer)):
        return split(x, indices_or_sections, axis)
    each, longer = divmod(np.shape(raw(x))[axis], indices_or_sections)
    return split(x, [i * each + min(i, longer) for i in range(1, indices_or_sections)], axis)


@composed(of=np.vsplit)
def vsplit(x: Any, indices_or_sections: Size | Sequence[int]) -> list[Any]:
    """x cut along its first axis."""
    return split(x, indices_or_sections, 0)


@composed(of=np.hsplit)
def hsplit(x: Any, indices_or_sections: Size | Sequence[int]) -> list[Any]:
    """x cut along its second axis, a vector along its only one."""
    return split(x, indices_or_sections, 0 if np.ndim(raw(x)) == 1 else 1)


@composed(of=np.dsplit)
def dsplit(x: Any, indices_or_sections: Size | Sequence[int]) -> list[Any]:
    """x cut along its third axis."""
    return split(x, indices_or_sections, 2)


@composed(of=np.hstack)
def hstack(xs: Sequence[Any]) -> Any:
    """Tensors joined along their second axis, vectors along their only one."""
    parts = [np.atleast_1d(x) for x in xs]
    return np.concatenate(parts, axis=0 if np.ndim(raw(parts[0])) == 1 else 1)


@composed(of=np.vstack)
def vstack(xs: Sequence[Any]) -> Any:
    """Tensors joined along their first axis, vectors as rows."""
    return np.concatenate([np.atleast_2d(x) for x in xs], axis=0)


@composed(of=np.dstack)
def dstack(xs: Sequence[Any]) -> Any:
    """Tensors joined along their third axis, made if need be."""
    return np.concatenate([np.atleast_3d(x) for x in xs], axis=2)


@composed(of=np.block)
def block(arrays: Any) -> Any:
    """One tensor of blocks in nested lists: the innermost are joined along the last axis, the others in front of it."""
    depth, ndim = _depth(arrays), 0
    if depth == 0:
        return _numbers(arrays, "block")
    stack = [arrays]
    while stack:
        x = stack.pop()
        stack += x if isinstance(x, list) else []
        ndim = ndim if isinstance(x, list) else int(np.maximum(ndim, np.ndim(raw(x))))
    return _block(arrays, depth, int(np.maximum(depth, ndim)))


def _depth(x: Any) -> int:
    return 1 + _depth(x[0]) if isinstance(x, list) and x else 0


def _block(x: Any, depth: int, ndim: int) -> Any:
    if not isinstance(x, list):
        return np.reshape(x, (1,) * (ndim - np.ndim(raw(x))) + np.shape(raw(x)))
    return np.concatenate([_block(each, depth - 1, ndim) for each in x], axis=-depth)


@composed(of=np.column_stack)
def column_stack(xs: Sequence[Any]) -> Any:
    """Vectors as the columns of a matrix; matrices are joined along their second axis."""
    return np.concatenate([np.reshape(x, (-1, 1)) if np.ndim(raw(x)) < 2 else x for x in xs], axis=1)


@composed(of=getattr(np, "unstack", None))  # it came with NumPy 2.1
def unstack(x: Any, *, axis: int = 0) -> Any:
    """The parts of x along `axis`, each without it: what `stack` joins; a tuple."""
    x = np.moveaxis(_numbers(x, "unstack"), axis, 0)
    return tuple(x[i] for i in range(len(x)))


@composed(of=np.append)
def append(x: Any, values: Any, axis: int | None = None) -> Any:
    """`values` joined to x along `axis`; None joins both flattened."""
    return np.concatenate([x, values], axis=axis)


__all__ = ["append", "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "block", "column_stack", "concatenate"]
__all__ += ["dsplit", "dstack", "hsplit", "hstack", "split", "stack", "unstack", "vsplit", "vstack"]
