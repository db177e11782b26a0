"""Truncated BPTT as one call: cut the state, and the gradient stops there."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.tensor import Tensor
from ..errors import DTypeError


def truncate(state: Any) -> Any:
    """The same state without its history: gradients stop here, and pictures draw a cut.

    The past is forgotten by the graph, not by the network: values go on, memory is freed.

        for chunk in chunks:                      # k1 = k2 = len(chunk)
            y, state = model(chunk, tg.truncate(state))
            loss(y).backward()

    Args:
        state: a tensor, a tuple or list of them such as an LSTM's (h, c), nested as you like, or None.

    Raises:
        DTypeError: it holds anything else.
    """
    if state is None or isinstance(state, np.ndarray):
        return state
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, (tuple, list)):
        return type(state)(truncate(part) for part in state)
    raise DTypeError(f"truncate: got {type(state).__name__}, expected a Tensor, or a tuple or list of them")


__all__ = ["truncate"]
