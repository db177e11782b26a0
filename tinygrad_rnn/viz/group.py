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
    reach: list[set[int]] = []
    for row in reading.structure.rows:
        seen: set[int] = set()
        stack = row[1:3]
        while stack:
            node = stack.pop()
            for x in node.inputs:
                if isinstance(x, Tensor) and x.index in reading.is_node and x.index not in seen:
                    seen.add(x.index)
                    stack += [x] if x.index not in reading.row_of and x.step == node.step else []
        reach.append({reading.row_of[index] for index in seen & reading.row_of.keys()})
    for via, found in enumerate(reach):
        for each in reach:
            each |= found if via in each else set()
    return [min([at, *(other for other in found if at in reach[other])]) for at, found in enumerate(reach)]
