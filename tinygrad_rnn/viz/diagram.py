"""From a graph to the boxes and links of a picture: what is drawn, in which lane, and what is said of it.

A tensor is drawn as a box in the lane of its step. `loss = loss + l_t` is drawn as a running sum above the lanes,
and an operation outside the loop on many steps (such as `stack`) as a bar across them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from textwrap import wrap
from typing import Literal

from ..core.tensor import Tensor
from ..flow.structure import Structure, Use
from .classify import Reading, memory_of, reads_slice
from .group import cells
from .scene import Rect
from .text import Run, name_runs, shape_of, words_runs

Kind = Literal["op", "state", "cell", "initial", "input", "loss", "total", "weight", "band", "cut", "gap"]
Zone = Literal["lane", "before", "after", "top", "bottom", "weights"]
LinkKind = Literal["flow", "state", "total", "cut", "weight"]


@dataclass(eq=False, slots=True)
class Box:
    """One box: the tensors it stands for, the words in it, and where it is."""

    kind: Kind
    zone: Zone
    tensors: list[Tensor]
    """What it computes and hands on; in `cell` detail several, the states first."""
    title: tuple[Run, ...]
    caption: str = ""
    step: int | None = None
    scope: str = ""
    align: Hashable = None
    """Boxes of different lanes with the same value stand in one row."""
    members: list[Tensor] = field(default_factory=list)
    """All tensors computed inside; by default `tensors`."""
    id: str = ""
    rect: Rect = field(init=False)
    """How it looks (`measure.face`) and where it stands (`Arrangement`)."""
    lane: int = 0
    """Its column, -1 to the left of all, and `row`, from the bottom up."""
    row: int = 0
    free: tuple[bool, bool] = (True, True)
    """Whether nothing stands to its left and to its right in its own lane and row."""

    def __post_init__(self) -> None:
        self.members = self.members or self.tensors

    @property
    def tensor(self) -> Tensor:
        return self.tensors[0]


@dataclass(eq=False, slots=True)
class Link:
    """An edge: `source` is an operand of `target`."""

    source: Box
    target: Box
    tensor: Tensor
    """Which tensor of the source is used."""
    uses: list[Use]
    kind: LinkKind = "flow"


def visible_steps(steps: Sequence[int], limit: int | None) -> tuple[list[int], list[int]]:
    """Which steps are drawn and which are left out: the first 3 and the last of more than `limit`, `limit` in all."""
    if limit is None or len(steps) <= limit:
        return list(steps), []
    first = 3 if limit >= 6 else 1
    last = limit - first
    return [*steps[:first], *steps[len(steps) - last :]], list(steps[first : len(steps) - last])


class Diagram:
    """All boxes and links of the visible steps: what is drawn, decided by the arguments of `unrolled`.

    Attributes:
        structure: of the graph.
        steps, hidden: the visible steps, ascending, and those between them that are left out.
        gap: stands for all hidden steps; not among the boxes.
        boxes, links: what is drawn.
        row_of: creation number of a state -> its row in `structure.rows`.
        restarts: row -> the steps before which its state is cut off from its past, or replaced by another one; -1: of
            no row.
        pulls: which boxes stand at the left (-1) or right (1) end of their lane, as far as it goes.
    """

    def __init__(self, structure: Structure, detail: str, weights: str, max_steps: int | None) -> None:
        self.structure = structure
        self.detail = detail
        self.read = Reading(structure, weights)
        self.row_of = self.read.row_of
        self.steps, self.hidden = visible_steps(structure.steps or [0], max_steps)
        self.shown = set(self.steps)
        self.gap = Box("gap", "lane", [], (), id="hidden")
        self.boxes: list[Box] = []
        self.box_of: dict[int, Box] = {}
        self.nodes = {node.index: node for node in structure.nodes}
        self._make_boxes()
        self.links = self._links() + (self._links_into_gap() if self.hidden else [])
        used = {id(link.source) for link in self.links} | {id(link.target) for link in self.links}
        self.boxes = [box for box in self.boxes if id(box) in used or len(self.boxes) == 1]
        if weights == "nodes":
            self._add_weights()
        self.restarts = self._restarts()
        self.pulls: dict[Box, int] = {}
        counts: dict[str, int] = defaultdict(int)
        for box in self.boxes:  # ids that are the same in every run: where a box stands, and its number there
            place = f"t{box.step}" if box.zone == "lane" else box.zone
            box.id = f"{place}_{counts[place]}"
            counts[place] += 1

    def _make_boxes(self) -> None:
        groups = cells(self.read, self.shown) if self.detail == "cell" else {}
        members: dict[Hashable, list[Tensor]] = defaultdict(list)
        for node in self.structure.nodes:
            if self._is_visible(node) and (node.index in self.read.bands or not self.read.is_said(node)):
                members[groups.get(node.index, node)].append(node)
        data: dict[Hashable, Box] = {}
        for node in sorted(chain(*members.values()), key=attrgetter("index")):
            for _, x in self.read.operands(node):
                if x.index not in self.box_of and x.index not in self.read.is_node and self._is_visible(x):
                    self._leaf_box(x, data)
            if node.index not in self.box_of:
                self._add(self._node_box(members[groups.get(node.index, node)], node.index in groups))

    def _is_visible(self, tensor: Tensor) -> bool:
        step = self.read.step_of(tensor)
        return step is None or step in self.shown

    def _add(self, box: Box) -> Box:
        self.boxes.append(box)
        self.box_of.update((tensor.index, box) for tensor in box.members)
        return box

    def _leaf_box(self, leaf: Tensor, data: dict[Hashable, Box]) -> None:
        step = self.read.step_of(leaf)
        if leaf.index in self.read.bands:
            self._add(Box("band", "bottom", [leaf], name_runs(leaf.name or "sequence")))
            return
        is_cut = leaf.index in self.read.cuts
        if is_cut and self._source_of_cut(leaf):
            return  # the link from what it was cut from says it
        same: Hashable = (step, memory_of(leaf), leaf.requires_grad)  # such as one NumPy array
        if is_cut or leaf.index in self.read.initial:
            box = self._initial_box(leaf)
            same = (same, box.title, box.caption, box.align)
        else:
            zone: Zone = "before" if step is None else "lane"
            name = self.structure.weight_name(leaf) if leaf.requires_grad else leaf.name or "data"
            title = name_runs(name, step if self.structure.steps else None)
            box = Box("input", zone, [leaf], title, "", step, align=("input", leaf.name))
        if same in data and not leaf.requires_grad:  # two loops read the same x_t, or several operations a first state
            self.box_of[leaf.index] = data[same]
        else:
            data[same] = self._add(box)

    def _source_of_cut(self, leaf: Tensor) -> Box | None:
        source = self._cut_from(leaf)
        return self.gap if source is not None and not self._is_visible(source) else self.box_of.get(leaf.cut_from or 0)

    def _cut_from(self, leaf: Tensor) -> Tensor | None:
        return self.nodes.get(leaf.cut_from or 0)

    def _restarts(self) -> dict[int, list[int]]:
        found: dict[int, set[int]] = defaultdict(set)
        for leaf in self.structure.leaves:
            source, is_cut = self._cut_from(leaf), leaf.index in self.read.cuts
            for user, i in self.read.uses(leaf) if is_cut or leaf.index in self.read.initial else ():
                if user.step is None:
                    continue
                if source is not None:
                    if source.step not in (None, user.step):
                        found[self.read.row_of.get(source.index, -1)].add(user.step)
                elif role := self.structure.role(user, i):
                    row = self.read.row_of[role[0].index]
                    if is_cut or any(state.step == user.step - role[1] for state in self.structure.rows[row]):
                        found[row].add(user.step)
                elif is_cut:
                    found[-1].add(user.step)
        return {row: sorted(steps) for row, steps in found.items()}

    def _initial_box(self, tensor: Tensor, caption: str | None = None) -> Box:
        """An initial state, named by the role that it plays: h at the step before the first."""
        is_cut = tensor.index in self.read.cuts
        kind: Kind = "cut" if is_cut else "initial"
        for user, i in self.read.uses(tensor):
            found = self.structure.role(user, i)
            if found is not None and user.step is not None:
                state, lag = found
                words = ("detached" if is_cut else "initial") if caption is None else caption
                title = name_runs(state.name or "h", user.step - lag)
                return Box(kind, "before", [tensor], title, words, align=("state", self.read.row_of[state.index]))
        return Box(kind, "before", [tensor], name_runs(tensor.name or "initial state"), caption or "")

    def _node_box(self, members: list[Tensor], is_group: bool) -> Box:
        """The box of one operation, or of a group of them (see `cells`)."""
        read, node, last = self.read, members[0], members[-1]
        states = [each for each in members if each.index in self.row_of]
        named = [each for each in members if read.name_of(each)]
        heads = states or named[-1:] or [last]
        kind: Kind = "op"
        align: Hashable = None
        if node.index in read.sums:
            kind, align = "loss" if node is self.structure.loss else "total", "total"
        elif node.index in read.bands:
            kind = "band"
        elif node.index in read.initial and not is_group:
            return self._initial_box(node, read.caption(node))
        elif states:
            kind, align = "cell" if is_group else "state", ("state", self.row_of[states[0].index])
        elif last is self.structure.loss or self._is_step_loss(last):
            kind, align = "loss", "loss"
        elif reads_slice(node) and isinstance(node.inputs[0], Tensor) and node.inputs[0].index in read.bands:
            kind, align = "input", ("input", node.name)
        title: list[Run] = []
        for head in heads:
            name = read.name_of(head) or {"state": "h", "cell": "h", "loss": "L"}.get(kind)
            name = name or (node.inputs[0].name or "x" if kind == "input" else None)
            of_step = self.structure.steps and head is not self.structure.loss and head.index not in read.gathered
            step = read.step_of(head) if of_step else None
            title += [Run(", ")] if title else []
            title += name_runs(name, step) if name else words_runs(read.caption(head))
        if kind in ("total", "input"):
            caption = ""
        elif is_group:
            caption = self._group_caption(members, bool(named) or kind != "op")
        else:
            caption = read.caption(node) if named or kind in ("state", "loss") else ""
        step = read.step_of(node)
        side: Zone = "before" if read.homes.get(node.index) == "before" else "after"
        zone: Zone = read.bands.get(node.index) or ("lane" if step is not None else side)
        tensors = [last] if kind == "loss" else heads
        words = name_runs("+") if kind == "total" else tuple(title)
        return Box(kind, zone, tensors, words, caption, step, (states or members)[0].scope, align, members)

    def _group_caption(self, members: list[Tensor], has_name: bool) -> str:
        """The weights in a group, or else what it does, if that is short."""
        operands = [x for node in members for x in node.inputs if isinstance(x, Tensor) and x.requires_grad]
        weights = [x for x in operands if self.read.is_said(x) and x.index not in self.read.bands]
        names = list(dict.fromkeys(map(self.read.mention, weights)))
        if names:
            lines = wrap(", ".join(names), 14, break_long_words=False)
            return "\n".join(lines) if len(lines) <= 2 else f"{len(names)} weights"
        if len(members) == 1 and not has_name:
            return ""  # its title says it
        words = " → ".join(map(self.read.caption, members))
        return words if len(words) <= 16 else ""

    def _is_step_loss(self, node: Tensor) -> bool:
        """A scalar of a step that only goes into the total or out of the loop."""
        users = [user for user, _ in self.read.uses(node)]
        return (
            node.size == 1
            and self.read.step_of(node) is not None
            and all(user.index in self.read.sums or self.read.homes.get(user.index) == "after" for user in users)
        )

    def _links(self) -> list[Link]:
        found: dict[Hashable, Link] = {}
        for box in self.boxes:
            for node in box.members:
                if node.index not in self.read.is_node:
                    continue
                for i, x in self.read.operands(node):
                    source = self.box_of.get(x.index)
                    kind: LinkKind = "flow"
                    if source is None and x.index in self.read.cuts:
                        source, kind = self._source_of_cut(x), "cut"
                        cut_from = self._cut_from(x)
                        x = x if cut_from is None else cut_from
                    if source is None and self.align_of(x) is not None and not self._is_visible(x):
                        source = self.gap
                    if source is None or source is box:
                        continue
                    if kind == "cut":
                        pass
                    elif source.kind == "initial" or (x.index in self.read.row_of and source.step != box.step):
                        kind = "state"
                    elif x.index in self.read.sums or node.index in self.read.sums:
                        kind = "total"
                    x = source.tensor if source.tensors and x.is_leaf else x  # of leaves that show the same array, one
                    key = (id(source), id(box), x.index, *(() if self.detail == "cell" else (node.index, i)))
                    found.setdefault(key, Link(source, box, x, [], kind)).uses.append((node, i))
        return list(found.values())

    def _links_into_gap(self) -> list[Link]:
        """What the hidden steps take from the visible ones: states and the running sum."""
        found = []
        for box in self.boxes:
            for tensor in box.members:
                if self.align_of(tensor) is None and box.kind != "initial":
                    continue
                uses = [(user, i) for user, i in self.read.uses(tensor) if not self._is_visible(user)]
                if uses:
                    kind: LinkKind = "total" if tensor.index in self.read.sums else "state"
                    found.append(Link(box, self.gap, tensor, uses, kind))
        for leaf in self.structure.cuts:
            source = self._cut_from(leaf)
            is_read = not all(self._is_visible(user) for user, _ in self.read.uses(leaf))
            if source is not None and source.index in self.box_of and is_read:
                found.append(Link(self.box_of[source.index], self.gap, source, [], "cut"))
        return found

    def align_of(self, tensor: Tensor) -> Hashable:
        """The row that a state or a link of the running sum stands in; None for all else."""
        if tensor.index in self.read.sums:
            return "total"
        return ("state", self.read.row_of[tensor.index]) if tensor.index in self.read.row_of else None

    def _add_weights(self) -> None:
        """Draw every shared weight as one box, linked to each operation that uses it."""
        for weight in self.structure.shared_weights:
            title = name_runs(self.structure.weight_name(weight))
            box = Box("weight", "weights", [weight], title, shape_of(weight))
            uses: dict[Box, list[Use]] = defaultdict(list)
            stack, seen = [weight], {weight.index}
            while stack:
                for user, i in self.read.uses(stack.pop()):
                    target = self.box_of.get(user.index)
                    if target is not None and target.zone == "lane":
                        uses[target].append((user, i))
                    elif self.read.is_said(user) and user.index not in seen:  # such as W.T; not what is hidden
                        seen.add(user.index)
                        stack.append(user)
            self.boxes.append(box)
            self.links += [Link(box, target, weight, found, "weight") for target, found in uses.items()]
