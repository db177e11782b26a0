"""What can be said of a recurrent graph without any gradient: its steps, states, weights and cuts.

Everything follows from the step and scope that each tensor carries, so it holds for any cell that was
written with `tg.steps`: a *state* is a tensor made in one step and used in another, a *shared weight* is
a leaf used in several steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

from ..core.arguments import checked
from ..core.cached import cached
from ..core.indexing import Slot
from ..core.tensor import Tensor
from ..debug.origin import place as place_of
from ..errors import GraphError
from ..ops import add, divide, multiply

Use = tuple[Tensor, int]
"""A consumer, and which of its operands is meant: one edge of the graph."""

State = tuple[Tensor, ...]
"""What a cell hands to the next step: one tensor, or several such as (c, h)."""


def paces(states: Sequence[State]) -> tuple[int, int]:
    """The least and the most time steps from one state to the next; 1 and 1 without steps.

    Where the numbers start again, as in a second loop from 0, nothing is counted.
    """
    steps = [state[0].step for state in states]
    apart = [after - before for before, after in pairwise(steps) if before is not None and after is not None]
    way = 1 if sum(gap > 0 for gap in apart) >= sum(gap < 0 for gap in apart) else -1
    onward = [gap * way for gap in apart if gap * way > 0]
    return (min(onward), max(onward)) if onward else (1, 1)


@dataclass(frozen=True, eq=False, repr=False)
class Structure:
    """The parts of the graph behind one loss, each in creation order unless it says otherwise, found when asked for.

    Attributes:
        nodes: results that gradients flow through.
        leaves: leaves that the nodes use: weights, initial states, and constants such as x_t.
    """

    loss: Tensor
    nodes: list[Tensor]
    leaves: list[Tensor]

    def __repr__(self) -> str:
        parts = {"step": len(self.steps), "state": len(self.states), "shared weight": len(self.shared_weights)}
        parts |= {"cut": len(self.cuts)} if self.cuts else {}
        return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in parts.items())

    @cached
    def steps(self) -> list[int]:
        """The numbers of the time steps, ascending."""
        return sorted({node.step for node in self.nodes if node.step is not None})

    @cached
    def states(self) -> list[Tensor]:
        """Tensors made in one step and used in another, with the last of each row; in step order."""
        return sorted((state for row in self.rows for state in row), key=lambda state: (state.step, state.index))

    @cached
    def rows(self) -> list[list[Tensor]]:
        """The states again, one list for each layer and direction, each in the order it was computed."""
        uses, sites, totals = defaultdict(list, self._uses), self._sites, self.running_totals
        for leaf in self.cuts:  # a state is one though no gradient comes back to it
            assert leaf.cut_from is not None
            uses[leaf.cut_from] = uses[leaf.cut_from] + self.consumers(leaf)
        recurrent = {
            sites[node.index] for node in self.nodes if node.index not in totals and _crosses(node, uses[node.index])
        }
        rows: dict[Hashable, list[Tensor]] = defaultdict(list)
        for node in self.nodes:
            if node.step is not None and sites[node.index] in recurrent:
                rows[sites[node.index]].append(node)
        return list(rows.values())

    @cached
    def layers(self) -> list[list[State]]:
        """The rows of one scope and direction side by side: for each step of an LSTM its (c_t, h_t).

        They run through the same steps; the last tensor of one may be in no use, and missing.
        """
        together: dict[Hashable, list[list[Tensor]]] = defaultdict(list)
        for row in sorted(self.rows, key=len, reverse=True):
            alike = [key for key, (first, *_) in together.items() if _same_steps(first, row)]
            together[alike[0] if alike else row[0].index].append(row)
        groups = [sorted(group, key=lambda row: row[0].index) for group in together.values()]
        return [
            [tuple(row[k] for row in group if k < len(row)) for k in range(max(map(len, group)))]
            for group in sorted(groups, key=lambda group: group[0][0].index)
        ]

    @cached
    def shared_weights(self) -> list[Tensor]:
        """Leaves that require a gradient and are used in several steps."""
        used_in: dict[int, tuple[int, ...]] = {}  # up to two steps that a tensor is used in, also through such as W.T

        def two_steps(tensor: Tensor) -> tuple[int, ...]:
            found: set[int] = set()
            for user, _ in self.consumers(tensor):
                found.update(used_in[user.index] if user.step is None else (user.step,))
                if len(found) > 1:
                    break
            return tuple(found)[:2]

        for node in reversed(self.nodes):
            if node.step is None:
                used_in[node.index] = two_steps(node)
        shared = [leaf for leaf in self.leaves if leaf.requires_grad and len(two_steps(leaf)) > 1]
        return [leaf for leaf in shared if not _is_sequence(self.consumers(leaf))]

    @cached
    def initial_states(self) -> list[Tensor]:
        """Tensors from outside any step where later steps have a state, such as h_0."""

        def begins(tensor: Tensor) -> bool:
            cut = tensor.cut_from is not None
            outside = tensor.step is None or (tensor.is_leaf and not cut)
            return outside and any(
                user.step is not None and self.role(user, i) is not None for user, i in self.consumers(tensor)
            )

        return list(filter(begins, sorted(self.leaves + self.nodes, key=attrgetter("index"))))

    @cached
    def cuts(self) -> list[Tensor]:
        """Leaves made by `detach`; their `cut_from` is the creation number of the tensor cut off."""
        return [leaf for leaf in self.leaves if leaf.cut_from is not None]

    @cached
    def running_totals(self) -> set[int]:
        """Creation numbers of what steps hand on only to add it up into the loss: `loss = loss + l_t` is no memory."""
        stepped = {node.index for node in self.nodes if node.step is not None}
        added = only_added(self.loss, self.nodes, self.consumers, stepped)
        found = [node for node in self.nodes if node.index in added]
        places = {self._sites[node.index] for node in found if _crosses(node, self.consumers(node))}
        return {node.index for node in found if self._sites[node.index] in places}

    def consumers(self, tensor: Tensor) -> list[Use]:
        """Each `(consumer, i)` with `consumer.inputs[i] is tensor`, in creation order."""
        return self._uses.get(tensor.index, [])

    def hoisted(self, weight: Tensor) -> dict[int, Tensor]:
        """The results computed from `weight` outside any step, by creation number."""
        found: dict[int, Tensor] = {}
        stack = [weight]
        while stack:
            for user, _ in self.consumers(stack.pop()):
                if user.step is None and user.index not in found:
                    found[user.index] = user
                    stack.append(user)
        return found

    def role(self, user: Tensor, i: int) -> tuple[Tensor, int] | None:
        """A state that fills the place of operand `i` of `user` in another step, and how many steps later."""
        return self._roles.get((self._sites.get(user.index), i))

    def weight_name(self, weight: Tensor) -> str:
        """The weight's name; those without one are "weight #1", ... in the order of their first use.

        No variable can be called so: W₁ would be taken for the user's own W1.
        """
        return weight.name or self._numbered.get(weight.index, "unnamed")

    @cached
    def _numbered(self) -> dict[int, str]:
        initial = {tensor.index for tensor in self.initial_states}
        unnamed = [x for x in self.leaves if x.requires_grad and not x.name and x.index not in initial]
        unnamed.sort(key=lambda leaf: (self.consumers(leaf)[0][0].index, self.consumers(leaf)[0][1]))
        return {leaf.index: f"weight #{at}" for at, leaf in enumerate(unnamed, start=1)}

    @cached
    def _uses(self) -> dict[int, list[Use]]:
        uses: dict[int, list[Use]] = defaultdict(list)
        for node in self.nodes:
            for i, operand in enumerate(node.inputs):
                if type(operand) is Tensor:
                    uses[operand.index].append((node, i))
        return dict(uses)

    @cached
    def _sites(self) -> dict[int, Hashable]:
        """Which place of the loop body each node was made at; the same for its counterparts in other steps.

        A line that runs several times in a step (a loop over layers) is several sites, and so is one in a loop over
        the steps that is run again.
        """
        runs: dict[Hashable, tuple[int | None, int, int, set[int | None]]] = {}
        sites: dict[int, Hashable] = {}
        for node in self.nodes:
            place = (place_of(node.origin), node.scope, node.primitive)
            step, times, run, seen = runs.get(place, (-1, 0, 0, set()))
            if step == node.step:
                times += 1
            else:
                times = 0
                if node.step in seen:
                    run, seen = run + 1, set()
                seen.add(node.step)
            runs[place] = node.step, times, run, seen
            sites[node.index] = (place, run, times)
        return sites

    @cached
    def _roles(self) -> dict[Hashable, tuple[Tensor, int]]:
        roles: dict[Hashable, tuple[Tensor, int]] = {}
        for state in (state for row in self.rows for state in row):
            for user, i in self.consumers(state):
                if state.step is not None and user.step is not None and user.step != state.step:
                    roles.setdefault((self._sites[user.index], i), (state, user.step - state.step))
        return roles


@checked
def structure(loss: Tensor) -> Structure:
    """Read the structure of the graph behind `loss`, in time linear in its size.

    Raises:
        GraphError: there is no graph behind it.
    """
    if loss.primitive is None:
        raise GraphError(
            f"a loss is wanted and {loss.describe()} was given, which has no graph behind it; pass a loss made from "
            "a Tensor with requires_grad=True, outside no_grad()"
        )
    return Structure(loss, *_reachable(loss))


def _reachable(loss: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Nodes and leaves behind `loss`. Unlike the engine's own walk it asks no leaf whether it has changed."""
    seen = {loss.index}
    nodes, leaves, stack = [], [], [loss]
    while stack:
        node = stack.pop()
        nodes.append(node)
        for operand in node.inputs:
            if type(operand) is Tensor and operand.index not in seen:
                if operand.primitive is None:
                    leaves.append(operand)
                elif operand.requires_grad:
                    stack.append(operand)
                else:
                    continue
                seen.add(operand.index)
    return sorted(nodes, key=attrgetter("index")), sorted(leaves, key=attrgetter("index"))


def _same_steps(longer: list[Tensor], row: list[Tensor]) -> bool:
    """Whether two rows are made side by side in one loop, and not one after the other in two."""
    pairs = list(zip(longer[:2], row[:2], strict=False))
    made = longer[0].scope == row[0].scope and all(a.step == b.step for a, b in pairs)
    return made and (
        len(longer) < 2 or max(longer[0].index, row[0].index) < min(x.index for x in (*longer[1:2], *row[1:2]))
    )


def _crosses(node: Tensor, uses: list[Use]) -> bool:
    return node.step is not None and any(user.step not in (None, node.step) for user, _ in uses)


def only_added(
    loss: Tensor, nodes: list[Tensor], consumers: Callable[[Tensor], list[Use]], within: Container[int]
) -> set[int]:
    """Creation numbers of what is only added to, until it is the loss; outside the steps also times a constant.

    Args:
        loss: the loss.
        nodes: of its graph.
        consumers: of a node.
        within: creation numbers of what is made in a step.
    """

    def adds(user: Tensor, i: int) -> bool:
        assert user.primitive is not None
        if user.index in within:
            return user.primitive is add
        if user.primitive is not multiply and user.primitive is not divide:
            return user.primitive.traits.linear
        other = user.inputs[1 - i]
        return not (isinstance(other, Tensor) and other.requires_grad) and not (user.primitive is divide and i == 1)

    added = {loss.index}
    for node in reversed(nodes):
        users = consumers(node)
        if users and all(user.index in added and adds(user, i) for user, i in users):
            added.add(node.index)
    return added


def _is_sequence(uses: list[Use]) -> bool:
    """Whether each step reads a slice of its own, as `tg.steps` and `xs[:, t]` read a sequence."""
    reader: dict[str, int | None] = {}
    for user, _ in uses:
        if "key" not in user.attrs:
            return False
        key = user.attrs["key"]
        if any(type(entry) is Slot for entry in (key if type(key) is tuple else (key,))):
            return False  # rows looked up by number, as in an embedding
        if reader.setdefault(repr(key), user.step) != user.step:
            return False
    return True


__all__ = ["Structure", "Use", "only_added", "paces", "structure"]
