"""From a graph to the boxes and links of a picture: what is drawn, in which lane, and what is said of it.

A tensor is drawn as a box in the lane of its step. Some are better said than drawn: a weight is written
on the operations that use it ("@ W_hh"), numbers likewise. `loss = loss + l_t` is drawn as a running sum
above the lanes, and an operation outside the loop on many steps (such as `stack`) as a bar across them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..flow.structure import Structure
from ..tensor import Tensor
from .text import Run, clean, name_runs, shorten, words_runs

Kind = Literal["op", "state", "cell", "initial", "input", "loss", "total", "weight", "band", "cut", "gap"]
Zone = Literal["lane", "before", "after", "top", "bottom", "weights"]
Use = tuple[Tensor, int]

SYMBOLS = {
    "add": "+",
    "subtract": "−",
    "multiply": "⊙",
    "divide": "/",
    "negative": "−",
    "power": "^",
    "matmul": "@",
    "sigmoid": "σ",
    "sum": "Σ",
    "sqrt": "√",
    "abs": "|·|",
    "cross_entropy_of_classes": "cross-entropy",
    "concatenate": "concat",
}
_VIEWS = {"transpose", "swapaxes", "reshape", "expand_dims", "broadcast_to", "astype", "negative"}
_INFIX = {"add", "subtract", "multiply", "divide", "power", "matmul"}


@dataclass(eq=False, slots=True)
class Box:
    """One box: the tensors it stands for and the words in it."""

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
    """All tensors computed inside."""
    id: str = ""

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
    kind: Literal["flow", "state", "total", "cut", "weight"] = "flow"


@dataclass(eq=False, slots=True)
class Diagram:
    """All boxes and links of the visible steps."""

    structure: Structure
    steps: list[int]
    """The visible steps, ascending."""
    hidden: list[int]
    """The steps between them that are left out."""
    gap: Box
    """Stands for all hidden steps; not among the boxes."""
    boxes: list[Box]
    links: list[Link]
    row_of: dict[int, int]
    """Creation number of a state -> its row in `structure.rows`."""


def visible_steps(steps: Sequence[int], limit: int | None) -> tuple[list[int], list[int]]:
    """Which steps are drawn and which are left out: the first 3 and the last `limit` - 5 of more than `limit`."""
    if limit is None or len(steps) <= limit:
        return list(steps), []
    first = 3 if limit >= 6 else 1
    last = max(limit // 2, 1)
    return [*steps[:first], *steps[len(steps) - last :]], list(steps[first : len(steps) - last])


def diagram(
    structure: Structure,
    detail: Literal["op", "cell"] = "op",
    weights: Literal["strip", "nodes"] = "strip",
    max_steps: int | None = 16,
) -> Diagram:
    """Decide what is drawn."""
    return _Builder(structure, detail, weights, max_steps).build()


class _Builder:
    def __init__(self, structure: Structure, detail: str, weights: str, max_steps: int | None) -> None:
        self.structure = structure
        self.detail = detail
        self.weights = weights
        self.steps, self.hidden = visible_steps(structure.steps or [0], max_steps)
        self.shown = set(self.steps)
        self.boxes: list[Box] = []
        self.box_of: dict[int, Box] = {}
        self.row_of = {state.order: at for at, row in enumerate(structure.rows) for state in row}
        self.initial = {tensor.order for tensor in structure.initial_states}
        self.cuts = {tensor.order for tensor in structure.cuts}
        self.is_node = {node.order for node in structure.nodes}
        self.sums: dict[int, int] = {}
        """Creation number of a link of a running sum -> its step."""
        self.homes = self._homes()
        self.bands = self._bands()
        self.views = self._views()
        self.captions: dict[int, str] = {}
        self.gap = Box("gap", "lane", [], (), id="hidden")

    # ------------------------------------------------------------------ where each tensor belongs
    def step_of(self, tensor: Tensor) -> int | None:
        """The step in whose lane a tensor is drawn."""
        home = self.homes.get(tensor.order, tensor.step)
        return home if isinstance(home, int) else None

    def _homes(self) -> dict[int, int | str]:
        """For what was made outside the steps: "before", "after", or the step that it is drawn in."""
        nodes = self.structure.nodes
        if not self.structure.steps:  # one lane for everything
            return {tensor.order: 0 for tensor in [*nodes, *self.structure.leaves]}
        last: dict[int, int] = {node.order: node.step for node in nodes if node.step is not None}
        homes: dict[int, int | str] = {}
        for node in nodes:
            if node.step is not None:
                if self._is_running_sum(node):
                    self.sums[node.order] = node.step
                continue
            steps = [last[x.order] for x in node.inputs if isinstance(x, Tensor) and x.order in last]
            if steps:
                last[node.order] = max(steps)
                if self._continues_sum(node):
                    self.sums[node.order] = homes[node.order] = max(
                        x.step for x in node.inputs if isinstance(x, Tensor) and x.step is not None
                    )
                else:
                    homes[node.order] = "after"
            else:
                homes[node.order] = "before"
        feeds_step: set[int] = set()
        for node in reversed(nodes):
            used = any(user.step is not None or user.order in feeds_step for user, _ in self._uses(node))
            if node.step is None and used:
                feeds_step.add(node.order)
                if homes[node.order] == "after":
                    homes[node.order] = last[node.order]
        for leaf in self.structure.leaves:
            if leaf.step is None:
                homes[leaf.order] = "before"
        return homes

    def _uses(self, tensor: Tensor) -> list[Use]:
        return self.structure.consumers(tensor)

    def _is_running_sum(self, node: Tensor) -> bool:
        """Whether `node` is one `loss = loss + l_t` of a loop."""
        if not _is_addition(node) or node.order in self.row_of:
            return False
        crosses = any(user.step is not None and user.step != node.step for user, _ in self._uses(node))
        continues = any(
            isinstance(x, Tensor)
            and x.order in self.is_node
            and x.step is not None
            and x.step != node.step
            and x.order not in self.row_of
            for x in node.inputs
        )
        return crosses or continues

    def _continues_sum(self, node: Tensor) -> bool:
        """Whether `node` is one addition of `sum(losses)`, written after the loop."""
        if not _is_addition(node) or node.size != 1:
            return False
        inside = [x for x in node.inputs if isinstance(x, Tensor) and x.step is not None and x.order in self.is_node]
        rest = [x for x in node.inputs if not any(x is each for each in inside)]
        if not inside or len({x.step for x in inside}) != len(inside):
            return False
        if all(isinstance(x, Tensor) and x.order in self.sums for x in rest):
            return bool(rest) or len(inside) == 2
        starts = all(not isinstance(x, Tensor) for x in rest)
        followers = [user for user, _ in self._uses(node)]
        return starts and any(_is_addition(user) and user.step is None for user in followers)

    def _bands(self) -> dict[int, Zone]:
        """What is drawn as a bar across the lanes: sequences that all steps read, and results of many steps."""
        found: dict[int, Zone] = {}
        enough = 2 if len(self.structure.steps) == 2 else 3
        for tensor in [*self.structure.leaves, *self.structure.nodes]:
            home = self.homes.get(tensor.order)
            if home == "before" and len(self.structure.steps) > 1:
                readers = {user.step for user, _ in self._uses(tensor) if user.step is not None and _reads_slice(user)}
                if len(readers) > 1 and all(user.step is None or _reads_slice(user) for user, _ in self._uses(tensor)):
                    found[tensor.order] = "bottom"
            elif home == "after":
                steps = {self.step_of(x) for x in tensor.inputs if isinstance(x, Tensor)} - {None}
                if len(steps) >= enough:
                    found[tensor.order] = "top"
        return found

    def name_of(self, node: Tensor) -> str | None:
        """The variable that holds `node`; the last operation of a composed function has it, the others have none."""
        if any(user.origin == node.origin for user, _ in self._uses(node)):
            return None
        return node.name

    def _views(self) -> set[int]:
        """Weights in another form, such as W.T: as good as the weight itself, wherever they are made."""
        found: set[int] = set()
        for node in self.structure.nodes:
            x = node.inputs[0]
            if node.primitive is None or node.primitive.name not in _VIEWS or not isinstance(x, Tensor):
                continue
            weight = x.is_leaf and x.requires_grad and x.order not in self.initial
            if (weight or x.order in found) and x.order not in self.bands and node is not self.structure.loss:
                found.add(node.order)
        return found

    # ------------------------------------------------------------------ drawn or said
    def is_said(self, x: object) -> bool:
        """Whether an operand is written on its consumer instead of being drawn."""
        if not isinstance(x, Tensor):
            return True
        if x.order in self.initial or x.order in self.bands or x.order in self.cuts:
            return False
        if x.order in self.views:
            return True
        if x.order in self.is_node:
            if self.homes.get(x.order) != "before":
                return False
            users = {user.step for user, _ in self._uses(x)}
            return len(users) > 1 and users != {None}
        if x.primitive is not None:  # a result without a gradient
            return True
        if x.requires_grad or self.step_of(x) is None:
            return True
        return not x.name

    def operands(self, node: Tensor) -> list[tuple[int, Tensor]]:
        """The operands that are drawn. An operation must have one, unless all it uses is said."""
        drawn = [(i, x) for i, x in enumerate(node.inputs) if isinstance(x, Tensor) and not self.is_said(x)]
        if not drawn:
            data = [
                (i, x)
                for i, x in enumerate(node.inputs)
                if isinstance(x, Tensor) and x.is_leaf and self.step_of(x) is not None and not x.requires_grad
            ]
            return data[:1]
        return drawn

    def build(self) -> Diagram:
        self._make_boxes()
        links = self._links()
        links += self._links_into_gap() if self.hidden else []
        used = {id(link.source) for link in links} | {id(link.target) for link in links}
        boxes = [box for box in self.boxes if id(box) in used or len(self.boxes) == 1]
        if self.weights == "nodes":
            boxes, links = self._with_weights(boxes, links)
        _number(boxes)
        return Diagram(self.structure, self.steps, self.hidden, self.gap, boxes, links, self.row_of)

    def _make_boxes(self) -> None:
        groups = self._cells() if self.detail == "cell" else {}
        made: dict[Hashable, Box] = {}
        data: dict[Hashable, Box] = {}
        visible = [node for node in self.structure.nodes if self._is_visible(node)]
        for node in visible:
            if self.is_said(node) and node.order not in self.bands:
                continue
            for _, x in self.operands(node):
                if x.order not in self.box_of and x.order not in self.is_node and self._is_visible(x):
                    self._leaf_box(x, data)
            group = groups.get(node.order)
            if group is None:
                self._add(self._node_box(node), node)
            elif group in made:
                box = made[group]
                box.members.append(node)
                self.box_of[node.order] = box
            else:
                made[group] = self._add(self._node_box(node), node)
        for box in made.values():
            self._name_cell(box)

    def _is_visible(self, tensor: Tensor) -> bool:
        step = self.step_of(tensor)
        return step is None or step in self.shown

    def _add(self, box: Box, tensor: Tensor) -> Box:
        box.members = [tensor]
        self.boxes.append(box)
        self.box_of[tensor.order] = box
        return box

    def _leaf_box(self, leaf: Tensor, data: dict[Hashable, Box]) -> None:
        step = self.step_of(leaf)
        if leaf.order in self.bands:
            self._add(Box("band", "bottom", [leaf], name_runs(leaf.name or "sequence")), leaf)
            return
        if leaf.order in self.initial or (leaf.order in self.cuts and not self._source_of_cut(leaf)):
            kind: Kind = "cut" if leaf.order in self.cuts else "initial"
            self._add(Box(kind, "before", [leaf], *self._initial_words(leaf)), leaf)
            return
        if leaf.order in self.cuts:
            return  # the link from what it was cut from says it
        key = (step, leaf._data.__array_interface__["data"][0], leaf.shape, leaf._data.strides, leaf.requires_grad)
        if key in data and not leaf.requires_grad:
            self.box_of[leaf.order] = data[key]  # two loops read the same x_t
            return
        zone: Zone = "before" if step is None else "lane"
        title = name_runs(leaf.name or "input", leaf.step)
        data[key] = self._add(Box("input", zone, [leaf], title, "", step, align=("input", leaf.name)), leaf)

    def _source_of_cut(self, leaf: Tensor) -> Box | None:
        assert leaf.leaf is not None
        return self.box_of.get(leaf.leaf.cut_from or 0)

    def _initial_words(self, tensor: Tensor) -> tuple[tuple[Run, ...], str]:
        """Name an initial state by the role that it plays: h at the step before the first."""
        for user, i in self._uses(tensor):
            found = self._role(user, i)
            if found is not None and user.step is not None:
                state, later = found
                return name_runs(state.name or "h", user.step - later), "initial"
        return name_runs(tensor.name or "initial state"), ""

    def _role(self, user: Tensor, i: int) -> tuple[Tensor, int] | None:
        """A state that is operand `i` of another step's `user`, and how many steps later that is."""
        site = (user.origin, user.scope, user.primitive, i)
        for row in self.structure.rows:
            for state in row[:4]:
                for other, j in self._uses(state):
                    if (other.origin, other.scope, other.primitive, j) == site and other.step != state.step:
                        return state, (other.step or 0) - (state.step or 0)
        return None

    def _node_box(self, node: Tensor) -> Box:
        step = self.step_of(node)
        zone: Zone = self.bands.get(node.order) or ("lane" if step is not None else self._side(node))
        caption = self.caption(node)
        kind: Kind = "op"
        align: Hashable = None
        if node.order in self.sums:
            kind, align = "total", "total"
        elif node.order in self.bands:
            kind = "band"
        elif node.order in self.initial:
            title, _ = self._initial_words(node)
            return Box("initial", "before", [node], title, caption)
        elif node.order in self.row_of:
            kind, align = "state", ("state", self.row_of[node.order])
        elif node is self.structure.loss or self._is_step_loss(node):
            kind, align = "loss", "loss"
        elif _reads_slice(node) and isinstance(node.inputs[0], Tensor) and node.inputs[0].order in self.bands:
            kind, align = "input", ("input", node.name)
        name = self.name_of(node) or {"state": "h", "loss": "L"}.get(kind)
        if kind == "total" and node is self.structure.loss:
            kind, title = "loss", name_runs(name or "L")
        elif kind == "total":
            title, caption = name_runs("+"), ""
        elif kind == "input":
            title, caption = name_runs(name or node.inputs[0].name or "x", step), ""
        elif name:
            title = name_runs(name, node.step if zone == "lane" and node is not self.structure.loss else None)
        else:
            title, caption = words_runs(caption), ""
        return Box(kind, zone, [node], title, caption, step, node.scope, align)

    def _side(self, node: Tensor) -> Zone:
        return "before" if self.homes[node.order] == "before" else "after"

    def _is_step_loss(self, node: Tensor) -> bool:
        """A scalar of a step that only goes into the total or out of the loop."""
        users = [user for user, _ in self._uses(node)]
        return (
            node.size == 1
            and self.step_of(node) is not None
            and all(user.order in self.sums or self.homes.get(user.order) == "after" for user in users)
        )

    # ------------------------------------------------------------------ words
    def caption(self, node: Tensor) -> str:
        """What a node does, with the operands that are not drawn: "@ W_hh", "+ b_h", "1 −", "[0:4]"."""
        found = self.captions.get(node.order)
        if found is None:
            found = self.captions[node.order] = self._caption(node)
        return found

    def _caption(self, node: Tensor) -> str:
        assert node.primitive is not None
        name = node.primitive.name
        symbol = SYMBOLS.get(name, name.replace("_", " "))
        drawn = {i for i, _ in self.operands(node)}
        if self.weights == "nodes":
            shared = {weight.order for weight in self.structure.shared_weights}
            drawn |= {i for i, x in enumerate(node.inputs) if isinstance(x, Tensor) and x.order in shared}
        if name == "getitem":
            index = _index_text(node.params.get("key"))
            return index if 0 in drawn else f"{self.mention(node.inputs[0])}{index}"
        if name in _INFIX and len(node.inputs) == 2:
            left, right = node.inputs
            if 0 in drawn and 1 in drawn:
                return symbol
            if 0 in drawn:
                return f"{symbol} {self.mention(right)}"
            if 1 in drawn:
                return f"{self.mention(left)} {symbol}"
            return f"{self.mention(left)} {symbol} {self.mention(right)}"
        if drawn or not node.inputs:
            return symbol
        return f"{symbol} {', '.join(self.mention(x) for x in node.inputs[:3])}"

    def mention(self, x: object) -> str:
        """An operand in a word."""
        if not isinstance(x, Tensor):
            value = np.asarray(x)
            return f"{value:.4g}" if value.ndim == 0 and value.dtype.kind in "iuf" else str(value)[:12]
        if x.order in self.views and not x.name:
            turned = x.primitive is not None and x.primitive.name in ("transpose", "swapaxes")
            return self.mention(x.inputs[0]) + ("ᵀ" if turned else "")
        if x.name:
            return shorten(x.name, 14)
        if x.size == 1:
            return f"{x._data.reshape(-1)[0]:.4g}"
        return "(…)" if x.primitive is not None else "const"

    # ------------------------------------------------------------------ cells
    def _cells(self) -> dict[int, Hashable]:
        """Which box of its lane each node belongs to, in `cell` detail.

        Going back from the results of a step, a node joins what uses it, if that is one box only. States of rows that
        need each other across steps (c and h of an LSTM) share a cell; a result with a name has a box of its own,
        unless it is inside a cell.
        """
        cell_of_row = self._cell_of_row()
        groups: dict[int, Hashable] = {}
        for node in reversed(self.structure.nodes):
            step = self.step_of(node)
            if step not in self.shown or node.order in self.sums:
                continue
            row = self.row_of.get(node.order)
            if row is not None:
                groups[node.order] = ("cell", step, cell_of_row[row])
                continue
            users = {
                groups[user.order]
                for user, _ in self._uses(node)
                if self.step_of(user) == step and user.order in groups
            }
            outside = any(self.step_of(user) != step for user, _ in self._uses(node))
            if _reads_slice(node) and node.inputs[0].order in self.bands:
                continue  # x_t is no computation
            own: Hashable = ("head", step, node.order)
            if len(users) != 1 or outside:
                groups[node.order] = own
            else:
                (group,) = users
                inside = isinstance(group, tuple) and group[0] == "cell"
                groups[node.order] = group if inside or not self.name_of(node) else own
        return groups

    def _cell_of_row(self) -> list[int]:
        """Rows that depend on each other in both directions share a cell: the strong components."""
        count = len(self.structure.rows)
        needs: list[set[int]] = [set() for _ in range(count)]
        for at, row in enumerate(self.structure.rows):
            for state in row[1:3]:
                seen, stack = {state.order}, [state]
                while stack:
                    for x in stack.pop().inputs:
                        if not isinstance(x, Tensor) or x.order in seen or x.order not in self.is_node:
                            continue
                        seen.add(x.order)
                        if x.order in self.row_of:
                            needs[at].add(self.row_of[x.order])
                        elif x.step == state.step:
                            stack.append(x)
        reach = [set(each) for each in needs]
        for via in range(count):
            for each in reach:
                if via in each:
                    each |= reach[via]
        return [min([at, *(other for other in reach[at] if at in reach[other])]) for at in range(count)]

    def _name_cell(self, box: Box) -> None:
        states = [node for node in box.members if node.order in self.row_of]
        named = [node for node in box.members if self.name_of(node)]
        last = box.members[-1]
        heads = states or ([named[-1]] if named else [last])
        box.tensors = heads
        if states:
            box.kind = "cell"
            box.align = ("state", self.row_of[states[0].order])
            box.scope = states[0].scope
        elif last is self.structure.loss or self._is_step_loss(last):
            box.kind, box.align, box.tensors = "loss", "loss", [last]
            heads = heads if named else [last]
        else:
            box.kind, box.align = "op", None
        runs: list[Run] = []
        for at, head in enumerate(heads):
            runs += [Run(", ")] if at else []
            name = self.name_of(head) or ("h" if states else "L" if box.kind == "loss" else None)
            runs += name_runs(name, self.step_of(head)) if name else list(words_runs(self.caption(head)))
        box.title = tuple(runs)
        said = [self.mention(x) for node in box.members for x in node.inputs if self._is_weight(x)]
        if said:
            names = list(dict.fromkeys(said))
            words = ", ".join(names)
            box.caption = words if len(words) <= 26 else f"{len(names)} weights"
        elif len(box.members) == 1 and not self.name_of(last) and box.kind == "op":
            box.caption = ""  # its title says it
        elif len(box.members) <= 3:
            box.caption = shorten(" → ".join(self.caption(node) for node in box.members), 26)
        else:
            box.caption = ""

    def _is_weight(self, x: object) -> bool:
        return isinstance(x, Tensor) and (x.requires_grad and self.is_said(x)) and x.order not in self.bands

    # ------------------------------------------------------------------ links
    def _links(self) -> list[Link]:
        found: dict[Hashable, Link] = {}
        for box in self.boxes:
            for node in box.members:
                if node.order not in self.is_node:
                    continue
                for i, x in self.operands(node):
                    source = self.box_of.get(x.order)
                    kind: Literal["flow", "state", "total", "cut", "weight"] = "flow"
                    if source is None and x.order in self.cuts:
                        source, kind = self._source_of_cut(x), "cut"
                    if source is None and self.align_of(x) is not None and not self._is_visible(x):
                        source = self.gap
                    if source is None or source is box:
                        continue
                    if source.kind == "initial" or (x.order in self.row_of and source.step != box.step):
                        kind = "state"
                    elif x.order in self.sums or node.order in self.sums:
                        kind = "total"
                    key = (id(source), id(box), x.order, *(() if self.detail == "cell" else (node.order, i)))
                    if key in found:
                        found[key].uses.append((node, i))
                    else:
                        found[key] = Link(source, box, x, [(node, i)], kind)
        return list(found.values())

    def _links_into_gap(self) -> list[Link]:
        """What the hidden steps take from the visible ones: states and the running sum."""
        found = []
        for box in self.boxes:
            for tensor in box.members:
                if self.align_of(tensor) is None and box.kind != "initial":
                    continue
                uses = [(user, i) for user, i in self._uses(tensor) if not self._is_visible(user)]
                if uses:
                    kind: Literal["total", "state"] = "total" if tensor.order in self.sums else "state"
                    found.append(Link(box, self.gap, tensor, uses, kind))
        return found

    def align_of(self, tensor: Tensor) -> Hashable:
        """The row that a state or a link of the running sum stands in; None for all else."""
        if tensor.order in self.sums:
            return "total"
        return ("state", self.row_of[tensor.order]) if tensor.order in self.row_of else None

    def _with_weights(self, boxes: list[Box], links: list[Link]) -> tuple[list[Box], list[Link]]:
        """Draw every shared weight as one box, linked to each operation that uses it."""
        for weight in self.structure.shared_weights:
            shape = "×".join(map(str, weight.shape)) or "scalar"
            box = Box("weight", "weights", [weight], name_runs(weight.name or "weight"), shape)
            uses: dict[int, tuple[Box, list[Use]]] = {}
            for user, i in self._uses(weight):
                target = self.box_of.get(user.order)
                if target is not None and target.zone == "lane":
                    uses.setdefault(id(target), (target, []))[1].append((user, i))
            boxes.append(box)
            links += [Link(box, target, weight, found, "weight") for target, found in uses.values()]
        return boxes, links


def _is_addition(node: Tensor) -> bool:
    return node.primitive is not None and node.primitive.name == "add"


def _reads_slice(node: Tensor) -> bool:
    """Whether `node` is `xs[t]`: one entry of a sequence, by a plain number."""
    return node.primitive is not None and node.primitive.name == "getitem" and type(node.params.get("key")) is int


def _index_text(key: object) -> str:
    def one(entry: object) -> str:
        if isinstance(entry, slice):
            ends = ("" if entry.start is None else str(entry.start), "" if entry.stop is None else str(entry.stop))
            return ":".join(ends) + (f":{entry.step}" if entry.step is not None else "")
        if entry is Ellipsis:
            return "…"
        return str(int(entry)) if isinstance(entry, (int, np.integer)) else "None" if entry is None else "·"

    # A Slot (an array index) is a tuple itself, and stands for one entry.
    entries = key if type(key) is tuple else (key,)
    return clean(f"[{', '.join(one(entry) for entry in entries)}]")


def _number(boxes: list[Box]) -> None:
    """Ids that are the same in every run: where a box stands, and its number there."""
    counts: dict[str, int] = defaultdict(int)
    for box in boxes:
        place = f"t{box.step}" if box.zone == "lane" else box.zone
        box.id = f"{place}_{counts[place]}"
        counts[place] += 1


__all__ = ["Box", "Diagram", "Link", "diagram", "visible_steps"]
