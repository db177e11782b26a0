"""Truncated BPTT: cut the state, and gradients stop there. Cheap, and wrong by what lay before the cut.

The values of the network never change; only what it can learn from does. The error of the truncated gradient
shrinks as the window grows, at the pace at which the network's own gradient fades: no faster.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg

T, H = 48, 24
xs = np.random.default_rng(0).standard_normal((T, 4))


def run(radius, window, xs=xs):
    """The loss at the last step, with the state cut once, `window` steps before the end; and W_hh."""
    W_xh = tg.Tensor(tg.nn.init.xavier_uniform((4, H), 1), requires_grad=True)
    W_hh = tg.Tensor(radius * tg.nn.init.orthogonal((H, H), 3), requires_grad=True)
    h = np.zeros(H)
    for t, x in tg.steps(xs):
        if t == len(xs) - window:
            h = tg.truncate(h)  # gradients stop here
        h = np.tanh(x @ W_xh + h @ W_hh)
    loss = tg.squared_error(h, np.ones(H))
    loss.backward()
    return loss, W_hh


windows = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40])
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for radius, colour in [(0.7, "#4393C3"), (1.0, "#555555"), (1.5, "#E08214")]:
    loss, W_hh = run(radius, T)
    full, bias = W_hh.grad, []
    for window in windows:
        same, W_hh = run(radius, window)
        assert same.item() == loss.item()
        bias.append(np.linalg.norm(W_hh.grad - full) / np.linalg.norm(full))
    axes.semilogy(windows, bias, "o-", color=colour, label=f"W_hh = {radius} Q")
    print(f"radius {radius}: the gradient is wrong by {bias[3]:.0%} with a window of 4 steps, {bias[7]:.2g} with 16")
axes.set(xlabel="window: how many steps back gradients travel", ylabel="|g - g_full| / |g_full|")
axes.set_title("The error of truncated BPTT")
axes.legend(frameon=False)
folder = Path("pictures")
folder.mkdir(exist_ok=True)
figure.savefig(folder / "truncation.png", dpi=150)
picture = tg.viz.unrolled(run(1.0, 3, xs[:6])[0], title="Truncated BPTT: cut 3 steps before the loss")
picture.save(folder / "truncation.svg")
print(f"written to {folder}: truncation.png, truncation.svg")
