"""Every operation of the table, found by walking it: values, gradients to second order, dtypes, no side effects."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from calculus import CASES
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.core.context import context
from tinygrad_rnn.core.primitive import composites, primitives

FAST = settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
"""The same examples each time, so that what the planted bugs prove holds for the next run too."""

WITHOUT_GRADIENT = sorted(name for name, p in primitives.items() if not p.differentiable)
WITH_GRADIENT = sorted(set(CASES) - set(WITHOUT_GRADIENT))


def test_no_operation_is_left_out() -> None:
    assert set(CASES) == set(primitives) | set(composites)


def outputs_of(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]


def cast(operands: list[np.ndarray], dtype: Any) -> list[np.ndarray]:
    return [x.astype(dtype) if x.dtype.kind == "f" else x for x in operands]


def wanting(operands: list[np.ndarray]) -> list[tg.Tensor]:
    return [tg.Tensor(x, requires_grad=x.dtype.kind == "f") for x in operands]


def prove(name: str, data: Any) -> None:
    """What must hold for one drawn call of a differentiable operation."""
    case = CASES[name]
    operands, params = data.draw(case.draw)
    fn = functools.partial(case.fn, **params)
    before = [x.copy() for x in operands]

    tensors = wanting(operands)
    results = outputs_of(fn(*tensors))
    for result, expected in zip(results, outputs_of(fn(*operands)), strict=True):
        assert isinstance(result, tg.Tensor)
        np.testing.assert_allclose(result.data, expected, rtol=1e-13, atol=1e-14)
        assert result.is_leaf or not result.data.flags.writeable

    assert tg.gradcheck(fn, operands, order=2, tolerance=1e-6)

    for x, original in zip(operands, before, strict=True):
        np.testing.assert_array_equal(x, original)
    assert all(t.data.flags.writeable for t in tensors)  # no result is its operand's very array, made read-only

    single = wanting(cast(operands, np.float32))
    wanted = [t for t in single if t.requires_grad]
    results = outputs_of(fn(*single))
    assert all(y.dtype == np.float32 for y in results)
    first = tg.grad(sum(np.sum(y * y) for y in results), wanted, create_graph=True)
    assert all(g.dtype == np.float32 and g.shape == x.shape for g, x in zip(first, wanted, strict=True))
    if any(g.requires_grad for g in first):
        second = tg.grad(sum(np.sum(g * g) for g in first if g.requires_grad), wanted)
        assert all(g.dtype == np.float32 for g in second)


@pytest.mark.parametrize("name", WITH_GRADIENT)
@FAST
@given(data=st.data())
def test_an_operation_and_its_gradients(name: str, data: Any) -> None:
    prove(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_GRADIENT)
@settings(FAST, max_examples=200, derandomize=False)
@given(data=st.data())
def test_an_operation_and_its_gradients_at_length(name: str, data: Any) -> None:
    prove(name, data)


@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
@FAST
@given(data=st.data())
def test_what_has_no_gradient_gives_arrays_and_is_recorded_when_traced(name: str, data: Any) -> None:
    case = CASES[name]
    operands, params = data.draw(case.draw)
    expected = case.fn(*operands, **params)
    result = case.fn(*wanting(operands), **params)
    assert not isinstance(result, tg.Tensor)
    np.testing.assert_array_equal(result, expected)
    with context(tracing=True):
        traced = case.fn(*wanting(operands), **params)
    assert traced.primitive is primitives[name]
    assert not traced.requires_grad
    np.testing.assert_array_equal(traced.data, expected)
