"""The legend: what occurs in a picture is explained, and nothing else."""

from __future__ import annotations

from ..flow.repeated import repeated
from ..flow.sentence import MASKED
from . import style
from .arrange import Arrangement
from .diagram import Diagram
from .measure import Gradients, names_of
from .scene import Label, Rect, Scene
from .text import line, number, words_runs, wrapped

CELL = 54.0


def add_legend(
    scene: Scene, drawn: Diagram, placed: Arrangement, gradients: Gradients, y: float, gaps: bool = False
) -> None:
    """Draw the scale and what it means below `y`; of a worksheet with gaps, what belongs in them."""
    left = placed.columns[0].x
    right = max([box.right for box in scene.boxes] + [lane.right for lane in scene.lanes])
    width = max(right - left, 440.0)
    if gaps:
        notes = ["grad: the gradient of the loss, entry by entry; arrows follow the data"]
    elif not gradients.computed:
        notes = [
            "gradients: not computed (call loss.backward(), or pass tg.gradient_flow(loss)); arrows follow the data"
        ]
    else:
        _scale(scene, left, y)
        y += 34
        notes = _notes(scene, gradients)
    if not drawn.structure.steps and repeated(drawn.structure):
        notes.append("here is a loop: run by `for t, x in tg.steps(xs)` it would have a column for each step")
    for at, part in enumerate(part for words in notes for part in wrapped(words, width, style.TEXT)):
        said = line(*words_runs(part), color="muted")
        scene.labels.append(Label(f"legend_{at}", left, y + 6, said, "start"))
        y += 15
    if any(box.kind == "bar" for box in scene.boxes):
        scene.boxes.append(Rect("key_injected", left, y + 3, 16, 6, "injected", kind="legend"))
        scene.boxes.append(Rect("key_future", left + 16, y + 3, 16, 6, "future", kind="legend"))
        words = "in a state: |∂L/∂h|, injected by its own step | arriving from later steps"
        scene.labels.append(Label("legend_bar", left + 38, y + 6, line(words, color="muted"), "start"))


def _scale(scene: Scene, x: float, y: float) -> None:
    """The colours and widths that occur, to the next power of ten of the reference."""
    edges = {edge.color for edge in scene.edges}
    fills = {box.fill for box in scene.boxes if box.kind != "legend"}
    widths, levels = ({_level(name) for name in names} - {None} for names in (edges, edges | fills))
    for level in sorted(level for level in levels if level is not None):
        fill = f"scale {level}"
        words = "1" if level == 0 else f"{10.0**level:g}×"
        if any(name.endswith(f" {float(level):.2f}") for name in edges | fills) and abs(level) == style.DECADES:
            words = f"{'≤' if level < 0 else '≥'}{words}"
        tip = "the reference" if level == 0 else f"10^{level} of the reference"
        _swatch(scene, f"scale_{level + 3}", x, y, fill, words, tip)
        if level in widths:
            width = style.stroke_width(level)
            sample = x + 4, y + 23 - width / 2, CELL - 8, width
            scene.boxes.append(Rect(f"width_{level + 3}", *sample, fill, kind="legend"))
        x += CELL
    if (edges | fills) & {"not finite", "fill not finite"}:
        _swatch(scene, "scale_not_finite", x, y, "not finite", "NaN, ∞", "not finite")


def _swatch(scene: Scene, name: str, x: float, y: float, fill: str, words: str, tip: str) -> None:
    lines = (line(words, color=style.text_on(fill)),)
    scene.boxes.append(Rect(name, x, y, CELL, 17.0, fill, "paper", 0.5, lines=lines, tooltip=tip, kind="legend"))


def _level(name: str) -> int | None:
    """The power of ten that a colour of the scale is next to."""
    kind, _, level = name.partition(" ")
    return round(float(level)) if kind in ("scale", "tint") else None


def _notes(scene: Scene, gradients: Gradients) -> list[str]:
    notes = [f"colour and width: gradient norm, relative to {gradients.scale[1]}, {number(gradients.reference)}"]
    if any(label.kind == "gain" and label.line.text.startswith("×") for label in scene.labels):
        notes.append("×g: gain of a step, |message| / |gradient of the next state|")
    for names in dict.fromkeys(names_of(layer.states) for layer in gradients.layers):
        state = f"{names}| of step k" if "," in names else f"{names}_k|"
        notes.append(f"|∂L_T/∂{state}: gradient of the last loss alone at the state of step k, the reach of learning")
    if any((layer.states[0][0].step or 0) > (layer.states[-1][0].step or 0) for layer in gradients.layers):
        notes.append("where time runs backward, the last loss is that of the earliest step")
    notes += [MASKED] if any(layer.masked for layer in gradients.layers) else []
    if any(label.id == "strips_total" for label in scene.labels):
        notes.append("sum; left: |Σ G_t|, and what share of Σ |G_t| that is; the rest cancels")
    if any(edge.kind == "cut" for edge in scene.edges):
        notes.append("✂: cut by truncate or detach; no gradient passes")
    marks = {edge.dash for edge in scene.edges if edge.kind != "cut"}
    said = {"dotted": "dotted: zero", "double": "double: not finite", "dashed": "dashed: no gradient flows"}
    found = [words for mark, words in said.items() if mark in marks]
    return notes + (["; ".join(found)] if found else [])
