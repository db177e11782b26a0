"""The one expression that every layer is made of; what it records belongs to the caller's line."""

from __future__ import annotations

from typing import Any

from ..core.primitive import transparent
from ..core.tensor import Operand, Tensor


def linear(x: Operand, weight: Tensor, bias: Tensor | None = None) -> Any:
    """x W^T + b: (..., in) with a weight (out, in) and a bias (out,) -> (..., out)."""
    return x @ weight.T if bias is None else x @ weight.T + bias


transparent(globals())

__all__ = ["linear"]
