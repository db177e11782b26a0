"""Norms of vectors and matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.primitive import composed
from ..core.tensor import Array, Axis, Tensor, raw
from ..errors import DTypeError, InputError, ShapeError
from .axes import axes_of
from .reductions import euclidean


@composed(of=np.linalg.norm)
def norm(x: Array | Tensor, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """A norm of vectors along one axis, or of matrices along two; by default the Euclidean one of all entries.

    Where a norm of powers is 0 its gradient is 0, one of its subgradients, and so are its higher derivatives.

    Args:
        x: any shape.
        ord: None for the root of the sum of squares. Of vectors also a power p, inf or -inf (the largest or smallest
            entry) or 0 (how many are not 0, which has no gradient). Of matrices "fro", "nuc" (the sum of the singular
            values), 2 or -2 (the largest or smallest), 1 or -1 (sums of columns), inf or -inf (sums of rows).
        axis: over which; None takes all entries, and with `ord` needs a vector or a matrix.
        keepdims: leave axes of length 1.

    Raises:
        InputError: an `ord` that is none of these.
        ShapeError: an `ord`, and neither a vector nor a matrix.
    """
    if np.iscomplexobj(raw(x)):
        raise DTypeError("norm: got complex numbers, expected real ones; take np.abs first")
    if ord is None:
        return euclidean(x, axis, keepdims=keepdims)
    axes = axes_of(axis, np.ndim(raw(x)))
    if len(axes) == 1:
        return _of_vectors(x, ord, axes[0], keepdims)
    if len(axes) != 2:
        raise ShapeError(f"norm: got ord={ord!r} over {len(axes)} axes, expected one for vectors or two for matrices")
    return _of_matrices(x, ord, axes, keepdims)


def _of_vectors(x: Any, ord: Any, axis: int, keepdims: bool) -> Any:
    if not isinstance(ord, (int, float)):
        raise InputError(f"norm: got ord={ord!r} for vectors, expected a number")
    if ord == 2:
        return euclidean(x, axis, keepdims=keepdims)
    size = np.abs(x)
    if np.isinf(ord):
        return (np.max if ord > 0 else np.min)(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return np.sum(np.astype(np.not_equal(x, 0), raw(x).dtype), axis=axis, keepdims=keepdims)
    if ord == 1:
        return np.sum(size, axis=axis, keepdims=keepdims)
    powers = np.sum(size**ord, axis=axis, keepdims=keepdims)
    return np.where(powers == 0, 0, np.where(powers == 0, 1, powers) ** (1 / ord))


def _of_matrices(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if ord == "fro":
        return euclidean(x, axes, keepdims=keepdims)
    moved = np.moveaxis(x, axes, (-2, -1))
    if ord in (1, -1, np.inf, -np.inf):
        sums = np.sum(np.abs(moved), axis=-2 if abs(ord) == 1 else -1)
        y = (np.max if ord > 0 else np.min)(sums, axis=-1)
    elif ord in ("nuc", 2, -2):
        values = np.linalg.svd(moved, compute_uv=False)
        y = np.sum(values, axis=-1) if ord == "nuc" else values[..., 0 if ord == 2 else -1]
    else:
        raise InputError(f"norm: got ord={ord!r} for matrices, expected 'fro', 'nuc', 1, -1, 2, -2, inf or -inf")
    return np.expand_dims(y, axes) if keepdims else y


@composed(of=np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of all entries, or along one axis or several taken as one."""
    axes = axes_of(axis, np.ndim(raw(x)))
    if len(axes) == 1:
        return norm(x, ord, axes[0], keepdims)
    moved = np.moveaxis(x, axes, range(len(axes)))
    rest = np.shape(raw(moved))[len(axes) :]
    y = norm(np.reshape(moved, (-1, *rest)), ord, 0)
    return np.expand_dims(y, axes) if keepdims else y


@composed(of=np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of each matrix."""
    return norm(x, ord, (-2, -1), keepdims)


__all__ = ["matrix_norm", "norm", "vector_norm"]
