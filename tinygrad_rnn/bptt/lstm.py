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

import numpy as np

from .problem import Array, Arrays, Equations, Params, Sent


def forward(x: Array, state: Arrays, W: Params) -> tuple[Arrays, Arrays]:
    """h_t and c_t from x_t, h_(t-1) and c_(t-1)."""
    a = x @ W["weight_ih_l0"].T + W["bias_ih_l0"] + state["h"] @ W["weight_hh_l0"].T + W["bias_hh_l0"]
    a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c = f * state["c"] + i * g
    tanh_c = np.tanh(c)
    return {"h": o * tanh_c, "c": c}, {"i": i, "f": f, "g": g, "o": o, "tanh_c": tanh_c}


def backward(x: Array, before: Arrays, kept: Arrays, d: Arrays, W: Params) -> Sent:
    """dL/da_t, and what it gives the weights, h_(t-1) and c_(t-1)."""
    i, f, g, o, tanh_c = (kept[name] for name in ("i", "f", "g", "o", "tanh_c"))
    dh = d["h"]
    dc = d["c"] + dh * o * (1 - tanh_c**2)  # (2)
    blocks = [
        dc * g * i * (1 - i),
        dc * before["c"] * f * (1 - f),
        dc * i * (1 - g**2),
        dh * tanh_c * o * (1 - o),  # (3)
    ]
    da = np.concatenate(blocks, axis=1)
    contributions = {"weight_ih_l0": da.T @ x, "weight_hh_l0": da.T @ before["h"]}
    contributions |= {"bias_ih_l0": da.sum(0), "bias_hh_l0": da.sum(0)}
    return {"h": dh, "c": dc}, contributions, {"h": da @ W["weight_hh_l0"], "c": dc * f}


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), written so that it cannot overflow and keeps its digits where it is small."""
    e = np.exp(np.minimum(a, 45.0))
    return np.asarray(e / (1 + e))


LSTM = Equations(forward, backward)
