"""The strips below the lanes: how far the last loss reaches back, and what each step adds to each shared weight."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..flow.diagnose import Layer
from ..flow.norms import norm as norm_of
from . import style
from .arrange import Arrangement
from .diagram import Diagram
from .measure import Gradients, names_of
from .scene import Label, Rect, Scene
from .text import Line, Run, clean, line, name_runs, number, shorten

HEIGHT = 19.0
OUTSIDE = 56.0
LAYERS = 6
"""Of more layers and directions only so many have a strip."""


def add_strips(scene: Scene, drawn: Diagram, placed: Arrangement, gradients: Gradients, top: float) -> float:
    """Draw the strips below `top`; the y below them is returned."""
    strips = _Strips(scene, drawn, placed, gradients)
    y = strips.reach(top + 6)
    if drawn.structure.shared_weights:
        y = strips.weights(y)
    return y + 10


class _Strips:
    def __init__(self, scene: Scene, drawn: Diagram, placed: Arrangement, gradients: Gradients) -> None:
        assert gradients.flow is not None
        self.scene = scene
        self.drawn = drawn
        self.columns = placed.columns
        self.gradients = gradients
        self.flow = gradients.flow
        self.left, self.right = placed.columns[0].x, placed.columns[-1].right
        self.row_of = {step: at for at, step in enumerate(self.flow.structure.steps)}

    def reach(self, y: float) -> float:
        """|dL_T/dh_k| of each layer, with its verdict at the right end."""
        layers = self.gradients.layers
        for at, layer in enumerate(layers[:LAYERS]):
            by_step = {state[0].step: float(norm) for state, norm in zip(layer.states, layer.last, strict=True)}
            self._name(f"reach_{at}", y, *_reach_words(layer, len(layers) > 1))
            for column in self.columns:
                if column.step is None:
                    hidden = [by_step[step] for step in self.drawn.hidden if step in by_step]
                    if not hidden:
                        continue
                    norm, words = hidden[0], " … ".join(dict.fromkeys([number(hidden[0]), number(hidden[-1])]))
                    words = words if line(words).width < column.width else f"{number(norm)} …"
                    tip = f"|dL_T/dh_k| from k = {self.drawn.hidden[0]} to {self.drawn.hidden[-1]}"
                elif column.step in by_step:
                    norm = by_step[column.step]
                    words, tip = number(norm), f"|dL_T/dh_k| at k = {column.step}: {norm:.4g}"
                else:
                    continue
                name = f"reach{at}_{'hidden' if column.step is None else column.step}"
                self._cell(name, column.x, y, column.width, norm, words, tip, "scale", "reach")
            self._total(f"verdict_{at}", y, layer.verdict, layer.measured)
            y += HEIGHT + 4
        return y + (6 if layers else 0)

    def weights(self, y: float) -> float:
        """A cell per step with |G_t|; one for uses outside the loop, such as a penalty; and their sum.

        The cells of a strip add up to the whole gradient.
        """
        weights = [w for w in self.drawn.structure.shared_weights if self.flow.gradient(w) is not None]
        beyond = {weight.index: self.flow.outside(weight) for weight in weights}
        outside_x = self.right + 8
        if any(part.any() for part in beyond.values()):
            self.right = outside_x + OUTSIDE
            words = line("outside", color="muted")
            self.scene.labels.append(Label("strips_outside", outside_x + OUTSIDE / 2, y, words))
        self.scene.labels.append(Label("strips", self.left - 8, y, line("each step adds", color="muted"), "end"))
        self.scene.labels.append(Label("strips_total", self.right + 8, y, line("sum; left", color="muted"), "start"))
        y += 10
        for at, weight in enumerate(weights):
            parts, outside = self.flow.per_step(weight), beyond[weight.index]
            norms = [norm_of(part) for part in parts]
            called = self.drawn.structure.weight_name(weight)
            shape = "×".join(map(str, weight.shape)) or "scalar"
            words = line("∂L/∂", *name_runs(called, length=16))
            self._name(f"strip_{at}", y, words, f"{clean(called)[:200]}, shape {shape}")
            for column in self.columns:
                if column.step is None:
                    hidden = [self.row_of[step] for step in self.drawn.hidden if step in self.row_of]
                    norm = norm_of(parts[hidden].sum(axis=0))
                    tip = f"steps {self.drawn.hidden[0]} to {self.drawn.hidden[-1]} together: |ΣG| = {norm:.4g}"
                    self._cell(f"g{at}_hidden", column.x, y, column.width, norm, f"Σ {number(norm)}", tip)
                elif column.step in self.row_of:
                    norm = norms[self.row_of[column.step]]
                    tip = f"step {column.step} contributes |G| = {norm:.4g}"
                    self._cell(f"g{at}_{column.step}", column.x, y, column.width, norm, number(norm), tip)
            apart = sum(norms)
            if self.right > outside_x:
                norm = norm_of(outside)
                apart += norm
                tip = f"uses outside the steps contribute |G| = {norm:.4g}"
                self._cell(f"g{at}_outside", outside_x, y, OUTSIDE, norm, number(norm), tip)
            total = norm_of(parts.sum(axis=0) + outside)
            left = f"; {total / apart:.0%}" if apart and np.isfinite(apart) else ""
            tip = f"|sum of G_t| = {total:.4g}, sum of |G_t| = {apart:.4g}: the smaller the share left, the more cancel"
            self._total(f"total_{at}", y, number(total) + left, tip)
            y += HEIGHT + 4
        return y

    def _name(self, name: str, y: float, words: Line, tip: str) -> None:
        self.scene.labels.append(Label(name, self.left - 8, y + HEIGHT / 2, words, "end", tooltip=tip))

    def _total(self, name: str, y: float, words: str, tip: str) -> None:
        self.scene.labels.append(Label(name, self.right + 8, y + HEIGHT / 2, line(words), "start", tooltip=tip))

    def _cell(
        self,
        name: str,
        x: float,
        y: float,
        width: float,
        norm: float,
        words: str,
        tip: str,
        scale: Literal["scale", "tint"] = "tint",
        kind: str = "share",
    ) -> None:
        fill = style.on_scale(scale, norm, self.gradients.reference, "fill" if scale == "tint" else "paper")
        lines = (line(words, color=style.text_on(fill)),)
        rect = Rect(name, x, y, width, HEIGHT, fill, "cell-line", 0.5, lines=lines, tooltip=tip, kind=kind)
        self.scene.boxes.append(rect)


def _reach_words(layer: Layer, several: bool) -> tuple[Line, str]:
    names, scope = names_of(layer.states), clean(layer.name)
    where = [f"{shorten(scope.rpartition('/')[2], 8)} "] if several and scope else []
    words = line(*where, "|∂L", Run("T", subscript=True), f"/∂{names}", Run("k", subscript=True), "|")
    return words, f"{scope} {layer.measured}: the gradient of the last loss at the state of each step".strip()


__all__ = ["add_strips"]
