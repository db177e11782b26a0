"""How the states of one layer lie in the graph: sequences of a batch, padding, delays, and where the path is cut.

A gradient is followed through *updates*. Where a mask keeps the state as it was, as beyond the end of a padded
sequence, there is a state and no update; where `detach` cuts the path, there is an update and no way past it.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.cached import cached
from ..core.tensor import Array, Tensor, raw
from ..escape import record
from ..ops import add, matmul, multiply, subtract, where
from .structure import State
from .sweep import ToStates, between, flows

NONE = 1 << 60
"""Stands for no state, above the number of every one."""

_FIXED = -1
"""Stands for what does not depend on any state: constants and leaves."""


@dataclass(frozen=True, eq=False)
class Layout:
    """K states of a layer in the order of running, for B sequences; what is asked for is read from the graph."""

    __repr__ = record

    states: list[State]
    others: Collection[int] = field(default=(), repr=False)
    """Creation numbers of the states of other layers."""
    apart: bool = True
    """Whether the sequences of a batch are told apart."""

    @property
    def sequences(self) -> int:
        """B."""
        return 1 if self.axis is None else self.states[0][0].shape[self.axis]

    @cached
    def axis(self) -> int | None:
        """Which axis of the states counts sequences; None if each tensor is one sequence.

        It is the last where a matrix multiplies the state from the left, as in W @ h, else the first.
        """
        first = self.states[0]
        if not self.apart or any(tensor.ndim < 2 for tensor in first):
            return None
        known = {tensor.index for state in self.states for tensor in state} | set(self.path)
        left = any(_multiplied_from_left(node, known) for node in self.path.values())
        axis = first[0].ndim - 1 if left else 0
        sizes = {tensor.shape[axis] for state in self.states for tensor in state}
        return None if len(sizes) > 1 or (sizes != {1} and _mix(self.states, axis)) else axis

    @cached
    def path(self) -> dict[int, Tensor]:
        """The results between the states, by creation number."""
        tensors = [tensor for state in self.states for tensor in state]
        return between(tensors, tensors)

    @cached
    def moved(self) -> Array:
        """(B, K): whether state k was computed; False where a mask kept the state before it."""
        pairs = zip([(), *self.states[:-1]], self.states, strict=True)
        return np.stack([~_kept(before, after, self) for before, after in pairs], axis=1)

    @cached
    def starts(self) -> Array:
        """(K,): the number of the first state that state k can be made from; the path is cut before it."""
        crossing = np.minimum.accumulate(self._links[1][::-1])[::-1]
        numbers = np.arange(len(self.states))
        return np.maximum.accumulate(np.where(crossing >= numbers, numbers, 0))

    @property
    def farthest(self) -> int:
        """How many states back the farthest is that a state is made from, directly; above 1 it is of higher order."""
        return max((k - far for k, far in enumerate(self._links[1].tolist()) if far < NONE), default=1)

    @property
    def alone(self) -> bool:
        """Whether the states lead to each other without passing through the states of another layer."""
        return self._links[0]

    @cached
    def _links(self) -> tuple[bool, Array]:
        """Whether states are made from others alone; for each the number of the farthest before it that it is from."""
        for without in (self.others, ()):
            first = first_states(self.path, self.states, without)
            made_from = [[first.get(tensor.index, NONE) for tensor in state] for state in self.states]
            # an LSTM's h_t is made from its own c_t too
            links = [min((far for far in each if far < k), default=NONE) for k, each in enumerate(made_from)]
            if min(links) < NONE:
                return without is self.others, np.array(links)
        return False, np.array(links)

    @cached
    def steps(self) -> list[int]:
        """The step of each state; its number where the loop has no steps."""
        return [k if state[0].step is None else state[0].step for k, state in enumerate(self.states)]

    def at(self, step: int | None) -> int:
        """The number of the last state made in or before a step, in the order of running; the last if none is."""
        known = self.steps
        sign = -1 if known[-1] < known[0] else 1
        if step is None or sign * step < sign * known[0]:
            return len(known) - 1
        return max(k for k, other in enumerate(known) if sign * other <= sign * step)

    def by_sequence(self, gradient: Array) -> Array:
        """A stack of gradients of a state's tensor, (rows, *shape), as (rows, B, numbers of a sequence)."""
        moved = gradient if self.axis is None else np.moveaxis(gradient, self.axis + 1, 1)
        return moved.reshape(len(gradient), self.sequences, -1)

    def everywhere(self, values: Array, tensor: Tensor) -> Array:
        """The numbers of one sequence, the same in all of them, in the shape of a state's tensor."""
        if self.axis is None:
            return values.reshape(tensor.shape)
        one = values.reshape(tensor.shape[: self.axis] + tensor.shape[self.axis + 1 :])
        return np.repeat(np.expand_dims(one, self.axis), self.sequences, self.axis)


def jacobian(layout: Layout, sweep: ToStates, after: State) -> Array:
    """d after / d the states of a sweep, side by side: (B, numbers of `after`, numbers of all of them)."""
    sizes = [[tensor.size // layout.sequences for tensor in state] for state in (after, *sweep.states)]
    units = [(x, row) for x, size in zip(after, sizes[0], strict=True) for row in np.eye(size, dtype=x.dtype)]
    J = np.zeros((layout.sequences, len(units), sum(map(sum, sizes[1:]))))
    for place, arrived in sweep.gradients([[(x, layout.everywhere(row, x))] for x, row in units]).items():
        at = sum(map(sum, sizes[1 : place + 1]))
        for rows, size in zip(arrived, sizes[place + 1], strict=True):
            J[:, rows.first : rows.end, at : at + size] = layout.by_sequence(rows.values).swapaxes(0, 1)
            at += size
    return J


# ------------------------------------------------------------------ which axis counts sequences
def _multiplied_from_left(node: Tensor, path: set[int]) -> bool:
    if node.primitive is not matmul:
        return False
    left, right = node.inputs
    return _index(right) in path and _index(left) not in path and right.ndim > 1


def _index(operand: Any) -> int:
    return operand.index if type(operand) is Tensor else -1


def _mix(states: list[State], axis: int) -> bool:
    """Whether the sequences of a batch influence each other, seen from the gradient of the first alone."""
    rng = np.random.default_rng(0)
    for last in {len(states) - 1, len(states) // 2} - {0}:
        seed = [(tensor, rng.normal(size=tensor.shape).astype(tensor.dtype)) for tensor in states[last]]
        for _, g in seed:
            np.moveaxis(g, axis, 0)[1:] = 0.0
        arrived = ToStates(states[last], states[max(0, last - 3) : last]).gradients([seed])
        if any(np.moveaxis(rows.values[0], axis, 0)[1:].any() for each in arrived.values() for rows in each):
            return True
    return False


# ------------------------------------------------------------------ which states a state is made from
def first_states(nodes: Mapping[int, Tensor], states: list[State], without: Container[int] = ()) -> dict[int, int]:
    """For each of some results the number of the first state that it is made from, not through other states.

    Args:
        nodes: the results by creation number, ascending.
        states: in the order of running.
        without: creation numbers of what is not passed through.

    Returns:
        By creation number; `NONE` where there is no such state.
    """
    number = {tensor.index: k for k, state in enumerate(states) for tensor in state}
    found: dict[int, int] = {}
    for index, node in nodes.items():
        if index not in without:
            sources = [x.index for x in node.inputs if type(x) is Tensor and x.index not in without]
            found[index] = min((number.get(source, found.get(source, NONE)) for source in sources), default=NONE)
    return found


# ------------------------------------------------------------------ masks that keep a state
def _kept(before: State, after: State, layout: Layout) -> Array:
    """(B,): in which sequences constant masks make `after` the very numbers of `before`, or of the initial state."""
    kept = np.ones(layout.sequences, bool)
    ends = {old.index for old in before}
    for new in after:
        parts: dict[int, Array] = {}
        for base, factor in _parts(new, np.asarray(1.0), ends):
            parts[base] = parts[base] + factor if base in parts else factor
        entries = np.zeros(new.shape, bool)
        for old in (ends or {_FIXED}) & set(parts) if len(parts) > 1 else ():
            unused = [parts[base] == 0 for base in parts if base != old]
            whole = [] if old == _FIXED else [parts[old] == 1]
            entries |= np.logical_and.reduce([np.broadcast_to(each, new.shape) for each in (*whole, *unused)])
        kept &= layout.by_sequence(entries[None])[0].all(1)
    return kept


def _parts(node: Any, factor: Array, stop: set[int], depth: int = 8) -> Iterator[tuple[int, Array]]:
    """What a state is a sum of: tensors by creation number, each times a factor of constant masks."""
    if not flows(node) or node.primitive is None:
        yield _FIXED, np.where(np.asarray(raw(node)) == 0, 0.0, factor) if not flows(node) else factor
        return
    p, operands = node.primitive, node.inputs
    if node.index in stop or not depth or any(x.shape != node.shape for x in operands if flows(x)):
        yield node.index, factor
    elif p is add or p is subtract:
        yield from _parts(operands[0], factor, stop, depth - 1)
        yield from _parts(operands[1], factor if p is add else -factor, stop, depth - 1)
    elif p is where and not flows(operands[0]):
        chosen = np.asarray(raw(operands[0])).astype(bool)
        yield from _parts(operands[1], factor * chosen, stop, depth - 1)
        yield from _parts(operands[2], factor * ~chosen, stop, depth - 1)
    elif p is multiply and not all(map(flows, operands)):
        a, b = operands if flows(operands[0]) else reversed(operands)
        yield from _parts(a, factor * raw(b), stop, depth - 1)
    else:
        yield node.index, factor


__all__ = ["NONE", "Layout", "first_states", "jacobian"]
