"""Credit assignment through time: the gradient of each step's loss with respect to each step's state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..core.arguments import checked
from ..core.backprop import seed_of
from ..core.tensor import Array, Tensor
from ..errors import GraphError
from .layout import Layout
from .reach import sizes
from .structure import State
from .sweep import ToStates


@checked
def credit(losses: Sequence[Tensor], states: Sequence[Tensor | Sequence[Tensor]]) -> Array:
    """The matrix C[t, k] = |dL_t / dh_k|: how much the loss of step t depends on the state of step k.

    One backward pass for every loss, all side by side, on the graph as it is, and only through what leads to the
    states. In a network that runs forward in time C is zero above the diagonal. The norm is over the whole batch.

    Args:
        losses: a scalar for each step, or only one (the loss at the last step).
        states: h_k of one layer and direction, in the order they were computed; a tuple such as (h_k, c_k) counts as
            one state, whose tensors are treated as independent variables.

    Returns:
        (len(losses), len(states)), float64. Entries that no gradient reaches are 0; so are those of one that
        has shrunk below the smallest normal number of its dtype.

    Raises:
        GraphError: a loss is not a scalar or has no graph; a state does not require a gradient.
    """
    targets = as_states(states)
    outputs = as_losses(losses)
    sweep = ToStates(outputs, targets)
    with np.errstate(all="ignore"):  # overflow is an answer here: the gradient explodes
        return sizes(Layout(targets, apart=False), sweep, [[(x, seed_of(x, None, "credit"))] for x in outputs])[:, 0]


def as_losses(losses: Tensor | Iterable[Tensor], caller: str = "credit") -> list[Tensor]:
    """The losses as a list, each checked to be a scalar with a graph.

    Raises:
        GraphError: one is not, or there is none.
    """
    listed = [losses] if isinstance(losses, Tensor) else list(losses)
    if not listed:
        raise GraphError(f"{caller}: got no losses, expected a scalar tensor for each step")
    for loss in listed:
        seed_of(loss, None, caller)
    return listed


def as_states(states: Iterable[Tensor | Sequence[Tensor]], caller: str = "credit") -> list[State]:
    """Each state as a tuple of tensors.

    Raises:
        GraphError: one does not require a gradient, or there is none.
    """
    listed = [tuple(state) if isinstance(state, list | tuple) else (state,) for state in states]
    if not listed:
        raise GraphError(f"{caller}: got no states, expected the list of h_t that the loop made")
    for state in listed:
        for tensor in state:
            if not tensor.requires_grad:
                raise GraphError(
                    f"{caller}: got {tensor.describe()} among the states, which does not require a gradient; pass the "
                    "tensors h_t of the loop as they are, without detach() or .data"
                )
    return listed


__all__ = ["credit"]
