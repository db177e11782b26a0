"""The everyday spellings: `loss += l`, `w -= lr * g`, methods, `//`, and tensors of zeros."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg


@pytest.mark.parametrize("start", [0.0, tg.Tensor(0.0), tg.Tensor(0.0) * 1.0])
def test_a_loss_is_added_up(start: object) -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    loss = start
    for k in range(1, 4):
        loss += np.sum(k * w * w)
    assert isinstance(loss, tg.Tensor)
    assert loss.name == "loss"
    loss.backward()
    np.testing.assert_array_equal(w.grad, 12 * w.data)


def test_the_other_updates_make_new_tensors_too() -> None:
    w = tg.Tensor(np.full((2, 2), 3.0), requires_grad=True)
    first = y = w * 1.0
    y -= 1.0
    y *= 4.0
    y /= 2.0
    y **= 2
    y @= np.eye(2)
    np.testing.assert_array_equal(y.data, np.full((2, 2), 16.0))
    np.testing.assert_array_equal(first.data, w.data)
    (g,) = tg.grad(np.sum(y), [w])
    np.testing.assert_array_equal(g.data, np.full((2, 2), 16.0))


def test_a_weight_changes_in_place_under_no_grad() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    same, array = w, w.data
    np.sum(w * w).backward()
    with tg.no_grad():
        w -= 0.25 * w.grad
    assert w is same
    assert w.requires_grad
    assert w.is_leaf
    np.testing.assert_array_equal(array, [0.5, 1.0])
    loss = np.sum(w * w)
    with tg.no_grad():
        w += 1.0
    with pytest.raises(tg.GraphError, match="was changed after the forward pass"):
        loss.backward()


def test_an_update_that_does_not_fit_is_refused() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(tg.GraphError, match=r"w -= .*write w = w - .* under tg.no_grad\(\)"):
        w -= 1.0
    with tg.no_grad():
        with pytest.raises(tg.ShapeError, match=r"\+=: w \(2,\).*take \(3, 2\)"):
            w += np.ones((3, 2))
        counts = tg.Tensor([1, 2])
        with pytest.raises(tg.ShapeError, match="float64 in place"):
            counts += 0.5
    np.testing.assert_array_equal(w.data, [1.0, 2.0])


def test_a_detached_result_keeps_its_values() -> None:
    w = tg.Tensor([1.0], requires_grad=True)
    y = w * 2.0
    h = y.detach()
    with tg.no_grad():
        h += 1.0
    np.testing.assert_array_equal(h.data, [3.0])
    np.testing.assert_array_equal(y.data, [2.0])


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tanh", "sigmoid", "relu", "flatten"])
def test_a_method_is_the_function(name: str) -> None:
    x = tg.Tensor([[0.5, 2.0]], requires_grad=True)
    fn = np.ravel if name == "flatten" else getattr(tg, name)
    y = getattr(x, name)()
    assert y.name == "y"
    np.testing.assert_array_equal(y.data, fn(x.data))
    np.testing.assert_array_equal(tg.grad(np.sum(y), [x])[0].data, tg.grad(np.sum(fn(x)), [x])[0].data)


def test_questions_and_arrays() -> None:
    x = tg.Tensor([[0.0, 1.26]], requires_grad=True)
    assert x.any()
    assert not x.all()
    np.testing.assert_array_equal(x.all(axis=0), [False, True])
    np.testing.assert_array_equal(x.round(1), [[0.0, 1.3]])
    np.testing.assert_array_equal(round(x), [[0.0, 1.0]])
    with pytest.raises(tg.GraphError, match="would silently leave the graph"):
        x.numpy()
    free = x.detach()
    assert np.shares_memory(free.numpy(), x.data)


def test_division_with_remainder() -> None:
    x = tg.Tensor([7.5, -7.5], requires_grad=True)
    np.testing.assert_array_equal(x // 2, [3.0, -4.0])
    np.testing.assert_array_equal(20 // x, [2.0, -3.0])
    np.testing.assert_array_equal((x % 2).data, [1.5, 0.5])
    np.testing.assert_array_equal((20 % x).data, [5.0, -2.5])
    quotient, rest = divmod(x, 2)
    np.testing.assert_array_equal(quotient * 2 + rest.data, x.data)
    quotient, rest = divmod(20, x)
    np.testing.assert_array_equal(quotient * x.data + rest.data, [20.0, 20.0])
    np.testing.assert_array_equal(tg.grad(np.sum(x % 2), [x])[0].data, [1.0, 1.0])


def test_zeros_and_ones() -> None:
    W = tg.zeros((2, 3), requires_grad=True)
    b = tg.ones(3, dtype=np.float32)
    assert (W.name, W.shape, W.dtype, W.requires_grad) == ("W", (2, 3), np.float64, True)
    assert (b.name, b.shape, b.dtype, b.requires_grad) == ("b", (3,), np.float32, False)
    with pytest.raises(tg.DTypeError, match="needs a floating dtype"):
        tg.ones(3, requires_grad=True, dtype=int)


X = np.random.default_rng(0).normal(size=(2, 3, 3))


@pytest.mark.parametrize(
    ("method", "args", "kwargs"),
    [
        *(("transpose", args, {}) for args in [(), (None,), ((1, 0, 2),), ([2, 0, 1],), (1, 0, 2)]),
        *(("reshape", args, {}) for args in [(6, 3), ((6, 3),), (-1,), ([6, -1],), (18,)]),
        *((name, (), {"axis": 1, "dtype": np.float32}) for name in ("sum", "mean", "prod", "var", "std", "cumsum")),
        *((name, (0,), {"where": X > 0, "initial": 1.0}) for name in ("sum", "prod", "max", "min")),
        ("var", (), {"axis": (0, 1), "ddof": 1, "keepdims": True, "where": X > -1}),
        ("astype", ("f4",), {"copy": False}),
    ],
)
def test_methods_take_what_those_of_arrays_take(method: str, args: tuple, kwargs: dict) -> None:
    given = tg.Tensor(X, requires_grad=True)
    wanted, found = getattr(X, method)(*args, **kwargs), getattr(given, method)(*args, **kwargs)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found.data, wanted, rtol=1e-6)
    found.sum().backward()
    assert given.grad.shape == X.shape


def test_a_cast_to_its_own_dtype_is_a_copy_unless_told() -> None:
    t = tg.Tensor(X, requires_grad=True)
    assert t.astype(float, copy=False) is t
    assert t.astype(float) is not t
