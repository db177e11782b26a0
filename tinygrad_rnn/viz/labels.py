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
    """Which areas are taken, by boxes and labels to begin with; sorted into the squares of a grid."""

    def __init__(self, shapes: Iterable[Rect | Label] = ()) -> None:
        self._squares: dict[tuple[int, int], list[Area]] = defaultdict(list)
        for shape in shapes:
            self.take(shape.area)

    def take(self, area: Area) -> None:
        for square in _squares(area):
            self._squares[square].append(area)

    def is_free(self, area: Area) -> bool:
        left, top, right, bottom = area
        near = (each for square in _squares(area) for each in self._squares[square])
        return not any(left < x1 and x0 < right and top < y1 and y0 < bottom for x0, y0, x1, y1 in near)

    def write(
        self,
        scene: Scene,
        name: str,
        words: Line,
        middles: Sequence[Point],
        tip: str,
        kind: str = "gain",
        must: bool = False,
        background: str = "paper",
    ) -> None:
        """Put a line where there is room; if there is none, at the first point where it `must` be, else nowhere."""
        wide, half = words.width / 2 + 2, words.size * 0.64
        areas = {at: (at[0] - wide, at[1] - half, at[0] + wide, at[1] + half) for at in middles}
        found = next((at for at, area in areas.items() if self.is_free(area)), None)
        if found is not None:
            self.take(areas[found])
        if found is not None or must:
            place = found or middles[0]
            scene.labels.append(Label(name, *place, words, background=background, tooltip=tip, kind=kind))


def moved(x: float, y: float) -> list[Point]:
    """Where a gain goes, first there, and then as far up or down as something else is."""
    return [(x, y), *((x, y + sign * 13 * k) for k in range(1, 9) for sign in (1, -1))]


def add_edge_numbers(scene: Scene, drawn: Diagram, gradients: Gradients) -> None:
    """Write the norm of the message beside each edge that has no gain on it, where there is room."""
    space = Space([*scene.boxes, *scene.labels, *(lane.words for lane in scene.lanes)])
    for edge in scene.edges:
        for x, y in _sampled(edge.points):
            space.take((x - 0.5, y - 0.5, x + 0.5, y + 0.5))
    for edge, link in zip(scene.edges, drawn.links, strict=True):
        norm = gradients.link(link)
        if norm is None or link.kind in ("state", "cut"):
            continue
        (x, y), (x0, y0), (x1, y1) = halfway(edge.points), edge.points[0], edge.points[-1]
        words = line(number(norm), color="muted")
        if abs(x1 - x0) > abs(y1 - y0):
            beside = [(x, y + side * (edge.width / 2 + 9)) for side in (-1, 1)]
        else:
            beside = [(x + side * (edge.width / 2 + 5 + words.width / 2), y) for side in (1, -1)]
        tip = "norm of the gradient sent back along this edge"
        space.write(scene, f"norm_{edge.id[1:]}", words, beside, tip, background="none")


def _squares(area: Area) -> Iterable[tuple[int, int]]:
    left, top, right, bottom = (int(each // _CELL) for each in area)
    return ((x, y) for x in range(left, right + 1) for y in range(top, bottom + 1))


def _sampled(points: list[Point]) -> list[Point]:
    """Points along Bézier curves."""
    u = np.linspace(0.0, 1.0, 13)[:, None]
    weights = np.hstack([(1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u * u * (1 - u), u**3])
    found = [weights @ np.array(points[i : i + 4]) for i in range(0, len(points) - 3, 3)]
    return np.concatenate(found).tolist()
