"""One weight for all steps: its gradient is the sum of the gradients that T separate copies would get.

A common misunderstanding is that an unrolled network has different weights at each step. Give it some, all
equal, and each copy's gradient is one term of the sum that the shared weight collects.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg

T, H = 12, 16
rng = np.random.default_rng(0)
xs = rng.standard_normal((T, 3))
W_xh, start = rng.normal(0, 0.5, (3, H)), 0.9 * tg.nn.init.orthogonal((H, H), rng)


def run(weights):
    """The loss of a network that uses weights[t] at step t."""
    h = np.zeros(H)
    for t, x in tg.steps(xs):
        h = np.tanh(x @ W_xh + h @ weights[t])
    return (h * h).sum()


W_hh = tg.Tensor(start, requires_grad=True)
copies = [tg.Tensor(start, requires_grad=True, name=f"W_hh[{t}]") for t in range(T)]
shared, separate = run([W_hh] * T), run(copies)
shared.backward()
separate.backward()

per_step = tg.gradient_flow(shared).per_step(W_hh)
for t, copy in enumerate(copies):
    assert np.allclose(copy.grad, per_step[t], rtol=1e-12, atol=1e-15)
assert np.allclose(sum(copy.grad for copy in copies), W_hh.grad, rtol=1e-12)
largest = max(np.abs(copy.grad - g).max() for copy, g in zip(copies, per_step, strict=True))
print(f"the same loss, {shared:.6f}; {T} copies' gradients equal the shared weight's {T} terms to {largest:.0e}")
print("the sum of the terms is the gradient of the shared weight, and late terms dominate it:")

norms = np.linalg.norm(per_step, axis=(1, 2))
sums = np.linalg.norm(np.cumsum(per_step[::-1], axis=0), axis=(1, 2))[::-1]
for t in range(T):
    print(f"  step {t:2d}  |G_t| = {norms[t]:.4f}  {'#' * round(40 * norms[t] / norms.max())}")

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
axes.bar(range(T), norms, color="#4393C3", label="|G_t|, what step t adds = the gradient of copy t")
axes.plot(range(T), sums, "o-", color="#993404", label="|G_t + ... + G_T|, the sum so far on the way back")
axes.axhline(np.linalg.norm(W_hh.grad), color="#777777", linestyle=":", label="|dL/dW_hh|")
axes.set(xlabel="step t", title="One shared weight, one gradient, T terms", xticks=range(T))
axes.legend(frameon=False, fontsize=8)
folder = Path("pictures")
folder.mkdir(exist_ok=True)
figure.savefig(folder / "weight_sharing.png", dpi=150)
print(f"written to {folder}: weight_sharing.png")
