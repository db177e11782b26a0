"""How edges run between placed boxes: straight where they can, else along the free space between lanes and rows.

Every path is a chain of cubic Bézier curves, which SVG and DOT both take as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np

from .arrange import ROW_GAP, TRACK, Arrangement
from .diagram import Box, Diagram, Link
from .scene import Point

CORNER = 7.0
CHANNEL = 6.0
"""Distance of edges that run side by side between two rows."""
STATE_GAP = 13.0
"""Distance of the edges of one cell's states."""


def routed(diagram: Diagram, gutter: float, hidden_width: float = 0.0) -> tuple[Arrangement, Router]:
    """Places and paths: laid out again with more space below the rows where many edges run side by side."""
    placed = Arrangement(diagram, gutter, hidden_width, {})
    router = Router(diagram, placed)
    crowded = {row: CHANNEL * len(levels) + 8 for row, levels in router.channels.items()}
    gaps = {row: gap for row, gap in crowded.items() if gap > ROW_GAP}
    if gaps:
        placed = Arrangement(diagram, gutter, hidden_width, gaps)
        router = Router(diagram, placed)
    return placed, router


class Crossing:
    """A link from one lane to another, or to or from what stands beside the lanes.

    Attributes:
        way: 1 to the right, -1 to the left.
        exit, entry: the space beside its source, and beside its target; gutter g is left of lane g.
        channel: links of the same share a level; those that end in the next lane with those of other lanes.
    """

    def __init__(self, link: Link) -> None:
        source, target = link.source, link.target
        self.link = link
        self.way = 1 if source.lane < target.lane else -1
        self.exit, self.entry = (source.lane, target.lane + 1) if self.way < 0 else (source.lane + 1, target.lane)
        self.is_adjacent = abs(source.lane - target.lane) == 1
        self.leaves_sideways = source.free[self.way > 0]
        sideways = target.kind == "gap" or target.zone == "after"
        self.enters_sideways = sideways or (self.is_adjacent and target.free[self.way < 0])
        self.key: Hashable = (source, link.tensor.index)
        self.channel = (source.align or source.caption) if self.is_adjacent else self.key


class Router:
    """Paths for all links of one arrangement, and the places of the labels on them."""

    def __init__(self, diagram: Diagram, arrangement: Arrangement) -> None:
        self.diagram = diagram
        self.at = arrangement
        self.tracks: dict[int, dict[Hashable, int]] = defaultdict(dict)
        self.channels: dict[int, dict[Hashable, int]] = defaultdict(dict)
        self.label_at: dict[Link, Point] = {}
        """Where the gain along an edge is written: above or below a straight one, beside the turn of another."""
        bars = {"top", "bottom", "weights"}
        self.crossing = {
            link: Crossing(link)
            for link in diagram.links
            if link.source.lane != link.target.lane and not {link.source.zone, link.target.zone} & bars
        }
        """The links between lanes, or between a lane and what stands beside."""
        for each in sorted(self.crossing.values(), key=self._from_below):
            link = each.link
            for gutter in dict.fromkeys((each.exit, each.entry)):
                self.tracks[gutter].setdefault(each.key, len(self.tracks[gutter]))
            if not each.enters_sideways:
                self.channels[link.target.row].setdefault(each.channel, len(self.channels[link.target.row]))
        self.aside: set[Link] = set()
        """Links that meet the side of their target beside its middle."""
        outs: dict[int, list[Crossing]] = defaultdict(list)
        ins: dict[int, list[Crossing]] = defaultdict(list)
        for each in self.crossing.values():
            if each.leaves_sideways:
                outs[each.exit].append(each)
            if each.enters_sideways:
                ins[each.entry].append(each)
        for gutter, order in self.tracks.items():
            if len(order) > 1:
                apart = self._apart(list(order), outs[gutter], ins[gutter])
                self.tracks[gutter] = {key: number for number, key in enumerate(apart)}
        self.ports: dict[Link, float] = {}
        entries: dict[tuple[Box, str], list[tuple[float, Link]]] = defaultdict(list)
        for link in diagram.links:
            self._announce(link, entries)
        for (box, side), wanted in entries.items():
            self._spread(box, side, wanted)

    # ------------------------------------------------------------------ who needs what
    def _from_below(self, each: Crossing) -> tuple[float, float]:
        return -self._height(each.link, each.link.source), -each.link.target.rect.middle[1]

    def _apart(self, order: list[Hashable], outs: list[Crossing], ins: list[Crossing]) -> list[Hashable]:
        """Tracks in an order in which no edge comes in over the line on which that of another source goes out.

        Where each of two would come in over the other, one meets its target beside the middle (`aside`).
        """
        first: dict[Hashable, list[Link]] = defaultdict(list)
        for out in outs:
            y = self._height(out.link, out.link.source)
            for into in ins:
                meets = abs(self._height(into.link, into.link.target) - y) < CHANNEL
                if meets and into.key != out.key and into.way == out.way:
                    first[out.key].append(into.link)
        if not first:
            return order
        found: list[Hashable] = []
        while order:
            waits = {key: [link for link in first[key] if self.crossing[link].key in order] for key in order}
            found.append(next((key for key in order if not waits[key]), order[0]))
            self.aside.update(waits[found[-1]])
            order.remove(found[-1])
        return found

    def _share(self, link: Link) -> tuple[int, int]:
        """Which of its cell's states a link carries, of how many: they are handed on one above the other."""
        cell = link.target if link.source.kind == "gap" else link.source
        states = [self.diagram.row_of[tensor.index] for tensor in cell.tensors] if cell.kind == "cell" else []
        row = self.diagram.row_of.get(link.tensor.index)
        return (states.index(row), len(states)) if row in states else (0, 1)

    def _height(self, link: Link, end: Box) -> float:
        """At which an edge meets one of its ends; the hidden steps, at that of the row of its state."""
        number, count = self._share(link)
        if end.kind == "gap":
            end = link.target if link.source.kind == "gap" else link.source
            row = self.diagram.row_of.get(link.tensor.index)
            place = self.at.align_row.get("total" if row is None else ("state", row))
            if place is not None and count == 1:
                return self.at.row_y[place]
        return end.rect.middle[1] + (number - (count - 1) / 2) * STATE_GAP

    def _announce(self, link: Link, entries: dict[tuple[Box, str], list[tuple[float, Link]]]) -> None:
        """Note where each edge meets its target, so that edges share a side evenly."""
        if link.target.kind == "gap" or link.target.zone not in ("lane", "after", "before"):
            return
        each = self.crossing.get(link)
        if each is not None and each.enters_sideways:
            entries[link.target, "left" if each.way > 0 else "right"].append((self._height(link, link.source), link))
        elif each is not None:
            entries[link.target, "bottom"].append((self._track_x(each, each.entry), link))
        elif link.target.zone == "lane":
            bends, start = self.at.bends.get(link), self.at.ports.get(link)
            x = bends[-1][0] if bends else start[0] if start else link.source.rect.middle[0]
            entries[link.target, "bottom"].append((x, link))

    def _spread(self, box: Box, side: str, wanted: list[tuple[float, Link]]) -> None:
        wanted.sort(key=lambda entry: entry[0])
        (x, y), rect = box.rect.middle, box.rect
        middle, extent = (x, rect.width) if side == "bottom" else (y, rect.height)
        reach = max(extent / 2 - 7, 0.0)
        points = np.clip([value for value, _ in wanted], middle - reach, middle + reach)
        least = np.arange(len(points)) * min(8.0, 2 * reach / max(len(points) - 1, 1))
        points = np.minimum(np.maximum.accumulate(points - least) + least, middle + reach - least[::-1])
        if side != "bottom" and len(points) == 1:
            link = wanted[0][1]
            beside = min(1.5 * CHANNEL, reach) if link in self.aside else 0.0
            points[0] = middle + (beside if self._height(link, link.source) > middle else -beside)
        self.ports.update((link, point) for point, (_, link) in zip(points.tolist(), wanted, strict=True))

    def _track_x(self, link: Crossing, gutter: int) -> float:
        number, count = self.tracks[gutter][link.key], len(self.tracks[gutter])
        columns = self.at.columns
        left = columns[gutter - 1].right if gutter > 0 else columns[0].x - 36.0
        right = columns[gutter].x if 0 <= gutter < len(columns) else left + 36.0
        return (left + right) / 2 + (number - (count - 1) / 2) * TRACK * -link.way

    # ------------------------------------------------------------------ paths
    def path(self, link: Link) -> list[Point]:
        """The Bézier points of a link, from source to target."""
        if link in self.crossing:
            return self._across(self.crossing[link])
        if link.target.zone == "top" or link.source.zone in ("bottom", "weights"):
            return self._along_bar(link)
        return self._within(link)

    def _within(self, link: Link) -> list[Point]:
        source, target = link.source.rect, link.target.rect
        x = source.middle[0]
        if link.source.zone != "lane" or link.target.zone != "lane":  # both beside the lanes
            start, end = (source.right, source.middle[1]), (target.x, target.middle[1])
            half = (end[0] - start[0]) / 2
            return [start, (start[0] + half, start[1]), (end[0] - half, end[1]), end]
        if link.source.row >= link.target.row:  # closes a circle within the lane
            out, over, y = target.right + 8, source.y - 8, target.middle[1]
            return rounded([(x, source.y), (x, over), (out, over), (out, y), (target.right, y)])
        bends, end = self.at.bends.get(link, []), (self.ports[link], target.bottom)
        if not bends and abs(end[0] - x) < source.width / 2 - 5:
            x = end[0]  # straight up
        # It leaves the row of its source and enters that of its target straight.
        above, under = self.at.span(link.source.row)[1], self.at.span(link.target.row)[0]
        first = [(x, above)] if above < source.y - 1 else []
        last = [(end[0], under)] if under > end[1] + 1 else []
        return smooth([(x, source.y), *first, *bends, *last, end])

    def _across(self, each: Crossing) -> list[Point]:
        link, source, target = each.link, each.link.source, each.link.target
        out_x, y = self._track_x(each, each.exit), self._height(link, source)
        if each.leaves_sideways:
            points: list[Point] = [(source.rect.right if each.way > 0 else source.rect.x, y)]
        else:
            y = self.at.span(source.row)[1] - self.at.gap(source.row + 1) / 2
            points = [(source.rect.middle[0], source.rect.y), (source.rect.middle[0], y)]
        points.append((out_x, y))
        if each.enters_sideways:
            end = (
                target.rect.x if each.way > 0 else target.rect.right,
                self._height(link, target) if target.kind == "gap" else self.ports[link],
            )
            if not each.is_adjacent:
                channel, out_x = self.at.channel(source.row), self._track_x(each, each.entry)
                points += [(points[-1][0], channel), (out_x, channel)]
            points += [(out_x, end[1]), end]
        else:
            levels, end = self.channels[target.row], (self.ports[link], target.rect.bottom)
            channel = self.at.channel(target.row) + (levels[each.channel] - (len(levels) - 1) / 2) * CHANNEL
            points += [(out_x, channel), (end[0], channel), end]
        number, count = self._share(link)
        side = 0 if 0 < number < count - 1 else -1 if number == 0 else 1
        self.label_at[link] = (points[0][0] + end[0]) / 2, y + side * 9.0
        if any(abs(py - y) >= 1 for _, py in points):  # beside the turn
            self.label_at[link] = self._track_x(each, each.exit), y + (16.0 if end[1] > y else -16.0)
        return rounded(points)

    def _along_bar(self, link: Link) -> list[Point]:
        """From or to a bar across the lanes, or a shared weight below them."""
        source, target, bends = link.source.rect, link.target.rect, self.at.bends.get(link, [])
        x, port = source.middle[0], self.at.ports.get(link)
        if link.target.zone == "top":
            if port is not None and (bends or abs(port[0] - x) >= source.width / 2 - 5):
                turn = port[0], self.at.row_y[-1]
                return smooth([(x, source.y), *bends, turn, (turn[0], target.bottom)])
            x = x if port is None else port[0]
            is_above = source.y < target.y  # a bar above a bar
            return (
                straight((x, source.bottom), (x, target.y)) if is_above else straight((x, source.y), (x, target.bottom))
            )
        if port is None:
            return straight((target.middle[0], source.y), (target.middle[0], target.bottom))
        start = x if link.source.zone == "weights" else port[0]
        foot = port[0], self.at.bottom
        return smooth([(start, source.y), foot, *bends, (self.ports[link], target.bottom)])


def halfway(points: Sequence[Point]) -> Point:
    """The middle of the longest piece of a path, where a mark on it is easiest to see."""
    pieces = [(points[i], points[i + 3]) for i in range(0, len(points) - 3, 3)]
    return _toward(*max(pieces, key=lambda piece: _length(*piece)), 1 / 2)


def _length(start: Point, end: Point) -> float:
    """Along the axes."""
    return abs(start[0] - end[0]) + abs(start[1] - end[1])


def _toward(start: Point, end: Point, share: float) -> Point:
    """The point so far on the way from one to another."""
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def straight(start: Point, end: Point) -> list[Point]:
    """A line as one Bézier curve."""
    return [start, _toward(start, end, 1 / 3), _toward(start, end, 2 / 3), end]


def smooth(points: Sequence[Point]) -> list[Point]:
    """A curve upward through all points, vertical in each of them."""
    triples = zip(points, points[1:], points[2:], strict=False)
    turns = [b for a, b, c in triples if abs(a[0] - b[0]) + abs(b[0] - c[0]) > 0.01]
    path = [points[0]]
    for (x0, y0), (x1, y1) in pairwise([points[0], *turns, points[-1]]):
        half = (y1 - y0) / 2
        path += (
            straight((x0, y0), (x1, y1))[1:] if abs(x0 - x1) < 0.01 else [(x0, y0 + half), (x1, y1 - half), (x1, y1)]
        )
    return path


def rounded(points: Sequence[Point]) -> list[Point]:
    """Horizontal and vertical lines with round corners."""
    lean: list[Point] = []
    for point in points:
        if lean and _length(lean[-1], point) < 0.02:
            continue
        if len(lean) > 1 and any(abs(lean[-2][k] - lean[-1][k]) + abs(lean[-1][k] - point[k]) < 0.02 for k in (0, 1)):
            lean.pop()  # in line
        lean.append(point)
    path = [lean[0]]
    for before, here, after in zip(lean, lean[1:], lean[2:], strict=False):
        first, second = (_toward(here, end, min(CORNER / _length(here, end), 1 / 2)) for end in (before, after))
        path += straight(path[-1], first)[1:]  # then the control points that make a quarter of a circle
        path += [_toward(first, here, 0.5523), _toward(second, here, 0.5523), second]
    return path + straight(path[-1], lean[-1])[1:]
