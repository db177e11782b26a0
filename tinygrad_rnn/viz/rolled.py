"""The rolled view: each kind of step once, with its loop, and on the loop how much gradient comes back around it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import numpy as np

from ..core.arguments import checked
from ..core.tensor import Tensor
from ..errors import GraphError
from ..flow.gradient_flow import GradientFlow
from ..flow.structure import paces
from .compose import MARGIN, add_boxes, add_edges, add_heading, restart_words, stroke
from .diagram import Box, Diagram, Link
from .labels import Space, moved
from .measure import Gradients, face
from .render import Picture
from .route import routed
from .scene import Anchor, Edge, Label, Scene
from .text import Line, Run, line, name_runs, number, words_runs
from .unrolled import resolve

_NUMBER = re.compile(r"(?<![\w.#])[+-]?\d[\d.]*(?:e[+-]?\d+)?(?![\w.])")
"""A number that stands by itself: 0.25, but not the digit of W2 or of weight #2."""
_APART = 20.0
"""The distance of a cell's loops."""
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
    full, gradients = Diagram(graph, "cell", "strip", None), Gradients(flow)
    kinds = _kinds(full)
    drawn, passes = _folded(full, kinds, gradients)
    loops: dict[Box, list[_Pass]] = defaultdict(list)
    for each in passes:
        if each.is_loop:
            loops[each.link.source].append(each)
    for box in drawn.boxes:
        box.rect = face(box, Gradients(None))
        onward = any(each.link.source is box and not each.is_loop for each in passes)
        room = (_APART * len(loops[box]) + 8) * (2 if onward else 1)
        box.rect.height = max(box.rect.height, room if loops[box] else 0.0)
    wide = [sum(said.width + 8 for said in each.words) + _REACH + 20 for each in passes if each.is_loop]
    placed, router = routed(drawn, max([150.0, *wide]))
    what = f"{len(graph.steps)} step{'s' * (len(graph.steps) > 1)}, rolled up"
    what += f" into {len(kinds)} kinds" if len(kinds) > 1 else ""
    told = f"{what}; {gradients.verdict}" if gradients.verdict else what
    scene = Scene(title=title if title is not None else told, lanes=placed.columns)
    for lane, steps in zip(scene.lanes, kinds, strict=True):
        lane.label, lane.tooltip = line(_ranges(steps, full.steps)), f"t = {', '.join(map(str, steps))}"
        if lane.label.width >= lane.width:
            words = f"{len(steps)} of {len(full.steps)} steps", f"{len(steps)} step{'s' * (len(steps) > 1)}"
            lane.label = next(filter(lambda said: said.width < lane.width, map(line, words)), line(str(len(steps))))
    add_boxes(scene, drawn, gradients)
    add_edges(scene, drawn, router, Gradients(None))
    for box, found in loops.items():
        _draw_loops(scene, box, found)
    space = Space([*scene.boxes, *scene.labels])
    for each in passes:  # the gain where one kind of step follows another
        if each.gains and not each.is_loop:
            there, back = each.link.source, each.link.target
            both = any((other.link.source, other.link.target) == (back, there) for other in passes)
            way = ("→ " if there.rect.x < back.rect.x else "← ") if both else ""  # two arrows lie on each other
            said, wished = line(f"{way}×{number(_mean(each.gains))}", bold=True), moved(*router.label_at[each.link])
            space.write(scene, f"between_{len(scene.labels)}", said, wished, _range(each.gains), must=True)
    notes = ["gains: not computed (call loss.backward(), or pass tg.gradient_flow(loss))"]
    if gradients.computed:
        notes = [
            "×g: |message of the next state's step| / |gradient of the next state|, all losses",
            "(geometric mean)",
        ]
        crossed = any(label.line.text.startswith(("→ ", "← ")) for label in scene.labels)
        notes += ["→ and ←: which way the state is handed on; the gradient goes against it"] if crossed else []
    rows = {each.row for each in passes if each.is_loop}
    other = sorted({step for row, steps in full.restarts.items() if row not in rows for step in steps})
    notes += [f"{restart_words(other)}: the past before is cut off"] if other else []
    for at, note in enumerate(notes):
        place = placed.columns[0].x, placed.bottom + 18 + 14 * at
        scene.labels.append(Label(f"legend_{at}", *place, line(*words_runs(note), color="muted"), "start"))
    add_heading(scene)
    scene.fit(MARGIN)
    told = "; ".join(label.line.text for label in scene.labels if label.kind == "gain")
    scene.description = f"{scene.title}. {told}"
    return Picture(scene)


def _ranges(steps: list[int], known: list[int]) -> str:
    """t = 0 … 3, 5"""
    runs = [list(run) for _, run in groupby(steps, lambda step: known.index(step) - steps.index(step))]
    return f"t = {', '.join(f'{run[0]} … {run[-1]}' if len(run) > 1 else str(run[0]) for run in runs)}"


def _lane(full: Diagram, step: int) -> list[Box]:
    """What the lane of a step holds, without the running sum."""
    return [box for box in full.boxes if box.zone == "lane" and box.step == step and box.align != "total"]


def _kinds(full: Diagram) -> list[list[int]]:
    """Steps that hold the same boxes, the first first; which numbers they use does not count."""
    found: dict[Hashable, list[int]] = {}
    for step in full.steps:
        key = tuple((box.kind, box.align, box.scope, _NUMBER.sub("…", box.caption)) for box in _lane(full, step))
        found.setdefault(key, []).append(step)
    return list(found.values())


@dataclass(eq=False)
class _Pass:
    """How a state is handed on, each time that it is: to later steps of its kind, or to another kind of step."""

    link: Link
    row: int
    lag: int
    """How many states on it is read; of another kind, 0."""
    way: Literal[-1, 1]
    """Whether time runs forward."""
    found: dict[tuple[int, int | None], float | None] = field(default_factory=dict)
    """By state and step that reads it: by how much gradients change."""
    words: list[Line] = field(default_factory=list)
    """What a loop says: the mean gain, its range, and where it is cut."""

    @property
    def is_loop(self) -> bool:
        return self.link.source.step == self.link.target.step

    @property
    def gains(self) -> list[float]:
        return [gain for gain in self.found.values() if gain is not None]


def _folded(full: Diagram, kinds: list[list[int]], gradients: Gradients) -> tuple[Diagram, list[_Pass]]:
    """The middle step of each kind, with the links inside it and to other kinds, and how states are handed on."""
    shown: dict[Box, Box] = {}
    for steps in kinds:
        for alike in zip(*(_lane(full, step) for step in steps), strict=True):
            box = alike[len(steps) // 2]
            _tell_no_step(box, alike)
            shown.update(dict.fromkeys(alike, box))
    links: list[Link] = []
    passes: dict[Hashable, _Pass] = {}
    across: dict[Hashable, Link] = {}
    for link in full.links:
        source, target = shown.get(link.source), shown.get(link.target)
        if source is None or target is None:
            continue
        if link.source.step == link.target.step:
            links += [link] if link.source is source else []
        elif link.kind == "flow" and source.step != target.step:  # such as what a decoder attends to
            across.setdefault((source, target), Link(source, target, source.tensor, link.uses))
        elif link.kind == "state":
            row = full.row_of[link.tensor.index]
            order = [state.step for state in full.structure.rows[row]]
            lag = order.index(link.target.step) - order.index(link.source.step) if source.step == target.step else 0
            key = (source.step, target.step, row, lag or target.align)
            if key not in passes:
                tensor = next((each for each in source.tensors if full.row_of.get(each.index) == row), source.tensor)
                way: Literal[-1, 1] = 1 if (link.source.step or 0) < (link.target.step or 0) else -1
                passes[key] = _Pass(Link(source, target, tensor, link.uses, "state"), row, lag, way)
                links += [] if lag else [passes[key].link]
            passes[key].found[link.tensor.index, link.target.step] = gradients.link_gain(link)
    for found in passes.values():
        steps = next(steps for steps in kinds if found.link.source.step in steps)
        found.words = _words(full, found, [step for step in full.restarts.get(found.row, ()) if step in steps])
    drawn = copy(full)
    drawn.steps = sorted(steps[len(steps) // 2] for steps in kinds)
    drawn.boxes = [box for box in full.boxes if shown.get(box) is box]
    drawn.links, drawn.restarts = [*links, *across.values()], {}
    drawn.pulls = {each.link.source: each.way for each in passes.values() if each.is_loop}
    return drawn, sorted(passes.values(), key=lambda each: (each.row, each.lag))


def _tell_no_step(box: Box, alike: Sequence[Box]) -> None:
    """Take out of the words of a box what differs between steps: h with subscript 3 becomes h with subscript t."""
    told = {("".join(run.text for run in each.title if not run.subscript), each.caption) for each in alike}
    if len(told) > 1:  # such as the target of each step
        box.caption = _NUMBER.sub("…", box.caption)
    title = []
    for run in box.title:
        parts = ("t" if part == str(box.step) else part for part in run.text.split(", "))
        text = ", ".join(parts) if run.subscript else _NUMBER.sub("…", run.text) if len(told) > 1 else run.text
        title.append(Run(text, run.subscript))
    box.title = tuple(title)
    if box.kind == "cell":
        box.scope += f" {box.align}"  # in rows of their own: there is no room for loops between two cells


def _words(full: Diagram, found: _Pass, cut: list[int]) -> list[Line]:
    gains = found.gains
    name = Run(", ".join(run.text for run in name_runs(full.structure.rows[found.row][0].name or "h")))
    late = "" if found.lag == 1 else f", {found.lag} steps on"
    least, most = paces([(state,) for state in full.structure.rows[found.row]])
    each = "a step" if most == 1 else f"in {least if least == most else f'{least} to {most}'} time steps"
    said = [line(name, late, f": ×{number(_mean(gains))} {each}" if gains else "", bold=bool(gains))]
    said += [line(_range(gains), color="muted")] if gains else []
    return said + ([line(restart_words(cut), color="cut")] if cut and found.lag == 1 else [])


def _draw_loops(scene: Scene, box: Box, loops: list[_Pass]) -> None:
    """Out of a cell's side and back in: its left side if time runs backward."""
    leaves = any(edge.source == box.id and edge.kind == "state" for edge in scene.edges)
    for at, loop in enumerate(loops):
        side = loop.way
        x = box.rect.x if side < 0 else box.rect.right
        y = box.rect.middle[1] + (at - (len(loops) - 1) / 2) * _APART
        y -= _APART * len(loops) / 2 + 6 if leaves else 0  # clear of an edge that leaves in the middle
        out = x + side * _REACH
        points = [(x, y - 5), (out, y - 14), (out, y + 14), (x, y + 5)]
        look = stroke(_mean(loop.gains), 1.0) if loop.gains else ("muted", 1.2, "solid")
        tip = "from each step to the next" if loop.lag == 1 else f"from each step to the one {loop.lag} later"
        edge = Edge(f"{box.id}_loop{at}", box.id, box.id, points, *look, bool(loop.gains), tip, kind="loop")
        scene.edges.append(edge)
        x = out + side * 2
        for k, said in enumerate(loop.words[::side]):
            kind = {"muted": "label", "cut": "cut"}.get(said.color, "gain")
            anchor: Anchor = "end" if side < 0 else "start"
            scene.labels.append(Label(f"{box.id}_gain{at}_{k}", x, y, said, anchor, "paper", kind=kind))
            x += side * (said.width + 8)


def _mean(gains: list[float]) -> float:
    """The geometric mean; nan if one is not finite, 0 if one is."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.mean(np.log(gains)))) if np.isfinite(gains).all() else float("nan")


def _range(gains: list[float]) -> str:
    finite = [gain for gain in gains if np.isfinite(gain)]
    ends = dict.fromkeys(map(number, (min(finite), max(finite)))) if finite else {}
    words = f"{' to '.join(ends)}, {_times(len(finite))}" if finite else ""
    bad = f"not finite {_times(len(gains) - len(finite))}" if len(finite) < len(gains) else ""
    return "; ".join(filter(None, (words, bad)))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
