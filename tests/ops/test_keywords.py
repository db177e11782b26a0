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


@pytest.mark.parametrize("x", [np.full(1000, 100, np.float16), np.full(4, 2**62), np.ones(3, bool)])
def test_a_mean_whose_sum_would_overflow(x: Any) -> None:
    y = np.mean(tg.Tensor(x))
    assert y.item() == np.mean(x)
    assert y.dtype == np.mean(x).dtype


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


@pytest.mark.parametrize("shape", [(6,), (3, 2), (2, 1, 3), -1, (-1, 3)])
def test_a_shape_filled_column_by_column(shape: Any) -> None:
    check(lambda x: np.reshape(x, shape, order="F"), X)
    check(lambda x: x.reshape(shape, order="F"), X)
    check(lambda x: np.ravel(x, order="F"), X)
    check(lambda x: x.flatten(order="F"), X)
    check(lambda x: x.reshape(*([shape] if isinstance(shape, int) else shape)), X)


def test_limits_by_name_and_transposes_of_matrices() -> None:
    check(lambda x: tg.clip(x, min=-0.4, max=0.5), X)  # np.clip has these names from NumPy 2.1 on
    check(lambda x: x.clip(min=-0.4) if isinstance(x, tg.Tensor) else np.maximum(x, -0.4), X)
    check(lambda x: x.mT, np.stack([X, 2 * X]))


def test_einstein_summation_by_numbers() -> None:
    a, b, v = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4), np.arange(3.0)
    check(lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [0, 2]), a, b)
    check(lambda a, v: np.einsum(a, [..., 0], v, [0]), a, v)
    check(lambda a, b: np.einsum("ij,jk", a, b, optimize="greedy"), a, b)
    with pytest.raises(tg.ShapeError, match="einsum: got no subscripts"):
        np.einsum(tg.Tensor(a), tg.Tensor(b))


@pytest.mark.parametrize("order", [None, 1, 2, 3, 0.5, -1, np.inf, -np.inf])
def test_norms_of_vectors(order: Any) -> None:
    check(lambda x: np.linalg.norm(x, ord=order, axis=1), X)
    check(lambda x: np.linalg.norm(x[0], ord=order, keepdims=True), X)


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms_of_matrices(order: Any) -> None:
    check(lambda x: np.linalg.norm(x, ord=order, axis=(2, 0)), np.stack([X, X[::-1] * 1.3 + 0.21]))


def test_a_norm_of_powers_has_no_gradient_at_zero() -> None:
    x = tg.Tensor(np.zeros(3), requires_grad=True)
    np.testing.assert_array_equal(tg.grad(np.linalg.norm(x, ord=3), [x])[0].data, np.zeros(3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: np.linalg.norm(x, ord="max", axis=0), "norm: got ord='max' for vectors"),
        (lambda x: np.linalg.norm(x, ord=5), "norm: got ord=5 for matrices"),
        (lambda x: np.linalg.svd(x), "full_matrices=False"),
        (lambda x: np.linalg.qr(x, mode="raw"), "qr: got mode='raw'"),
        (lambda x: np.linalg.qr(x.T, mode="complete"), r"qr: got mode='complete' of a matrix \(3, 2\)"),
        (lambda x: np.quantile(x, 2.0), "quantile: got q=2.0"),
        (lambda x: np.linalg.eigh(x @ x.T, UPLO="X"), "eigh: got UPLO='X'"),
    ],
)
def test_what_has_no_rule_is_refused(call: Any, words: str) -> None:
    with pytest.raises(tg.InputError, match=words):
        call(tg.Tensor(X, requires_grad=True))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: np.linalg.eig(x), "complex; take np.linalg.eigh"),
        (lambda x: np.linalg.eigvals(x), "complex; take np.linalg.eigvalsh"),
        (lambda x: np.linalg.lstsq(x, x), r"write np.linalg.pinv\(a\) @ b"),
    ],
)
def test_what_will_have_no_rule_says_what_to_do(call: Any, words: str) -> None:
    with pytest.raises(tg.TensorError, match=words):
        call(tg.Tensor(X, requires_grad=True))


def test_indices_along_an_axis_broadcast() -> None:
    check(lambda x: np.take_along_axis(x, np.array([[0]]), axis=1), X)
    check(lambda x: np.take_along_axis(x, np.array([[1, 0, 1]]), axis=0), X)


def test_a_whole_number_that_is_too_large_is_a_float() -> None:
    w = tg.Tensor(np.float32([1.0, 2.0]), requires_grad=True)
    assert (w * 10**30).dtype == np.float32
    np.testing.assert_array_equal(tg.grad(np.sum(np.fmax(w, 10**30)), [w])[0].data, [0, 0])


def test_modes_of_qr() -> None:
    x = tg.Tensor(X, requires_grad=True)
    np.testing.assert_array_equal(np.linalg.qr(x, mode="r").data, np.linalg.qr(x.data, mode="r"))
    np.testing.assert_array_equal(np.linalg.qr(x, mode="complete").Q.data, np.linalg.qr(x.data).Q)


def test_the_determinant_of_a_singular_matrix_has_a_gradient() -> None:
    x = tg.Tensor(np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0]) + np.diag([1.0, 0.0, 0.0]), requires_grad=True)
    assert abs(np.linalg.det(x.data)) < 1e-12
    minors = [[np.linalg.det(np.delete(np.delete(x.data, i, 0), j, 1)) for j in range(3)] for i in range(3)]
    signs = (-1.0) ** np.add.outer(np.arange(3), np.arange(3))
    np.testing.assert_allclose(tg.grad(np.linalg.det(x), [x])[0].data, signs * minors, atol=1e-12)


def test_equal_eigenvalues_have_a_gradient_where_one_exists() -> None:
    x = tg.Tensor(np.eye(3), requires_grad=True)
    np.testing.assert_allclose(tg.grad(np.sum(np.linalg.eigvalsh(x)), [x])[0].data, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(tg.grad(np.sum(np.linalg.svdvals(x)), [x])[0].data, np.eye(3), atol=1e-15)


def test_a_matrix_that_is_not_positive_definite_is_named() -> None:
    with pytest.raises(np.linalg.LinAlgError, match=r"cholesky: cannot take covariance \(2, 2\)"):
        np.linalg.cholesky(tg.Tensor(-np.eye(2), name="covariance"))


def test_running_extremes_are_compiled() -> None:
    def loss(params: Any, x: Any) -> Any:
        return np.sum(np.maximum.accumulate(x * params["w"]) * np.arange(3.0)) + np.median(x * params["w"])

    params = {"w": np.array([1.0, 2.0, 3.0])}
    step = tg.compile(loss)
    for x in (np.array([1.0, 2.0, 3.0]), np.array([3.0, 1.0, 0.5]), np.array([-1.0, 5.0, 1.0])):
        value, gradients = step(params, x)
        w = tg.Tensor(params["w"], requires_grad=True)
        expected = loss({"w": w}, x)
        np.testing.assert_allclose(value, expected.item())
        np.testing.assert_allclose(gradients["w"], tg.grad(expected, [w])[0].data)


def test_integers_and_numbers_are_taken_as_numpy_does() -> None:
    """What a random comparison with NumPy found: a median of integers was rounded down."""
    i, mask = np.arange(12).reshape(3, 4), np.array([True, False, True])
    calls: list[tuple[Any, Any]] = [
        (np.median, i),
        (lambda x: np.percentile(x, [20, 40], axis=1), i),
        (np.nanmax, i),
        (np.nanmin, i),
        (lambda x: np.clip(x, None, 2), i),
        (np.fabs, i),
        (np.diag, mask),
        (lambda x: np.convolve(x, np.arange(3.0)), np.array(2.0)),
    ]
    for call, x in calls:
        expected, found = call(x), call(tg.Tensor(x))
        values = found.data if isinstance(found, tg.Tensor) else found
        np.testing.assert_array_equal(values, expected)
        assert values.dtype == expected.dtype
