"""Small programs that were once refused or broke: in NumPy and as machine code, what eager gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

SHAPES = {"W": (3, 4), "R": (4, 4), "a": ()}


def agree(loss_fn: Callable[[Any, Any], Any], backend: Any, T: int = 5) -> None:
    """Compare three calls with eager: the loss, what is returned beside it, and every gradient."""
    if backend == "native":
        pytest.importorskip("llvmlite")
    rng = np.random.default_rng(0)
    step = tg.compile(loss_fn, backend)
    for _ in range(3):
        params = {key: tg.Tensor(rng.standard_normal(shape), requires_grad=True) for key, shape in SHAPES.items()}
        xs = rng.standard_normal((T, 2, 3))
        loss, extra = loss_fn(params, tg.Tensor(xs))
        (value, found), grads = step(params, xs)
        np.testing.assert_allclose(value, loss.item(), rtol=1e-9)
        np.testing.assert_allclose(found, extra.data, rtol=1e-9)
        for key, expected in zip(params, tg.grad(loss, list(params.values())), strict=True):
            np.testing.assert_allclose(grads[key], expected.data, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_gate_that_is_one_number(backend: str) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        rate, h, loss = tg.sigmoid(params["a"]), np.zeros((xs.shape[1], 4)), 0.0
        for _, x in tg.steps(xs):
            h = (1 - rate) * h + rate * np.tanh(x @ params["W"] + h @ params["R"])
            loss = loss + (h * h).sum()
        return loss, tg.sigmoid(params["R"])

    agree(loss_fn, backend)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_loop_that_reads_no_array(backend: str) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        mean = np.zeros((2, 3))
        for _, x in tg.steps(xs):
            mean = 0.9 * mean + x * params["a"]
        return mean.sum(), mean  # the gradient of `mean` is 1, 0.9, 0.81 and so on

    agree(loss_fn, backend)
