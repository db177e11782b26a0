"""Every operation of the table in a recurrence: the compiled program gives what the graph gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calculus import CASES
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg

NAMES = sorted(set(CASES) - {"dropout", "checkpoint"})
"""Those two have tests of their own."""


def total(result: Any) -> Any:
    """A number in which every entry counts differently."""
    outputs = result if isinstance(result, (list, tuple)) else [result]
    return sum(np.sum(y * np.cos(np.arange(y.size) + k).reshape(y.shape)) for k, y in enumerate(outputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=2,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_an_operation_in_a_loop_is_compiled(name: str, data: Any) -> None:
    operands, params = data.draw(CASES[name].draw)
    at = next((i for i, x in enumerate(operands) if x.dtype.kind == "f"), None)
    if at is None or any(x.size == 0 for x in operands):
        return
    xs = np.random.default_rng(0).uniform(0.98, 1.02, size=(5, *operands[at].shape))

    def loss(start: Any, xs: Any) -> Any:
        h, found = start, 0.0
        for _, x in tg.steps(xs):
            z = h * x
            found = found + total(CASES[name].fn(*operands[:at], z, *operands[at + 1 :], **params))
            h = z * 1.0
        return found

    start = tg.Tensor(operands[at], requires_grad=True)
    expected = loss(start, xs)
    if isinstance(expected, tg.Tensor) and expected.requires_grad:
        (gradient,) = tg.grad(expected, [start])
        step = tg.compile(loss)
        for _ in range(2):
            value, found = step(operands[at], xs)
            np.testing.assert_allclose(value, expected.item(), rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(found, gradient.data, rtol=1e-7, atol=1e-9)


def test_a_state_that_is_a_number() -> None:
    def loss(start: Any, xs: Any) -> Any:
        h, found = start, 0.0
        for _, x in tg.steps(xs):
            z = h * x
            found = found + np.exp(z)
            h = z * 1.0
        return found

    xs = np.array([1.0, 1.1, 0.9, 1.2])
    start = tg.Tensor(0.5, requires_grad=True)
    expected = loss(start, xs)
    value, gradient = tg.compile(loss)(np.array(0.5), xs)
    np.testing.assert_allclose(value, expected.item())
    np.testing.assert_allclose(gradient, tg.grad(expected, [start])[0].data)
