"""Gradients of matrix products, which are cheaper for many steps at once than one by one.

The rule of x @ W says what is to be multiplied; whoever adds the gradients up decides when.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .array import Array

_ENOUGH = 96 << 10
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
        return np.dot(self.x.T, self.g)


class ThroughWeight:
    """What x @ W sends to x: g @ W.T."""

    __slots__ = ("W", "g")

    def __init__(self, g: Array, W: Array) -> None:
        self.g = g
        self.W = W

    def dense(self) -> Array:
        return np.dot(self.g, self.W.T)


class Waiting:
    """Messages to weights: products, and gradients that are to be summed over their first axis."""

    __slots__ = ("products", "rows")

    def __init__(self) -> None:
        self.products: dict[int, list[ToWeight]] = {}
        self.rows: dict[int, list[Array]] = {}

    def product(self, index: int, message: ToWeight) -> bool:
        """Keep a message to the tensor with this creation number; True once there are enough."""
        kept = self.products.setdefault(index, [])
        kept.append(message)
        return len(kept) * message.g.nbytes >= _ENOUGH

    def row(self, index: int, message: Array) -> bool:
        """Keep a message that is to be summed over its first axis; True once there are enough."""
        kept = self.rows.setdefault(index, [])
        kept.append(message)
        return len(kept) * message.nbytes >= _ENOUGH

    def sums(self, index: int) -> list[Array]:
        """What the messages to a tensor come to: none, one or two arrays of its shape."""
        found: list[Array] = []
        if products := self.products.pop(index, None):
            found.append(np.dot(_joined([p.x for p in products]).T, _joined([p.g for p in products])))
        if rows := self.rows.pop(index, None):
            found.append(np.asarray(np.add.reduce(_joined(rows), axis=0)))
        return found


def _joined(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


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
        return np.dot(message.g, known[1])
