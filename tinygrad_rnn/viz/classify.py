"""How a graph is read for a picture: where each tensor belongs, what is drawn of it, and what is only said.

Some tensors are better said than drawn: a weight, or another form of it such as W.T, is written on the operations
that use it ("@ W_hh"); numbers likewise. A running sum of losses is told apart from a state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Literal

import numpy as np

from ..core.indexing import Slot
from ..core.tensor import Tensor
from ..debug.origin import place
from ..flow.structure import Structure, Use
from ..ops import add, negative
from ..ops.indexing import getitem_p
from .text import clean, shorten

Side = Literal["bottom", "top"]


class Reading:
    """What a picture must know of each tensor, by creation number.

    Attributes:
        sums: links of a running sum -> the step that they are drawn in.
        homes: what was made outside the steps -> "before", "after", or the step that it is drawn in.
        gathered: what was made outside the steps of several of them, and so is that of none.
        bands: what is drawn as a bar across the lanes -> on which side of them.
        views: weights in another form, such as W.T.
        row_of: states -> their row in `structure.rows`.
        constants: arrays without a name, such as a mask, that several steps read.
        initial, cuts, is_node: initial states, detached leaves, and results that gradients flow through.
    """

    def __init__(self, structure: Structure, weights: str) -> None:
        self.structure = structure
        self.weights = weights
        self.row_of = {state.index: at for at, row in enumerate(structure.rows) for state in row}
        self.initial = {tensor.index for tensor in structure.initial_states}
        self.cuts = {tensor.index for tensor in structure.cuts}
        self.is_node = {node.index for node in structure.nodes}
        self.sums: dict[int, int] = {}
        self.homes: dict[int, int | str] = {}
        self.gathered: set[int] = set()
        self._find_homes()
        self.bands = self._bands()
        self.views = self._views()
        self.constants = self._constants()

    def home_of(self, tensor: Tensor) -> int | str | None:
        """The step that a tensor is drawn in, or "before" or "after" all of them."""
        return self.homes.get(tensor.index, tensor.step)

    def step_of(self, tensor: Tensor) -> int | None:
        """The step in whose lane a tensor is drawn."""
        home = self.home_of(tensor)
        return home if isinstance(home, int) else None

    def _find_homes(self) -> None:
        nodes, homes = self.structure.nodes, self.homes
        if not self.structure.steps:  # one lane for everything
            homes.update((tensor.index, 0) for tensor in [*nodes, *self.structure.leaves])
            return
        feeds: set[int] = set()  # what is made outside the steps and used in one
        for node in reversed(nodes):
            if node.step is None and any(user.step is not None or user.index in feeds for user, _ in self.uses(node)):
                feeds.add(node.index)
        span = self._spans()
        apart = {span[node.index] for node in nodes if node.step is None and node.index in span}
        several = len({first for first, last in apart if first == last}) > 1
        for node in nodes:
            first, last = span.get(node.index, (None, None))
            if node.step is not None:
                if node.index in self.structure.running_totals and node.primitive is add:
                    self.sums[node.index] = node.step
            elif first is None:  # what feeds no step is such as a penalty on a weight
                homes[node.index] = "before" if node.index in feeds else "after"
            elif self._continues_sum(node):
                inside = (self.step_of(x) for x in node.inputs if isinstance(x, Tensor))
                self.sums[node.index] = homes[node.index] = max(step for step in inside if step is not None)
            elif several and first == last:
                homes[node.index] = first
            else:
                homes[node.index] = last if last is not None and node.index in feeds else "after"
                self.gathered |= {node.index} if first != last else set()
        for leaf in self.structure.leaves:
            if leaf.step is None:
                users = {user.step for user, _ in self.uses(leaf)}
                data = not leaf.requires_grad and len(users) == 1 < len(self.structure.steps)
                only = next(iter(users))
                homes[leaf.index] = only if data and only is not None else "before"  # entry t of a list of inputs

    def _spans(self) -> dict[int, tuple[int, int]]:
        """The first and the last step that each node is made from.

        What is made after the loop from one step only, such as the terms of `sum(squared_error(y, t) for y, t in
        zip(ys, ts))`, belongs to this step.
        """
        found: dict[int, tuple[int, int]] = {}
        for node in self.structure.nodes:
            behind = [found[x.index] for x in node.inputs if isinstance(x, Tensor) and x.index in found]
            if node.step is not None:
                found[node.index] = node.step, node.step
            elif behind:
                found[node.index] = min(first for first, _ in behind), max(last for _, last in behind)
        return found

    def uses(self, tensor: Tensor) -> list[Use]:
        return self.structure.consumers(tensor)

    def _continues_sum(self, node: Tensor) -> bool:
        """Whether `node` is one addition of `sum(losses)`, written after the loop."""
        if node.primitive is not add or node.size != 1:
            return False
        terms = [x for x in node.inputs if isinstance(x, Tensor) and (x.index not in self.sums or x.step is not None)]
        inside = [x for x in terms if (x.index in self.is_node or x.step is not None) and self.step_of(x) is not None]
        rest = [x for x in node.inputs if not any(x is each for each in inside)]
        if not inside or len({self.step_of(x) for x in inside}) != len(inside):
            return False
        if all(isinstance(x, Tensor) and x.index in self.sums for x in rest):
            return bool(rest) or len(inside) == 2
        starts = all(not isinstance(x, Tensor) for x in rest)
        followers = [user for user, _ in self.uses(node)]
        return starts and any(user.primitive is add and user.step is None for user in followers)

    def _bands(self) -> dict[int, Side]:
        """What is drawn as a bar across the lanes: sequences that all steps read, and results of many steps."""
        found: dict[int, Side] = {}
        enough = 2 if len(self.structure.steps) == 2 else 3
        for tensor in [*self.structure.leaves, *self.structure.nodes]:
            home = self.homes.get(tensor.index)
            if home == "before" and len(self.structure.steps) > 1:
                readers = {user.step for user, _ in self.uses(tensor) if user.step is not None and reads_slice(user)}
                if len(readers) > 1 and all(user.step is None or reads_slice(user) for user, _ in self.uses(tensor)):
                    found[tensor.index] = "bottom"
            elif home == "after":
                steps = {self.step_of(x) for x in tensor.inputs if isinstance(x, Tensor)} - {None}
                if len(steps) >= enough:
                    found[tensor.index] = "top"
        return found

    def _views(self) -> set[int]:
        """Weights in another form, such as W.T: as good as the weight itself, wherever they are made."""
        found: set[int] = set()
        if not self.structure.steps:  # there every leaf is drawn, and what is made of it
            return found
        for node in self.structure.nodes:
            x = node.inputs[0]
            if not isinstance(x, Tensor) or not _is_same_in_another_form(node, x):
                continue
            weight = x.is_leaf and x.requires_grad and x.index not in self.initial
            if (weight or x.index in found) and x.index not in self.bands and node is not self.structure.loss:
                found.add(node.index)
        return found

    def _constants(self) -> set[int]:
        alike: dict[Hashable, list[Tensor]] = defaultdict(list)
        for leaf in self.structure.leaves:
            if not leaf.requires_grad and not leaf.name and leaf.step is not None and leaf.index not in self.initial:
                alike[memory_of(leaf)].append(leaf)
        several = (leaves for leaves in alike.values() if len({leaf.step for leaf in leaves}) > 1)
        return {leaf.index for leaves in several for leaf in leaves}

    # ------------------------------------------------------------------ drawn or said
    def name_of(self, node: Tensor) -> str | None:
        """The variable that holds `node`; the last operation of a composed function has it, the others have none.

        A use in another step is none of the same function: `h = h + update` uses the h before it at the same place.
        """
        step, at = self.step_of(node), place(node.origin)
        if any(self.step_of(user) == step and place(user.origin) == at for user, _ in self.uses(node)):
            return None
        return node.name

    def is_said(self, x: object) -> bool:
        """Whether an operand is written on its consumer instead of being drawn."""
        if not isinstance(x, Tensor):
            return True
        if x.index in self.initial or x.index in self.bands or x.index in self.cuts:
            return False
        if x.index in self.views:
            return True
        if x.index in self.is_node:
            if self.homes.get(x.index) != "before":
                return False
            users = {user.step for user, _ in self.uses(x)}
            return len(users) > 1 and users != {None}
        if x.primitive is not None:  # a result without a gradient
            return True
        if not self.structure.steps:
            return not x.name and not x.requires_grad and x.size == 1  # a number
        if x.requires_grad or self.step_of(x) is None:
            return True
        return not x.name and x.step is not None

    def operands(self, node: Tensor) -> list[tuple[int, Tensor]]:
        """The operands that are drawn. An operation must have one, unless all it uses is said."""
        tensors = [(i, x) for i, x in enumerate(node.inputs) if isinstance(x, Tensor)]
        data = [(i, x) for i, x in tensors if x.is_leaf and self.step_of(x) is not None and not x.requires_grad]
        data = [(i, x) for i, x in data if x.index not in self.constants]
        return [(i, x) for i, x in tensors if not self.is_said(x)] or data[:1]

    # ------------------------------------------------------------------ words
    def caption(self, node: Tensor) -> str:
        """What a node does, with the operands that are not drawn: "@ W_hh", "+ b_h", "1 −", "[0:4]"."""
        assert node.primitive is not None
        name, traits = node.primitive.name, node.primitive.traits
        drawn = {i for i, _ in self.operands(node)}
        if self.weights == "nodes":
            shared = {weight.index for weight in self.structure.shared_weights}
            drawn |= {i for i, x in enumerate(node.inputs) if isinstance(x, Tensor) and x.index in shared}
        if node.primitive is getitem_p:
            index = index_text(node.attrs.get("key"))
            return index if 0 in drawn else f"{self.mention(node.inputs[0])}{index}"
        if traits.infix:
            words = ("" if i in drawn else self.mention(x) for i, x in enumerate(node.inputs))
            return traits.describe(name, tuple(words)).strip()
        if drawn or not node.inputs:
            said = [x for i, x in enumerate(node.inputs) if isinstance(x, Tensor) and i not in drawn]
            weights = [x for x in said if x.index in self.views or (x.is_leaf and x.requires_grad)]
            return " ".join([traits.label(name), ", ".join(map(self.mention, weights))]).strip()
        return f"{traits.label(name)} {', '.join(self.mention(x) for x in node.inputs[:3])}"

    def mention(self, x: object) -> str:
        """An operand in a word."""
        if not isinstance(x, Tensor):
            value = np.asarray(x)
            return f"{value:.4g}" if value.ndim == 0 and value.dtype.kind in "iuf" else str(value)[:12]
        if x.index in self.views and not x.name:
            form = x.primitive.traits.formula if x.primitive is not None else ""
            return (form or "{0}").format(self.mention(x.inputs[0]))
        if x.name:
            return shorten(x.name, 14)
        if x.is_leaf and x.requires_grad:
            return self.structure.weight_name(x)
        if x.size == 1:
            return f"{x._array.reshape(-1)[0]:.4g}"
        return "(…)" if x.primitive is not None else "const"


def _is_same_in_another_form(node: Tensor, x: Tensor) -> bool:
    """Whether `node` is x reshaped, transposed, broadcast, cast or negated."""
    p = node.primitive
    if p is None or len(node.inputs) != 1:
        return False
    return p is negative or p.traits.alias == "view" or (p.traits.moves and node.size == x.size)


def memory_of(leaf: Tensor) -> Hashable:
    """Equal for leaves that are views of the same entries of one NumPy array."""
    array = leaf._array if leaf.copied_from is None else leaf.copied_from
    return array.__array_interface__["data"][0], leaf.shape, array.strides


def reads_slice(node: Tensor) -> bool:
    """Whether `node` is `xs[t]`: one entry of a sequence, by a plain number."""
    return node.primitive is getitem_p and type(node.attrs.get("key")) is int


def index_text(key: object, names: Iterable[str] = ()) -> str:
    """What is read of a tensor: "[0:4]", "[…, ids]"; `names` are those of the arrays among the indices."""
    rest = iter(names)

    def one(entry: object) -> str:
        if isinstance(entry, slice):
            ends = ("" if entry.start is None else str(entry.start), "" if entry.stop is None else str(entry.stop))
            return ":".join(ends) + (f":{entry.step}" if entry.step is not None else "")
        if entry is Ellipsis:
            return "…"
        if type(entry) is Slot:
            return next(rest, "·")
        return str(int(entry)) if isinstance(entry, (int, np.integer)) else "None" if entry is None else "·"

    # A Slot (an array index) is a tuple itself, and stands for one entry.
    entries = key if type(key) is tuple else (key,)
    return clean(f"[{', '.join(one(entry) for entry in entries)}]")
