"""Backpropagation through time by hand: the simple recurrent network (Elman 1990). NumPy only.

Forward, with row vectors (a batch is a stack of rows), for t = 1 .. T:

    z_t = x_t W_xh + h_(t-1) W_hh + b_h         L   = sum_t l_t(y_t)
    h_t = tanh(z_t)
    y_t = h_t W_hy + b_y

The loss sees h_t in two ways: through y_t at once, and through h_(t+1) for the rest of the sequence. So

    dL/dy_t = l_t'(y_t)                                     softmax(y_t) - onehot, or 2 (y_t - target)
    dL/dh_t = dL/dy_t W_hy^T  +  dL/dz_(t+1) W_hh^T         (1)   the second term is 0 at t = T
    dL/dz_t = dL/dh_t * (1 - h_t^2)                         (2)   tanh' = 1 - tanh^2

which is a recurrence from t = T down to 1. Every step used the same weights, so each weight's gradient is a sum with
one term a step, its contribution G_t:

    dL/dW_xh = sum_t x_t^T     dL/dz_t                      dL/db_h = sum_t dL/dz_t
    dL/dW_hh = sum_t h_(t-1)^T dL/dz_t                      dL/dW_hy = sum_t h_t^T dL/dy_t
    dL/dh_0  = dL/dz_1 W_hh^T                               dL/db_y = sum_t dL/dy_t

Unrolling (1) and (2) gives the product of Jacobians that vanishes or explodes:

    dL/dh_k = sum_(t>=k) dl_t/dh_t  prod_(j=k+1..t) dh_j/dh_(j-1),      dh_j/dh_(j-1) = W_hh diag(1 - h_j^2)

Truncated BPTT (Williams and Peng 1990) runs the recurrence every k1 steps, back over k2 steps only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.arguments import Positive, checked
from .problem import Gradients, LossName, Reduction, problem


@checked
def rnn(
    params: Mapping[str, Any],
    xs: Any,
    targets: Any,
    h0: Any = None,
    *,
    loss: LossName = "softmax_cross_entropy",
    reduction: Reduction = "mean",
    k1: Positive | None = None,
    k2: Positive | None = None,
) -> Gradients:
    """The gradients of the simple RNN, by the equations above.

    Args:
        params: W_xh (I, H), W_hh (H, H), b_h (H,), W_hy (H, C) and b_y (C,).
        xs, targets, loss, reduction, k1, k2: see `problem`.
        h0: the initial state, (B, H) or (H,); zeros by default.

    Returns:
        The loss, every parameter's gradient, every step's dL/dh_t and contribution to each weight, dL/dh_0 and the
        final state, which is the next sequence's `h0`.

    Raises:
        InputError, ShapeError: as `problem`.
    """
    p = problem("rnn", params, xs, targets, {"h": h0}, loss, reduction, k1, k2)
    W_hh, W_hy = p.params["W_hh"], p.params["W_hy"]
    B, H = p.initial["h"].shape
    T = p.T

    h = np.empty((T + 1, B, H))  # h[t + 1] is the state after step t, h[0] the initial one
    h[0] = p.initial["h"]
    value, dy = 0.0, np.empty((T, B, len(p.params["b_y"])))
    for t in range(T):
        h[t + 1] = np.tanh(p.xs[t] @ p.params["W_xh"] + h[t] @ W_hh + p.params["b_h"])
        y = h[t + 1] @ W_hy + p.params["b_y"]
        value += float(p.loss.value(y, p.targets[t])) * p.scale
        dy[t] = p.loss.derivative(y, p.targets[t]) * p.scale

    G = {name: np.zeros((T, *W.shape)) for name, W in p.params.items()}
    dh, dh0 = np.zeros((T, B, H)), np.zeros((B, H))
    for start, first, end in p.windows:
        from_future = np.zeros((B, H))
        for t in reversed(range(start, end)):
            dh_t = from_future
            if t >= first:
                dh_t = dh_t + dy[t] @ W_hy.T  # (1)
                G["W_hy"][t] += h[t + 1].T @ dy[t]
                G["b_y"][t] += dy[t].sum(0)
            dz = dh_t * (1 - h[t + 1] ** 2)  # (2)
            G["W_xh"][t] += p.xs[t].T @ dz
            G["W_hh"][t] += h[t].T @ dz
            G["b_h"][t] += dz.sum(0)
            dh[t] += dh_t
            from_future = dz @ W_hh.T
        if start == 0:
            dh0 += from_future
    return Gradients(
        loss=value,
        parameters={name: g.sum(0) for name, g in G.items()},
        per_step=G,
        states={"h": dh},
        initial={"h0": dh0},
        final={"h": h[T]},
    )


__all__ = ["rnn"]
