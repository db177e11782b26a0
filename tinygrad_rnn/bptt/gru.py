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

import numpy as np

from .lstm import sigmoid
from .problem import Array, Arrays, Equations, Params, Sent


def forward(x: Array, state: Arrays, W: Params) -> tuple[Arrays, Arrays]:
    """h_t from x_t and h_(t-1)."""
    h = state["h"]
    u_r, u_z, u_n = np.split(x @ W["weight_ih_l0"].T + W["bias_ih_l0"], 3, axis=1)
    v_r, v_z, v_n = np.split(h @ W["weight_hh_l0"].T + W["bias_hh_l0"], 3, axis=1)
    r, z = sigmoid(u_r + v_r), sigmoid(u_z + v_z)
    n = np.tanh(u_n + r * v_n)
    return {"h": (1 - z) * n + z * h}, {"r": r, "z": z, "n": n, "v_n": v_n, "h - n": h - n}


def backward(x: Array, before: Arrays, kept: Arrays, d: Arrays, W: Params) -> Sent:
    """dL/du_t and dL/dv_t, and what they give the weights and h_(t-1)."""
    r, z, n, v_n = (kept[name] for name in ("r", "z", "n", "v_n"))
    h, dh = before["h"], d["h"]
    du_n = dh * (1 - z) * (1 - n**2)
    du_z = dh * kept["h - n"] * z * (1 - z)
    du_r = du_n * v_n * r * (1 - r)
    du = np.concatenate([du_r, du_z, du_n], axis=1)
    dv = np.concatenate([du_r, du_z, du_n * r], axis=1)  # (2)
    contributions = {"weight_ih_l0": du.T @ x, "weight_hh_l0": dv.T @ h}
    contributions |= {"bias_ih_l0": du.sum(0), "bias_hh_l0": dv.sum(0)}
    return d, contributions, {"h": dv @ W["weight_hh_l0"] + dh * z}


GRU = Equations(forward, backward)
