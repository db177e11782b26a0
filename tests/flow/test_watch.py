"""Memory over training: what is noted, what is warned of, and that the run is the same."""

from __future__ import annotations

import numpy as np
import pytest
from known_nets import squared, weight

import tinygrad_rnn as tg
from tinygrad_rnn.app.tasks import Settings, TaskTrainer
from tinygrad_rnn.flow import Look, Watch
from tinygrad_rnn.train import watched


def loss_of(r, T=40, H=4):
    W = weight(r * np.linalg.qr(np.random.default_rng(0).normal(size=(H, H)))[0])
    h, losses = np.zeros((2, H)), []
    for _, x in tg.steps(0.01 * np.random.default_rng(1).normal(size=(T, 2, H))):
        h = x + h @ W
        losses.append(squared(h))
    return sum(losses)


def test_a_look_notes_reach_radius_and_norm():
    watch = Watch()
    look = watch(loss_of(0.9), 0)
    (layer,) = look.layers.values()
    assert (layer.verdict, layer.horizon, layer.lags) == ("healthy", None, 39)
    for lag, value in layer.reach.items():
        assert value == pytest.approx(0.9**lag, rel=1e-9)
    assert list(layer.reach) == [1, 2, 5, 10, 20, 39]
    assert layer.radius == pytest.approx(0.9, rel=1e-3)
    loss = loss_of(0.9)
    (leaf,) = (leaf for leaf in tg.gradient_flow(loss).structure.leaves if leaf.requires_grad)
    loss.backward()
    assert look.norm == pytest.approx(np.linalg.norm(leaf.grad))
    assert str(look) == (
        "update 0: healthy, in reach at all 39 lags, gain 0.90, 1.6e-02 at lag 39, spectral radius 0.90"
    )
    assert Look.of(look.record()) == look


def test_a_horizon_that_shrinks_is_warned_of():
    watch = Watch()
    assert watch(loss_of(1.0), 0).warning is None
    assert watch(loss_of(0.95), 100).warning is None
    assert watch(loss_of(0.5), 200).warning == "warning: the horizon has shrunk from 40 steps at update 100 to 10"


def test_layers_of_one_scope_are_all_noted():
    """An encoder and a decoder without a scope of their own."""
    W, V, h, losses = weight(0.5 * np.eye(2)), weight(0.9 * np.eye(2)), np.ones((1, 2)), []
    for _, x in tg.steps(np.ones((20, 1, 2))):
        h = x + h @ W
    for _, x in tg.steps(np.ones((20, 1, 2))):
        h = x + h @ V
        losses.append(squared(h))
    look = Watch()(sum(losses), 0)
    assert [(name, round(layer.radius, 2)) for name, layer in look.layers.items()] == [("", 0.5), ("#2", 0.9)]
    assert str(look).count("spectral radius") == 2
    assert Look.of(look.record()) == look


def test_gates_and_dead_units_are_noted():
    net = tg.nn.LSTM(2, 4, rng=0)
    net.bias_ih_l0.data[4:8] = 9.0
    (layer,) = Watch()(squared(net(np.ones((12, 2, 2)))[0]), 0).layers.values()
    assert layer.saturated == {"i": 0.0, "f": 1.0, "o": 0.0}
    net = tg.nn.RNN(2, 4, nonlinearity="relu", rng=0)
    net.bias_ih_l0.data[:2], net.bias_ih_l0.data[2:] = -9.0, 1.0
    (layer,) = Watch()(squared(net(np.ones((12, 2, 2)))[0]), 0).layers.values()
    assert layer.dead == 0.5


def test_a_watched_run_is_the_same_run(tmp_path):
    settings = Settings.of(
        "order", lag=10, hidden=8, batch=8, steps=6, eval_every=6, save_every=2, dropout=0.2, cell="gru"
    )
    said: list[str] = []
    plain, looked_at = TaskTrainer(settings, tmp_path / "a"), TaskTrainer(settings, tmp_path / "b")
    plain.run(say=lambda line: None, progress=False)
    looked_at.run(say=said.append, progress=False, watch=2)
    for name, array in plain.model.state_dict().items():
        np.testing.assert_array_equal(array, looked_at.model.state_dict()[name])
    rows = (tmp_path / "b" / "watch.jsonl").read_text().splitlines()
    assert len(rows) == 3
    assert [line.split(":")[0] for line in said[:3]] == ["update 0", "update 2", "update 4"]
    assert b"<svg" in (tmp_path / "b" / "watch.svg").read_bytes()
    again = TaskTrainer.of(tmp_path / "b", steps=10)
    again.run(say=said.append, progress=False, watch=2)
    rows = (tmp_path / "b" / "watch.jsonl").read_text().splitlines()
    assert len(rows) == 5
    (tmp_path / "b" / "watch.jsonl").write_text('{"update": "x"}\n')
    with pytest.raises(tg.InputError, match=r"watch\.jsonl"):
        TaskTrainer.of(tmp_path / "b", steps=12).run(say=said.append, progress=False, watch=2)
    with pytest.raises(tg.InputError, match="got watch=-1"):
        TaskTrainer(settings).run(watch=-1)


def test_the_picture_of_a_watch():
    looks = [Watch()(loss_of(r), update) for update, r in ((0, 0.5), (100, 0.9))]
    axes = tg.viz.plots.watch(looks)
    lines = {line.get_label(): line.get_ydata() for line in axes[0].get_lines()}
    np.testing.assert_allclose(lines["lag 5"], [0.5**5, 0.9**5])
    with pytest.raises(tg.InputError, match="got 0 looks"):
        tg.viz.plots.watch([])


@pytest.mark.parametrize(("costs", "every"), [(10, "auto"), (10, 20), (1, 100)])
def test_looks_that_may_choose_take_less_than_a_twentieth_of_the_time(costs, every, monkeypatch):
    """A clock on which an update takes 1 and a look 10, or 1."""
    now = 0.0

    def loss() -> tg.Tensor:
        nonlocal now
        now += costs
        return loss_of(0.9, T=3)

    monkeypatch.setattr(watched, "perf_counter", lambda: now)
    looks, spent = watched.Watched(every, None, 0), []
    for step in range(2000):
        if looks.due(step):
            looks.note(loss, step)
            spent.append(step)
        now += 1
    share = costs * len(spent) / now
    if every == "auto":
        assert (spent[0], len(spent)) == (0, 10)
        assert share < 0.05
    assert (looks.cost() is None) == (share <= 0.05)
    assert looks.cost() in (None, "the looks took 33% of the time; `--watch auto` takes less than 5%")
