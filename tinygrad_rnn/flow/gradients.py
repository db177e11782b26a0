"""The gradient of one loss on every node, every edge and every step, before the textbook sum hides it.

Generic backprop runs once and keeps each node's gradient. The message on an edge is that node's vjp once
more, computed when asked for, so that memory stays that of the forward pass instead of a copy of every
weight for every step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arguments import checked
from ..core.backprop import backprop, edge_gradients, seed_of
from ..core.cached import cached
from ..core.indexing import Patch
from ..core.tensor import Array, Tensor
from ..errors import GraphError
from ..escape import record
from .injected import injected
from .norms import norm, norms
from .structure import State, Structure, structure
from .sweep import Seed, ToStates, between, sent_to


@dataclass(frozen=True, eq=False)
class StateFlow:
    """The gradient that one state receives, and where it comes from.

    Attributes:
        gradient: dL/dh_t, all paths added.
        injected: the part that stays within this step: dL_t/dh_t, from the loss of the step itself.
        from_future: the part that passed through other steps first: what backpropagation *through time* adds.
        gain: |what the next step that reads it sends back| / |gradient of that step's state|; None where no step does,
            or if that is 0 or below the smallest normal number.
    """

    __repr__ = record

    tensor: Tensor
    name: str
    step: int
    scope: str
    gradient: Array
    norm: float
    injected: Array
    from_future: Array
    gain: float | None


@dataclass(frozen=True, eq=False)
class WeightFlow:
    """How the steps add up to the gradient of a shared weight.

    Attributes:
        norms: |G_t|, the size of each step's contribution: (T,), as `structure.steps`.
        shares: the same as fractions of their sum.
        total: |dL/dW|.
        cancellation: |dL/dW| / (sum |G_t| + |part from outside the steps|): 1 if all pull the same way, near 0 if they
            cancel.
    """

    __repr__ = record

    tensor: Tensor
    name: str
    norms: Array
    shares: Array
    total: float
    cancellation: float


class Gradients:
    """The gradients of one loss, as data.

    Attributes:
        structure: the graph's steps, states, shared weights and cuts.
    """

    @checked
    def __init__(self, loss: Tensor) -> None:
        seed = seed_of(loss, None, "gradient_flow")
        self.structure: Structure = structure(loss)
        self._gradients: dict[int, Array] = {tensor.index: g for tensor, g in backprop([loss], [seed], every=True)}
        self._seed = seed

    @property
    def loss(self) -> Tensor:
        """The tensor that everything here is the gradient of."""
        return self.structure.loss

    @property
    def cuts(self) -> list[Tensor]:
        """Leaves made by `detach` or truncation, where the flow stops."""
        return self.structure.cuts

    @checked
    def gradient(self, tensor: Tensor) -> Array | None:
        """d loss / d tensor, of the tensor's shape; None where no gradient flows."""
        return self._gradients.get(tensor.index)

    @checked
    def norm(self, tensor: Tensor) -> float | None:
        """The Euclidean norm of `gradient(tensor)`."""
        g = self.gradient(tensor)
        return None if g is None else norm(g)

    @checked
    def edge(self, consumer: Tensor, i: int) -> Array | None:
        """What `consumer` sends back to its operand `i`, before it is added to other messages.

        Returns:
            An array of that operand's shape, or None where no gradient flows.

        Raises:
            GraphError: `consumer` is not the result of an operation, or has no operand `i`.
        """
        message = self._message(consumer, i)
        return message.dense(consumer.inputs[i].shape) if type(message) is Patch else message

    @checked
    def edge_norm(self, consumer: Tensor, i: int) -> float | None:
        """The norm of `edge(consumer, i)`, without a dense array where the operand was only read in part."""
        message = self._message(consumer, i)
        if type(message) is Patch:
            return norm(message.dense(consumer.inputs[i].shape) if message.indices else message.value)
        return None if message is None else norm(message)

    def _message(self, consumer: Tensor, i: int) -> Any:
        if consumer.primitive is None or not -len(consumer.inputs) <= i < len(consumer.inputs):
            raise GraphError(
                f"edge: {consumer.describe()} has {len(consumer.inputs)} operands and none numbered {i}; "
                "structure.consumers(tensor) lists the edges of a tensor"
            )
        operand, g = consumer.inputs[i], self.gradient(consumer)
        if g is None or not isinstance(operand, Tensor):
            return None
        return edge_gradients(consumer, g, useful={operand.index})[i]

    # ------------------------------------------------------------------ shared weights
    @checked
    def per_step(self, weight: Tensor) -> Array:
        """Each step's contribution to the gradient of `weight`: (T, *weight.shape), rows as `structure.steps`.

        A use outside the loop whose result the steps read, such as `W.T`, is taken apart too: each step's share
        is pushed through it, as vjps are linear. With `outside(weight)` the rows sum to the whole gradient.

        Raises:
            GraphError: no gradient flows to `weight`.
        """
        self._check(weight, "per_step")
        rows = np.empty((len(self.structure.steps), *weight.shape), weight.dtype)
        for at, contribution in enumerate(self._contributions(weight)):
            rows[at] = contribution
        return rows

    @checked
    def outside(self, weight: Tensor) -> Array:
        """What uses of `weight` outside any step contribute to its gradient, such as a penalty on its norm.

        Raises:
            GraphError: no gradient flows to `weight`.
        """
        self._check(weight, "outside")
        hoisted = self.structure.hoisted(weight)
        return sent_to(weight, [(self.loss, self._seed)] if self.loss.index in hoisted else [], hoisted)

    def _check(self, weight: Tensor, caller: str) -> None:
        if weight.index not in self._gradients:
            known = ", ".join(map(self.structure.weight_name, self.structure.shared_weights)) or "none"
            raise GraphError(
                f"{caller}: no gradient of {self.loss.describe()} flows to {weight.describe()}; the weights "
                f"that several steps share are {known}"
            )

    def weights(self) -> list[WeightFlow]:
        """How each shared weight's gradient is made up of its steps, without holding a copy of it for every step."""
        return self._weights

    @cached
    def _weights(self) -> list[WeightFlow]:
        found = []
        for weight in self.structure.shared_weights:
            added = np.zeros(weight.shape, weight.dtype)
            sizes = []
            for contribution in self._contributions(weight):
                added += contribution
                sizes.append(norm(contribution))
            outside = self.outside(weight)
            summed = float(np.sum(sizes))
            apart = summed + norm(outside)
            found.append(
                WeightFlow(
                    tensor=weight,
                    name=self.structure.weight_name(weight),
                    norms=np.array(sizes),
                    shares=np.array(sizes) / summed if summed else np.zeros(len(sizes)),
                    total=self.norm(weight) or 0.0,
                    cancellation=norm(added + outside) / apart if apart else 1.0,
                )
            )
        return found

    def step_norms(self) -> Array:
        """The size of each step's contribution to all shared weights, as one vector: (T,)."""
        found = [weight.norms for weight in self.weights()]
        return norms(np.stack(found), 0) if found else np.zeros(len(self.structure.steps))

    def _contributions(self, weight: Tensor) -> Iterator[Array]:
        hoisted = self.structure.hoisted(weight)
        uses: dict[int, list[tuple[Tensor, Tensor, int]]] = defaultdict(list)
        for tensor in (weight, *hoisted.values()):
            for user, i in self.structure.consumers(tensor):
                if user.step is not None and user.index in self._gradients:
                    uses[user.step].append((tensor, user, i))
        for step in self.structure.steps:
            seeds = ((tensor, self._message(user, i)) for tensor, user, i in uses[step])
            yield sent_to(weight, [seed for seed in seeds if seed[1] is not None], hoisted)

    # ------------------------------------------------------------------ states
    def states(self) -> list[StateFlow]:
        """The flow through every state of every layer and direction, in step order."""
        return self._states

    @cached
    def _states(self) -> list[StateFlow]:
        records = {}
        within, _ = injected(self.structure, self._gradients)
        for row in self.structure.rows:
            place = {state.step: k for k, state in enumerate(row)}
            for k, state in enumerate(row):
                read = [place.get(user.step, -1) for user, _ in self.structure.consumers(state)]
                following = min((at for at in read if at > k), default=None)
                found = (self._gradients.get(state.index), within.get(state.index))
                g, own = (np.zeros(state.shape, state.dtype) if each is None else each for each in found)
                assert state.step is not None
                with np.errstate(invalid="ignore"):  # inf - inf, where the gradient is not finite
                    future = np.asarray(g - own)
                records[state.index] = StateFlow(
                    tensor=state,
                    name=state.name or "h",
                    step=state.step,
                    scope=state.scope,
                    gradient=g,
                    norm=norm(g),
                    injected=own,
                    from_future=future,
                    gain=None if following is None else self.gain(state, row[following]),
                )
        return [records[state.index] for state in self.structure.states]

    def entries(self) -> dict[int, Seed]:
        """The loss taken apart by the steps that it enters at: what it sends to each from outside any step.

        Steps to which it sends nothing but zeros are left out.
        """
        _, entries = injected(self.structure, self._gradients, within=False)
        return {step: sent for step, sent in sorted(entries.items()) if any(np.any(_values(g)) for _, g in sent)}

    @checked
    def gain(self, state: Tensor, following: Tensor) -> float | None:
        """|what the step of `following` sends back to `state`| / |gradient of `following`|.

        None where it sends nothing, or has no gradient itself, or one below the smallest normal number, of which
        rounding leaves no digits; nan where either is not finite.
        """
        uses = [(user, i) for user, i in self.structure.consumers(state) if user.step == following.step]
        arrived = [message for user, i in uses if (message := self.edge(user, i)) is not None]
        reference = self.norm(following)
        if not arrived or reference is None or reference < np.finfo(following.dtype).tiny:
            return None
        return _ratio(norm(np.sum(arrived, axis=0)), reference)

    def passed(self, states: Sequence[State], steps: Collection[int]) -> float | None:
        """What the steps after a stretch send to its first state, through all of it, relative to the gradient there.

        Of one step that is its gain. Over several it is not the product of theirs: an LSTM's c and h exchange what
        they hold, losses within the stretch add to what passes, and vectors turn.

        Args:
            states: of one layer and direction; a state's tensors count together, as in `credit`.
            steps: of the stretch, in one piece.

        Returns:
            |what arrives at the first state of the stretch from behind it| / |gradient of the first state behind it|;
            0 where the path is cut; nan where either is not finite; None where the layer has no state within or
            behind the stretch, or one without a gradient.
        """
        ordered = sorted(states, key=lambda state: state[0].index)
        inside = [state for state in ordered if state[0].step in steps]
        behind = [state for state in ordered if inside and state[0].index > inside[-1][0].index]
        if not behind:
            return None
        own = [tensor for state in inside for tensor in state]
        path = between([tensor for state in behind for tensor in state], own)
        seeds = [
            (tensor, message)
            for tensor in own
            for user, i in self.structure.consumers(tensor)
            if user.step not in steps and user.index in path and (message := self._message(user, i)) is not None
        ]
        with np.errstate(all="ignore"):  # what is not finite is an answer here
            there = ToStates([self.loss], behind[:1]).of([(self.loss, self._seed)], 0)
            arrived = ToStates(own, inside).of(seeds, 0)
        return _ratio(norm(*(g for _, g in arrived)), norm(*(g for _, g in there)))


def _ratio(sent: float, reference: float | None) -> float | None:
    """None where there is nothing to compare with; nan where either is not finite."""
    if not reference:
        return None
    return sent / reference if np.isfinite(sent) and np.isfinite(reference) else float("nan")


def _values(message: Any) -> Array:
    return np.asarray(message.value if type(message) is Patch else message)


__all__ = ["Gradients", "StateFlow", "WeightFlow"]
