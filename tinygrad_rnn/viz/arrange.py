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
from .layout import Tile, ranks, tile
from .measure import Face

ROW_GAP = 24.0
LANE_PADDING = 9.0
LANE_FOOT = 28.0
SIDE_GAP = 26.0
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
    """Points that an edge within a lane passes on its way."""
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

    def lane_of(self, box: Box) -> int:
        return self.places[box].lane

    def channel(self, row: int) -> float:
        """The middle of the free space below a row."""
        return self.row_y[row] + self.row_height[row] / 2 + ROW_GAP / 2


@dataclass(eq=False, slots=True)
class _Lane:
    """What one lane holds, by number: its boxes, then a port for each edge that leaves up or down."""

    boxes: list[Box]
    edges: list[tuple[int, int]]
    links: list[Link]
    pulls: list[int]
    ports: list[tuple[Link, int]]  # +1 upward, -1 downward
    rows: list[int] = field(default_factory=list)
    tile: Tile | None = None


def arrange(diagram: Diagram, faces: dict[Box, Face], gutter: float, hidden_width: float) -> Arrangement:
    """Give every box a place.

    Args:
        diagram: the boxes and links.
        faces: the size of each box.
        gutter: the least space between two lanes.
        hidden_width: the width of the lane that stands for the hidden steps.
    """
    lanes = _lanes(diagram)
    kinds = _kinds(lanes)
    align_row = _rows(diagram, lanes, kinds)
    count = 1 + max((row for lane in lanes.values() for row in lane.rows), default=0)
    _tiles(lanes, kinds, faces)

    height = [14.0] * count
    for lane in lanes.values():
        for box, row in zip(lane.boxes, lane.rows, strict=False):
            height[row] = max(height[row], faces[box].height)
    for lane in lanes.values():
        for at in range(len(lane.boxes), len(lane.rows)):
            row = lane.rows[at]
            if all(r != row for each in kinds.values() for r in lanes[each[0]].rows[: len(lanes[each[0]].boxes)]):
                height[row] = 2.0
    row_y, y = [0.0] * count, 0.0
    for row in range(count):
        row_y[row] = y - height[row] / 2
        y -= height[row] + ROW_GAP
    head = any(direction < 0 for lane in lanes.values() for _, direction in lane.ports)
    arrangement = Arrangement(
        columns=[],
        places={},
        bends={},
        row_y=row_y,
        row_height=height,
        top=y + ROW_GAP - 12 - (16.0 if head else 0.0),
        bottom=8 if head else LANE_FOOT + 4,
        align_row=align_row,
        head=head,
    )
    _place_lanes(diagram, lanes, faces, arrangement, gutter, hidden_width)
    _place_sides(diagram, faces, arrangement)
    _place_bars(diagram, faces, arrangement)
    return arrangement


def _lanes(diagram: Diagram) -> dict[int, _Lane]:
    """Sort boxes and links by lane. A picture without steps has one lane, numbered 0."""
    by_step: dict[int, list[Box]] = {step: [] for step in diagram.steps} or {0: []}
    for box in diagram.boxes:
        if box.zone == "lane" and box.step is not None:
            by_step[box.step].append(box)
    inside: dict[int, list[Link]] = defaultdict(list)
    for link in diagram.links:
        if _in_lane(link.source) and _in_lane(link.target) and link.source.step == link.target.step:
            inside[link.source.step or 0].append(link)
    lanes = {step: _lane(boxes, inside[step]) for step, boxes in by_step.items()}
    order = {step: at for at, step in enumerate(by_step)}
    for link in diagram.links:
        source, target = link.source, link.target
        if target.zone == "top" and _in_lane(source) and source.step is not None:
            lanes[source.step].ports.append((link, 1))
        elif source.zone in ("bottom", "weights") and _in_lane(target) and target.step is not None:
            lanes[target.step].ports.append((link, -1))
        elif _in_lane(target) and target.step is not None and source.step != target.step:
            if source.step is not None:
                pull = -1 if order.get(source.step, -1) < order[target.step] else 1
            elif source.kind == "gap":
                pull = -1 if order[target.step] * 2 > 1 and _after_gap(diagram, target.step) else 1
            else:
                pull = _side_of(diagram, source)
            lane = lanes[target.step]
            lane.pulls[lane.boxes.index(target)] = pull
    for lane in lanes.values():
        for link, direction in lane.ports:
            port = len(lane.pulls)
            end = lane.boxes.index(link.source if direction > 0 else link.target)
            lane.edges.append((end, port) if direction > 0 else (port, end))
            lane.links.append(link)
            lane.pulls.append(0)
    return lanes


def _in_lane(box: Box) -> bool:
    return box.zone == "lane" and box.kind != "gap"


def _after_gap(diagram: Diagram, step: int) -> bool:
    return not diagram.hidden or step > diagram.hidden[-1]


def _side_of(diagram: Diagram, box: Box) -> int:
    """-1 if a box beside the lanes stands to their left: unless it starts a loop that runs backward."""
    starts = [link.target.step for link in diagram.links if link.source is box and link.target.step is not None]
    if box.kind in ("initial", "cut") and starts and len(diagram.structure.steps) > 1:
        return 1 if min(starts) == diagram.structure.steps[-1] else -1
    return 1 if box.zone == "after" else -1


def _lane(boxes: list[Box], links: list[Link]) -> _Lane:
    """Number the boxes with inputs first; a link that closes a circle is left to the router."""
    waiting = dict.fromkeys(boxes, 0)
    after: dict[Box, list[Box]] = defaultdict(list)
    for link in links:
        waiting[link.target] += 1
        after[link.source].append(link.target)
    sequence: list[Box] = []
    rest = dict.fromkeys(boxes)
    while rest:
        box = next((each for each in rest if not waiting[each]), None) or next(iter(rest))
        del rest[box]
        sequence.append(box)
        for other in after[box]:
            waiting[other] -= 1
    number = {box: at for at, box in enumerate(sequence)}
    kept = [link for link in links if number[link.source] < number[link.target]]
    edges = [(number[link.source], number[link.target]) for link in kept]
    return _Lane(sequence, edges, kept, [0] * len(sequence), [])


def _kinds(lanes: dict[int, _Lane]) -> dict[Hashable, list[int]]:
    """Steps whose lanes look alike: the same boxes, linked the same way."""
    kinds: dict[Hashable, list[int]] = defaultdict(list)
    for step, lane in lanes.items():
        boxes = tuple((box.kind, box.align, box.scope, box.caption if box.kind == "op" else "") for box in lane.boxes)
        ports = tuple(direction for _, direction in lane.ports)
        kinds[boxes, tuple(lane.edges), tuple(lane.pulls), ports].append(step)
    return kinds


def _rows(diagram: Diagram, lanes: dict[int, _Lane], kinds: dict[Hashable, list[int]]) -> dict[Hashable, int]:
    """Assign rows: longest path, the same row for the same state in all lanes, inputs at the bottom."""
    samples = [lanes[steps[0]] for steps in kinds.values()]
    bottom = 1 if any(direction < 0 for lane in samples for _, direction in lane.ports) else 0
    scopes = _scope_order(samples)
    floors = [[bottom] * len(lane.boxes) + [0] * len(lane.ports) for lane in samples]
    align_row: dict[Hashable, int] = {}
    for _ in range(40):
        found = [ranks(floor, lane.edges) for floor, lane in zip(floors, samples, strict=True)]
        before = [list(floor) for floor in floors]
        for lane, rows in zip(samples, found, strict=True):
            for box, row in zip(lane.boxes, rows, strict=False):
                if box.align is not None and box.kind != "input":
                    align_row[box.align] = max(align_row.get(box.align, 0), row)
        highest: dict[Hashable, int] = {}
        for lane, rows in zip(samples, found, strict=True):
            for box, row in zip(lane.boxes, rows, strict=False):
                if box.kind not in ("input", "total", "loss"):
                    highest["scope", box.scope] = max(highest.get(("scope", box.scope), 0), row)
            for box, row in zip(lane.boxes, rows, strict=False):
                if box.align != "total":
                    highest["total"] = max(highest.get("total", 0), row)
        for lane, floor in zip(samples, floors, strict=True):
            for at, box in enumerate(lane.boxes):
                if box.kind == "input":
                    continue
                if box.align is not None:
                    floor[at] = max(floor[at], align_row[box.align])
                if box.align == "total":
                    floor[at] = max(floor[at], highest["total"] + 1)
                below = scopes.get(box.scope)
                if below is not None:
                    floor[at] = max(floor[at], highest.get(("scope", below), 0) + 1)
        if floors == before:
            break
    for lane, rows in zip(samples, found, strict=True):
        _raise_sources(lane, rows, bottom)
    top = max((max(rows[: len(lane.boxes)], default=0) for lane, rows in zip(samples, found, strict=True)), default=0)
    for lane, rows in zip(samples, found, strict=True):
        for (_, direction), at in zip(lane.ports, range(len(lane.boxes), len(rows)), strict=True):
            rows[at] = top + 1 if direction > 0 else 0
    for steps, rows in zip(kinds.values(), found, strict=True):
        for step in steps:
            lanes[step].rows = rows
    for lane in samples:
        for box, row in zip(lane.boxes, lane.rows, strict=False):
            if box.align is not None and box.kind != "input":
                align_row[box.align] = row
    return align_row


def _raise_sources(lane: _Lane, rows: list[int], bottom: int) -> None:
    """Move what does not depend on this step's inputs, such as h @ W_hh, up to what uses it; x_t stays below."""
    held: set[int] = set()
    for at, box in enumerate(lane.boxes):
        if box.kind == "input" or box.align is not None:
            held.add(at)
    for source, target in sorted(lane.edges, key=lambda edge: edge[1]):
        if source in held:
            held.add(target)
    for at in reversed(range(len(lane.boxes))):
        users = [rows[target] for source, target in lane.edges if source == at]
        box = lane.boxes[at]
        late = box.kind == "input" and users and min(users) > bottom + 1 and _is_target(lane, at)
        if users and (late or at not in held):
            rows[at] = max(rows[at], min(users) - 1)


def _is_target(lane: _Lane, at: int) -> bool:
    """Whether a datum only serves the loss, as the targets y_t do."""
    seen, stack = {at}, [at]
    while stack:
        here = stack.pop()
        if lane.boxes[here].kind in ("state", "cell") if here < len(lane.boxes) else False:
            return False
        for source, target in lane.edges:
            if source == here and target not in seen:
                seen.add(target)
                stack.append(target)
    return True


def _scope_order(lanes: list[_Lane]) -> dict[str, str]:
    """For each scope the one whose rows it stands above: layers and directions become bands of rows.

    Scopes that need each other within a step cannot be stacked and are left where they fall.
    """
    below: dict[str, set[str]] = defaultdict(set)
    together: dict[str, set[str]] = defaultdict(set)
    sequence: list[str] = []
    for lane in lanes:
        scopes = dict.fromkeys(box.scope for box in lane.boxes if box.kind not in ("input", "total", "loss"))
        for scope in scopes:
            together[scope].update(scopes)
            if scope not in sequence:
                sequence.append(scope)
        for source, target in lane.edges:
            if source < len(lane.boxes) and target < len(lane.boxes):
                a, b = lane.boxes[source], lane.boxes[target]
                if a.scope != b.scope and a.kind != "input":
                    below[b.scope].add(a.scope)

    def reaches(start: str, goal: str) -> bool:
        seen, stack = {start}, [start]
        while stack:
            for other in below[stack.pop()]:
                if other == goal:
                    return True
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        return False

    if any(reaches(scope, scope) for scope in sequence):
        return {}
    placed: list[str] = []
    for scope in sequence:
        at = next((i for i, other in enumerate(placed) if reaches(other, scope)), len(placed))
        placed.insert(at, scope)
    found: dict[str, str] = {}
    for at, scope in enumerate(placed):
        lower = [other for other in placed[:at] if other in together[scope]]
        if lower:
            found[scope] = lower[-1]
    return found


def _tiles(lanes: dict[int, _Lane], kinds: dict[Hashable, list[int]], faces: dict[Box, Face]) -> None:
    for steps in kinds.values():
        group = [lanes[step] for step in steps]
        widths = [max(faces[box].width for box in boxes) for boxes in zip(*(lane.boxes for lane in group), strict=True)]
        widths += [6.0] * len(group[0].ports)
        made = tile(widths, group[0].rows, group[0].edges, group[0].pulls)
        for lane in group:
            lane.tile = made


def _place_lanes(
    diagram: Diagram,
    lanes: dict[int, _Lane],
    faces: dict[Box, Face],
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
            used[a + 1 if a < b else a].add((link.source.id, link.tensor.order))
    return defaultdict(int, {at: len(sources) for at, sources in used.items()})


def _place_lane(lane: _Lane, faces: dict[Box, Face], arrangement: Arrangement, at: int, x: float) -> None:
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
        arrangement.bends[link] = [(x + bend, arrangement.row_y[first + k]) for k, bend in enumerate(bends)]
    for (link, direction), number in zip(lane.ports, range(len(lane.boxes), len(made.xs)), strict=True):
        row = lane.rows[number]
        y = arrangement.top if direction > 0 else arrangement.bottom
        arrangement.ports[link] = (x + made.xs[number], y if direction > 0 else arrangement.row_y[row])


def _place_sides(diagram: Diagram, faces: dict[Box, Face], arrangement: Arrangement) -> None:
    """What was made before and after the loop: beside the lanes, in the row of what it is linked to."""
    columns = arrangement.columns
    left = columns[0].x if columns else 0.0
    right = columns[-1].right if columns else 0.0
    for side in (-1, 1):
        boxes = [
            box
            for box in diagram.boxes
            if box.zone in ("before", "after") and (_side_of(diagram, box) < 0) == (side < 0)
        ]
        depth = _depths(boxes, diagram.links, side)
        edge = (left if side < 0 else right) + side * SIDE_GAP * 1.4
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


def _depths(boxes: list[Box], links: list[Link], side: int) -> dict[Box, int]:
    """How many columns away from the lanes each box beside them stands."""
    depth = dict.fromkeys(boxes, 0)
    pairs = [(link.source, link.target) for link in links if link.source in depth and link.target in depth]
    for _ in range(len(boxes)):
        changed = False
        for source, target in pairs:
            near, far = (target, source) if side < 0 else (source, target)
            if depth[far] < depth[near] + 1:
                depth[far], changed = depth[near] + 1, True
        if not changed:
            break
    return depth


def _wished_y(box: Box, diagram: Diagram, arrangement: Arrangement) -> float:
    """The height of what a box beside the lanes is linked to."""
    near: list[float] = []
    for link in diagram.links:
        other = link.target if link.source is box else link.source if link.target is box else None
        if other is None:
            continue
        if other in arrangement.places and other.kind != "gap":
            row = _state_row(link, diagram, arrangement) if link.source is box else None
            near.append(arrangement.places[other].y if row is None else arrangement.row_y[row])
    if not near and box.zone == "after":
        return arrangement.row_y[-1]
    return near[0] if near else arrangement.row_y[0]


def _state_row(link: Link, diagram: Diagram, arrangement: Arrangement) -> int | None:
    """An initial state stands in the row of the states that follow it."""
    if link.source.kind not in ("initial", "cut"):
        return None
    users = {(user.origin, user.scope, user.primitive, i) for user, i in link.uses}
    for row, states in enumerate(diagram.structure.rows):
        for state in states[:2]:
            if any(
                (user.origin, user.scope, user.primitive, i) in users and user.step != state.step
                for user, i in diagram.structure.consumers(state)
            ):
                return arrangement.align_row.get(("state", row), _row_of_cell(link.target, arrangement))
    return None


def _row_of_cell(box: Box, arrangement: Arrangement) -> int:
    return arrangement.places[box].row


def _place_bars(diagram: Diagram, faces: dict[Box, Face], arrangement: Arrangement) -> None:
    """Bars across all lanes, above and below them, and the row of weights."""
    columns = arrangement.columns
    left, right = columns[0].x, columns[-1].right
    y = arrangement.top - 16
    for box in (box for box in diagram.boxes if box.zone == "top"):
        looks = faces[box]
        y -= looks.height
        arrangement.places[box] = Place((left + right) / 2, y + looks.height / 2, right - left, looks.height, 0, 0)
        y -= 14
    y = arrangement.bottom + 16
    for box in (box for box in diagram.boxes if box.zone == "bottom"):
        looks = faces[box]
        arrangement.places[box] = Place((left + right) / 2, y + looks.height / 2, right - left, looks.height, 0, 0)
        y += looks.height + 14
    weights = [box for box in diagram.boxes if box.zone == "weights"]
    if weights:
        y += 60
        total = fsum(faces[box].width for box in weights) + 24 * (len(weights) - 1)
        x = (left + right - total) / 2
        for box in weights:
            looks = faces[box]
            place = Place(x + looks.width / 2, y + looks.height / 2, looks.width, looks.height, 0, 0)
            arrangement.places[box] = place
            x += looks.width + 24
