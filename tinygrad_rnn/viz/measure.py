"""What is said of each box and link: lines of text, and the gradient's size where it was computed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..core.cached import cached
from ..core.tensor import Array, Tensor
from ..flow.diagnose import Diagnosis, Layer
from ..flow.diagnose import diagnosis as diagnosis_of
from ..flow.gradient_flow import GradientFlow, StateFlow
from ..flow.norms import norm as norm_of
from ..flow.sentence import MASKED
from ..flow.structure import State
from ..flow.sweep import between, sent_to
from . import style
from .diagram import Box, Link
from .scene import LINE_SPACING, Rect
from .text import clean, in_line, line, number, shape_of, shorten, words_runs

BAR_HEIGHT = 5.0
Values = bool | Literal["gaps"]
"""Whether values are written in the boxes; "gaps", with gaps for those of the gradients."""
FEW = 6
"""Tensors of up to so many entries have their values written out."""
_SHORT = " (too short to tell)"
_SEVERITY = ("not finite", "exploding", "vanishing", "mixed", "weak")


class Gradients:
    """The numbers of a flow as a picture needs them; all None while no gradient was computed."""

    def __init__(self, flow: GradientFlow | None, reference: float | None = None) -> None:
        self.flow = flow
        self.states: dict[int, StateFlow] = {} if flow is None else {s.tensor.index: s for s in flow.states()}
        rows = [] if flow is None else flow.structure.rows
        self._row_of = {state.index: {each.step: each for each in row} for row in rows for state in row}
        self._given = reference

    @property
    def computed(self) -> bool:
        return self.flow is not None

    @property
    def reference(self) -> float:
        """The norm at the middle of the scale: the median of what steps inject, unless another was given."""
        return self.scale[0]

    @cached
    def scale(self) -> tuple[float, str]:
        """The reference, and what it is."""
        if self._given is not None:
            return self._given, "the reference"
        nodes = self.flow.structure.nodes if self.flow is not None else []
        for norms, words in (
            (
                (norm_of(record.injected) for record in self.states.values()),
                "the median that a step's own loss injects",
            ),
            ((record.norm for record in self.states.values()), "the median of all states"),
            ((self.norm(node) or 0.0 for node in nodes), "the median"),
        ):
            if usable := [norm for norm in norms if 0 < norm < np.inf]:
                return float(np.median(usable)), words
        return 1.0, "1, as no norm is finite and above 0"

    @cached
    def diagnosis(self) -> Diagnosis | None:
        """What `diagnose` finds for all layers; None where nothing flows through time."""
        layers = [] if self.flow is None else [layer for layer in self.flow.structure.layers if len(layer) > 1]
        return diagnosis_of(self.flow, [self.flow.loss], layers) if self.flow is not None and layers else None

    @property
    def layers(self) -> list[Layer]:
        """What `diagnose` finds for each layer and direction that a gradient arrives at."""
        return [] if self.diagnosis is None else [layer for layer in self.diagnosis.layers if layer.reach.losses]

    @property
    def verdict(self) -> str:
        """What `diagnose` says of all layers, the worst first; "" where nothing flows through time."""
        if self.diagnosis is None or not self.layers:
            return ""
        words, bad = verdict_of(self.diagnosis.layers), self.diagnosis.first_nonfinite
        if bad is not None:
            place = "" if bad.step is None else f" of step {bad.step}"
            words = f"first not finite: {bad.op}{place}, {bad.direction}; {words}"
        return words

    def norm(self, tensor: Tensor) -> float | None:
        return None if self.flow is None else self.flow.norm(tensor)

    def link(self, link: Link) -> float | None:
        """The norm of what all uses of the link send back together."""
        if self.flow is None or link.kind == "cut":
            return None
        (user, i), *more = link.uses
        if not more and user.inputs[i] is link.tensor:
            return self.flow.edge_norm(user, i)
        sent = [(user.inputs[i], g) for user, i in link.uses if (g := self.flow.edge(user, i)) is not None]
        if not sent:
            return None
        through = between([operand for operand, _ in sent], [link.tensor])  # of a weight: such as W.T
        return norm_of(sent_to(link.tensor, sent, through))

    def link_gain(self, link: Link) -> float | None:
        """How much of the gradient of a state arrives along a recurrent edge at the state before it.

        Also where the next state stands in another row, as from encoder to decoder.
        """
        state = link.tensor
        if self.flow is None or link.kind != "state" or state.index not in self.states:
            return None
        step = link.uses[0][0].step
        row = self._row_of[state.index]
        following = row.get(step)
        if following is not None and following.index < state.index:  # the step of a later loop that counts from 0 too
            following = None
        if following is None and state is list(row.values())[-1]:
            later = [record.tensor for record in self.states.values() if record.step == step]
            later = [each for each in later if each.index > state.index]
            following = later[0] if len(later) == 1 else None
        return None if following is None else self.flow.gain(state, following)

    def split(self, box: Box) -> tuple[float, float] | None:
        """Norms of what the box's last state gets from its own step and from later ones."""
        records = [self.states[tensor.index] for tensor in box.tensors if tensor.index in self.states]
        return (norm_of(records[-1].injected), norm_of(records[-1].from_future)) if records else None


def followed(layer: Layer) -> Array:
    """|dL_t/dh_k|, (losses, states), of the losses that were followed one by one; states as in `layer.states`."""
    order = np.argsort(np.argsort([state[0].index for state in layer.states]))
    return np.array([[norm_of(column) for column in loss.T] for loss in layer.reach.norms])[:, order]


def names_of(states: Sequence[State]) -> str:
    """What the tensors of a layer's state are called: "h", "(c,h)"."""
    names = ",".join(dict.fromkeys(clean(tensor.name or "h") for tensor in states[0]))
    return f"({shorten(names, 8)})" if "," in names else shorten(names, 8)


def verdict_of(layers: Sequence[Layer], first: Layer | None = None) -> str:
    """The verdict of a layer with its numbers, by default of the worst, and in a word those of all others."""
    heard = [layer for layer in layers if layer.reach.losses]
    told = first or min(heard, key=lambda layer: (*_SEVERITY, layer.verdict).index(layer.verdict))
    others = [layer for layer in layers if layer is not told]
    if not others:
        return _measured(told)
    words = f"{_called(told)} {_measured(told)}"
    if first is None and all(layer.reach.losses and layer.verdict == told.verdict for layer in others):
        which = "both" if len(layers) == 2 else f"all {len(layers)}"
        numbers = _measured(told).removesuffix(_SHORT).removeprefix(f"{told.verdict}: ")
        return f"{told.verdict} in {which} layers; {_called(told)}: {numbers}"
    kinds: dict[str, list[str]] = {}
    for layer in others:
        kinds.setdefault(layer.verdict if layer.reach.losses else "without a gradient", []).append(_called(layer))
    rest = [f"{names[0] if len(names) == 1 else f'{len(names)} others'} {kind}" for kind, names in kinds.items()]
    return "; ".join([words, *rest])


def _measured(layer: Layer) -> str:
    """What `diagnose` says in short; of a few steps, which are too short for a verdict, what there is to see."""
    memory = layer.memory
    if layer.verdict != "too short to tell" or not memory.lags or not np.isfinite(memory.left):
        words = layer.measured.replace(f" ({MASKED})", "; masked")  # the legend explains it, and tooltips say the rest
        return re.sub(r" \(\d+ to \d+ for most losses\)|, but from lag \d+ on more again: [^;]*", "", words)
    share = f"{100 * memory.left:.2g}%" if memory.left < 1.005 else f"{number(memory.left)} times as much"
    since = f" from lag {memory.since} on" if memory.since else ""
    rate = f", ×{memory.gain:.2f} a step{since}" if np.isfinite(memory.gain) else ""
    steps = "1 step" if memory.lags == 1 else f"{memory.lags} steps"
    pace = f" ({layer.pace})" if layer.pace else ""
    return f"{steps} back {share} of the gradient arrives{rate}{pace}{_SHORT}"


def _called(layer: Layer) -> str:
    return shorten(layer.name, 24) or names_of(layer.states)


FILL = {"cell": "fill state", "weight": "fill muted", "band": "fill op"}
FILL |= {kind: f"fill {kind}" for kind in ("state", "input", "loss")}
_STROKE = {kind: kind for kind in ("state", "input", "loss", "cut")}
_STROKE |= {"cell": "state", "initial": "state", "total": "loss", "weight": "muted"}


def face(box: Box, gradients: Gradients, shapes: bool = False, values: Values = False) -> Rect:
    """The words, size and colours of one box, not in its place yet; text is shifted where a bar stands below it."""
    fill, stroke = FILL.get(box.kind, "paper"), _STROKE.get(box.kind, "op")
    prominent = box.kind in ("state", "cell")
    lines = [line(*box.title, size=style.NAME if prominent else style.TEXT, bold=prominent)]
    tip = _tooltip(box, gradients)
    drawn = Rect(box.id, 0.0, 0.0, 20.0, 20.0, fill, stroke, radius=5.0, tooltip=tip, kind=box.kind)
    if box.kind == "total":
        drawn.lines, drawn.radius = tuple(lines), 10.0
        return drawn
    lines += [line(*words_runs(words), color="muted") for words in box.caption.splitlines()]
    if shapes and box.tensors:
        lines.append(line(shape_of(box.tensor), color="muted"))
    told = values and box.tensors and box.tensor.size <= FEW
    if told:
        lines.append(line("data ", _values(box.tensor._array), color="muted"))
        g = None if gradients.flow is None else gradients.flow.gradient(box.tensor)
        lines += [] if g is None else [line("grad ", _values(g), role="norm")]
        if values == "gaps" and box.tensor.requires_grad:
            lines.append(line("grad ", _gaps(box.tensor)))
    asked = box.tensors if box.kind in ("state", "cell", "initial", "input") else []
    norms = [norm for tensor in asked if (norm := gradients.norm(tensor)) is not None]
    if norms:
        if prominent or not told:
            lines.append(line(" · ".join(map(number, norms)), role="norm"))
        drawn.fill = style.on_scale("tint", norms[-1], gradients.reference)
        drawn.text_shift = (BAR_HEIGHT + 3) / 2 if prominent and gradients.split(box) else 0.0
    width = max(max(each.width for each in lines) + 13, 52.0 if prominent else 26.0)
    height = sum(each.size for each in lines) * LINE_SPACING + 9 + 2 * drawn.text_shift
    drawn.lines, drawn.width, drawn.height = tuple(lines), round(width, 1), round(height, 1)
    drawn.stroke_width = 1.8 if prominent else 1.0
    drawn.dash = "dashed" if box.kind in ("initial", "cut") else "solid"
    return drawn


def _values(array: Array, limit: int = FEW) -> str:
    words = ", ".join(f"{v + 0:.4g}" for v in array.reshape(-1)[:limit].tolist()) + (
        ", …" if array.size > limit else ""
    )
    return f"[{words}]" if array.ndim else words


def _gaps(tensor: Tensor) -> str:
    """A gap to write in for each entry."""
    words = ", ".join(["_" * 8] * tensor.size)
    return f"[{words}]" if tensor.ndim else words


def _tooltip(box: Box, gradients: Gradients) -> str:
    words = []
    for tensor in box.tensors:
        parts = [
            clean(tensor.name or "")[:200],
            f"= {tensor.primitive.name}" if tensor.primitive is not None else "",
            f"shape {shape_of(tensor)}",
            f"step {tensor.step}" if tensor.step is not None else "",
            f"in {clean(tensor.scope)[:80]}" if tensor.scope else "",
            _values(tensor._array, 16) if tensor.size <= 16 else "",
        ]
        words.append(" ".join(filter(None, parts)))
        record = gradients.states.get(tensor.index)
        norm = gradients.norm(tensor)
        if gradients.computed:
            words.append(f"|∂L/∂·| = {number(norm)}" if norm is not None else "no gradient flows here")
        elif tensor.requires_grad:
            words.append("gradient: not computed")
        if record is not None:
            injected, future = norm_of(record.injected), norm_of(record.from_future)
            words.append(f"from its own step {number(injected)}, from later steps {number(future)}")
            if record.gain is not None:
                words.append(f"gain from the next step ×{number(record.gain)}")
    return "\n".join(words)


def link_words(link: Link, norm: float | None, gradients: Gradients) -> str:
    """The tooltip of an edge."""
    ends = " → ".join("".join(map(in_line, box.title)) or "hidden steps" for box in (link.source, link.target))
    if link.kind == "cut":
        return f"{ends}: cut by truncate or detach; no gradient passes"
    if not gradients.computed:
        return f"{ends}: gradient not computed"
    return f"{ends}: " + ("no gradient flows here" if norm is None else f"gradient sent back {number(norm)}")
