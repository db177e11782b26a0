"""Backward passes over a part of a graph: from given seeds, through given results, to given tensors.

The engine's own pass starts at a loss and ends at the leaves; questions such as "what does the loss of step 17
say to the state of step 3" need many passes over the same few nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..core import backprop
from ..core.backprop import Arrays, sweep
from ..core.indexing import Patch, gather
from ..core.tensor import Array, Tensor
from .rows import Rows, RowSums
from .structure import State

Seed = Sequence[tuple[Tensor, Any]]
"""Where a pass starts: tensors, and the gradient of each."""


def between(outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> dict[int, Tensor]:
    """The results that gradients pass through on their way from `outputs` to `targets`, by creation number."""
    return backprop.between(outputs, {target.index for target in targets})


class Sweep:
    """Backward passes that go through `nodes` (by creation number) and nowhere else, to one `target`."""

    def __init__(self, nodes: dict[int, Tensor], target: Tensor) -> None:
        self.nodes, self.target = nodes, target
        self.useful = {*nodes, target.index}

    def run(self, seeds: Iterable[tuple[Tensor, Any]]) -> Array:
        """The gradient of the target, from tensors and the gradients to start from."""
        for tensor, g in sweep(seeds, Arrays(), self.useful):
            if tensor is self.target:
                return np.array(g)
        return np.zeros(self.target.shape, self.target.dtype)


class ToStates:
    """Backward passes to states, for many seeds side by side; they only go where a state can be reached.

    The gradient of a state of several tensors treats them as independent variables. An LSTM's h_t is computed from its
    c_t, so what c_t gets through h_t is left out: it is h_t's share. A state's tensors are therefore read when the
    pass comes to the last made of them, which is before any is passed on.

    Args:
        outputs: where passes may start.
        states: what their gradients are wanted for.
    """

    def __init__(self, outputs: Iterable[Tensor], states: list[State]) -> None:
        targets = [tensor for state in states for tensor in state]
        self.nodes = between(outputs, targets)
        self.useful = {*self.nodes, *(target.index for target in targets)}
        self.by_last = {max(tensor.index for tensor in state): k for k, state in enumerate(states)}
        self.states = states

    def gradients(
        self, seeds: Sequence[Sequence[tuple[Tensor, Any]]], until: int | None = None, direct: bool = False
    ) -> dict[int, list[Rows]]:
        """The gradient of every state that a seed reaches, by its number: rows for each of its tensors.

        Args:
            seeds: for each row the tensors to start from, and their gradients.
            until: the number of the state to stop at.
            direct: whether to leave out what reaches a state through another.
        """
        found: dict[int, list[Rows]] = {}
        ahead = sorted(self.by_last)
        starts = [
            (tensor, Rows(row, np.asarray(g.dense(tensor.shape) if type(g) is Patch else g)[None]))
            for row, seed in enumerate(seeds)
            for tensor, g in seed
            if tensor.index in self.useful
        ]
        sums = RowSums(self.useful, {tensor.index for state in self.states for tensor in state} if direct else ())
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


def flows(operand: Any) -> bool:
    """Whether gradients flow to an operand."""
    return type(operand) is Tensor and operand.requires_grad


def total(found: list[Any], tensor: Tensor) -> Array:
    """The sum of the messages that arrived at a tensor; zeros if none did."""
    if not found:
        return np.zeros(tensor.shape, tensor.dtype)
    return np.asarray(gather(found, tensor.shape))
