"""The strips below the lanes: how far the last loss reaches back, and what each step adds to each shared weight."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..flow.diagnose import Layer
from ..flow.norms import norm as norm_of
from .arrange import Arrangement
from .diagram import Diagram
from .measure import Gradients, names_of
from .scene import Label, Rect, Scene
from .style import on_scale, text_on
from .text import Line, Run, clean, line, name_runs, number, shape_of, shorten

HEIGHT = 19.0
OUTSIDE = 56.0
LAYERS = 6
"""Of more layers and directions only so many have a strip."""

Cells = dict[int | str | None, tuple[float, str, str]]
"""By step, or for the "hidden" ones and "outside" of all, the norm, the words and the tooltip of a cell."""


def add_strips(scene: Scene, drawn: Diagram, placed: Arrangement, gradients: Gradients, top: float) -> float:
    """Draw the strips below `top`; the y below them is returned."""
    strips = _Strips(scene, drawn, placed, gradients)
    return strips.weights(strips.reach(top + 6)) + 10


class _Strips:
    def __init__(self, scene: Scene, drawn: Diagram, placed: Arrangement, gradients: Gradients) -> None:
        assert gradients.flow is not None
        self.scene = scene
        self.hidden = drawn.hidden
        self.gradients = gradients
        self.flow = gradients.flow
        self.left, self.right = placed.columns[0].x, placed.columns[-1].right
        self.extent: dict[int | str, tuple[float, float]] = {
            "hidden" if column.step is None else column.step: (column.x, column.width) for column in placed.columns
        } | {"outside": (self.right + 8, OUTSIDE)}

    def reach(self, y: float) -> float:
        """|dL_T/dh_k| of each layer, with its verdict at the right end."""
        layers = self.gradients.layers
        for at, layer in enumerate(layers[:LAYERS]):
            norms = {state[0].step: float(norm) for state, norm in zip(layer.states, layer.last, strict=True)}
            cells: Cells = {step: (n, number(n), f"|dL_T/dh_k| at k = {step}: {n:.4g}") for step, n in norms.items()}
            hidden = [norms[step] for step in self.hidden if step in norms]
            if hidden:
                words = " … ".join(dict.fromkeys([number(hidden[0]), number(hidden[-1])]))
                words = words if line(words).width < self.extent["hidden"][1] else f"{number(hidden[0])} …"
                tip = f"|dL_T/dh_k| from k = {self.hidden[0]} to {self.hidden[-1]}"
                cells["hidden"] = hidden[0], words, tip
            self._row(f"reach{at}", y, cells, "reach")
            self._note(f"reach_{at}", y, *_reach_words(layer, len(layers) > 1), "end")
            self._note(f"verdict_{at}", y, line(layer.verdict), layer.measured)
            y += HEIGHT + 4
        return y + (6 if layers else 0)

    def weights(self, y: float) -> float:
        """A cell per step with |G_t|; one for uses outside the loop, such as a penalty; and their sum.

        The cells of a strip add up to the whole gradient.
        """
        weights = [record for record in self.flow.weights() if self.flow.gradient(record.tensor) is not None]
        if not weights:
            return y
        beyond = [self.flow.outside(record.tensor) for record in weights]
        is_outside = any(part.any() for part in beyond)
        over = y - HEIGHT / 2
        if is_outside:
            self.right += 8 + OUTSIDE
            self.scene.labels.append(
                Label("strips_outside", self.right - OUTSIDE / 2, y, line("outside", color="muted"))
            )
        self._note("strips", over, line("each step adds", color="muted"), "", "end")
        self._note("strips_total", over, line("sum; left", color="muted"))
        y += 10
        hidden = [at for at, step in enumerate(self.flow.structure.steps) if step in self.hidden]
        for at, (record, outside) in enumerate(zip(weights, beyond, strict=True)):
            cells: Cells = {
                step: (norm, number(norm), f"step {step} contributes |G| = {norm:.4g}")
                for step, norm in zip(self.flow.structure.steps, record.norms.tolist(), strict=True)
            }
            if is_outside:
                beside = norm_of(outside)
                cells["outside"] = beside, number(beside), f"uses outside the steps contribute |G| = {beside:.4g}"
            apart = sum(norm for norm, *_ in cells.values())
            if hidden:
                together = norm_of(self.flow.per_step(record.tensor)[hidden].sum(axis=0))
                tip = f"steps {self.hidden[0]} to {self.hidden[-1]} together: |ΣG| = {together:.4g}"
                cells["hidden"] = together, f"Σ {number(together)}", tip
            self._row(f"g{at}", y, cells, "share")
            words = line("∂L/∂", *name_runs(record.name, length=16))
            self._note(f"strip_{at}", y, words, f"{clean(record.name)[:200]}, shape {shape_of(record.tensor)}", "end")
            left = f"; {record.cancellation:.0%}" if apart and np.isfinite(apart) else ""
            tip = f"|sum of G_t| = {record.total:.4g}, sum of |G_t| = {apart:.4g}: "
            tip += "the smaller the share left, the more cancel"
            self._note(f"total_{at}", y, line(number(record.total) + left), tip)
            y += HEIGHT + 4
        return y

    def _note(self, name: str, y: float, words: Line, tip: str = "", anchor: Literal["start", "end"] = "start") -> None:
        """To the right of the strips, or so that it ends to their left."""
        x = self.left - 8 if anchor == "end" else self.right + 8
        self.scene.labels.append(Label(name, x, y + HEIGHT / 2, words, anchor, tooltip=tip))

    def _row(self, name: str, y: float, cells: Cells, kind: Literal["reach", "share"]) -> None:
        for step, (x, width) in self.extent.items():
            if step not in cells:
                continue
            norm, words, tip = cells[step]
            fill = on_scale("scale" if kind == "reach" else "tint", norm, self.gradients.reference)
            cell = Rect(f"{name}_{step}", x, y, width, HEIGHT, fill, "lane-line", 0.5, tooltip=tip, kind=kind)
            cell.lines = (line(words, color=text_on(fill)),)
            self.scene.boxes.append(cell)


def _reach_words(layer: Layer, several: bool) -> tuple[Line, str]:
    names, scope = names_of(layer.states), clean(layer.name)
    where = [f"{shorten(scope.rpartition('/')[2], 8)} "] if several and scope else []
    words = line(*where, "|∂L", Run("T", subscript=True), f"/∂{names}", Run("k", subscript=True), "|")
    return words, f"{scope} {layer.measured}: the gradient of the last loss at the state of each step".strip()
