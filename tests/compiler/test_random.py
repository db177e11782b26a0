"""Dropout in a compiled program: every call draws its own masks, the very ones of an eager call."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


def params(H: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {k: rng.normal(size=s) / 3 for k, s in {"W": (3, H), "R": (H, H), "V": (H, H)}.items()}


def every_step(p: Any, xs: Any, rng: np.random.Generator) -> Any:
    """Two draws in every step, one of them in the recurrence, and one after the loop."""
    h: Any = np.zeros((xs.shape[1], p["R"].shape[0]))
    ys = []
    for _, x in tg.steps(xs):
        h = np.tanh(tg.dropout(x, 0.25, rng) @ p["W"] + tg.dropout(h, 0.5, rng) @ p["R"])
        ys.append(h @ p["V"])
    return (tg.dropout(np.stack(ys), 0.5, rng) ** 2).mean()


def one_mask(p: Any, xs: Any, rng: np.random.Generator) -> Any:
    """The same units are dropped at every step."""
    kept = tg.dropout(np.ones((xs.shape[1], p["R"].shape[0])), 0.5, rng)
    h: Any = 0 * kept
    for _, x in tg.steps(xs):
        h = np.tanh(x @ p["W"] + (h * kept) @ p["R"] @ p["V"])
    return (h * h).sum()


def without_a_use(p: Any, xs: Any, rng: np.random.Generator) -> Any:
    """What is drawn for nothing moves the generator all the same."""
    tg.dropout(xs, 0.5, rng)
    return (tg.dropout(xs @ p["W"] @ p["R"] @ p["V"], 0.5, rng) ** 2).mean()


@pytest.mark.parametrize("loss_fn", [every_step, one_mask, without_a_use])
@pytest.mark.parametrize(("T", "B", "H"), [(6, 2, 4), (1, 1, 1), (3, 20, 30)])
def test_every_call_draws_what_an_eager_call_draws(loss_fn: Callable[..., Any], T: int, B: int, H: int) -> None:
    xs = np.random.default_rng(0).normal(size=(T, B, 3))
    ours, eager = np.random.default_rng(7), np.random.default_rng(7)
    step = tg.compile(lambda p, xs: loss_fn(p, xs, ours))
    losses = set()
    for _ in range(4):
        loss, grads = step(params(H), xs)
        leaves = {k: tg.Tensor(v, requires_grad=True) for k, v in params(H).items()}
        expected = loss_fn(leaves, tg.Tensor(xs), eager)
        expected.backward()
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
        for k, leaf in leaves.items():
            np.testing.assert_allclose(grads[k], leaf.grad, rtol=1e-10, atol=1e-14)
        assert ours.bit_generator.state == eager.bit_generator.state
        losses.add(float(loss))
    assert len(losses) > 1 or T * B * H == 1


def test_the_masks_of_all_steps_are_one_array_that_forward_and_backward_read() -> None:
    model = tg.nn.RNN(3, 4, num_layers=2, dropout=0.5, rng=0)
    step = tg.compile(lambda model, xs: (model(xs)[0] ** 2).mean())
    step(model, np.ones((50, 2, 3)))
    assert step.source.count("random numbers, which are drawn anew for every call") == 1
    assert "# mask: (50, 2, 4) of float64, random numbers" in step.source
    assert "not rolled" not in step.explain()


def test_runs_side_by_side_have_masks_of_their_own() -> None:
    rng = np.random.default_rng(0)
    step = tg.compile(lambda p, xs: every_step(p, xs, rng))
    step(params(4), np.ones((5, 2, 3)))
    first, second = (step.program._make({})[1] for _ in range(2))
    assert first.keys() == second.keys() == set(step.program.source.random.values()) != set()
    assert not any(np.shares_memory(first[name], second[name]) for name in first)


GENERATOR = np.random.default_rng(0)

DRAWN: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "array": lambda xs, rng: xs * rng.normal(size=3),
    "number": lambda xs, rng: xs * rng.random(),
    "if": lambda xs, rng: xs * 2.0 if rng.random() < 2 else xs,
    "dropped": lambda xs, rng: tg.dropout(xs, 0.5, rng) * rng.random(),
    "global": lambda xs, _: xs * GENERATOR.random(),
    "legacy": lambda xs, _: xs * np.random.rand(),
    "python": lambda xs, _: xs * random.random(),
}


@pytest.mark.parametrize("how", DRAWN)
def test_other_random_numbers_are_noticed_where_they_are_drawn(how: str) -> None:
    rng = np.random.default_rng(0)
    draw = DRAWN[how]

    def loss_fn(p: Any, xs: Any) -> Any:
        global GENERATOR  # as a function that names it
        return (draw(xs, rng) @ p["W"]).sum() + 0 * len(GENERATOR.bit_generator.state)

    with pytest.raises(tg.GraphError, match=r"random numbers were drawn \(before .*test_random.py:\d+"):
        tg.compile(loss_fn)(params(4), np.ones((5, 3)))


def test_numbers_of_a_hidden_generator_are_noticed_at_the_second_call() -> None:
    hidden = [np.random.default_rng(0)]
    step = tg.compile(lambda p, xs: (xs @ p["W"] * hidden[0].normal(size=4)).sum())
    step(params(4), np.ones((5, 3)))
    for _ in range(2):
        with pytest.raises(tg.GraphError, match="random numbers"):
            step(params(4), np.ones((5, 3)))
