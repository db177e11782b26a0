"""Backpropagation through time by hand: the LSTM (Hochreiter and Schmidhuber 1997, Gers et al. 2000). NumPy only.

Forward, in PyTorch's layout: the rows of weight_ih_l0 (4H, I), weight_hh_l0 (4H, H) and of both biases (4H,) are the
blocks of the gates i, f, g, o, in this order. With W for weight_ih_l0, R for weight_hh_l0 and row vectors:

    [a_i a_f a_g a_o] = x_t W^T + b_ih + h_(t-1) R^T + b_hh
    i = sigmoid(a_i)   f = sigmoid(a_f)   g = tanh(a_g)   o = sigmoid(a_o)
    c_t = f * c_(t-1) + i * g
    h_t = o * tanh(c_t)
    y_t = h_t W_hy + b_y

h_t reaches the loss through y_t and through the gates of step t+1; c_t through h_t and through c_(t+1). So

    dL/dh_t = dL/dy_t W_hy^T + dL/da_(t+1) R                (1)
    dL/dc_t = dL/dh_t * o * (1 - tanh^2 c_t)  +  dL/dc_(t+1) * f_(t+1)      (2)   no weight, no tanh': the carousel
    dL/da_i = dL/dc_t * g       * i (1 - i)
    dL/da_f = dL/dc_t * c_(t-1) * f (1 - f)
    dL/da_g = dL/dc_t * i       * (1 - g^2)
    dL/da_o = dL/dh_t * tanh c_t * o (1 - o)                (3)

and with dL/da_t for the four blocks side by side, one term a step for every weight:

    dL/dW = sum_t dL/da_t^T x_t        dL/dR = sum_t dL/da_t^T h_(t-1)        dL/db_ih = dL/db_hh = sum_t dL/da_t
    dL/dh_0 = dL/da_1 R                dL/dc_0 = dL/dc_1 * f_1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.arguments import Positive, checked
from .problem import Array, Gradients, LossName, Reduction, problem


@checked
def lstm(
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
    """The gradients of the LSTM, by the equations above.

    Args:
        params: weight_ih_l0 (4H, I), weight_hh_l0 (4H, H), bias_ih_l0 and bias_hh_l0 (4H,), gates in the order
            i, f, g, o, and the readout W_hy (H, C) and b_y (C,).
        xs, targets, loss, reduction, k1, k2: see `problem`.
        h0, c0: the initial hidden and cell state, (B, H) or (H,); zeros by default.

    Returns:
        As `rnn`, with the states "h" and "c".

    Raises:
        InputError, ShapeError: as `problem`.
    """
    p = problem("lstm", params, xs, targets, {"h": h0, "c": c0}, loss, reduction, k1, k2)
    W, R, W_hy = p.params["weight_ih_l0"], p.params["weight_hh_l0"], p.params["W_hy"]
    B, H = p.initial["h"].shape
    T = p.T

    h, c = np.empty((T + 1, B, H)), np.empty((T + 1, B, H))  # [t + 1] after step t, [0] the initial state
    h[0], c[0] = p.initial["h"], p.initial["c"]
    gates = np.empty((T, B, 4 * H))
    value, dy = 0.0, np.empty((T, B, len(p.params["b_y"])))
    for t in range(T):
        a = p.xs[t] @ W.T + p.params["bias_ih_l0"] + h[t] @ R.T + p.params["bias_hh_l0"]
        gates[t] = sigmoid(a)
        gates[t, :, 2 * H : 3 * H] = np.tanh(a[:, 2 * H : 3 * H])
        i, f, g, o = np.split(gates[t], 4, axis=1)
        c[t + 1] = f * c[t] + i * g
        h[t + 1] = o * np.tanh(c[t + 1])
        y = h[t + 1] @ W_hy + p.params["b_y"]
        value += float(p.loss.value(y, p.targets[t])) * p.scale
        dy[t] = p.loss.derivative(y, p.targets[t]) * p.scale

    G = {name: np.zeros((T, *w.shape)) for name, w in p.params.items()}
    dh, dc = np.zeros((T, B, H)), np.zeros((T, B, H))
    dh0, dc0 = np.zeros((B, H)), np.zeros((B, H))
    for start, first, end in p.windows:
        dh_future, dc_future = np.zeros((B, H)), np.zeros((B, H))
        for t in reversed(range(start, end)):
            dh_t = dh_future
            if t >= first:
                dh_t = dh_t + dy[t] @ W_hy.T  # (1)
                G["W_hy"][t] += h[t + 1].T @ dy[t]
                G["b_y"][t] += dy[t].sum(0)
            i, f, g, o = np.split(gates[t], 4, axis=1)
            tanh_c = np.tanh(c[t + 1])
            dc_t = dc_future + dh_t * o * (1 - tanh_c**2)  # (2)
            da = np.concatenate(
                [
                    dc_t * g * i * (1 - i),
                    dc_t * c[t] * f * (1 - f),
                    dc_t * i * (1 - g**2),
                    dh_t * tanh_c * o * (1 - o),  # (3)
                ],
                axis=1,
            )
            G["weight_ih_l0"][t] += da.T @ p.xs[t]
            G["weight_hh_l0"][t] += da.T @ h[t]
            G["bias_ih_l0"][t] += da.sum(0)
            G["bias_hh_l0"][t] += da.sum(0)
            dh[t] += dh_t
            dc[t] += dc_t
            dh_future, dc_future = da @ R, dc_t * f
        if start == 0:
            dh0 += dh_future
            dc0 += dc_future
    return Gradients(
        loss=value,
        parameters={name: contributions.sum(0) for name, contributions in G.items()},
        per_step=G,
        states={"h": dh, "c": dc},
        initial={"h0": dh0, "c0": dc0},
        final={"h": h[T], "c": c[T]},
    )


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), written so that it cannot overflow and keeps its digits where it is small."""
    e = np.exp(np.minimum(a, 45.0))
    return np.asarray(e / (1 + e))


__all__ = ["lstm", "sigmoid"]
