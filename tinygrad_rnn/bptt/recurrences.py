"""The equations of each cell once more, in functions that arrays and tensors both understand.

The references that differentiate without a derivation (autodiff and complex steps) run these; the derivations by hand
do not. `keep(name, value)` is called with every state as it is made: to remember it, or to nudge it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

State = dict[str, Any]
Keep = Callable[[str, Any], Any]


def rnn(x: Any, state: State, W: Mapping[str, Any], keep: Keep) -> State:
    """Elman's network; the parameters are those of `bptt.rnn`."""
    return {"h": keep("h", np.tanh(x @ W["W_xh"] + state["h"] @ W["W_hh"] + W["b_h"]))}


def lstm(x: Any, state: State, W: Mapping[str, Any], keep: Keep) -> State:
    """The LSTM in PyTorch's layout; the parameters are those of `bptt.lstm`."""
    i, f, g, o = _blocks(_linear(x, W, "ih") + _linear(state["h"], W, "hh"), 4)
    c = keep("c", _sigmoid(f) * state["c"] + _sigmoid(i) * np.tanh(g))
    return {"h": keep("h", _sigmoid(o) * np.tanh(c)), "c": c}


def gru(x: Any, state: State, W: Mapping[str, Any], keep: Keep) -> State:
    """The GRU in PyTorch's layout; the parameters are those of `bptt.gru`."""
    u_r, u_z, u_n = _blocks(_linear(x, W, "ih"), 3)
    v_r, v_z, v_n = _blocks(_linear(state["h"], W, "hh"), 3)
    z = _sigmoid(u_z + v_z)
    n = np.tanh(u_n + _sigmoid(u_r + v_r) * v_n)
    return {"h": keep("h", (1 - z) * n + z * state["h"])}


CELLS = {"rnn": rnn, "lstm": lstm, "gru": gru}


def readout(h: Any, W: Mapping[str, Any]) -> Any:
    """y_t = h_t W_hy + b_y, for every cell."""
    return h @ W["W_hy"] + W["b_y"]


def _linear(x: Any, W: Mapping[str, Any], which: str) -> Any:
    return x @ np.swapaxes(W[f"weight_{which}_l0"], -1, -2) + W[f"bias_{which}_l0"]


def _blocks(a: Any, n: int) -> list[Any]:
    H = a.shape[-1] // n
    return [a[..., k * H : (k + 1) * H] for k in range(n)]


def _sigmoid(a: Any) -> Any:
    """1 / (1 + exp(-a)) to the last places, however small it is; beyond 45 it is 1."""
    e = np.exp(np.minimum(a, 45.0))
    return e / (1 + e)
