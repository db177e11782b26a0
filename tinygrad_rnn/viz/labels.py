"""Where the numbers on edges go: beside the edge, where nothing else is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from .diagram import Diagram
from .measure import Gradients
from .route import halfway
from .scene import Area, Label, Point, Rect, Scene
from .text import Line, line, number

_CELL = 120.0


class Space:
    """Which areas are taken, sorted into the squares of a grid."""

    def __init__(self) -> None:
        self._squares: dict[tuple[int, int], list[Area]] = defaultdict(list)

    def take(self, area: Area) -> None:
        for square in _squares(area):
            self._squares[square].append(area)

    def is_free(self, area: Area) -> bool:
        left, top, right, bottom = area
        near = (each for square in _squares(area) for each in self._squares[square])
        return not any(left < x1 and x0 < right and top < y1 and y0 < bottom for x0, y0, x1, y1 in near)

    def place(self, words: Line, middles: Iterable[Point]) -> Point | None:
        """The first of the points around which there is room for a line; it is taken then."""
        for x, y in middles:
            half = words.size * 0.64
            area = (x - words.width / 2 - 2, y - half, x + words.width / 2 + 2, y + half)
            if self.is_free(area):
                self.take(area)
                return x, y
        return None

    def write(
        self,
        scene: Scene,
        name: str,
        words: Line,
        middles: Sequence[Point],
        tip: str,
        kind: str = "gain",
        must: bool = False,
    ) -> None:
        """Put a line where there is room; if there is none, at the first point where it `must` be, else nowhere."""
        found = self.place(words, middles) or (middles[0] if must else None)
        if found is not None:
            scene.labels.append(Label(name, *found, words, background="paper", tooltip=tip, kind=kind))


def moved(x: float, y: float) -> list[Point]:
    """Where a gain goes, first there, and then as far up or down as something else is."""
    return [(x, y), *((x, y + sign * 13 * k) for k in range(1, 9) for sign in (1, -1))]


def space_of(shapes: Iterable[Rect | Label]) -> Space:
    """The space that boxes and labels leave."""
    space = Space()
    for shape in shapes:
        space.take(shape.area)
    return space


def add_edge_numbers(scene: Scene, drawn: Diagram, gradients: Gradients) -> None:
    """Write the norm of the message beside each edge that has no gain on it, where there is room."""
    space = space_of([*scene.boxes, *scene.labels])
    for lane in scene.lanes:
        x, y = lane.label_at
        space.take((x - lane.label.width / 2, y - 7, x + lane.label.width / 2, y + 7))
    for edge in scene.edges:
        for x, y in _sampled(edge.points):
            space.take((x - 0.5, y - 0.5, x + 0.5, y + 0.5))
    for at, link in enumerate(drawn.links):
        norm = gradients.link(link)
        if norm is None or link.kind in ("state", "cut"):
            continue
        edge = scene.edges[at]
        x, y = halfway(edge.points)
        words = line(number(norm), color="muted")
        away = edge.width / 2 + 5 + words.width / 2
        above = edge.width / 2 + 9
        level = abs(edge.points[-1][0] - edge.points[0][0]) > abs(edge.points[-1][1] - edge.points[0][1])
        found = space.place(words, [(x, y - above), (x, y + above)] if level else [(x + away, y), (x - away, y)])
        if found is not None:
            tip = "norm of the gradient sent back along this edge"
            scene.labels.append(Label(f"norm_{at}", *found, words, "middle", "none", tip, "gain"))


def _squares(area: Area) -> Iterable[tuple[int, int]]:
    left, top, right, bottom = (int(each // _CELL) for each in area)
    return ((x, y) for x in range(left, right + 1) for y in range(top, bottom + 1))


def _sampled(points: list[Point]) -> list[Point]:
    """Points along Bézier curves."""
    u = np.linspace(0.0, 1.0, 13)[:, None]
    weights = np.hstack([(1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u * u * (1 - u), u**3])
    found = [weights @ np.array(points[i : i + 4]) for i in range(0, len(points) - 3, 3)]
    return np.concatenate(found).tolist()
