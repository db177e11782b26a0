"""Which operations make up one cell: the boxes of the picture's `cell` detail."""

from __future__ import annotations

from collections.abc import Hashable

from ..core.tensor import Tensor
from .classify import Reading, reads_slice


def cells(reading: Reading, shown: set[int]) -> dict[int, Hashable]:
    """Which box of its lane each node belongs to, in `cell` detail.

    Going back from the results of a step, a node joins what uses it, if that is one box only. States of rows that
    need each other across steps (c and h of an LSTM) share a cell; a result with a name has a box of its own,
    unless it is inside a cell. Work after the loop is one box for each name, too.
    """
    cell_of_row = _cell_of_row(reading)
    groups: dict[int, Hashable] = {}
    for node in reversed(reading.structure.nodes):
        step = reading.home_of(node)
        if (step not in shown and step != "after") or node.index in reading.sums or node.index in reading.bands:
            continue
        row = reading.row_of.get(node.index)
        if row is not None:
            groups[node.index] = ("cell", step, cell_of_row[row])
            continue
        users = {
            groups[user.index]
            for user, _ in reading.uses(node)
            if reading.home_of(user) == step and user.index in groups
        }
        outside = any(reading.home_of(user) != step for user, _ in reading.uses(node))
        if reads_slice(node) and node.inputs[0].index in reading.bands:
            continue  # x_t is no computation
        own: Hashable = ("head", step, node.index)
        if len(users) != 1 or outside:
            groups[node.index] = own
        else:
            (group,) = users
            inside = isinstance(group, tuple) and group[0] == "cell"
            groups[node.index] = group if inside or not reading.name_of(node) else own
    return groups


def _cell_of_row(reading: Reading) -> list[int]:
    """Rows that depend on each other in both directions share a cell: the strong components."""
    count = len(reading.structure.rows)
    needs: list[set[int]] = [set() for _ in range(count)]
    for at, row in enumerate(reading.structure.rows):
        for state in row[1:3]:
            seen, stack = {state.index}, [state]
            while stack:
                for x in stack.pop().inputs:
                    if not isinstance(x, Tensor) or x.index in seen or x.index not in reading.is_node:
                        continue
                    seen.add(x.index)
                    if x.index in reading.row_of:
                        needs[at].add(reading.row_of[x.index])
                    elif x.step == state.step:
                        stack.append(x)
    reach = [set(each) for each in needs]
    for via in range(count):
        for each in reach:
            if via in each:
                each |= reach[via]
    return [min([at, *(other for other in reach[at] if at in reach[other])]) for at in range(count)]
