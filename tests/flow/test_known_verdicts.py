"""What is said of networks whose answer is known: nothing wrong, nothing misleading."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from known_nets import CASES, Known, layer, linear, loop, orthogonal, random_weights, squared, weight

import tinygrad_rnn as tg
from tinygrad_rnn.flow import along

SENTENCES = Path(__file__).parent / "known_verdicts.txt"


def test_there_are_at_least_80_networks():
    assert len(CASES) >= 80
    told = re.findall("^# (.*)$", SENTENCES.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(told) == {case.name for case in CASES}
    assert len({case.name for case in CASES}) == len(CASES)


SLOW = ("2000", "T = 300", "T = 400", "T = 500", "both directions", "slices", "LSTM, two", "GRU, two", "whole loss")
"""In the names of networks that take longer."""

LONG = [
    pytest.param(case, marks=pytest.mark.slow if any(part in case.name for part in SLOW) else (), id=case.name)
    for case in CASES
]


@pytest.mark.parametrize("case", LONG)
def test_the_verdict_of_a_network_that_is_known(case: Known, request: pytest.FixtureRequest):
    found = tg.diagnose(*case.make())
    one = found.layers[0]
    assert found.verdict == case.verdict
    assert tuple(finding.kind for finding in one.findings) == case.kinds
    if case.layers is not None:
        assert tuple(layer.verdict for layer in found.layers) == case.layers
    if case.gain is not None:
        assert one.memory.gain == pytest.approx(case.gain, rel=1e-6)
    if case.gain is not None and case.gain < 1:
        assert one.memory.half_life == pytest.approx(np.log(0.5) / np.log(case.gain), rel=1e-6)
    if case.horizon is not None:
        assert one.memory.horizon == case.horizon
    if case.sequences is not None:
        assert one.verdicts == case.sequences

    # the very sentence, which somebody has read
    known = dict(line.split("\n", 1) for line in SENTENCES.read_text(encoding="utf-8").strip().split("\n\n"))
    said = re.sub(r", at [^;]*known_nets\.py[^;]*", "", str(found))
    if request.config.getoption("--update-golden"):
        known[f"# {case.name}"] = said
        SENTENCES.write_text("\n\n".join("\n".join(item) for item in known.items()) + "\n", encoding="utf-8")
    assert known[f"# {case.name}"] == said


# ------------------------------------------------------------------ what must not change the answer
@pytest.mark.parametrize("r", [0.3, 0.5, 0.8, 0.9])
def test_gain_half_life_and_horizon_do_not_depend_on_T(r):
    found = [tg.diagnose(*linear(r, T)).layers[0].memory for T in (80, 81, 120)]
    assert {memory.verdict for memory in found} == {"vanishing"}
    assert {memory.horizon for memory in found} == {int(np.ceil(np.log(0.001) / np.log(r)))}
    np.testing.assert_allclose([memory.gain for memory in found], r, rtol=1e-9)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_does_not_change_a_sequence(kind, bidirectional):
    """Each of four sequences alone, and all together padded to the longest."""
    net, lengths = getattr(tg.nn, kind)(3, 4, rng=0, bidirectional=bidirectional), [20, 14, 12, 3]
    x = np.random.default_rng(0).normal(size=(20, 4, 3))
    hs, _ = net.unrolled(x, lengths=lengths)
    together = tg.diagnose([squared(h) for _, h in tg.steps(hs)]).layers
    for b, n in enumerate(lengths):
        own, _ = net.unrolled(x[:n, b : b + 1])
        alone = tg.diagnose([squared(h) for _, h in tg.steps(own)]).layers
        for one, other in zip(together, alone, strict=True):
            found, expected = one.sequences[b], other.memory
            assert (found.verdict, found.horizon, found.lags) == (expected.verdict, expected.horizon, expected.lags)
            assert found.gain == pytest.approx(expected.gain, rel=1e-9, nan_ok=True)


def test_two_steps_of_which_the_last_c_is_in_no_use_are_one_layer():
    net, x = layer("LSTM", T=2, B=2)
    hs, _ = net.unrolled(x, lengths=[1, 2])
    (found,) = tg.diagnose(sum(squared(h) for h in hs)).layers
    assert [len(state) for state in found.states] == [2, 1]


def test_a_spectrum_of_a_ragged_batch_leaves_out_what_is_in_no_use():
    hs, _ = tg.nn.LSTM(3, 4, rng=0).unrolled(np.random.default_rng(0).normal(size=(6, 2, 3)), lengths=[6, 3])
    (states,) = tg.gradient_flow(sum(squared(h) for h in hs)).structure.layers
    assert tg.spectrum(states).jacobians.shape == (4, 2, 8, 8)


def test_the_order_of_the_batch_and_of_the_units_does_not_matter():
    rng = np.random.default_rng(0)
    A, gains, x = 0.6 * rng.normal(size=(5, 5)), rng.uniform(0.5, 1.5, size=(6, 1)), rng.normal(size=(40, 6, 5))
    p, q = rng.permutation(5), rng.permutation(6)

    def made(A, gains, x):
        W, h, hs = weight(A), np.zeros((6, 5)), []
        for _, x_t in tg.steps(x):
            h = np.tanh(x_t + gains * (h @ W))
            hs.append(h)
        return tg.diagnose([(h * h).sum() for h in hs], hs).layers[0], tg.spectrum(hs)

    (one, spectrum), (other, permuted) = made(A, gains, x), made(A[np.ix_(p, p)], gains[q], x[:, q][..., p])
    assert one.verdicts == other.verdicts
    assert other.memory.left == pytest.approx(one.memory.left, rel=1e-9)
    np.testing.assert_allclose([m.gain for m in other.sequences], np.array([m.gain for m in one.sequences])[q])
    assert permuted.gain == pytest.approx(spectrum.gain, rel=1e-6)


def test_thresholds_can_be_set():
    losses, hs = linear(0.9, 30)
    assert tg.diagnose(losses, hs).verdict == "healthy"
    found = tg.diagnose(losses, hs, thresholds=tg.flow.Thresholds(low=0.1)).layers[0]
    assert (found.verdict, found.memory.horizon) == ("vanishing", 22)
    assert "less than 10% is left from lag 22 on" in str(found)
    assert tg.diagnose(losses, hs, thresholds=tg.flow.Thresholds(lags=40)).verdict == "too short to tell"
    with pytest.raises(tg.InputError, match="low between 0 and 1"):
        tg.flow.Thresholds(low=2)


# ------------------------------------------------------------------ the numbers, by hand
def test_the_reach_of_every_loss_by_hand():
    """|dL_t/dh_k| of each sequence of a tanh network, in NumPy alone."""
    rng = np.random.default_rng(0)
    A, xs = 0.5 * rng.normal(size=(4, 4)), rng.normal(size=(30, 3, 4))
    W, h, hs = weight(A), np.zeros((3, 4)), []
    for _, x in tg.steps(xs):
        h = np.tanh(x + h @ W)
        hs.append(h)
    found = tg.diagnose([(h**3).sum() for h in hs], hs).layers[0]
    states = [h.data for h in hs]
    reach = np.zeros((30, 3, 30))
    for t in range(30):
        g = 3 * states[t] ** 2
        for k in range(t, -1, -1):
            reach[t, :, k] = np.linalg.norm(g, axis=1)
            g = (g * (1 - states[k] ** 2)) @ A.T
    np.testing.assert_allclose(found.reach.norms, reach, rtol=1e-9, atol=1e-300)
    for b, memory in enumerate(found.sequences):  # the share that has fallen below 0.1 %, among those that last so long
        curves = [reach[t, b, t::-1] / reach[t, b, t] for t in range(30)]
        surviving = 1.0
        for lag in range(1, 30):
            at_risk = [c for c in curves if len(c) > lag and (c[:lag] >= 0.001).all()]
            surviving *= 1 - np.mean([c[lag] < 0.001 for c in at_risk]) if at_risk else 1.0
            if surviving <= 0.5:
                break
        assert memory.horizon == lag
    quantiles = found.by_lag((0.25, 0.5, 0.75))
    for lag in (0, 1, 7, 29):
        values = [reach[t, b, t - lag] / reach[t, b, t] for t in range(lag, 30) for b in range(3)]
        np.testing.assert_allclose(quantiles[:, lag], np.quantile(values, [0.25, 0.5, 0.75]), rtol=1e-9)


def exponents(jacobians):
    """Lyapunov exponents by an independent QR: from the identity, by Gram and Schmidt, in extended steps."""
    frame, logs = np.eye(len(jacobians[0])), np.zeros(len(jacobians[0]))
    for J in jacobians:
        moved = J @ frame
        for i in range(len(moved)):
            for j in range(i):
                moved[:, i] -= (moved[:, j] @ moved[:, i]) * moved[:, j]
            size = np.linalg.norm(moved[:, i])
            logs[i] += np.log(size)
            moved[:, i] /= size
        frame = moved
    return np.sort(logs / len(jacobians))[::-1]


@pytest.mark.parametrize("g", [0.5, 1.0, 2.5])
def test_exponents_against_an_independent_qr(g):
    T = 300
    _, hs = random_weights(g, T, H=6)
    found = tg.spectrum(hs)
    own = [exponents(found.jacobians[:, b]) for b in range(2)]
    np.testing.assert_allclose(found.lyapunov, own, atol=8 / T)  # the frames begin differently: that fades as 1 / T
    np.testing.assert_allclose(found.lyapunov.sum(1), np.sum(own, 1), rtol=1e-9)
    assert found.gain == pytest.approx(np.exp(found.lyapunov[:, 0].mean()), rel=1e-9)


def test_a_doubling_time_is_that_of_two_nearby_states():
    losses, hs = random_weights(2.5, 80)
    layer = tg.diagnose(losses, hs).layers[0]
    (chaos,) = (finding for finding in layer.findings if finding.kind == "chaos")
    mixed = np.full((2, 79), [[2.272], [-0.272]])  # over quarters and sequences 1, give or take 0.48
    assert along.chaos(layer.reach.layout, mixed)
    assert not along.chaos(layer.reach.layout, mixed - 0.1)
    rng = np.random.default_rng(3)
    W, b = 2.5 * rng.normal(size=(64, 64)) / 8, rng.normal(size=(2, 64))
    xs = 0.1 * np.random.default_rng(1).normal(size=(80, 2, 64))
    states = []
    for off in (0.0, 1e-12):
        h = np.zeros((2, 64)) + off
        for t, x in enumerate(xs):
            h = np.tanh(0.01 * x + h @ W + (b if t == 0 else 0.0))
            states.append(h)
    apart = np.linalg.norm(np.array(states[:80]) - np.array(states[80:]), axis=2)
    rate = np.log(apart[60] / apart[20]).mean() / 40
    assert chaos.value == pytest.approx(np.log(2) / rate, rel=0.3)


# ------------------------------------------------------------------ spectra
def test_a_state_of_higher_order_has_the_spectrum_of_its_companion_system():
    A, B = 0.5 * orthogonal(3), 0.4 * orthogonal(3, 1)
    W, V, zero = weight(A), weight(B), np.zeros((2, 3))
    _, hs = loop(40, lambda t, x, h, hs: x + h @ W + (hs[t - 3] if t >= 3 else zero) @ V, H=3)
    found = tg.spectrum(hs)
    companion = np.zeros((9, 9))
    companion[:3, :3], companion[:3, 6:], companion[3:, :6] = A.T, B.T, np.eye(6)
    assert found.order == 3
    np.testing.assert_allclose(found.jacobians, np.broadcast_to(companion, (37, 2, 9, 9)), atol=1e-14)
    assert found.gain == pytest.approx(np.linalg.norm(np.linalg.matrix_power(companion, 37), 2) ** (1 / 37), rel=1e-9)


def test_column_vectors_are_one_sequence():
    A = np.random.default_rng(0).normal(size=(5, 5))
    W = weight(A)
    _, hs = loop(10, lambda t, x, h, hs: np.tanh(x + W @ h), h=np.zeros((5, 1)))
    J = tg.spectrum(hs).jacobians
    np.testing.assert_allclose(J[:, 0], [(1 - h.data**2) * A for h in hs[1:]], rtol=1e-12)
    _, hs = loop(10, lambda t, x, h, hs: np.tanh(x + W @ h), h=np.zeros((5, 3)))
    J = tg.spectrum(hs).jacobians
    assert J.shape == (9, 3, 5, 5)
    np.testing.assert_allclose(J[4, 2], (1 - hs[5].data[:, 2:] ** 2) * A, rtol=1e-12)


def test_padding_is_no_step_of_a_spectrum():
    net, x = layer("GRU", T=20, B=3)
    together = tg.spectrum(net.unrolled(x, lengths=[20, 7, 3])[0])
    for b, n in enumerate([20, 7, 3]):
        alone = tg.spectrum(net.unrolled(x[:n, b : b + 1])[0])
        np.testing.assert_allclose(together.lyapunov[b], alone.lyapunov[0], rtol=1e-9)
        assert alone.gain == pytest.approx(np.exp(together.lyapunov[b, 0]), rel=1e-9)
    assert f"{np.exp(together.lyapunov[:, 0].mean()):.3g} a step" in str(together)


def test_a_spectrum_completes_the_state_or_refuses():
    net = tg.nn.LSTM(2, 3, rng=0)
    hs, _ = net.unrolled(np.random.default_rng(0).normal(size=(8, 2, 2)))
    assert tg.spectrum(hs).jacobians.shape[-1] == 6, "c_t is part of the state"
    W, h, c, hs = weight(np.eye(3)), np.zeros((2, 3)), np.zeros((2, 3)), []
    for _, x in tg.steps(np.ones((6, 2, 3))):
        c, h = c * 0.5 + h @ W, x + h @ W + c
        hs.append(h)
    whole = tg.spectrum(hs)
    assert whole.jacobians.shape[-1] == 6
    W = weight(np.ones((1, 2100)))
    _, hs = loop(3, lambda t, x, h, hs: x + h * W, B=1, H=2100)
    with pytest.raises(tg.InputError, match=r"2,100 numbers, more than 2,048"):
        tg.spectrum(hs)
