"""BPTT over three steps by hand, every number printed beside what generic backprop finds.

Read the backward part from below: the error of the last step reaches W_hh three times, once at each step.
"""

from pathlib import Path

import numpy as np

import tinygrad_rnn as tg

W_xh = tg.Tensor([[0.5, -0.3]], requires_grad=True)
W_hh = tg.Tensor([[0.8, 0.1], [-0.2, 0.6]], requires_grad=True)
W_hy = tg.Tensor([[1.0], [-0.5]], requires_grad=True)
xs, target = np.array([[1.0], [0.5], [-1.0]]), 0.7

# Forward, as tensor operations: this is the whole network.
h = tg.Tensor(np.zeros(2), name="h_-1")
for _, x in tg.steps(xs):
    h = np.tanh(x @ W_xh + h @ W_hh)
y = h @ W_hy
loss = 0.5 * ((y - target) ** 2).sum()
loss.backward()

# The same by hand, steps counted from 0 as in the loop. Forward, keeping every state, because the way back needs it:
before = np.zeros(2)  # the initial state, h_-1
h0 = np.tanh(xs[0] @ W_xh.data + before @ W_hh.data)
h1 = np.tanh(xs[1] @ W_xh.data + h0 @ W_hh.data)
h2 = np.tanh(xs[2] @ W_xh.data + h1 @ W_hh.data)
# and backward: dz_t is the gradient before the tanh of step t.
dy = h2 @ W_hy.data - target
dz2 = (W_hy.data @ dy) * (1 - h2**2)
dz1 = (W_hh.data @ dz2) * (1 - h1**2)
dz0 = (W_hh.data @ dz1) * (1 - h0**2)
terms = [np.outer(before, dz0), np.outer(h0, dz1), np.outer(h1, dz2)]  # before = 0: step 0 gives nothing

per_step = tg.gradient_flow(loss).per_step(W_hh)
for t, (hand, auto) in enumerate(zip(terms, per_step, strict=True)):
    print(f"step {t} contributes to dL/dW_hh   by hand {hand.ravel().round(6)}   backprop {auto.ravel().round(6)}")
for name, hand, W in [
    ("dL/dW_hh", sum(terms), W_hh),
    ("dL/dW_xh", np.outer(xs[0], dz0) + np.outer(xs[1], dz1) + np.outer(xs[2], dz2), W_xh),
    ("dL/dW_hy", np.outer(h2, dy), W_hy),
]:
    print(f"{name}   by hand {hand.ravel().round(6)}   backprop {W.grad.ravel().round(6)}")
    assert np.allclose(hand, W.grad, rtol=1e-12)

folder = Path("pictures")
folder.mkdir(exist_ok=True)
tg.viz.unrolled(loss, values=True).save(folder / "three_steps_by_hand.svg")
print(f"written to {folder}: three_steps_by_hand.svg")
