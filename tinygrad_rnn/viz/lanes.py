"""What each lane holds, and the row of everything in it: the same row for the same state in all lanes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from .diagram import Box, Diagram, Link
from .layout import Tile, tile


@dataclass(eq=False, slots=True)
class LaneContent:
    """What one lane holds, by number: its boxes, then a port for each edge that leaves up or down."""

    boxes: list[Box]
    edges: list[tuple[int, int]]
    links: list[Link]
    pulls: list[int]
    ports: list[tuple[Link, int]]  # +1 upward, -1 downward
    rows: list[int] = field(init=False)
    tile: Tile = field(init=False)


def lanes_of(diagram: Diagram) -> tuple[dict[int, LaneContent], dict[Hashable, int]]:
    """What each lane holds, laid out, by step; and in which row boxes of different lanes stand together, by `align`.

    A picture without steps has one lane, numbered 0. Lanes that look alike, with the same boxes linked the same way,
    are laid out once.
    """
    lanes = _sorted(diagram)
    kinds: dict[Hashable, list[LaneContent]] = defaultdict(list)
    for lane in lanes.values():
        boxes = tuple((box.kind, box.align, box.scope, box.caption if box.kind == "op" else "") for box in lane.boxes)
        ports = tuple(direction for _, direction in lane.ports)
        kinds[boxes, tuple(lane.edges), tuple(lane.pulls), ports].append(lane)
    samples = [alike[0] for alike in kinds.values()]
    align_row = _assign_rows(samples)
    for alike in kinds.values():
        first = alike[0]
        widths = [max(box.rect.width for box in boxes) for boxes in zip(*(lane.boxes for lane in alike), strict=True)]
        made = tile(widths + [6.0] * len(first.ports), first.rows, first.edges, first.pulls)
        for lane in alike:
            lane.rows, lane.tile = first.rows, made
    return lanes, align_row


def _sorted(diagram: Diagram) -> dict[int, LaneContent]:
    """Boxes and links by lane."""
    by_step: dict[int, list[Box]] = {step: [] for step in diagram.steps}
    for box in diagram.boxes:
        if box.zone == "lane" and box.step is not None:
            by_step[box.step].append(box)
    inside: dict[int, list[Link]] = defaultdict(list)
    for link in diagram.links:
        if _in_lane(link.source) and _in_lane(link.target) and link.source.step == link.target.step:
            inside[link.source.step or 0].append(link)
    lanes = {step: _lane(boxes, inside[step]) for step, boxes in by_step.items()}
    for link in diagram.links:
        source, target = link.source, link.target
        upward = target.zone == "top" and _in_lane(source)
        if upward or (source.zone in ("bottom", "weights") and _in_lane(target)):
            box = source if upward else target
            lane = lanes[box.step or 0]
            end, port = lane.boxes.index(box), len(lane.pulls)
            lane.ports.append((link, 1 if upward else -1))
            lane.edges.append((end, port) if upward else (port, end))
            lane.links.append(link)
            lane.pulls.append(0)
        elif _in_lane(target) and target.step is not None and source.step != target.step:
            start = diagram.hidden[-1] if source.kind == "gap" else source.step
            pull = side_of(diagram, source) if start is None else -1 if start < target.step else 1
            lane = lanes[target.step]
            lane.pulls[lane.boxes.index(target)] = pull
    for box, pull in diagram.pulls.items():
        lane = lanes[box.step or 0]
        lane.pulls[lane.boxes.index(box)] = pull
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
    made = {box: float(box.members[-1].index) for box in boxes}
    made |= {link.source: link.uses[0][0].index - 0.5 for link in reversed(links) if link.source.tensor.is_leaf}
    sequence = sorted(boxes, key=made.__getitem__)  # data just before its first use
    number = {box: at for at, box in enumerate(sequence)}
    kept = [link for link in links if number[link.source] < number[link.target]]
    edges = [(number[link.source], number[link.target]) for link in kept]
    return LaneContent(sequence, edges, kept, [0] * len(sequence), [])


def _assign_rows(samples: list[LaneContent]) -> dict[Hashable, int]:
    """Assign rows: longest path, the same row for the same state in all lanes, inputs at the bottom."""
    bottom = 1 if any(direction < 0 for lane in samples for _, direction in lane.ports) else 0
    scope_below = _scope_order(samples)
    row: dict[Hashable, int] = defaultdict(int)  # by lane and number, or by `align`
    names: list[list[Hashable]] = []
    above: list[tuple[Hashable, Hashable, int]] = []  # so many rows at least must the second be above the first
    for at, lane in enumerate(samples):
        name: list[Hashable] = [(at, number) for number in range(len(lane.pulls))]
        for number, box in enumerate(lane.boxes):
            if box.kind != "input":  # inputs stay at the bottom of their own lane
                name[number] = name[number] if box.align is None else box.align
                above += [(("scope", scope_below[box.scope]), name[number], 1)] if box.scope in scope_below else []
            if box.kind not in ("input", "total", "loss"):
                above.append((name[number], ("scope", box.scope), 0))
            is_sum = box.align == "total"
            above.append(("below the sum", name[number], 1) if is_sum else (name[number], "below the sum", 0))
            row[name[number]] = bottom
        above += [(name[source], name[target], 1) for source, target in sorted(lane.edges, key=lambda edge: edge[1])]
        names.append(name)
    for _ in range(40):
        before = dict(row)
        for lower, upper, rows in above:
            row[upper] = max(row[upper], row[lower] + rows)
        if row == before:
            break
    for lane, name in zip(samples, names, strict=True):
        lane.rows = [row[each] for each in name]
        _raise_sources(lane, bottom)
    top = max((row for lane in samples for row in lane.rows[: len(lane.boxes)]), default=0)
    for lane in samples:
        lane.rows[len(lane.boxes) :] = [top + 1 if direction > 0 else 0 for _, direction in lane.ports]
    return row


def _raise_sources(lane: LaneContent, bottom: int) -> None:
    """Move what does not depend on this step's inputs, such as h @ W_hh, up to what uses it; x_t stays below."""
    held = {at for at, box in enumerate(lane.boxes) if box.kind == "input" or box.align is not None}
    for source, target in sorted(lane.edges, key=lambda edge: edge[1]):
        if source in held:
            held.add(target)
    for at in reversed(range(len(lane.boxes))):
        users = [lane.rows[target] for source, target in lane.edges if source == at]
        box = lane.boxes[at]
        late = box.kind == "input" and users and min(users) > bottom + 1 and _is_target(lane, at)
        if users and (late or at not in held):
            lane.rows[at] = max(lane.rows[at], min(users) - 1)


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
