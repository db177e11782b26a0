"""Dropout under checkpoint: the masks are drawn once more, the same ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


def gradients(wrap: Any, nested: bool = False) -> tuple[Any, Any, float]:
    """Gradients of a small network with dropout from a generator it closes over, and the next random number."""
    rng = np.random.default_rng(3)
    W = tg.Tensor(np.random.default_rng(0).normal(size=(4, 4)), requires_grad=True)
    x = tg.Tensor(np.ones((2, 4)), requires_grad=True)

    def layer(h: Any) -> Any:
        return tg.dropout(np.tanh(h @ W), 0.5, rng)

    def layers(h: Any) -> Any:
        inner = wrap(layer) if nested else layer
        return inner(tg.dropout(inner(h), 0.3, rng))

    h = wrap(layers)(x)
    h = wrap(layers)(tg.dropout(h, 0.2, rng))
    (h * h).sum().backward()
    return W.grad, x.grad, float(rng.random())


@pytest.mark.parametrize("nested", [False, True])
def test_the_masks_are_the_same(nested: bool) -> None:
    for found, expected in zip(gradients(tg.checkpoint, nested), gradients(lambda f: f), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_second_derivatives_draw_the_same_masks_too() -> None:
    def slope(wrap: Any) -> Any:
        rng = np.random.default_rng(1)
        x = tg.Tensor(np.linspace(0.1, 0.9, 6), requires_grad=True)
        y = wrap(lambda x: tg.dropout(x * x * x, 0.5, rng))(x)
        (g,) = tg.grad(y.sum(), [x], create_graph=True)
        return tg.grad((g * g).sum(), [x])[0].data

    np.testing.assert_allclose(slope(tg.checkpoint), slope(lambda f: f), rtol=1e-15)


def test_numbers_that_are_drawn_otherwise_are_noticed() -> None:
    rng = np.random.default_rng(0)
    x = tg.Tensor(np.ones(3), requires_grad=True)
    y = tg.checkpoint(lambda x: x * x * rng.random(3))(x)
    with pytest.raises(tg.GraphError, match="gave other values when run again"):
        y.sum().backward()


def test_a_recurrent_network_with_dropout_in_segments() -> None:
    def gradient(segmented: bool) -> Any:
        rng = np.random.default_rng(5)
        W = tg.Tensor(np.random.default_rng(0).normal(size=(3, 3)) / 2, requires_grad=True)
        xs = np.random.default_rng(1).normal(size=(9, 2, 3))

        def cell(x: Any, h: Any) -> Any:
            return np.tanh(x + tg.dropout(h, 0.3, rng) @ W)

        h: Any = tg.Tensor(np.zeros((2, 3)))
        if segmented:
            h = tg.checkpoint_steps(cell, h, xs)
        else:
            for _, x in tg.steps(xs):
                h = cell(x, h)
        (h * h).sum().backward()
        return W.grad

    np.testing.assert_allclose(gradient(True), gradient(False), rtol=1e-14)
