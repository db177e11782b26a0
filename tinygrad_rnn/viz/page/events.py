"""What happens, in order: every operation of the forward pass, and then of the backward pass, with its numbers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from ...core.tensor import Array, Tensor
from ...flow.gradient_flow import GradientFlow
from ...flow.norms import norm as norm_of
from ...ops import swapaxes, transpose
from ...ops.indexing import getitem_p
from ..classify import index_text
from ..diagram import Box, Diagram, Link
from ..text import number, shape_of, shorten

SMALL = 16
"""Arrays of up to this many numbers are written out."""


Event = dict[str, Any]
"""What the page is told of one operation: phase ("f" or "b"), box, time step, equation, shapes, edges (their numbers),
values, messages in and out, sums that fill ([weight, place], ...) and what to notice."""


@dataclass
class Filling:
    """How the gradient of one shared weight adds up along the way back."""

    name: str
    shape: str
    total: float
    """|dL/dW|."""
    steps: list[int | str]
    """In the order in which they arrive; "hidden" for those that are not drawn."""
    norms: list[float]
    running: list[float]
    """The norm of the sum so far, starting with what comes from outside the steps."""
    values: list[Any]
    """The sum so far itself, where it is small."""
    hand: list[float]
    """The same norms from the derivation by hand; only the last entry where no steps are given."""
    error: float | None
    """The largest difference between the two at the end."""

    def data(self) -> dict[str, Any]:
        known = [norm if np.isfinite(norm) else 0.0 for norm in self.running]
        return {
            "name": self.name,
            "steps": self.steps,
            "running": list(map(number, self.running)),
            "share": [round(norm / self.total, 4) if 0 < self.total < np.inf else 0 for norm in known],
            "values": self.values,
            "hand": list(map(number, self.hand)),
        }


def story(drawn: Diagram, flow: GradientFlow, hand: dict[int, Array]) -> tuple[list[Event], list[Filling]]:
    """All events of the forward and the backward pass, and how the weights' gradients fill.

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

    def tell(self) -> tuple[list[Event], list[Filling]]:
        nodes = self.flow.structure.nodes
        events = [self._forward(node) for node in nodes if node.index in self.box_of]
        fillings, due = self._fillings()
        hidden = self.drawn.hidden
        words = (
            f"through steps {hidden[-1]} to {hidden[0]}, which are not drawn" if hidden else "work outside the steps"
        )
        passing: Event | None = None
        for node in reversed(nodes):
            arrived = due.get(node.index, [])
            if node.index in self.box_of and self.flow.gradient(node) is not None:
                events.append(self._backward(node, arrived))
            elif arrived and events[-1]["p"] == "b" and (node.step not in self.hidden or events[-1] is passing):
                events[-1].setdefault("fill", []).extend(arrived)  # such as W.T, which is told with its user
            elif arrived:  # tell all steps that are not drawn in one go
                passing = {"p": "b", "t": None, "eq": words, "fill": list(arrived), "e": []}
                events.append(passing)
        return events, fillings

    # ------------------------------------------------------------------ one operation
    def _event(self, phase: str, node: Tensor, words: str, shapes: str, values: list[list[Any]], **more: Any) -> Event:
        box = self.box_of[node.index]
        edges = [at for at, link in self.into[node.index] if phase == "f" or link.kind != "cut"]
        event = {"p": phase, "b": box.id, "t": box.step, "eq": words, "sh": shapes, "e": edges}
        more["v"] = [each for each in values if each[1] is not None]
        return event | {key: value for key, value in more.items() if value}

    def _forward(self, node: Tensor) -> Event:
        right = self._expression(node)
        name = self._name(node)
        shapes = f"{' , '.join(_shape(x) for x in node.inputs[:6])} → {_shape(node)}"
        notice = ""
        if node.index in self.states:
            notice = "All that later steps get to know of the past goes through this state."
        elif node is self.flow.loss:
            notice = "The forward pass ends here; backpropagation visits the same operations the other way round."
        values = [[name or "the result", _values(node._array)]]
        return self._event("f", node, f"{name} = {right}" if name else right, shapes, values, n=notice)

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

    def _backward(self, node: Tensor, arrived: list[list[Any]]) -> Event:
        assert node.primitive is not None
        rules = node.primitive.traits.backward
        words = [self._mention(x) for x in node.inputs]
        called = f"∂L/∂{self._mention(node)}"
        sent: list[list[str]] = []
        values = [[called, _values(self.flow.gradient(node))]]
        for i, x in enumerate(node.inputs[:6]):
            if not isinstance(x, Tensor) or not x.requires_grad:
                continue
            rule = rules[i].format(*words) if i < len(rules) else f"the {node.primitive.name} rule, operand {i}"
            sent.append([f"to {words[i]}: {rule}", _shape(x), number(self.flow.edge_norm(node, i))])
            if x.is_leaf and x.size <= SMALL:
                values.append([f"to {words[i]}", _values(self.flow.edge(node, i))])
        more = {"out": sent, "in": self._incoming(node), "fill": arrived, "n": self._notice(node, arrived)}
        words_of_g = f"g = {called}, norm {number(self.flow.norm(node))}"
        return self._event("b", node, words_of_g, _shape(node), values, **more)

    def _incoming(self, node: Tensor) -> list[list[str]]:
        """The messages that were added up to this node's gradient."""
        found = []
        for user, i in self.flow.structure.consumers(node)[:8]:
            norm = self.flow.edge_norm(user, i) if self.flow.gradient(user) is not None else None
            if norm is not None:
                step = "" if user.step is None or user.step == node.step else f" of step {user.step}"
                found.append([f"{self._mention(user)}{step}", number(norm)])
        return found

    def _expression(self, node: Tensor, depth: int = 3) -> str:
        """What a node computes, in terms of its operands."""
        assert node.primitive is not None
        words = [self._mention(x, depth) for x in node.inputs]
        is_call = len(words) == 1 and "({0})" in node.primitive.traits.describe(node.primitive.name, ["{0}"])
        if is_call and words[0].startswith("(") and not self._name(node.inputs[0]):
            words = [words[0][1:-1]]
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
        for at, weight in enumerate(structure.shared_weights):
            parts, by_hand = self.flow.per_step(weight), self.hand.get(weight.index)
            done: dict[int | str, int] = {}
            for step, order in self._completions(weight).items():
                place = "hidden" if step in self.hidden else step
                done[place] = min(order, done.get(place, order))
            steps = sorted(done, key=lambda place: -done[place])
            for place in steps:
                due[done[place]].append([at, place])
            rows = [[row_of[each] for each in (self.drawn.hidden if p == "hidden" else [int(p)])] for p in steps]
            added = [parts[row].sum(axis=0) for row in rows]
            sums = list(accumulate(added, initial=self.flow.outside(weight)))
            hand, error, g = [], None, self.flow.gradient(weight)
            if by_hand is not None:
                is_whole = by_hand.ndim == weight.ndim
                derived = (
                    [by_hand] if is_whole else accumulate((by_hand[r].sum(axis=0) for r in rows), initial=0 * sums[0])
                )
                hand = list(map(norm_of, derived))
                whole = by_hand if is_whole else by_hand.sum(axis=0)
                error = float(np.max(np.abs(whole - g), initial=0.0)) if g is not None else None
            fillings.append(
                Filling(
                    shorten(structure.weight_name(weight), 24),
                    _shape(weight),
                    self.flow.norm(weight) or 0.0,
                    steps,
                    list(map(norm_of, added)),
                    list(map(norm_of, sums)),
                    [_values(each) for each in sums] if _values(sums[0]) is not None else [],
                    hand,
                    error,
                )
            )
        return fillings, due

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
    words = shape_of(x)
    return words if words == "scalar" else f"({words})"


def _values(array: Array | None) -> list[list[str]] | None:
    """Rows of short numbers, or None where there are too many."""
    if array is None or not 0 < array.size <= SMALL or array.ndim > 2:
        return None
    return [[_short(v) for v in row] for row in np.atleast_2d(array).tolist()]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
