"""Euclidean norms without overflow or underflow on the way."""

from __future__ import annotations

import numpy as np

from ..core.tensor import Array


def norms(values: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """The norm along some axes, float64; nan or inf where an entry is."""
    size = np.asarray(values, np.float64)
    with np.errstate(all="ignore"):
        squares = np.square(size).sum(axis)
        if np.all((squares > 1e-250) & (squares < 1e300) | (squares == 0) & ~size.any(axis)):
            return np.asarray(np.sqrt(squares))
        size = np.abs(size)
        largest = size.max(axis, initial=0.0, keepdims=True)
        usual = (largest > 0) & np.isfinite(largest)
        scaled = np.where(usual, largest, 1.0) * np.sqrt(
            np.square(size / np.where(usual, largest, 1.0)).sum(axis, keepdims=True)
        )
        return np.asarray(np.where(usual, scaled, largest).squeeze(axis))


def norm(*parts: Array) -> float:
    """The norm of all parts as one vector."""
    return float(norms(np.array([float(norms(np.reshape(part, -1))) for part in parts])))


__all__ = ["norm", "norms"]
