"""A user's script with the names of the README: it runs, and mypy (which also reads this file) knows every name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygrad_rnn as tg


def test_the_names_of_the_readme(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    xs, targets = rng.normal(size=(4, 3)), np.array([0, 1, 1, 0])
    W_xh = tg.Tensor(rng.normal(size=(3, 2)), requires_grad=True)
    W_hh = tg.Tensor(rng.normal(size=(2, 2)), requires_grad=True)
    h: tg.Tensor = tg.Tensor(np.zeros(2))
    states: list[tg.Tensor] = []
    losses: list[tg.Tensor] = []
    for t, x in tg.steps(xs):
        h = tg.tanh(x @ W_xh + h @ W_hh)
        states.append(h)
        losses.append(tg.softmax_cross_entropy(h, targets[t]))
    loss = tg.stack(losses).sum()

    flow = tg.gradient_flow(loss)
    assert flow.per_step(W_hh).shape == (4, 2, 2)
    assert str(flow)
    assert str(tg.diagnose(losses, states))
    assert tg.credit(losses, states).shape == (4, 4)
    tg.spectrum(states)
    tg.viz.unrolled(flow, detail="cell").save(tmp_path / "rnn.svg")
    tg.viz.rolled(flow)
    tg.viz.page(flow).save(tmp_path / "bptt.html")
    tg.viz.plots.credit(tg.credit(losses, states))

    model = tg.nn.LSTM(3, 2, num_layers=2)
    tg.optim.Adam(model.parameters(), lr=2e-3)
    assert not tg.truncate(h).requires_grad
    step = tg.compile(lambda W: tg.tanh(xs @ W).sum())
    value, grads = step(rng.normal(size=(3, 2)))
    assert np.isfinite(value)
    assert np.shape(grads) == (3, 2)
