"""Credit, spectrum, verdict and table: does the gradient reach the past, and are the numbers right?"""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import flow as tgflow
from tinygrad_rnn.flow.structure import paces


def orthogonal(n, rng):
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def recurrent(r, T=20, H=12, B=3, linear=False, last_only=False, seed=0):
    """h_t = tanh(x_t W_xh + h_(t-1) r Q), a squared error at every step or the last; and its arrays."""
    rng = np.random.default_rng(seed)
    arrays = {"W_xh": 0.3 * rng.normal(size=(5, H)), "W_hh": r * orthogonal(H, rng), "W_hy": rng.normal(size=(H, 2))}
    W = {name: tg.Tensor(array, requires_grad=True, name=name) for name, array in arrays.items()}
    xs, targets = rng.normal(size=(T, B, 5)), rng.normal(size=(T, B, 2))
    h, states, losses = np.zeros((B, H)), [], []
    for t, x in tg.steps(xs):
        z = x @ W["W_xh"] + h @ W["W_hh"]
        h = z if linear else np.tanh(z)
        states.append(h)
        if not last_only or t == T - 1:
            losses.append(tg.squared_error(h @ W["W_hy"], targets[t]))
    return losses, states, arrays | {"xs": xs, "targets": targets}


def by_hand(arrays, t, k):
    """dL_t/dh_k of `recurrent`, t and k from 1, in NumPy alone."""
    h, hs = np.zeros((arrays["xs"].shape[1], len(arrays["W_hh"]))), []
    for x in arrays["xs"][:t]:
        h = np.tanh(x @ arrays["W_xh"] + h @ arrays["W_hh"])
        hs.append(h)
    error = h @ arrays["W_hy"] - arrays["targets"][t - 1]
    g = 2 * error / error.size @ arrays["W_hy"].T
    for h in reversed(hs[k:]):
        g = (g * (1 - h**2)) @ arrays["W_hh"].T
    return g


def test_half_an_orthogonal_matrix_vanishes_behind_healthy_looking_norms():
    losses, states, arrays = recurrent(0.5)
    found = tg.diagnose(losses, states).layers[0]
    assert found.verdict == "vanishing"
    assert found.masked
    norms = [record.norm for record in tg.gradient_flow(sum(losses)).states()]
    assert min(norms) > 0.1 * max(norms), "the norms on the nodes alone look healthy"
    C = tg.credit(losses, states)
    assert C.shape == (20, 20)
    assert C[19, 0] == pytest.approx(np.linalg.norm(by_hand(arrays, 20, 1)), rel=1e-9)
    assert C[19, 0] < 1e-6 * C[19, 19]
    assert C[11, 4] == pytest.approx(np.linalg.norm(by_hand(arrays, 12, 5)), rel=1e-9)
    assert not np.triu(C, 1).any()
    np.testing.assert_allclose(found.last, C[19], rtol=1e-12)
    np.testing.assert_array_equal(found.credit, C)
    assert found.memory.gain < 0.5
    assert found.memory.half_life < 1
    assert 3 < found.memory.horizon < 10
    last = tg.diagnose(losses[-1], states).layers[0].sequences  # each sequence alone
    for b, one in enumerate(last):
        norms = [np.linalg.norm(by_hand(arrays, 20, k)[b]) for k in range(20, 0, -1)]
        assert norms[one.horizon] < 0.001 * norms[0] <= norms[one.horizon - 1]
        end = max(one.horizon, 4)
        slope = np.polyfit(np.arange(end + 1), np.log(norms[: end + 1]), 1)[0]
        assert one.gain == pytest.approx(np.exp(slope), rel=1e-9)
    assert "masked" in str(found)
    assert "\n" not in str(found)


def test_with_the_loss_at_the_last_step_only_nothing_is_masked():
    losses, states, arrays = recurrent(0.5, last_only=True)
    found = tg.diagnose(losses, states).layers[0]
    assert found.verdict == "vanishing"
    assert not found.masked
    C = tg.credit(losses, states)
    assert C.shape == (1, 20)
    assert C[0, 0] == pytest.approx(np.linalg.norm(by_hand(arrays, 20, 1)), rel=1e-9)


def test_the_loss_of_the_whole_sequence_is_enough():
    for last_only in (False, True):
        losses, states, _ = recurrent(0.5, last_only=last_only)
        each, whole = tg.diagnose(losses, states).layers[0], tg.diagnose([sum(losses)], states).layers[0]
        assert (whole.verdict, whole.masked, whole.memory.horizon) == ("vanishing", not last_only, each.memory.horizon)
        np.testing.assert_allclose(whole.last, each.last, rtol=1e-10)
    h = tg.Tensor(np.ones((1, 2)))
    W, states = tg.Tensor(0.5 * np.eye(2), requires_grad=True), []
    for _ in range(12):  # without tg.steps there is no time to take the loss apart by
        h = h @ W
        states.append(h)
    assert tg.diagnose([h.sum()], states).layers[0].memory.gain == pytest.approx(0.5, rel=1e-9)


def test_sequences_of_several_lengths_keep_the_two_tensors_of_a_state_together():
    out, _ = tg.nn.LSTM(3, 4, rng=0)(np.random.default_rng(0).normal(size=(6, 2, 3)), lengths=[6, 3])
    flow = tg.gradient_flow((out * out).mean())
    (layer,) = flow.structure.layers
    assert [len(state) for state in layer] == [2, 2, 2, 2, 2, 1], "the last c is in no use"
    assert sum(bool(re.match(r" +\d+  ", line)) for line in str(flow).splitlines()) == 6 + 5
    assert tg.diagnose([(out * out).mean()], layer).layers[0].credit.shape == (1, 6)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_verdict_is_of_the_slope_and_not_of_the_scale_of_the_loss(scale):
    for r, linear in ((0.5, False), (1.0, True), (1.8, True)):
        losses, states, _ = recurrent(r, linear=linear)
        one, other = (tg.diagnose([c * loss for loss in losses], states).layers[0] for c in (1.0, scale))
        assert (one.verdict, one.masked, one.memory.horizon) == (other.verdict, other.masked, other.memory.horizon)
        assert one.memory.gain == pytest.approx(other.memory.gain, rel=1e-9)


def test_a_larger_matrix_does_not_vanish():
    losses, states, _ = recurrent(1.8)
    found = tg.diagnose(losses, states).layers[0]
    assert found.verdict == "healthy"
    assert not found.masked


def test_a_linear_network_explodes_by_its_factor():
    losses, states, _ = recurrent(1.8, linear=True)
    found = tg.diagnose(losses, states).layers[0]
    assert found.verdict == "exploding"
    assert found.memory.gain == pytest.approx(1.8, rel=1e-6)
    assert found.memory.half_life == np.inf
    assert found.memory.horizon is None
    assert "clip" in found.advice
    vanishing = tg.diagnose(*recurrent(0.5, linear=True)[:2]).layers[0]
    assert vanishing.memory.gain == pytest.approx(0.5, rel=1e-6)
    assert vanishing.memory.half_life == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU"])
def test_layers_and_directions_of_nn(layer):
    rng = np.random.default_rng(0)
    model = getattr(tg.nn, layer)(3, 6, num_layers=2, bidirectional=True, rng=0)
    out, _ = model(rng.normal(size=(15, 2, 3)))
    flow = tg.gradient_flow((out * out).mean())
    assert [state[0].scope.split("/")[1] for state, *_ in flow.structure.layers] == [
        "l0",
        "l0_reverse",
        "l1",
        "l1_reverse",
    ]
    assert all(len(states) == 15 for states in flow.structure.layers)
    losses = [(y * y).mean() for y in out]
    for states in flow.structure.layers:
        assert tg.diagnose(losses, states).verdict in ("vanishing", "healthy", "mixed")
        np.testing.assert_allclose(
            tg.diagnose(flow.loss, states).layers[0].last * 15,
            tg.diagnose(losses, states).layers[0].last,
            rtol=1e-9,
            atol=1e-18,
        )


def test_an_open_forget_gate_keeps_what_a_tanh_network_of_the_same_size_loses():
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(40, 2, 3))
    found = {}
    for layer in ("RNN", "LSTM"):
        model = getattr(tg.nn, layer)(3, 8, rng=0)
        if layer == "LSTM":
            model.bias_ih_l0.data[8:16] = 6.0  # the forget gate starts open
        out, _ = model(xs)
        states = tg.gradient_flow((out[-1] ** 2).sum()).structure.layers[0]
        thresholds = tgflow.Thresholds(low=0.01)
        found[layer] = tg.diagnose([(out[-1] ** 2).sum()], states, thresholds=thresholds).layers[0]
    assert found["RNN"].verdict == "vanishing"
    assert found["LSTM"].verdict == "weak", "its c has grown large, where tanh(c) hardly lets anything pass"
    assert found["LSTM"].memory.gain > 0.95 > found["RNN"].memory.gain


def test_a_state_of_two_tensors_counts_them_as_independent():
    rng = np.random.default_rng(3)
    cell, xs, T = tg.nn.LSTMCell(2, 3, rng=1), rng.normal(size=(6, 2, 2)), 6
    states, state = [], None
    for _, x in tg.steps(xs):
        state = cell(x, state)
        states.append(state)
    C = tg.credit([(h * h).sum() for h, _ in states], states)
    spectrum = tg.spectrum(states)
    for k in range(T):  # run on from the state as leaves, which have no past in common
        h, c = restart = [tg.Tensor(part.data, requires_grad=True) for part in states[k]]
        for t in range(k, T):
            if t > k:
                h, c = cell(tg.Tensor(xs[t]), (h, c))
            if t == k + 1:
                rows = [tg.grad(part[:, i].sum(), restart) for part in (h, c) for i in range(3)]
                J = np.stack([np.concatenate([g.data for g in row], axis=1) for row in rows], axis=1)
                np.testing.assert_allclose(spectrum.jacobians[k], J, rtol=1e-10, atol=1e-14)
            gh, gc = tg.grad((h * h).sum(), restart)
            assert C[t, k] == pytest.approx(np.sqrt((gh.data**2).sum() + (gc.data**2).sum()), rel=1e-10)


def test_spectrum_of_a_tanh_network():
    _, states, arrays = recurrent(0.9, T=6, H=4)
    found = tg.spectrum(states)
    hs = [h.data for h in states]
    J = np.stack([[np.diag(1 - row**2) @ arrays["W_hh"].T for row in h] for h in hs[1:]])
    np.testing.assert_allclose(found.jacobians, J, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found.singular_values, np.linalg.svd(J, compute_uv=False), rtol=1e-9)
    product = J[-1] @ J[-2] @ J[-3]
    np.testing.assert_allclose(found.by_lag[2], np.linalg.svd(product, compute_uv=False), rtol=1e-8)
    whole = J[4] @ J[3] @ J[2] @ J[1] @ J[0]
    np.testing.assert_allclose(found.lyapunov.sum(1), np.log(np.abs(np.linalg.det(whole))) / 5, rtol=1e-9)
    assert np.all(np.diff(found.lyapunov, axis=1) <= 0)
    assert found.singular_values.max() <= 0.9 + 1e-12, "sigma_max(J_t) is at most sigma_max(W_hh) for tanh"
    assert tg.spectrum(states, sequences=1).jacobians.shape == (5, 1, 4, 4)


def test_a_single_sequence_of_column_vectors():
    rng = np.random.default_rng(0)
    W = tg.Tensor(rng.normal(size=(3, 3)), requires_grad=True)
    h, states = np.zeros(3), []
    for _, x in tg.steps(rng.normal(size=(4, 3))):
        h = np.tanh(W @ h + x)
        states.append(h)
    J = np.stack([np.diag(1 - h.data**2) @ W.data for h in states[1:]])
    np.testing.assert_allclose(tg.spectrum(states).jacobians, J[:, None], rtol=1e-12)
    g = 2 * states[3].data @ J[2] @ J[1] @ J[0]
    assert tg.credit([(states[3] ** 2).sum()], states)[0, 0] == pytest.approx(np.linalg.norm(g), rel=1e-12)


def test_spectrum_refuses_what_has_no_jacobian_of_its_own():
    W = tg.Tensor(np.eye(2), requires_grad=True)
    h, states = tg.Tensor(np.ones((3, 2))), []
    for _, x in tg.steps(np.ones((3, 3, 2))):
        h = np.tanh(x + h @ W)
        h = h - h.mean(axis=0)
        states.append(h)
    mean = np.eye(3) - 1 / 3  # of the batch, whose three sequences are then one state of six numbers
    slopes = [1 - np.tanh(1 + h.data) ** 2 for h in states[:-1]]
    J = [np.einsum("ab,bi,ij->aibj", mean, slope, np.eye(2)).reshape(6, 6) for slope in slopes]
    np.testing.assert_allclose(tg.spectrum(states).jacobians[:, 0], J, atol=1e-14)
    with pytest.raises(tg.GraphError, match="does not lead to"):
        tg.spectrum(states[::-1])
    with pytest.raises(tg.GraphError, match="got one state"):
        tg.spectrum(states[:1])
    with pytest.raises(tg.InputError, match="sequences=0"):
        tg.spectrum(states, sequences=0)
    with pytest.raises(tg.InputError, match="shapes"):
        tg.spectrum([states[0], (W * 1.0)])


def test_the_first_operation_that_is_not_finite_is_named():
    W, states, losses = tg.Tensor(np.full((1, 1), 1e200), requires_grad=True), [], []
    h = tg.Tensor(np.ones((1, 1)))
    with np.errstate(over="ignore"):
        for _, x in tg.steps(np.ones((4, 1, 1))):
            h = x + h @ W
            states.append(h)
            losses.append(h.sum())
    found = tg.diagnose(losses, states)
    assert found.verdict == "exploding"
    assert (found.first_nonfinite.op, found.first_nonfinite.step) == ("matmul", 1)
    assert found.first_nonfinite.direction == "forward"
    assert "h = x + h @ W" in str(found.first_nonfinite)
    x = tg.Tensor([0.0, 4.0], requires_grad=True)
    states = []
    for _, _ in tg.steps(np.zeros(2)):
        x = np.sqrt(x)
        states.append(x)
    found = tg.diagnose([x.sum()], states)
    assert found.first_nonfinite.direction == "backward"
    assert (found.first_nonfinite.op, found.first_nonfinite.step) == ("sqrt", 1)
    assert tg.diagnose(*recurrent(1.0)[:2]).first_nonfinite is None


def test_what_clipping_would_do():
    losses, states, _ = recurrent(0.8)
    whole = sum(losses) / 20
    clipping = tg.diagnose(losses, states, loss=whole, max_norm=0.1).clipping
    whole.backward()
    leaves = [leaf for leaf in tgflow.structure(whole).leaves if leaf.requires_grad]
    total = np.sqrt(sum((leaf.grad**2).sum() for leaf in leaves))
    assert clipping.total_norm == pytest.approx(total, rel=1e-12)
    assert clipping.factor == pytest.approx(0.1 / (total + 1e-6), rel=1e-12)
    assert tg.diagnose(losses, states, loss=whole, max_norm=1e9).clipping.factor == 1.0
    assert len(clipping.dominant) == 3
    assert clipping.dominant[0][1] >= clipping.dominant[1][1] >= clipping.dominant[2][1] > 0.05
    assert "multiply it by" in str(clipping)
    small = tg.diagnose(losses, states, loss=1e-6 * whole, max_norm=0.1).clipping
    assert [step for step, _ in small.dominant] == [step for step, _ in clipping.dominant]


def test_a_cut_shows_in_the_diagnosis():
    W = tg.Tensor(np.eye(2), requires_grad=True)
    h, states, losses = tg.Tensor(np.zeros((1, 2))), [], []
    for t, x in tg.steps(np.ones((6, 1, 2))):
        h = (x + (h.detach() if t == 3 else h) @ W) * 0.9
        states.append(h)
        losses.append((h * h).sum())
    found = tg.diagnose(losses, states).layers[0]
    assert [finding.kind for finding in found.findings] == ["cut"]
    assert (found.verdict, found.memory.lags) == ("too short to tell", 2)
    assert found.memory.gain == pytest.approx(0.9)
    assert "truncated: the path is cut, before t = 3" in str(found)
    assert "truncate less often" in found.advice
    assert not tg.credit(losses, states)[3:, :3].any()


def test_errors_of_credit():
    losses, states, _ = recurrent(1.0, T=3)
    with pytest.raises(tg.GraphError, match="no losses"):
        tg.credit([], states)
    with pytest.raises(tg.GraphError, match="no states"):
        tg.credit(losses, [])
    with pytest.raises(tg.GraphError, match="does not require a gradient"):
        tg.credit(losses, [states[0].detach()])
    with pytest.raises(tg.GraphError, match="not a scalar"):
        tg.credit(states, states)
    with pytest.raises(tg.GraphError, match="no loss depends on any"):
        tg.diagnose(losses, recurrent(1.0, T=3)[1])


def test_credit_touches_no_gradient_and_costs_what_it_must():
    losses, states, _ = recurrent(0.9, T=60)
    C = tg.credit(losses, states)
    assert all(leaf.grad is None for leaf in tgflow.structure(losses[-1]).leaves)
    for t, k in ((59, 0), (30, 17), (5, 5)):
        assert C[t, k] == pytest.approx(np.linalg.norm(tg.grad(losses[t], states[k])[0].data), rel=1e-12)


def test_norms_neither_underflow_nor_overflow():
    assert tgflow.norms.norm(np.full(4, 1e-200)) == pytest.approx(2e-200)
    assert tgflow.norms.norm(np.full(4, 1e200), np.zeros(0)) == pytest.approx(2e200)
    losses, states, _ = recurrent(0.5, T=700, H=3, B=1, linear=True, last_only=True)
    found = tg.diagnose(losses, states).layers[0]
    assert found.memory.gain == pytest.approx(0.5, rel=1e-6)


# ------------------------------------------------------------------ layers joined outside the loop
def test_injected_is_exact_where_a_layer_reads_the_stacked_states_of_another():
    rng = np.random.default_rng(0)
    V, W = (tg.Tensor(rng.normal(size=(3, 3)), requires_grad=True) for _ in range(2))
    for join in (tg.stack, lambda hs: tg.concatenate([h.reshape(1, 2, 3) for h in hs])):
        h, lower, upper, losses = np.zeros((2, 3)), [], [], []
        for _, x in tg.steps(rng.normal(size=(4, 2, 3))):
            h = np.tanh(x + h @ V)
            lower.append(h)
        h = np.zeros((2, 3))
        for _, x in tg.steps(join(lower)):
            h = np.tanh(x + h @ W)
            upper.append(h)
            losses.append((h * h).sum())
        flow = tg.gradient_flow(sum(losses))
        for t, state in enumerate(flow.structure.rows[0]):
            (own,) = tg.grad(losses[t], state)
            record = flow.states()[2 * t]
            assert record.tensor is state
            np.testing.assert_allclose(record.injected, own.data, rtol=1e-12)
            assert record.from_future.any() == (t < 3)


def test_a_layer_that_reads_the_step_before_sends_nothing_to_the_step_itself():
    W = tg.Tensor(np.random.default_rng(0).normal(size=(3, 3)), requires_grad=True)
    h, lower, losses = np.zeros((2, 3)), [], []
    for _, x in tg.steps(np.ones((5, 2, 3))):
        h = np.tanh(x + h @ W)
        lower.append(h)
    for join in (tg.stack, lambda hs: tg.concatenate([h.reshape(1, 2, 3) for h in hs])):
        losses = [(x * x).sum() for _, x in tg.steps(join(lower[:-1]), start=1)]
        flow = tg.gradient_flow(sum(losses))
        for record in flow.states()[:4]:
            assert not record.injected.any()
            assert record.from_future.any()


def test_a_loss_that_is_linear_in_the_last_state_is_injected_there():
    out, _ = tg.nn.GRU(2, 3, rng=0)(np.random.default_rng(0).normal(size=(4, 1, 2)))
    flow = tg.gradient_flow(out[-1].sum())
    *earlier, last = flow.states()
    np.testing.assert_array_equal(last.injected, np.ones((1, 3)))
    assert not any(record.injected.any() for record in earlier)


# ------------------------------------------------------------------ the table
def test_the_table_of_a_flow(monkeypatch):
    losses, _, _ = recurrent(0.5, T=12)
    flow = tg.gradient_flow(sum(losses))
    text = str(flow)
    assert "12 steps, 12 states, 3 shared weights" in text
    assert "h: vanishing: gain" in text
    assert "masked" in text
    steps = [line.split() for line in text.splitlines()[-12:]]
    assert [int(line[0]) for line in steps] == list(range(12))
    for line, record in zip(steps, flow.states(), strict=True):
        assert float(line[1]) == pytest.approx(record.norm, rel=1e-2)
    bars = [len(line[6]) for line in steps if len(line) == 8]
    assert bars == sorted(bars)
    assert bars[-1] == 10
    assert "\x1b[" not in text
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "\x1b[34mvanishing" in str(flow)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in str(flow)


@pytest.mark.parametrize(("layers", "T"), [(1, 300), (2, 50), (6, 40)])
def test_the_table_has_at_most_40_lines(layers, T):
    model = tg.nn.LSTM(2, 3, num_layers=layers, bidirectional=True, rng=0)
    out, _ = model(np.random.default_rng(0).normal(size=(T, 1, 2)))
    lines = str(tg.gradient_flow((out * out).mean())).splitlines()
    assert 9 <= len(lines) <= 40
    losses, _, _ = recurrent(0.9, T=T)
    lines = str(tg.gradient_flow(sum(losses))).splitlines()
    assert len(lines) <= 40
    assert any(re.search(r"\.\. .* \d+ steps", line) for line in lines), "what is left out is said"


def test_the_table_of_a_graph_without_time():
    W = tg.Tensor(np.eye(2), requires_grad=True)
    assert "no state is handed from one step to another" in str(tg.gradient_flow((W * W).sum()))


def test_what_a_prompt_shows_of_a_result_is_short():
    losses, states, arrays = recurrent(0.9)
    flow, found = tg.gradient_flow(sum(losses)), tg.diagnose(losses, states)
    params = {name: arrays[name] for name in ("W_xh", "W_hh", "W_hy")} | {"b_h": np.zeros(12), "b_y": np.zeros(2)}
    by_bptt = tg.bptt.rnn(params, arrays["xs"], arrays["targets"], loss="squared_error")
    assert repr(found) == str(found)
    assert repr(found.layers) == f"[{found.layers[0]}]"
    assert repr(flow) == str(flow)
    shown = [flow.structure, flow.states()[0], flow.weights()[0], found.layers[0].reach, by_bptt, tg.spectrum(states)]
    for each in shown:
        assert len(repr(each)) < 1500, repr(each)
        assert "\n" not in repr(each)
    assert "W_hh': ndarray (12, 12)" in repr(by_bptt)


def clockwork(T=12):
    """A fast state, and a slow one that is renewed at every third step."""
    rng = np.random.default_rng(0)
    A, B, C = (tg.Tensor(0.5 * orthogonal(4, rng), requires_grad=True) for _ in range(3))
    fast, slow, loss = np.zeros(4), np.ones(4), 0.0
    for t, x in tg.steps(rng.normal(size=(T, 4))):
        if t % 3 == 0:
            slow = np.tanh(x + slow @ A)
        fast = np.tanh(x + fast @ B + slow @ C)
        loss = loss + (fast * fast).sum()
    return loss


def test_layers_without_a_scope_are_told_apart_by_their_states_and_a_slow_one_says_how_long_its_step_is():
    loss = clockwork()
    found = tg.diagnose(loss)
    slow, fast = str(found).splitlines()
    assert slow.startswith("slow: ")
    assert "(one step of this state is 3 time steps)" in slow
    assert fast.startswith("fast: ")
    assert "time steps" not in fast
    assert "one step of this state is 3 time steps" in " ".join(str(tg.gradient_flow(loss)).split())


def test_an_encoder_and_a_decoder_of_one_name_are_told_apart_by_their_steps():
    rng = np.random.default_rng(0)
    A, B = (tg.Tensor(0.5 * orthogonal(4, rng), requires_grad=True) for _ in range(2))
    s = np.zeros(4)
    for _, x in tg.steps(rng.normal(size=(4, 4))):
        s = np.tanh(x + s @ A)
    for _, x in tg.steps(rng.normal(size=(3, 4)), start=4):
        s = np.tanh(x + s @ B)
    encoder, decoder = str(tg.diagnose((s * s).sum())).splitlines()
    assert encoder.startswith("s of steps 0 to 3: ")
    assert decoder.startswith("s of steps 4 to 6: ")


def test_a_slow_profile_is_labelled_with_its_own_name_and_pace():
    loss = clockwork()
    upper, lower = tg.viz.plots.profile(tg.gradient_flow(loss), tg.diagnose(loss))
    labels = [line.get_label() for line in upper.lines]
    assert labels[::2] == ["|∂L/∂slow_k|, all losses", "|∂L_T/∂slow_k|, the last loss"]
    assert lower.lines[0].get_label() == "gain from the next state to k"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [([0, 1, 2], (1, 1)), ([4, 2, 0], (2, 2)), ([0, 1, 2, 0, 1], (1, 1)), ([0, 3, 4], (1, 3)), ([None, None], (1, 1))],
)
def test_paces_count_time_steps_in_the_direction_of_the_states(steps, expected):
    assert paces([(SimpleNamespace(step=step),) for step in steps]) == expected
