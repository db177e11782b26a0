"""From boxes with sizes to coordinates: lanes, rows that run through all of them, and what stands beside.

Each lane is laid out as a tile (see `layout.py`); lanes of one kind share the tile. Rows are common to
all lanes, so the space between two rows is free of boxes from end to end, and long edges run there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from math import fsum

from .diagram import Box, Diagram, Link
from .lanes import LaneContent, lanes_of, side_of
from .scene import Lane, Point, Rect

ROW_GAP = 24.0
LANE_PADDING = 9.0
LANE_FOOT = 28.0
SIDE_GAP = 26.0
ASIDE = 44.0
"""How far below the result of the loop other work after it stands."""
TRACK = 9.0
"""Distance of two edges that run side by side between lanes."""


class Arrangement:
    """All coordinates that do not depend on how edges run in detail. Every box is given its place.

    Attributes:
        columns: the lanes, still without labels; of the hidden steps together, one.
        bends: points that an edge within a lane passes: below and above each row on its way, as it only turns between
            rows.
        ports: where an edge from or to a bar leaves its lane.
        row_y, row_height: the middle and the height of each row.
        top, bottom: upper and lower end of the lanes.
        align_row: the row of those boxes that stand in one row in all lanes, by their `align`.
    """

    def __init__(self, diagram: Diagram, gutter: float, hidden_width: float, gaps: dict[int, float]) -> None:
        """Give every box a place.

        Args:
            diagram: the boxes, which know their size, and the links.
            gutter: the least space between two lanes.
            hidden_width: the width of the lane that stands for the hidden steps.
            gaps: the free space below those rows that need more than usual, as the router finds.
        """
        self.diagram = diagram
        self.gaps = gaps
        self.columns: list[Lane] = []
        self.bends: dict[Link, list[Point]] = {}
        self.ports: dict[Link, Point] = {}
        lanes, self.align_row = lanes_of(diagram)
        ports = {row for lane in lanes.values() for row in lane.rows[len(lane.boxes) :]}
        count = 1 + max((row for lane in lanes.values() for row in lane.rows), default=0)
        self.row_height = [2.0 if row in ports else 14.0 for row in range(count)]
        for lane in lanes.values():
            for box, row in zip(lane.boxes, lane.rows, strict=False):
                self.row_height[row] = max(self.row_height[row], box.rect.height, 14.0)
        self.row_y, y = [], 0.0
        for row, height in enumerate(self.row_height):
            self.row_y.append(y - height / 2)
            y -= height + self.gap(row + 1)
        head = any(direction < 0 for lane in lanes.values() for _, direction in lane.ports)
        self.top = y + ROW_GAP - 12 - (16.0 if head else 0.0)
        self.bottom = (8 if head else LANE_FOOT + 4) + (gaps[0] - ROW_GAP + 8 if 0 in gaps else 0)
        self._placed = {box for lane in lanes.values() for box in lane.boxes}
        self._place_lanes(lanes, gutter, hidden_width, head)
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

    def _place_lanes(self, lanes: dict[int, LaneContent], gutter: float, hidden_width: float, head: bool) -> None:
        steps: list[int | None] = list(lanes)
        if self.diagram.hidden:
            steps.insert(sum(step < self.diagram.hidden[0] for step in lanes), None)
        tracks = self._tracks(steps)
        x, height = 0.0, self.bottom - self.top
        for at, step in enumerate(steps):
            if step is None:
                column = Lane("hidden", x, self.top, hidden_width, height, None, head, hatched=True)
                self.diagram.gap.rect, self.diagram.gap.lane = Rect("hidden", x, 0.0, hidden_width, 0.0), at
            else:
                width = max(lanes[step].tile.width, 56.0) + 2 * LANE_PADDING
                column = Lane(f"lane_{step}", x, self.top, width, height, step, head)
                self._place_lane(lanes[step], at, x + (width - lanes[step].tile.width) / 2)
            self.columns.append(column)
            x += column.width + gutter + TRACK * max(tracks[at + 1] - 1, 0)

    def _tracks(self, steps: list[int | None]) -> dict[int, int]:
        """How many edges run up or down in the space left of each lane."""
        number = {step: at for at, step in enumerate(steps)}
        used: dict[int, set[Hashable]] = defaultdict(set)
        for link in self.diagram.links:
            a, b = number.get(link.source.step), number.get(link.target.step)
            if link.source.zone == link.target.zone == "lane" and a is not None and b is not None and a != b:
                used[a + 1 if a < b else a].add((link.source.id, link.tensor.index))
        return defaultdict(int, {at: len(sources) for at, sources in used.items()})

    def _place_lane(self, lane: LaneContent, at: int, x: float) -> None:
        tile, solid = lane.tile, [[number for number in layer if number < len(lane.boxes)] for layer in lane.tile.order]
        first, last = ({layer[end] for layer in solid if layer} for end in (0, -1))
        for number, (box, row) in enumerate(zip(lane.boxes, lane.rows, strict=False)):
            box.lane, box.row, box.free = at, row, (number in first, number in last)
            box.rect.stand(x + tile.xs[number], self.row_y[row])
        for link, edge, bends in zip(lane.links, lane.edges, tile.bends, strict=True):
            passed = enumerate(bends, start=lane.rows[edge[0]] + 1)
            self.bends[link] = [(x + bend, y) for row, bend in passed for y in self.span(row)]
        for (link, direction), number in zip(lane.ports, range(len(lane.boxes), len(tile.xs)), strict=True):
            self.ports[link] = x + tile.xs[number], self.top if direction > 0 else self.row_y[lane.rows[number]]

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
            wide = max(box.rect.width for box in wished)
            taken: list[tuple[float, float]] = []
            for box, y in sorted(wished.items(), key=lambda each: -each[1]):
                height = box.rect.height
                for top, bottom in taken:
                    if y - height / 2 < bottom + 8 and y + height / 2 > top - 8:
                        y = top - 8 - height / 2
                taken.append((y - height / 2, y + height / 2))
                box.row = min(range(len(self.row_y)), key=lambda row: abs(self.row_y[row] - y))
                box.lane = -1 if side < 0 else len(self.columns)
                box.rect.stand(edge + side * wide / 2, y)
            self._placed.update(wished)
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
            if other in self._placed:
                row = self.align_row.get(box.align) if link.source is box else None  # of the states that follow
                return other.rect.middle[1] if row is None else self.row_y[row]
        # No part of what comes from the lanes, such as a penalty: out of its way.
        return result + ASIDE if box.zone == "after" else self.row_y[0]

    def _place_bars(self) -> None:
        """Bars across all lanes, above and below them, and the row of weights."""
        left, right = self.columns[0].x, self.columns[-1].right
        zones: dict[str, list[Box]] = defaultdict(list)
        for box in self.diagram.boxes:
            zones[box.zone].append(box)
        above, below = self.top - 16, self.bottom + 16
        for box in zones["top"] + zones["bottom"]:
            box.rect.x, box.rect.width = left, right - left
            step = box.rect.height + 14
            box.rect.y = above - box.rect.height if box.zone == "top" else below
            above, below = (above - step, below) if box.zone == "top" else (above, below + step)
        x = (left + right - fsum(box.rect.width + 24 for box in zones["weights"]) + 24) / 2
        for box in zones["weights"]:
            box.rect.x, box.rect.y = x, below + 60
            x += box.rect.width + 24


def _depths(boxes: list[Box], links: list[Link]) -> dict[Box, int]:
    """How many columns away from the lanes each box beside them stands."""
    users = {box: [link.target for link in links if link.source is box] for box in boxes}
    inputs = {box: [link.source for link in links if link.target is box] for box in boxes}
    depth: dict[Box, int] = {}
    for box in reversed(boxes):
        if box.zone == "before":
            depth[box] = 1 + max((depth[each] for each in users[box] if each in depth), default=-1)
    fed: set[Box] = set()
    for box in boxes:
        if box.zone == "after":
            fed.update([box] if any(each in fed or each not in users for each in inputs[box]) else [])
            depth[box] = 1 + max((depth[each] for each in inputs[box] if each in depth), default=-1)
    for box in reversed(boxes):
        near = [depth[each] for each in users[box] if each in depth]
        if near and box.zone == "after" and box not in fed:  # made of no result of the lanes, such as a penalty
            depth[box] = min(near) - 1
    return depth
