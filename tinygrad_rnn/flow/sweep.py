"""Backward passes over a part of a graph: from given seeds, through given results, to given tensors.

The engine's own pass starts at a loss and ends at the leaves; questions such as "what does the loss of step 17
say to the state of step 3" need many passes over the same few nodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from typing import Any

import numpy as np

from ..autodiff import messages
from ..patch import Patch, gather
from ..tensor import Array, Tensor
from .structure import State


def between(outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> dict[int, Tensor]:
    """The results that gradients pass through on their way from `outputs` to `targets`, by creation number."""
    useful = {target.order for target in targets}
    first = min(useful, default=0)
    seen: dict[int, Tensor] = {}
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node.order not in seen and node.order >= first:
            seen[node.order] = node
            stack.extend(x for x in node.inputs if type(x) is Tensor and x.requires_grad)
    found: dict[int, Tensor] = {}
    for order in sorted(seen):
        if any(type(x) is Tensor and x.order in useful for x in seen[order].inputs):
            useful.add(order)
            found[order] = seen[order]
    return found


class Sweep:
    """Backward passes that go through `nodes` (by creation number) and nowhere else, to `targets`."""

    def __init__(self, nodes: dict[int, Tensor], targets: Iterable[Tensor]) -> None:
        self.nodes = nodes
        self.useful = {*nodes, *(target.order for target in targets)}

    def run(
        self,
        seeds: Iterable[tuple[Tensor, Any]],
        at: Callable[[int, Mapping[int, list[Any]]], bool | None] = lambda order, pending: None,
    ) -> dict[int, list[Any]]:
        """Carry `seeds` back.

        Args:
            seeds: tensors and the gradients to start from.
            at: called with each creation number in turn, latest first, and with what is pending; True ends the pass.

        Returns:
            What has arrived, and was not passed on, by creation number.
        """
        pending: dict[int, list[Any]] = defaultdict(list)
        queue: list[int] = []

        def arrive(tensor: Tensor, message: Any) -> None:
            if tensor.order not in pending:
                heappush(queue, -tensor.order)
            pending[tensor.order].append(message)

        for tensor, seed in seeds:
            if tensor.order in self.useful:
                arrive(tensor, seed)
        while queue:
            order = -heappop(queue)
            if at(order, pending):
                break
            node = self.nodes.get(order)
            if node is None:
                continue
            g = total(pending.pop(order), node)
            for operand, message in zip(node.inputs, messages(node, g, useful=self.useful), strict=True):
                if message is not None:
                    arrive(operand, message)
        return pending


class ToStates(Sweep):
    """Passes to states; the gradient of a state of several tensors treats them as independent variables.

    An LSTM's h_t is computed from its c_t, so what c_t gets through h_t is left out: it is h_t's share. A state's
    tensors are read when the pass comes to the last made of them, which is before any is passed on.
    """

    def __init__(self, outputs: Iterable[Tensor], states: list[State]) -> None:
        targets = [tensor for state in states for tensor in state]
        super().__init__(between(outputs, targets), targets)
        self.by_last = {max(tensor.order for tensor in state): k for k, state in enumerate(states)}
        self.states = states

    def gradients(self, seeds: Iterable[tuple[Tensor, Any]], until: int | None = None) -> dict[int, list[Array]]:
        """The gradient of every state that the seeds reach, by its number, one array for each of its tensors.

        Args:
            seeds: tensors and the gradients to start from.
            until: the number of the state to stop at.
        """
        found: dict[int, list[Array]] = {}
        orders = sorted(self.by_last)

        def read(order: int, pending: Mapping[int, list[Any]]) -> bool:
            while orders and orders[-1] >= order:  # also states that only their earlier tensors are reached of
                k = self.by_last[orders.pop()]
                arrived = [pending.get(x.order, []) for x in self.states[k]]
                if any(arrived):
                    found[k] = [total(m, x) for m, x in zip(arrived, self.states[k], strict=True)]
                if k == until:
                    return True
            return False

        self.run(seeds, read)
        return found


def total(found: list[Any], tensor: Tensor) -> Array:
    """The sum of the messages that arrived at a tensor; zeros if none did."""
    if not found:
        return np.zeros(tensor.shape, tensor.dtype)
    if len(found) == 1 and type(found[0]) is not Patch:
        return np.asarray(found[0])
    return np.asarray(gather(found, tensor.shape, create_graph=False))


def norm(*parts: Array) -> float:
    """The Euclidean norm of all parts as one vector, without overflow or underflow on the way."""
    largest = max((float(np.max(np.abs(part), initial=0.0)) for part in parts), default=0.0)
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(sum(float(np.sum(np.square(part / largest))) for part in parts)))
