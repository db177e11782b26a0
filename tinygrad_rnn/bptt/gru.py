"""Backpropagation through time by hand: the gated recurrent unit (Cho et al. 2014), as PyTorch defines it. NumPy only.

Forward, in PyTorch's layout: the rows of weight_ih_l0 (3H, I), weight_hh_l0 (3H, H) and of both biases (3H,) are the
blocks of r, z, n, in this order. With W for weight_ih_l0, R for weight_hh_l0 and row vectors:

    [u_r u_z u_n] = x_t W^T + b_ih              r = sigmoid(u_r + v_r)      reset gate
    [v_r v_z v_n] = h_(t-1) R^T + b_hh          z = sigmoid(u_z + v_z)      update gate
                                                n = tanh(u_n + r * v_n)     candidate: r gates *after* the product
    h_t = (1 - z) * n + z * h_(t-1)
    y_t = h_t W_hy + b_y

h_t reaches the loss through y_t, through the products v_(t+1), and directly as z_(t+1) * h_t. So

    dL/dh_t = dL/dy_t W_hy^T + dL/dv_(t+1) R + dL/dh_(t+1) * z_(t+1)        (1)
    dL/du_n = dL/dh_t * (1 - z) * (1 - n^2)
    dL/du_z = dL/dh_t * (h_(t-1) - n) * z (1 - z)
    dL/du_r = dL/du_n * v_n * r (1 - r)
    dL/dv   = [dL/du_r, dL/du_z, dL/du_n * r]                               (2)

and one term a step for every weight:

    dL/dW = sum_t dL/du_t^T x_t          dL/db_ih = sum_t dL/du_t
    dL/dR = sum_t dL/dv_t^T h_(t-1)      dL/db_hh = sum_t dL/dv_t
    dL/dh_0 = dL/dv_1 R + dL/dh_1 * z_1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.arguments import Positive, checked
from .lstm import sigmoid
from .problem import Gradients, LossName, Reduction, problem


@checked
def gru(
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
    """The gradients of the GRU, by the equations above.

    Args:
        params: weight_ih_l0 (3H, I), weight_hh_l0 (3H, H), bias_ih_l0 and bias_hh_l0 (3H,), blocks in the order
            r, z, n, and the readout W_hy (H, C) and b_y (C,).
        xs, targets, loss, reduction, k1, k2: see `problem`.
        h0: the initial state, (B, H) or (H,); zeros by default.

    Returns:
        As `rnn`.

    Raises:
        InputError, ShapeError: as `problem`.
    """
    p = problem("gru", params, xs, targets, {"h": h0}, loss, reduction, k1, k2)
    W, R, W_hy = p.params["weight_ih_l0"], p.params["weight_hh_l0"], p.params["W_hy"]
    B, H = p.initial["h"].shape
    T = p.T

    h = np.empty((T + 1, B, H))  # h[t + 1] is the state after step t, h[0] the initial one
    h[0] = p.initial["h"]
    r, z, n, v_n = (np.empty((T, B, H)) for _ in range(4))
    value, dy = 0.0, np.empty((T, B, len(p.params["b_y"])))
    for t in range(T):
        u_r, u_z, u_n = np.split(p.xs[t] @ W.T + p.params["bias_ih_l0"], 3, axis=1)
        v_r, v_z, v_n[t] = np.split(h[t] @ R.T + p.params["bias_hh_l0"], 3, axis=1)
        r[t] = sigmoid(u_r + v_r)
        z[t] = sigmoid(u_z + v_z)
        n[t] = np.tanh(u_n + r[t] * v_n[t])
        h[t + 1] = (1 - z[t]) * n[t] + z[t] * h[t]
        y = h[t + 1] @ W_hy + p.params["b_y"]
        value += float(p.loss.value(y, p.targets[t])) * p.scale
        dy[t] = p.loss.derivative(y, p.targets[t]) * p.scale

    G = {name: np.zeros((T, *w.shape)) for name, w in p.params.items()}
    dh, dh0 = np.zeros((T, B, H)), np.zeros((B, H))
    for start, first, end in p.windows:
        from_future = np.zeros((B, H))
        for t in reversed(range(start, end)):
            dh_t = from_future
            if t >= first:
                dh_t = dh_t + dy[t] @ W_hy.T  # (1)
                G["W_hy"][t] += h[t + 1].T @ dy[t]
                G["b_y"][t] += dy[t].sum(0)
            du_n = dh_t * (1 - z[t]) * (1 - n[t] ** 2)
            du_z = dh_t * (h[t] - n[t]) * z[t] * (1 - z[t])
            du_r = du_n * v_n[t] * r[t] * (1 - r[t])
            du = np.concatenate([du_r, du_z, du_n], axis=1)
            dv = np.concatenate([du_r, du_z, du_n * r[t]], axis=1)  # (2)
            G["weight_ih_l0"][t] += du.T @ p.xs[t]
            G["weight_hh_l0"][t] += dv.T @ h[t]
            G["bias_ih_l0"][t] += du.sum(0)
            G["bias_hh_l0"][t] += dv.sum(0)
            dh[t] += dh_t
            from_future = dv @ R + dh_t * z[t]
        if start == 0:
            dh0 += from_future
    return Gradients(
        loss=value,
        parameters={name: contributions.sum(0) for name, contributions in G.items()},
        per_step=G,
        states={"h": dh},
        initial={"h0": dh0},
        final={"h": h[T]},
    )


__all__ = ["gru"]
