"""Every operation of the table, found by walking it: values, gradients to second order, dtypes, no side effects."""

from __future__ import annotations

import functools
import os
import warnings
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

MANY = os.environ.get("TINYGRAD_RNN_FUZZ")
"""So many new examples are drawn for each operation by the long test, which otherwise draws the same 60 each time."""

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
@settings(FAST, max_examples=int(MANY or 60), derandomize=not MANY)
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


@pytest.mark.parametrize(("dtype", "lowest"), [(np.float16, -9), (np.float32, -87), (np.float64, -708)])
def test_sigmoid_keeps_its_digits_over_the_whole_range(dtype: Any, lowest: float) -> None:
    x = np.concatenate([np.linspace(lowest, 60, 20001), np.linspace(-9, 9, 1001)]).astype(dtype)
    y = tg.sigmoid(x)
    exact = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    assert y.dtype == dtype
    assert np.max(np.abs(y - exact) / np.spacing(exact.astype(dtype))) < 4
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(tg.sigmoid(np.array([np.inf, -np.inf, np.nan, 1e4], dtype)), [1, 0, np.nan, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_logarithm_of_a_small_sigmoid_and_its_gradients(dtype: Any) -> None:
    x = tg.Tensor(np.array([-40.0, -20.0, -0.5, 3.0], dtype), requires_grad=True)
    y = np.log(tg.sigmoid(x))
    np.testing.assert_allclose(y.data, -np.logaddexp(0, -x.data), rtol=1e-5)
    (first,) = tg.grad(np.sum(y), [x], create_graph=True)
    np.testing.assert_allclose(first.data, tg.sigmoid(-x.data), rtol=1e-5)
    (second,) = tg.grad(np.sum(first), [x])
    s = tg.sigmoid(x.data)
    np.testing.assert_allclose(second.data, -s * (1 - s), atol=1e-6)


INF = np.inf


@pytest.mark.parametrize(
    ("values", "shares"),
    [
        ([INF, 800.0], [1, 0]),
        ([INF, INF], [0.5, 0.5]),
        ([INF, -INF], [1, 0]),
        ([-INF, 0.0], [0, 1]),
        ([-INF] * 2, [0, 0]),
    ],
)
def test_logarithms_of_sums_share_the_gradient_at_infinity(values: list[float], shares: list[float]) -> None:
    for fn in (tg.logsumexp, lambda x: np.logaddexp(x[0], x[1])):
        x = tg.Tensor(values, requires_grad=True)
        with np.errstate(invalid="raise", over="raise"):
            y = fn(x)
            (first,) = tg.grad(y, [x], create_graph=True)
            (second,) = tg.grad(np.sum(first), [x])
        assert y.item() == np.max(values)
        np.testing.assert_array_equal(first.data, shares)
        np.testing.assert_array_equal(second.data, [0, 0])


@pytest.mark.parametrize("fn", [tg.norm, np.std])
def test_derivatives_of_a_root_at_zero_are_zero(fn: Any) -> None:
    x = tg.Tensor(np.zeros(3), requires_grad=True)
    (first,) = tg.grad(fn(x), [x], create_graph=True)
    (second,) = tg.grad(np.sum(first * np.arange(3.0)), [x])
    np.testing.assert_array_equal(first.data, np.zeros(3))
    np.testing.assert_array_equal(second.data, np.zeros(3))


def test_numbers_for_what_is_none_receive_no_gradient() -> None:
    x = tg.Tensor([np.nan, INF, -INF, 2.0], requires_grad=True)
    y = np.nan_to_num(x, nan=7.0, posinf=8.0)
    np.testing.assert_array_equal(y.data, np.nan_to_num(x.data, nan=7.0, posinf=8.0))
    np.testing.assert_array_equal(tg.grad(np.sum(y), [x])[0].data, [0, 0, 0, 1])


def test_a_running_product_is_exact_at_zeros() -> None:
    x = tg.Tensor([2.0, 0.0, 3.0, 0.0], requires_grad=True)
    (g,) = tg.grad(np.sum(np.cumprod(x)), [x])
    np.testing.assert_array_equal(g.data, [1, 8, 0, 0])


def test_a_compiled_sort_sorts_what_it_is_given() -> None:
    def loss(params: Any, x: Any) -> Any:
        return np.sum(np.sort(x * params["w"]) * np.arange(3.0))

    params = {"w": np.array([1.0, 2.0, 3.0])}
    x = np.array([3.0, 2.0, 1.0])
    step = tg.compile(loss)
    for scale in (1.0, -1.0):
        value, gradients = step(params, x * scale)
        w = tg.Tensor(params["w"], requires_grad=True)
        expected = loss({"w": w}, x * scale)
        np.testing.assert_allclose(value, expected.item())
        np.testing.assert_allclose(gradients["w"], tg.grad(expected, [w])[0].data)


def test_weights_of_an_average_must_fit() -> None:
    x = tg.Tensor(np.ones((2, 3)))
    with pytest.raises(tg.ShapeError, match=r"average: got weights of shape \(2,\) .* axis=1"):
        np.average(x, axis=1, weights=np.ones(2))


@pytest.mark.parametrize("ddof", [0, 1, 3, 5])
def test_a_variance_of_too_few_entries_is_what_it_is_in_numpy_and_by_its_parts(ddof: int) -> None:
    x = np.arange(6.0).reshape(2, 3)
    parts = tg.ops.reductions.var.traits.parts
    assert parts is not None
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.var(x, axis=1, ddof=ddof)
        for var in (np.var, parts):
            np.testing.assert_allclose(var(tg.Tensor(x), axis=1, ddof=ddof).data, expected)
