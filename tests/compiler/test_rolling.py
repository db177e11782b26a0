"""What rolls: the source of an ordinary program does not grow with the number of steps, and is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from random_cells import largest_difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import reroll

SHAPES = {"W": (3, 4), "R": (4, 4), "b": (4,), "V": (4, 2), "W2": (3, 4), "R2": (4, 4), "R3": (4, 4), "v": (3,)}


def leaky(p: Any, xs: Any) -> Any:
    h, loss = np.zeros((xs.shape[1], 4)), 0.0
    for _, x in tg.steps(xs):
        h = 0.9 * h + 0.1 * np.tanh(x @ p["W"] + h @ p["R"] + p["b"])
        loss = loss + (h * h).sum()
    return loss


def squared_error(p: Any, xs: Any) -> Any:
    h, loss = np.zeros((xs.shape[1], 4)), 0.0
    for t, x in tg.steps(xs):
        h = np.tanh(x @ p["W"] + h @ p["R"] + p["b"])
        loss = loss + tg.squared_error(h @ p["V"], xs[t, :, :2])
    return loss / len(xs)


def square(p: Any, xs: Any) -> Any:
    h, loss = np.zeros((xs.shape[1], 4)), 0.0
    for _, x in tg.steps(xs):
        h = np.tanh(x @ p["W"] + h @ p["R"] + p["b"])
        loss = loss + np.mean(np.square(h @ p["V"] - x[:, :2]))
    return loss / len(xs)


def gated(p: Any, xs: Any) -> Any:
    h, loss = np.zeros((xs.shape[1], 4)), 0.0
    for _, x in tg.steps(xs):
        z = tg.sigmoid(x @ p["W"] + h @ p["R"] + p["b"])
        n = np.tanh(x @ p["W2"] + (z * h) @ p["R2"])
        h = (1 - z) * h + z * n
        loss = loss + ((h @ p["V"]) ** 2).mean()
    return loss


def moving_average(p: Any, xs: Any) -> Any:
    m = np.zeros((xs.shape[1], 4))
    for _, x in tg.steps(xs):
        m = 0.9 * m + 0.1 * (x @ p["W"])
    return (m * m).sum()


def td_lambda(p: Any, xs: Any) -> Any:
    values, advantage, loss = xs @ p["v"], np.zeros(xs.shape[1]), 0.0
    for t, x in tg.steps(xs[:-1], reverse=True):
        delta = x[:, 0] + 0.9 * values[t + 1] - values[t]
        advantage = delta + 0.9 * 0.8 * advantage
        loss = loss + (advantage * advantage).sum()
    return loss


def two_layers(p: Any, xs: Any) -> Any:
    h1, h2, loss = np.zeros((xs.shape[1], 4)), np.zeros((xs.shape[1], 4)), 0.0
    for _, x in tg.steps(xs):
        h1 = np.tanh(x @ p["W"] + h1 @ p["R"])
        h2 = np.tanh(h1 @ p["R2"] + h2 @ p["R"])
        loss = loss + (h2 * h2).sum()
    return loss


def leaky_layers(p: Any, xs: Any) -> Any:
    """Two layers, one after another, by the same line, from equal zeros."""

    def layer(inputs: Any, W: Any, R: Any) -> list[Any]:
        h: Any = np.zeros((xs.shape[1], 4))
        states = []
        for _, x in tg.steps(inputs):
            h = 0.9 * h + 0.1 * np.tanh(x @ W + h @ R)
            states.append(h)
        return states

    return (np.stack(layer(layer(xs, p["W"], p["R"]), p["R2"], p["R3"])) ** 2).mean()


def states(p: Any, xs: Any) -> list[Any]:
    h, found = np.zeros((xs.shape[1], 4)), []
    for _, x in tg.steps(xs):
        h = np.tanh(x @ p["W"] + h @ p["R"] + p["b"])
        found.append(h)
    return found


def listed_losses(p: Any, xs: Any) -> Any:
    losses = [tg.squared_error(h @ p["V"], xs[t, :, :2]) for t, h in enumerate(states(p, xs))]
    return sum(losses) / len(losses)


def losses_afterwards(p: Any, xs: Any) -> Any:
    hs = states(p, xs)
    loss = sum(tg.squared_error(h @ p["V"], x[:, :2]) for h, x in zip(hs, xs, strict=True))
    for t, h in enumerate(hs):
        loss = loss + (h * h).mean() * (t + 1)
    return loss + sum(((h - g) ** 2).mean() for h, g in zip(hs[1:], hs, strict=False))


def layer_afterwards(p: Any, xs: Any) -> Any:
    g, loss = np.zeros((xs.shape[1], 4)), 0.0
    for h in states(p, xs):
        g = np.tanh(h @ p["R2"] + g @ p["R3"])
        loss = loss + (g * g).sum()
    return loss


def without_steps(p: Any, xs: Any) -> Any:
    h, loss = np.zeros((xs.shape[1], 4)), 0.0
    for x in xs:
        h = np.tanh(x @ p["W"] + h @ p["R"] + p["b"])
        loss = loss + ((h @ p["V"]) ** 2).mean()
    return loss / len(xs)


def by_index_from_the_end(p: Any, xs: Any) -> Any:
    h = np.zeros((xs.shape[1], 4))
    for t in reversed(range(len(xs))):
        h = np.tanh(xs[t] @ p["W"] + h @ p["R"])
    return (h * h).sum()


def stacked_layers(p: Any, xs: Any) -> Any:
    """Without `steps`, a line of the body that runs several times in it."""
    hs = [np.zeros((xs.shape[1], 4))] * 3
    for x in xs:
        z = x @ p["W"]
        for i in range(3):
            hs[i] = np.tanh(z + hs[i] @ p[("R", "R2", "R3")[i]] + p["R"][i])
            z = 0.5 * hs[i]
    return (z * z).mean()


def encoder_and_decoder(p: Any, xs: Any) -> Any:
    """Without `steps`, a second loop whose state does not depend on the rows that it reads."""
    h = np.zeros((xs.shape[1], 4))
    for x in xs:
        h = np.tanh(x @ p["W"] + h @ p["R"])
    s, loss = np.zeros((xs.shape[1], 4)), 0.0
    for y in xs[..., :2]:
        s = np.tanh(s @ p["R2"] + h @ p["R3"])
        loss = loss + ((s @ p["V"] - y) ** 2).mean()
    return loss


def read_at_the_end(p: Any, xs: Any) -> Any:
    """Without `steps`, a row that is read after the state was made."""
    h, x, loss = np.zeros((xs.shape[1], 4)), np.zeros((xs.shape[1], 3)), 0.0
    for t in range(len(xs)):
        h = np.tanh(x @ p["W"] + h @ p["R"])
        x = 0.5 * (h @ p["V"] @ p["V"].T @ p["W"].T) + 0.1
        loss = loss + ((x - xs[t]) ** 2).mean()
    return loss


def parts_of_a_product(p: Any, xs: Any) -> Any:
    """Without `steps`, gates that are rows of one product: these are no steps."""
    h = np.zeros((xs.shape[1], 4))
    for x in xs:
        z = (h @ np.concatenate([p["R"], p["R2"]], axis=1)).reshape(-1, 2, 4).transpose(1, 0, 2)
        h = np.tanh(z[0] + x @ p["W"]) * tg.sigmoid(z[1])
    return (h * h).mean()


def back_over_a_list(p: Any, xs: Any) -> Any:
    """Without `steps`, three loops, of which the second reads what the first has made, from the last to the first."""
    h, states = np.zeros((xs.shape[1], 4)), []
    for x in xs:
        h = np.tanh(x @ p["W"] + h @ p["R"])
        states.append(h)
    g, made = np.zeros((xs.shape[1], 4)), []
    for h in reversed(states):
        g = np.tanh(g @ p["R2"] + h)
        made.append(g)
    g = np.zeros((xs.shape[1], 4))
    for h in reversed(made):
        g = np.tanh(g @ p["R3"] + h)
    return (g * g).sum()


LINES: dict[Callable[..., Any], int] = {
    leaky: 53,
    squared_error: 48,
    square: 48,
    gated: 86,
    moving_average: 36,
    td_lambda: 45,
    two_layers: 66,
    leaky_layers: 90,
    listed_losses: 46,
    losses_afterwards: 65,
    layer_afterwards: 65,
    without_steps: 52,
    by_index_from_the_end: 43,
    stacked_layers: 120,
    encoder_and_decoder: 80,
    read_at_the_end: 80,
    parts_of_a_product: 70,
    back_over_a_list: 75,
}


@pytest.mark.parametrize(("loss_fn", "lines"), LINES.items())
def test_the_source_does_not_grow(loss_fn: Callable[..., Any], lines: int) -> None:
    found = check(loss_fn, (9, 20, 31))  # long enough for Python to specialise the loop's code
    assert len(set(found)) == 1
    assert found[0] <= lines


def test_a_loop_that_is_not_found_without_steps_is_told_how_to_be_written() -> None:
    def counted(p: Any, xs: Any) -> Any:
        h = xs[0] @ p["W"]
        for _ in range(len(xs)):
            h = np.tanh(h @ p["R"])
        return (h * h).sum()

    def with_steps(p: Any, xs: Any) -> Any:
        h = xs[0] @ p["W"]
        for _ in tg.steps(xs):
            h = np.tanh(h @ p["R"])
        return (h * h).sum()

    params = {k: tg.Tensor(0.3 * np.ones(shape), requires_grad=True) for k, shape in SHAPES.items()}
    told = []
    for loss_fn in (counted, with_steps):
        step = tg.compile(loss_fn)
        step(params, np.ones((20, 3, 3)))
        told.append(step.explain())
    assert "write each loop over time as `for t, x in tg.steps(xs)`, or `tg.steps(xs, reverse=True)`" in told[0]
    assert "tg.steps" not in told[1]


@pytest.mark.parametrize("cut", [lambda T: 1, lambda T: 2, lambda T: T // 2, lambda T: T - 2])
def test_a_truncation_within_the_loop(cut: Callable[[int], int]) -> None:
    """The steps before it and those after it are a loop each; few steps stay as they are."""

    def truncated(p: Any, xs: Any) -> Any:
        h, loss = np.zeros((xs.shape[1], 4)), 0.0
        for t, x in tg.steps(xs):
            if t == cut(len(xs)):
                h = tg.truncate(h)
            h = np.tanh(x @ p["W"] + h @ p["R"] + p["b"])
            loss = loss + (h * h).sum()
        return loss

    found = check(truncated, (20, 31, 50))
    assert len(set(found)) == 1
    assert found[0] <= 65


def test_truncations_now_and_then() -> None:
    def truncated(p: Any, xs: Any) -> Any:
        h, loss = np.zeros((xs.shape[1], 4)), 0.0
        for t, x in tg.steps(xs):
            if t and t % (len(xs) // 10) == 0:
                h = tg.truncate(h)
            z = tg.sigmoid(x @ p["W2"] + h @ p["R2"])
            h = (1 - z) * h + z * np.tanh(x @ p["W"] + h @ p["R"] + p["b"])
            loss = loss + (h * h).sum()
        return loss

    assert max(check(truncated, (100,))) < 600  # of 3,500


def check(loss_fn: Callable[..., Any], lengths: Sequence[int]) -> list[int]:
    """Compare a function at several lengths with eager; the numbers of lines."""
    rng = np.random.default_rng(0)
    every = {k: rng.standard_normal(shape) / 2 for k, shape in SHAPES.items()}
    found = []
    for T in lengths:
        xs = rng.standard_normal((T, 3, 3))
        params = {k: tg.Tensor(v, requires_grad=True) for k, v in every.items()}
        expected = loss_fn(params, tg.Tensor(xs))
        expected.backward()
        step = tg.compile(loss_fn)
        loss, grads = step(every, xs)
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
        for k, tensor in params.items():
            wanted = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
            np.testing.assert_allclose(grads[k], wanted, rtol=1e-9, atol=1e-12)
        found.append(len(step.source.splitlines()))
    return found


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_a_program_is_right_however_few_rounds_the_search_for_loops_has(
    rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit when the rounds are over is taken apart until all fits: it is never written as it is."""
    monkeypatch.setattr(reroll, "_MAX_ROUNDS", rounds)
    for seed in (1052, 1250, *range(4)):
        assert largest_difference(seed) < 1e-12
