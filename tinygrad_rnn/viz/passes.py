"""The two passes as they run: what each operation lights in the picture, and how the sums over time fill.

The page lights its shapes by this, operation by operation, and the animation its own, moment by moment.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import neg
from typing import Literal

from ..core.tensor import Array, Tensor
from ..flow.gradient_flow import GradientFlow
from .diagram import Diagram
from .scene import Edge, Rect, Scene, Shape

Place = int | Literal["hidden"]
"""A step, or all steps that are not drawn."""
Light = tuple[str, str]
"""The id of a shape, and what reaches it: values ("on", of an edge "used") or gradients ("grad", of an edge "lit")."""


@dataclass(slots=True)
class Moment:
    """An operation of the forward or of the backward pass; no node stands for all that happens in hidden steps."""

    node: Tensor | None
    lights: list[Light]
    fill: list[tuple[int, Place]]
    """The sums that grow, by the number of their weight, and by what."""


@dataclass(slots=True)
class Sum:
    """How the gradient of one shared weight adds up along the way back."""

    weight: Tensor
    due: dict[Place, int]
    """What arrives, in this order, and the number of the operation, the last of it going back, that completes it."""
    rows: list[list[int]]
    """The steps of each place, as rows of `flow.per_step`."""
    parts: list[Array]
    running: list[Array]
    """The sum before the first of them, which is what comes from outside the steps, and after each."""


def sums_of(drawn: Diagram, flow: GradientFlow) -> list[Sum]:
    """The sums over time, in the order of the strips."""
    structure, found = flow.structure, []
    row_of = {step: at for at, step in enumerate(structure.steps)}
    for weight in structure.shared_weights:
        if flow.gradient(weight) is None:
            continue
        done: dict[Place, int] = {}
        for tensor in (weight, *structure.hoisted(weight).values()):
            for user, _ in structure.consumers(tensor):
                if user.step is not None and flow.gradient(user) is not None:
                    place: Place = user.step if user.step in drawn.shown else "hidden"
                    done[place] = min(user.index, done.get(place, user.index))
        due = dict(sorted(done.items(), key=lambda item: -item[1]))
        rows = [[row_of[step] for step in (drawn.hidden if place == "hidden" else [place])] for place in due]
        per_step = flow.per_step(weight)
        parts = [per_step[row].sum(axis=0) for row in rows]
        found.append(Sum(weight, due, rows, parts, list(accumulate(parts, initial=flow.outside(weight)))))
    return found


def passes(drawn: Diagram, flow: GradientFlow, scene: Scene, sums: list[Sum]) -> tuple[list[Moment], list[Moment]]:
    """All operations, forward and backward, each with the shapes that it is the first to light."""
    members = {member.index for box in drawn.boxes for member in box.members}
    node_of = {node.index: node for node in flow.structure.nodes if node.index in members}
    hidden = {each.due["hidden"] for each in sums if "hidden" in each.due}
    numbers = sorted({*hidden, *(n for n, node in node_of.items() if flow.gradient(node) is not None)}, reverse=True)
    numbers = [n for n, after in pairwise([*numbers, -1]) if not {n, after} <= hidden]  # all that is hidden in one go
    forward = [Moment(node, [], []) for node in node_of.values()]
    backward = [Moment(node_of.get(n), [], []) for n in numbers]

    def moment_of(number: int) -> Moment:
        """The last moment of the backward pass before this operation, if it is none itself."""
        return backward[max(bisect_right(numbers, -number, key=neg) - 1, 0)]

    start, arrival = _times(drawn, flow, sums)
    computed = list(node_of)
    for shape in scene.shapes():
        is_edge = isinstance(shape, Edge)
        if shape.id in start:
            at = min(bisect_left(computed, start[shape.id]), len(forward) - 1)
            forward[at].lights.append((shape.id, "used" if is_edge else "on"))
        if has_gradient(shape):
            step = "hidden" if shape.id.startswith("hidden") else shape.id.rpartition("_")[2]  # of the reach
            number = arrival.get(shape.id, arrival.get(step, -1))
            moment_of(number).lights.append((shape.id, "lit" if is_edge else "grad"))
    for at, each in enumerate(sums):
        for place, number in each.due.items():
            moment_of(number).fill.append((at, place))
    return forward, backward


def has_gradient(shape: Shape) -> bool:
    """Whether a shape tells of a gradient."""
    if isinstance(shape, Edge):
        return shape.kind != "cut"
    said = isinstance(shape, Rect) and any(line.role == "norm" for line in shape.lines)
    return said or shape.kind in ("bar", "share", "reach", "gain") or shape.id.startswith(("verdict_", "total_"))


def _times(drawn: Diagram, flow: GradientFlow, sums: list[Sum]) -> tuple[dict[str, int], dict[str, int]]:
    """The operation at which all that a shape shows is known, on the way forward and on the way back."""
    start: dict[str, int] = {}
    arrival: dict[str, int] = {}

    def earliest(names: Iterable[str], number: int) -> None:
        arrival.update((name, min(number, arrival.get(name, number))) for name in names)

    for at, each in enumerate(sums):
        for place, number in each.due.items():
            earliest([f"g{at}_{place}", f"total_{at}"], number)
            if place == "hidden":
                earliest(["hidden"], number)
    for box in drawn.boxes:
        start[box.id] = max(member.index for member in box.members)
        heads = [tensor.index for tensor in box.tensors if not tensor.is_leaf and flow.gradient(tensor) is not None]
        for number in heads:
            earliest([f"{box.id}{part}" for part in ("", "_injected", "_future")], number)
            if box.kind in ("state", "cell"):
                earliest([str(box.step)], number)
    for at, link in enumerate(drawn.links):
        users = [user.index for user, _ in link.uses if flow.gradient(user) is not None]
        inside = link.target.kind != "gap"
        start[f"e{at}"] = start[link.target.id] if inside else link.tensor.index
        start[link.source.id] = min(start[f"e{at}"], start.get(link.source.id, start[f"e{at}"]))
        if users:
            names = [f"e{at}", f"gain_{at}", f"norm_{at}", *[link.source.id] * link.tensor.is_leaf]
            earliest(names, min(users) if inside else link.tensor.index)
    return start, arrival
