"""Vanishing and exploding: how far back the last error is felt depends on the spectrum of W_hh.

Three networks that differ only in the spectral radius of W_hh, and one loss, at the last step. A radius of
1 is no safe harbour for a tanh network: each squashing takes a little more away.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg

T, H = 50, 64
rng = np.random.default_rng(0)
xs, Q = 0.1 * rng.standard_normal((T, 8)), tg.nn.init.orthogonal((H, H), rng)

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for radius, colour in [(0.5, "#4393C3"), (1.0, "#555555"), (3.0, "#E08214")]:
    cell = tg.nn.RNNCell(8, H, rng=0)
    cell.weight_hh.data[...] = radius * Q
    h = None
    for _, x in tg.steps(xs):
        h = cell(x, h)
    states = tg.gradient_flow((h * h).sum()).states()
    norms = np.array([state.norm for state in states])
    lag = T - 1 - np.array([state.step for state in states])
    gain = (norms[0] / norms[-1]) ** (1 / (len(norms) - 1))
    print(f"radius {radius}: over {T - 1} steps |dL/dh| changes by {norms[0] / norms[-1]:.0e}, x{gain:.2f} a step")
    axes.semilogy(lag, norms / norms[-1], color=colour, label=f"W_hh = {radius} Q: x{gain:.2f} a step", linewidth=2)

axes.axhline(1, color="#BBBBBB", linewidth=1)
axes.set(xlabel="steps back from the loss", ylabel="|dL/dh| relative to the last step", title="The way back in time")
axes.legend(frameon=False)
folder = Path("pictures")
folder.mkdir(exist_ok=True)
figure.savefig(folder / "vanishing_and_exploding.png", dpi=150)
print(f"written to {folder}: vanishing_and_exploding.png")
