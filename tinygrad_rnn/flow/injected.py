"""What the loss of a step itself says to the states of that step, apart from what comes through other steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.backprop import edge_gradients
from ..core.indexing import Patch, gather
from ..core.tensor import Array, Tensor
from ..ops import stack
from .structure import Structure

Entries = dict[int, list[tuple[Tensor, Any]]]
"""Where the loss enters each step: nodes of the step, and what they are sent from outside any step."""


def injected(
    structure: Structure, gradients: Mapping[int, Array], within: bool = True
) -> tuple[dict[int, Array], Entries]:
    """For each node of a step, its gradient along those paths that pass through no other step.

    Running totals of the loss count as outside the steps. A result made outside any step between two loops (the states
    of one layer, stacked for the next) holds what each step sends apart from what the others do.

    Args:
        structure: the graph.
        gradients: the whole gradient of every node, by creation number.
        within: follow it within the steps; otherwise only to where it enters them.

    Returns:
        dL_t / d node for the nodes of step t, by creation number; and where the loss enters each step.
    """
    pending: dict[int, dict[int | None, list[Any]]] = defaultdict(lambda: defaultdict(list))
    """What has arrived at each node, apart by the only step that its path has met so far; None: none yet."""
    done: dict[int, Array] = {}
    entries: Entries = defaultdict(list)

    def step_of(node: Tensor) -> int | None:
        return None if node.index in structure.running_totals else node.step

    def arrive(node: Tensor, message: Any, met: int | None) -> None:
        step = step_of(node)
        if step is not None and met is None:
            entries[step].append((node, message))
            if not within:
                return
        if step is None or met is None or step == met:
            pending[node.index][step if met is None else met].append(message)

    arrive(structure.loss, gradients[structure.loss.index], None)
    for node in reversed(structure.nodes):
        for met, arrived in pending.pop(node.index, {}).items():
            sent = _of_stack(node, arrived)
            if sent is None or step_of(node) is not None:
                g = np.asarray(gather(arrived, node.shape))
                sent = _sent(node, g)
                if step_of(node) is not None:
                    done[node.index] = g
            for operand, message in sent:
                arrive(operand, message, met)
    return done, dict(entries)


def _sent(node: Tensor, g: Array) -> list[tuple[Tensor, Any]]:
    sent = zip(node.inputs, edge_gradients(node, g), strict=True)
    return [(operand, message) for operand, message in sent if message is not None and operand.primitive is not None]


def _of_stack(node: Tensor, arrived: list[Any]) -> list[tuple[Tensor, Any]] | None:
    """One step reads one entry of a stack: that entry's operand alone gets it, without a pass over all T of them."""
    assert node.primitive is not None
    if node.primitive is not stack or node.attrs["axis"] != 0:
        return None
    if not all(type(message) is Patch and type(message.key) is int for message in arrived):
        return None
    return [
        (operand, message.value)
        for message in arrived
        if isinstance(operand := node.inputs[message.key], Tensor) and operand.primitive is not None
    ]
