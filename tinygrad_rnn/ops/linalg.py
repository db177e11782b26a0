"""Products of vectors, matrices and stacks of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import primitive


def _matrix_transpose(a: Any) -> Any:
    return a.T if a.ndim == 2 else np.swapaxes(a, -1, -2)


def _by_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return np.expand_dims(g, -1) * b
    if a.ndim == 1:
        return (np.expand_dims(g, -2) @ _matrix_transpose(b))[..., 0, :]
    return g @ _matrix_transpose(b)


def _by_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return np.expand_dims(g, -1) * a
    if a.ndim == 1:
        return np.expand_dims(a, -1) * np.expand_dims(g, -2)
    if b.ndim == 2 and a.ndim > 2:  # one product for the whole stack, instead of a stack to be summed
        return np.reshape(a, (-1, a.shape[-1])).T @ np.reshape(g, (-1, g.shape[-1]))
    return _matrix_transpose(a) @ g


matmul = primitive(
    np.matmul,
    vjps=[_by_left, _by_right],
    doc="a @ b: (..., n, k) @ (..., k, m) -> (..., n, m); a vector (k,) drops its axis, as in NumPy.",
)
