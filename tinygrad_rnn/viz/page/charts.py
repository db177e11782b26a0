"""The page's plots: those of `plots` as SVG, with a line that the page moves along the time axis."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...escape import xml
from ...flow.gradient_flow import GradientFlow
from .. import plots
from ..measure import Gradients, followed, verdict_of
from ..printing import printed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def profile_chart(flow: GradientFlow, gradients: Gradients) -> str:
    """The gradient along time, of the first layer's h (not its c); "" where there are no states."""
    rows = flow.structure.rows
    if not rows:
        return ""
    figure = _figure(6.4, 5.0)
    axes = figure.subplots(2, sharex=True, height_ratios=[3, 2])
    held = [tensor for layer in gradients.layers[:1] for tensor in reversed(layer.states[0])]
    row = next((at for tensor in held for at, row in enumerate(rows) if any(tensor is each for each in row)), 0)
    plots.profile(flow, gradients.diagnosis, axes=axes, row=row)
    return _svg(figure, "profile", "gradient norms and gains along time")


def credit_chart(gradients: Gradients) -> str:
    """Which step's loss reaches which state of the first layer; "" where fewer than two losses were followed."""
    if not gradients.layers or len(gradients.layers[0].reach.losses) < 2:
        return ""
    figure = _figure(6.0, 5.2)
    layer = gradients.layers[0]
    states = sorted(range(len(layer.states)), key=lambda at: layer.states[at][0].step or 0)
    title = verdict_of(gradients.layers, layer) if len(gradients.layers) > 1 else ""
    plots.credit(followed(layer)[:, states], figure.subplots(), title=title)
    return _svg(figure, "credit", "which loss reaches which state")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure, name: str, words: str) -> str:
    """The figure with ids of its own, and over its axes a line that stands where the page's `--t` is."""
    settings = {"svg.fonttype": "none", "svg.hashsalt": name}
    text = printed(figure, "svg", settings, transparent=True, metadata={"Date": None}).decode()
    text = re.sub(r'(id="|"#|url\(#)([\w-]+)', rf"\1{name}-\2", text[text.index("<svg") :])
    (zero, _), (one, _) = 100 * (figure.axes[0].transData + figure.transFigure.inverted()).transform([(0, 1), (1, 1)])
    boxes = [ax.get_position() for ax in figure.axes]
    top, bottom = 100 - 100 * max(box.y1 for box in boxes), 100 * min(box.y0 for box in boxes)
    place = f"--zero:{zero:.2f}%;--step:{one - zero:.4f}%;top:{top:.2f}%;bottom:{bottom:.2f}%"
    return f'<div class="chart" role="img" aria-label="{xml(words)}">{text}<i class="cursor" style="{place}"></i></div>'
