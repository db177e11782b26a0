"""Gradient flow as data: the parts of a graph, and every gradient before it is summed."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.flow import structure


def elman(T=5, H=3, B=4, seed=0, last_only=False, transposed=False, total_in_loop=False):
    """A user's own loop; returns the loss and everything by name."""
    rng = np.random.default_rng(seed)
    W_xh = tg.Tensor(rng.normal(size=(2, H)), requires_grad=True)
    W_hh = tg.Tensor(rng.normal(size=(H, H)), requires_grad=True)
    W_hy = tg.Tensor(rng.normal(size=(H, 2)), requires_grad=True)
    b_h = tg.Tensor(rng.normal(size=H), requires_grad=True)
    h0 = tg.Tensor(rng.normal(size=(B, H)), requires_grad=True)
    xs, targets = rng.normal(size=(T, B, 2)), rng.normal(size=(T, B, 2))
    R = W_hh.T if transposed else W_hh
    h, hs, losses, loss = h0, [], [], 0.0
    for t, x in tg.steps(xs):
        h = np.tanh(x @ W_xh + h @ R + b_h)
        hs.append(h)
        if not last_only or t == T - 1:
            losses.append(tg.squared_error(h @ W_hy, targets[t]))
            if total_in_loop:
                loss = loss + losses[-1]
    loss = loss / T if total_in_loop else sum(losses) / T
    return loss, {"W_xh": W_xh, "W_hh": W_hh, "W_hy": W_hy, "b_h": b_h, "h0": h0, "hs": hs, "losses": losses} | {
        "xs": xs,
        "targets": targets,
    }


def test_structure_names_the_parts_of_a_loop():
    loss, parts = elman(T=4)
    s = structure(loss)
    assert s.steps == [0, 1, 2, 3]
    assert s.states == parts["hs"]
    assert s.rows == [parts["hs"]]
    assert {w.name for w in s.shared_weights} == {"W_xh", "W_hh", "W_hy", "b_h"}
    assert s.initial_states == [parts["h0"]]
    assert s.cuts == []
    assert s.nodes[-1] is loss
    assert [node.index for node in s.nodes] == sorted(node.index for node in s.nodes)
    for user, i in s.consumers(parts["W_hh"]):
        assert user.inputs[i] is parts["W_hh"]
    assert len(s.consumers(parts["W_hh"])) == 4


def test_a_loss_added_up_inside_the_loop_is_not_a_state():
    loss, parts = elman(T=4, total_in_loop=True)
    assert structure(loss).states == parts["hs"]
    outside, _ = elman(T=4)
    for a, b in zip(tg.gradient_flow(loss).states(), tg.gradient_flow(outside).states(), strict=True):
        np.testing.assert_allclose(a.injected, b.injected, rtol=1e-12)
        np.testing.assert_allclose(a.from_future, b.from_future, rtol=1e-12, atol=1e-15)


def test_weights_without_a_name_are_numbered_by_first_use():
    rng = np.random.default_rng(0)
    V, b, W, h = parts = [tg.Tensor(rng.normal(size=size), requires_grad=True) for size in ((3, 1), 3, (3, 3), (2, 3))]
    assert not any(part.name for part in parts)
    named = tg.Tensor(np.ones(3), requires_grad=True)
    for _, x in tg.steps(rng.normal(size=(3, 2, 3))):
        h = np.tanh(h @ W * named + x + b)
    flow = tg.gradient_flow((h @ V).sum())
    assert [flow.structure.weight_name(part) for part in (W, named, b, V)] == [
        "weight #1",
        "named",
        "weight #2",
        "weight #3",
    ]
    assert [weight.name for weight in flow.weights()] == ["weight #2", "weight #1", "named"]


def test_two_layers_in_one_step_and_two_directions_are_rows_of_their_own():
    rng = np.random.default_rng(1)
    W = [tg.Tensor(rng.normal(size=(3, 3)), requires_grad=True) for _ in range(4)]
    xs = rng.normal(size=(4, 2, 3))
    h = [tg.Tensor(np.zeros((2, 3))) for _ in range(2)]
    made = [[], []]
    for _, x in tg.steps(xs):
        for layer in range(2):
            h[layer] = np.tanh((x if layer == 0 else h[0]) @ W[layer] + h[layer] @ W[2 + layer])
            made[layer].append(h[layer])
    backward_h, other = tg.Tensor(np.zeros((2, 3))), []
    for _, x in tg.steps(xs, reverse=True):
        backward_h = np.tanh(x @ W[0] + backward_h @ W[2])
        other.append(backward_h)
    loss = (tg.stack(made[1]) * tg.stack(other)).sum()
    assert structure(loss).rows == [*made, other]


def test_a_sequence_that_requires_a_gradient_is_no_weight_but_an_embedding_is():
    rng = np.random.default_rng(0)
    xs = tg.Tensor(rng.normal(size=(4, 2, 3)), requires_grad=True)
    E = tg.Tensor(rng.normal(size=(5, 3)), requires_grad=True)
    W = tg.Tensor(rng.normal(size=(3, 3)), requires_grad=True)
    batch_first = tg.Tensor(rng.normal(size=(2, 4, 3)), requires_grad=True)
    h = tg.Tensor(np.zeros((2, 3)))
    ids = rng.integers(0, 5, size=(4, 2))
    for t, x in tg.steps(xs):
        h = np.tanh(x + batch_first[:, t] + E[ids[t]] + h @ W[:, :3])
    loss = (h * h).sum()
    flow = tg.gradient_flow(loss)
    assert [w.name for w in flow.structure.shared_weights] == ["E", "W"]
    loss.backward()
    for weight in (E, W, xs, batch_first):
        np.testing.assert_allclose(flow.per_step(weight).sum(0), weight.grad, rtol=1e-12, atol=1e-15)


def test_detach_is_a_cut():
    loss_terms, W = [], tg.Tensor(0.5 * np.eye(2), requires_grad=True)
    h, made = tg.Tensor(np.ones((1, 2)), name="h0"), []
    for t, x in tg.steps(np.ones((4, 1, 2))):
        if t == 2:
            h = h.detach()
        h = np.tanh(x + h @ W)
        made.append(h)
        loss_terms.append((h * h).sum())
    flow = tg.gradient_flow(sum(loss_terms))
    assert [cut.cut_from for cut in flow.cuts] == [made[1].index]
    states = flow.states()
    assert not states[1].from_future.any()
    assert states[0].from_future.any()
    assert [s.name for s in flow.structure.initial_states] == ["h0"]


@pytest.mark.parametrize("options", [{}, {"last_only": True}, {"transposed": True}, {"total_in_loop": True}])
def test_per_step_and_edges_add_up(options):
    loss, parts = elman(**options)
    flow = tg.gradient_flow(loss)
    assert all(parts[name].grad is None for name in ("W_xh", "W_hh")), "gradient_flow touches no .grad"
    loss.backward()
    for name in ("W_xh", "W_hh", "W_hy", "b_h"):
        G = flow.per_step(parts[name])
        assert G.shape == (5, *parts[name].shape)
        np.testing.assert_allclose(G.sum(0) + flow.outside(parts[name]), parts[name].grad, rtol=1e-12, atol=1e-15)
        assert not flow.outside(parts[name]).any()
    for tensor in [*flow.structure.nodes[:-1], *flow.structure.leaves]:
        g = flow.gradient(tensor)
        sent = [flow.edge(user, i) for user, i in flow.structure.consumers(tensor)]
        if g is None:
            assert all(message is None for message in sent)
            continue
        np.testing.assert_allclose(sum(m for m in sent if m is not None), g, rtol=1e-12, atol=1e-15)
        for user, i in flow.structure.consumers(tensor):
            np.testing.assert_allclose(flow.edge_norm(user, i), np.linalg.norm(flow.edge(user, i)))


def test_each_row_of_per_step_is_the_gradient_of_a_weight_of_its_own():
    loss, parts = elman(T=3)
    flow = tg.gradient_flow(loss)
    copies = [tg.Tensor(parts["W_hh"].data, requires_grad=True) for _ in range(3)]
    h = parts["h0"]
    losses = []
    for t, x in tg.steps(parts["xs"]):
        h = np.tanh(x @ parts["W_xh"] + h @ copies[t] + parts["b_h"])
        losses.append(tg.squared_error(h @ parts["W_hy"], parts["targets"][t]))
    (sum(losses) / 3).backward()
    np.testing.assert_allclose(flow.per_step(parts["W_hh"]), [c.grad for c in copies], rtol=1e-12, atol=1e-15)


def test_per_step_of_a_scalar_weight():
    a = tg.Tensor(0.5, requires_grad=True)
    h = tg.Tensor([1.0, -2.0])
    for _ in tg.steps(np.zeros(3)):
        h = h * a
    flow = tg.gradient_flow(h.sum())
    np.testing.assert_allclose(flow.per_step(a), [-0.25, -0.25, -0.25])


def test_a_penalty_on_a_weight_is_outside_the_steps():
    loss, parts = elman()
    W = parts["W_hh"]
    whole = loss + 0.1 * (W * W).sum()
    flow = tg.gradient_flow(whole)
    np.testing.assert_allclose(flow.outside(W), 0.2 * W.data)
    np.testing.assert_allclose(flow.per_step(W), tg.gradient_flow(loss).per_step(W))
    parts = [*flow.per_step(W), flow.outside(W)]
    (left,) = (found.cancellation for found in flow.weights() if found.tensor is W)
    assert left == pytest.approx(np.linalg.norm(sum(parts)) / sum(map(np.linalg.norm, parts)))


def test_a_projection_hoisted_out_of_the_loop_is_taken_apart():
    rng = np.random.default_rng(0)
    W, R = (tg.Tensor(rng.normal(size=(3, 3)), requires_grad=True) for _ in range(2))
    xs, h, losses = rng.normal(size=(6, 2, 3)), tg.Tensor(np.zeros((2, 3))), []
    for _, z in tg.steps(xs @ W):
        h = np.tanh(z + h @ R)
        losses.append((h * h).sum())
    flow = tg.gradient_flow(sum(losses))
    assert [w.shape for w in flow.structure.shared_weights] == [(3, 3), (3, 3)]
    for t, dz in enumerate(flow.gradient(s.tensor.inputs[0]) for s in flow.states()):
        np.testing.assert_allclose(flow.per_step(W)[t], xs[t].T @ dz, rtol=1e-12, atol=1e-15)


def test_a_state_separates_what_is_injected_from_what_the_future_sends():
    loss, parts = elman(T=4)
    states = tg.gradient_flow(loss).states()
    for t, record in enumerate(states):
        (own,) = tg.grad(parts["losses"][t], parts["hs"][t])
        np.testing.assert_allclose(record.injected, own.data / 4, rtol=1e-12)
        (g,) = tg.grad(loss, parts["hs"][t])
        np.testing.assert_allclose(record.gradient, g.data, rtol=1e-12)
        np.testing.assert_allclose(record.injected + record.from_future, record.gradient, rtol=1e-12)
        if t < 3:
            expected = np.linalg.norm(record.from_future) / states[t + 1].norm
            np.testing.assert_allclose(record.gain, expected, rtol=1e-12)
    assert states[-1].gain is None
    assert not states[-1].from_future.any()


@pytest.mark.parametrize("softmax", [False, True])
def test_a_loss_made_in_the_last_step_is_that_made_after_the_loop(softmax, rng):
    W, xs, T = tg.Tensor(0.4 * rng.normal(size=(3, 3)), requires_grad=True), rng.normal(size=(6, 3)), 6

    def error(h):
        return tg.softmax_cross_entropy(h, 1) if softmax else (h * h).sum()

    def flow(inside):
        h = np.zeros(3)
        for t, x in tg.steps(xs):
            h = np.tanh(x + h @ W)
            if inside and t == T - 1:
                loss = error(h)
        return tg.gradient_flow(loss if inside else error(h))

    within, after = flow(inside=True), flow(inside=False)
    assert any(np.any(state.injected) for state in after.states())
    for one, other in zip(within.states(), after.states(), strict=True):
        np.testing.assert_array_equal(one.gradient, other.gradient)
        np.testing.assert_array_equal(one.injected, other.injected)
    assert str(within) == str(after)


def test_an_unused_part_of_the_loop_reads_as_no_gradient():
    loss, _ = elman(T=3, last_only=True)
    flow = tg.gradient_flow(loss)
    assert not flow.states()[0].injected.any()
    other, parts = elman(T=3, seed=1)
    assert flow.gradient(other) is None
    assert flow.edge(other, 0) is None
    total = parts["hs"][0].inputs[0]
    assert flow.edge(total.inputs[0].inputs[0], 0) is None  # to an array, x
    assert {found.cancellation for found in tg.gradient_flow(0 * loss).weights()} == {1.0}


def test_errors_say_what_to_do():
    loss, parts = elman()
    with pytest.raises(tg.GraphError, match="has no graph behind it"):
        tg.gradient_flow(parts["h0"].detach())
    with pytest.raises(tg.GraphError, match="not a scalar"):
        tg.gradient_flow(parts["hs"][0])
    with pytest.raises(tg.GraphError, match="none numbered 7"):
        tg.gradient_flow(loss).edge(loss, 7)
    flow = tg.gradient_flow(loss)
    stranger = tg.Tensor(np.zeros(3), requires_grad=True, name="stranger")
    for ask in (flow.per_step, flow.outside):
        for weight in (stranger, stranger.detach()):
            with pytest.raises(tg.GraphError, match="share are W_xh, W_hh, W_hy, b_h"):
                ask(weight)
        with pytest.raises(tg.DTypeError, match="got weight='W_hh', expected Tensor"):
            ask("W_hh")
    with pytest.raises(tg.GraphError, match="pass a loss"):
        structure(parts["W_hh"])


def test_linear_in_the_number_of_steps_and_nothing_stays_alive():
    def seconds(T: int) -> float:
        loss, _ = elman(T=T, B=1)
        start = time.process_time()
        flow = tg.gradient_flow(loss)
        flow.states()
        for weight in flow.structure.shared_weights:
            flow.per_step(weight)
        return time.process_time() - start

    gc.disable()
    try:
        before = sum(type(o) is tg.Tensor for o in gc.get_objects())
        short = min(seconds(200) for _ in range(3))
        long = min(seconds(4000) for _ in range(2))
        assert sum(type(o) is tg.Tensor for o in gc.get_objects()) == before
    finally:
        gc.enable()
    assert long / short < 60, f"20 times the steps took {long / short:.0f} times as long"


def test_a_state_that_is_a_slice_is_one_row_however_often_its_line_has_run():
    """Python moves the offsets of a line's instructions once it has run a few times."""
    W, h, loss = tg.Tensor(np.full((4, 8), 0.1), requires_grad=True), np.zeros((2, 4)), 0.0
    for _, x in tg.steps(np.ones((30, 2, 8))):
        h = np.tanh(x + h @ W)[:, :4]
        loss = loss + (h**2).sum()
    assert [len(row) for row in structure(loss).rows] == [30]
