"""The printed source runs without this package: operations that NumPy does not have are defined in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.written import written

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "calls another": tg.silu,
    "with constants": tg.gelu,
    "called as the source's own": lambda h: tg.sigmoid(h) * tg.silu(h),
    "with a helper": lambda h: tg.logsumexp(h, axis=-1, keepdims=True) + h,
    "with parameters": lambda h: tg.layer_norm(h) + tg.softmax(h, axis=0),
    "NumPy's name": lambda h: np.clip(h, -0.5, 0.5) + np.cumsum(h, axis=-1),
    "a class at every step": lambda h: h * tg.softmax_cross_entropy(h, np.array([1, 0, 3])),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_program_runs_with_numpy_alone(name: str) -> None:
    function = FUNCTIONS[name]

    def loss_fn(W: Any, xs: Any) -> Any:
        h, loss = np.zeros((3, 4)), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(function(x @ W + h))
            loss = loss + (h * h).mean()
        return loss

    rng = np.random.default_rng(0)
    W, xs = rng.standard_normal((4, 4)), rng.standard_normal((5, 3, 4))
    weight = tg.Tensor(W, requires_grad=True)
    expected = loss_fn(weight, tg.Tensor(xs))
    expected.backward()
    step = tg.compile(loss_fn)
    step(W, xs)
    assert "tinygrad_rnn" not in step.source
    names: dict[str, Any] = {}
    exec(step.source, names)
    loss, gradient = names["program"](**step.program.source.constants)(W, xs)
    assert not step.program.source.constants
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, weight.grad, rtol=1e-10, atol=1e-13)


def _uses_more(x: Any) -> Any:
    return x * FUNCTIONS["calls another"](1.0)


def test_what_needs_more_than_numpy_is_not_written() -> None:
    assert written(_uses_more) is None
    assert written(np.tanh) is None
    assert written(lambda x: x) is None
    assert written(written) is None
