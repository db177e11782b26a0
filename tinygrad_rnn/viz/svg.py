"""A scene as SVG, from Python alone: no Graphviz, no browser, the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from zlib import crc32

from ..escape import xml
from .scene import Edge, Label, Lane, Point, Rect, Scene
from .style import TEXT, Theme, themes
from .text import SUBSCRIPT, SUBSCRIPT_DROP, Line, fixed


def svg(scene: Scene, theme: Theme = themes["light"], fluid: bool = False) -> str:
    """The picture as a complete SVG document.

    Args:
        scene: what to draw.
        theme: its colours and font.
        fluid: as wide as the place that it stands in, up to its own size, and without the XML declaration: for HTML.
    """
    return "".join(Writer(scene, theme).document(fluid))


class Writer:
    """Shapes as SVG, in the colours of a theme."""

    def __init__(self, scene: Scene, theme: Theme) -> None:
        self.scene = scene
        self.color = theme
        self.name = f"picture-{crc32((scene.title + scene.description).encode('utf-8', 'replace')):x}"

    def document(self, fluid: bool, shapes: Iterable[str] | None = None) -> Iterator[str]:
        """The document, piece by piece; `shapes` instead of the scene's edges, boxes and labels."""
        scene, name = self.scene, self.name
        width, height = fixed(scene.width), fixed(scene.height)
        if fluid:
            size = f'width="100%" style="max-width:{width}px;height:auto"'
        else:
            yield '<?xml version="1.0" encoding="UTF-8"?>\n'
            size = f'width="{width}" height="{height}"'
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}" '
            f'font-family="{xml(self.color.font)}" font-size="{fixed(TEXT)}" text-anchor="middle" role="img" '
            f'aria-labelledby="{name}-title {name}-text">\n'
            f'<title id="{name}-title">{xml(scene.title)}</title>\n'
            f'<desc id="{name}-text">{xml(scene.description)}</desc>\n'
        )
        if any(lane.hatched for lane in scene.lanes):
            yield (
                f'<defs><pattern id="{name}-hatch" width="7" height="7" patternUnits="userSpaceOnUse" '
                f'patternTransform="rotate(45)"><rect width="7" height="7" fill="{self.color("lane")}"/>'
                f'<path d="M0 0V7" stroke="{self.color("hatch")}" stroke-width="2"/></pattern></defs>\n'
            )
        yield f'<rect width="{width}" height="{height}" fill="{self.color("paper")}" class="paper"/>\n'
        yield from map(self._lane, scene.lanes)
        yield from map(self._rect, scene.backdrops)
        drawn: list[Edge | Rect | Label] = [*scene.edges, *scene.boxes, *scene.labels]
        yield from map(self.shape, drawn) if shapes is None else shapes
        yield "</svg>\n"

    def shape(self, shape: Edge | Rect | Label) -> str:
        """An edge, a box or a label."""
        if isinstance(shape, Edge):
            return self._edge(shape)
        return self._rect(shape) if isinstance(shape, Rect) else self._label(shape)

    def _lane(self, lane: Lane) -> str:
        fill = f"url(#{self.name}-hatch)" if lane.hatched else self.color("lane")
        return (
            f'<g id="{lane.id}" class="lane">{_tip(lane.tooltip)}'
            f"<rect {_place(lane.x, lane.y, lane.width, lane.height)} "
            f'rx="9" fill="{fill}" stroke="{self.color("lane-line")}"/>'
            + self._text(lane.label, *lane.label_at, "middle")
            + "</g>\n"
        )

    def _rect(self, rect: Rect) -> str:
        stroke = ""
        if rect.stroke != "none":
            stroke = f' stroke="{self.color(rect.stroke)}"'
            stroke += "" if rect.stroke_width == 1 else f' stroke-width="{fixed(rect.stroke_width)}"'
        shape = (
            f"<rect {_place(rect.x, rect.y, rect.width, rect.height)} "
            f'rx="{fixed(rect.radius, 1)}" fill="{self.color(rect.fill)}"{stroke}{_dash(rect.dash)}/>'
        )
        words = "".join(self._text(line, rect.middle[0], y, "middle") for line, y in rect.text())
        return f'<g id="{rect.id}" class="{rect.kind}">{_tip(rect.tooltip)}{shape}{words}</g>\n'

    def _label(self, label: Label) -> str:
        back = ""
        if label.background != "none":
            place = _place(label.left - 2, label.y - label.height / 2, label.line.width + 4, label.height)
            back = f'<rect {place} rx="3" fill="{self.color(label.background)}" fill-opacity=".85"/>'
        words = self._text(label.line, label.x, label.y, label.anchor)
        return f'<g id="{label.id}" class="{label.kind}">{_tip(label.tooltip)}{back}{words}</g>\n'

    def _text(self, line: Line, x: float, y: float, anchor: str) -> str:
        """One line, vertically centred on `y`."""
        drop, below = line.size * SUBSCRIPT_DROP, False
        pieces = []
        for run in line.runs:
            text = _spaced(xml(run.text))
            move = "" if run.subscript == below else f' dy="{fixed(drop if run.subscript else -drop)}"'
            size = f' font-size="{fixed(line.size * SUBSCRIPT)}"' if run.subscript else ""
            pieces.append(f"<tspan{move}{size}>{text}</tspan>" if move or size else text)
            below = run.subscript
        weight = ' font-weight="bold"' if line.bold else ""
        weight += f' class="{line.role}"' if line.role else ""
        align = "" if anchor == "middle" else f' text-anchor="{anchor}"'
        size = "" if line.size == TEXT else f' font-size="{fixed(line.size)}"'
        return (
            f'<text x="{fixed(x, 1)}" y="{fixed(y + line.size * 0.35, 1)}"{size} '
            f'fill="{self.color(line.color)}"{align}{weight}>{"".join(pieces)}</text>'
        )

    def _edge(self, edge: Edge) -> str:
        points, tip = edge.with_arrow()
        color = self.color(edge.color)
        line = f'<path d="{path(points)}" fill="none" stroke="{color}" stroke-width="{fixed(edge.width)}"'
        lines = f"{line}{_dash(edge.dash)}/>"
        if edge.dash == "double":
            lines += line.replace(color, self.color("paper")).replace(
                f'"{fixed(edge.width)}"', f'"{fixed(edge.width / 3)}"'
            )
            lines += "/>"
        corners = " ".join(f"{fixed(x, 1)},{fixed(y, 1)}" for x, y in tip)
        return (
            f'<g id="{edge.id}" class="edge edge-{edge.kind}" data-from="{edge.source}" data-to="{edge.target}">'
            f'{_tip(edge.tooltip)}{lines}<polygon points="{corners}" fill="{color}"/></g>\n'
        )


def path(points: list[Point]) -> str:
    """Bézier points as the `d` of a path."""
    first, *rest = (f"{fixed(x, 1)} {fixed(y, 1)}" for x, y in points)
    return f"M{first}C{' '.join(rest)}"


def _place(x: float, y: float, width: float, height: float) -> str:
    return f'x="{fixed(x, 1)}" y="{fixed(y, 1)}" width="{fixed(width, 1)}" height="{fixed(height, 1)}"'


def _tip(text: str) -> str:
    return f"<title>{xml(text)}</title>" if text else ""


def _dash(kind: str) -> str:
    return {"dashed": ' stroke-dasharray="4 3"', "dotted": ' stroke-dasharray="1 3"'}.get(kind, "")


def _spaced(text: str) -> str:
    """Spaces at the ends of a piece of text, which XML would swallow, made firm."""
    inner = text.strip(" ")
    if not inner:
        return "\u00a0" * len(text)
    before = len(text) - len(text.lstrip(" "))
    return "\u00a0" * before + inner + "\u00a0" * (len(text) - before - len(inner))


__all__ = ["Writer", "path", "svg"]
