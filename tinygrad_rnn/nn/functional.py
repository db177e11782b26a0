"""The two expressions that every cell is made of; what they record belongs to the caller's line."""

from __future__ import annotations

from ..primitive import transparent
from ..tensor import Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b: (..., in) with a weight (out, in) and a bias (out,) -> (..., out)."""
    return x @ weight.T if bias is None else x @ weight.T + bias


def chunk(x: Tensor, n: int) -> list[Tensor]:
    """x cut into n equal parts along its last axis."""
    width = x.shape[-1] // n
    return [x[..., k * width : (k + 1) * width] for k in range(n)]


transparent(globals())

__all__ = ["chunk", "linear"]
