"""What is said of each box and link: lines of text, and the gradient's size where it was computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.tensor import Tensor
from ..flow.cached import cached
from ..flow.gradient_flow import GradientFlow, StateFlow
from . import style
from .diagram import Box, Diagram, Link
from .text import Line, clean, line, number, words_runs

BAR_HEIGHT = 5.0
LINE_SPACING = 1.22


class Gradients:
    """The numbers of a flow as a picture needs them; all None while no gradient was computed."""

    def __init__(self, flow: GradientFlow | None, reference: float | None = None) -> None:
        self.flow = flow
        self.states: dict[int, StateFlow] = {} if flow is None else {s.tensor.index: s for s in flow.states()}
        self._given = reference

    @property
    def computed(self) -> bool:
        return self.flow is not None

    @cached
    def reference(self) -> float:
        """The norm at the middle of the scale: |dL/dh_T| of the last state, unless another was given."""
        if self._given is not None:
            return self._given
        records = sorted(self.states.values(), key=lambda s: s.step)
        usable = [s.norm for s in records if 0 < s.norm < float("inf")]
        return usable[-1] if usable else 1.0

    @property
    def reference_words(self) -> str:
        if self._given is not None:
            return f"the reference {number(self._given)}"
        return f"|∂L/∂h| of the last state, {number(self.reference)}" if self.states else "1"

    def norm(self, tensor: Tensor) -> float | None:
        return None if self.flow is None else self.flow.norm(tensor)

    def link(self, link: Link) -> float | None:
        """The norm of what all uses of the link send back together."""
        if self.flow is None or link.kind == "cut":
            return None
        if len(link.uses) == 1:
            return self.flow.edge_norm(*link.uses[0])
        sent = [g for g in (self.flow.edge(user, i) for user, i in link.uses) if g is not None]
        return float(np.linalg.norm(np.sum(sent, axis=0))) if sent else None

    def gain(self, tensor: Tensor) -> float | None:
        """How much of the next state's gradient arrives at this state."""
        record = self.states.get(tensor.index)
        return None if record is None else record.gain

    def link_gain(self, link: Link) -> float | None:
        """The gain along a recurrent edge; also where it leads into another row, as from encoder to decoder."""
        gain = self.gain(link.tensor)
        if gain is not None or self.flow is None or link.tensor.index not in self.states:
            return gain
        step = link.uses[0][0].step
        there = [record for record in self.states.values() if record.step == step]
        sent = self.link(link)
        return sent / there[0].norm if len(there) == 1 and sent is not None and there[0].norm else None

    def hidden_gain(self, diagram: Diagram, row: int) -> float | None:
        """The product of the gains along a row over the hidden steps and into the step after them."""
        first, last = diagram.hidden[0], diagram.hidden[-1]
        gains = [self.gain(s) for s in diagram.structure.rows[row] if s.step is not None and first <= s.step <= last]
        known = [gain for gain in gains if gain is not None]
        return float(np.prod(known)) if known and self.computed else None

    def split(self, box: Box) -> tuple[float, float] | None:
        """Norms of what the box's last state gets from its own step and from later ones."""
        record = next((self.states[t.index] for t in reversed(box.tensors) if t.index in self.states), None)
        if record is None:
            return None
        return float(np.linalg.norm(record.injected)), float(np.linalg.norm(record.from_future))


@dataclass(slots=True)
class Face:
    """The looks of a box before it has a place."""

    lines: tuple[Line, ...]
    width: float
    height: float
    fill: str
    stroke: str
    stroke_width: float
    tooltip: str
    bar: tuple[float, float] | None = None


def face(box: Box, gradients: Gradients, shapes: bool = False, values: bool = False) -> Face:
    """The words, size and colours of one box."""
    prominent = box.kind in ("state", "cell")
    lines = [line(*box.title, size=11.0 if prominent else 10.0, bold=prominent)]
    if box.caption:
        lines.append(line(*words_runs(box.caption), size=8.0, color=style.MUTED))
    if shapes and box.tensors and box.kind != "total":
        lines.append(line(_shape(box.tensor), size=8.0, color=style.MUTED))
    if values and box.tensors and box.tensor.size <= 6 and box.kind != "total":
        lines.append(line(_values(box.tensor), size=8.0, color=style.MUTED))
    bar = None
    fill = style.FILL[box.kind]
    shown = box.kind in ("state", "cell", "initial", "input")
    if gradients.computed and shown:
        norms = [gradients.norm(tensor) for tensor in box.tensors]
        known = [norm for norm in norms if norm is not None]
        if known:
            lines.append(line(" · ".join(number(norm) for norm in known), size=9.0, role="norm"))
            fill = style.tint(known[-1], gradients.reference)
            bar = gradients.split(box) if prominent else None
    if box.kind == "total":
        return Face(tuple(lines), 18.0, 18.0, fill, style.STROKE["total"], 1.0, _tooltip(box, gradients))
    width = max(max(each.width for each in lines) + 13, 52.0 if prominent else 26.0)
    height = sum(each.size for each in lines) * LINE_SPACING + 9 + (BAR_HEIGHT + 3 if bar else 0)
    return Face(
        tuple(lines),
        round(width, 1),
        round(height, 1),
        fill,
        style.STROKE[box.kind],
        1.8 if prominent else 1.0,
        _tooltip(box, gradients),
        bar,
    )


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _values(tensor: Tensor, limit: int = 6) -> str:
    flat = tensor._array.reshape(-1)[:limit]
    words = ", ".join(f"{v:.3g}" for v in flat.tolist()) + (", …" if tensor.size > limit else "")
    return f"[{words}]" if tensor.ndim else words


def _tooltip(box: Box, gradients: Gradients) -> str:
    words = []
    for tensor in box.tensors:
        name = clean(tensor.name or "")[:200]
        parts = [name] if name else []
        if tensor.primitive is not None:
            parts.append(f"= {tensor.primitive.name}")
        parts.append(f"shape {_shape(tensor)}")
        if tensor.step is not None:
            parts.append(f"step {tensor.step}")
        if tensor.scope:
            parts.append(f"in {clean(tensor.scope)[:80]}")
        if tensor.size <= 16:
            parts.append(_values(tensor, 16))
        words.append(" ".join(parts))
        record = gradients.states.get(tensor.index)
        norm = gradients.norm(tensor)
        if gradients.computed:
            words.append(f"|∂L/∂·| = {number(norm)}" if norm is not None else "no gradient flows here")
        elif tensor.requires_grad:
            words.append("gradient: not computed")
        if record is not None:
            injected, future = np.linalg.norm(record.injected), np.linalg.norm(record.from_future)
            words.append(f"from its own step {number(float(injected))}, from later steps {number(float(future))}")
            if record.gain is not None:
                words.append(f"gain from the next step ×{number(record.gain)}")
    return "\n".join(words)


def link_words(link: Link, norm: float | None, gradients: Gradients) -> str:
    """The tooltip of an edge."""
    ends = f"{_name(link.source)} → {_name(link.target)}"
    if link.kind == "cut":
        return f"{ends}: cut by detach; no gradient passes"
    if not gradients.computed:
        return f"{ends}: gradient not computed"
    return f"{ends}: " + ("no gradient flows here" if norm is None else f"gradient sent back {number(norm)}")


def _name(box: Box) -> str:
    if box.kind == "gap":
        return "hidden steps"
    return "".join(f"[{run.text}]" if run.subscript else run.text for run in box.title)


__all__ = ["Face", "Gradients", "face", "link_words"]
