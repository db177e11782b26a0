"""Every kind of operation compiles: inside the recurrence, on its results step by step, and after the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core.primitive import Primitive, primitives

OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "square": np.square,
    "exp": lambda z: np.exp(-z * z),
    "log": lambda z: np.log(z * z + 1),
    "abs": np.abs,
    "sin": np.sin,
    "power": lambda z: (z * z + 1) ** 1.5,
    "clip": lambda z: np.clip(z, -0.5, 0.7),
    "where": lambda z: np.where(z > 0, z, 0.1 * z),
    "maximum": lambda z: np.maximum(z, 0.1),
    "logaddexp": lambda z: np.logaddexp(z, 0.3),
    "mask": lambda z: z * ((z > 0) & (z < 1)),
    "astype": lambda z: z.astype(np.float32).astype(np.float64),
    "softplus": tg.softplus,
    "gelu": tg.gelu,
    "elu": tg.elu,
    "leaky_relu": tg.leaky_relu,
    "softmax": tg.softmax,
    "log_softmax": tg.log_softmax,
    "layer norm": lambda z: (z - z.mean(axis=-1, keepdims=True)) / np.sqrt(z.var(axis=-1, keepdims=True) + 0.1),
    "batch norm": lambda z: (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 0.1),
    "max": lambda z: z - z.max(axis=-1, keepdims=True),
    "min": lambda z: z - z.min(axis=0),
    "prod": lambda z: z * z.prod(axis=-1, keepdims=True),
    "norm": lambda z: z / (1 + np.linalg.norm(z, axis=-1, keepdims=True)),
    "cumsum": lambda z: np.cumsum(z, axis=-1) / 4,
    "argmax": lambda z: z * (np.arange(4) == np.argmax(z, axis=-1, keepdims=True)),
    "einsum": lambda z: np.einsum("bi,bj->bi", z, z),
    "matrix times fixed": lambda z: z @ np.tril(np.ones((4, 4))),
    "stacked products": lambda z: (z[:, :, None] @ z[:, None, :]).sum(axis=-1),
    "dot of vectors": lambda z: z * (z[0] @ z[1]),
    "outer": lambda z: np.outer(z[0], z[1])[:2],
    "reshape": lambda z: z.reshape(-1).reshape(*z.shape),
    "transpose": lambda z: (z.T * 1.5).T,
    "expand": lambda z: (z[:, None, :] * z[:, :, None]).mean(axis=1),
    "concatenate": lambda z: np.concatenate([z[:, 2:], z[:, :2]], axis=1),
    "stack": lambda z: np.stack([z, z * z], axis=1).sum(axis=1),
    "reversed": lambda z: z[:, ::-1],
    "chosen twice": lambda z: z[:, np.array([0, 0, 2, 1])],
    "repeat": lambda z: np.repeat(z, 2, axis=1)[:, ::2],
    "pad": lambda z: np.pad(z, ((0, 0), (1, 0)))[:, :-1],
    "new axis": lambda z: (z[None] * z[None]).sum(axis=0),
    "entries of a mask": lambda z: z * z[z * z > -1].sum(),
}


@pytest.fixture(scope="module", autouse=True)
def users_own() -> Iterator[None]:
    """An operation that the compiler has never heard of, in the table only while these tests run."""

    @tg.primitive(vjps=[lambda g, y, x, times: g * times])
    def scaled_by_the_user(x: Any, times: float = 2.0) -> Any:
        return x * times

    yield
    del primitives["scaled_by_the_user"]


OPERATIONS["a user's own"] = lambda z: primitives["scaled_by_the_user"](z, times=0.5)


def agree_with_eager(loss_fn: Callable[[Any, Any], Any], dtype: Any = np.float64) -> None:
    """Compare two calls with the eager program, on parameters W (3, 4) and R (4, 4) and a batch (5, 2, 3)."""
    rng = np.random.default_rng(0)
    params = {name: rng.standard_normal(shape).astype(dtype) for name, shape in {"W": (3, 4), "R": (4, 4)}.items()}
    units = np.finfo(dtype).eps / np.finfo(np.float64).eps
    step = tg.compile(loss_fn)
    for scale in (1.0, 0.9):  # the second call finds the buffers as the first left them
        xs = rng.standard_normal((5, 2, 3)).astype(dtype)
        given = {key: tg.Tensor(value * dtype(scale), requires_grad=True) for key, value in params.items()}
        expected = loss_fn(given, tg.Tensor(xs))
        expected.backward()
        loss, grads = step(given, xs)
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-12 * units)
        for key, tensor in given.items():
            assert grads[key].dtype == tensor.grad.dtype
            small = 1e-12 * units * (np.abs(tensor.grad).max() + 0.1)
            np.testing.assert_allclose(grads[key], tensor.grad, rtol=1e-9 * units, atol=small)


@pytest.mark.parametrize("place", ["inside", "on each", "after"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(name: str, place: str) -> None:
    operation = OPERATIONS[name]

    def loss_fn(params: Any, xs: Any) -> Any:
        h, states, loss = np.zeros((xs.shape[1], 4)), [], 0.0
        for t, x in tg.steps(xs):
            z = x @ params["W"] + h @ params["R"]
            h = np.tanh(operation(z) if place == "inside" else z)
            states.append(h)
            y = operation(h) if place == "on each" else h
            loss = loss + (y * y).mean() * (t + 1)
        if place == "after":
            loss = loss + (np.stack([operation(h) for h in states]) ** 2).mean()
        return loss

    agree_with_eager(loss_fn)


NUMBERS: dict[str, Callable[[Any, int], Any]] = {
    "compared with a fraction": lambda z, t: z * (z > 0.2 * t - 0.5),
    "compared with an integer": lambda z, t: z * (3 * z + 2 > t),
    "maximum": lambda z, t: np.maximum(z, 0.2 * t - 0.5),
    "clip": lambda z, t: np.clip(z, 0.1 * t - 0.7, 0.2 * t),
    "where": lambda z, t: np.where(z > 0, z, t),
    "power": lambda z, t: z ** (t + 1),
    "base": lambda z, t: (t + 1.5) ** z,
    "now an integer, now a fraction": lambda z, t: z * (2 if t == 3 else 0.5),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_changes_from_step_to_step(name: str, dtype: Any) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4), dtype), 0.0
        for t, x in tg.steps(xs):
            h = np.tanh(NUMBERS[name](x @ params["W"] + h @ params["R"], t))
            loss = loss + (h * h).sum()
        return loss

    agree_with_eager(loss_fn, dtype)


ROWS: dict[str, Callable[[Any, int], Any]] = {
    "the one before, or the last": lambda ys, t: ys[t - 1],
    "the second before, or the last but one": lambda ys, t: ys[t - 2],
    "from the end": lambda ys, t: ys[-1 - t],
    "backwards past the first": lambda ys, t: ys[2 - t],
    "of another axis": lambda ys, t: np.swapaxes(ys, 0, 1)[:, t - 1],
}


@pytest.mark.parametrize("differentiable", [True, False])
@pytest.mark.parametrize("name", ROWS)
def test_a_row_at_a_distance_wraps_around(name: str, differentiable: bool) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4)), 0.0
        ys = xs @ params["W"] if differentiable else np.concatenate([xs, xs[:, :, :1]], axis=2)
        for t, x in tg.steps(xs):
            h = np.tanh(x @ params["W"] + h @ params["R"])
            loss = loss + (h * ROWS[name](ys, t)).sum()
        return loss

    agree_with_eager(loss_fn)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("number", [np.float32(0.3), np.float64(0.3), np.int64(2), np.bool_(True)])
def test_a_number_of_numpys(number: Any, dtype: Any) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4), dtype), number * (np.zeros(4, dtype) @ np.ones(4, dtype))
        for t, x in tg.steps(xs):
            h = np.tanh(x @ params["W"] + h @ params["R"] * number + number + type(number)(t))
            loss = loss + (h * h).sum() * number
        return loss

    agree_with_eager(loss_fn, dtype)


PARAMETERS: dict[str, Callable[[Any], Any]] = {
    "index": lambda z: z * z[:, np.int64(1)][:, None] + z[np.int64(0)],
    "slice": lambda z: np.concatenate([z[:, np.int64(2) :], z[:, : np.int64(2)]], axis=np.int64(1)),
    "axis": lambda z: z * tg.softmax(z, axis=np.int64(1)),
    "axes": lambda z: z * z.sum(axis=(np.int64(0), np.int64(1)), keepdims=True),
    "fraction": lambda z: tg.leaky_relu(z, np.float64(0.2)),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_numbers_of_numpys_as_parameters(name: str) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4)), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(PARAMETERS[name](x @ params["W"] + h @ params["R"]))
            loss = loss + (h * h).sum()
        return loss

    agree_with_eager(loss_fn)


def test_primitives_that_are_in_no_table() -> None:
    through = Primitive(lambda x: np.round(x) + 0.0, [lambda g, y, x: g], "through", "Gradients go straight through.")
    blind = Primitive(lambda x: 3 * x, [lambda g, y, x: np.full(x.shape, 3.0)], "blind", "Its rule ignores g.")

    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4)), 0.0
        for _, x in tg.steps(xs):
            through_what = np.tanh(x @ params["W"] + h @ params["R"])
            h = through(through_what)
            loss = loss + (h * h).sum() + blind(through_what).sum()
        return loss

    agree_with_eager(loss_fn)
