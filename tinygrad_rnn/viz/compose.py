"""The whole picture: title, lanes, boxes and edges, the strips below them, and the legend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from . import style
from .arrange import Arrangement
from .diagram import Box, Diagram, Link
from .labels import Space, add_edge_numbers, moved
from .legend import add_legend
from .measure import BAR_HEIGHT, Gradients, Values, face, link_words, names_of
from .route import Router, halfway, routed
from .scene import Edge, Label, Lane, Rect, Scene, Stroke
from .strips import add_strips
from .text import clean, line, number, shorten, wrapped

Stroked = tuple[str, float, Stroke]
GUTTER = 22.0
GUTTER_WITH_GAINS = 48.0
HIDDEN_WIDTH = 111.0
MARGIN = 12.0
SMALL = 40
"""Graphs with up to so many edges have a number on each."""


@dataclass(frozen=True)
class Options:
    """What is written in a picture; see `unrolled`."""

    title: str | None = None
    tokens: Sequence[str] | None = None
    shapes: bool = False
    values: Values = False
    labels: bool = True
    legend: bool = True
    edge_numbers: bool = True


def compose(drawn: Diagram, gradients: Gradients, options: Options = Options()) -> Scene:
    """Make the picture of an unrolled graph."""
    structure = drawn.structure
    for box in drawn.boxes:
        box.rect = face(box, gradients, options.shapes, options.values)
    _level(drawn)
    gains = gradients.computed and structure.states and options.labels
    placed, router = routed(drawn, GUTTER_WITH_GAINS if gains else GUTTER, HIDDEN_WIDTH)
    scene = Scene(title=options.title if options.title is not None else title_of(drawn, gradients))
    _lanes(scene, drawn, placed, gradients, options.tokens)
    add_boxes(scene, drawn, gradients)
    add_edges(scene, drawn, router, gradients)
    if not options.labels:
        scene.labels = [label for label in scene.labels if label.kind != "gain"]
    elif options.edge_numbers and gradients.computed and len(drawn.links) <= SMALL:
        add_edge_numbers(scene, drawn, gradients)
    below = max(each.bottom for each in [*scene.lanes, *scene.boxes]) + 16
    if gradients.computed:
        below = add_strips(scene, drawn, placed, gradients, below)
    if options.legend:
        add_legend(scene, drawn, placed, gradients, below, options.values == "gaps")
    add_heading(scene)
    scene.fit(MARGIN)
    scene.description = _description(drawn, gradients)
    return scene


def _level(drawn: Diagram) -> None:
    """Boxes of one row of states are equally large, whatever the digits in them."""
    rows: dict[Hashable, list[Rect]] = defaultdict(list)
    for box in drawn.boxes:
        if box.kind in ("state", "cell"):
            rows[box.align].append(box.rect)
    for group in rows.values():
        width, height = max(rect.width for rect in group), max(rect.height for rect in group)
        for rect in group:
            rect.width, rect.height = width, height


def title_of(drawn: Diagram, gradients: Gradients) -> str:
    """The verdict, where there is one, and what is drawn."""
    if gradients.verdict:
        return gradients.verdict
    count = len(drawn.structure.steps)
    what = "a graph without time steps" if not count else f"{count} steps unrolled" if count > 1 else "one step"
    loss = shorten((gradients.flow or drawn.structure).loss.name or "L", 24)
    return f"{what}: the gradient of {loss}" if gradients.computed else what


def _description(drawn: Diagram, gradients: Gradients) -> str:
    structure = drawn.structure
    words = [f"Unrolled computation graph of {len(structure.steps)} time steps, {len(structure.nodes)} operations."]
    names = ", ".join(dict.fromkeys(clean(state.name or "h")[:40] for state in structure.states))
    if names:
        words.append(f"States: {names}.")
    if not gradients.computed:
        words.append("Gradients are not computed.")
    for record in list(gradients.states.values())[:200]:
        gain = "" if record.gain is None else f", gain from the next step {number(record.gain)}"
        words.append(f"{clean(record.name)[:40]} at step {record.step}: gradient norm {number(record.norm)}{gain}.")
    return " ".join(words)


# ---------------------------------------------------------------------- lanes
def _lanes(
    scene: Scene, drawn: Diagram, placed: Arrangement, gradients: Gradients, tokens: Sequence[str] | None
) -> None:
    for lane in placed.columns:
        scene.lanes.append(lane)
        if lane.step is None:
            first, last = drawn.hidden[0], drawn.hidden[-1]
            lane.label = line(f"t = {first} … {last}" if last > first else f"t = {first}")
            lane.tooltip = f"{len(drawn.hidden)} steps hidden"
            _hidden(scene, drawn, gradients, lane)
        elif drawn.structure.steps:
            at = drawn.structure.steps.index(lane.step)
            token = f"  {shorten(repr(tokens[at]), 10)}" if tokens is not None and at < len(tokens) else ""
            lane.label = line(f"t = {lane.step}{token}")
    _scopes(scene, drawn, placed)


def _hidden(scene: Scene, drawn: Diagram, gradients: Gradients, lane: Lane) -> None:
    """The lane that stands for many: how many, how much gradient gets through all of them, and where it is cut."""
    x, space, hidden = lane.middle[0], Space(), drawn.hidden
    cells = [box for box in drawn.boxes if box.kind in ("state", "cell")]
    level_of = {drawn.row_of[tensor.index]: box.rect.middle[1] for box in cells for tensor in box.tensors}
    for at, layer in enumerate(drawn.structure.layers):
        rows = [drawn.row_of[tensor.index] for tensor in layer[0]]
        y = next((level_of[row] for row in reversed(rows) if row in level_of), None)
        gain = gradients.flow.passed(layer, set(hidden)) if gradients.flow is not None and y is not None else None
        if y is None or gain is None:
            continue
        name = f"{names_of(layer)} " if len(rows) > 1 else ""
        said = line(f"{name}×{number(gain)}", bold=True)
        tip = f"of the gradient behind the {len(hidden)} hidden steps {gain:.3g} gets through all of them"
        space.write(scene, f"hidden_gain_{at}", said, moved(x, y), tip, must=True)
    cut = sorted({step for steps in drawn.restarts.values() for step in steps if step in hidden})
    if cut:
        said = line(restart_words(cut), color="cut")
        tip = f"the state is cut off from its past before t = {', '.join(map(str, cut))}"
        wished = [(x, y + move) for y in level_of.values() for move in (18, -18, 36, -36)]
        space.write(scene, "hidden_cut", said, [*wished, (x, lane.y + 60)], tip, "cut", must=True)
    heights = [lane.y + lane.height * 0.2, *(lane.y + 12 + 8 * at for at in range(int(lane.height / 8)))]
    y = next((y for y in heights if space.is_free((x - 30, y - 8, x + 30, y + 23))), heights[0])
    for at, text in enumerate((f"{len(hidden)} step{'s' * (len(hidden) > 1)}", "not drawn")):
        scene.labels.append(Label(f"hidden_{at}", x, y + 15 * at, line(text), background="paper"))


def restart_words(steps: Sequence[int]) -> str:
    """Where a state is cut off from its past."""
    words = f"✂ t = {', '.join(map(str, steps))}"
    return words if len(words) <= 14 else f"✂ {len(steps)} times"


def _scopes(scene: Scene, drawn: Diagram, placed: Arrangement) -> None:
    """A backdrop behind the rows of each layer or direction, where there are several."""
    inside: dict[str, list[Box]] = defaultdict(list)
    for box in drawn.boxes:
        if box.zone == "lane" and box.scope and box.kind not in ("input", "total", "loss"):
            inside[box.scope].append(box)
    if len(inside) < 2:
        return
    last = {scope: scope.rpartition("/")[2] for scope in inside}
    unique = len(set(last.values())) == len(last)
    starts = [min(box.lane for box in boxes) for boxes in inside.values()]
    left = min([placed.columns[0].x - 30, *(box.rect.x for box in drawn.boxes if box.lane < 0)]) - 8
    above: dict[int, float] = {}  # where the next name above a lane begins
    for at, (scope, boxes) in enumerate(inside.items()):
        top, bottom = min(box.rect.y for box in boxes), max(box.rect.bottom for box in boxes)
        tip = clean(scope)[:200]
        for lane in sorted({box.lane for box in boxes}):
            column, name = placed.columns[lane], f"scope_{len(scene.backdrops)}"
            size = column.x + 3, top - 6, column.width - 6, bottom - top + 12
            scene.backdrops.append(Rect(name, *size, fill="scope", radius=6.0, kind="scope", tooltip=tip))
        words, name = line(shorten(last[scope] if unique else scope, 22), color="muted"), f"scope_name_{at}"
        first = starts[at]
        if first == 0 and starts.count(0) > 1:
            scene.labels.append(Label(name, left, (top + bottom) / 2, words, "end", tooltip=tip))
        else:  # a phase of its own, such as the decoder's: above its first lane
            x = above.get(first, placed.columns[first].x + 4)
            above[first] = x + words.width + 12
            scene.labels.append(Label(name, x, placed.top - 9, words, "start", tooltip=tip))


# ---------------------------------------------------------------------- boxes and edges
def add_boxes(scene: Scene, drawn: Diagram, gradients: Gradients) -> None:
    for box in drawn.boxes:
        scene.boxes.append(box.rect)
        if box.rect.text_shift:
            _bar(scene, box.rect, *(gradients.split(box) or (0.0, 0.0)))


def _bar(scene: Scene, rect: Rect, injected: float, future: float) -> None:
    """Injected at this step | arriving from the future, as shares of a bar."""
    whole = injected + future
    if not 0 < whole < float("inf"):
        return
    x, y, width = rect.x + 6, rect.bottom - BAR_HEIGHT - 4, rect.width - 12
    tip = f"injected at this step {number(injected)} | from the future {number(future)}"
    middle = x + width * injected / whole
    for name, left, right in (("injected", x, middle), ("future", middle, x + width)):
        if right - left > 0.4:
            size = round(left, 2), y, round(right - left, 2), BAR_HEIGHT
            scene.boxes.append(Rect(f"{rect.id}_{name}", *size, name, "paper", 0.5, tooltip=tip, kind="bar"))


def add_edges(scene: Scene, drawn: Diagram, router: Router, gradients: Gradients) -> None:
    said: set[tuple[int, int, int | None]] = set()
    space = Space([*scene.boxes, *scene.labels])
    for at, link in enumerate(drawn.links):
        norm = gradients.link(link)
        points = router.path(link)
        look = *stroke_of(link, norm, gradients), norm is not None, link_words(link, norm, gradients), link.kind
        edge = Edge(f"e{at}", link.source.id, link.target.id, points, *look)
        scene.edges.append(edge)
        if link.kind == "cut":
            x, y = halfway(points)
            words = line("✂", size=13.0, color="cut")
            wished = [(x + move, y) for move in (0, 18, -18, 36, -36)]
            space.write(scene, f"cut_{at}", words, wished, edge.tooltip, "cut")
        gain = gradients.link_gain(link)
        key = (id(link.source), link.tensor.index, link.uses[0][0].step if link.uses else None)
        if gain is not None and link in router.label_at and key not in said:
            said.add(key)
            tip = f"gain: step {key[2]} sends back here {gain:.3g} times the gradient of its state"
            space.write(scene, f"gain_{at}", line("×" + number(gain)), moved(*router.label_at[link]), tip)


def stroke_of(link: Link, norm: float | None, gradients: Gradients) -> Stroked:
    """The colour, width and dashes of an edge."""
    if link.kind == "cut":
        return "cut", 1.2, "dashed"
    if not gradients.computed:
        return ("muted" if link.kind != "weight" else "faint"), 1.1, "solid"
    return ("faint", 0.9, "dashed") if norm is None else stroke(norm, gradients.reference)


def stroke(norm: float, reference: float) -> Stroked:
    """How a line says the size of a gradient."""
    if not np.isfinite(norm):
        return "not finite", 3.0, "double"
    level = style.decades(norm, reference)
    if level is None:
        return "muted", 0.9, "dotted"
    return style.on_scale("scale", norm, reference), style.stroke_width(level), "solid"


def add_heading(scene: Scene) -> None:
    """The title above everything, in as many lines as the picture is wide."""
    if not clean(scene.title):
        return
    solid = [each.area for each in [*scene.lanes, *scene.boxes]]
    left, right = min(area[0] for area in solid), max(area[2] for area in solid)
    top = min(area[1] for area in [*solid, *(each.area for each in scene.labels)])
    lines = wrapped(shorten(scene.title, 300), max(right - left, 420.0), style.TITLE)
    for at, words in enumerate(lines):
        y = top - 18 - 18 * (len(lines) - 1 - at)
        text = line(words, size=style.TITLE, bold=True)
        scene.labels.append(Label("title" if not at else f"title_{at}", left, y, text, "start", kind="title"))
