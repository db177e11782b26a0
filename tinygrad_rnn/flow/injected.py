"""What the loss of a step itself says to the states of that step, apart from what comes through other steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..core.backprop import edge_gradients
from ..core.indexing import Patch
from ..core.tensor import Array, Tensor
from ..ops import stack
from .structure import Structure
from .sweep import total


class Injected(NamedTuple):
    """The gradient of each step's own loss."""

    gradients: dict[int, Array]
    """dL_t / d node for the nodes of step t, by creation number."""
    entries: dict[int, list[tuple[Tensor, Any]]]
    """Where the loss enters each step: nodes of the step, and what they are sent from outside any step."""


def injected(structure: Structure, gradients: Mapping[int, Array]) -> Injected:
    """For each node of a step, its gradient along those paths that pass through no other step.

    Running totals of the loss count as outside the steps. A result made outside any step between two loops (the states
    of one layer, stacked for the next) holds what each step sends apart from what the others do.

    Args:
        structure: the graph.
        gradients: the whole gradient of every node, by creation number.
    """
    found: dict[int, list[Any]] = defaultdict(list)  # within a step
    direct: dict[int, list[Any]] = defaultdict(list)  # outside the steps, by a path that has met none
    apart: dict[int, dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))  # by a path that has met one
    done: dict[int, Array] = {}
    entries: dict[int, list[tuple[Tensor, Any]]] = defaultdict(list)

    def outside(node: Tensor) -> bool:
        return node.step is None or node.index in structure.running_totals

    loss, seed = structure.loss, gradients[structure.loss.index]
    (direct if outside(loss) else found)[loss.index].append(seed)
    if not outside(loss):  # the loss of one step, made in it
        entries[loss.step or 0].append((loss, seed))

    for node in reversed(structure.nodes):
        if not outside(node):
            arrived = found.pop(node.index, None)
            if arrived is None:
                continue
            g = done[node.index] = total(arrived, node)
            for operand, message in _sent(node, g):
                if outside(operand):
                    apart[operand.index][node.step or 0].append(message)
                elif operand.step == node.step:
                    found[operand.index].append(message)
            continue
        if node.index in direct:
            for operand, message in _sent(node, total(direct.pop(node.index), node)):
                (direct if outside(operand) else found)[operand.index].append(message)
                if not outside(operand):
                    entries[operand.step or 0].append((operand, message))
        for step, arrived in apart.pop(node.index, {}).items():
            for operand, message in _of_stack(node, arrived) or _sent(node, total(arrived, node)):
                if outside(operand):
                    apart[operand.index][step].append(message)
                elif operand.step == step:
                    found[operand.index].append(message)
    return Injected(done, dict(entries))


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
