"""A picture as a list of shapes with coordinates, and a shape as parts: all renderers draw the same ones.

Units are px, x to the right and y down, as in SVG; colours are named by role (see `style`). Shapes are drawn in the
order of `Scene.shapes`: lanes, then edges, then boxes, then labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Literal

from .text import Line

Point = tuple[float, float]
Area = tuple[float, float, float, float]
"""Left, top, right and bottom."""
Anchor = Literal["start", "middle", "end"]
Stroke = Literal["solid", "dashed", "dotted", "double"]
ANCHORS = {"start": 0.0, "middle": 0.5, "end": 1.0}
"""How much of a line is to the left of its anchor."""
LINE_SPACING = 1.22


@dataclass(slots=True)
class Curve:
    """Cubic Bézier points p0, c, c, p1, c, c, p2, ..."""

    points: list[Point]
    color: str
    width: float
    dash: Stroke = "solid"


@dataclass(slots=True)
class Head:
    """The triangle at the end of an arrow, its tip first."""

    points: list[Point]
    color: str


@dataclass(slots=True)
class Block:
    """What is as large as a rectangle."""

    id: str
    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> Area:
        return self.x, self.y, self.right, self.bottom


@dataclass(slots=True)
class Rect(Block):
    """A rectangle with lines of text centred in it."""

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
    hatched: bool = False

    def stand(self, x: float, y: float) -> None:
        """Put its middle there."""
        self.x, self.y = x - self.width / 2, y - self.height / 2

    def parts(self) -> Iterator[Part]:
        yield self
        y = self.y + self.height / 2 - self.text_shift - sum(line.size for line in self.lines) * LINE_SPACING / 2
        for line in self.lines:
            y += line.size * LINE_SPACING
            yield Label("", self.middle[0], y - line.size * LINE_SPACING / 2, line)


@dataclass(slots=True)
class Lane(Block):
    """The column of one time step, or of all hidden ones."""

    step: int | None
    head: bool = False
    """The label stands at the upper end."""
    label: Line = field(default_factory=partial(Line, ()))
    hatched: bool = False
    tooltip: str = ""
    kind = "lane"

    @property
    def words(self) -> Label:
        """The label; at the upper end it stands to the left, out of the way of edges."""
        if self.head:
            return Label("", self.x + 8, self.y + 11, self.label, "start")
        return Label("", self.middle[0], self.bottom - 10, self.label)

    def parts(self) -> Iterator[Part]:
        look = "lane", "lane-line"
        yield Rect(self.id, self.x, self.y, self.width, self.height, *look, radius=9, hatched=self.hatched)
        yield self.words


@dataclass(slots=True)
class Edge:
    """A curve between two boxes in the direction of the data; its points as those of a `Curve`."""

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

    def parts(self) -> Iterator[Part]:
        points, head = self.with_arrow()
        yield Curve(points, self.color, self.width, self.dash)
        if self.dash == "double":
            yield Curve(points, "paper", self.width / 3)
        yield Head(head, self.color)


@dataclass(slots=True)
class Label:
    """A line of text; `x` is its left end, middle or right end by `anchor`, `y` the middle of its height."""

    id: str
    x: float
    y: float
    line: Line
    anchor: Anchor = "middle"
    background: str = "none"
    tooltip: str = ""
    kind: str = "label"

    @property
    def area(self) -> Area:
        left, half = self.x - ANCHORS[self.anchor] * self.line.width, self.line.size * 0.625
        return left, self.y - half, left + self.line.width, self.y + half

    def parts(self) -> Iterator[Part]:
        if self.background != "none":
            left, top, right, bottom = self.area
            yield Rect(self.id, left - 2, top, right - left + 4, bottom - top, self.background, radius=3)
        yield self


Part = Rect | Curve | Head | Label
Shape = Lane | Rect | Edge | Label


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

    def shapes(self) -> Iterator[Shape]:
        return chain(self.lanes, self.backdrops, self.edges, self.boxes, self.labels)

    def fit(self, margin: float) -> None:
        """Move everything so that it starts at `margin`, and set the size to hold it all."""
        areas = [shape.area for shape in self.shapes() if not isinstance(shape, Edge)]
        areas += [(x, y, x, y) for edge in self.edges for x, y in edge.points]
        left, top = (min(area[side] for area in areas) - margin for side in (0, 1))
        self.width, self.height = (max(area[side] for area in areas) + margin for side in (2, 3))
        self.width, self.height = self.width - left, self.height - top
        for shape in self.shapes():
            if isinstance(shape, Edge):
                shape.points = [(x - left, y - top) for x, y in shape.points]
            else:
                shape.x, shape.y = shape.x - left, shape.y - top
