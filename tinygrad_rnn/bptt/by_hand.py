"""The loop forward and the loop back that the derivations of all cells share. NumPy only.

h_t reaches the loss through y_t = h_t W_hy + b_y at once, and through step t + 1. So, from t = T down to 1,

    dL/dh_t = dL/dy_t W_hy^T + what step t + 1 sends back      (1)

A cell adds its equations for one step: `forward`, and `backward`, which gives dL/dW of this step's use of every
weight, and what it sends back to the states before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..core.arguments import Positive, checked
from .gru import GRU
from .lstm import LSTM
from .problem import Arrays, CellName, Equations, Gradients, LossName, Problem, Reduction, problem
from .rnn import RNN

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


def by_hand(p: Problem, equations: Equations | None = None) -> Gradients:
    """The gradients of a problem, step by step; by default with the equations of its cell."""
    cell, W = equations or CELLS[p.cell], p.params
    states, kept, dy = [dict(p.initial)], [], []
    value = 0.0
    for x, target in zip(p.xs, p.targets, strict=True):
        state, for_later = cell.forward(x, states[-1], W)
        y = state["h"] @ W["W_hy"] + W["b_y"]
        value += float(p.loss.value(y, target)) * p.scale
        states.append(state)  # states[t + 1] is the one after step t
        kept.append(for_later)
        dy.append(p.loss.derivative(y, target) * p.scale)

    G = {name: np.zeros((p.T, *w.shape)) for name, w in W.items()}
    dstates = {name: np.zeros((p.T, *h.shape)) for name, h in p.initial.items()}
    dinitial = {name: np.zeros_like(h) for name, h in p.initial.items()}
    for start, first, end in p.windows:
        d: Arrays = {name: np.zeros_like(h) for name, h in p.initial.items()}
        for t in reversed(range(start, end)):
            if t >= first:
                d["h"] = d["h"] + dy[t] @ W["W_hy"].T  # (1)
                G["W_hy"][t] += states[t + 1]["h"].T @ dy[t]
                G["b_y"][t] += dy[t].sum(0)
            whole, contributions, d = cell.backward(p.xs[t], states[t], kept[t], d, W)
            for name, g in contributions.items():
                G[name][t] += g
            for name, g in whole.items():
                dstates[name][t] += g
        if start == 0:
            dinitial = {name: dinitial[name] + g for name, g in d.items()}
    return Gradients(
        loss=value,
        parameters={name: g.sum(0) for name, g in G.items()},
        per_step=G,
        states=dstates,
        initial={f"{name}0": g for name, g in dinitial.items()},
        final=states[-1],
    )


def _reference(cell: CellName, weights: str) -> Callable[..., Gradients]:
    def gradients(
        params: Mapping[str, Any],
        xs: Any,
        targets: Any,
        h0: Any = None,
        c0: Any = None,
        *,
        loss: LossName = "softmax_cross_entropy",
        reduction: Reduction = "mean",
        k1: Positive | None = None,
        k2: Positive | None = None,
    ) -> Gradients:
        return by_hand(problem(cell, params, xs, targets, {"h": h0, "c": c0}, loss, reduction, k1, k2))

    gradients.__name__ = gradients.__qualname__ = cell
    gradients.__doc__ = f"""The gradients by the equations of `bptt/{cell}.py`.

    Args:
        params: {weights}, and the readout W_hy (H, C) and b_y (C,).
        xs: inputs (T, B, I), or (T, I) for a batch of one, or class numbers (T, B) or (T,), read as one-hot vectors.
        targets: for cross-entropy class numbers (T, B) or (T,); for squared error values (T, B, C) or (T, C).
        h0, c0: the initial state, (B, H) or (H,); zeros by default. Only an LSTM has a c.
        loss: "softmax_cross_entropy" or "squared_error", at every step.
        reduction: "mean" over all steps, rows and components, or "sum".
        k1, k2: truncated BPTT: every k1 steps go back k2 steps, for the losses of the last k1. By default all the
            way; with only `k2`, k1 = k2, the sequence is cut into pieces of that length.

    Returns:
        The loss, every parameter's gradient, every step's dL/dh_t and contribution to each weight, dL/dh_0 and the
        final state, which is what the next sequence starts from.

    Raises:
        InputError: an unknown parameter name or c0 of another cell than an LSTM, or k1, k2 below 1, or k2 below k1.
        ShapeError: an array does not fit the others.
    """
    return checked(gradients)


_BLOCKS = (
    "weight_ih_l0 ({n}H, I), weight_hh_l0 ({n}H, H), bias_ih_l0 and bias_hh_l0 ({n}H,), blocks in the order {order}"
)

rnn = _reference("rnn", "W_xh (I, H), W_hh (H, H) and b_h (H,)")
lstm = _reference("lstm", _BLOCKS.format(n=4, order="i, f, g, o"))
gru = _reference("gru", _BLOCKS.format(n=3, order="r, z, n"))

__all__ = ["by_hand", "gru", "lstm", "rnn"]
