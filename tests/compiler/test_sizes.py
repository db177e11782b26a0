"""One program for every length: what is the same at three sizes is written once, with the sizes as variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.sizes import NotGeneralError, Size
from tinygrad_rnn.compiler.source import Source

POINTS = [{"T": 5, "B": 2}, {"T": 9, "B": 4}, {"T": 8, "B": 3}, {"T": 6, "B": 5}]
I, H = 3, 4


def arguments(T: int, B: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    shapes = {"W": (I, H), "R": (H, H), "b": (H,), "V": (H, 2)}
    return {k: rng.standard_normal(s) / 2 for k, s in shapes.items()}, rng.standard_normal((T, B, I))


def general(loss_fn: Callable[..., Any], points: Sequence[dict[str, int]] = POINTS) -> Source:
    sources = []
    for point in points:
        step = tg.compile(loss_fn)
        step(*arguments(**point))
        sources.append(step.program.source)
    return Source.general(sources, points)


def agree(source: Source, loss_fn: Callable[..., Any], T: int, B: int) -> None:
    """Run the program at a size and compare it with eager, twice."""
    run = source.make({}, T=T, B=B)
    for seed in range(2):
        params, xs = arguments(T, B, seed)
        given = {k: tg.Tensor(v, requires_grad=True) for k, v in params.items()}
        expected = loss_fn(given, tg.Tensor(xs))
        expected.backward()
        loss, *grads = run(*params.values(), xs)
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
        for tensor, found in zip(given.values(), grads, strict=True):
            wanted = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def rnn(p: Any, xs: Any) -> Any:
    h, loss = np.zeros((xs.shape[1], H)), 0.0
    for _, x in tg.steps(xs):
        h = np.tanh(x @ p["W"] + h @ p["R"] + p["b"])
        loss = loss + ((h @ p["V"]) ** 2).mean()
    return loss / len(xs)


def backwards(p: Any, xs: Any) -> Any:
    h, states = np.zeros((xs.shape[1], H)), []
    for _, x in tg.steps(xs, reverse=True):
        h = np.tanh(x @ p["W"] + h @ p["R"])
        states.append(h)
    return (np.stack(states[::-1]) * (xs @ p["W"])).sum() / xs.size


def last(p: Any, xs: Any) -> Any:
    h, c = np.zeros((xs.shape[1], H)), np.zeros((xs.shape[1], H))
    for _, x in tg.steps(xs):
        z = tg.sigmoid(x @ p["W"] + h @ p["R"] + p["b"])
        c = z * c + (1 - z) * np.tanh(x @ p["W"])
        h = z * np.tanh(c)
    return tg.softmax_cross_entropy(h @ p["V"], np.argmax(xs[0][:, :2], axis=1))


def with_a_start(p: Any, xs: Any) -> Any:
    h = xs[0] @ p["W"]
    for _, x in tg.steps(xs[1:]):
        h = np.tanh(x @ p["W"] + h @ p["R"]) * 0.9 + 0.1 * h
    return (h * h).mean() * len(xs)


@pytest.mark.parametrize("loss_fn", [rnn, backwards, last, with_a_start])
def test_one_program_for_every_length_and_batch(loss_fn: Callable[..., Any]) -> None:
    source = general(loss_fn)
    assert "\ndef program(T, B" in source.text
    for T, B in ((5, 2), (7, 3), (40, 1), (23, 9)):
        agree(source, loss_fn, T, B)


@pytest.mark.parametrize("share", [0.1, 3.7])
def test_a_number_that_was_rounded_to_float32_is_rounded_at_every_length(share: float) -> None:
    def loss_fn(p: Any, xs: Any) -> Any:
        h, loss = np.zeros((xs.shape[1], H), np.float32), np.float32(0)
        for _, x in tg.steps(xs):
            h = np.tanh(x @ p["W"] + h @ p["R"])
            loss = loss + (h * h).sum()
        return loss * np.float32(share / xs.size)

    def low(T: int, B: int) -> tuple[Any, Any]:
        params, xs = arguments(T, B)
        return {k: v.astype(np.float32) for k, v in params.items()}, xs.astype(np.float32)

    step, plain = tg.compile(loss_fn), tg.compile(loss_fn)
    for T in (9, 20, 47):
        assert step(*low(T, 3))[0] == plain(*low(T, 3))[0]
        plain = tg.compile(loss_fn)  # a program for that length alone
    assert len(step.programs) == 2, step.explain()
    assert "float32(" in step.source


def every_third(p: Any, xs: Any) -> Any:
    h = np.zeros((xs.shape[1], H))
    for t, x in tg.steps(xs):
        h = np.tanh(x @ p["W"] + h @ p["R"]) * (0.5 if t % 3 else 2.0)
    return (h * h).mean()


def another_loss(p: Any, xs: Any) -> Any:
    return rnn(p, xs) if len(xs) % 2 else last(p, xs)


def half(p: Any, xs: Any) -> Any:
    """A number that is no multiple of the length."""
    return rnn(p, xs) * (len(xs) // 2)


def squared(p: Any, xs: Any) -> Any:
    return rnn(p, xs) * (0.1 * len(xs) ** 1.5)


@pytest.mark.parametrize("loss_fn", [every_third, another_loss, half, squared])
def test_what_is_another_program_at_another_length_is_refused(loss_fn: Callable[..., Any]) -> None:
    with pytest.raises(NotGeneralError):
        general(loss_fn)


def test_sizes_are_polynomials() -> None:
    T, B = (Size({(name,): 1}, POINTS) for name in ("T", "B"))
    assert repr(2 * T * B - 1) == "2*B*T - 1"
    assert repr(3 - T) == "-T + 3"
    assert (T + 1) - T == 1
    assert (T * 2).at({"T": 21}) == 42
    assert T > 4
    assert T - 5 >= 0
    assert T - T == 0
    with pytest.raises(NotGeneralError, match="depends on the sizes"):
        assert T > 7
    with pytest.raises(NotGeneralError, match="depends on the sizes"):
        assert T < 100  # not for longer ones
