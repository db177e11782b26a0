"""Remedies are tried on a copy before they are said, and what is said of them is what happens."""

from __future__ import annotations

import numpy as np
import pytest
from known_nets import layer, linear, squared, weight

import tinygrad_rnn as tg
from tinygrad_rnn.flow.layout import Layout
from tinygrad_rnn.flow.remedies import trials
from tinygrad_rnn.flow.replay import replay


def diagnosed(net, x):
    hs, _ = net.unrolled(x)
    return tg.diagnose([squared(h) for _, h in tg.steps(hs)], remedies=True).layers[0]


def test_a_replay_without_a_change_is_the_same_graph_again():
    net, x = layer("LSTM", T=6)
    loss = squared(net(x, lengths=[6, 4, 2])[0])
    flow = tg.gradient_flow(loss)
    copy = replay(flow.structure, {})[loss.index]
    assert copy is not loss
    assert copy.item() == loss.item()
    again = tg.gradient_flow(copy)
    assert str(again) == str(flow)
    assert [state.name for state in again.states()] == [state.name for state in flow.states()]


def test_weights_of_inputs_are_tried_smaller_and_larger():
    net, x = layer("RNN", T=6)
    graph = tg.gradient_flow(squared(net(x)[0])).structure
    tried = {trial.words: trial.leaves for trial in trials(graph, Layout(graph.layers[0]))}
    W = net.weight_ih_l0
    for factor in (0.3, 3):
        np.testing.assert_array_equal(tried[f"weight_ih_l0 times {factor}"][W.index], factor * W.data)


@pytest.mark.parametrize(("kind", "gate", "said"), [("LSTM", 1, "gate f open"), ("GRU", 1, "gate z open")])
def test_opening_the_gate_that_keeps_is_said_and_true(kind, gate, said):
    net, x = layer(kind)
    found = diagnosed(net, x)
    assert found.verdict == "vanishing"
    (best,) = (remedy for remedy in found.remedies if remedy.words.startswith(said))
    assert best.helps
    assert str(best) in str(found)
    shift = float(best.words.split("bias ")[1].rstrip(")"))
    net.bias_ih_l0.data[8 * gate : 8 * gate + 8] += shift
    hs, _ = net.unrolled(x)
    real = tg.diagnose([squared(h) for _, h in tg.steps(hs)]).layers[0].memory
    assert (real.verdict, real.left) == (best.after.verdict, pytest.approx(best.after.left, rel=1e-9))


def test_the_classic_gru_needs_its_gate_shut():
    """h' = z n + (1 - z) h (Cho et al., 2014): the sign is the other one."""
    rng = np.random.default_rng(0)
    W_z, W_n, V_z, V_n = (weight(0.3 * rng.normal(size=(n, 8))) for n in (3, 3, 8, 8))
    h, losses = np.zeros((3, 8)), []
    for _, x in tg.steps(rng.normal(size=(60, 3, 3))):
        z = tg.sigmoid(x @ W_z + h @ V_z)
        n = np.tanh(x @ W_n + h @ V_n)
        h = z * n + (1 - z) * h
        losses.append(squared(h))
    found = tg.diagnose(sum(losses), remedies=True).layers[0]
    assert "gate z shut (bias -" in str(found)
    assert "gate z open" not in str(found)


def test_what_does_not_help_is_not_said():
    net, x = layer("RNN")
    found = diagnosed(net, x)
    said, helping = str(found), [remedy for remedy in found.remedies if remedy.helps]
    assert [remedy.words for remedy in helping[:2]] == [
        "an LSTM in its place, forget gate +3",
        "a GRU in its place, update gate +3",
    ]
    for remedy in found.remedies:
        assert (remedy.words in said) == (remedy in helping[:4])
        assert remedy.helps == (
            remedy.after.horizon is None or remedy.after.horizon >= max(6, remedy.before.horizon + 2)
        )
    W = weight(np.eye(4))
    h, losses = np.zeros((2, 4)), []
    for _, x in tg.steps(np.random.default_rng(0).normal(size=(30, 2, 4))):
        h = tg.sigmoid(x + h @ W)
        losses.append(squared(h))
    assert "nothing that was tried on a copy helps" in str(tg.diagnose(sum(losses), remedies=True))


def test_an_orthogonal_start_cures_an_explosion():
    losses, states = linear(1.5, 40)
    found = tg.diagnose(losses, states, remedies=True).layers[0]
    assert found.verdict == "exploding"
    assert "orthogonal: in reach at all 39 lags, 100% is left at the largest" in str(found)
    assert tg.diagnose(*linear(1.0, 40), remedies=True).layers[0].remedies is None, "there is nothing to cure"


def test_trying_changes_nothing():
    net, x = layer("GRU", T=30)
    before = net.state_dict()
    first, second = diagnosed(net, x), diagnosed(net, x)
    assert str(first) == str(second)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(parameter.grad is None for parameter in net.parameters())
