"""A recurrent network written as its equations; BPTT is what backward() does to the unrolled graph."""

import numpy as np

import tinygrad_rnn as tg

text = "an unrolled recurrent network is a graph like any other graph. "
chars = sorted(set(text))
ids = np.array([chars.index(c) for c in text])
xs, targets = np.eye(len(chars))[ids[:-1]], ids[1:]  # one-hot characters, and the one that follows each

rng = np.random.default_rng(0)
H, V = 32, len(chars)


def weight(*shape):
    return tg.Tensor(rng.normal(0.0, 0.2, shape), requires_grad=True)


W_xh = weight(V, H)
W_hh = weight(H, H)
W_hy = weight(H, V)
b_h = weight(H)
b_y = weight(V)
weights = [W_xh, W_hh, W_hy, b_h, b_y]


def rnn(xs, targets):
    h, loss = np.zeros(H), 0.0
    for t, x in tg.steps(xs):  # the same weights at every step
        h = np.tanh(x @ W_xh + h @ W_hh + b_h)
        y = h @ W_hy + b_y
        loss = loss + tg.softmax_cross_entropy(y, targets[t])
    return loss / len(xs)


for epoch in range(201):
    loss = rnn(xs, targets)
    for W in weights:
        W.grad = None
    loss.backward()  # dL/dW_hh is the sum of its contributions at all steps
    for W in weights:
        W.data -= 0.5 * np.clip(W.grad, -1, 1)
    if epoch % 50 == 0:
        print(f"epoch {epoch:3d}  loss {loss:.4f}")
