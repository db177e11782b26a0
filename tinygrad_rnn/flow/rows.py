"""Several gradients carried back side by side: row r of every array belongs to the seed number r.

Most rules of the operations between one state and the next treat each number, or each row of numbers, by itself, so
they take a stack of gradients as readily as one; only the others are asked once for each row.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..core.backprop import Rules, edge_gradients, sent
from ..core.indexing import Patch, Slot
from ..core.tensor import Array, Tensor, raw
from ..ops import matmul
from ..ops.indexing import getitem_p


class Rows(NamedTuple):
    """Gradients for the seeds number `first`, `first` + 1, ..., each of one tensor's shape; all others are zero."""

    first: int
    values: Array

    @property
    def end(self) -> int:
        """One more than the number of the last seed."""
        return self.first + len(self.values)

    def __add__(self, other: Rows) -> Rows:  # type: ignore[override]
        if self.first == other.first and self.end == other.end:
            return Rows(self.first, self.values + other.values)
        first = min(self.first, other.first)
        values = np.zeros((max(self.end, other.end) - first, *self.values.shape[1:]), self.values.dtype)
        for rows in (self, other):
            values[rows.first - first : rows.end - first] += rows.values
        return Rows(first, values)


class RowSums:
    """Gradients of many seeds, for `core.backprop.sweep`: those of the `useful` tensors, none beyond `ends`."""

    def __init__(self, useful: set[int], ends: Collection[int] = ()) -> None:
        self.useful, self.ends = useful, ends
        self.pending: dict[int, Rows] = {}

    def add(self, tensor: Tensor, message: Any, sender: Tensor | None = None, i: int = 0) -> None:
        held = self.pending.get(tensor.index)
        self.pending[tensor.index] = message if held is None else held + message

    def take(self, tensor: Tensor) -> Rows:
        return self.pending.pop(tensor.index)

    def rules(self, node: Tensor, g: Any) -> Rules:
        rows = rows_sent(node, g, self.useful) if node.index not in self.ends else [None] * len(node.inputs)
        return node.inputs, [None if each is None else partial(sent, each) for each in rows], ()


def rows_sent(node: Tensor, g: Rows, useful: set[int]) -> list[Rows | None]:
    """What `node` sends to each of its operands for every seed, None to those not `useful`; see `edge_gradients`."""
    found: list[Rows | None] = [None] * len(node.inputs)
    asked: list[list[Any]] | None = None
    for i, operand in enumerate(node.inputs):
        if type(operand) is not Tensor or not operand.requires_grad or operand.index not in useful:
            continue
        values = _at_once(node, i, g.values)
        if values is None:
            asked = [edge_gradients(node, each, useful=useful) for each in g.values] if asked is None else asked
            gradients = [message[i] for message in asked]
            if all(gradient is None for gradient in gradients):
                continue
            values = np.stack([m.dense(operand.shape) if type(m) is Patch else m for m in gradients])
        found[i] = Rows(g.first, values.astype(operand.dtype, copy=False))
    return found


def _at_once(node: Tensor, i: int, g: Array) -> Array | None:
    """The rule of operand `i` on all rows, where it is sure to treat each row as it would treat it alone."""
    primitive = node.primitive
    assert primitive is not None
    operand = node.inputs[i]
    if primitive.traits.elementwise and primitive.vjps and operand.shape == node.shape:
        rule = primitive.vjps[i]
        arrays = [raw(x) for x in node.inputs]
        return None if rule is None else np.asarray(rule(g, node._array, *arrays, **node.attrs))
    if primitive is matmul and i == 0 and np.ndim(raw(node.inputs[1])) == 2:
        return np.asarray(g @ np.transpose(raw(node.inputs[1])))
    if primitive is matmul and i == 1 and np.ndim(raw(node.inputs[0])) == 2 and operand.ndim <= 2:
        left = np.asarray(raw(node.inputs[0]))
        return np.asarray(g @ left if operand.ndim == 1 else left.T @ g)
    if primitive is getitem_p and i == 0:
        key = node.attrs["key"]
        entries = key if type(key) is tuple else (key,)
        if any(type(entry) is Slot for entry in entries):
            return None
        values = np.zeros((len(g), *operand.shape), g.dtype)
        values[(slice(None),) + tuple(entries)] = g
        return values
    return None
