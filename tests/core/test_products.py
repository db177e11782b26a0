"""Products that wait for those of other steps come to what they come to one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core import backprop, products


def network(dtypes: tuple[type, type], batch: tuple[int, ...]) -> tuple[list[tg.Tensor], tg.Tensor]:
    """Two weights of one shape, used in every step and once outside, a bias and a scale of no axis."""
    rng = np.random.default_rng(0)
    W, R = (tg.Tensor(rng.normal(size=(3, 3)).astype(dtypes[0]) / 2, requires_grad=True) for _ in range(2))
    b = tg.Tensor(rng.normal(size=3).astype(dtypes[0]), requires_grad=True)
    s = tg.Tensor(np.asarray(0.7, dtypes[0]), requires_grad=True)
    xs = tg.Tensor(rng.normal(size=(20, *batch, 3)).astype(dtypes[1]), requires_grad=True)
    h: Any = np.zeros((*batch, 3), dtypes[1])
    for _, x in tg.steps(xs):
        h = np.tanh(x @ W + h @ R + b) * s
    return [W, R, b, s, xs], (h * h).sum() + (W * R).sum()


def gradients(leaves: list[tg.Tensor], loss: tg.Tensor) -> list[Any]:
    for leaf in leaves:
        leaf.grad = None
    loss.backward()
    return [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("enough", [1, 100, 1 << 20])
@pytest.mark.parametrize("batch", [(), (1,), (2,), (2, 4)])
@pytest.mark.parametrize("dtypes", [(np.float64, np.float64), (np.float32, np.float64), (np.float32, np.float32)])
def test_the_gradients_of_many_steps(
    enough: int, batch: tuple[int, ...], dtypes: tuple[type, type], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backprop, "ENOUGH", enough)
    leaves, loss = network(dtypes, batch)
    found = gradients(leaves, loss)
    monkeypatch.setattr(backprop.Waiting, "keep", lambda self, tensor, message: 0)
    monkeypatch.setattr(backprop, "Carrier", OneByOne)
    for g, expected in zip(found, gradients(leaves, loss), strict=True):
        assert g.dtype == expected.dtype
        np.testing.assert_allclose(g, expected, rtol=1e-12 if dtypes[1] is dtypes[0] is np.float64 else 1e-4, atol=1e-6)


class OneByOne(products.Carrier):
    def through(self, message: products.ThroughWeight) -> Any:
        return message.dense()


class Forgetful(products.Waiting):
    def sums(self, index: int) -> list[Any]:
        self.products.get(index, [None])[1:] = []
        return super().sums(index)


class Halved(products.Waiting):
    def keep(self, tensor: tg.Tensor, message: Any) -> int:
        return 1 if len(self.products.get(tensor.index, ())) == 2 else super().keep(tensor, message)


class OneForAll(products.Carrier):
    """Takes every matrix for the first."""

    def through(self, message: Any) -> Any:
        first = self.known.setdefault(0, [0, message.W.T])
        return np.dot(message.g, first[1])


@pytest.mark.parametrize(("name", "wrong"), [("Waiting", Forgetful), ("Waiting", Halved), ("Carrier", OneForAll)])
def test_a_planted_bug_is_caught(name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backprop, name, wrong)
    with pytest.raises(AssertionError):
        test_the_gradients_of_many_steps(1 << 20, (2,), (np.float64, np.float64), monkeypatch)


def test_the_gradient_belongs_to_the_caller() -> None:
    """What waited is new memory, also where a single product came."""
    W, x = tg.Tensor(np.eye(2), requires_grad=True), tg.Tensor(np.ones((2, 2)))
    (x @ W).sum().backward()
    first = W.grad
    assert first is not None
    first += 1.0
    W.grad = None
    (x @ W).sum().backward()
    assert np.array_equal(W.grad, np.full((2, 2), 2.0))
