"""A picture as a list of shapes with coordinates: what every renderer is given, so all draw the same.

Units are px, x to the right and y down, as in SVG; colours are named by role (see `style`). Shapes are drawn in the
order of the fields of `Scene`: lanes, then edges, then boxes, then labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from .text import Line

Point = tuple[float, float]
Stroke = Literal["solid", "dashed", "dotted", "double"]
LINE_SPACING = 1.22


@dataclass(slots=True)
class Rect:
    """A rectangle with lines of text centred in it."""

    id: str
    x: float
    y: float
    width: float
    height: float
    fill: str = "none"
    stroke: str = "none"
    stroke_width: float = 1.0
    dash: Stroke = "solid"
    radius: float = 0.0
    lines: tuple[Line, ...] = ()
    tooltip: str = ""
    kind: str = "box"
    text_shift: float = 0.0
    """How far the text sits above the middle, where something else is drawn below it."""

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2

    def text(self) -> Iterator[tuple[Line, float]]:
        """Each line with the y of its middle."""
        y = self.y + self.height / 2 - self.text_shift - sum(line.size for line in self.lines) * LINE_SPACING / 2
        for line in self.lines:
            y += line.size * LINE_SPACING
            yield line, y - line.size * LINE_SPACING / 2


@dataclass(slots=True)
class Lane:
    """The column of one time step."""

    id: str
    x: float
    y: float
    width: float
    height: float
    label: Line
    hatched: bool = False
    head: bool = False
    """The label stands at the upper end."""
    tooltip: str = ""

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def label_at(self) -> Point:
        """The middle of the label; at the upper end it stands to the left, out of the way of edges."""
        if self.head:
            return self.x + 8 + self.label.width / 2, self.y + 11
        return self.x + self.width / 2, self.y + self.height - 10


@dataclass(slots=True)
class Edge:
    """A curve between two boxes: cubic Bézier points p0, c, c, p1, c, c, p2, ... in the direction of the data."""

    id: str
    source: str
    target: str
    points: list[Point]
    color: str
    width: float
    dash: Stroke = "solid"
    backward: bool = False
    """Whether the arrow points against the data, the way the gradient runs."""
    tooltip: str = ""
    kind: str = "flow"

    @property
    def arrow_size(self) -> float:
        """Length of the arrow head."""
        return 5.0 + 0.7 * self.width

    def with_arrow(self) -> tuple[list[Point], list[Point]]:
        """The path shortened by its arrow head, and the head's corners, the tip first."""
        points = self.points[::-1] if self.backward else list(self.points)
        length = self.arrow_size
        (x, y), (cx, cy) = points[-1], points[-2]
        distance = math.hypot(x - cx, y - cy) or 1.0
        ux, uy = (x - cx) / distance, (y - cy) / distance
        base = (x - ux * length, y - uy * length)
        half = 2.0 + 0.75 * self.width
        head = [(x, y), (base[0] - uy * half, base[1] + ux * half), (base[0] + uy * half, base[1] - ux * half)]
        back = min(length, distance * 0.75)  # the curve keeps its direction where the head begins
        points[-2:] = [(cx - ux * back, cy - uy * back), base]
        if self.backward:
            points.reverse()
        return points, head


@dataclass(slots=True)
class Label:
    """A line of text outside any box; `x` is its left end, middle or right end by `anchor`."""

    id: str
    x: float
    y: float
    line: Line
    anchor: Literal["start", "middle", "end"] = "middle"
    background: str = "none"
    tooltip: str = ""
    kind: str = "label"

    @property
    def left(self) -> float:
        return self.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor] * self.line.width

    @property
    def height(self) -> float:
        return self.line.size * 1.25


@dataclass(slots=True)
class Scene:
    """Everything in a picture, with its size."""

    width: float = 0.0
    height: float = 0.0
    title: str = ""
    description: str = ""
    lanes: list[Lane] = field(default_factory=list)
    backdrops: list[Rect] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    boxes: list[Rect] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def shift(self, dx: float, dy: float) -> None:
        """Move everything."""
        shapes: list[Lane | Rect | Label] = [*self.lanes, *self.backdrops, *self.boxes, *self.labels]
        for shape in shapes:
            shape.x += dx
            shape.y += dy
        for edge in self.edges:
            edge.points = [(x + dx, y + dy) for x, y in edge.points]

    def fit(self, margin: float) -> None:
        """Move everything so that it starts at `margin`, and set the size to hold it all."""
        solid: list[Lane | Rect] = [*self.lanes, *self.backdrops, *self.boxes]
        areas = [(s.x, s.y, s.x + s.width, s.y + s.height) for s in solid]
        areas += [(b.left, b.y - b.height / 2, b.left + b.line.width, b.y + b.height / 2) for b in self.labels]
        areas += [(x, y, x, y) for edge in self.edges for x, y in edge.points]
        left, top = min(a[0] for a in areas), min(a[1] for a in areas)
        self.shift(margin - left, margin - top)
        self.width = max(a[2] for a in areas) - left + 2 * margin
        self.height = max(a[3] for a in areas) - top + 2 * margin
