"""What BPTT costs: time grows as T H², measured, with the exponents fitted to it.

Every step multiplies by W_hh once on the way forward and twice on the way back (for h and for W_hh), so a
sequence costs 6 T B H² operations; all T states wait in memory for the way back.
"""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

import tinygrad_rnn as tg


def seconds(T, H, batch):
    """The best of several runs, forward and backward, of a plain RNN."""
    rnn = tg.nn.RNN(8, H, dtype=np.float32, rng=0)
    x = np.random.default_rng(0).standard_normal((T, batch, 8)).astype(np.float32)

    def run():
        begun = time.perf_counter()
        rnn(x)[0].sum().backward()
        return time.perf_counter() - begun

    return min(run() for _ in range(4))


lengths, sizes = np.array([50, 100, 200, 400, 800]), np.array([256, 512, 1024, 2048])
with threadpool_limits(1):
    by_length = np.array([seconds(T, 64, 16) for T in lengths])
    by_size = np.array([seconds(8, H, 64) for H in sizes])

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, x, y, name, theory in [(axes[0], lengths, by_length, "T", 1), (axes[1], sizes, by_size, "H", 2)]:
    exponent, offset = np.polyfit(np.log(x), np.log(y), 1)
    print(f"time grows as {name}^{exponent:.2f} (theory: {name}^{theory})")
    ax.loglog(x, np.exp(offset) * x**exponent, color="#BBBBBB", label=f"fit: {name}^{exponent:.2f}")
    ax.loglog(x, y, "o", color="#993404", label="measured")
    ax.set(xlabel={"T": "sequence length T", "H": "hidden size H"}[name], ylabel="seconds, forward and backward")
    ax.set_xticks(x, x)
    ax.minorticks_off()
    ax.legend(frameon=False)
figure.suptitle("The cost of a sequence: T H²")
folder = Path("pictures")
folder.mkdir(exist_ok=True)
figure.savefig(folder / "cost.png", dpi=150)
print(f"written to {folder}: cost.png")
