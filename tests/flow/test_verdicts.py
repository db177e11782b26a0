"""Diagnoses of networks whose answer is known."""

from __future__ import annotations

from dataclasses import is_dataclass

import numpy as np
import pytest
from known_nets import linear, weight

import tinygrad_rnn as tg
from tinygrad_rnn import flow
from tinygrad_rnn.flow import Thresholds
from tinygrad_rnn.flow.memory import Memory
from tinygrad_rnn.flow.remedies import spectral_radius

T, B, H = 30, 3, 8


def losses_of(hs):
    return [(h * h).sum() for _, h in tg.steps(hs)]


def layer(kind, scale=0.5, **options):
    """A layer whose recurrent weights are orthogonal blocks times `scale`, and its inputs."""
    rng = np.random.default_rng(0)
    net = getattr(tg.nn, kind)(3, H, rng=0, **options)
    W = net.weight_hh_l0
    net.bias_ih_l0.data[...] = net.bias_hh_l0.data[...] = 0
    blocks = [np.linalg.qr(rng.normal(size=(H, H)))[0] for _ in range(W.shape[0] // H)]
    W.data[...] = scale * np.concatenate(blocks)
    return net, tg.Tensor(0.1 * rng.normal(size=(T, B, 3)))


def loop(scale=0.5, shown=lambda h: h):
    """h_t = tanh(x_t + scale h_(t-1) Q), and what is shown of each h_t."""
    rng = np.random.default_rng(1)
    W = tg.Tensor(scale * np.linalg.qr(rng.normal(size=(H, H)))[0], requires_grad=True, name="W")
    h, hs, seen = np.zeros((B, H)), [], []
    for _, x in tg.steps(0.1 * rng.normal(size=(T, B, H))):
        h = np.tanh(x + h @ W)
        hs.append(h)
        seen.append(shown(h))
    return hs, seen


@pytest.mark.parametrize(("scale", "verdict"), [(0.5, "vanishing"), (1.0, "healthy")])
@pytest.mark.parametrize("batch_first", [False, True])
def test_slices_of_the_stacked_output_stand_for_their_states(scale, verdict, batch_first):
    net, x = layer("RNN", scale, batch_first=batch_first)
    out, _ = net(x.swapaxes(0, 1) if batch_first else x)
    hs = [out[:, t] if batch_first else out[t] for t in range(T)]
    losses = losses_of(hs)
    found = tg.diagnose(losses, hs).layers[0]
    assert found.verdict == verdict
    (own,) = tg.gradient_flow(sum(losses)).structure.layers
    truth = tg.diagnose(losses, own).layers[0]
    assert found.memory.gain == truth.memory.gain
    np.testing.assert_array_equal(tg.spectrum(hs).lyapunov, tg.spectrum(own).lyapunov)
    if scale == 0.5:
        assert found.memory.gain == pytest.approx(0.49, abs=0.02)


@pytest.mark.parametrize(
    "shown",
    [tg.relu, np.tanh, lambda h: 2 * h + 1, lambda h: h.reshape(B, 2, H // 2), lambda h: h * (np.arange(H) % 2)],
)
def test_monotone_functions_and_views_stand_for_their_states(shown):
    hs, seen = loop(shown=shown)
    losses = losses_of(seen)
    found, truth = (tg.diagnose(losses, held).layers[0] for held in (seen, hs))
    assert (found.verdict, found.memory.gain) == (truth.verdict, truth.memory.gain) == ("vanishing", found.memory.gain)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_outputs_masked_by_lengths_stand_for_their_states(kind):
    net, x = layer(kind)
    hs, _ = net.unrolled(x, lengths=np.array([T, T, 7]))
    losses = losses_of(hs)
    found = tg.diagnose(losses, hs).layers[0]
    (own,) = tg.gradient_flow(sum(losses)).structure.layers
    assert found.memory.gain == tg.diagnose(losses, own).layers[0].memory.gain > 0.3


def test_a_state_that_stands_still_has_gain_one():
    net, x = layer("GRU", scale=0.0)
    net.bias_hh_l0.data[H : 2 * H] = 60.0  # update gate: keep the state
    hs, _ = net.unrolled(x, lengths=np.full(B, T))
    assert tg.diagnose((hs[-1] + 1).sum(), hs).layers[0].memory.gain == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (lambda h: h @ np.eye(H), "matmul"),
        (lambda h: h * h, "multiply"),
        (lambda h: h.sum(-1), "sum"),
        (tg.softmax, "softmax"),
    ],
)
def test_what_is_no_state_is_refused_with_the_reason(shown, reason):
    _, seen = loop(shown=shown)
    with pytest.raises(tg.GraphError, match=f"beside the path.*{reason} is on the way"):
        tg.diagnose(losses_of(seen), seen)


def test_slices_that_span_several_steps_are_refused():
    net, x = layer("RNN")
    out, _ = net(x)
    hs = [out[t : t + 2] for t in range(T - 1)]
    with pytest.raises(tg.GraphError, match="made from 2 states"):
        tg.diagnose(losses_of(hs), hs)
    with pytest.raises(tg.GraphError, match="the same state"):
        tg.diagnose(losses_of(hs), [out[3], out[3]])


def test_both_directions_side_by_side_are_refused():
    net, x = layer("RNN", bidirectional=True)
    hs, _ = net.unrolled(x)
    with pytest.raises(tg.GraphError, match="made from 2 states"):
        tg.diagnose(losses_of(hs), hs)


def test_a_state_held_beside_what_the_next_step_reads_is_no_dead_end():
    hs, seen = loop(shown=tg.relu)
    mixed = [*hs[:-1], seen[-1]]
    found, truth = (tg.diagnose(losses_of(seen), held).layers[0] for held in (mixed, hs))
    assert found.memory.gain == pytest.approx(truth.memory.gain, rel=0.1)


@pytest.mark.parametrize("silent", [1, 5, T - 2])
@pytest.mark.parametrize("kind", ["weight", "value"])
def test_losses_without_a_gradient_at_the_end_do_not_decide(kind, silent):
    hs, _ = loop()
    losses = [
        ((h * 0).sum() if kind == "weight" else tg.relu(h - 9).sum()) if t >= T - silent else (h * h).sum()
        for t, h in tg.steps(hs)
    ]
    found = tg.diagnose(losses, hs).layers[0]
    assert found.reach.silent == silent
    assert f"{silent} of {T} losses have no gradient" in str(found)
    alone = tg.diagnose(losses[: T - silent], hs[: T - silent]).layers[0]
    assert (found.memory.gain, found.verdict) == (alone.memory.gain, alone.verdict)
    assert found.verdict == ("vanishing" if silent < T - 2 else "too short to tell")


def test_losses_without_any_gradient_are_refused():
    hs, _ = loop()
    with pytest.raises(tg.GraphError, match="other than zero"):
        tg.diagnose([(h * 0).sum() for h in hs], hs)


@pytest.mark.parametrize("dead", [0, 1])
def test_the_gain_of_a_spectrum_does_not_depend_on_the_order_of_the_units(dead):
    """h_1 feeds h_0 and dies by itself: the linear network diag(0, 0.9) + coupling, in both orders."""
    A = np.diag([0.9, 0.9])
    A[dead, dead], A[dead, 1 - dead] = 0.0, 5.0  # the product of n steps is 0.9^(n - 1) [[0, 5], [0, 0.9]], or its like
    W = tg.Tensor(A, requires_grad=True)
    h, hs = tg.Tensor(np.ones((1, 2))), []
    for _, x in tg.steps(np.zeros((6, 1, 2))):
        h = x + h @ W
        hs.append(h)
    by_hand = np.linalg.norm(np.linalg.matrix_power(A, 5), 2) ** (1 / 5)
    assert tg.spectrum(hs).gain == pytest.approx(by_hand, rel=1e-9)


def test_one_dead_sequence_does_not_hide_the_others():
    W = tg.Tensor(0.5 * np.eye(3), requires_grad=True)
    h, hs = tg.Tensor(np.ones((4, 3))), []
    for _, x in tg.steps(np.array([[0.0], [0.0], [-9.0], [0.0]]) * np.ones((10, 4, 3))):
        h = tg.relu(x + h @ W)
        hs.append(h)
    assert tg.spectrum(hs).lyapunov[2, 0] == -np.inf
    assert tg.spectrum(hs).gain == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_the_loss_alone_is_enough_where_there_is_one_layer(kind):
    net, x = layer(kind)
    losses = losses_of(net.unrolled(x)[0])
    whole = sum(losses)
    (own,) = tg.gradient_flow(whole).structure.layers
    assert str(tg.diagnose(whole)) == str(tg.diagnose(whole, own))
    assert str(tg.diagnose(losses)) == str(tg.diagnose(losses, own))


def test_a_loss_without_states_is_refused():
    with pytest.raises(tg.GraphError, match=r"no layer that hands a state.*tg\.steps"):
        tg.diagnose(tg.Tensor(np.ones(3), requires_grad=True).sum())
    W, h = tg.Tensor(np.eye(2), requires_grad=True), np.ones(2)
    for _, x in tg.steps(np.ones((3, 2))):
        h = np.tanh(x + tg.truncate(h) @ W)
    with pytest.raises(tg.GraphError, match=r"no layer that hands a state.*; leave out the detach or truncate that"):
        tg.diagnose(h.sum())
    assert "detach or truncate cuts the path" in " ".join(str(tg.gradient_flow(h.sum())).split())


def test_a_state_that_goes_on_as_an_array_is_asked_about():
    W, h = tg.Tensor(np.eye(2), requires_grad=True), np.ones(2)
    for _, x in tg.steps(np.ones((3, 2))):
        h = np.tanh(x + h @ W)
        last, h = h, h.data
    with pytest.raises(
        tg.GraphError, match=r"step 2 alone; make each state from the one before it, not from its \.data"
    ):
        tg.diagnose(last.sum())
    assert "hands on the state itself, not its .data" in " ".join(str(tg.gradient_flow(last.sum())).split())


def test_segments_of_checkpointed_steps_are_not_taken_for_steps():
    W, xs = tg.Tensor(0.5 * np.eye(2), requires_grad=True), np.ones((36, 2))

    def cell(x, h):
        return x + h @ W

    def summed(x, state):
        h = cell(x, state[0])
        return h, state[1] + h.sum()

    for loss in (
        tg.checkpoint_steps(cell, np.zeros(2), xs).sum(),
        tg.checkpoint_steps(summed, (np.zeros(2), np.zeros(())), xs)[1],
    ):
        with pytest.raises(tg.GraphError, match=r"tg\.checkpoint_steps keeps no steps"):
            tg.diagnose(loss)
        assert "tg.checkpoint_steps keeps no steps" in " ".join(str(tg.gradient_flow(loss)).split())
    h = np.zeros(2)
    for x in xs:
        h = tg.checkpoint(cell)(x, h)
    assert tg.diagnose(h.sum()).layers[0].memory.gain == pytest.approx(0.5), "one step each"


def run_from(cut, length=30):
    """The states of an RNN, of which one is handed on otherwise."""
    W, h, hs = tg.Tensor(0.7 * np.eye(2), requires_grad=True), np.zeros((3, 2)), []
    for t, x in tg.steps(np.ones((length, 3, 2))):
        h = np.tanh(0.1 * x + (cut(h) if t == 12 else h) @ W)
        hs.append(h)
    return hs


def test_a_cut_is_told_to_whoever_has_only_the_loss():
    found = tg.diagnose(run_from(tg.truncate)[-1].sum()).layers[0]
    assert [one.words for one in found.findings if one.kind == "cut"] == ["truncated: the path is cut, before t = 12"]
    found = tg.diagnose(run_from(lambda h: tg.Tensor(h.data))[-1].sum()).layers[0]
    words = [one.words for one in found.findings if one.kind == "late"]
    assert words == ["its first state behind the loss is that of t = 12"]
    assert not {"cut", "late"} & {one.kind for one in tg.diagnose(run_from(lambda h: h)[-1].sum()).layers[0].findings}


def test_states_that_were_not_handed_on_are_told_so():
    W = tg.Tensor(np.eye(2), requires_grad=True)
    hs = [np.tanh(x + np.zeros((3, 2)) @ W) for _, x in tg.steps(np.ones((5, 3, 2)))]
    with pytest.raises(
        tg.GraphError, match=r"none of the given tensors, .* leads to another one; make each state from"
    ):
        tg.diagnose([hs[-1].sum()], hs)
    with pytest.raises(tg.GraphError, match="behind the loss, but step 4 alone; make each state from the one before"):
        tg.diagnose(hs[-1].sum())


def test_a_layer_that_another_one_reads_whole_looks_back_over_all_of_it():
    """The backward direction of an encoder has no past at the last step, and every step leads to the last loss."""
    rng = np.random.default_rng(0)
    below, above = tg.nn.RNN(2, 4, bidirectional=True, rng=0), tg.nn.GRU(8, 4, rng=1)
    above.bias_hh_l0.data[4:8] = 3
    loss = above(below(rng.normal(size=(15, 3, 2)))[0])[1].sum()
    found = {one.name: one for one in tg.diagnose(loss).layers}["rnn/l0_reverse"]
    sizes = [float(np.linalg.norm(tg.gradient_flow(loss).gradient(state[0]))) for state in found.states]
    assert found.memory.lags == 14
    np.testing.assert_allclose(found.last, sizes, rtol=1e-9)


def test_a_loss_of_both_final_states_is_one_loss():
    net = tg.nn.RNN(2, 4, bidirectional=True, rng=0)
    loss = net(np.random.default_rng(0).normal(size=(15, 3, 2)))[1].sum()
    for one in tg.diagnose(loss).layers:
        silent = [finding.words for finding in one.findings if finding.kind == "silent losses"]
        assert silent == ["at 1 of the 2 steps at which the loss enters it sends nothing to this layer"]


def test_the_last_output_holds_the_first_state_of_the_backward_direction():
    net = tg.nn.GRU(2, 4, bidirectional=True, rng=0)
    loss = net(np.random.default_rng(0).normal(size=(15, 3, 2)))[0][-1].sum()
    backward = {one.name: one for one in tg.diagnose(loss).layers}["gru/l0_reverse"]
    assert "it runs from t = 14 back to t = 0, and the loss reads only the state that it begins with" in str(backward)
    assert str(backward).endswith(
        "read the state that it ends with, as a layer of tg.nn returns it beside its outputs."
    )


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_the_loss_alone_tells_of_every_layer(kind):
    net, x = layer(kind, num_layers=2, bidirectional=True)
    loss = (net(x)[0] ** 2).sum()
    found = tg.diagnose(loss)
    layers = tg.gradient_flow(loss).structure.layers
    assert [one.name for one in found.layers] == [own[0][0].scope for own in layers]
    for one, own in zip(found.layers, layers, strict=True):
        assert str(one) == str(tg.diagnose(loss, own).layers[0])


def test_a_loop_of_higher_order_without_steps_ends_in_several_states():
    W = tg.Tensor(0.5 * np.eye(3), requires_grad=True)
    hs = [tg.Tensor(np.zeros((2, 3)))] * 3
    for t in range(40):
        hs.append(0.1 * (t + 1) + hs[-3] @ W)
    found = tg.diagnose(sum((h * h).sum() for h in hs[3:]), hs[3:]).layers[0]
    assert found.reach.layout.farthest == 3
    assert found.reach.layout.at(None) == 39
    assert (found.verdict, found.masked) == ("vanishing", True)


@pytest.mark.parametrize("direct", [False, True])
def test_a_loss_without_steps_is_taken_apart_by_the_states_it_reads(direct):
    """`direct`: the loss and the next state read the same weight."""

    def made(steps):
        W, V = tg.Tensor(0.5 * np.eye(3), requires_grad=True), tg.Tensor(np.ones((3, 2)), requires_grad=True)
        h, hs, loss = np.zeros((2, 3)), [], 0.0
        xs = np.random.default_rng(0).normal(size=(20, 2, 3))
        for _, x in tg.steps(xs) if steps else enumerate(xs):
            h = h @ W if direct and hs else np.tanh(x + h @ W)
            hs.append(h)
            loss = loss + ((h @ (W if direct else V)) ** 2).sum()
        return tg.diagnose(loss, hs).layers[0]

    one, other = made(True), made(False)
    np.testing.assert_allclose(other.reach.norms, one.reach.norms, rtol=1e-12)
    assert str(other) == str(one)


def test_columns_of_higher_order_are_columns():
    W, zero = tg.Tensor(0.5 * np.eye(3), requires_grad=True), np.zeros((3, 2))
    hs = []
    for t, x in tg.steps(np.ones((20, 3, 2))):
        hs.append(x + W @ (hs[t - 2] if t > 1 else zero))
    assert len(tg.diagnose([(h * h).sum() for h in hs], hs).layers[0].sequences) == 2


def test_the_gain_of_a_network_of_higher_order_is_that_of_a_step():
    every_other = 0.95 ** (np.arange(40) // 2)
    assert Memory.of(every_other[None], Thresholds(), order=2).gain == pytest.approx(np.sqrt(0.95))
    assert Memory.of(np.array([[1.0, 0.9]]), Thresholds(), order=2).gain == pytest.approx(0.9)


def test_a_spectrum_of_higher_order_where_one_state_is_an_operand_of_the_next():
    """The numbers of Fibonacci: what h_(t-2) gets by way of h_(t-1) is no part of dh_t / dh_(t-2)."""
    hs = [weight([[1.0, 2.0]]), weight([[3.0, 4.0]])]
    for _ in tg.steps(np.zeros(30)):
        hs.append(hs[-1] + hs[-2])
    found = tg.spectrum(hs[2:])
    np.testing.assert_array_equal(found.jacobians[0, 0], np.kron([[1, 1], [1, 0]], np.eye(2)))
    assert found.gain == pytest.approx((1 + np.sqrt(5)) / 2, rel=0.01)


def test_what_passes_through_a_stretch_of_steps():
    losses, hs = linear(0.5, 12)
    layer = [(h,) for h in hs]
    assert tg.gradient_flow(losses[-1]).passed(layer, range(3, 6)) == pytest.approx(0.5**3)
    assert tg.gradient_flow(losses[4]).passed(layer, range(5, 7)) is None  # no gradient behind it
    assert tg.gradient_flow(losses[-1]).passed(layer, range(9, 12)) is None  # nothing behind it


def made_of(kind):
    """An encoder and a decoder of the same scope, or two readers of one weight: two loops that number steps alike."""
    rng = np.random.default_rng(0)
    A, B = tg.nn.GRU(2, 4, rng=0), tg.nn.GRU(2, 4, rng=1)
    A.bias_ih_l0.data[4:8] = B.bias_ih_l0.data[4:8] = 6.0
    first, state = A.unrolled(rng.normal(size=(20, 3, 2)))
    if kind == "siamese":
        second, _ = A.unrolled(rng.normal(size=(25, 3, 2)))
        return (first[-1] * second[-1]).sum()
    second, _ = B.unrolled(rng.normal(size=(15, 3, 2)), state)
    return sum((h * h).sum() for _, h in tg.steps(second))


@pytest.mark.parametrize(("kind", "lags"), [("siamese", [19, 24]), ("encoder and decoder", [19, 14])])
def test_two_loops_of_one_scope_are_two_layers(kind, lags):
    found = tg.diagnose(made_of(kind))
    assert [layer.memory.lags for layer in found.layers] == lags
    assert found.verdict == "healthy"
    assert all(layer.memory.gain > 0.98 for layer in found.layers)
    assert {finding.kind for layer in found.layers for finding in layer.findings} <= {"silent losses"}


def test_thresholds_for_a_training_are_what_its_noise_leaves():
    """1 / sqrt(n units), n sequences: of 64,000 with 32 units less than 0.07 % is lost."""
    found = Thresholds.for_training(64_000, 32)
    assert found.low == pytest.approx(1 / np.sqrt(64_000 * 32))
    losses, hs = linear(0.5, 30)
    layer = tg.diagnose(losses, hs, thresholds=found).layers[0]
    assert layer.memory.horizon == int(np.ceil(np.log(found.low) / np.log(0.5)))
    assert "less than 0.0699% is left from lag 11 on" in str(layer)
    assert Thresholds.for_training(1, 1).low == 0.5
    with pytest.raises(tg.InputError, match="sequences=0"):
        Thresholds.for_training(0, 32)


def test_what_is_found_cannot_be_changed():
    kinds = [kind for kind in map(vars(flow).get, flow.__all__) if is_dataclass(kind)]
    assert len(kinds) > 5
    assert all(kind.__dataclass_params__.frozen for kind in kinds)


def test_a_radius_by_squaring_is_that_of_the_eigenvalues():
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 40):
        block = rng.normal(size=(n, n))
        for scale in (1e-200, 1.0, 1e200):
            assert spectral_radius(scale * block) == pytest.approx(
                scale * np.abs(np.linalg.eigvals(block)).max(), rel=1e-3
            )
    assert spectral_radius(np.triu(np.ones((5, 5)), 1)) == 0.0
    assert np.isnan(spectral_radius(np.array([[np.inf]])))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_that_rounding_keeps_from_reaching_zero_has_vanished(dtype):
    """0.6 and 0.9 times the smallest number there is are that number again."""
    gains = np.array([0.6, 0.9] * (200 if dtype == np.float32 else 1300), dtype)
    h, states = tg.Tensor(np.ones(1, dtype), requires_grad=True), []
    for _, g in tg.steps(gains):
        h = h * g + dtype(1)
        states.append(h)
    found = tg.diagnose(h.sum())
    assert found.verdict == "vanishing"
    np.testing.assert_allclose(found.layers[0].memory.gain, np.sqrt(0.54), rtol=1e-2)
    (row,) = tg.credit([h.sum()], states)
    assert row[0] == 0
    assert row[row > 0].min() >= np.finfo(dtype).tiny
    first = tg.gradient_flow(h.sum()).states()[0]
    assert first.norm > 0, "as backward gives it"
    assert first.gain is None, "not 1"
