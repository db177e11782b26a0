"""From boxes with sizes to coordinates: lanes, rows that run through all of them, and what stands beside.

Each lane is laid out as a tile (see `layout.py`); lanes of one kind share the tile. Rows are common to
all lanes, so the space between two rows is free of boxes from end to end, and long edges run there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from math import fsum

from .diagram import Box, Diagram, Link
from .lanes import LaneContent, assign_rows, kinds_of, lanes_of, lay_out, side_of
from .scene import Rect

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
    x: float = 0.0
    width: float = 0.0

    @property
    def right(self) -> float:
        return self.x + self.width


@dataclass(eq=False, slots=True)
class Arrangement:
    """All coordinates that do not depend on how edges run in detail."""

    columns: list[Column]
    places: dict[Box, Place]
    bends: dict[Link, list[tuple[float, float]]]
    """Points that an edge within a lane passes: below and above each row on its way, as it only turns between rows."""
    row_y: list[float]
    """The middle of each row."""
    row_height: list[float]
    top: float
    bottom: float
    """Upper and lower end of the lanes."""
    align_row: dict[Hashable, int]
    head: bool
    """Whether the lanes are labelled at their upper end, as edges leave through the lower one."""
    ports: dict[Link, tuple[float, float]] = field(default_factory=dict)
    """Where an edge from or to a bar leaves its lane."""

    gaps: dict[int, float] = field(default_factory=dict)
    """The free space below those rows that more edges than usual run under."""

    def gap(self, row: int) -> float:
        """The free space below a row."""
        return self.gaps.get(row, ROW_GAP)

    def span(self, row: int) -> tuple[float, float]:
        """The lower and the upper end of a row."""
        return self.row_y[row] + self.row_height[row] / 2, self.row_y[row] - self.row_height[row] / 2

    def channel(self, row: int) -> float:
        """The middle of the free space below a row."""
        return self.span(row)[0] + self.gap(row) / 2


def arrange(
    diagram: Diagram,
    faces: dict[Box, Rect],
    gutter: float,
    hidden_width: float,
    gaps: dict[int, float] | None = None,
) -> Arrangement:
    """Give every box a place.

    Args:
        diagram: the boxes and links.
        faces: the size of each box.
        gutter: the least space between two lanes.
        hidden_width: the width of the lane that stands for the hidden steps.
        gaps: the free space below those rows that need more than usual, as the router finds.
    """
    gaps = gaps or {}
    lanes = lanes_of(diagram)
    kinds = kinds_of(lanes)
    align_row = assign_rows(diagram, lanes, kinds)
    count = 1 + max((row for lane in lanes.values() for row in lane.rows), default=0)
    lay_out(lanes, kinds, faces)

    ports = {row for lane in lanes.values() for row in lane.rows[len(lane.boxes) :]}
    height = [2.0 if row in ports else 14.0 for row in range(count)]
    for lane in lanes.values():
        for box, row in zip(lane.boxes, lane.rows, strict=False):
            height[row] = max(height[row], faces[box].height, 14.0)
    row_y, y = [0.0] * count, 0.0
    for row in range(count):
        row_y[row] = y - height[row] / 2
        y -= height[row] + gaps.get(row + 1, ROW_GAP)
    head = any(direction < 0 for lane in lanes.values() for _, direction in lane.ports)
    arrangement = Arrangement(
        columns=[],
        places={},
        bends={},
        row_y=row_y,
        row_height=height,
        top=y + ROW_GAP - 12 - (16.0 if head else 0.0),
        bottom=(8 if head else LANE_FOOT + 4) + (gaps[0] - ROW_GAP + 8 if 0 in gaps else 0),
        align_row=align_row,
        head=head,
        gaps=gaps,
    )
    _place_lanes(diagram, lanes, faces, arrangement, gutter, hidden_width)
    _place_sides(diagram, faces, arrangement)
    _place_bars(diagram, faces, arrangement)
    return arrangement


def _place_lanes(
    diagram: Diagram,
    lanes: dict[int, LaneContent],
    faces: dict[Box, Rect],
    arrangement: Arrangement,
    gutter: float,
    hidden_width: float,
) -> None:
    columns: list[Column] = []
    for step in lanes:
        if diagram.hidden and diagram.hidden[0] < step and all(column.step is not None for column in columns):
            columns.append(Column(None))
        columns.append(Column(step))
    arrangement.columns = columns
    tracks = _tracks(diagram, columns)
    x = 0.0
    for at, column in enumerate(columns):
        column.x = x
        if column.step is None:
            column.width = hidden_width
            arrangement.places[diagram.gap] = Place(x + hidden_width / 2, 0.0, hidden_width, 0.0, at, 0)
        else:
            lane = lanes[column.step]
            assert lane.tile is not None
            column.width = max(lane.tile.width, 56.0) + 2 * LANE_PADDING
            _place_lane(lane, faces, arrangement, at, x + (column.width - lane.tile.width) / 2)
        x += column.width + gutter + TRACK * max(tracks[at + 1] - 1, 0)


def _tracks(diagram: Diagram, columns: list[Column]) -> dict[int, int]:
    """How many edges run up or down in the space left of each lane."""
    number = {column.step: at for at, column in enumerate(columns)}
    used: dict[int, set[Hashable]] = defaultdict(set)
    for link in diagram.links:
        a, b = number.get(link.source.step), number.get(link.target.step)
        if link.source.zone == link.target.zone == "lane" and a is not None and b is not None and a != b:
            used[a + 1 if a < b else a].add((link.source.id, link.tensor.index))
    return defaultdict(int, {at: len(sources) for at, sources in used.items()})


def _place_lane(lane: LaneContent, faces: dict[Box, Rect], arrangement: Arrangement, at: int, x: float) -> None:
    made = lane.tile
    assert made is not None
    solid = [[number for number in layer if number < len(lane.boxes)] for layer in made.order]
    ends = {layer[0] for layer in solid if layer}, {layer[-1] for layer in solid if layer}
    for number, box in enumerate(lane.boxes):
        row = lane.rows[number]
        looks = faces[box]
        arrangement.places[box] = Place(
            x + made.xs[number],
            arrangement.row_y[row],
            looks.width,
            looks.height,
            at,
            row,
            (number in ends[0], number in ends[1]),
        )
    for link, edge, bends in zip(lane.links, lane.edges, made.bends, strict=True):
        first = lane.rows[edge[0]] + 1
        passed = [(x + bend, arrangement.span(first + k)) for k, bend in enumerate(bends)]
        arrangement.bends[link] = [(x_there, y) for x_there, span in passed for y in span]
    for (link, direction), number in zip(lane.ports, range(len(lane.boxes), len(made.xs)), strict=True):
        row = lane.rows[number]
        y = arrangement.top if direction > 0 else arrangement.bottom
        arrangement.ports[link] = (x + made.xs[number], y if direction > 0 else arrangement.row_y[row])


def _place_sides(diagram: Diagram, faces: dict[Box, Rect], arrangement: Arrangement) -> None:
    """What was made before and after the loop: beside the lanes, in the row of what it is linked to."""
    columns = arrangement.columns
    left = columns[0].x if columns else 0.0
    right = columns[-1].right if columns else 0.0
    for side in (-1, 1):
        boxes = [
            box
            for box in diagram.boxes
            if box.zone in ("before", "after") and (side_of(diagram, box) < 0) == (side < 0)
        ]
        depth = _depths(boxes, diagram.links)
        beside = {link.source if side < 0 else link.target for link in diagram.links} & set(boxes)
        edge = (left if side < 0 else right) + side * max(SIDE_GAP * 1.4, TRACK * (len(beside) + 2))
        for level in range(1 + max(depth.values(), default=-1)):
            group = [box for box in boxes if depth[box] == level]
            wide = max(faces[box].width for box in group)
            taken: list[tuple[float, float]] = []
            for box in sorted(group, key=lambda box: -_wished_y(box, diagram, arrangement)):
                looks = faces[box]
                y = _wished_y(box, diagram, arrangement)
                for top, bottom in taken:
                    if y - looks.height / 2 < bottom + 8 and y + looks.height / 2 > top - 8:
                        y = top - 8 - looks.height / 2
                taken.append((y - looks.height / 2, y + looks.height / 2))
                row = min(range(len(arrangement.row_y)), key=lambda r: abs(arrangement.row_y[r] - y))
                lane = -1 if side < 0 else len(columns)
                arrangement.places[box] = Place(edge + side * wide / 2, y, looks.width, looks.height, lane, row)
            edge += side * (wide + SIDE_GAP)


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


def _wished_y(box: Box, diagram: Diagram, arrangement: Arrangement) -> float:
    """The height of what a box beside the lanes is linked to."""
    result = arrangement.row_y[-1]
    if any(link.source is diagram.gap and link.target.zone == "after" for link in diagram.links):
        result += 0.8 * ASIDE  # below an initial state of what runs backward, which stands in the way
    for link in diagram.links:
        other = link.target if link.source is box else link.source if link.target is box else None
        if other is diagram.gap and box.zone == "after":
            return result
        if other is not diagram.gap and other in arrangement.places:
            row = arrangement.align_row.get(box.align) if link.source is box else None  # of the states that follow
            return arrangement.places[other].y if row is None else arrangement.row_y[row]
    # No part of what comes from the lanes, such as a penalty: out of its way.
    return result + ASIDE if box.zone == "after" else arrangement.row_y[0]


def _place_bars(diagram: Diagram, faces: dict[Box, Rect], arrangement: Arrangement) -> None:
    """Bars across all lanes, above and below them, and the row of weights."""
    columns = arrangement.columns
    left, right = columns[0].x, columns[-1].right

    def put(box: Box, x: float, top: float, width: float) -> float:
        height = faces[box].height
        arrangement.places[box] = Place(x, top + height / 2, width, height, 0, 0)
        return height

    y = arrangement.top - 16
    for box in (box for box in diagram.boxes if box.zone == "top"):
        y -= faces[box].height
        put(box, (left + right) / 2, y, right - left)
        y -= 14
    y = arrangement.bottom + 16
    for box in (box for box in diagram.boxes if box.zone == "bottom"):
        y += put(box, (left + right) / 2, y, right - left) + 14
    weights = [box for box in diagram.boxes if box.zone == "weights"]
    x = (left + right - fsum(faces[box].width for box in weights) - 24 * (len(weights) - 1)) / 2
    for box in weights:
        put(box, x + faces[box].width / 2, y + 60, faces[box].width)
        x += faces[box].width + 24
