"""Tensors of a shape, filled with one number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from .arguments import shape as checked
from .tensor import Tensor

Shape = int | Sequence[int]


def zeros(shape: Shape, requires_grad: bool = False, name: str | None = None, dtype: DTypeLike = np.float64) -> Tensor:
    """A leaf of zeros."""
    return Tensor(np.zeros(checked(shape, "zeros")), requires_grad, name, dtype=dtype)


def ones(shape: Shape, requires_grad: bool = False, name: str | None = None, dtype: DTypeLike = np.float64) -> Tensor:
    """A leaf of ones."""
    return Tensor(np.ones(checked(shape, "ones")), requires_grad, name, dtype=dtype)


__all__ = ["ones", "zeros"]
