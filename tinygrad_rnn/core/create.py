"""Tensors of a shape, filled with one number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from .arguments import checked
from .arguments import shape as as_shape
from .tensor import Tensor

Shape = int | Sequence[int]


@checked
def zeros(shape: Shape, requires_grad: bool = False, name: str | None = None, dtype: DTypeLike = np.float64) -> Tensor:
    """A leaf of zeros."""
    return Tensor(np.zeros(as_shape(shape, "zeros")), requires_grad, name, dtype=dtype)


@checked
def ones(shape: Shape, requires_grad: bool = False, name: str | None = None, dtype: DTypeLike = np.float64) -> Tensor:
    """A leaf of ones."""
    return Tensor(np.ones(as_shape(shape, "ones")), requires_grad, name, dtype=dtype)


__all__ = ["ones", "zeros"]
