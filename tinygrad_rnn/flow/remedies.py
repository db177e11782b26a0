"""What would help, found by trying it: the graph is run again with other weights, biases or cells, and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from .. import nn
from ..core.tensor import Array, Tensor
from ..ops import matmul, sigmoid
from .gradients import Gradients
from .layout import Layout
from .memory import Memory, Thresholds
from .reach import measure, starts_of
from .replay import Change, Copy, replay
from .sentence import in_percent
from .structure import State, Structure
from .sweep import flows

BETTER = 1.5
"""A remedy helps if it moves the horizon by this factor."""


OPEN = 3.0
"""What is put before the sigmoid of a gate, in the mean, to open it: 95 % pass."""


@dataclass(frozen=True, eq=False)
class Remedy:
    """A change that was tried on a copy, and what it did."""

    words: str
    before: Memory
    after: Memory

    @property
    def helps(self) -> bool:
        """Whether the gradient reaches further, or no longer explodes."""
        if self.after.verdict in ("exploding", "mixed"):
            return self.after.verdict != self.before.verdict and self.before.verdict == "exploding"
        if self.before.verdict == "exploding" or self.after.horizon is None:
            return self.after.horizon is None
        return self.after.horizon >= max(BETTER * _lags(self.before), _lags(self.before) + 2)

    def __repr__(self) -> str:
        if self.after.verdict in ("healthy", "too short to tell"):
            return f"{self.words}: in reach at all {self.after.lags} lags, {in_percent(self.after.left)} at the largest"
        return f"{self.words}: {self.after.verdict}, horizon {_lags(self.after)} instead of {_lags(self.before)}"


def _lags(memory: Memory) -> int:
    return memory.lags + 1 if memory.horizon is None else memory.horizon


def tried(
    flow: Gradients, losses: list[Tensor], layout: Layout, before: Memory, thresholds: Thresholds
) -> list[Remedy]:
    """All trials on a layer, those that reach furthest first.

    Args:
        flow: of the total loss.
        losses: those that are followed back.
        layout: of the layer's states.
        before: what was measured as it is.
        thresholds: of the verdicts.
    """
    found = []
    with np.errstate(all="ignore"):
        for trial in trials(flow.structure, layout):
            copies = replay(flow.structure, trial.leaves, trial.change)
            states = trial.states or [tuple(copies[tensor.index] for tensor in state) for state in layout.states]
            changed = [copies[loss.index] for loss in losses]
            starts = starts_of(Gradients(copies[flow.loss.index]), changed)
            _, after = measure(states, starts, set(), thresholds)
            found.append(Remedy(trial.words, before, after))
    return sorted(
        found, key=lambda remedy: (remedy.helps, remedy.after.horizon is None, _lags(remedy.after)), reverse=True
    )


@dataclass(frozen=True)
class Trial:
    """A change to try."""

    words: str
    leaves: Mapping[int, Array]
    change: Change | None = None
    states: list[State] | None = None
    """Filled by the change with the states of the copy, where they are not the copies of the states."""


def trials(graph: Structure, layout: Layout) -> Iterator[Trial]:
    """All that can be tried on a layer."""
    recurrent, inputs = _weights(graph, layout)
    H = layout.states[0][0].size // layout.sequences
    rng = np.random.default_rng(0)
    kinds: dict[str, Callable[[Array], Array]] = {
        "orthogonal": lambda block: nn.init.orthogonal(block.shape, rng),
        "the identity": lambda block: np.eye(H),
        "at spectral radius 1": lambda block: block / (spectral_radius(block) or 1.0),
    }
    blocks = [leaf for leaf in recurrent if _blocks(leaf, H)]
    names = ", ".join(map(graph.weight_name, blocks))
    for words, change in kinds.items() if blocks else ():
        yield Trial(f"{names} {words}", {leaf.index: _each(leaf, H, change) for leaf in blocks})
    names = ", ".join(map(graph.weight_name, inputs))
    for factor in (0.3, 3.0) if inputs else ():
        yield Trial(f"{names} times {factor:g}", {leaf.index: factor * leaf._array for leaf in inputs})
    gates = gates_of(graph, layout)
    for name, nodes in gates.items():
        mean = float(np.mean([node.inputs[0]._array.mean() for node in nodes]))
        chosen = {node.index for node in nodes}
        for words, wanted in (("open", OPEN), ("shut", -OPEN)):
            shift = round(wanted - mean, 1)

            def shifted(node: Tensor, copy: Copy, shift: float = shift, chosen: set[int] = chosen) -> Any:
                return sigmoid(copy(node.inputs[0]) + shift) if node.index in chosen else None

            yield Trial(f"gate {name} {words} (bias {shift:+})", {}, shifted)
    if not gates:
        yield from _cells(layout, {leaf.index for leaf in inputs})


# ------------------------------------------------------------------ weights
def _weights(graph: Structure, layout: Layout) -> tuple[list[Tensor], list[Tensor]]:
    """The matrices that a state is multiplied by on its way to the next state, and those that only an input is."""
    states = [tensor for state in layout.states for tensor in state]
    path = {tensor.index for tensor in states} | set(layout.path)
    leaves = {leaf.index: leaf for leaf in graph.leaves if leaf.requires_grad and leaf.ndim == 2}
    reached = path | {x.index for node in layout.path.values() for x in node.inputs if type(x) is Tensor}
    found: dict[int, bool] = {}
    for node in reversed(graph.nodes):  # back from the path, through what feeds it in the same scope
        if node.index not in reached or node.scope != states[0].scope:
            continue
        weights = [base for x in node.inputs if (base := _base(x)) in leaves]
        if node.primitive is matmul and weights:
            own = any(type(x) is Tensor and x.index in path for x in node.inputs)
            found[weights[0]] = found.get(weights[0], False) or own
        else:
            reached.update(x.index for x in node.inputs if type(x) is Tensor and x.index not in path and x.ndim > 1)
    recurrent, inputs = ([leaves[index] for index, own in found.items() if own is which] for which in (True, False))
    return recurrent, inputs


def _base(operand: Any) -> int:
    """The creation number of the leaf that a weight is, or is a transpose of; -1 if it is neither."""
    while type(operand) is Tensor and operand.primitive is not None and operand.primitive.traits.moves:
        operand = operand.inputs[0]
    return operand.index if type(operand) is Tensor and operand.primitive is None else -1


def _blocks(leaf: Tensor, H: int) -> list[Array]:
    """The square blocks (H, H), one for each gate, that a matrix consists of; none if it does not."""
    small, large = sorted(leaf.shape)
    return np.split(leaf._array, large // H, axis=int(leaf.shape[0] == H)) if small == H and large % H == 0 else []


def _each(leaf: Tensor, H: int, change: Callable[[Array], Array]) -> Array:
    """A matrix with each of its blocks changed."""
    return np.concatenate(list(map(change, _blocks(leaf, H))), axis=int(leaf.shape[0] == H)).astype(leaf.dtype)


def spectral_radius(block: Array) -> float:
    """The spectral radius, to about one in a thousand: |A^n|^(1/n), n = 2^16, by squaring; faster than eigenvalues."""
    power, logarithm = np.asarray(block, np.float64), 0.0
    for k in range(17):
        size = np.abs(power).max()
        if not 0 < size < np.inf:
            return 0.0 if size == 0 else float("nan")
        logarithm += float(np.log(size)) / 2**k
        power = power / size
        power = power @ power
    return float(np.exp(logarithm))


def radius_of(graph: Structure, layout: Layout) -> float | None:
    """The largest spectral radius of a layer's recurrent weights, of each square block; None if there are none."""
    H = layout.states[0][0].size // layout.sequences
    recurrent, _ = _weights(graph, layout)
    return max((spectral_radius(block) for leaf in recurrent for block in _blocks(leaf, H)), default=None)


# ------------------------------------------------------------------ gates and cells
def gates_of(graph: Structure, layout: Layout) -> dict[str, list[Tensor]]:
    """The sigmoids that a step of the layer makes its state from, by the name of the variable they are assigned to."""
    own = [tensor for state in layout.states for tensor in state if tensor.step is not None]
    seen = {tensor.index for tensor in graph.states}  # what other layers make in the same step is theirs
    found, stack = [], list(own)
    while stack:
        node = stack.pop()
        for x in node.inputs:
            if flows(x) and x.primitive is not None and x.step == node.step and x.index not in seen:
                seen.add(x.index)
                stack.append(x)
                if x.primitive.traits.bounds == (0, 1) and x.scope == own[0].scope:
                    found.append(x)
    gates: dict[str, list[Tensor]] = {}
    for node in sorted(found, key=attrgetter("index")):
        gates.setdefault(node.name or "?", []).append(node)
    return gates


def _cells(layout: Layout, weights: set[int]) -> Iterator[Trial]:
    """An LSTM and a GRU in place of a layer of one tensor, reading what it reads."""
    states = layout.states
    known = {tensor.index for state in states for tensor in state}
    inputs = [_input(state[0], known, weights) for state in states]
    shapes = {None if x is None else x.shape for x in inputs}
    single = all(len(state) == 1 and state[0].ndim == 2 for state in states)
    if not single or layout.axis or None in shapes or len(shapes) != 1:
        return
    H, I = states[0][0].shape[-1], inputs[0].shape[-1]
    for kind, words in ((nn.LSTMCell, "an LSTM in its place, forget"), (nn.GRUCell, "a GRU in its place, update")):
        cell = kind(I, H, dtype=states[0][0].dtype, rng=0)
        assert cell.bias_ih is not None
        cell.bias_ih.data[H : 2 * H] = 3.0
        made: list[State] = []

        def change(node: Tensor, copy: Copy, cell: Any = cell, made: list[State] = made) -> Any:
            k = len(made)
            if k == len(states) or node.index != states[k][0].index:
                return None
            before = made[-1] if made else cell.zeros(node.shape[:1])
            made.append(cell.step(copy(inputs[k]), *before))
            return made[-1][0]

        yield Trial(f"{words} gate +3", {}, change, made)


def _input(state: Tensor, known: set[int], weights: set[int]) -> Any:
    """What a step reads beside the state: what is multiplied by one of the input weights."""
    stack, seen = [state], known - {state.index}
    while stack:
        node = stack.pop()
        if node.index in seen or node.primitive is None:
            continue
        seen.add(node.index)
        if node.primitive is matmul and _base(node.inputs[1]) in weights:
            return node.inputs[0]
        stack.extend(x for x in node.inputs if flows(x))
    return None


__all__ = ["Remedy", "gates_of", "radius_of", "spectral_radius", "tried"]
