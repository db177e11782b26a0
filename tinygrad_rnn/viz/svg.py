"""A scene as SVG, from Python alone: no Graphviz, no browser, the same bytes everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..escape import xml
from .measure import LINE_SPACING
from .scene import Edge, Label, Lane, Point, Rect, Scene
from .text import SUBSCRIPT, Line, fixed

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


def svg(scene: Scene) -> str:
    """The picture as a complete SVG document."""
    width, height = fixed(scene.width), fixed(scene.height)
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" viewBox="0 0 {width} {height}" '
        f'font-family="{FONT}" role="img" aria-labelledby="picture-title picture-description">\n',
        f'<title id="picture-title">{xml(scene.title)}</title>\n',
        f'<desc id="picture-description">{xml(scene.description)}</desc>\n',
        '<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect width="7" height="7" fill="#F4F4F4"/><path d="M0 0V7" stroke="#D6D6D6" stroke-width="2"/>'
        "</pattern></defs>\n",
        f'<rect width="{width}" height="{height}" fill="#FFFFFF" class="paper"/>\n',
    ]
    parts.extend(body(scene))
    parts.append("</svg>\n")
    return "".join(parts)


def body(scene: Scene) -> Iterator[str]:
    """The shapes, in drawing order."""
    yield from map(_lane, scene.lanes)
    yield from map(_rect, scene.backdrops)
    yield from map(_edge, scene.edges)
    yield from map(_rect, scene.boxes)
    yield from map(_label, scene.labels)


def _tip(text: str) -> str:
    return f"<title>{xml(text)}</title>" if text else ""


def _lane(lane: Lane) -> str:
    fill = "url(#hatch)" if lane.hatched else "#FAFAFA"
    return (
        f'<g id="{lane.id}" class="lane">{_tip(lane.tooltip)}'
        f'<rect x="{fixed(lane.x)}" y="{fixed(lane.y)}" width="{fixed(lane.width)}" height="{fixed(lane.height)}" '
        f'rx="9" fill="{fill}" stroke="#C4C4C4"/>' + _text(lane.label, *lane.label_at, "middle") + "</g>\n"
    )


def _dash(kind: str) -> str:
    return {"dashed": ' stroke-dasharray="4 3"', "dotted": ' stroke-dasharray="1 3"'}.get(kind, "")


def _rect(rect: Rect) -> str:
    x, y = rect.middle
    stroke = "" if rect.stroke == "none" else f' stroke="{rect.stroke}" stroke-width="{fixed(rect.stroke_width)}"'
    shape = (
        f'<rect x="{fixed(rect.x)}" y="{fixed(rect.y)}" width="{fixed(rect.width)}" height="{fixed(rect.height)}" '
        f'rx="{fixed(rect.radius)}" fill="{rect.fill}"{stroke}{_dash(rect.dash)}/>'
    )
    total = sum(line.size for line in rect.lines) * LINE_SPACING
    at = y - rect.text_shift - total / 2
    words = []
    for line in rect.lines:
        at += line.size * LINE_SPACING
        words.append(_text(line, x, at - line.size * LINE_SPACING / 2, "middle"))
    return f'<g id="{rect.id}" class="{rect.kind}">{_tip(rect.tooltip)}{shape}{"".join(words)}</g>\n'


def _label(label: Label) -> str:
    back = ""
    if label.background != "none":
        back = (
            f'<rect x="{fixed(label.left - 2)}" y="{fixed(label.y - label.height / 2)}" '
            f'width="{fixed(label.line.width + 4)}" height="{fixed(label.height)}" rx="3" '
            f'fill="{label.background}" fill-opacity=".85"/>'
        )
    words = _text(label.line, label.x, label.y, label.anchor)
    return f'<g id="{label.id}" class="{label.kind}">{_tip(label.tooltip)}{back}{words}</g>\n'


def _text(line: Line, x: float, y: float, anchor: str) -> str:
    """One line, vertically centred on `y`."""
    baseline = y + line.size * 0.35
    pieces, shifted = [], False
    for run in line.runs:
        text = _spaced(xml(run.text))
        if run.subscript:
            drop = line.size * 0.22
            pieces.append(
                f'<tspan dy="{fixed(0 if shifted else drop)}" font-size="{fixed(line.size * SUBSCRIPT)}">{text}</tspan>'
            )
            shifted = True
        elif shifted:
            pieces.append(f'<tspan dy="{fixed(-line.size * 0.22)}">{text}</tspan>')
            shifted = False
        else:
            pieces.append(text)
    weight = ' font-weight="bold"' if line.bold else ""
    weight += f' class="{line.role}"' if line.role else ""
    align = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return (
        f'<text x="{fixed(x)}" y="{fixed(baseline)}" font-size="{fixed(line.size)}" fill="{line.color}"{align}{weight}>'
        f"{''.join(pieces)}</text>"
    )


def _spaced(text: str) -> str:
    """Spaces at the ends of a piece of text, which XML would swallow, made firm."""
    inner = text.strip(" ")
    if not inner:
        return "\u00a0" * len(text)
    before = len(text) - len(text.lstrip(" "))
    return "\u00a0" * before + inner + "\u00a0" * (len(text) - before - len(inner))


def _edge(edge: Edge) -> str:
    points, tip = with_arrow(edge)
    path = f"M{fixed(points[0][0])} {fixed(points[0][1])}C" + " ".join(f"{fixed(x)} {fixed(y)}" for x, y in points[1:])
    if edge.dash == "double":
        line = (
            f'<path d="{path}" fill="none" stroke="{edge.color}" stroke-width="{fixed(edge.width)}"/>'
            f'<path d="{path}" fill="none" stroke="#FFFFFF" stroke-width="{fixed(edge.width / 3)}"/>'
        )
    else:
        line = (
            f'<path d="{path}" fill="none" stroke="{edge.color}" stroke-width="{fixed(edge.width)}"{_dash(edge.dash)}/>'
        )
    corners = " ".join(f"{fixed(x)},{fixed(y)}" for x, y in tip)
    head = f'<polygon points="{corners}" fill="{edge.color}"/>'
    return (
        f'<g id="{edge.id}" class="edge edge-{edge.kind}" data-from="{edge.source}" data-to="{edge.target}">'
        f"{_tip(edge.tooltip)}{line}{head}</g>\n"
    )


def arrow_size(edge: Edge) -> float:
    """Length of the arrow head in points."""
    return 5.0 + 0.7 * edge.width


def with_arrow(edge: Edge) -> tuple[list[Point], list[Point]]:
    """The path shortened by its arrow head, and the head's corners, the tip first."""
    points = edge.points[::-1] if edge.backward else list(edge.points)
    length = arrow_size(edge)
    (x, y), (cx, cy) = points[-1], points[-2]
    distance = math.hypot(x - cx, y - cy) or 1.0
    ux, uy = (x - cx) / distance, (y - cy) / distance
    base = (x - ux * length, y - uy * length)
    half = 2.0 + 0.75 * edge.width
    head = [(x, y), (base[0] - uy * half, base[1] + ux * half), (base[0] + uy * half, base[1] - ux * half)]
    back = min(length, distance * 0.75)  # the curve keeps its direction where the head begins
    points[-2:] = [(cx - ux * back, cy - uy * back), base]
    if edge.backward:
        points.reverse()
    return points, head


__all__ = ["body", "svg", "with_arrow"]
