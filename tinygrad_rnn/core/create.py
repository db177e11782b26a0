"""Tensors of a shape, filled with one number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from .tensor import Tensor

Shape = int | Sequence[int]


def zeros(shape: Shape, requires_grad: bool = False, name: str | None = None, dtype: DTypeLike = np.float64) -> Tensor:
    """A leaf of zeros."""
    return Tensor(np.zeros(shape, dtype), requires_grad, name)


def ones(shape: Shape, requires_grad: bool = False, name: str | None = None, dtype: DTypeLike = np.float64) -> Tensor:
    """A leaf of ones."""
    return Tensor(np.ones(shape, dtype), requires_grad, name)


__all__ = ["ones", "zeros"]
