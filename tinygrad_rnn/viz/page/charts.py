"""The page's plots, as SVG with a cursor that the page moves along the time axis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...core.tensor import Array
from ...escape import xml
from ...flow.diagnose import Diagnosis
from ...flow.gradient_flow import GradientFlow
from .. import style
from ..plots import relative_credit
from ..text import number

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 460.0, 190.0, 52.0, 26.0, 12.0
DECADES = 6.0


def profile_chart(flow: GradientFlow, diagnosis: Diagnosis | None) -> str:
    """|dL/dh_k| of every row of states along time, on a logarithmic scale; with a diagnosis also the last loss's."""
    curves: list[tuple[str, str, list[int], list[float]]] = []
    records = {s.tensor.index: s for s in flow.states()}
    for at, row in enumerate(flow.structure.rows):
        found = sorted((records[state.index] for state in row), key=lambda s: s.step)
        label = f"|∂L/∂{found[0].name}|" + (f" {found[0].scope}" if found[0].scope else "")
        curves.append((f"all{at % 4}", label[:40], [s.step for s in found], [s.norm for s in found]))
    if diagnosis is not None and flow.structure.rows:
        steps = sorted(s.step for s in (records[state.index] for state in flow.structure.rows[0]))
        line = diagnosis.layers[0].last
        if len(line) == len(steps):
            curves.append(("last", "the last loss alone", steps, [float(v) for v in line]))
    known = [v for _, _, _, values in curves for v in values if 0 < v < np.inf]
    if not known:
        return '<p class="note">No gradient reaches a state.</p>'
    low, high = np.floor(np.log10(min(known)) - 0.1), np.ceil(np.log10(max(known)) + 0.1)
    first, last = flow.structure.steps[0], flow.structure.steps[-1]

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - 12) * ((step - first) / max(last - first, 1))

    def y(value: float) -> float:
        return TOP + (HEIGHT - BOTTOM - TOP) * (1 - (np.log10(value) - low) / max(high - low, 1))

    parts = []
    every = max(1, int(np.ceil((high - low) / 6)))
    for decade in range(int(low), int(high) + 1, every):
        level = y(10.0**decade)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 12}" y1="{level:.1f}" y2="{level:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{level + 3.5:.1f}" text-anchor="end">1e{decade}</text>')
    parts += _time_axis(x, first, last)
    for kind, _, steps, values in curves:
        points = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in zip(steps, values, strict=True) if 0 < v < np.inf)
        parts.append(f'<polyline class="curve {kind}" points="{points}"/>')
    legend = " ".join(f'<span class="key {kind}">{xml(label)}</span>' for kind, label, _, _ in curves)
    cursor = f'<line id="ui-cursor-profile" class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}" visibility="hidden"/>'
    words = "; ".join(
        f"{label} from {number(values[0])} at step {steps[0]} to {number(values[-1])} at step {steps[-1]}"
        for _, label, steps, values in curves
    )
    scale = f'data-first="{first}" data-last="{last}" data-left="{LEFT}" data-right="{WIDTH - 12}"'
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{xml(words)}" {scale}>'
        f'{"".join(parts)}{cursor}</svg><p class="keys">{legend}</p>'
    )


def credit_chart(C: Array) -> str:
    """The credit matrix, with the row and the column of the current step framed."""
    relative = relative_credit(C)
    rows, columns = C.shape
    size = min(30.0, 320.0 / max(rows, columns))
    every = max(1, -(-max(rows, columns) // 100))
    cells = []
    for t in range(0, rows, every):
        for k in range(0, columns, every):
            value = relative[t, k]
            if value == 0:
                continue
            level = np.clip(np.log10(value), -DECADES, DECADES) if np.isfinite(value) and value > 0 else None
            light = style.themes["light"]
            fill = light("not finite") if level is None else light.colour(float(level) / DECADES * style.DECADES)
            cells.append(
                f'<rect x="{k * size:.1f}" y="{(rows - every - t) * size:.1f}" width="{size * every:.1f}" '
                f'height="{size * every:.1f}" fill="{fill}"/>'
            )
    width, height = columns * size, rows * size
    reach = number(float(C[-1, 0]))
    words = f"Credit matrix of {rows} losses by {columns} states; the last loss reaches the first state with {reach}"
    view = f'viewBox="-2 -2 {width + 4:.1f} {height + 4:.1f}" style="max-width:{width + 4:.0f}px"'
    return (
        f'<svg class="chart credit" {view} role="img" aria-label="{xml(words)}" data-size="{size}">{"".join(cells)}'
        f'<rect id="ui-cursor-k" class="frame" width="{size:.1f}" height="{height:.1f}" visibility="hidden"/></svg>'
        '<p class="note">across: k, the step receiving the gradient; up: t, the step of the loss; '
        "colour: C[t, k] / C[t, t]</p>"
    )


def _time_axis(x: Callable[[float], float], first: int, last: int) -> list[str]:
    ticks = range(first, last + 1, max(1, -(-(last - first) // 10)))
    base = HEIGHT - BOTTOM
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 12}" y1="{base}" y2="{base}"/>']
    parts += [f'<text x="{x(t):.1f}" y="{base + 15}" text-anchor="middle">{t}</text>' for t in ticks]
    return parts


__all__ = ["credit_chart", "profile_chart"]
