"""The recorded graph run once more with something changed: an experiment on a copy, without the user's function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from ..core.context import context
from ..core.tensor import Array, Tensor, make_result
from .structure import Structure

Change = Callable[[Tensor, Callable[[Any], Any]], Any]
"""From a tensor of the graph, and what gives the copy of a tensor, to the copy of that tensor; or None: unchanged."""


class _Place(NamedTuple):
    """Stands for the frame that a tensor was made in, so that its copy is named and drawn as the original is."""

    f_code: CodeType
    f_lasti: int


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
                y = (
                    primitive.function(arrays, **node.attrs)
                    if primitive.variadic
                    else primitive.function(*arrays, **node.attrs)
                )
                place: Any = _Place(node._code, node._offset) if node._code is not None else None
                made = make_result(
                    np.asarray(y, node.dtype),
                    primitive,
                    operands,
                    node.attrs,
                    True,
                    node.step,
                    node.scope,
                    place,
                    node._name,
                )
            copies[node.index] = made
    return copies


__all__ = ["replay"]
