"""A scene as SVG, from Python alone: no Graphviz, no browser, the same bytes everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from zlib import crc32

from ..escape import xml
from .scene import Curve, Edge, Label, Part, Point, Rect, Scene, Shape
from .style import TEXT, Theme, themes
from .text import SUBSCRIPT, SUBSCRIPT_DROP, fixed


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
        """The document, piece by piece; `shapes` instead of the scene's own."""
        scene, name = self.scene, self.name
        width, height = fixed(scene.width), fixed(scene.height)
        size = (
            f'width="100%" style="max-width:{width}px;height:auto"' if fluid else f'width="{width}" height="{height}"'
        )
        yield "" if fluid else '<?xml version="1.0" encoding="UTF-8"?>\n'
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}" fill="{self.color("ink")}" '
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
        yield from map(self.shape, scene.shapes()) if shapes is None else shapes
        yield "</svg>\n"

    def shape(self, shape: Shape) -> str:
        """A shape as a group with its id, its kind as the class, and its tooltip."""
        kind, more, tip = shape.kind, "", f"<title>{xml(shape.tooltip)}</title>" if shape.tooltip else ""
        if isinstance(shape, Edge):
            kind, more = f"edge edge-{kind}", f' data-from="{shape.source}" data-to="{shape.target}"'
        return f'<g id="{shape.id}" class="{kind}"{more}>{tip}{"".join(map(self._part, shape.parts()))}</g>\n'

    def _part(self, part: Part) -> str:
        if isinstance(part, Label):
            return self._words(part)
        if isinstance(part, Rect):
            place = (f'{key}="{fixed(getattr(part, key), 1)}"' for key in ("x", "y", "width", "height"))
            fill = f"url(#{self.name}-hatch)" if part.hatched else self.color(part.fill)
            round_ = f' rx="{fixed(part.radius, 1)}"' if part.radius else ""
            stroke = self._stroke(part.stroke, part.stroke_width, part.dash) if part.stroke != "none" else ""
            return f'<rect {" ".join(place)}{round_} fill="{fill}"{stroke}/>'
        if isinstance(part, Curve):
            return f'<path d="{path(part.points)}" fill="none"{self._stroke(part.color, part.width, part.dash)}/>'
        corners = " ".join(f"{fixed(x, 1)},{fixed(y, 1)}" for x, y in part.points)
        return f'<polygon points="{corners}" fill="{self.color(part.color)}"/>'

    def _stroke(self, color: str, width: float, dash: str) -> str:
        words = f' stroke="{self.color(color)}"' + (f' stroke-width="{fixed(width)}"' if width != 1 else "")
        return words + {"dashed": ' stroke-dasharray="4 3"', "dotted": ' stroke-dasharray="1 3"'}.get(dash, "")

    def _words(self, words: Label) -> str:
        """One line, vertically centred on its `y`."""
        line = words.line
        drop, below = line.size * SUBSCRIPT_DROP, False
        pieces = []
        for run in line.runs:
            text = _spaced(xml(run.text))
            move = "" if run.subscript == below else f' dy="{fixed(drop if run.subscript else -drop)}"'
            size = f' font-size="{fixed(line.size * SUBSCRIPT)}"' if run.subscript else ""
            pieces.append(f"<tspan{move}{size}>{text}</tspan>" if move or size else text)
            below = run.subscript
        attributes = {
            "font-size": fixed(line.size) if line.size != TEXT else "",
            "fill": self.color(line.color) if self.color(line.color) != self.color("ink") else "",
            "text-anchor": words.anchor if words.anchor != "middle" else "",
            "font-weight": "bold" if line.bold else "",
            "class": line.role,
        }
        told = "".join(f' {key}="{value}"' for key, value in attributes.items() if value)
        return (
            f'<text x="{fixed(words.x, 1)}" y="{fixed(words.y + line.size * 0.35, 1)}"{told}>{"".join(pieces)}</text>'
        )


def path(points: list[Point]) -> str:
    """Bézier points as the `d` of a path; a curve that is straight, as a line."""
    drawn, before = [f"M{_point(points[0])}"], "M"
    for at in range(0, len(points) - 1, 3):
        (x0, y0), *between, (x1, y1) = points[at : at + 4]
        is_line = all(abs((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) < 0.01 for x, y in between)
        kind = "L" if is_line else "C"
        words = " ".join(map(_point, points[at + 3 : at + 4] if is_line else points[at + 1 : at + 4]))
        drawn.append(f"{kind if kind != before else ' '}{words}")
        before = kind
    return "".join(drawn)


def _point(point: Point) -> str:
    return f"{fixed(point[0], 1)} {fixed(point[1], 1)}"


def _spaced(text: str) -> str:
    """Spaces at the ends of a piece of text, which XML would swallow, made firm."""
    return re.sub("^ +| +$", lambda found: "\u00a0" * len(found[0]), text)
