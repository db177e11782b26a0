"""The layers around a recurrent one, with PyTorch's parameters and defaults."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import ops
from ..core import arguments
from ..core.arguments import NotNegative, Probability, Size, checked
from ..core.tensor import Operand, Tensor, raw
from ..errors import DTypeError, ShapeError
from ..escape import terminal
from . import init
from .functional import linear
from .module import Module, Seed, parameter


class Linear(Module):
    """y = x W^T + b: (..., in_features) -> (..., out_features).

    Attributes:
        weight, bias: (out, in) and (out,) or None; both start evenly in +-1 / sqrt(in), as in PyTorch.
    """

    @checked
    def __init__(
        self,
        in_features: Size,
        out_features: Size,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float64,
        rng: Seed = None,
    ) -> None:
        rng, bound = arguments.generator(rng, "Linear"), 1 / math.sqrt(in_features)
        self.weight = parameter(init.uniform((out_features, in_features), bound, rng), dtype)
        self.bias = parameter(init.uniform((out_features,), bound, rng), dtype) if bias else None

    def forward(self, x: Operand) -> Tensor:
        """Raises ShapeError if the last axis of x is not `in_features` long."""
        shape, expected = np.shape(raw(x)), self.weight.shape[1]
        if not shape or shape[-1] != expected:
            raise ShapeError(f"Linear: the input has shape {shape}, expected (..., {expected})")
        return linear(x, self.weight, self.bias)

    def describe(self) -> str:
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}"


class Embedding(Module):
    """A vector for each class: integers (...) -> (..., embedding_dim), the rows of `weight`.

    Attributes:
        weight: (num_embeddings, embedding_dim), from a standard normal distribution, as in PyTorch.
    """

    @checked
    def __init__(
        self, num_embeddings: Size, embedding_dim: Size, *, dtype: DTypeLike = np.float64, rng: Seed = None
    ) -> None:
        self.weight = parameter(init.normal((num_embeddings, embedding_dim), 1.0, rng), dtype)

    def forward(self, index: Operand) -> Tensor:
        """Raises DTypeError if the index is not of integers, ShapeError if one is out of range."""
        return ops.embedding(index, self.weight)

    def describe(self) -> str:
        return ", ".join(map(str, self.weight.shape))


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) over the last axis, then scaled and shifted (Ba et al., 2016).

    Attributes:
        weight, bias: (features,), starting at 1 and 0.
    """

    @checked
    def __init__(self, features: Size, eps: NotNegative = 1e-5, *, dtype: DTypeLike = np.float64) -> None:
        self.eps = eps
        self.weight = parameter(np.ones(features), dtype)
        self.bias = parameter(np.zeros(features), dtype)

    def forward(self, x: Operand) -> Tensor:
        """(..., features) -> (..., features)."""
        return ops.layer_norm(x, self.weight, self.bias, eps=self.eps)

    def describe(self) -> str:
        return str(len(self.weight))


class Dropout(Module):
    """In training, zero each entry with probability p and scale the rest by 1 / (1 - p).

    Args:
        p: the probability.
        rng: generator or seed; a checkpoint saves its state.
    """

    @checked
    def __init__(self, p: Probability = 0.5, *, rng: Seed = None) -> None:
        self.p = p
        self.rng = arguments.generator(rng, "Dropout")

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.rng) if self.training and self.p > 0 else x

    def describe(self) -> str:
        return str(self.p)


class Sequential(Module):
    """Layers or functions applied one after the other; parameters are named "0.weight", "1.bias", ...

    A recurrent layer's output sequence goes on; its state does not.
    """

    layers: list[Callable[..., Any]]

    def __init__(self, *layers: Callable[..., Any]) -> None:
        for layer in layers:
            if not callable(layer):
                raise DTypeError(f"Sequential: got {type(layer).__name__}, expected layers or functions")
        object.__setattr__(self, "layers", list(layers))
        for path, layer in self.children():
            layer.attach(path)

    def children(self) -> Iterator[tuple[str, Module]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers) if isinstance(layer, Module))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{i}={_name(layer)}' for i, layer in enumerate(self.layers))})"

    def forward(self, x: Operand) -> Any:
        for layer in self.layers:
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
        return x


def _name(layer: Callable[..., Any]) -> str:
    own = repr(layer) if isinstance(layer, Module) else getattr(layer, "__name__", None) or getattr(layer, "name", "?")
    return terminal(str(own))


__all__ = ["Dropout", "Embedding", "LayerNorm", "Linear", "Sequential"]
