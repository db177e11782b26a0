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

import numpy as np

from .problem import Array, Arrays, Equations, Params, Sent


def forward(x: Array, state: Arrays, W: Params) -> tuple[Arrays, Arrays]:
    """h_t from x_t and h_(t-1)."""
    h = np.tanh(x @ W["W_xh"] + state["h"] @ W["W_hh"] + W["b_h"])
    return {"h": h}, {"h": h}


def backward(x: Array, before: Arrays, kept: Arrays, d: Arrays, W: Params) -> Sent:
    """dL/dz_t, and what it gives the weights and h_(t-1)."""
    dz = d["h"] * (1 - kept["h"] ** 2)  # (2)
    contributions = {"W_xh": x.T @ dz, "W_hh": before["h"].T @ dz, "b_h": dz.sum(0)}
    return d, contributions, {"h": dz @ W["W_hh"].T}


RNN = Equations(forward, backward)
