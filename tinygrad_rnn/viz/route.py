"""How edges run between placed boxes: straight where they can, else along the free space between lanes and rows.

Every path is a chain of cubic Bézier curves, which SVG and DOT both take as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np

from .arrange import ROW_GAP, TRACK, Arrangement, Place
from .diagram import Box, Diagram, Link
from .scene import Point, Rect

CORNER = 7.0
CHANNEL = 6.0
"""Distance of edges that run side by side between two rows."""
STATE_GAP = 13.0
"""Distance of the edges of one cell's states."""


def routed(
    diagram: Diagram, faces: dict[Box, Rect], gutter: float, hidden_width: float = 0.0
) -> tuple[Arrangement, Router]:
    """Places and paths: laid out again with more space below the rows where many edges run side by side."""
    placed = Arrangement(diagram, faces, gutter, hidden_width, {})
    router = Router(diagram, placed)
    crowded = {row: CHANNEL * len(levels) + 8 for row, levels in router.channels.items()}
    gaps = {row: gap for row, gap in crowded.items() if gap > ROW_GAP}
    if not gaps:
        return placed, router
    placed = Arrangement(diagram, faces, gutter, hidden_width, gaps)
    return placed, Router(diagram, placed)


class Crossing:
    """A link from one lane to another, or to or from what stands beside the lanes.

    Attributes:
        way: 1 to the right, -1 to the left.
        exit, entry: the space beside its source, and beside its target; gutter g is left of lane g.
        channel: links of the same share a level; those that end in the next lane with those of other lanes.
    """

    def __init__(self, link: Link, source: Place, target: Place) -> None:
        self.link, self.source, self.target = link, source, target
        self.way = 1 if source.lane < target.lane else -1
        self.exit, self.entry = (source.lane, target.lane + 1) if self.way < 0 else (source.lane + 1, target.lane)
        self.is_adjacent = abs(source.lane - target.lane) == 1
        self.leaves_sideways = link.source.kind == "gap" or source.free[self.way > 0]
        sideways = link.target.kind == "gap" or link.target.zone == "after"
        self.enters_sideways = sideways or (self.is_adjacent and target.free[self.way < 0])
        self.key: Hashable = (link.source, link.tensor.index)
        self.channel = (link.source.align or link.source.caption) if self.is_adjacent else self.key


class Router:
    """Paths for all links of one arrangement, and the places of the labels on them."""

    def __init__(self, diagram: Diagram, arrangement: Arrangement) -> None:
        self.diagram = diagram
        self.at = arrangement
        self.tracks: dict[int, dict[Hashable, int]] = defaultdict(dict)
        self.channels: dict[int, dict[Hashable, int]] = defaultdict(dict)
        self.entries: dict[tuple[Box, str], list[tuple[float, Link]]] = defaultdict(list)
        self.label_at: dict[Link, Point] = {}
        """Where the gain along an edge is written."""
        bars = {"top", "bottom", "weights"}
        pairs = [(link, self.at.places[link.source], self.at.places[link.target]) for link in diagram.links]
        self.crossing = {
            link: Crossing(link, source, target)
            for link, source, target in pairs
            if source.lane != target.lane and not {link.source.zone, link.target.zone} & bars
        }
        """The links between lanes, or between a lane and what stands beside."""
        for each in sorted(self.crossing.values(), key=lambda each: (-self._source_y(each.link), -each.target.y)):
            for gutter in dict.fromkeys((each.exit, each.entry)):
                self.tracks[gutter].setdefault(each.key, len(self.tracks[gutter]))
            if not each.enters_sideways:
                self.channels[each.target.row].setdefault(each.channel, len(self.channels[each.target.row]))
        for link in diagram.links:
            self._announce(link)
        self.ports: dict[Link, float] = {}
        for (box, side), wanted in self.entries.items():
            self._spread(box, side, wanted)

    # ------------------------------------------------------------------ who needs what
    def _source_y(self, link: Link) -> float:
        if link.source.kind == "gap":
            return self._row_of(link)
        place = self.at.places[link.source]
        number, count = self._share(link)
        return place.y + (number - (count - 1) / 2) * STATE_GAP

    @staticmethod
    def _share(link: Link) -> tuple[int, int]:
        """Which of its box's states a link carries: a cell hands several on, one above the other."""
        states = [tensor.index for tensor in link.source.tensors] if link.source.kind == "cell" else []
        return (states.index(link.tensor.index), len(states)) if link.tensor.index in states else (0, 1)

    def _row_of(self, link: Link) -> float:
        """The height at which an edge meets the hidden steps: that of the row of its state."""
        row = self.diagram.row_of.get(link.tensor.index)
        cell = link.target if link.source.kind == "gap" else link.source
        rows = [self.diagram.row_of[t.index] for t in cell.tensors] if cell.kind == "cell" else []
        if row in rows:
            return self.at.places[cell].y + (rows.index(row) - (len(rows) - 1) / 2) * STATE_GAP
        align: Hashable = "total" if row is None else ("state", row)
        place = self.at.align_row.get(align)
        return self.at.places[cell].y if place is None else self.at.row_y[place]

    def _announce(self, link: Link) -> None:
        """Note where each edge meets its target, so that edges share a side evenly."""
        if link.target.kind == "gap" or link.target.zone not in ("lane", "after", "before"):
            return
        each = self.crossing.get(link)
        if each is not None and each.enters_sideways:
            self.entries[link.target, "left" if each.way > 0 else "right"].append((self._source_y(link), link))
        elif each is not None:
            self.entries[link.target, "bottom"].append((self._track_x(each, each.entry), link))
        elif link.target.zone == "lane":
            bends, start = self.at.bends.get(link), self.at.ports.get(link)
            x = bends[-1][0] if bends else start[0] if start else self.at.places[link.source].x
            self.entries[link.target, "bottom"].append((x, link))

    def _spread(self, box: Box, side: str, wanted: list[tuple[float, Link]]) -> None:
        place = self.at.places[box]
        wanted.sort(key=lambda entry: entry[0])
        middle, extent = (place.x, place.width) if side == "bottom" else (place.y, place.height)
        low, high = middle - extent / 2 + 7, middle + extent / 2 - 7
        if low > high:
            low = high = middle
        points = np.clip([value for value, _ in wanted], low, high)
        least = np.arange(len(points)) * min(8.0, (high - low) / max(len(points) - 1, 1))
        points = np.minimum(np.maximum.accumulate(points - least) + least, high - least[::-1])
        if side != "bottom" and len(points) == 1:
            points[0] = middle
        self.ports.update((link, point) for point, (_, link) in zip(points.tolist(), wanted, strict=True))

    def _track_x(self, link: Crossing, gutter: int) -> float:
        number, count = self.tracks[gutter][link.key], len(self.tracks[gutter])
        columns = self.at.columns
        if gutter <= 0:
            middle = columns[0].x - 18.0
        elif gutter >= len(columns):
            middle = columns[-1].right + 18.0
        else:
            middle = (columns[gutter - 1].right + columns[gutter].x) / 2
        return middle + (number - (count - 1) / 2) * TRACK * -link.way

    def _channel_y(self, link: Crossing) -> float:
        levels = self.channels[link.target.row]
        return self.at.channel(link.target.row) + (levels[link.channel] - (len(levels) - 1) / 2) * CHANNEL

    # ------------------------------------------------------------------ paths
    def path(self, link: Link) -> list[Point]:
        """The Bézier points of a link, from source to target."""
        if link.target.zone == "top":
            return self._to_bar(link)
        if link.source.zone in ("bottom", "weights"):
            return self._from_bar(link)
        return self._across(self.crossing[link]) if link in self.crossing else self._within(link)

    def _within(self, link: Link) -> list[Point]:
        source, target = self.at.places[link.source], self.at.places[link.target]
        if link.source.zone != "lane" or link.target.zone != "lane":  # both beside the lanes
            start, end = (source.right, source.y), (target.left, target.y)
            half = (end[0] - start[0]) / 2
            return [start, (start[0] + half, start[1]), (end[0] - half, end[1]), end]
        if source.row >= target.row:  # closes a circle within the lane
            x, y = target.right + 8, source.top - 8
            return rounded([(source.x, source.top), (source.x, y), (x, y), (x, target.y), (target.right, target.y)])
        bends, end, x = self.at.bends.get(link, []), (self.ports[link], target.bottom), source.x
        if not bends and abs(end[0] - x) < source.width / 2 - 5:
            x = end[0]  # straight up
        # It leaves the row of its source and enters that of its target straight.
        over, under = self.at.span(source.row)[1], self.at.span(target.row)[0]
        first = [(x, over)] if over < source.top - 1 else []
        last = [(end[0], under)] if under > end[1] + 1 else []
        return smooth([(x, source.top), *first, *bends, *last, end])

    def _across(self, each: Crossing) -> list[Point]:
        link, source, target = each.link, each.source, each.target
        out_x = self._track_x(each, each.exit)
        y = self._source_y(link)
        if each.leaves_sideways:
            points: list[Point] = [(source.right if each.way > 0 else source.left, y)]
        else:
            y = self.at.span(source.row)[1] - self.at.gap(source.row + 1) / 2
            points = [(source.x, source.top), (source.x, y)]
        if each.enters_sideways:
            end_y = self._row_of(link) if link.target.kind == "gap" else self.ports[link]
            end_x = target.left if each.way > 0 else target.right
            if each.is_adjacent:
                points += [(out_x, y), (out_x, end_y), (end_x, end_y)]
            else:
                channel = self.at.channel(source.row)
                in_x = self._track_x(each, each.entry)
                points += [(out_x, y), (out_x, channel), (in_x, channel), (in_x, end_y), (end_x, end_y)]
        else:
            channel, end_x = self._channel_y(each), self.ports[link]
            points += [(out_x, y), (out_x, channel), (end_x, channel), (end_x, target.bottom)]
        self._place_label(link, points, out_x, y)
        return rounded(points)

    def _place_label(self, link: Link, points: Sequence[Point], x: float, y: float) -> None:
        """Where the gain may be written: above or below a straight edge, else beside the turn."""
        straight = all(abs(py - y) < 1 for _, py in points)
        downward = 1 if points[-1][1] > y else -1
        number, count = self._share(link)
        side = 0 if 0 < number < count - 1 else -1 if number == 0 else 1
        first = ((points[0][0] + points[-1][0]) / 2, y + side * 9.0) if straight else (x, y + downward * 16.0)
        self.label_at[link] = first

    def _to_bar(self, link: Link) -> list[Point]:
        bar = self.at.places[link.target]
        if link not in self.at.ports:
            source = self.at.places[link.source]
            if source.y < bar.y:  # bars above bars
                return straight((source.x, source.bottom), (source.x, bar.top))
            return straight((source.x, source.top), (source.x, bar.bottom))
        source, x = self.at.places[link.source], self.at.ports[link][0]
        start_x = x if abs(x - source.x) < source.width / 2 - 5 and not self.at.bends[link] else source.x
        points = smooth([(start_x, source.top), *self.at.bends[link], (x, self.at.row_y[-1])])
        return points + straight((x, self.at.row_y[-1]), (x, bar.bottom))[1:]

    def _from_bar(self, link: Link) -> list[Point]:
        bar, target = self.at.places[link.source], self.at.places[link.target]
        if link not in self.at.ports:
            return straight((target.x, bar.top), (target.x, target.bottom))
        x = self.at.ports[link][0]
        if link.source.zone == "weights":
            start = (bar.x, bar.top)
            foot = self.at.bottom
            first = [start, (start[0], (start[1] + foot) / 2), (x, (start[1] + foot) / 2), (x, foot)]
        else:
            first = straight((x, bar.top), (x, self.at.bottom))
        return first + smooth([(x, self.at.bottom), *self.at.bends[link], (self.ports[link], target.bottom)])[1:]


def halfway(points: Sequence[Point]) -> Point:
    """The middle of the longest piece of a path, where a mark on it is easiest to see."""
    pieces = [(points[i], points[i + 3]) for i in range(0, len(points) - 3, 3)]
    (x0, y0), (x1, y1) = max(pieces, key=lambda piece: abs(piece[0][0] - piece[1][0]) + abs(piece[0][1] - piece[1][1]))
    return (x0 + x1) / 2, (y0 + y1) / 2


def straight(start: Point, end: Point) -> list[Point]:
    """A line as one Bézier curve."""
    (x0, y0), (x1, y1) = start, end
    return [start, (x0 + (x1 - x0) / 3, y0 + (y1 - y0) / 3), (x1 - (x1 - x0) / 3, y1 - (y1 - y0) / 3), end]


def smooth(points: Sequence[Point]) -> list[Point]:
    """A curve upward through all points, vertical in each of them."""
    turns = [b for a, b, c in zip(points, points[1:], points[2:], strict=False) if not a[0] == b[0] == c[0]]
    path = [points[0]]
    for (x0, y0), (x1, y1) in pairwise([points[0], *turns, points[-1]]):
        half = (y1 - y0) / 2
        path += straight((x0, y0), (x1, y1))[1:] if x0 == x1 else [(x0, y0 + half), (x1, y1 - half), (x1, y1)]
    return path


def rounded(points: Sequence[Point]) -> list[Point]:
    """Horizontal and vertical lines with round corners."""
    kept = [points[0]]
    for point in points[1:]:
        if abs(point[0] - kept[-1][0]) > 0.01 or abs(point[1] - kept[-1][1]) > 0.01:
            kept.append(point)
    lean = [kept[0]]
    for before, here, after in zip(kept, kept[1:], kept[2:], strict=False):
        in_line = abs(before[0] - here[0]) < 0.01 and abs(here[0] - after[0]) < 0.01
        in_line |= abs(before[1] - here[1]) < 0.01 and abs(here[1] - after[1]) < 0.01
        if not in_line:
            lean.append(here)
    lean.append(kept[-1])
    path = [lean[0]]
    for before, here, after in zip(lean, lean[1:], lean[2:], strict=False):
        first, second = _toward(here, before), _toward(here, after)
        path += straight(path[-1], first)[1:]
        path += [_between(first, here), _between(second, here), second]
    path += straight(path[-1], lean[-1])[1:]
    return path


def _toward(corner: Point, other: Point) -> Point:
    """The point on the way from a corner where its rounding begins."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    share = min(CORNER, length / 2) / length
    return corner[0] + dx * share, corner[1] + dy * share


def _between(end: Point, corner: Point) -> Point:
    """The control point that makes a quarter of a circle (0.5523, as usual)."""
    return end[0] + (corner[0] - end[0]) * 0.5523, end[1] + (corner[1] - end[1]) * 0.5523
