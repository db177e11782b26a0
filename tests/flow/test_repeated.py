"""Loops without `tg.steps`: the same is said of them, or nothing."""

from __future__ import annotations

import numpy as np
import pytest
from known_nets import weight

import tinygrad_rnn as tg

T = 30
XS = np.random.default_rng(0).normal(size=(T, 2, 4))


def matrix(seed, rows=4):
    return weight(0.3 * np.random.default_rng(seed).normal(size=(rows, 4)))


def plain(steps, every=True, first=True):
    """tanh, with a loss at every step or the last; `first`: the first step reads a state like all others."""
    W, U, h, loss = matrix(1), matrix(2), np.zeros((2, 4)), 0.0
    for t, x in tg.steps(XS) if steps else enumerate(XS):
        h = np.tanh(x @ W + h @ U) if t or first else np.tanh(x @ W)
        loss = loss + (h**2).sum() if every else (h**2).sum()
    return loss


def several(steps):
    """Three updates in each step, which are no loop through time of their own."""
    W, U, h, loss = matrix(1), matrix(2), np.zeros((2, 4)), 0.0
    for _, x in tg.steps(XS) if steps else enumerate(XS):
        for _ in range(3):
            h = np.tanh(x @ W + h @ U)
        loss = loss + (h**2).sum()
    return loss


def lstm(steps, layers=1):
    cells = [tg.nn.LSTMCell(4, 4, rng=seed) for seed in range(layers)]
    states, loss = [(np.zeros((2, 4)),) * 2] * layers, 0.0
    for _, y in tg.steps(XS) if steps else enumerate(XS):
        for i, cell in enumerate(cells):
            states[i] = cell(y, states[i])
            y = states[i][0]
        loss = loss + (y**2).sum()
    return loss


@pytest.mark.parametrize(
    "make",
    [
        plain,
        lambda steps: plain(steps, every=False),
        lambda steps: plain(steps, first=False),
        several,
        lstm,
        lambda steps: lstm(steps, layers=2),
    ],
    ids=["plain", "last loss", "first step differs", "several updates", "lstm", "two layers"],
)
def test_a_plain_loop_is_diagnosed_as_one_of_steps(make):
    (found,), (expected,) = tg.diagnose(make(False)).layers, tg.diagnose(make(True)).layers
    assert len(found.states) == len(expected.states)
    assert found.measured == expected.measured
    np.testing.assert_allclose(found.last, expected.last, rtol=1e-12)


def test_two_loops_and_loops_over_sequences_are_layers_of_their_own():
    W, U, A, loss = matrix(1), matrix(2), matrix(3), 0.0
    h = np.zeros((2, 4))
    for x in XS:
        h = np.tanh(x @ W + h @ U)
    g = h
    for _ in range(7):
        g = np.tanh(g @ A)
        loss = loss + (g**2).sum()
    assert [[len(layer.states), layer.states[0][0].name] for layer in tg.diagnose(loss).layers] == [[T, "h"], [7, "g"]]
    for _ in range(3):
        h = np.zeros((2, 4))
        for x in XS[:6]:
            h = np.tanh(x @ W + h @ U)
        loss = loss + (h**2).sum()
    assert [len(layer.states) for layer in tg.diagnose(loss).layers][-3:] == [6, 6, 6]


def test_what_is_no_loop_through_time_is_refused():
    W, h, loss = matrix(1), XS[0], 0.0
    for seed in range(8):
        h = np.tanh(h @ matrix(seed))  # a weight of its own for each layer
    for x in XS:
        loss = loss + ((x @ W) ** 2).sum()  # nothing is handed on but the sum
    for each in ((h**2).sum(), loss, (np.tanh(np.tanh(XS[0] @ W) @ W) ** 2).sum()):
        with pytest.raises(tg.GraphError, match=r"within `for t, x in tg.steps\(xs\)`, hand on the state itself"):
            tg.diagnose(each)
