"""Backward passes over a part of a graph: from given seeds, through given results, to given tensors.

The engine's own pass starts at a loss and ends at the leaves; questions such as "what does the loss of step 17
say to the state of step 3" need many passes over the same few nodes. They run side by side: row r of every array
belongs to the seed number r. Most rules of the operations between one state and the next treat each number, or each
row of numbers, by itself, so they take a stack of gradients as readily as one; only the others are asked for each row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..core import backprop
from ..core.backprop import Arrays, Rules, edge_gradients, sent, sweep
from ..core.indexing import Patch, Slot
from ..core.tensor import Array, Tensor, raw
from ..ops import matmul
from ..ops.indexing import getitem_p
from .structure import State

Seed = Sequence[tuple[Tensor, Any]]
"""Where a pass starts: tensors, and the gradient of each."""


def between(outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> dict[int, Tensor]:
    """The results that gradients pass through on their way from `outputs` to `targets`, by creation number."""
    return backprop.between(outputs, {target.index for target in targets})


def flows(operand: Any) -> bool:
    """Whether gradients flow to an operand."""
    return type(operand) is Tensor and operand.requires_grad


def sent_to(target: Tensor, seeds: Iterable[tuple[Tensor, Any]], through: Collection[int]) -> Array:
    """The gradient of one tensor, from tensors and the gradients to start from.

    Args:
        target: the tensor.
        seeds: where the pass starts.
        through: creation numbers of the results that it may pass, and no others.
    """
    for tensor, g in sweep(seeds, Arrays(), {*through, target.index}):
        if tensor is target:
            return np.array(g)
    return np.zeros(target.shape, target.dtype)


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

    def rules(self, node: Tensor, g: Rows) -> Rules:
        found: list[Any] = [None] * len(node.inputs)
        asked: list[list[Any]] | None = None
        for i, operand in enumerate(node.inputs if node.index not in self.ends else ()):
            if not flows(operand) or operand.index not in self.useful:
                continue
            values = _at_once(node, i, g.values)
            if values is None:
                asked = asked or [edge_gradients(node, each, useful=self.useful) for each in g.values]
                gradients = [message[i] for message in asked]
                if all(gradient is None for gradient in gradients):
                    continue
                values = np.stack([m.dense(operand.shape) if type(m) is Patch else m for m in gradients])
            found[i] = partial(sent, Rows(g.first, values.astype(operand.dtype, copy=False)))
        return node.inputs, found, ()


def _at_once(node: Tensor, i: int, g: Array) -> Array | None:
    """The rule of operand `i` on all rows, where it is sure to treat each row as it would treat it alone."""
    primitive, operand = node.primitive, node.inputs[i]
    assert primitive is not None
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
        if not any(type(entry) is Slot for entry in entries):
            values = np.zeros((len(g), *operand.shape), g.dtype)
            values[(slice(None),) + tuple(entries)] = g
            return values
    return None


class ToStates:
    """Backward passes to states, for many seeds side by side; they only go where a state can be reached.

    The gradient of a state of several tensors treats them as independent variables. An LSTM's h_t is computed from its
    c_t, so what c_t gets through h_t is left out: it is h_t's share. A state's tensors are therefore read when the
    pass comes to the last made of them, which is before any is passed on.

    Args:
        outputs: where passes may start.
        states: what their gradients are wanted for.
        direct: whether to leave out what reaches a state through another.
    """

    def __init__(self, outputs: Iterable[Tensor], states: list[State], direct: bool = False) -> None:
        targets = [tensor for state in states for tensor in state]
        self.nodes = between(outputs, targets)
        self.useful = {*self.nodes, *(target.index for target in targets)}
        self.ends = {target.index for target in targets} if direct else ()
        self.by_last = {max(tensor.index for tensor in state): k for k, state in enumerate(states)}
        self.states = states

    def gradients(self, seeds: Sequence[Seed], until: int | None = None) -> dict[int, list[Rows]]:
        """The gradient of every state that a seed reaches, by its number: rows for each of its tensors.

        Args:
            seeds: for each row the tensors to start from, and their gradients.
            until: the number of the state to stop at.
        """
        found: dict[int, list[Rows]] = {}
        ahead = sorted(self.by_last)
        starts = [
            (tensor, Rows(row, np.asarray(g.dense(tensor.shape) if type(g) is Patch else g)[None]))
            for row, seed in enumerate(seeds)
            for tensor, g in seed
            if tensor.index in self.useful
        ]
        sums = RowSums(self.useful, self.ends)
        for reached, rows in sweep(starts, sums, self.useful):
            while ahead and ahead[-1] >= reached.index:  # also a state of which only earlier tensors are reached
                k = self.by_last[ahead.pop()]
                arrived = [rows if tensor is reached else sums.pending.get(tensor.index) for tensor in self.states[k]]
                if any(each is not None for each in arrived):
                    found[k] = [
                        Rows(0, np.zeros((1, *tensor.shape))) if each is None else each
                        for each, tensor in zip(arrived, self.states[k], strict=True)
                    ]
                if k == until:
                    return found
        return found

    def of(self, seed: Seed, k: int) -> list[tuple[Tensor, Array]]:
        """The gradient of each tensor of state k from one seed; none where it is not reached."""
        arrived = self.gradients([seed], until=k).get(k, ())
        return [(tensor, rows.values[0]) for tensor, rows in zip(self.states[k], arrived, strict=False)]
