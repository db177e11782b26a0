"""What happens, in order: every operation of the forward pass, and then of the backward pass, with its numbers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.tensor import Array, Tensor
from ...flow.gradient_flow import GradientFlow
from ...flow.norms import norm as norm_of
from ...ops import swapaxes, transpose
from ...ops.indexing import getitem_p
from ..classify import index_text
from ..diagram import Box, Diagram, Link
from ..text import number, shorten

SMALL = 16
"""Arrays of up to this many numbers are written out."""


@dataclass
class Filling:
    """How the gradient of one shared weight adds up along the way back."""

    name: str
    shape: str
    total: float
    """|dL/dW|."""
    steps: list[int | str] = field(default_factory=list)
    """In the order in which they arrive; "hidden" for those that are not drawn."""
    norms: list[float] = field(default_factory=list)
    running: list[float] = field(default_factory=list)
    """The norm of the sum so far, starting with what comes from outside the steps."""
    values: list[Any] = field(default_factory=list)
    """The sum so far itself, where it is small."""
    hand: list[float] = field(default_factory=list)
    """The same sum from the derivation by hand; only the last entry where no steps are given."""
    error: float | None = None
    """The largest difference between the two at the end."""

    def data(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "steps": self.steps,
            "norms": [number(n) for n in self.norms],
            "running": [number(n) for n in self.running],
            "share": [
                round(n / self.total, 4) if 0 < self.total < np.inf and np.isfinite(n) else 0 for n in self.running
            ],
            "values": self.values,
            "hand": [number(n) for n in self.hand],
        }


@dataclass
class Story:
    """All events, and how the weights' gradients fill."""

    events: list[dict[str, Any]]
    weights: list[Filling]


def story(drawn: Diagram, flow: GradientFlow, hand: dict[int, Array]) -> Story:
    """Tell the forward and the backward pass.

    Args:
        drawn: the boxes and links of the picture, in `op` detail.
        flow: the gradients.
        hand: by creation number of a weight its gradient derived by hand, per step or whole.
    """
    return _Teller(drawn, flow, hand).tell()


class _Teller:
    def __init__(self, drawn: Diagram, flow: GradientFlow, hand: dict[int, Array]) -> None:
        self.drawn = drawn
        self.flow = flow
        self.hand = hand
        self.states = {record.tensor.index: record for record in flow.states()}
        self.hidden = set(drawn.hidden)
        self.box_of: dict[int, Box] = {member.index: box for box in drawn.boxes for member in box.members}
        self.into: dict[int, list[tuple[int, Link]]] = defaultdict(list)
        self.out_of: dict[int, list[tuple[int, Link]]] = defaultdict(list)
        for at, link in enumerate(drawn.links):
            self.out_of[link.tensor.index].append((at, link))
            for user, _ in link.uses if link.target.kind != "gap" else ():
                self.into[user.index].append((at, link))

    def tell(self) -> Story:
        nodes = self.flow.structure.nodes
        events = [self._forward(node) for node in nodes if node.index in self.box_of]
        fillings, due = self._fillings()
        passing: dict[str, Any] | None = None
        for node in reversed(nodes):
            arrived = due.get(node.index, [])
            if node.index in self.box_of and self.flow.gradient(node) is not None:
                events.append(self._backward(node, arrived))
            elif arrived and events[-1]["p"] == "b" and (node.step not in self.hidden or events[-1] is passing):
                events[-1].setdefault("fill", []).extend(arrived)  # such as W.T, which is told with its user
            elif arrived:  # tell all steps that are not drawn in one go
                passing = {"p": "b", "t": None, "eq": self._passing(), "fill": list(arrived), "e": []}
                events.append(passing)
        return Story(events, fillings)

    def _passing(self) -> str:
        hidden = self.drawn.hidden
        return f"through steps {hidden[-1]} to {hidden[0]}, which are not drawn" if hidden else "work outside the steps"

    # ------------------------------------------------------------------ one operation
    def _forward(self, node: Tensor) -> dict[str, Any]:
        right = self._expression(node)
        name = self._name(node)
        shapes = " , ".join(_shape(x) for x in node.inputs[:6])
        event: dict[str, Any] = {
            "p": "f",
            "b": self.box_of[node.index].id,
            "t": self.box_of[node.index].step,
            "eq": f"{name} = {right}" if name else right,
            "sh": f"{shapes} → {_shape(node)}",
            "e": [f"e{at}" for at, _ in self.into[node.index]],
        }
        values = _values(node._array)
        if values is not None:
            event["v"] = [[name or "the result", values]]
        if node.index in self.states:
            event["n"] = "All that later steps get to know of the past goes through this state."
        elif node is self.flow.loss:
            event["n"] = "The forward pass ends here; backpropagation visits the same operations the other way round."
        return event

    def _notice(self, node: Tensor, arrived: list[list[Any]]) -> str:
        """What there is to see in a step of the backward pass."""
        record = self.states.get(node.index)
        if node is self.flow.loss:
            return "Backpropagation begins with ∂L/∂L = 1."
        if record is not None and norm_of(record.from_future) > 0:
            words = f"Two kinds of messages meet: {number(norm_of(record.injected))} from this step's own loss, "
            words += f"{number(norm_of(record.from_future))} from later steps. The second is what goes through time."
            return words + (f" It is ×{number(record.gain)} of the next state's gradient." if record.gain else "")
        if record is not None:
            return "No later step uses this state: all its gradient is injected by its own step."
        if arrived:
            return "The same weight is used in every step, so its gradient is the sum of what all steps send to it."
        return ""

    def _backward(self, node: Tensor, arrived: list[list[Any]]) -> dict[str, Any]:
        assert node.primitive is not None
        g = self.flow.gradient(node)
        rules = node.primitive.traits.backward
        words = [self._mention(x) for x in node.inputs]
        said: list[list[str]] = []
        values: list[list[Any]] = []
        g_values = _values(g)
        if g_values is not None:
            values.append([f"∂L/∂{self._mention(node)}", g_values])
        for i, x in enumerate(node.inputs[:6]):
            if not isinstance(x, Tensor) or not x.requires_grad:
                continue
            rule = rules[i].format(*words) if i < len(rules) else f"the {node.primitive.name} rule, operand {i}"
            norm = self.flow.edge_norm(node, i)
            said.append([f"to {words[i]}: {rule}", _shape(x), number(norm)])
            message = self.flow.edge(node, i) if x.size <= SMALL else None
            if message is not None and x.is_leaf:
                values.append([f"to {words[i]}", _values(message)])
        box = self.box_of[node.index]
        event: dict[str, Any] = {
            "p": "b",
            "b": box.id,
            "t": box.step,
            "eq": f"g = ∂L/∂{self._mention(node)}, norm {number(self.flow.norm(node))}",
            "sh": _shape(node),
            "out": said,
            "in": self._incoming(node),
            "e": [f"e{at}" for at, link in self.into[node.index] if link.kind != "cut"],
        }
        if values:
            event["v"] = values
        if arrived:
            event["fill"] = arrived
        if notice := self._notice(node, arrived):
            event["n"] = notice
        return event

    def _incoming(self, node: Tensor) -> list[list[str]]:
        """The messages that were added up to this node's gradient."""
        found = []
        for user, i in self.flow.structure.consumers(node)[:8]:
            norm = self.flow.edge_norm(user, i) if self.flow.gradient(user) is not None else None
            if norm is not None:
                step = "" if user.step is None or user.step == node.step else f" of step {user.step}"
                found.append([f"{self._mention(user)}{step}", number(norm)])
        return found

    def _expression(self, node: Tensor, depth: int = 2) -> str:
        """What a node computes, in terms of its operands."""
        assert node.primitive is not None
        words = [self._mention(x, depth) for x in node.inputs]
        if node.primitive is getitem_p:
            return f"{words[0]}{index_text(node.attrs.get('key'), words[1:])}"
        return node.primitive.traits.describe(node.primitive.name, [*words[:6], "…"] if len(words) > 6 else words)

    def _mention(self, x: object, depth: int = 2) -> str:
        """An operand: its name, or else what it is computed from."""
        if not isinstance(x, Tensor):
            value = np.asarray(x)
            return f"{value:.4g}" if value.ndim == 0 and value.dtype.kind in "iuf" else "…"
        name = self._name(x)
        if name:
            return name
        if x.primitive is None:
            return self.flow.structure.weight_name(x) if x.requires_grad else "const"
        return f"({self._expression(x, depth - 1)})" if depth else "…"

    def _name(self, x: Tensor) -> str:
        """A tensor's name with its step, or "" where it has none."""
        if (x.primitive is transpose or x.primitive is swapaxes) and not x.name:
            return f"{self._mention(x.inputs[0])}ᵀ"
        name = shorten(x.name or "", 20) if not self._is_interior(x) else ""
        box = self.box_of.get(x.index)
        if not name and box is not None and box.kind in ("state", "initial", "loss", "input"):
            return "".join(f"[{run.text}]" if run.subscript else run.text for run in box.title)
        return f"{name}[{x.step}]" if name and x.step is not None and x is not self.flow.loss else name

    def _is_interior(self, x: Tensor) -> bool:
        return x.primitive is not None and any(u.origin == x.origin for u, _ in self.flow.structure.consumers(x))

    # ------------------------------------------------------------------ sums over time
    def _fillings(self) -> tuple[list[Filling], dict[int, list[list[Any]]]]:
        """For each weight its sum, and at which operation each step's share is complete: [[weight, place], ...]."""
        structure = self.flow.structure
        row_of = {step: at for at, step in enumerate(structure.steps)}
        fillings: list[Filling] = []
        due: dict[int, list[list[Any]]] = defaultdict(list)
        for number_of, weight in enumerate(structure.shared_weights):
            parts = self.flow.per_step(weight)
            by_hand = self.hand.get(weight.index)
            filling = Filling(shorten(structure.weight_name(weight), 24), _shape(weight), self.flow.norm(weight) or 0.0)
            done: dict[int | str, int] = {}
            for step, order in self._completions(weight).items():
                place = "hidden" if step in self.hidden else step
                done[place] = min(order, done.get(place, order))
            total = np.array(self.flow.outside(weight), copy=True)
            derived = np.zeros_like(total)
            self._note(filling, total, derived, by_hand)
            for place, order in sorted(done.items(), key=lambda item: -item[1]):
                rows = [row_of[step] for step in self.drawn.hidden] if place == "hidden" else [row_of[int(place)]]
                part = parts[rows].sum(axis=0)
                total += part
                if by_hand is not None and by_hand.ndim > weight.ndim:
                    derived += by_hand[rows].sum(axis=0)
                filling.steps.append(place)
                filling.norms.append(norm_of(part))
                self._note(filling, total, derived, by_hand)
                due[order].append([number_of, place])
            if by_hand is not None:
                whole = by_hand if by_hand.ndim == weight.ndim else by_hand.sum(axis=0)
                g = self.flow.gradient(weight)
                filling.hand = filling.hand if by_hand.ndim > weight.ndim else [norm_of(whole)]
                filling.error = float(np.max(np.abs(whole - g), initial=0.0)) if g is not None else None
            fillings.append(filling)
        return fillings, due

    @staticmethod
    def _note(filling: Filling, total: Array, derived: Array, by_hand: Array | None) -> None:
        filling.running.append(norm_of(total))
        values = _values(total)
        if values is not None:
            filling.values.append(values)
        if by_hand is not None and by_hand.ndim > total.ndim:
            filling.hand.append(norm_of(derived))

    def _completions(self, weight: Tensor) -> dict[int, int]:
        """For each step the creation number of the last operation, going back, that uses the weight in it."""
        found: dict[int, int] = {}
        seen, stack = {weight.index}, [weight]
        while stack:
            for user, _ in self.flow.structure.consumers(stack.pop()):
                if user.step is None:
                    if user.index not in seen:
                        seen.add(user.index)
                        stack.append(user)
                elif self.flow.gradient(user) is not None:
                    found[user.step] = min(user.index, found.get(user.step, user.index))
        return found


def _shape(x: object) -> str:
    shape = x.shape if isinstance(x, Tensor) else np.shape(np.asarray(x))
    return "(" + "×".join(map(str, shape)) + ")" if shape else "scalar"


def _values(array: Array | None) -> list[list[str]] | None:
    """Rows of short numbers, or None where there are too many."""
    if array is None or not 0 < array.size <= SMALL or array.ndim > 2:
        return None
    return [[_short(v) for v in row] for row in np.atleast_2d(array).tolist()]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


__all__ = ["Filling", "Story", "story"]
