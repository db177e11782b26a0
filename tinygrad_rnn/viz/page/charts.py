"""The page's plots: those of `plots` as SVG, with a line that the page moves along the time axis."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...escape import xml
from ...flow.diagnose import Layer
from ...flow.gradient_flow import GradientFlow
from .. import plots
from ..measure import Gradients, followed, verdict_of
from ..printing import printed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def profile_chart(flow: GradientFlow, gradients: Gradients) -> str:
    """The gradient along time; "" where there are no states."""
    if not flow.structure.rows:
        return ""
    figure, axes = _figure(2, (6.4, 5.0))
    row = next((at for layer in gradients.layers[:1] for at in _rows_of(flow, layer)), 0)
    plots.profile(flow, gradients.diagnosis, axes=axes, row=row)
    steps = flow.structure.steps
    return _svg(figure, axes, "profile", "gradient norms and gains along time", steps[0], steps[-1])


def credit_chart(gradients: Gradients) -> str:
    """Which step's loss reaches which state of the first layer; "" where fewer than two losses were followed."""
    if not gradients.layers or len(gradients.layers[0].reach.losses) < 2:
        return ""
    figure, axes = _figure(1, (6.0, 5.2))
    layer = gradients.layers[0]
    states = sorted(range(len(layer.states)), key=lambda at: layer.states[at][0].step or 0)
    title = verdict_of(gradients.layers, layer) if len(gradients.layers) > 1 else ""
    plots.credit(followed(layer)[:, states], axes[0], title=title)
    return _svg(figure, axes, "credit", "which loss reaches which state", 0, len(states) - 1)


def _rows_of(flow: GradientFlow, layer: Layer) -> list[int]:
    """The rows of a layer's states, that of h before that of c."""
    held = [tensor.index for tensor in reversed(layer.states[0])]
    at = {state.index: number for number, row in enumerate(flow.structure.rows) for state in row}
    return [at[index] for index in held if index in at]


def _figure(rows: int, size: tuple[float, float]) -> tuple[Any, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    found = figure.subplots(rows, sharex=True, squeeze=False, height_ratios=[3, 2][:rows])
    return figure, list(found[:, 0])


def _svg(figure: Any, axes: list[Axes], name: str, words: str, first: int, last: int) -> str:
    """The figure as SVG with ids of its own, and a line over all axes from `first` to `last`."""
    settings = {"svg.fonttype": "none", "svg.hashsalt": name}
    text = printed(figure, "svg", settings, transparent=True, metadata={"Date": None}).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'(id="|"#|url\(#)([\w-]+)', rf"\1{name}-\2", text)
    width, height = (72 * float(inches) for inches in figure.get_size_inches())
    scale = 72 / figure.dpi
    ends = [float(axes[-1].transData.transform((step, 1.0))[0]) * scale for step in (first, last)]
    boxes = [each.get_window_extent() for each in axes]
    top, bottom = (height - scale * float(y) for y in (max(b.y1 for b in boxes), min(b.y0 for b in boxes)))
    head = (
        f'<svg class="chart" role="img" aria-label="{xml(words)}" viewBox="0 0 {width:g} {height:g}" '
        f'data-first="{first}" data-last="{last}" data-left="{ends[0]:.1f}" data-right="{ends[1]:.1f}" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    cursor = f'<line class="cursor" y1="{top:.1f}" y2="{bottom:.1f}" visibility="hidden"/></svg>'
    return head + text[text.index(">") + 1 :].rstrip().removesuffix("</svg>") + cursor
