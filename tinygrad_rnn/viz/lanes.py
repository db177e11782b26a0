"""What each lane holds, and the row of everything in it: the same row for the same state in all lanes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from .diagram import Box, Diagram, Link
from .layout import Tile, ranks, tile
from .scene import Rect


@dataclass(eq=False, slots=True)
class LaneContent:
    """What one lane holds, by number: its boxes, then a port for each edge that leaves up or down."""

    boxes: list[Box]
    edges: list[tuple[int, int]]
    links: list[Link]
    pulls: list[int]
    ports: list[tuple[Link, int]]  # +1 upward, -1 downward
    rows: list[int] = field(default_factory=list)
    tile: Tile | None = None


def lanes_of(diagram: Diagram) -> dict[int, LaneContent]:
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
                pull = -1 if not diagram.hidden or target.step > diagram.hidden[-1] else 1
            else:
                pull = side_of(diagram, source)
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


def side_of(diagram: Diagram, box: Box) -> int:
    """-1 if a box beside the lanes stands to their left: unless it starts a loop that runs backward."""
    starts = [link.target.step for link in diagram.links if link.source is box and link.target.step is not None]
    if box.kind in ("initial", "cut") and starts and len(diagram.structure.steps) > 1:
        return 1 if min(starts) == diagram.structure.steps[-1] else -1
    return 1 if box.zone == "after" else -1


def _lane(boxes: list[Box], links: list[Link]) -> LaneContent:
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
    return LaneContent(sequence, edges, kept, [0] * len(sequence), [])


def kinds_of(lanes: dict[int, LaneContent]) -> dict[Hashable, list[int]]:
    """Steps whose lanes look alike: the same boxes, linked the same way."""
    kinds: dict[Hashable, list[int]] = defaultdict(list)
    for step, lane in lanes.items():
        boxes = tuple((box.kind, box.align, box.scope, box.caption if box.kind == "op" else "") for box in lane.boxes)
        ports = tuple(direction for _, direction in lane.ports)
        kinds[boxes, tuple(lane.edges), tuple(lane.pulls), ports].append(step)
    return kinds


def assign_rows(
    diagram: Diagram, lanes: dict[int, LaneContent], kinds: dict[Hashable, list[int]]
) -> dict[Hashable, int]:
    """Assign rows: longest path, the same row for the same state in all lanes, inputs at the bottom."""
    samples = [lanes[steps[0]] for steps in kinds.values()]
    bottom = 1 if any(direction < 0 for lane in samples for _, direction in lane.ports) else 0
    below = _scope_order(samples)
    floors = [[bottom] * len(lane.boxes) + [0] * len(lane.ports) for lane in samples]
    align_row: dict[Hashable, int] = {}

    def lowest(box: Box, floor: int) -> int:
        """The lowest row that a box may have, as far as the other lanes are known."""
        if box.kind == "input":
            return floor
        aligned = align_row[box.align] if box.align is not None else 0
        total = highest["total"] + 1 if box.align == "total" else 0
        scope = highest["scope", below[box.scope]] + 1 if box.scope in below else 0
        return max(floor, aligned, total, scope)

    for _ in range(40):
        found = [ranks(floor, lane.edges) for floor, lane in zip(floors, samples, strict=True)]
        highest = _highest(samples, found, align_row)
        before = floors
        floors = [
            [*map(lowest, lane.boxes, floor), *floor[len(lane.boxes) :]]
            for lane, floor in zip(samples, floors, strict=True)
        ]
        if floors == before:
            break
    for lane, rows in zip(samples, found, strict=True):
        _raise_sources(lane, rows, bottom)
    top = max((row for lane, rows in zip(samples, found, strict=True) for row in rows[: len(lane.boxes)]), default=0)
    for steps, lane, rows in zip(kinds.values(), samples, found, strict=True):
        rows[len(lane.boxes) :] = [top + 1 if direction > 0 else 0 for _, direction in lane.ports]
        for step in steps:
            lanes[step].rows = rows
        align_row.update((box.align, row) for box, row in _aligned(lane, rows))
    return align_row


def _aligned(lane: LaneContent, rows: list[int]) -> list[tuple[Box, int]]:
    """The boxes that stand in one row with those of other lanes; inputs stay at the bottom of their own."""
    return [(b, r) for b, r in zip(lane.boxes, rows, strict=False) if b.align is not None and b.kind != "input"]


def _highest(samples: list[LaneContent], found: list[list[int]], align_row: dict[Hashable, int]) -> dict[Hashable, int]:
    """The highest row of each scope and of all below the running sum; `align_row` is raised to what was found."""
    highest: dict[Hashable, int] = defaultdict(int)
    for lane, rows in zip(samples, found, strict=True):
        for box, row in _aligned(lane, rows):
            align_row[box.align] = max(align_row.get(box.align, 0), row)
        for box, row in zip(lane.boxes, rows, strict=False):
            if box.kind not in ("input", "total", "loss"):
                highest["scope", box.scope] = max(highest["scope", box.scope], row)
            if box.align != "total":
                highest["total"] = max(highest["total"], row)
    return highest


def _raise_sources(lane: LaneContent, rows: list[int], bottom: int) -> None:
    """Move what does not depend on this step's inputs, such as h @ W_hh, up to what uses it; x_t stays below."""
    held = {at for at, box in enumerate(lane.boxes) if box.kind == "input" or box.align is not None}
    for source, target in sorted(lane.edges, key=lambda edge: edge[1]):
        if source in held:
            held.add(target)
    for at in reversed(range(len(lane.boxes))):
        users = [rows[target] for source, target in lane.edges if source == at]
        box = lane.boxes[at]
        late = box.kind == "input" and users and min(users) > bottom + 1 and _is_target(lane, at)
        if users and (late or at not in held):
            rows[at] = max(rows[at], min(users) - 1)


def _is_target(lane: LaneContent, at: int) -> bool:
    """Whether a datum only serves the loss, as the targets y_t do."""
    reached = {at}
    for source, target in sorted(lane.edges):
        reached |= {target} if source in reached else set()
    return all(lane.boxes[each].kind not in ("state", "cell") for each in reached if each < len(lane.boxes))


def _scope_order(lanes: list[LaneContent]) -> dict[str, str]:
    """For each scope the one whose rows it stands above: layers and directions become bands of rows.

    Scopes that need each other within a step cannot be stacked and are left where they fall.
    """
    needs: dict[str, set[str]] = defaultdict(set)
    together: dict[str, set[str]] = defaultdict(set)
    for lane in lanes:
        scopes = dict.fromkeys(
            box.scope for box in lane.boxes if box.kind not in ("input", "total", "loss") and box.scope
        )
        for scope in scopes:
            together[scope].update(scopes)
        under: dict[int, set[str]] = defaultdict(set)  # the scopes that each box depends on, also through others
        for source, target in sorted(lane.edges, key=lambda edge: edge[1]):
            if max(source, target) < len(lane.boxes) and lane.boxes[source].kind != "input":
                under[target] |= under[source] | {lane.boxes[source].scope}
        for at, below in under.items():
            needs[lane.boxes[at].scope] |= below - {lane.boxes[at].scope, ""}
    try:
        placed = list(TopologicalSorter({scope: needs[scope] for scope in together}).static_order())
    except CycleError:
        return {}
    found: dict[str, str] = {}
    for at, scope in enumerate(placed):
        lower = [other for other in placed[:at] if other in together[scope]]
        if lower:
            found[scope] = lower[-1]
    return found


def lay_out(lanes: dict[int, LaneContent], kinds: dict[Hashable, list[int]], faces: dict[Box, Rect]) -> None:
    for steps in kinds.values():
        group = [lanes[step] for step in steps]
        widths = [max(faces[box].width for box in boxes) for boxes in zip(*(lane.boxes for lane in group), strict=True)]
        widths += [6.0] * len(group[0].ports)
        made = tile(widths, group[0].rows, group[0].edges, group[0].pulls)
        for lane in group:
            lane.tile = made
