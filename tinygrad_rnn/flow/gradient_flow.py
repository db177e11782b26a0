"""What `gradient_flow` gives: the gradients of a loss, which print themselves: a line per step, a verdict per layer."""

from __future__ import annotations

import os
import sys
from itertools import chain
from textwrap import wrap

import numpy as np

from ..core.arguments import checked
from ..core.tensor import Array, Tensor
from ..escape import preformatted, terminal
from .diagnose import Layer, diagnosis
from .gradients import Gradients, StateFlow, WeightFlow
from .norms import norm

ROWS, COLUMNS = 40, 80
"""The table is never longer or wider."""

NAME = 32
"""Longer names are cut in sentences, so that the table keeps its room."""

BAR = 10
DECADES = 6
"""A full bar is the last step's credit; an empty one is so many powers of ten below."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_COLOURS = {"vanishing": "34", "healthy": "32", "exploding": "33"}


class GradientFlow(Gradients):
    """The gradients of one loss, as data; `print` it for a line per step and a verdict per layer.

    The columns of a line: |dL/dh| is the gradient of the state, `injected` its part that comes from within the step,
    `later` its part that comes through later steps, and `gain` the factor of the one edge to that state's next: all of
    the loss. |dL_T/dh|, also as a bar, is what arrives of the last step's own loss, h and c of an LSTM together.
    `share` is how much the step adds to the gradients of the shared weights, of the sum of these sizes over all steps.
    """

    def __repr__(self) -> str:
        return table(self)

    def _repr_html_(self) -> str:
        return preformatted(str(self))


@checked
def gradient_flow(loss: Tensor) -> GradientFlow:
    """Backpropagate from `loss` once and keep the gradient of every node; no `.grad` is touched.

    Args:
        loss: a scalar tensor with a graph behind it.

    Returns:
        The flow: `gradient(h)`, `edge(consumer, i)`, `per_step(W)`, `outside(W)`, `states()`, `weights()`, `cuts` and
        `structure`.

    Raises:
        GraphError: there is no graph, `loss` is not a scalar, or a leaf was changed since the forward pass.
    """
    return GradientFlow(loss)


def table(flow: Gradients) -> str:
    """At most 40 lines of 80 columns: for each layer its verdict and its steps, of long sequences the first and last.

    Colours mark the verdicts where standard output is a terminal and NO_COLOR is not set; where its encoding has no
    block characters, bars are made of "#".
    """
    layers = [layer for layer in flow.structure.layers if len(layer) > 1]
    loss = _short(terminal(flow.loss.name or "the loss"), NAME)
    head = f"gradient flow of {loss} = {flow.loss.item():.6g}: {flow.structure}"
    if not layers:
        why = "a loop has steps within `for t, x in tg.steps(xs)`, and hands on the state itself, not its .data"
        why += "; tg.checkpoint_steps keeps no steps to look at"
        words = "no state is handed from one step to another; "
        words += "detach or truncate cuts the path" if flow.structure.cuts else why
        return _writable([*_wrapped(head), *_wrapped(words)])
    records = {record.tensor.index: record for record in flow.states()}
    found = diagnosis(flow, [flow.loss], layers[: ROWS // 4]).layers
    verdicts = [_verdict(layer) for layer in found]
    lines = _wrapped(head)
    rows = sum(len(layer[0]) for layer in layers)
    room = (ROWS - len(lines) - sum(len(verdict) + 1 for verdict in verdicts) - rows) // rows
    norms = flow.step_norms()
    usual = 0 < norms.sum() < np.inf
    shares = dict(zip(flow.structure.steps, norms / norms.sum() if usual else np.zeros_like(norms), strict=True))
    for layer, verdict in zip(found, verdicts, strict=True):
        lines += ["", *verdict]
        if room >= 3:
            for row in flow.structure.rows:
                if any(row[0] is tensor for tensor in layer.states[0]):
                    lines += _steps([records[tensor.index] for tensor in row], layer.called, layer.last, shares, room)
    if len(layers) > ROWS // 4:
        lines += ["", f"and {len(layers) - ROWS // 4} more layers; tg.diagnose(loss) for all of them"]
    return _writable(lines[:ROWS])


def _wrapped(text: str) -> list[str]:
    return wrap(text, COLUMNS - 1, subsequent_indent="  ", break_on_hyphens=False)


def _writable(lines: list[str]) -> str:
    """The lines as standard output can take them: pipes on Windows have no block characters."""
    text = "\n".join(lines)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        text = "".join("#" if c in _EIGHTHS[4:] else " " if c in _EIGHTHS[1:4] else c for c in text)
        text = text.encode(encoding if encoding != "mbcs" else "ascii", "backslashreplace").decode(encoding)
    return text


def _verdict(layer: Layer) -> list[str]:
    scope = f"{_short(terminal(layer.name), NAME)} " if layer.name else ""
    name = f"{scope}{_short(layer.called, NAME)}: "
    first, *rest = _wrapped(name + layer.measured)
    return [first.replace(f": {layer.verdict}", f": {_coloured(layer.verdict)}", 1), *rest]


def _coloured(verdict: str) -> str:
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return verdict
    return f"\x1b[{_COLOURS.get(verdict, '33')}m{verdict}\x1b[0m"


def _steps(row: list[StateFlow], names: str, credit: Array, shares: dict[int, float], room: int) -> list[str]:
    """The head and a line per step; `room` is how many lines there is room for."""
    scale = f"10^-{DECADES}".ljust(BAR - 1) + "1"
    state = f"({names})" if "," in names else names
    own, state = _short(terminal(row[0].name)), _short(state)
    head = ("t", f"|dL/d{own}|", "injected", "later", "gain", f"|dL_T/d{state}|", scale, "share")
    cells: list[tuple[str, ...]] = [head]
    reference = next((value for value in credit[::-1] if value), 1.0)
    hidden = range(3, len(row) - room + 4) if len(row) > room else range(0)
    for k, record in enumerate(row):
        if k in hidden:
            if k == hidden[0]:
                cells.append(("..", "..", "..", "..", "..", "..", f"{len(hidden)} steps", ""))
            continue
        parts = [record.norm, norm(record.injected), norm(record.from_future)]
        gain = "-" if record.gain is None else f"x{record.gain:.2f}"
        numbers = [f"{part:.2e}" for part in (*parts, credit[k])]
        bar = _bar(float(credit[k]), reference)
        cells.append((str(record.step), *numbers[:3], gain, numbers[3], bar, f"{shares[record.step]:.0%}"))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  " + "  ".join(chain((cell.rjust(w) for cell, w in zip(line[:6], widths, strict=False)), line[6:])).rstrip()
        for line in ((*each[:6], each[6].ljust(BAR), each[7].rjust(5)) for each in cells)
    ]


def _short(name: str, length: int = 6) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}~"


def _bar(value: float, reference: float) -> str:
    if not np.isfinite(value):
        return "not finite"
    if value == 0:
        return ""
    filled = float(np.clip(1 + np.log10(value / reference) / DECADES, 0, 1)) * BAR
    eighths = round(filled * 8)
    return _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


__all__ = ["GradientFlow", "StateFlow", "WeightFlow", "gradient_flow"]
