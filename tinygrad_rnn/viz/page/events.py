"""What happens, in order: every operation of the forward pass, and then of the backward pass, with its numbers."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from ...core.tensor import Array, Tensor
from ...flow.gradient_flow import GradientFlow
from ...flow.norms import norm as norm_of
from ...ops import swapaxes, transpose
from ...ops.indexing import getitem_p
from ..classify import index_text
from ..diagram import Box, Diagram
from ..passes import Moment, Sum, passes, sums_of
from ..scene import Scene
from ..text import number, shape_of, shorten

SMALL = 16
"""Arrays of up to this many numbers are written out."""


Event = dict[str, Any]
"""What the page is told of one operation: phase ("f" or "b"), what it lights, box, time step, equation, shapes, values,
messages in and out, sums that fill ([weight, place], ...) and what to notice."""


def story(
    drawn: Diagram, flow: GradientFlow, scene: Scene, hand: dict[int, Array]
) -> tuple[list[Event], list[dict[str, Any]]]:
    """All events of the forward and the backward pass, and how the gradient of each shared weight adds up.

    Args:
        drawn: the boxes and links of the picture, in `op` detail.
        flow: the gradients.
        scene: the picture.
        hand: by creation number of a weight its gradient derived by hand, per step or whole.
    """
    sums, teller = sums_of(drawn, flow), _Teller(drawn, flow)
    forward, backward = passes(drawn, flow, scene, sums)
    told = [{"p": "f", "l": each.lights, **teller.forward(each)} for each in forward]
    told += [{"p": "b", "l": each.lights, "fill": each.fill, **teller.backward(each)} for each in backward]
    events = [{key: value for key, value in event.items() if key == "t" or value} for event in told]
    return events, [_filling(each, flow, hand.get(each.weight.index)) for each in sums]


def _filling(found: Sum, flow: GradientFlow, by_hand: Array | None) -> dict[str, Any]:
    """A sum in words, part by part; what was derived by hand part by part too, or whole where no steps are given."""
    g, hand, error = flow.gradient(found.weight), [], None
    running = [norm_of(each) for each in found.running]
    if by_hand is not None:
        is_whole = by_hand.ndim == found.weight.ndim
        whole = by_hand if is_whole else by_hand.sum(axis=0)
        derived = accumulate((by_hand[row].sum(axis=0) for row in found.rows), initial=0 * whole)
        hand = [norm_of(each) for each in ([whole] if is_whole else derived)]
        error = None if g is None else f"{np.max(np.abs(whole - g), initial=0.0):.1e}"
    total = flow.norm(found.weight) or 0.0
    values = [_values(each) for each in found.running]
    return {
        "name": shorten(flow.structure.weight_name(found.weight), 24),
        "shape": _shape(found.weight),
        "total": number(total),
        "steps": list(found.due),
        "norms": [number(norm_of(each)) for each in found.parts],
        "running": list(map(number, running)),
        "share": [round(norm / total, 4) if 0 < total < np.inf and np.isfinite(norm) else 0 for norm in running],
        "sums": [] if values[0] is None else values,
        "hand": list(map(number, hand)),
        "error": error,
    }


class _Teller:
    def __init__(self, drawn: Diagram, flow: GradientFlow) -> None:
        self.drawn = drawn
        self.flow = flow
        self.states = {record.tensor.index: record for record in flow.states()}
        self.box_of: dict[int, Box] = {member.index: box for box in drawn.boxes for member in box.members}

    def forward(self, moment: Moment) -> Event:
        node = moment.node
        assert node is not None
        right, name, notice = self._expression(node), self._name(node), ""
        if node.index in self.states:
            notice = "All that later steps get to know of the past goes through this state."
        elif node is self.flow.loss:
            notice = "The forward pass ends here; backpropagation visits the same operations the other way round."
        equation, shapes = f"{name} = {right}" if name else right, " , ".join(map(_shape, node.inputs[:6]))
        event = {
            "eq": equation,
            "sh": f"{shapes} → {_shape(node)}",
            "v": _tables([(name or "the result", node._array)]),
        }
        return self._place(node) | event | {"n": notice}

    def _place(self, node: Tensor) -> Event:
        return {"b": self.box_of[node.index].id, "t": self.box_of[node.index].step}

    def _notice(self, node: Tensor, arrived: bool) -> str:
        """What there is to see in a step of the backward pass."""
        record = self.states.get(node.index)
        if node is self.flow.loss:
            return "Backpropagation begins with ∂L/∂L = 1."
        if record is None:
            words = "The same weight is used in every step, so its gradient is the sum of what all steps send to it."
            return words if arrived else ""
        injected, future = norm_of(record.injected), norm_of(record.from_future)
        if not future > 0:
            return "No later step uses this state: all its gradient is injected by its own step."
        words = f"Two kinds of messages meet: {number(injected)} from this step's own loss, "
        words += f"{number(future)} from later steps. The second is what goes through time."
        return words + (f" It is ×{number(record.gain)} of the next state's gradient." if record.gain else "")

    def backward(self, moment: Moment) -> Event:
        node = moment.node
        if node is None or node.primitive is None:
            first, *_, last = self.drawn.hidden[0], self.drawn.hidden[-1]
            return {"t": None, "eq": f"through steps {last} to {first}, which are not drawn"}
        rules = node.primitive.traits.backward
        words = [self._mention(x) for x in node.inputs]
        called = f"∂L/∂{self._mention(node)}"
        sent: list[list[str]] = []
        values = [(called, self.flow.gradient(node))]
        for i, x in enumerate(node.inputs[:6]):
            if not isinstance(x, Tensor) or not x.requires_grad:
                continue
            rule = rules[i].format(*words) if i < len(rules) else f"the {node.primitive.name} rule, operand {i}"
            sent.append([f"to {words[i]}: {rule}", _shape(x), number(self.flow.edge_norm(node, i))])
            if x.is_leaf and x.size <= SMALL:
                values.append((f"to {words[i]}", self.flow.edge(node, i)))
        event = {
            "eq": f"g = {called}, norm {number(self.flow.norm(node))}",
            "sh": f"shape of g: {_shape(node)}",
            "v": _tables(values),
        }
        more = {"out": sent, "in": self._incoming(node), "n": self._notice(node, bool(moment.fill))}
        return self._place(node) | event | more

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
        interior = x.primitive is not None and any(u.origin == x.origin for u, _ in self.flow.structure.consumers(x))
        name = "" if interior else shorten(x.name or "", 20)
        box = self.box_of.get(x.index)
        if not name and box is not None and box.kind in ("state", "initial", "loss", "input"):
            return "".join(f"[{run.text}]" if run.subscript else run.text for run in box.title)
        return f"{name}[{x.step}]" if name and x.step is not None and x is not self.flow.loss else name


def _shape(x: object) -> str:
    words = shape_of(x)
    return words if words == "scalar" else f"({words})"


def _tables(named: list[tuple[str, Array | None]]) -> list[tuple[str, list[list[str]]]]:
    """Arrays with what they are called, without those of too many numbers."""
    return [(name, rows) for name, array in named if (rows := _values(array)) is not None]


def _values(array: Array | None) -> list[list[str]] | None:
    """Rows of short numbers, or None where there are too many."""
    if array is None or not 0 < array.size <= SMALL or array.ndim > 2:
        return None
    return [[f"{v + 0:.3g}" if isinstance(v, float) else str(v) for v in row] for row in np.atleast_2d(array).tolist()]
