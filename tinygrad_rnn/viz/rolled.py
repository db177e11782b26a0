"""The rolled view: each kind of step once, with its loop, and on the loop how much gradient comes back around it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.arguments import checked
from ..core.tensor import Tensor
from ..errors import GraphError
from ..flow.gradient_flow import GradientFlow
from .arrange import Place
from .compose import MARGIN, MOVES, add_boxes, add_edges, add_heading, restart_words, stroke
from .diagram import Box, Diagram, Link, diagram
from .labels import space_of
from .measure import Gradients, face
from .render import Picture
from .route import Router, routed
from .scene import Edge, Label, Lane, Scene
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
    full = diagram(graph, "cell", "strip", None)
    groups = _groups(full)
    drawn, steps_of = _representatives(full, groups)
    gradients = Gradients(flow)
    faces = {box: face(box, Gradients(None)) for box in drawn.boxes}
    kind_of = {step: steps for steps in steps_of for step in steps}
    loops = {box: _loops_of(full, box, gradients, kind_of[box.step or 0]) for box in drawn.boxes if box.kind == "cell"}
    for box, found in loops.items():
        onward = any(link.source is box and link.kind == "state" for link in drawn.links)
        faces[box].height = max(faces[box].height, (_APART * len(found) + 8) * (2 if onward else 1))
    widest = max(
        (sum(words.width + 8 for words in loop.words) for found in loops.values() for loop in found), default=0
    )
    placed, router = routed(drawn, faces, max(150.0, widest + _REACH + 20))
    kinds = f" into {len(groups)} kinds" if len(groups) > 1 else ""
    what = f"{len(graph.steps)} step{'s' * (len(graph.steps) > 1)}, rolled up{kinds}"
    told = f"{what}; {gradients.verdict}" if gradients.verdict else what
    scene = Scene(title=title if title is not None else told)
    for column, steps in zip(placed.columns, steps_of, strict=True):
        height = placed.bottom - placed.top
        said = line(_ranges(steps, full.steps))
        said = said if said.width < column.width else line(f"{len(steps)} of {len(full.steps)} steps")
        tip = f"t = {', '.join(map(str, steps))}"
        lane = Lane(f"lane_{column.step}", column.x, placed.top, column.width, height, said, tooltip=tip)
        scene.lanes.append(lane)
    add_boxes(scene, drawn, placed, faces, gradients)
    add_edges(scene, drawn, router, Gradients(None))
    for box, found in loops.items():
        _draw_loops(scene, box, placed.places[box], found)
    _steps_between(scene, full, drawn, groups, gradients, router)
    notes = ["gains: not computed (call loss.backward(), or pass tg.gradient_flow(loss))"]
    if gradients.computed:
        notes = [
            "×g: |message of the next state's step| / |gradient of the next state|, all losses",
            "(geometric mean)",
        ]
    drawn_cuts = {row for found in loops.values() for loop in found for row in [full.row_of[loop.row[0].index]]}
    other = sorted({step for row, steps in full.restarts.items() if row not in drawn_cuts for step in steps})
    notes += [f"{restart_words(other)}: the past before is cut off"] if other else []
    for at, words in enumerate(notes):
        place = placed.columns[0].x, placed.bottom + 18 + 14 * at
        scene.labels.append(Label(f"legend_{at}", *place, line(*words_runs(words), color="muted"), "start"))
    add_heading(scene)
    scene.fit(MARGIN)
    scene.description = f"{scene.title}. " + "; ".join(
        label.line.text for label in scene.labels if label.kind == "gain"
    )
    return Picture(scene)


def _steps_between(
    scene: Scene, full: Diagram, drawn: Diagram, groups: list[list[int]], gradients: Gradients, router: Router
) -> None:
    """The gain where one kind of step follows another."""
    group_of = {step: at for at, steps in enumerate(sorted(groups)) for step in steps}
    space = space_of([*scene.boxes, *scene.labels])
    for link in drawn.links:
        if link.kind != "state" or link not in router.label_at:
            continue
        ends = group_of[link.source.step or 0], group_of[link.target.step or 0]
        row = full.structure.rows[full.row_of[link.tensor.index]]
        passes = [
            (state, step)
            for state in row
            for step in dict.fromkeys(user.step for user, _ in full.structure.consumers(state))
            if step is not None and (group_of.get(state.step or 0), group_of.get(step)) == ends
        ]
        gains = [gain for state, step in passes if (gain := gradients.gain(state, step)) is not None]
        if gains:
            x, y = router.label_at[link]
            words = line(f"×{number(_mean(gains))}", bold=True)
            wished = [(x, y + move) for move in MOVES]
            space.write(scene, f"between_{len(scene.labels)}", words, wished, _range(gains), must=True)


def _ranges(steps: list[int], known: list[int]) -> str:
    """t = 0 … 3, 5"""
    runs: list[list[int]] = []
    for step in steps:
        follows = runs and known.index(step) == known.index(runs[-1][-1]) + 1
        runs = [*runs[:-1], [*runs[-1], step]] if follows else [*runs, [step]]
    return f"t = {', '.join(f'{run[0]} … {run[-1]}' if len(run) > 1 else str(run[0]) for run in runs)}"


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
        row = full.row_of[link.tensor.index]
        if a != b and source and target and (a, b, row, link.target.align) not in between:
            between.add((a, b, row, link.target.align))
            tensor = next((each for each in source.tensors if full.row_of.get(each.index) == row), source.tensor)
            links.append(Link(source, target, tensor, link.uses, "state"))
    for steps, step in zip(groups, chosen, strict=True):
        for box, *others in zip(_lane(full, step), *(_lane(full, each) for each in steps), strict=True):
            if any(_words(other) != _words(box) for other in others):  # such as the target of each step
                box.caption = _NUMBER.sub("…", box.caption)
                box.title = tuple(run if run.subscript else Run(_NUMBER.sub("…", run.text)) for run in box.title)
    for box in boxes:
        box.title = tuple(_timeless(run, str(box.step)) for run in box.title)
        if box.kind == "cell":
            box.scope += f" {box.align}"  # in rows of their own: there is no room for loops between two cells
    return Diagram(full.structure, sorted(chosen), [], full.gap, boxes, links, full.row_of, {}), groups


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


@dataclass(frozen=True)
class _Loop:
    """What is read of a state in later steps of its kind: how many states on, and by how much gradients change."""

    row: list[Tensor]
    lag: int
    gains: list[float]
    words: tuple[Line, ...]


def _loops_of(full: Diagram, box: Box, gradients: Gradients, steps: list[int]) -> list[_Loop]:
    """The loops of a cell: one for each of its states, and each lag that it is read at."""
    found = []
    for row in (full.row_of[tensor.index] for tensor in box.tensors if tensor.index in full.row_of):
        states = full.structure.rows[row]
        cut = [step for step in full.restarts.get(row, ()) if step in steps]
        for lag, passes in sorted(_passes(full, row, steps).items()):
            gains = [gain for state, step in passes if (gain := gradients.gain(state, step)) is not None]
            name = Run(", ".join(run.text for run in name_runs(states[0].name or "h")))
            late = "" if lag == 1 else f", {lag} steps on"
            said = [line(name, late, f": ×{number(_mean(gains))} a step" if gains else "", bold=bool(gains))]
            said += [line(_range(gains), color="muted")] if gains else []
            said += [line(restart_words(cut), color="cut")] if cut and lag == 1 else []
            found.append(_Loop(states, lag, gains, tuple(said)))
    return found


def _draw_loops(scene: Scene, box: Box, place: Place, loops: list[_Loop]) -> None:
    """Out of a cell's side and back in: its left side if time runs backward."""
    leaves = any(edge.source == box.id and edge.kind == "state" for edge in scene.edges)
    for at, loop in enumerate(loops):
        side = -1 if _runs_back(loop.row) else 1
        x = place.left if side < 0 else place.right
        y = place.y + (at - (len(loops) - 1) / 2) * _APART
        y -= _APART * len(loops) / 2 + 6 if leaves else 0  # clear of an edge that leaves in the middle
        out = x + side * _REACH
        points = [(x, y - 5), (out, y - 14), (out, y + 14), (x, y + 5)]
        color, width, dash = stroke(_mean(loop.gains), 1.0) if loop.gains else ("muted", 1.2, "solid")
        tip = "from each step to the next" if loop.lag == 1 else f"from each step to the one {loop.lag} later"
        back = bool(loop.gains)
        scene.edges.append(
            Edge(f"{box.id}_loop{at}", box.id, box.id, points, color, width, dash, back, tip, kind="loop")
        )
        anchor: Literal["start", "end"] = "end" if side < 0 else "start"
        where = out + side * 2
        for k, words in enumerate(loop.words if side > 0 else loop.words[::-1]):
            kind = {"muted": "label", "cut": "cut"}.get(words.color, "gain")
            scene.labels.append(Label(f"{box.id}_gain{at}_{k}", where, y, words, anchor, kind=kind))
            where += side * (words.width + 8)


def _passes(full: Diagram, row: int, steps: list[int]) -> dict[int, list[tuple[Tensor, int]]]:
    """How many states on each state of a row is read, within these steps: (state, step it is read in) by that lag."""
    states = full.structure.rows[row]
    number_of = {state.step: at for at, state in enumerate(states)}
    found: dict[int, list[tuple[Tensor, int]]] = defaultdict(list)
    for at, state in enumerate(states):
        for step in dict.fromkeys(user.step for user, _ in full.structure.consumers(state)):
            if step in number_of and step in steps and state.step in steps and number_of[step] > at:
                found[number_of[step] - at].append((state, step))
    return found


def _runs_back(row: list[Tensor]) -> bool:
    return len(row) > 1 and (row[0].step or 0) > (row[-1].step or 0)


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
