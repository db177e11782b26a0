"""Transposes, triangles and diagonals of the matrices along the last two axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.primitive import composed, primitive
from ..core.tensor import Array, raw, registry
from ..core.traits import Traits
from .axes import lift_matrices


@composed(of=np.matrix_transpose)
def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged."""
    return x.T if np.ndim(raw(x)) == 2 else np.swapaxes(x, -1, -2)


_TRIANGLE = Traits(alias="new", lift=lift_matrices, linear=True, moves=True)


@primitive(vjps=[lambda g, y, x, k: np.triu(g, k)], of=np.triu, traits=_TRIANGLE)
def triu(x: Array, k: int = 0) -> Array:
    """The entries of each matrix on and above its k-th diagonal, zeros below."""
    return np.triu(x, k)


@primitive(vjps=[lambda g, y, x, k: np.tril(g, k)], of=np.tril, traits=_TRIANGLE)
def tril(x: Array, k: int = 0) -> Array:
    """The entries of each matrix on and below its k-th diagonal, zeros above."""
    return np.tril(x, k)


@composed(of=np.diagonal)
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The entries x_(i, i + offset) of the matrices along two axes, as a new last axis."""
    matrices = np.moveaxis(x, (axis1, axis2), (-2, -1))
    n, m = np.shape(raw(matrices))[-2:]
    i = np.arange(np.maximum(-offset, 0), np.minimum(n, m - offset))
    return matrices[..., i, i + offset]


@composed(of=np.diag)
def diag(x: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix; or the matrix with a vector on its k-th diagonal and zeros elsewhere."""
    if np.ndim(raw(x)) != 1:
        return np.diagonal(x, k)
    row = np.pad(x, (k, 0) if k > 0 else (0, -k))
    return np.where(np.eye(np.size(raw(row)), k=k, dtype=bool), row, np.zeros((), raw(row).dtype))


@composed(of=np.trace)
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal."""
    return np.sum(np.diagonal(x, offset, axis1, axis2), axis=-1)


@composed(of=np.diagflat)
def diagflat(x: Any, k: int = 0) -> Any:
    """The matrix with the entries of x, flattened, on its k-th diagonal and zeros elsewhere."""
    return np.diag(np.reshape(x, -1), k)


@composed(of=np.linalg.diagonal)
def matrix_diagonal(x: Any, *, offset: int = 0) -> Any:
    """The diagonal of each matrix."""
    return np.diagonal(x, offset, -2, -1)


@composed(of=np.linalg.trace)
def matrix_trace(x: Any, *, offset: int = 0) -> Any:
    """The sum of the diagonal of each matrix."""
    return np.trace(x, offset, -2, -1)


registry[np.linalg.matrix_transpose] = matrix_transpose

__all__ = ["diag", "diagflat", "diagonal", "matrix_diagonal", "matrix_trace", "matrix_transpose", "trace", "tril"]
__all__ += ["triu"]
