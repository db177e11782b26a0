"""NumPy's other keywords, and the methods of ufuncs: values as NumPy's, gradients as the numbers say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

X = np.array([[0.3, -1.2, 0.7], [1.1, 0.4, -0.5]])
MASK = np.array([[True, False, True], [True, True, False]])


def check(fn: Any, *arrays: np.ndarray) -> None:
    expected = fn(*arrays)
    result = fn(*(tg.Tensor(x, requires_grad=True) for x in arrays))
    assert isinstance(result, tg.Tensor)
    np.testing.assert_allclose(result.data, expected, rtol=1e-13)
    assert tg.gradcheck(fn, list(arrays), order=2)


@pytest.mark.parametrize("axis", [None, 1, (0, -1)])
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_a_reduction_of_chosen_entries_and_a_start(name: str, axis: Any) -> None:
    fn = getattr(np, name)
    check(lambda x: fn(x, axis=axis, initial=0.35), X)
    check(lambda x: fn(x, axis=axis, initial=0.35, where=MASK, keepdims=True), X)


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("name", ["mean", "var", "std"])
def test_a_mean_of_chosen_entries(name: str, axis: Any) -> None:
    fn = getattr(np, name)
    check(lambda x: fn(x, axis=axis, where=MASK), X)
    check(lambda x: fn(x, axis=axis, where=MASK[:1], keepdims=True), X)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std"])
def test_a_reduction_in_another_dtype(name: str) -> None:
    w = tg.Tensor(X.astype(np.float32), requires_grad=True)
    y = getattr(np, name)(w, dtype=np.float64)
    assert y.dtype == np.float64
    assert tg.grad(y, [w])[0].dtype == np.float32


def test_a_variance_with_a_correction() -> None:
    check(lambda x: np.var(x, correction=1), X)


@pytest.mark.parametrize("method", ["reduce", "accumulate"])
@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum"])
def test_the_methods_of_ufuncs(name: str, method: str) -> None:
    fn = getattr(getattr(np, name), method)
    check(fn, X)
    check(lambda x: fn(x, axis=1), X)


def test_running_extremes_of_equal_and_missing_numbers() -> None:
    x = tg.Tensor([1.0, 3.0, 3.0, 2.0, 5.0], requires_grad=True)
    np.testing.assert_array_equal(tg.grad(np.sum(np.maximum.accumulate(x)), [x])[0].data, [1, 3, 0, 0, 1])
    gap = np.array([1.0, np.nan, 3.0])
    np.testing.assert_array_equal(np.maximum.accumulate(tg.Tensor(gap)).data, np.maximum.accumulate(gap))
    np.testing.assert_array_equal(np.minimum.accumulate(tg.Tensor(gap)).data, np.minimum.accumulate(gap))


def test_a_compiled_mean_looks_for_gaps_in_what_it_is_given() -> None:
    def loss(params: Any, x: Any) -> Any:
        return np.nanmean(x * params["w"]) + np.nanmax(x * params["w"])

    params = {"w": np.array([1.0, 2.0, 3.0])}
    step = tg.compile(loss)
    for x in (np.array([1.0, np.nan, 2.0]), np.array([np.nan, 1.0, 2.0]), np.array([3.0, 1.0, 2.0])):
        value, gradients = step(params, x)
        w = tg.Tensor(params["w"], requires_grad=True)
        expected = loss({"w": w}, x)
        np.testing.assert_allclose(value, expected.item())
        np.testing.assert_allclose(gradients["w"], tg.grad(expected, [w])[0].data)


def test_the_variable_names_what_a_keyword_makes() -> None:
    total = np.sum(tg.Tensor(X, requires_grad=True), where=MASK)
    assert total.name == "total"
