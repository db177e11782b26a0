"""What must hold for the gradient of any recurrent network, checked on random cells, sizes and losses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.flow.norms import norm


class Network:
    """A random network of the user's own making: `losses`, `states` of each layer, and the parameters."""

    def __init__(self, kind: str, T: int, B: int, H: int, seed: int, last_only: bool, directions: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.kind, self.H, self.T = kind, H, T
        self.parameters: list[tg.Tensor] = []
        xs = self.rng.normal(size=(T, B, 2))
        self.layers: list[list] = []
        tops = []
        for way in range(directions):
            layers = 2 if kind == "two layers" else 1
            cells = [self.cell(2 if layer == 0 else H) for layer in range(layers)]
            state = [self.zeros(B) for _ in cells]
            made: list[list] = [[] for _ in cells]
            with tg.scope("backward" if way else "forward"):
                for _, x in tg.steps(xs, reverse=way == 1):
                    for layer, cell in enumerate(cells):
                        state[layer] = cell(x, state[layer])
                        made[layer].append(state[layer])
                        x = state[layer][-1]
            self.layers += made
            tops.append([s[-1] for s in (reversed(made[-1]) if way else made[-1])])
        self.readout = self.weight(H * directions, 2)
        self.losses = []
        for t, hs in tg.steps(list(zip(*tops, strict=True))):
            if not last_only or t == T - 1:
                y = (tg.concatenate(hs, axis=1) if directions > 1 else hs[0]) @ self.readout
                self.losses.append(tg.squared_error(y, self.rng.normal(size=(B, 2))))
        self.loss = tg.stack(self.losses).mean()

    def weight(self, *shape: int) -> tg.Tensor:
        self.parameters.append(tg.Tensor(self.rng.normal(size=shape) / np.sqrt(shape[0]), requires_grad=True))
        return self.parameters[-1]

    def zeros(self, B: int):
        return tuple(tg.Tensor(np.zeros((B, self.H))) for _ in range(2 if self.kind == "lstm" else 1))

    def cell(self, inputs: int):
        H, n = self.H, {"lstm": 4, "gated": 2}.get(self.kind, 1)
        W, R, b = self.weight(inputs, n * H), self.weight(H, n * H), self.weight(n * H)
        self.recurrent = R

        def step(x, state):
            *c, h = state
            a = x @ W + h @ R + b
            if self.kind == "lstm":
                i, f, g, o = (a[:, k * H : (k + 1) * H] for k in range(4))
                c = tg.sigmoid(f) * c[0] + tg.sigmoid(i) * np.tanh(g)
                return c, tg.sigmoid(o) * np.tanh(c)
            if self.kind == "gated":
                z = tg.sigmoid(a[:, :H])
                return ((1 - z) * np.tanh(a[:, H:]) + z * h,)
            if self.kind == "normalised":
                h = np.tanh(a + 0.1 * h * h)
                return (h / np.sqrt(1 + (h * h).mean(axis=1, keepdims=True)),)
            if self.kind == "columns":  # vectors are columns, as in W_hh h
                return (np.tanh(x @ W + (R.T @ h.T + b.reshape(-1, 1)).T),)
            if self.kind == "assembled":
                return (
                    tg.concatenate([np.tanh(a[:, :1]), tg.relu(a[:, 1:].reshape(-1)).reshape(a[:, 1:].shape)], axis=1),
                )
            return (a if self.kind == "linear" else np.tanh(a),)

        return step


networks = st.builds(
    Network,
    kind=st.sampled_from(["tanh", "linear", "gated", "lstm", "two layers", "normalised", "assembled", "columns"]),
    T=st.integers(2, 7),
    B=st.integers(1, 3),
    H=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    last_only=st.booleans(),
    directions=st.integers(1, 2),
)


def check_identities(network: Network) -> None:
    flow = tg.gradient_flow(network.loss)
    network.loss.backward()

    # the contributions of the steps sum to the gradient
    contributions = {}
    for weight in network.parameters:
        G = flow.per_step(weight)
        np.testing.assert_allclose(G.sum(0) + flow.outside(weight), weight.grad, rtol=1e-10, atol=1e-13)
        contributions[weight.index] = G
    for record in flow.weights():
        assert 0 <= record.cancellation <= 1 + 1e-12
        np.testing.assert_allclose(record.norms, [norm(g) for g in contributions[record.tensor.index]], rtol=1e-12)
        np.testing.assert_allclose(record.total, norm(record.tensor.grad), rtol=1e-12)

    # what arrives on the edges of a node sums to its gradient
    for node in flow.structure.nodes[:-1]:
        sent = [flow.edge(user, i) for user, i in flow.structure.consumers(node)]
        if flow.gradient(node) is not None:
            arrived = np.sum([message for message in sent if message is not None], axis=0)
            np.testing.assert_allclose(arrived, flow.gradient(node), rtol=1e-10, atol=1e-13)

    # h_0 = 0: the first step adds nothing to W_hh, exactly (of the direction that was made last)
    order = sorted({state[0].step for state in network.layers[-1]}, reverse=network.layers[-1][0][0].step != 0)
    assert not contributions[network.recurrent.index][flow.structure.steps.index(order[0])].any()

    # each state: the losses' gradients sum to the whole, and its own step's loss is what is injected
    scale = 1 / len(network.losses)
    by_tensor = {record.tensor.index: record for record in flow.states()}
    steps = range(network.T) if len(network.losses) == network.T else [network.T - 1]
    for layer in network.layers:
        tops = [state[-1] for state in layer]
        gradients = [tg.grad(loss, tops) for loss in network.losses]
        C = tg.credit(network.losses, tops)
        for k, state in enumerate(layer):
            parts = [of_loss[k].data * scale for of_loss in gradients]
            record = by_tensor.get(state[-1].index)
            if record is None:  # read backwards, the last step comes first: its loss alone sees no other state
                assert len(steps) == 1
                assert k == 0 or not C[:, k].any()
                continue
            np.testing.assert_allclose(np.sum(parts, axis=0), record.gradient, rtol=1e-10, atol=1e-13)
            np.testing.assert_allclose(C[:, k] * scale, [norm(part) for part in parts], rtol=1e-10, atol=1e-13)
            own = [part for t, part in zip(steps, parts, strict=True) if t == record.step]
            np.testing.assert_allclose(record.injected, sum(own, np.zeros(own[0].shape if own else ())), atol=1e-12)
            np.testing.assert_allclose(record.from_future, record.gradient - record.injected, rtol=1e-12, atol=1e-15)
        if len(network.losses) == network.T:
            future = np.triu(C, 1) if layer[0][0].step == 0 else np.tril(C[:, ::-1], -1)
            assert not future.any(), "no loss depends on a state that comes after it"

    # the table's last row of credit is that of `credit`
    for layer in flow.structure.layers:
        if len(layer) < 2:
            continue
        credit = tg.credit(network.losses, layer)
        expected = credit[-1] if layer[0][0].step == 0 else credit[0]
        np.testing.assert_allclose(
            tg.diagnose(flow.loss, layer).layers[0].last, expected * scale, rtol=1e-10, atol=1e-14
        )


quick = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
thorough = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(networks)
@quick
def test_identities_of_the_gradient(network):
    check_identities(network)


@pytest.mark.slow
@given(networks)
@thorough
def test_identities_of_the_gradient_on_many_networks(network):
    check_identities(network)


@given(
    r=st.floats(0.2, 2.0), T=st.integers(3, 30), H=st.integers(2, 6), B=st.integers(1, 3), seed=st.integers(0, 10_000)
)
@quick
def test_a_linear_cell_with_an_orthogonal_matrix_times_r_has_gain_r(r, T, H, B, seed):
    rng = np.random.default_rng(seed)
    W = tg.Tensor(r * np.linalg.qr(rng.normal(size=(H, H)))[0], requires_grad=True)
    h, states, losses = tg.Tensor(rng.normal(size=(B, H))), [], []
    for _, x in tg.steps(rng.normal(size=(T, B, H))):
        h = x + h @ W
        states.append(h)
        losses.append((h * h).sum())
    found = tg.diagnose(losses, states).layers[0].memory
    assert found.gain == pytest.approx(r, rel=1e-6)
    if r < 0.999:
        assert found.half_life == pytest.approx(np.log(0.5) / np.log(r), rel=1e-6)
    if r > 1:
        assert found.half_life == np.inf
    for record in tg.gradient_flow(sum(losses)).states()[:-1]:
        assert record.gain == pytest.approx(r, rel=1e-9)
    spectrum = tg.spectrum(states)
    np.testing.assert_allclose(spectrum.singular_values, r, rtol=1e-9)
    np.testing.assert_allclose(spectrum.lyapunov, np.log(r), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(spectrum.by_lag, (r ** np.arange(1.0, T))[:, None, None] * np.ones((B, H)), rtol=1e-8)
