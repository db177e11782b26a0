"""What the source does not do twice, or at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


def source(loss_fn: Callable[..., Any], dtype: Any = np.float64) -> str:
    """The source of a program that agrees with eager."""
    rng = np.random.default_rng(0)
    shapes = {"W": (3, 4), "R": (4, 4), "U": (3, 4), "S": (4, 4)}
    params = {k: rng.standard_normal(shape).astype(dtype) / 2 for k, shape in shapes.items()}
    xs = rng.standard_normal((6, 2, 3)).astype(dtype)
    given = {k: tg.Tensor(v, requires_grad=True) for k, v in params.items()}
    expected = loss_fn(given, tg.Tensor(xs))
    expected.backward()
    step = tg.compile(loss_fn)
    loss, grads = step(params, xs)
    units = np.finfo(dtype).eps * 1e4
    np.testing.assert_allclose(loss, expected.item(), rtol=units)
    for k, tensor in given.items():
        wanted = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
        np.testing.assert_allclose(grads[k], wanted, rtol=1e3 * units, atol=units)
    return step.source


def gated(p: Any, xs: Any) -> Any:
    h, loss = np.zeros((2, 4), p["W"].dtype), 0.0
    for _, x in tg.steps(xs):
        z = tg.sigmoid(x @ p["W"] + h @ p["R"])
        n = np.tanh(x @ p["U"] + h @ p["S"])
        h = (1 - z) * n + z * h
        loss = loss + (h**2).sum()
    return loss / 7


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_gated_unit(dtype: Any) -> None:
    text = source(gated, dtype)
    assert "power(" not in text
    assert "negative(" not in text  # dh * (h - n), not dh * h - dh * n
    assert text.count("subtract(1, z") == 1
    backward = text.partition("reversed")[2]
    assert backward.count("multiply(dh, ") == 3


def test_numbers_in_a_row_are_one() -> None:
    text = source(lambda p, xs: (3.0 * (0.5 * np.tanh(xs @ p["W"]) * 4.0) / 1.0).sum() * 2.0)
    assert "6.0" in text
    assert text.count("multiply(") <= 5


def test_numbers_that_would_overflow_are_not_multiplied() -> None:
    source(lambda p, xs: (1e20 * (1e20 * (1e-20 * (1e-19 * np.tanh(xs @ p["W"]))))).sum())


POWERS: dict[str, Callable[[Any], Any]] = {
    "two": lambda z: z**2 + z**2.0,
    "one": lambda z: z**1 * z**1.0,
    "of an array": lambda z: z ** np.full(4, 2.0) + np.abs(z) ** np.array([1.0, 2.0, 3.0, 0.5]),
    "three": lambda z: z**3,
    "of a number": lambda z: 2.0**z,
    "twice itself": lambda z: (z + z) + np.add(z, z) - (z - z),
    "times one": lambda z: 1.0 * z * 1 * np.ones(4),
    "truth": lambda z: z ** np.bool_(True),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", POWERS)
def test_powers_and_factors(name: str, dtype: Any) -> None:
    def loss_fn(p: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4), dtype), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(POWERS[name](x @ p["W"] + h @ p["R"]))
            loss = loss + (h * POWERS[name](h)).sum()
        return loss

    source(loss_fn, dtype)


def test_common_factors_of_either_sign() -> None:
    def loss_fn(p: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4)), 0.0
        for _, x in tg.steps(xs):
            a, b, c = x @ p["W"], x @ p["U"], np.tanh(x @ p["W"])
            g = np.tanh(h @ p["R"])
            h = np.tanh(g * a - g * b) + (-(g * b) + g * c) * 0.3 - (-(g * a) - g * c) * 0.1 + (g * a - -(g * b)) * 0.2
            loss = loss + (h * h).sum()
        return loss

    source(loss_fn)


@pytest.mark.parametrize(("kind", "options", "lines"), [
    ("RNN", {}, 35), ("LSTM", {}, 69), ("GRU", {}, 69), ("LSTM", {"num_layers": 2, "bidirectional": True}, 198),
])  # fmt: skip
def test_the_source_of_a_layer_is_short(kind: str, options: dict[str, Any], lines: int) -> None:
    layer, xs = getattr(tg.nn, kind)(3, 4, rng=0, **options), np.random.default_rng(1).standard_normal((6, 2, 3))
    step = tg.compile(lambda model, xs: (model(xs)[0] ** 2).mean())
    step(layer, xs)
    assert len(step.source.splitlines()) <= lines
    assert not step.source.splitlines()[-3].count(".copy()") > 2 * options.get("num_layers", 1)
