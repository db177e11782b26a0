"""How much gradient gets through a stretch of steps."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..core.backprop import edge_gradients
from ..core.tensor import Tensor
from .gradients import Gradients
from .norms import norm
from .structure import State
from .sweep import ToStates, between


def passed(flow: Gradients, states: Sequence[State], steps: Collection[int]) -> float | None:
    """What the steps after a stretch send to its first state, through all of it, relative to the gradient there.

    Of one step that is its gain. Over several it is not the product of theirs: an LSTM's c and h exchange what they
    hold, losses within the stretch add to what passes, and vectors turn.

    Args:
        flow: the gradients.
        states: of one layer and direction; a state's tensors count together, as in `credit`.
        steps: of the stretch, in one piece.

    Returns:
        |what arrives at the first state of the stretch from behind it| / |gradient of the first state behind it|; 0
        where the path is cut; nan where either is not finite; None where the layer has no state within or behind the
        stretch, or one without a gradient.
    """
    ordered = sorted(states, key=lambda state: state[0].index)
    inside = [state for state in ordered if state[0].step in steps]
    behind = [state for state in ordered if inside and state[0].index > inside[-1][0].index]
    if not behind:
        return None
    with np.errstate(all="ignore"):  # what is not finite is an answer here
        start = [(flow.loss, np.ones(flow.loss.shape, flow.loss.dtype))]
        there = ToStates([flow.loss], [behind[0]]).gradients([start]).get(0)
        size = norm(*(rows.values for rows in there)) if there else 0.0
        if size == 0:
            return None
        own = [tensor for state in inside for tensor in state]
        path = between([tensor for state in behind for tensor in state], own)
        seeds = [
            (tensor, message)
            for tensor in own
            for user, i in flow.structure.consumers(tensor)
            if user.step not in steps and user.index in path and (message := _message(flow, user, i)) is not None
        ]
        arrived = ToStates(own, inside).gradients([seeds]).get(0)
        sent = norm(*(rows.values for rows in arrived)) if arrived else 0.0
        return sent / size if np.isfinite(sent) and np.isfinite(size) else float("nan")


def _message(flow: Gradients, user: Tensor, i: int) -> object:
    g = flow.gradient(user)
    return None if g is None else edge_gradients(user, g, useful={user.inputs[i].index})[i]


__all__ = ["passed"]
