"""The reach of every loss in random RNNs, LSTMs and GRUs, against products of dense Jacobians that NumPy measures."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg

STATES = {"RNN": 1, "GRU": 1, "LSTM": 2}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cell(kind, net, n, x, state):
    """The next (h,) or (h, c), by PyTorch's equations."""
    W_x, W_h, b_x, b_h = (
        getattr(net, f"{name}_l{n}").data.astype(float) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    a, b = W_x @ x + b_x, W_h @ state[0] + b_h
    if kind == "RNN":
        return (np.tanh(a + b),)
    if kind == "LSTM":
        i, f, g, o = np.split(a + b, 4)
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(a, 3), np.split(b, 3)
    z = sigmoid(a_z + b_z)
    return ((1 - z) * np.tanh(a_n + sigmoid(a_r + b_r) * b_n) + z * state[0],)


def measured(function, at, step=1e-6):
    units = step * np.eye(len(at))
    return np.array([(function(at + unit) - function(at - unit)) / (2 * step) for unit in units]).T


def by_hand(kind, net, xs, read):
    """|dL_t/ds_k| of each layer's state, L_t = read . h_t of the last layer, for one sequence: (layers, T, T)."""
    H, layers, own = net.hidden_size, net.num_layers, STATES[kind] * net.hidden_size

    def layer(n, x, flat):
        return np.concatenate(cell(kind, net, n, x, np.split(flat[n * own : (n + 1) * own], STATES[kind])))

    def step(x, flat):
        found = []
        for n in range(layers):
            found.append(layer(n, x, flat))
            x = found[-1][:H]
        return np.concatenate(found)

    state, across, up = np.zeros(layers * own), [], []
    for x in xs:
        before, state = state, step(x, state)
        across.append(measured(lambda flat, x=x: step(x, flat), before))
        below = [state[n * own : n * own + H] for n in range(layers - 1)]
        up.append([measured(lambda h, n=n, s=before: layer(n + 1, h, s), h) for n, h in enumerate(below)])
    found = np.zeros((layers, len(xs), len(xs)))
    for t in range(len(xs)):
        g = np.zeros(layers * own)
        g[(layers - 1) * own :][:H] = read
        for k in range(t, -1, -1):
            whole = np.split(g, layers)
            for n in reversed(range(layers - 1)):  # what a state sends to the layer above in its own step
                whole[n] = whole[n] + np.pad(up[k][n].T @ whole[n + 1], (0, own - H))
            found[:, t, k] = [np.linalg.norm(part) for part in whole]
            g = across[k].T @ g
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", STATES)
def test_the_reach_is_that_of_dense_jacobians(kind, seed):
    rng = np.random.default_rng(seed)
    H, layers, B, T = (int(n) for n in rng.integers([2, 1, 1, 3], [5, 3, 4, 16]))
    dtype = np.float32 if seed == 0 else np.float64
    net = getattr(tg.nn, kind)(3, H, num_layers=layers, rng=rng, dtype=dtype)
    for n in range(layers):
        W = getattr(net, f"weight_hh_l{n}")
        W.data[...] = rng.choice([0.3, 1, 3]) * rng.normal(size=W.shape) / np.sqrt(H)
    xs, read = rng.normal(size=(T, B, 3)).astype(dtype), rng.normal(size=H).astype(dtype)
    lengths = [T, *(int(n) for n in rng.integers(2, T + 1, B - 1))]
    hs, _ = net.unrolled(xs, lengths=lengths)
    losses = [(h * read * (np.array(lengths) > t)[:, None].astype(dtype)).sum() for t, h in tg.steps(hs)]
    found = tg.diagnose(losses).layers
    assert len(found) == layers
    for b, n in enumerate(lengths):
        truth = by_hand(kind, net, xs[:n, b].astype(float), read.astype(float))
        for layer, expected in zip(found, truth, strict=True):
            norms = layer.reach.norms[:n, b, :n]
            largest = expected.max(1, keepdims=True)
            np.testing.assert_allclose(norms / largest, expected / largest, rtol=1e-3, atol=2e-6)
