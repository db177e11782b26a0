"""From boxes with sizes to coordinates: lanes, rows that run through all of them, and what stands beside.

Each lane is laid out as a tile (see `layout.py`); lanes of one kind share the tile. Rows are common to
all lanes, so the space between two rows is free of boxes from end to end, and long edges run there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from math import fsum

from .diagram import Box, Diagram, Link
from .lanes import LaneContent, assign_rows, kinds_of, lanes_of, lay_out, side_of
from .layout import Tile
from .scene import Point, Rect

ROW_GAP = 24.0
LANE_PADDING = 9.0
LANE_FOOT = 28.0
SIDE_GAP = 26.0
ASIDE = 44.0
"""How far below the result of the loop other work after it stands."""
TRACK = 9.0
"""Distance of two edges that run side by side between lanes."""


@dataclass(eq=False, slots=True)
class Place:
    """Where a box is. `x`, `y` are its middle; `row` counts from the bottom."""

    x: float
    y: float
    width: float
    height: float
    lane: int
    row: int
    free: tuple[bool, bool] = (True, True)
    """Whether nothing stands to its left and to its right in its own lane and row."""

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2


@dataclass(eq=False, slots=True)
class Column:
    """A lane: its step (None for the hidden ones) and where it is."""

    step: int | None
    x: float
    width: float

    @property
    def right(self) -> float:
        return self.x + self.width


class Arrangement:
    """All coordinates that do not depend on how edges run in detail.

    Attributes:
        columns: the lanes; of the hidden steps together, one.
        places: of the boxes and of the gap.
        bends: points that an edge within a lane passes: below and above each row on its way, as it only turns between
            rows.
        ports: where an edge from or to a bar leaves its lane.
        row_y, row_height: the middle and the height of each row.
        top, bottom: upper and lower end of the lanes.
        align_row: the row of those boxes that stand in one row in all lanes, by their `align`.
        head: whether the lanes are labelled at their upper end, as edges leave through the lower one.
    """

    def __init__(
        self, diagram: Diagram, faces: dict[Box, Rect], gutter: float, hidden_width: float, gaps: dict[int, float]
    ) -> None:
        """Give every box a place.

        Args:
            diagram: the boxes and links.
            faces: the size of each box.
            gutter: the least space between two lanes.
            hidden_width: the width of the lane that stands for the hidden steps.
            gaps: the free space below those rows that need more than usual, as the router finds.
        """
        self.diagram = diagram
        self.faces = faces
        self.gaps = gaps
        self.columns: list[Column] = []
        self.places: dict[Box, Place] = {}
        self.bends: dict[Link, list[Point]] = {}
        self.ports: dict[Link, Point] = {}
        lanes = lanes_of(diagram)
        kinds = kinds_of(lanes)
        self.align_row = assign_rows(diagram, lanes, kinds)
        lay_out(lanes, kinds, faces)
        ports = {row for lane in lanes.values() for row in lane.rows[len(lane.boxes) :]}
        count = 1 + max((row for lane in lanes.values() for row in lane.rows), default=0)
        self.row_height = [2.0 if row in ports else 14.0 for row in range(count)]
        for lane in lanes.values():
            for box, row in zip(lane.boxes, lane.rows, strict=False):
                self.row_height[row] = max(self.row_height[row], faces[box].height, 14.0)
        self.row_y, y = [], 0.0
        for row, height in enumerate(self.row_height):
            self.row_y.append(y - height / 2)
            y -= height + self.gap(row + 1)
        self.head = any(direction < 0 for lane in lanes.values() for _, direction in lane.ports)
        self.top = y + ROW_GAP - 12 - (16.0 if self.head else 0.0)
        self.bottom = (8 if self.head else LANE_FOOT + 4) + (gaps[0] - ROW_GAP + 8 if 0 in gaps else 0)
        self._place_lanes(lanes, gutter, hidden_width)
        for side in (-1, 1):
            self._place_side(side)
        self._place_bars()

    def gap(self, row: int) -> float:
        """The free space below a row."""
        return self.gaps.get(row, ROW_GAP)

    def span(self, row: int) -> tuple[float, float]:
        """The lower and the upper end of a row."""
        return self.row_y[row] + self.row_height[row] / 2, self.row_y[row] - self.row_height[row] / 2

    def channel(self, row: int) -> float:
        """The middle of the free space below a row."""
        return self.span(row)[0] + self.gap(row) / 2

    def _place_lanes(self, lanes: dict[int, LaneContent], gutter: float, hidden_width: float) -> None:
        steps: list[int | None] = list(lanes)
        if self.diagram.hidden:
            steps.insert(sum(step < self.diagram.hidden[0] for step in lanes), None)
        tracks = self._tracks(steps)
        x = 0.0
        for at, step in enumerate(steps):
            width = hidden_width
            if step is None:
                self.places[self.diagram.gap] = Place(x + hidden_width / 2, 0.0, hidden_width, 0.0, at, 0)
            else:
                tile = lanes[step].tile
                assert tile is not None
                width = max(tile.width, 56.0) + 2 * LANE_PADDING
                self._place_lane(lanes[step], tile, at, x + (width - tile.width) / 2)
            self.columns.append(Column(step, x, width))
            x += width + gutter + TRACK * max(tracks[at + 1] - 1, 0)

    def _tracks(self, steps: list[int | None]) -> dict[int, int]:
        """How many edges run up or down in the space left of each lane."""
        number = {step: at for at, step in enumerate(steps)}
        used: dict[int, set[Hashable]] = defaultdict(set)
        for link in self.diagram.links:
            a, b = number.get(link.source.step), number.get(link.target.step)
            if link.source.zone == link.target.zone == "lane" and a is not None and b is not None and a != b:
                used[a + 1 if a < b else a].add((link.source.id, link.tensor.index))
        return defaultdict(int, {at: len(sources) for at, sources in used.items()})

    def _place_lane(self, lane: LaneContent, made: Tile, at: int, x: float) -> None:
        solid = [[number for number in layer if number < len(lane.boxes)] for layer in made.order]
        ends = {layer[0] for layer in solid if layer}, {layer[-1] for layer in solid if layer}
        for number, (box, row) in enumerate(zip(lane.boxes, lane.rows, strict=False)):
            size, free = (self.faces[box].width, self.faces[box].height), (number in ends[0], number in ends[1])
            self.places[box] = Place(x + made.xs[number], self.row_y[row], *size, at, row, free)
        for link, edge, bends in zip(lane.links, lane.edges, made.bends, strict=True):
            passed = enumerate(bends, start=lane.rows[edge[0]] + 1)
            self.bends[link] = [(x + bend, y) for row, bend in passed for y in self.span(row)]
        for (link, direction), number in zip(lane.ports, range(len(lane.boxes), len(made.xs)), strict=True):
            self.ports[link] = x + made.xs[number], self.top if direction > 0 else self.row_y[lane.rows[number]]

    def _place_side(self, side: int) -> None:
        """What was made before and after the loop: beside the lanes, in the row of what it is linked to."""
        links = self.diagram.links
        around = [box for box in self.diagram.boxes if box.zone in ("before", "after")]
        boxes = [box for box in around if side_of(self.diagram, box) == side]
        depth = _depths(boxes, links)
        beside = {link.source if side < 0 else link.target for link in links} & set(boxes)
        edge = self.columns[0].x if side < 0 else self.columns[-1].right
        edge += side * max(SIDE_GAP * 1.4, TRACK * (len(beside) + 2))
        for level in range(1 + max(depth.values(), default=-1)):
            wished = {box: self._wished_y(box) for box in boxes if depth[box] == level}
            wide = max(self.faces[box].width for box in wished)
            taken: list[tuple[float, float]] = []
            for box, y in sorted(wished.items(), key=lambda each: -each[1]):
                height = self.faces[box].height
                for top, bottom in taken:
                    if y - height / 2 < bottom + 8 and y + height / 2 > top - 8:
                        y = top - 8 - height / 2
                taken.append((y - height / 2, y + height / 2))
                row = min(range(len(self.row_y)), key=lambda row: abs(self.row_y[row] - y))
                lane = -1 if side < 0 else len(self.columns)
                self.places[box] = Place(edge + side * wide / 2, y, self.faces[box].width, height, lane, row)
            edge += side * (wide + SIDE_GAP)

    def _wished_y(self, box: Box) -> float:
        """The height of what a box beside the lanes is linked to."""
        result, gap = self.row_y[-1], self.diagram.gap
        if any(link.source is gap and link.target.zone == "after" for link in self.diagram.links):
            result += 0.8 * ASIDE  # below an initial state of what runs backward, which stands in the way
        for link in self.diagram.links:
            other = link.target if link.source is box else link.source if link.target is box else None
            if other is gap and box.zone == "after":
                return result
            if other is not gap and other in self.places:
                row = self.align_row.get(box.align) if link.source is box else None  # of the states that follow
                return self.places[other].y if row is None else self.row_y[row]
        # No part of what comes from the lanes, such as a penalty: out of its way.
        return result + ASIDE if box.zone == "after" else self.row_y[0]

    def _place_bars(self) -> None:
        """Bars across all lanes, above and below them, and the row of weights."""
        left, right = self.columns[0].x, self.columns[-1].right
        zones: dict[str, list[Box]] = defaultdict(list)
        for box in self.diagram.boxes:
            zones[box.zone].append(box)

        def put(box: Box, x: float, top: float, width: float) -> float:
            height = self.faces[box].height
            self.places[box] = Place(x, top + height / 2, width, height, 0, 0)
            return height

        y = self.top - 16
        for box in zones["top"]:
            y -= self.faces[box].height
            put(box, (left + right) / 2, y, right - left)
            y -= 14
        y = self.bottom + 16
        for box in zones["bottom"]:
            y += put(box, (left + right) / 2, y, right - left) + 14
        widths = [self.faces[box].width for box in zones["weights"]]
        x = (left + right - fsum(widths) - 24 * (len(widths) - 1)) / 2
        for box, width in zip(zones["weights"], widths, strict=True):
            put(box, x + width / 2, y + 60, width)
            x += width + 24


def _depths(boxes: list[Box], links: list[Link]) -> dict[Box, int]:
    """How many columns away from the lanes each box beside them stands."""
    users = {box: [link.target for link in links if link.source is box] for box in boxes}
    inputs = {box: [link.source for link in links if link.target is box] for box in boxes}
    into_lanes: set[Box] = set()
    fed: set[Box] = set()
    for box in reversed(boxes):
        if all(each in into_lanes or each not in users for each in users[box]):
            into_lanes.update([box] if users[box] and all(each in users for each in inputs[box]) else [])
    depth: dict[Box, int] = {}
    for box in boxes:
        if box not in into_lanes:
            fed.update([box] if any(each in fed or each not in users for each in inputs[box]) else [])
            depth[box] = 1 + max((depth[each] for each in inputs[box] if each in depth), default=-1)
    for box in reversed(boxes):
        near = [depth[each] for each in users[box] if each in depth]
        if box in into_lanes:
            depth[box] = 1 + max(near, default=-1)
        elif near and box not in fed:  # made of no result of the lanes, such as a penalty
            depth[box] = min(near) - 1
    return depth
