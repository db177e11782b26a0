"""Indexing by slices, integer arrays and masks; an entry that is read twice accumulates both gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.array import getitem_key
from ..core.indexing import Patch, fill_key, split_key
from ..core.primitive import composed, primitive
from ..core.tensor import Array, Tensor, numeric, raw
from ..core.traits import Attrs, Shape, Traits
from ..errors import DTypeError, ShapeError
from .axes import in_front_of
from .ranges import in_range


def _by_getitem(g: Any, y: Any, operands: Sequence[Any], key: Any) -> list[Any]:
    return [Patch(g, key, tuple(operands[1:])), *[None] * (len(operands) - 1)]


def _lift_getitem(attrs: Attrs, shapes: Sequence[Shape], shape: Shape, length: int) -> Attrs | None:
    key = attrs["key"]
    return {"key": (slice(None), *(key if type(key) is tuple else (key,)))} if len(shapes) == 1 else None


@primitive(
    vjps=_by_getitem,
    name="getitem",
    traits=Traits(moves=True, linear=True, lift=_lift_getitem, backward=("g at that place, 0 elsewhere",)),
)
def getitem_p(operands: Sequence[Array], key: Any) -> Array:
    """The entries of `operands[0]` at `key`, whose arrays are the other operands."""
    return operands[0][fill_key(key, operands[1:])]


@composed(of=getitem_key)
def getitem(x: Array | Tensor, key: Any) -> Any:
    """x[key]: integers, slices, None, ..., and integer or boolean arrays."""
    template, arrays = split_key(key)
    return getitem_p.apply((x, *arrays), {"key": template})


@composed(of=np.take)
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The entries of x at `indices` along `axis` (of the flattened x by default).

    The result has the shape of x with that axis replaced by the shape of `indices`.
    """
    if axis is None:
        x, axis = np.reshape(x, -1), 0
    indices = indices if isinstance(indices, Tensor) else np.asarray(indices)
    if indices.dtype.kind == "b":
        raise DTypeError("take: got a mask, expected integers; write x[mask]")
    return getitem(x, in_front_of(axis, x) + (indices,))


@composed(of=np.take_along_axis)
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Any:
    """The entries at `indices`, which count along `axis` and whose other axes broadcast with those of x."""
    grid = list(np.indices(np.shape(raw(x)), sparse=True))
    if np.ndim(raw(indices)) != len(grid):
        raise ShapeError(f"take_along_axis: got {np.ndim(raw(indices))} axes of indices for {len(grid)} axes of x")
    grid[axis] = indices
    return getitem(x, tuple(grid))


@composed(of=np.sort)
def sort(x: Any, axis: int | None = -1) -> Any:
    """The entries in rising order along `axis` (None: of the flattened x); equal ones keep their order."""
    if axis is None:
        x, axis = np.reshape(x, -1), 0
    return np.take_along_axis(x, np.argsort(x, axis=axis, kind="stable"), axis)


@composed(of=np.partition)
def partition(x: Any, kth: int, axis: int | None = -1) -> Any:
    """The entries along `axis`, the one that belongs at place `kth` there, with no larger one before it."""
    if axis is None:
        x, axis = np.reshape(x, -1), 0
    return np.take_along_axis(x, np.argpartition(x, kth, axis=axis), axis)


@composed()
def embedding(indices: Any, weight: Any) -> Any:
    """The rows of a table: integers of any shape (...) and weight (V, D) -> (..., D).

    Raises:
        DTypeError: the indices are not integers.
        ShapeError: the weight is not a matrix, or an index is not one of its rows, 0 to V - 1.
    """
    rows, table = numeric(raw(indices), "embedding"), np.shape(raw(weight))
    if rows.dtype.kind not in "iu":
        raise DTypeError(f"embedding: indices have dtype {rows.dtype}, expected integers")
    if len(table) != 2:
        raise ShapeError(f"embedding: weight has shape {table}, expected (V, D), a row for each index")
    wrong = f"embedding: indices run from {{}} to {{}}, and the weight has rows 0 to {table[0] - 1}"
    return getitem(weight, in_range(indices if isinstance(indices, Tensor) else rows, 0, table[0] - 1, wrong))


__all__ = ["embedding", "getitem", "partition", "sort", "take", "take_along_axis"]
