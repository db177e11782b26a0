"""The gradient of one loss on every node, every edge and every step, before the textbook sum hides it.

Generic backprop runs once and keeps each node's gradient. The message on an edge is that node's vjp once
more, computed when asked for, so that memory stays that of the forward pass instead of a copy of every
weight for every step.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from typing import Any

import numpy as np

from ..autodiff import backprop, messages, seed_of
from ..errors import GraphError
from ..patch import Patch, gather
from ..tensor import Array, Tensor
from .structure import Structure, structure


@dataclass(frozen=True, eq=False)
class StateFlow:
    """The gradient that one state receives, and where it comes from."""

    tensor: Tensor
    name: str
    step: int
    scope: str
    gradient: Array
    """dL/dh_t, all paths added."""
    norm: float
    injected: Array
    """The part that stays within this step: dL_t/dh_t, from the loss of the step itself."""
    from_future: Array
    """The part that passed through other steps first: what backpropagation *through time* adds."""
    gain: float | None
    """|what the next step sends back| / |gradient of the next state|; None on the last state, or if that is 0."""


class GradientFlow:
    """The gradients of one loss, as data. Made by `gradient_flow`.

    Attributes:
        structure: the graph's steps, states, shared weights and cuts.
    """

    def __init__(self, loss: Tensor) -> None:
        seed = seed_of(loss, None, "gradient_flow")
        self.structure: Structure = structure(loss)
        self._gradients: dict[int, Array] = {
            tensor.order: g for tensor, g in backprop([loss], [seed], keep=lambda node: True)
        }
        self._seed = seed

    @property
    def loss(self) -> Tensor:
        """The tensor that everything here is the gradient of."""
        return self.structure.loss

    @property
    def cuts(self) -> list[Tensor]:
        """Leaves made by `detach` or truncation, where the flow stops."""
        return self.structure.cuts

    def gradient(self, tensor: Tensor) -> Array | None:
        """d loss / d tensor, of the tensor's shape; None where no gradient flows."""
        return self._gradients.get(tensor.order)

    def norm(self, tensor: Tensor) -> float | None:
        """The Euclidean norm of `gradient(tensor)`."""
        g = self.gradient(tensor)
        return None if g is None else _norm(g)

    def edge(self, consumer: Tensor, i: int) -> Array | None:
        """What `consumer` sends back to its operand `i`, before it is added to other messages.

        Returns:
            An array of that operand's shape, or None where no gradient flows.

        Raises:
            GraphError: `consumer` is not the result of an operation, or has no operand `i`.
        """
        message = self._message(consumer, i)
        return message.dense(consumer.inputs[i].shape) if type(message) is Patch else message

    def edge_norm(self, consumer: Tensor, i: int) -> float | None:
        """The norm of `edge(consumer, i)`, without a dense array where the operand was only read in part."""
        message = self._message(consumer, i)
        if type(message) is Patch:
            return _norm(message.dense(consumer.inputs[i].shape) if message.indices else message.value)
        return None if message is None else _norm(message)

    def _message(self, consumer: Tensor, i: int) -> Any:
        if consumer.primitive is None or not -len(consumer.inputs) <= i < len(consumer.inputs):
            raise GraphError(
                f"edge: {consumer.describe()} has {len(consumer.inputs)} operands and none numbered {i}; "
                "structure.consumers(tensor) lists the edges of a tensor"
            )
        operand, g = consumer.inputs[i], self.gradient(consumer)
        if g is None or not isinstance(operand, Tensor):
            return None
        return messages(consumer, g, useful={operand.order})[i]

    # ------------------------------------------------------------------ shared weights
    def per_step(self, weight: Tensor) -> Array:
        """Each step's contribution to the gradient of `weight`: (T, *weight.shape), rows as `structure.steps`.

        A use outside the loop whose result the steps read, such as `W.T`, is taken apart too: each step's share
        is pushed through it, as vjps are linear. With `outside(weight)` the rows sum to the whole gradient.
        """
        steps = self.structure.steps
        rows = np.zeros((len(steps), *weight.shape), weight.dtype)
        hoisted = self._hoisted(weight)
        seeds: dict[int | None, list[tuple[Tensor, Any]]] = defaultdict(list)
        for tensor in (weight, *hoisted.values()):
            for user, i in self.structure.consumers(tensor):
                if user.step is not None and user.order in self._gradients:
                    seeds[user.step].append((tensor, self._message(user, i)))
        for row, step in zip(rows, steps, strict=True):
            row[...] = _push(seeds.pop(step, []), weight, hoisted)
        return rows

    def outside(self, weight: Tensor) -> Array:
        """What uses of `weight` outside any step contribute to its gradient, such as a penalty on its norm."""
        hoisted = self._hoisted(weight)
        reached = self.loss.order in hoisted
        return _push([(self.loss, self._seed)] if reached else [], weight, hoisted)

    def _hoisted(self, weight: Tensor) -> dict[int, Tensor]:
        """The results computed from `weight` outside any step, by creation number."""
        found: dict[int, Tensor] = {}
        stack = [weight]
        while stack:
            for user, _ in self.structure.consumers(stack.pop()):
                if user.step is None and user.order not in found:
                    found[user.order] = user
                    stack.append(user)
        return found

    # ------------------------------------------------------------------ states
    def states(self) -> list[StateFlow]:
        """The flow through every state of every layer and direction, in step order."""
        return self._states

    @cached_property
    def _states(self) -> list[StateFlow]:
        injected = self._injected()
        records = {}
        for row in self.structure.rows:
            for state, following in zip(row, [*row[1:], None], strict=True):
                g = self._gradients.get(state.order)
                g = np.zeros(state.shape, state.dtype) if g is None else g
                own = injected.get(state.order)
                own = np.zeros_like(g) if own is None else own
                assert state.step is not None
                records[state.order] = StateFlow(
                    tensor=state,
                    name=state.name or "h",
                    step=state.step,
                    scope=state.scope,
                    gradient=g,
                    norm=_norm(g),
                    injected=own,
                    from_future=g - own,
                    gain=None if following is None else self._gain(state, following),
                )
        return [records[state.order] for state in self.structure.states]

    def _gain(self, state: Tensor, following: Tensor) -> float | None:
        sent = [
            self.edge(user, i)
            for user, i in self.structure.consumers(state)
            if user.step is not None and user.step != state.step
        ]
        g = self._gradients.get(following.order)
        reference = 0.0 if g is None else _norm(g)
        arrived = [message for message in sent if message is not None]
        return _norm(np.sum(arrived, axis=0)) / reference if arrived and reference else None

    def _injected(self) -> dict[int, Array]:
        """For each node within a step, its gradient along the paths that pass through no other step."""
        found: dict[int, Any] = {}
        totals = self.structure.running_totals
        for node in reversed(self.structure.nodes):
            whole = node.step is None or node.order in totals
            g = (self._gradients if whole else found).get(node.order)
            if g is None:
                continue
            for operand, message in zip(node.inputs, messages(node, g), strict=True):
                if message is None or operand.primitive is None or operand.step is None:
                    continue
                if whole or node.step == operand.step:
                    part = message.dense(operand.shape) if type(message) is Patch else message
                    held = found.get(operand.order)
                    found[operand.order] = part if held is None else held + part
        return found


def gradient_flow(loss: Tensor) -> GradientFlow:
    """Backpropagate from `loss` once and keep the gradient of every node; no `.grad` is touched.

    Args:
        loss: a scalar tensor with a graph behind it.

    Returns:
        The flow: `gradient`, `edge`, `per_step`, `outside`, `states`, `cuts` and `structure`.

    Raises:
        GraphError: there is no graph, `loss` is not a scalar, or a leaf was changed since the forward pass.
    """
    return GradientFlow(loss)


def _push(seeds: list[tuple[Tensor, Any]], weight: Tensor, hoisted: dict[int, Tensor]) -> Array:
    """Carry gradients of the results in `hoisted` back to `weight`, through nothing but those results."""
    pending: dict[int, list[Any]] = defaultdict(list)
    queue: list[int] = []
    useful = {weight.order, *hoisted}

    def arrive(tensor: Tensor, message: Any) -> None:
        if message is None:
            return
        if tensor.order not in pending and tensor is not weight:
            heappush(queue, -tensor.order)
        pending[tensor.order].append(message)

    for tensor, message in seeds:
        arrive(tensor, message)
    while queue:
        node = hoisted[-heappop(queue)]
        g = _total(pending.pop(node.order), node)
        for operand, message in zip(node.inputs, messages(node, g, useful=useful), strict=True):
            arrive(operand, message)
    found = pending[weight.order]
    return _total(found, weight) if found else np.zeros(weight.shape, weight.dtype)


def _total(found: list[Any], tensor: Tensor) -> Array:
    if len(found) == 1 and type(found[0]) is not Patch:
        return np.asarray(found[0])
    return np.asarray(gather(found, tensor.shape, create_graph=False))


def _norm(g: Array) -> float:
    return float(np.linalg.norm(g))


__all__ = ["GradientFlow", "StateFlow", "gradient_flow"]
