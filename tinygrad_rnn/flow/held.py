"""From the tensors that a user holds, such as `out[t]` or `relu(h)`, to the recurrent states they were made from.

A gradient through time passes only through what one step hands to the next. A slice of stacked outputs or a function
of a state is beside that path: nothing of the past arrives there, whatever the network does.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..core.backprop import Arrays, Rules, edge_gradients, sent, sweep
from ..core.indexing import Patch
from ..core.tensor import Array, Tensor
from ..core.traits import NOTHING
from ..errors import GraphError
from ..ops import stack
from .structure import State, Structure, structure
from .sweep import between, flows


def on_the_path(given: list[State], caller: str, loss: Tensor | None = None) -> list[State]:
    """The states of one layer that `given` are or were made from, in the same order, each with all its tensors.

    A tensor that leads to another of those given, or was cut off from it by `detach`, stays as it is; only what the
    same step hands on beside it is added, such as c_t of an LSTM where h_t was given.

    Args:
        given: what the user holds for each step.
        caller: for the message.
        loss: what was computed from the states; by default only what was given is looked at.

    Raises:
        GraphError: a tensor is beside the path and not made from the states of one step of one layer by views, masks
            and monotone functions of each entry.
    """
    if len(given) < 2:
        return given
    tensors = [tensor for state in given for tensor in state]
    path = between(tensors, tensors)
    leading = {x.index for node in path.values() for x in node.inputs if type(x) is Tensor}
    last = max(range(len(given)), key=lambda k: given[k][0].index)
    end = max((tensor.index for tensor in tensors if tensor.index in leading), default=0)
    leading |= {index for index in path if index > end}  # the last, of a network of higher order several
    parts = [*([] if loss is None else [loss]), *(tensor.sum() for tensor in tensors)]
    graph = structure(sum(parts[1:], parts[0]))
    cut = {leaf.cut_from for leaf in graph.cuts if leaf.cut_from is not None}
    leading |= cut
    if all(k == last or any(tensor.index in leading for tensor in state) for k, state in enumerate(given)):
        return _complete(given, graph)
    recurrent = (row for row in graph.rows if between(row, row) or any(tensor.index in cut for tensor in row))
    known = {tensor.index for row in recurrent for tensor in row}  # one leads to the next, or would but for a cut
    on_it = leading | known
    if on_it.isdisjoint(tensor.index for tensor in tensors) and not known:
        raise GraphError(
            f"{caller}: none of the given tensors, such as {given[0][0].describe()}, leads to another one; make each "
            "state from the one before it, not from its .data or zeros, and pass these states"
        )
    home = {
        tensor.index: tuple(other for other in state if other.index in known)
        for layer in graph.layers
        for state in layer
        for tensor in state
    }
    found: list[State] = []
    for state in given:
        if any(tensor.index in on_it for tensor in state):
            found.append(state)
            continue
        origins = {index for tensor in state for index in _origins(tensor, known, caller)}
        made_from = {home[index][0].index: home[index] for index in origins}
        if len(made_from) != 1:
            raise GraphError(
                f"{caller}: {state[0].describe()} is beside the path of the gradient through time and made from "
                f"{len(made_from)} states, expected one; pass the states of one layer and direction as the loop made "
                "them, such as one of gradient_flow(loss).structure.layers"
            )
        found.extend(made_from.values())
    if len({state[0].index for state in found}) < len(found):
        raise GraphError(f"{caller}: several of the given tensors are made from the same state; pass one for each step")
    return _complete(found, graph)


def _complete(given: list[State], graph: Structure) -> list[State]:
    for layer in graph.layers:
        home = {tensor.index: state for state in layer for tensor in state}
        found = [home.get(state[0].index, ()) for state in given]
        if all(found):
            pairs = zip(given, found, strict=True)
            return [(*own, *(x for x in state if all(x is not y for y in own))) for own, state in pairs]
    return given


def _origins(given: Tensor, known: set[int], caller: str) -> set[int]:
    """Creation numbers of the states whose entries `given` consists of.

    Raises:
        GraphError: something else than a view, mask or monotone function of each entry is on the way.
    """
    marks = _Marks(given, known, caller)
    return {tensor.index for tensor, _ in sweep([(given, np.ones(given.shape))], marks) if tensor.index in known}


class _Marks(Arrays):
    """Which entries of a result those of `given` come from, not 0 there, for `core.backprop.sweep`."""

    def __init__(self, given: Tensor, known: set[int], caller: str) -> None:
        super().__init__()
        self.given, self.known, self.caller = given, known, caller

    def take(self, tensor: Tensor) -> Array:
        if tensor.primitive is None and tensor.index not in self.known:
            raise self._beside("a leaf")
        return super().take(tensor)

    def rules(self, node: Tensor, g: Array) -> Rules:
        sources = [] if node.index in self.known else self._sources(node, g)
        return [x for x, _ in sources], [partial(sent, part) if part.any() else None for _, part in sources], ()

    def _sources(self, node: Tensor, mask: Array) -> list[tuple[Tensor, Array]]:
        """The operands that the marked entries of a result come from, with those of their entries."""
        traits = NOTHING if node.primitive is None else node.primitive.traits
        if node.primitive is stack:  # without an array of zeros for every step that was not picked
            picked = np.moveaxis(mask, node.attrs["axis"], 0)
            numbers = np.flatnonzero(picked.reshape(len(picked), -1).any(1))
            return [(node.inputs[i], picked[i]) for i in numbers if flows(node.inputs[i])]
        if traits.moves:
            parts = zip(node.inputs, edge_gradients(node, mask.astype(node.dtype)), strict=True)
            return [(x, g.dense(x.shape) if type(g) is Patch else np.asarray(g)) for x, g in parts if g is not None]
        operands = [x for x in node.inputs if flows(x)]
        if traits.elementwise and len(operands) == 1 and operands[0].shape == node.shape:
            return [(operands[0], mask)]
        assert node.primitive is not None
        raise self._beside(node.primitive.name)

    def _beside(self, name: str) -> GraphError:
        return GraphError(
            f"{self.caller}: {self.given.describe()} is beside the path of the gradient through time: it does not lead "
            f"to the next of the given tensors, and {name} is on the way back to a state it may be made from; pass the "
            "tensors h_t that one step hands to the next, such as one of gradient_flow(loss).structure.layers"
        )


__all__ = ["on_the_path"]
