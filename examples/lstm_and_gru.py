"""LSTM and GRU as the way out: gates open a path on which gradients neither die nor explode.

Left, the gradient on its way back through three untrained networks of the same size. The gates start
half open, which forgets; a bias that opens the one that keeps the state is what makes it remember.
Right, the adding problem: the same networks learn to add two numbers that lie tens of steps apart.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.app import tasks

T, H, KEEP = 60, 32, 3.0
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
CELLS = {"rnn": tg.nn.RNNCell, "lstm": tg.nn.LSTMCell, "gru": tg.nn.GRUCell}
COLOURS = {"rnn": "#4393C3", "lstm": "#993404", "gru": "#E08214"}

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
xs = np.random.default_rng(0).standard_normal((T, 2))
for name, cell_type in CELLS.items():
    for bias, style in [(0.0, ":"), (KEEP, "-")]:
        if name == "rnn" and bias:
            continue
        cell, state = cell_type(2, H, rng=0), None
        if bias:
            cell.bias_hh.data[H : 2 * H] = bias  # f of an LSTM, z of a GRU
        for _, x in tg.steps(xs):
            state = cell(x, state)
        h = state[0] if name == "lstm" else state
        # Through an LSTM the memory travels in c, else in h.
        flow = [s for s in tg.gradient_flow((h * h).sum()).states() if s.name == ("c" if name == "lstm" else "h")]
        norms = np.array([s.norm for s in flow])
        label = name.upper() + (f", keep gate +{bias:.0f}" if bias else "")
        left.semilogy([T - 1 - s.step for s in flow], norms / norms[-1], style, color=COLOURS[name], label=label)
        print(f"{label}: over {len(flow) - 1} steps the gradient changes by a factor {norms[0] / norms[-1]:.1e}")

    settings = tasks.Settings.of("adding", cell=name, lag=T, hidden=H, steps=STEPS, lr=1e-2, keep=KEEP, eval_every=50)
    trainer = tasks.TaskTrainer(settings)
    trainer.run()
    updates, errors = zip(*((record["step"], record["score"]) for record in trainer.history), strict=True)
    right.semilogy(updates, errors, color=COLOURS[name], label=name.upper())
    print(f"adding two numbers over {T} steps, {trainer.step} updates: {name.upper()} error {errors[-1]:.4f}")

left.set(xlabel="steps back from the loss", ylabel="gradient relative to the last step", title="The way back")
right.axhline(1 / 6, color="#BBBBBB", linewidth=1)
right.annotate("always answering 1", (0, 1 / 6), xytext=(3, 4), textcoords="offset points", color="#777777", fontsize=8)
right.set(xlabel="update", ylabel="mean squared error", title=f"The adding problem over {T} steps")
for axes in (left, right):
    axes.legend(frameon=False, fontsize=8)
folder = Path("pictures")
folder.mkdir(exist_ok=True)
figure.savefig(folder / "lstm_and_gru.png", dpi=150)
print(f"written to {folder}: lstm_and_gru.png")
