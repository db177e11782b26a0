"""The rolled view: each kind of step once, with its loop, and on the loop how much gradient comes back around it."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Literal

import numpy as np

from ..core.arguments import checked
from ..core.tensor import Tensor
from ..errors import GraphError
from ..flow.gradient_flow import GradientFlow
from . import style
from .arrange import Arrangement
from .compose import MARGIN, add_boxes, add_edges, add_heading
from .diagram import Box, Diagram, Link, diagram
from .measure import Gradients, face
from .render import Picture
from .route import routed
from .scene import Edge, Label, Lane, Scene
from .text import Run, line, name_runs, number
from .unrolled import resolve

_NUMBER = re.compile(r"(?<![\w.#])[+-]?\d[\d.]*(?:e[+-]?\d+)?(?![\w.])")
"""A number that stands by itself: 0.25, but not the digit of W2 or of weight #2."""
_REACH = 30.0
"""How far a loop stands out from its cell."""


@checked
def rolled(loss_or_flow: Tensor | GradientFlow, title: str | None = None) -> Picture:
    """Draw the network as a loop: one cell for each layer and direction, an edge from it back to itself.

    With gradients the loop says the mean gain a step (geometric), the least and the largest, and the number of steps.

    Args:
        loss_or_flow: a loss, or `tg.gradient_flow(loss)`; as for `unrolled`.
        title: what stands above.

    Raises:
        GraphError: the graph has no time steps, or there is no graph.
    """
    graph, flow = resolve(loss_or_flow)
    if not graph.steps:
        raise GraphError("rolled: the graph has no time steps; write the loop as `for t, x in tg.steps(xs)`")
    full = diagram(graph, "cell", "strip", None)
    groups = _groups(full)
    drawn, steps_of = _representatives(full, groups)
    gradients = Gradients(flow)
    faces = {box: face(box, Gradients(None)) for box in drawn.boxes}
    placed, router = routed(drawn, faces, 150.0)
    kinds = f" into {len(groups)} kinds" if len(groups) > 1 else ""
    scene = Scene(title=title if title is not None else f"{len(graph.steps)} steps, rolled up{kinds}")
    for column, steps in zip(placed.columns, steps_of, strict=True):
        words = f"t = {steps[0]} … {steps[-1]}" if len(steps) > 1 else f"t = {steps[0]}"
        height = placed.bottom - placed.top
        scene.lanes.append(Lane(f"lane_{column.step}", column.x, placed.top, column.width, height, line(words)))
    add_boxes(scene, drawn, placed, faces)
    add_edges(scene, drawn, router, Gradients(None))
    for box in drawn.boxes:
        if box.kind == "cell":
            group = next(steps for steps in steps_of if box.step in steps)
            _loops(scene, full, box, placed, gradients, group)
    if not gradients.computed:
        words = "gains: not computed (call loss.backward(), or pass tg.gradient_flow(loss))"
        place = placed.columns[0].x, placed.bottom + 18
        scene.labels.append(Label("legend", *place, line(words, color="muted"), "start"))
    add_heading(scene)
    scene.fit(MARGIN)
    scene.description = f"{scene.title}. " + "; ".join(
        label.line.text for label in scene.labels if label.kind == "gain"
    )
    return Picture(scene)


def _groups(full: Diagram) -> list[list[int]]:
    """Steps that hold the same boxes; the running sum, and which numbers they use, do not count."""
    found: dict[Hashable, list[int]] = {}
    for step in full.steps:
        boxes = _lane(full, step)
        key = tuple((box.kind, box.align, box.scope, _NUMBER.sub("…", box.caption)) for box in boxes)
        found.setdefault(key, []).append(step)
    return list(found.values())


def _representatives(full: Diagram, groups: list[list[int]]) -> tuple[Diagram, list[list[int]]]:
    """One step of each group, with the links inside it and from group to group."""
    groups = sorted(groups, key=lambda steps: steps[0])
    group_of = {step: at for at, steps in enumerate(groups) for step in steps}
    chosen = [steps[len(steps) // 2] for steps in groups]
    boxes = [box for box in full.boxes if box.zone == "lane" and box.step in chosen and box.align != "total"]
    links = [
        link
        for link in full.links
        if link.source in boxes and link.target in boxes and link.source.step == link.target.step
    ]
    between: set[Hashable] = set()
    for link in full.links:
        if link.kind != "state" or link.source.step is None or link.target.step is None:
            continue
        a, b = group_of[link.source.step], group_of[link.target.step]
        source = _counterpart(link.source, chosen[a], boxes)
        target = _counterpart(link.target, chosen[b], boxes)
        if a != b and source and target and (a, b, link.source.align, link.target.align) not in between:
            between.add((a, b, link.source.align, link.target.align))
            links.append(Link(source, target, source.tensor, link.uses, "state"))
    for steps, step in zip(groups, chosen, strict=True):
        for box, *others in zip(_lane(full, step), *(_lane(full, each) for each in steps), strict=True):
            if any(_words(other) != _words(box) for other in others):  # such as the target of each step
                box.caption = _NUMBER.sub("…", box.caption)
                box.title = tuple(run if run.subscript else Run(_NUMBER.sub("…", run.text)) for run in box.title)
    for box in boxes:
        box.title = tuple(_timeless(run, str(box.step)) for run in box.title)
    return Diagram(full.structure, sorted(chosen), [], full.gap, boxes, links, full.row_of), groups


def _lane(full: Diagram, step: int) -> list[Box]:
    """What the lane of a step holds, without the running sum."""
    return [box for box in full.boxes if box.zone == "lane" and box.step == step and box.align != "total"]


def _words(box: Box) -> str:
    return "".join(run.text for run in box.title if not run.subscript) + "\n" + box.caption


def _counterpart(box: Box, step: int, boxes: list[Box]) -> Box | None:
    return next(
        (b for b in boxes if b.step == step and (b.kind, b.align, b.scope) == (box.kind, box.align, box.scope)), None
    )


def _timeless(run: Run, step: str) -> Run:
    """h with subscript 3 becomes h with subscript t."""
    if not run.subscript:
        return run
    return Run(", ".join("t" if part == step else part for part in run.text.split(", ")), subscript=True)


def _loops(scene: Scene, full: Diagram, box: Box, placed: Arrangement, gradients: Gradients, steps: list[int]) -> None:
    """An edge for each state of a cell, out of its side and back in: its left side if time runs backward."""
    place = placed.places[box]
    rows = full.structure.rows
    for at, tensor in enumerate(box.tensors):
        row = rows[full.row_of[tensor.index]]
        reverse = len(row) > 1 and (row[0].step or 0) > (row[-1].step or 0)
        if len([state for state in row if state.step in steps]) < 2:
            continue
        side = -1 if reverse else 1
        x = place.left if reverse else place.right
        shift = at - (len(box.tensors) - 1) / 2
        leaves = any(edge.source == box.id and edge.kind == "state" for edge in scene.edges)
        y = place.y + shift * 19 - (12 if leaves else 0)  # clear of an edge that leaves in the middle
        text_y = place.y + shift * 27 - (15 if leaves else 0)
        out = x + side * _REACH
        points = [(x, y - 5), (out, y - 14), (out, y + 14), (x, y + 5)]
        gains = [g for s in row if s.step in steps and (g := gradients.gain(s)) is not None]
        mean = float(np.exp(np.mean(np.log(gains)))) if gains and min(gains) > 0 else 0.0 if gains else None
        color, width = "plain", 1.2
        if mean is not None:
            level = style.decades(mean, 1.0)
            color = style.on_scale("scale", mean, 1.0, "plain")
            width = 0.9 if level is None else style.stroke_width(level)
        scene.edges.append(
            Edge(
                f"{box.id}_loop{at}",
                box.id,
                box.id,
                points,
                color,
                width,
                backward=mean is not None,
                kind="loop",
                tooltip="from each step to the next",
            )
        )
        name = Run(", ".join(run.text for run in name_runs(tensor.name or "h")))
        said = line(name) if mean is None else line(name, f": ×{number(mean)} a step", bold=True)
        anchor: Literal["start", "end"] = "end" if reverse else "start"
        where = out + side * 2
        scene.labels.append(
            Label(f"{box.id}_gain{at}", where, text_y - 6 if gains else text_y, said, anchor, kind="gain")
        )
        if gains:
            words = f"{number(min(gains))} to {number(max(gains))}, {len(steps)} steps"
            note = line(words, color="muted")
            scene.labels.append(Label(f"{box.id}_range{at}", where, text_y + 6, note, anchor))


__all__ = ["rolled"]
