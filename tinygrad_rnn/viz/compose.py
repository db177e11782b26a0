"""The whole picture: lanes, boxes and edges, the strips below them, and the legend that says how to read it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import style
from .arrange import Arrangement
from .diagram import Box, Diagram, Link
from .measure import BAR_HEIGHT, Face, Gradients, face, link_words
from .route import STATE_GAP, Router, halfway, routed
from .scene import Edge, Label, Lane, Rect, Scene, Stroke
from .text import Run, clean, line, name_runs, number, shorten

GUTTER = 22.0
GUTTER_WITH_GAINS = 44.0
HIDDEN_WIDTH = 92.0
STRIP_HEIGHT = 17.0
OUTSIDE_WIDTH = 52.0
MARGIN = 14.0


def compose(
    drawn: Diagram,
    gradients: Gradients,
    title: str | None = None,
    tokens: Sequence[str] | None = None,
    shapes: bool = False,
    values: bool = False,
) -> Scene:
    """Make the picture of an unrolled graph; see `unrolled` for the arguments."""
    structure = drawn.structure
    faces = {box: face(box, gradients, shapes, values) for box in drawn.boxes}
    _level(drawn, faces)
    gutter = GUTTER_WITH_GAINS if gradients.computed and structure.states else GUTTER
    placed, router = routed(drawn, faces, gutter, HIDDEN_WIDTH if drawn.hidden else 0.0)
    scene = Scene(title=title if title is not None else _title(drawn, gradients))
    _lanes(scene, drawn, placed, gradients, tokens)
    add_edges(scene, drawn, router, gradients)
    add_boxes(scene, drawn, placed, faces)
    below = _bottom(scene) + 16
    if gradients.computed and structure.shared_weights:
        below = _strips(scene, drawn, placed, gradients, below)
    _legend(scene, placed, gradients, below)
    add_heading(scene)
    scene.fit(MARGIN)
    scene.description = _description(drawn, gradients)
    return scene


def _level(drawn: Diagram, faces: dict[Box, Face]) -> None:
    """Boxes of one row of states are equally large, whatever the digits in them."""
    rows: dict[object, list[Face]] = {}
    for box, looks in faces.items():
        if box.kind in ("state", "cell"):
            rows.setdefault(box.align, []).append(looks)
    for group in rows.values():
        width, height = max(looks.width for looks in group), max(looks.height for looks in group)
        for looks in group:
            looks.width, looks.height = width, height


def _title(drawn: Diagram, gradients: Gradients) -> str:
    count = len(drawn.structure.steps)
    what = "a graph without time steps" if not count else f"{count} steps unrolled" if count > 1 else "one step"
    loss = shorten(drawn.structure.loss.name or "L", 24)
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


def _bottom(scene: Scene) -> float:
    return max([lane.y + lane.height for lane in scene.lanes] + [box.bottom for box in scene.boxes])


# ---------------------------------------------------------------------- lanes
def _lanes(
    scene: Scene, drawn: Diagram, placed: Arrangement, gradients: Gradients, tokens: Sequence[str] | None
) -> None:
    height = placed.bottom - placed.top
    for column in placed.columns:
        if column.step is None:
            first, last = drawn.hidden[0], drawn.hidden[-1]
            words = f"{len(drawn.hidden)} steps hidden"
            label = line(f"t = {first} … {last}")
            lane = Lane("hidden", column.x, placed.top, column.width, height, label, True, placed.head, words)
            scene.lanes.append(lane)
            _hidden(scene, drawn, placed, gradients, lane)
            continue
        words = f"t = {column.step}" if drawn.structure.steps else ""
        if tokens is not None and column.step in drawn.structure.steps:
            at = drawn.structure.steps.index(column.step)
            words += f"  {shorten(repr(tokens[at]), 10)}" if at < len(tokens) else ""
        name = f"lane_{column.step}"
        scene.lanes.append(Lane(name, column.x, placed.top, column.width, height, line(words), head=placed.head))
    _scopes(scene, drawn, placed)


def _hidden(scene: Scene, drawn: Diagram, placed: Arrangement, gradients: Gradients, lane: Lane) -> None:
    """The lane that stands for many: how many, and how much gradient gets through all of them."""
    x = lane.x + lane.width / 2
    y = lane.y + lane.height * 0.2
    for at, words in enumerate((f"{len(drawn.hidden)} steps", "not drawn")):
        scene.labels.append(Label(f"hidden_{at}", x, y + 13 * at, line(words, size=10.0), background="#FFFFFF"))
    for box in drawn.boxes:
        if box.kind not in ("state", "cell") or box.step != drawn.steps[0]:
            continue
        rows = [drawn.row_of[tensor.index] for tensor in box.tensors]
        for at, row in enumerate(rows):
            gain = gradients.hidden_gain(drawn, row)
            if gain is None:
                continue
            name = f"{shorten(box.tensors[at].name or 'h', 6)} " if len(rows) > 1 else ""
            said = line(f"{name}×{number(gain)}", size=11.0, bold=True)
            tip = f"cumulative gain over the {len(drawn.hidden)} hidden steps: {gain:.3g}"
            level = placed.places[box].y + (at - (len(rows) - 1) / 2) * (STATE_GAP + 3)
            scene.labels.append(Label(f"hidden_gain_{row}", x, level, said, "middle", "#FFFFFF", tip))


def _scopes(scene: Scene, drawn: Diagram, placed: Arrangement) -> None:
    """A backdrop behind the rows of each layer or direction, where there are several."""
    extent: dict[tuple[str, int], tuple[float, float]] = {}
    for box in drawn.boxes:
        if box.zone == "lane" and box.scope and box.kind not in ("input", "total", "loss"):
            place = placed.places[box]
            top, bottom = extent.get((box.scope, place.lane), (place.top, place.bottom))
            extent[box.scope, place.lane] = (min(top, place.top), max(bottom, place.bottom))
    rows: dict[str, tuple[float, float]] = {}
    for (scope, _), (top, bottom) in extent.items():
        low, high = rows.get(scope, (top, bottom))
        rows[scope] = (min(low, top), max(high, bottom))
    if len(rows) < 2:
        return
    for scope, lane in extent:
        top, bottom = rows[scope]
        column = placed.columns[lane]
        scene.backdrops.append(
            Rect(
                f"scope_{len(scene.backdrops)}",
                column.x + 3,
                top - 6,
                column.width - 6,
                bottom - top + 12,
                fill="#F0F3F5",
                radius=6.0,
                kind="scope",
                tooltip=clean(scope)[:200],
            )
        )
    last = {scope: scope.rpartition("/")[2] for scope in rows}
    unique = len(set(last.values())) == len(last)
    beside = [place.left for box, place in placed.places.items() if place.lane < 0]
    left = min([placed.columns[0].x - 30, *beside]) - 8
    for at, (scope, (top, bottom)) in enumerate(rows.items()):
        words = line(shorten(last[scope] if unique else scope, 22), size=9.0, color=style.MUTED)
        name, tip = f"scope_name_{at}", clean(scope)[:200]
        first = min(lane for each, lane in extent if each == scope)
        if first == 0 and len({each for each, lane in extent if lane == 0}) > 1:
            scene.labels.append(Label(name, left, (top + bottom) / 2, words, "end", tooltip=tip))
        else:  # a phase of its own, such as the decoder's: above its first lane
            scene.labels.append(Label(name, placed.columns[first].x + 4, placed.top - 9, words, "start", tooltip=tip))


# ---------------------------------------------------------------------- boxes and edges
def add_boxes(scene: Scene, drawn: Diagram, placed: Arrangement, faces: dict[Box, Face]) -> None:
    for box in drawn.boxes:
        place, looks = placed.places[box], faces[box]
        rect = Rect(
            box.id,
            place.left,
            place.top,
            place.width,
            place.height,
            looks.fill,
            looks.stroke,
            looks.stroke_width,
            "dashed" if box.kind in ("initial", "cut") else "solid",
            place.height / 2 if box.kind == "total" else 5.0,
            looks.lines,
            looks.tooltip,
            box.kind,
        )
        scene.boxes.append(rect)
        if looks.bar is not None:
            rect.text_shift = (BAR_HEIGHT + 3) / 2
            _bar(scene, rect, looks.bar)


def _bar(scene: Scene, rect: Rect, parts: tuple[float, float]) -> None:
    """Injected at this step | arriving from the future, as shares of a bar."""
    injected, future = parts
    whole = injected + future
    share = injected / whole if 0 < whole < float("inf") else 0.0
    x, y, width = rect.x + 6, rect.bottom - BAR_HEIGHT - 4, rect.width - 12
    tip = f"injected at this step {number(injected)} | from the future {number(future)}"
    middle = x + width * share
    pieces = [("injected", x, middle, style.INJECTED), ("future", middle, x + width, style.FROM_FUTURE)]
    for name, left, right, fill in pieces:
        if right - left > 0.4 and whole:
            scene.boxes.append(
                Rect(
                    f"{rect.id}_{name}",
                    round(left, 2),
                    y,
                    round(right - left, 2),
                    BAR_HEIGHT,
                    fill,
                    "#FFFFFF",
                    0.5,
                    tooltip=tip,
                    kind="bar",
                )
            )


def add_edges(scene: Scene, drawn: Diagram, router: Router, gradients: Gradients) -> None:
    said: set[tuple[int, int]] = set()
    for at, link in enumerate(drawn.links):
        norm = gradients.link(link)
        points = router.path(link)
        color, width, dash = stroke_of(link, norm, gradients)
        edge = Edge(
            f"e{at}",
            link.source.id,
            link.target.id,
            points,
            color,
            width,
            dash,
            backward=norm is not None,
            tooltip=link_words(link, norm, gradients),
            kind=link.kind,
        )
        scene.edges.append(edge)
        if link.kind == "cut":
            x, y = halfway(points)
            scene.labels.append(
                Label(
                    f"cut_{at}",
                    x,
                    y,
                    line("✂", size=13.0, color=style.STROKE["cut"]),
                    background="#FFFFFF",
                    tooltip=edge.tooltip,
                    kind="cut",
                )
            )
        key = (id(link.source), link.tensor.index)
        gain = gradients.link_gain(link) if link.kind == "state" else None
        if gain is not None and key in router.label_at and key not in said:
            said.add(key)
            x, y = router.label_at[key]
            tip = f"gain: the gradient arriving here is {gain:.3g} times that of the next state"
            words = line("×" + number(gain), size=9.0)
            scene.labels.append(Label(f"gain_{at}", x, y, words, "middle", "#FFFFFF", tip, "gain"))


def stroke_of(link: Link, norm: float | None, gradients: Gradients) -> tuple[str, float, Stroke]:
    if link.kind == "cut":
        return style.STROKE["cut"], 1.2, "dashed"
    if not gradients.computed:
        return (style.PLAIN if link.kind != "weight" else "#B5B5B5"), 1.1, "solid"
    if norm is None:
        return "#B5B5B5", 0.9, "dashed"
    if not np.isfinite(norm):
        return style.NOT_FINITE, 3.0, "double"
    level = style.decades(norm, gradients.reference)
    if level is None:
        return style.PLAIN, 0.9, "dotted"
    return style.colour(level), style.stroke_width(level), "solid"


# ---------------------------------------------------------------------- strips
def _strips(scene: Scene, drawn: Diagram, placed: Arrangement, gradients: Gradients, top: float) -> float:
    """For each shared weight a cell per step with the norm of its contribution; at the end the total.

    What uses outside the loop contribute, such as a penalty on the weight, has a cell of its own after the steps,
    so that the cells of a strip add up to the whole gradient.
    """
    assert gradients.flow is not None
    flow, structure = gradients.flow, drawn.structure
    left, right = placed.columns[0].x, placed.columns[-1].right
    beyond = {weight.index: flow.outside(weight) for weight in structure.shared_weights}
    outside_x = right + 8
    if any(part.any() for part in beyond.values()):
        right = outside_x + OUTSIDE_WIDTH
        head = line("outside", size=8.0, color=style.MUTED)
        scene.labels.append(Label("strips_outside", outside_x + OUTSIDE_WIDTH / 2, top, head))
    row_of = {step: at for at, step in enumerate(structure.steps)}
    y = top
    scene.labels.append(
        Label("strips", left - 10, y, line("contributed by each step", size=8.0, color=style.MUTED), "end")
    )
    scene.labels.append(
        Label("strips_total", right + 12, y, line("sum; |sum| / sum of |·|", size=8.0, color=style.MUTED), "start")
    )
    y += 12
    for number_of, weight in enumerate(structure.shared_weights):
        parts = flow.per_step(weight)
        norms = np.linalg.norm(parts.reshape(len(parts), -1), axis=1)
        called = structure.weight_name(weight)
        middle = y + STRIP_HEIGHT / 2
        runs = (Run("∂L/∂"), *name_runs(called, length=16))
        tip = f"{clean(called)[:200]}, shape {'×'.join(map(str, weight.shape)) or 'scalar'}"
        scene.labels.append(Label(f"strip_{number_of}", left - 10, middle, line(*runs, size=10.0), "end", tooltip=tip))
        for column in placed.columns:
            if column.step is None:
                hidden = [row_of[step] for step in drawn.hidden]
                norm = float(np.linalg.norm(parts[hidden].sum(axis=0)))
                words = f"Σ {number(norm)}"
                tip = f"steps {drawn.hidden[0]} to {drawn.hidden[-1]} together: |ΣG| = {norm:.4g}"
            else:
                norm = float(norms[row_of[column.step]])
                words, tip = number(norm), f"step {column.step} contributes |G| = {norm:.4g}"
            name = f"g{number_of}_{column.step if column.step is not None else 'hidden'}"
            scene.boxes.append(_share(name, column.x, y, column.width, norm, words, tip, gradients))
        outside = beyond[weight.index]
        apart = float(norms.sum())
        if right > outside_x:
            norm = float(np.linalg.norm(outside))
            apart += norm
            tip = f"uses outside the steps contribute |G| = {norm:.4g}"
            name = f"g{number_of}_outside"
            scene.boxes.append(_share(name, outside_x, y, OUTSIDE_WIDTH, norm, number(norm), tip, gradients))
        total = float(np.linalg.norm(parts.sum(axis=0) + outside))
        words = f"{number(total)};  {total / apart:.0%}" if apart and np.isfinite(apart) else number(total)
        tip = (
            f"|sum of G_t| = {total:.4g}, sum of |G_t| = {apart:.4g}: the smaller the share, the more the steps cancel"
        )
        scene.labels.append(
            Label(f"total_{number_of}", right + 12, middle, line(words, size=10.0), "start", tooltip=tip)
        )
        y += STRIP_HEIGHT + 4
    return y + 12


def _share(
    name: str, x: float, y: float, width: float, norm: float, words: str, tooltip: str, gradients: Gradients
) -> Rect:
    """One cell of a strip."""
    fill = style.tint(norm, gradients.reference)
    lines = (line(words, size=9.0),)
    return Rect(name, x, y, width, STRIP_HEIGHT, fill, "#D0D0D0", 0.5, lines=lines, tooltip=tooltip, kind="share")


# ---------------------------------------------------------------------- legend
def _legend(scene: Scene, placed: Arrangement, gradients: Gradients, y: float) -> None:
    left = placed.columns[0].x
    if not gradients.computed:
        words = "gradients: not computed (call loss.backward(), or pass tg.gradient_flow(loss)); arrows follow the data"
        scene.labels.append(Label("legend", left, y + 6, line(words, size=9.0, color=style.MUTED), "start"))
        return
    x = left
    for level in range(-3, 4):
        fill = style.colour(level)
        words = "reference" if level == 0 else f"{10.0**level:g}×"
        cell = Rect(
            f"scale_{level + 3}",
            x,
            y,
            52.0,
            15.0,
            fill,
            "#FFFFFF",
            0.5,
            tooltip=f"10^{level} of the reference",
            lines=(line(words, size=9.0, color=style.ink_on(fill)),),
            kind="legend",
        )
        scene.boxes.append(cell)
        width = style.stroke_width(level)
        scene.boxes.append(Rect(f"width_{level + 3}", x + 4, y + 21 - width / 2, 44.0, width, fill, kind="legend"))
        x += 52.0
    notes = [
        "edge colour and width: norm of the gradient sent back, relative to "
        f"{gradients.reference_words} (clipped to ±3 decades)",
        "×g on a recurrent edge: gain, |message| / |gradient of the next state|; dotted: zero; "
        "magenta double: not finite; dashed: no gradient flows",
    ]
    for at, words in enumerate(notes):
        scene.labels.append(
            Label(f"legend_{at}", left, y + 36 + 13 * at, line(words, size=9.0, color=style.MUTED), "start")
        )
    at_y = y + 36 + 13 * 2
    bar_x = left
    scene.boxes.append(Rect("key_injected", bar_x, at_y - 3, 16, 6, style.INJECTED, kind="legend"))
    scene.boxes.append(Rect("key_future", bar_x + 16, at_y - 3, 16, 6, style.FROM_FUTURE, kind="legend"))
    words = "in a state: its gradient injected by its own step | arriving from the future; the number is |∂L/∂h|"
    scene.labels.append(Label("legend_2", bar_x + 38, at_y, line(words, size=9.0, color=style.MUTED), "start"))


def add_heading(scene: Scene) -> None:
    if not clean(scene.title):
        return
    left = min([lane.x for lane in scene.lanes] + [box.x for box in scene.boxes])
    top = min([lane.y for lane in scene.lanes] + [box.y for box in scene.boxes] + [each.y for each in scene.labels])
    words = line(shorten(scene.title, 120), size=13.0, bold=True)
    scene.labels.append(Label("title", left, top - 20, words, "start", kind="title"))
