"""Random graphs: the gradients of every leaf, plain and recorded, against the derivative by a complex step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core import backprop, products

Function = Callable[..., Any]

BINARY: list[Function] = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / (b * b + 2.0),
    lambda a, b: a @ b,
    lambda a, b: np.concatenate([a, b])[1:4],
    lambda a, b: np.stack([a, b]).sum(axis=0),
    lambda a, b: np.einsum("ij,kj->ik", a, b),
]
UNARY: list[Function] = [
    np.tanh,
    np.sin,
    lambda a: np.exp(a * 0.1),
    lambda a: np.log(a * a + 1.5),
    lambda a: a * a,
    lambda a: a.T,
    lambda a: -a,
    lambda a: a[::-1],
    lambda a: a[[2, 0, 2]],
    lambda a: a[1] + a,
    lambda a: a.sum(axis=0) * 0.5 + a,
    lambda a: a.mean(axis=1, keepdims=True) * a,
    lambda a: np.cumsum(a, axis=0),
    lambda a: a.reshape(9)[np.arange(9)].reshape(3, 3),
    lambda a: np.broadcast_to(a[0], (3, 3)) * 1.0,
    lambda a: a + a,
]
"""All are analytic, and take complex numbers in NumPy as they are."""


def graph(seed: int, leaves: list[Any]) -> Any:
    """A graph of up to 20 operations on matrices (3, 3), a vector and a number; every leaf is used again and again."""
    rng = np.random.default_rng(seed)
    values = [leaves[0], leaves[1]]
    for _ in range(int(rng.integers(3, 20))):
        kind = int(rng.integers(0, 10))
        a, b = (values[int(i)] for i in rng.integers(max(0, len(values) - 6), len(values), 2))
        if kind < 4:
            y = BINARY[int(rng.integers(len(BINARY)))](a, b)
        elif kind < 8:
            y = UNARY[int(rng.integers(len(UNARY)))](a)
        elif kind == 8:
            y = np.tanh(leaves[int(rng.integers(2))] @ a + leaves[2])
        else:
            y = a * leaves[3]
        values.append(np.tanh(y) if len(values) % 4 == 0 else y * 0.7)
    return sum(v.sum() for v in values[-3:])


def slope(seed: int, arrays: list[Any], directions: list[Any]) -> float:
    """The derivative along a direction, exact to rounding: the imaginary part of the function a tiny step aside."""
    step = 1e-200
    moved = [a + 1j * step * d for a, d in zip(arrays, directions, strict=True)]
    return float(np.imag(graph(seed, moved)) / step)


def check(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape) for shape in ((3, 3), (3, 3), (3,), ())]
    directions = [rng.normal(size=a.shape) for a in arrays]
    leaves = [tg.Tensor(a, requires_grad=True) for a in arrays]
    loss = graph(seed, leaves)
    expected = slope(seed, arrays, directions)
    size = 1.0 + abs(expected)
    loss.backward()
    plain = [np.zeros(a.shape) if leaf.grad is None else leaf.grad for a, leaf in zip(arrays, leaves, strict=True)]
    found = sum(float((g * d).sum()) for g, d in zip(plain, directions, strict=True))
    assert abs(found - expected) <= 1e-9 * size, f"seed {seed}: {found} is not {expected}"
    if seed % 10 == 0:
        recorded = tg.grad(loss, leaves, create_graph=True)
        for g, again in zip(plain, recorded, strict=True):
            np.testing.assert_allclose(again.data, g, rtol=1e-9, atol=1e-9 * size, err_msg=f"seed {seed}")


@pytest.mark.parametrize("first", range(0, 100, 50))
def test_random_graphs(first: int) -> None:
    for seed in range(first, first + 50):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("enough", [products.ENOUGH, 1])
def test_ten_thousand_random_graphs(enough: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backprop, "ENOUGH", enough)
    for seed in range(1000, 6000):
        check(seed if enough > 1 else seed + 5000)
