"""Memory by intervention: which inputs the answers depend on."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg


def latch(T=60, B=40, seed=0):
    """tanh(3 h + x): the sign of the first input is kept for good, the others are too small to turn it."""
    rng = np.random.default_rng(seed)
    xs = 0.1 * rng.normal(size=(T, B, 1))
    xs[0] = 3 * rng.choice([-1.0, 1.0], size=(B, 1))
    return xs


def run(xs, w=3.0):
    W, h, hs = tg.Tensor([[w]], requires_grad=True), np.zeros((xs.shape[1], 1)), []
    for _, x in tg.steps(xs):
        h = np.tanh(x + h @ W)
        hs.append(h)
    return hs


def scores(xs):
    """Of two classes, at the end."""
    h = run(xs)[-1].data
    return np.concatenate([h, -h], axis=-1)


def test_a_latch_remembers_what_its_gradient_does_not_show():
    xs = latch()
    found = tg.influence(scores, xs)
    assert found.reach == 59
    assert found.changed[-1] == 1.0
    assert not found.changed[:-1].any()
    assert found.counted[-1] == 40
    hs = run(xs)
    both = tg.diagnose([(h * h).sum() for h in hs], hs, influence=found)
    assert both.verdict == "vanishing"
    assert both.influence is found
    first, second = str(both).split("\n")
    assert first == (
        "does it use its past: its answers depend on inputs up to 59 steps back (100% change if that one is replaced), "
        "the farthest of 60 lags that were tried."
    )
    assert second.startswith("can it learn to: vanishing: ")


def test_each_sequence_counts_within_its_own_length():
    xs, lengths = latch(B=6), np.array([60, 60, 30, 30, 12, 12])
    xs[0, :, 0] = [3, -3, 3, -3, 3, -3]

    def predict(x):
        h = np.stack([h.data for h in run(x)])[lengths - 1, np.arange(6)]
        return np.concatenate([h, -h], axis=-1)

    found = tg.influence(predict, xs, lengths)
    changed = dict(zip(found.lags.tolist(), found.changed.tolist(), strict=True))
    assert {lag for lag, share in changed.items() if share} == {59, 29, 11}
    assert changed[59] == 1.0
    assert changed[29] == pytest.approx(2 / 4), (
        "of the sequences that have an input 29 steps before their end, half begin there"
    )
    assert found.counted.tolist() == [6] * 12 + [4] * 18 + [2] * 30


def test_numbers_at_every_step():
    """y_t = x_(t-3): only the input three steps before changes it, by exactly as much as two sequences differ."""
    xs = np.random.default_rng(0).normal(size=(20, 500, 1))
    found = tg.influence(lambda x: np.concatenate([np.zeros((3, 500, 1)), x[:-3]]), xs)
    assert found.reach == 3
    assert not found.classes
    share = dict(zip(found.lags.tolist(), found.changed.tolist(), strict=True))
    assert share[3] > 0.95
    assert sum(share.values()) == share[3]
    moved = found.moved[found.lags == 3]
    assert moved == pytest.approx(1.0, rel=0.1)


def test_a_network_that_forgets_depends_on_its_last_inputs_alone():
    xs = np.random.default_rng(0).normal(size=(40, 64, 1))
    found = tg.influence(lambda x: run(x, w=0.2)[-1], xs)
    assert 1 <= found.reach < 8
    assert "the farthest" not in str(found)
    assert "less than 1% of its answers change" in str(tg.influence(lambda x: np.zeros((64, 2)), xs))


def test_answers_behind_the_end_of_a_sequence_do_not_count():
    xs, n = np.random.default_rng(0).normal(size=(6, 8, 1)), np.array([3, 5] * 4)
    behind = (np.arange(6)[:, None] >= n)[..., None]
    assert not tg.influence(lambda x: np.cumsum(x, 0) * behind, xs, lengths=n).changed.any()


def test_what_influence_refuses():
    xs = np.random.default_rng(0).normal(size=(5, 4, 1))
    rng = np.random.default_rng(0)
    for given, options, message in (
        (xs[:, :1], {}, "at least two sequences"),
        (xs[:0], {}, "at least two sequences"),
        (xs, {"lengths": [5, 5, 5, 9]}, "integers from 1 to 5"),
        (np.ones((5, 4, 1)), {}, "all sequences are the same"),
    ):
        with pytest.raises(tg.InputError, match=message):
            tg.influence(lambda x: x[-1], given, **options)
    with pytest.raises(tg.InputError, match="expected"):
        tg.influence(lambda x: x[-1, :2], xs)
    with pytest.raises(tg.InputError, match=r"model\.eval"):
        tg.influence(lambda x: x[-1] + rng.normal(), xs)
