"""Gradients of matrix products, which are cheaper for many steps at once than one by one.

The rule of x @ W says what is to be multiplied; whoever adds the gradients up decides when.
"""

from __future__ import annotations

import math
from operator import is_
from typing import Any

import numpy as np

from .tensor import Array, Tensor

ENOUGH = 96 << 10
"""So many bytes of gradients wait for a product; more is memory that the C library asks the system for each time."""

_OFTEN = 4
"""From this use in a pass on, a transposed copy of a matrix is multiplied by: BLAS is slow at small transposed ones."""


class ToWeight:
    """What x @ W sends to W: x.T @ g."""

    __slots__ = ("g", "x")

    def __init__(self, x: Array, g: Array) -> None:
        self.x = x
        self.g = g

    def dense(self) -> Array:
        return self.x.T.dot(self.g)


class ThroughWeight:
    """What x @ W sends to x: g @ W.T."""

    __slots__ = ("W", "g")

    def __init__(self, g: Array, W: Array) -> None:
        self.g = g
        self.W = W

    def dense(self) -> Array:
        return self.g.dot(self.W.T)


class Waiting:
    """Messages to weights that are cheaper to add up with those of other steps: products, and sums over the first axis.

    Several weights often wait for the same gradients, so the last ones that were joined are kept.
    """

    __slots__ = ("joined", "parts", "products", "rows")

    def __init__(self) -> None:
        self.products: dict[int, list[ToWeight]] = {}
        self.rows: dict[int, list[Array]] = {}
        self.parts: list[Array] = []
        self.joined: Array | None = None

    def keep(self, tensor: Tensor, message: Any) -> int:
        """Keep a message to a leaf, if it is one of these: how many bytes of gradients wait for it now, else 0."""
        data = tensor._array
        if type(message) is ToWeight:
            g = message.g
            if not message.x.dtype is g.dtype is data.dtype:
                return 0
            kept: list[Any] = self.products.setdefault(tensor.index, [])
        elif type(message) is np.ndarray and message.shape[1:] == data.shape and message.dtype is data.dtype:
            g, kept = message, self.rows.setdefault(tensor.index, [])
        else:
            return 0
        kept.append(message)
        return len(kept) * g.nbytes or 1

    def sums(self, index: int) -> list[Array]:
        """What the messages to a tensor come to: none, one or two arrays of its shape."""
        found: list[Array] = []
        if products := self.products.pop(index, None):
            found.append(np.dot(np.concatenate([p.x for p in products]).T, self._joined([p.g for p in products])))
        if rows := self.rows.pop(index, None):
            joined = self._joined(rows)
            flat = joined.reshape(len(joined), math.prod(joined.shape[1:]))
            total = np.ones(len(joined), joined.dtype).dot(flat)  # BLAS takes half the time of np.add.reduce
            found.append(total.reshape(joined.shape[1:]))
        return found

    def _joined(self, parts: list[Array]) -> Array:
        if self.joined is None or len(parts) != len(self.parts) or not all(map(is_, parts, self.parts)):
            self.parts, self.joined = parts, np.concatenate(parts)
        return self.joined


class Carrier:
    """Carries gradients back through weights, by transposed copies where it does so again and again."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[int, list[Any]] = {}

    def through(self, message: ThroughWeight) -> Array:
        """g @ W.T."""
        W = message.W
        known = self.known.get(id(W))
        if known is None:
            known = self.known[id(W)] = [1, W.T, W]  # holds W, so that no other array gets its id
        elif known[0] < _OFTEN:
            known[0] += 1
            if known[0] == _OFTEN:
                known[1] = np.ascontiguousarray(W.T)
        return message.g.dot(known[1])  # the method takes half the time of np.dot's dispatch
