"""Update rules against their textbook form, clipping, schedules, and saving; torch in the slow suite."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim

RULES = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adagrad", {"lr": 0.05, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.01, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in RULES]


def weights(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [tg.Tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]


@pytest.mark.parametrize(("name", "options"), RULES, ids=IDS)
def test_every_rule_finds_the_bottom_of_a_valley_and_continues_exactly(name, options):
    def make():
        ps = weights((3,), (2, 2))
        return ps, getattr(optim, name)(ps, **{**options, "weight_decay": 0.0})

    def step(ps, optimiser):
        optimiser.zero_grad()
        loss = sum((p * p * scale).sum() for p, scale in zip(ps, (1.0, 5.0), strict=True))
        loss.backward()
        optimiser.step()
        return loss.item()

    ps, optimiser = make()
    losses = [step(ps, optimiser) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    saved, values = optimiser.state_dict(), [p.data.copy() for p in ps]
    again, other = make()
    for p, value in zip(again, values, strict=True):
        p.data[...] = value
    other.load_state_dict(saved)
    for _ in range(5):
        assert step(ps, optimiser) == step(again, other)
    assert all(np.array_equal(p.data, q.data) for p, q in zip(ps, again, strict=True))


def test_the_first_steps_by_hand():
    def after(optimiser_type, gradients, **options):
        (p,) = ps = [tg.Tensor([1.0], requires_grad=True)]
        optimiser = optimiser_type(ps, **options)
        for g in gradients:
            p.grad = np.array([g])
            optimiser.step()
        return p.data[0]

    assert after(optim.SGD, [2.0, 2.0], lr=0.1, momentum=0.5) == pytest.approx(1 - 0.1 * 2 - 0.1 * 3)
    assert after(optim.SGD, [2.0], lr=0.1, momentum=0.5, nesterov=True) == pytest.approx(1 - 0.1 * (2 + 0.5 * 2))
    assert after(optim.SGD, [2.0], lr=0.1, weight_decay=0.5) == pytest.approx(1 - 0.1 * (2 + 0.5))
    assert after(optim.Adagrad, [3.0, 4.0], lr=0.1) == pytest.approx(1 - 0.1 - 0.1 * 4 / 5)
    assert after(optim.RMSprop, [3.0], lr=0.1, alpha=0.75) == pytest.approx(1 - 0.1 * 2)
    assert after(optim.Adam, [3.0, 3.0], lr=0.1) == pytest.approx(1 - 0.1 - 0.1)
    assert after(optim.Adagrad, [3.0, 4.0], lr=0.1, eps=1.0) == pytest.approx(1 - 0.1 * 3 / 4 - 0.1 * 4 / 6)
    assert after(optim.RMSprop, [3.0], lr=0.1, alpha=0.75, eps=0.5) == pytest.approx(1 - 0.1 * 3 / 2)
    assert after(optim.Adam, [3.0, 3.0], lr=0.1, eps=1.0) == pytest.approx(1 - 0.1 * 3 / 4 * 2)
    assert after(optim.AdamW, [3.0], lr=0.1, weight_decay=0.5) == pytest.approx(1 * (1 - 0.05) - 0.1)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_decay_that_is_changed_later_counts_from_then_on(name: str) -> None:
    def trained(later: float) -> float:
        p = tg.Tensor([1.0], requires_grad=True)
        optimiser = getattr(optim, name)([p], lr=0.1, weight_decay=0.5)
        for decay in (0.5, later):
            optimiser.weight_decay = decay
            p.grad = np.array([2.0])
            optimiser.step()
        return float(p.data[0])

    assert trained(5.0) != trained(0.0)


def test_clipping_by_norm_scales_all_gradients_as_one_vector():
    a, b = weights((2,), (1,))
    a.grad, b.grad = np.array([3.0, 0.0]), np.array([4.0])
    assert optim.clip_grad_norm_([a, b], 1.0) == 5.0
    np.testing.assert_allclose([*a.grad, *b.grad], [0.6, 0.0, 0.8], rtol=1e-6)
    assert optim.clip_grad_norm_([a, b], 1.5) == pytest.approx(1.0)
    np.testing.assert_allclose([*a.grad, *b.grad], [0.6, 0.0, 0.8], rtol=1e-6)
    optim.clip_grad_value_([a, b], 0.7)
    np.testing.assert_allclose([*a.grad, *b.grad], [0.6, 0.0, 0.7], rtol=1e-6)
    b.grad = np.array([np.nan])
    with pytest.raises(tg.GraphError, match="not finite"):
        optim.clip_grad_norm_([a, b], 1.0)


def test_schedules():
    assert [optim.step_decay(2, 0.5)(i) for i in range(5)] == [1, 1, 0.5, 0.5, 0.25]
    assert optim.exponential(0.9)(2) == pytest.approx(0.81)
    assert optim.constant()(99) == 1
    curve = [optim.cosine(10, warmup=4, end=0.1)(i) for i in range(12)]
    assert curve[:4] == [0.25, 0.5, 0.75, 1.0]
    assert curve[4] == 1.0
    assert curve[7] == pytest.approx(0.1 + 0.9 / 2)
    assert curve[10] == curve[11] == pytest.approx(0.1)
    assert curve[3:] == sorted(curve[3:], reverse=True)


def test_a_parameter_without_a_gradient_at_first_is_corrected_for_its_own_start():
    late, early = (tg.Tensor([1.0], requires_grad=True) for _ in range(2))
    optimiser = optim.Adam([late, early], lr=0.1)
    for k in range(4):
        late.grad, early.grad = np.array([0.5]) if k == 3 else None, np.array([0.5])
        optimiser.step()
    assert late.data[0] == pytest.approx(0.9)  # the first update of Adam is lr times the sign of the gradient


def test_wrong_use_is_named():
    (p,) = weights((2,))
    for call in [
        lambda: optim.Adam([]),
        lambda: optim.Adam([tg.Tensor([1.0])]),
        lambda: optim.Adam([p * 2]),
        lambda: optim.SGD([p, p]),
        lambda: optim.SGD([p], lr=-1),
        lambda: optim.SGD([p], nesterov=True),
        lambda: optim.Adam([p], betas=(0.9, 1.0)),
        lambda: optim.Adam([p]).load_state_dict(optim.SGD([p]).state_dict()),
    ]:
        with pytest.raises(tg.InputError):
            call()
    with pytest.raises(tg.ShapeError, match=r"0\.mean"):
        optim.Adam([p]).load_state_dict(optim.Adam(weights((3,))).state_dict())


# ---------------------------------------------------------------------- PyTorch, step by step
def pair(torch, dtype=np.float64):
    theirs = torch.nn.LSTM(3, 5, num_layers=2).to(torch.float64)
    ours = nn.LSTM(3, 5, num_layers=2, dtype=dtype)
    ours.load_state_dict({name: p.detach().numpy() for name, p in theirs.named_parameters()})
    return ours, theirs


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["norm", "value", None])
@pytest.mark.parametrize(("name", "options"), RULES, ids=IDS)
def test_200_steps_equal_torch(name, options, clip):
    torch = pytest.importorskip("torch")
    ours, theirs = pair(torch)
    mine, peer = (
        getattr(optim, name)(ours.parameters(), **options),
        getattr(torch.optim, name)(theirs.parameters(), **options),
    )
    rng = np.random.default_rng(0)
    xs, targets = rng.standard_normal((20, 6, 4, 3)), rng.standard_normal((20, 6, 4, 5))
    for i in range(200):
        x, target = xs[i % 20], targets[i % 20]
        mine.zero_grad()
        tg.squared_error(ours(x)[0], target).backward()
        peer.zero_grad()
        torch.nn.functional.mse_loss(theirs(torch.tensor(x))[0], torch.tensor(target)).backward()
        if clip == "norm":
            norm = optim.clip_grad_norm_(ours.parameters(), 0.05)
            assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)), rel=1e-8)
        elif clip == "value":
            optim.clip_grad_value_(ours.parameters(), 0.005)
            torch.nn.utils.clip_grad_value_(theirs.parameters(), 0.005)
        mine.step()
        peer.step()
    for (n, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=0, atol=1e-8, err_msg=n)


@pytest.mark.slow
def test_the_loss_curve_of_500_steps_is_torchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    rnn, head = torch.nn.GRU(4, 16).double(), torch.nn.Linear(16, 4).double()
    model = nn.Sequential(nn.GRU(4, 16), nn.Linear(16, 4))
    model.load_state_dict(
        {f"{i}.{n}": p.detach().numpy() for i, part in enumerate((rnn, head)) for n, p in part.named_parameters()}
    )
    mine = optim.Adam(model.parameters(), lr=1e-2)
    peer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=1e-2)
    schedule, curve = optim.cosine(500, warmup=20), []
    for step in range(500):
        ids = rng.integers(0, 4, (12, 8))
        x, target = np.eye(4)[ids], np.concatenate([ids[:2], ids[:-2]])  # two steps late: memory is needed
        for optimiser in (mine, peer):
            optimiser.zero_grad()
        loss = tg.softmax_cross_entropy(model(x), target)
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        mine.lr = 1e-2 * schedule(step)
        mine.step()
        loss_peer = torch.nn.functional.cross_entropy(
            head(rnn(torch.tensor(x))[0]).flatten(0, 1), torch.tensor(target).flatten()
        )
        loss_peer.backward()
        torch.nn.utils.clip_grad_norm_([*rnn.parameters(), *head.parameters()], 1.0)
        peer.param_groups[0]["lr"] = 1e-2 * schedule(step)
        peer.step()
        curve.append((loss.item(), loss_peer.item()))
    ours, theirs = np.array(curve).T
    assert ours[-1] < 0.9 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
