"""Draw the pictures that the README shows: `python docs/pictures.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygrad_rnn as tg

HERE = Path(__file__).parent


def five_steps() -> tg.Tensor:
    """The loss of a small RNN over five steps, with a loss at every step."""
    rng = np.random.default_rng(3)
    I, H, V, T = 3, 4, 5, 5
    W_xh = tg.Tensor(rng.normal(0, 0.6, (I, H)), requires_grad=True)
    W_hh = tg.Tensor(rng.normal(0, 0.4, (H, H)), requires_grad=True)
    W_hy = tg.Tensor(rng.normal(0, 0.6, (H, V)), requires_grad=True)
    b_h = tg.Tensor(np.zeros(H), requires_grad=True)
    b_y = tg.Tensor(np.zeros(V), requires_grad=True)
    h, L = np.zeros(H), 0.0
    for _, x in tg.steps(rng.normal(size=(T, I))):
        h = np.tanh(x @ W_xh + h @ W_hh + b_h)
        y = h @ W_hy + b_y
        L = L + tg.softmax_cross_entropy(y, rng.integers(V))
    return L


if __name__ == "__main__":
    flow = tg.gradient_flow(five_steps())
    tg.viz.unrolled(flow, "cell").save(HERE / "unrolled.svg")
    tg.viz.animate(flow, "cell", title="Backpropagation through time").save(HERE / "bptt.svg")
