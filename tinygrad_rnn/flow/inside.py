"""Inside the cell: what the gates do, and every unit's state and gradient at every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..core.arguments import checked
from ..core.tensor import Array
from ..errors import GraphError
from ..escape import terminal
from .gradients import Gradients
from .layout import Layout
from .remedies import gates_of
from .structure import State

SHUT, OPEN = 0.05, 0.95
"""A gate's output below or above is saturated: it hardly answers to what it is given."""

_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, eq=False)
class Inside:
    """The numbers of one layer, each (T, B, H): steps in the order of running, sequences, units.

    Attributes:
        name: the layer's scope.
        steps: the number of each step.
        states: the tensors that a step hands to the next, by name, such as h and c.
        gradients: dL/d of these, of the total loss.
        gates: what the sigmoids of each step gave, by the name of the variable, such as i, f, o.
    """

    name: str
    steps: list[int]
    states: dict[str, Array] = field(repr=False)
    gradients: dict[str, Array] = field(repr=False)
    gates: dict[str, Array] = field(repr=False)

    @checked
    def saturated(self, gate: str) -> tuple[float, float]:
        """The shares of a gate's outputs that are shut and that are open."""
        values = self.gates[gate]
        return float((values < SHUT).mean()), float((values > OPEN).mean())

    @checked
    def histogram(self, gate: str, bins: int = 20) -> Array:
        """The share of a gate's outputs in each of some equal parts of 0 to 1: (bins,)."""
        counts, _ = np.histogram(self.gates[gate], bins, (0.0, 1.0))
        return counts / max(1, counts.sum())

    def __repr__(self) -> str:
        T, B, H = next(iter(self.states.values())).shape
        lines = [f"{terminal(self.name) or 'the layer'}: {T} steps, {B} sequences, {H} units"]
        for name, values in self.states.items():
            size = np.abs(values)
            words = f"mean |{name}| {size.mean():.2f}, largest {size.max():.2f}"
            lines.append(
                f"  state {terminal(name)}: {words}, |dL/d{terminal(name)}| {np.abs(self.gradients[name]).mean():.1e}"
            )
        for name, values in self.gates.items():
            shut, open_ = self.saturated(name)
            shares = self.histogram(name)
            bars = "".join(_BLOCKS[int(np.ceil(8 * share / shares.max()))] for share in shares)
            lines.append(
                f"  gate {terminal(name)}: mean {values.mean():.2f}, {shut:.0%} shut, {open_:.0%} open  0|{bars}|1"
            )
        return "\n".join(lines)


@checked
def inside(flow: Gradients, layer: list[State] | None = None) -> Inside:
    """The states, their gradients and the gates of a layer.

    Args:
        flow: of the loss.
        layer: one of `flow.structure.layers`; by default the first.

    Raises:
        GraphError: the graph has no such layer.
    """
    known = [each for each in flow.structure.layers if len(each) > 1]
    states = layer if layer is not None else known[0] if known else []
    if len(states) < 2:
        raise GraphError("inside: no layer hands a state from one step to another; run the loop within tg.steps(xs)")
    shape = Layout(sorted(states, key=lambda state: state[0].index))
    full = [state for state in shape.states if len(state) == len(shape.states[0])]
    names = numbered((0, tensor.name or "h") for tensor in full[0])

    def stacked(arrays: list[Array]) -> Array:
        return shape.by_sequence(np.stack(arrays))

    gradients = {}
    for i, name in enumerate(names):
        found = [flow.gradient(state[i]) for state in full]
        gradients[name] = stacked([np.zeros(full[0][i].shape) if g is None else g for g in found])
    gates: dict[str, list[Array]] = {}
    for gate, nodes in gates_of(flow.structure, shape).items():
        alike = [node for node in nodes if node.shape == full[0][0].shape]
        for name, node in zip(numbered((node.step, gate) for node in alike), alike, strict=True):
            gates.setdefault(name, []).append(node.data)
    return Inside(
        name=states[0][0].scope,
        steps=shape.steps[: len(full)],
        states={name: stacked([state[i].data for state in full]) for i, name in enumerate(names)},
        gradients=gradients,
        gates={name: stacked(arrays) for name, arrays in gates.items()},
    )


def numbered(names: Iterable[tuple[int | None, str]]) -> list[str]:
    """Names told apart, within a step where one is given: the second z of a step is "z #2"."""
    seen: Counter[tuple[int | None, str]] = Counter()
    found = []
    for step, name in names:
        seen[step, name] += 1
        found.append(name if seen[step, name] == 1 else f"{name} #{seen[step, name]}".lstrip())
    return found


__all__ = ["Inside", "inside", "numbered"]
