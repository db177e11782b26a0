"""The recorded graph run once more with something changed: an experiment on a copy, without the user's function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..core.context import context
from ..core.tensor import Array, Tensor, make_result
from .structure import Structure

Copy = Callable[[Any], Any]
"""From an operand to its copy."""

Change = Callable[[Tensor, Copy], Any]
"""From a tensor of the graph, and what gives the copy of a tensor, to the copy of that tensor; or None: unchanged."""


def replay(graph: Structure, leaves: Mapping[int, Array], change: Change | None = None) -> dict[int, Tensor]:
    """Copies of all results of a graph, by the creation number of the original.

    What was computed without a gradient, such as masks and inputs, is as it was. A Python `if` on a value is not asked
    again.

    Args:
        graph: of the loss.
        leaves: other arrays for leaves, by creation number.
        change: other copies for results.
    """
    copies: dict[int, Tensor] = {index: Tensor(array, requires_grad=True) for index, array in leaves.items()}

    def copy(operand: Any) -> Any:
        return copies.get(operand.index, operand) if type(operand) is Tensor else operand

    for node in graph.nodes:
        primitive = node.primitive
        assert primitive is not None
        with context(step=node.step, scope=node.scope, loop=None):
            made = None if change is None else change(node, copy)
            if made is None:
                operands = tuple(map(copy, node.inputs))
                arrays = [x._array if type(x) is Tensor else x for x in operands]
                y = np.asarray(primitive.compute(*arrays, **node.attrs), node.dtype)
                code, offset = node.origin or (None, 0)
                made = make_result(
                    y, primitive, operands, node.attrs, True, node.step, node.scope, code, offset, node._name
                )
            copies[node.index] = made
    return copies


__all__ = ["replay"]
