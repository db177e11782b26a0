"""Programs for what few networks do: a matrix of each step's own, places within rows, loops that run backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

T = 7


def compiled(loss_fn: Callable[..., Any], *arguments: Any, backend: Any = "numpy") -> Any:
    """The program, which gives what the loss function gives."""
    tensors = [tg.Tensor(a, requires_grad=a.dtype.kind == "f") if a.dtype.kind == "f" else a for a in arguments]
    loss = loss_fn(*tensors)
    loss.backward()
    step = tg.compile(loss_fn, backend=backend)
    for _ in range(2):
        found, grads = step(*arguments)
        np.testing.assert_allclose(found, loss.data, rtol=1e-12)
        np.testing.assert_allclose(grads, tensors[0].grad, rtol=1e-12, atol=1e-15)
    return step


@pytest.fixture
def draw() -> Callable[..., Any]:
    rng = np.random.default_rng(0)
    return lambda *shape: rng.normal(size=shape) / 2


def test_a_matrix_of_each_step_s_own(draw: Any) -> None:
    def loss_fn(M: Any, xs: Any) -> Any:
        loss = 0.0
        for _, x in tg.steps(xs):
            loss = loss + ((x @ (M * x)) ** 2).sum()
        return loss

    assert "for t in" not in compiled(loss_fn, draw(3, 3), draw(T, 3)).source


@pytest.mark.parametrize(
    ("product", "shape"),
    [
        (lambda W, x: x @ x, (3,)),
        (lambda W, x: W @ x, (3,)),
        (lambda W, x: W @ x, (3, 2)),
        (lambda W, x: W @ np.tanh(x), (2, 3, 2)),
        (lambda W, x: np.tanh(x) @ np.sin(x), (3, 3)),
    ],
    ids=["two vectors", "a column", "columns", "stacks of columns", "two matrices"],
)
def test_products_of_all_steps_are_made_at_once(product: Any, shape: tuple[int, ...], draw: Any) -> None:
    def loss_fn(W: Any, xs: Any) -> Any:
        loss = 0.0
        for _, x in tg.steps(xs):
            loss = loss + (product(W, x * W.sum()) ** 2).sum()
        return loss

    assert "for t in" not in compiled(loss_fn, draw(3, 3), draw(T, *shape)).source


@pytest.mark.parametrize("first", [False, True])
def test_a_fixed_vector_meets_those_of_all_steps_at_once(first: bool, draw: Any) -> None:
    def loss_fn(v: Any, xs: Any) -> Any:
        loss = 0.0
        for _, x in tg.steps(xs):
            loss = loss + (v @ np.tanh(x) if first else np.tanh(x) @ v) ** 2
        return loss

    assert "for t in" not in compiled(loss_fn, draw(3), draw(T, 3)).source


def test_a_sum_of_products_over_time(draw: Any) -> None:
    def loss_fn(W: Any, xs: Any) -> Any:
        added = np.zeros((3, 3))
        for _, x in tg.steps(xs):
            added = added + np.tanh(x * W) @ np.sin(x)
        return (added**2).sum()

    compiled(loss_fn, draw(3, 3), draw(T, 3, 3))


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_what_two_products_have_in_common_keeps_its_sign(signs: tuple[int, int], draw: Any) -> None:
    def loss_fn(W: Any, xs: Any, ys: Any) -> Any:
        h, loss = np.ones((2, 3)), 0.0
        for t, x in tg.steps(xs):
            z = np.tanh(h @ W)
            a, b = (z * each if sign > 0 else -(z * each) for sign, each in zip(signs, (x, ys[t]), strict=True))
            h = a + b
            loss = loss + (h * h).sum()
        return loss

    compiled(loss_fn, draw(3, 3), draw(T, 2, 3), draw(T, 2, 3))


@pytest.mark.parametrize("delay", [0, 1])
def test_a_mask_that_multiplies_need_not_become_numbers(delay: int, draw: Any) -> None:
    def loss_fn(W: Any, xs: Any) -> Any:
        h, loss, masks = np.ones((2, 3)), 0.0, [np.ones((2, 3))]
        for _, x in tg.steps(xs):
            masks.append((x > 0).astype(float))
            h = np.tanh(h @ W + x) * masks[-1 - delay]
            loss = loss + (h * h).sum()
        return loss

    source = compiled(loss_fn, draw(3, 3), draw(T, 2, 3)).source
    assert delay or "astype" not in source


def test_the_gradient_of_a_number_is_an_array(draw: Any) -> None:
    def loss_fn(a: Any, xs: Any) -> Any:
        return sum((np.tanh(x * a) ** 2).sum() for _, x in tg.steps(xs))

    step = compiled(loss_fn, np.array(0.5), draw(T, 3))
    assert [type(step(np.array(0.5), draw(T, 3))[1]) for _ in range(2)] == [np.ndarray] * 2


@pytest.mark.parametrize(("exponent", "loops"), [(3, 2), (2.5, 1)])
def test_powers_that_machine_code_knows(exponent: float, loops: int, draw: Any) -> None:
    pytest.importorskip("llvmlite")

    def loss_fn(W: Any, xs: Any) -> Any:
        h, loss = np.ones((2, 3)), 0.0
        for _, x in tg.steps(xs):
            h = np.exp(-((h @ W + x) ** 2)) ** exponent
            loss = loss + (h * h).sum()
        return loss

    step = compiled(loss_fn, draw(3, 3), draw(T, 2, 3), backend="native")
    assert len(step.program.native) == loops


def test_states_from_the_last_to_the_first(draw: Any) -> None:
    def loss_fn(W: Any, xs: Any) -> Any:
        h, states = np.ones((2, 3)), []
        for _, x in tg.steps(xs):
            h = np.tanh(h @ W + x)
            states.append(h)
        rows = np.stack(states[::-1]).reshape(-1, 3)
        return ((rows @ W) * np.arange(3.0 * len(rows)).reshape(-1, 3)).sum()

    compiled(loss_fn, draw(3, 3), draw(T, 2, 3))


@pytest.mark.parametrize("rows", [1, 4])
def test_a_loop_over_states_of_two_sizes(rows: int, draw: Any) -> None:
    """In machine code, where a loop has one batch."""
    pytest.importorskip("llvmlite")

    def loss_fn(W: Any, xs: Any) -> Any:
        h, m, loss = np.ones((2, 3)), np.ones((rows, 3)), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(h @ W + x + m.mean(axis=0))
            m = 0.9 * m + 0.1 * np.tanh(m) * h.mean(axis=0)
            loss = loss + (h * h).sum() + (m * m).sum()
        return loss

    compiled(loss_fn, draw(3, 3), draw(T, 2, 3), backend="native")


def test_places_within_the_row_of_each_step(draw: Any) -> None:
    def loss_fn(rows: Any, ids: Any) -> Any:
        loss = 0.0
        for t, i in tg.steps(ids):
            loss = loss + (rows[t, i] ** 2).sum()
        return loss

    compiled(loss_fn, draw(T, 5), np.random.default_rng(1).integers(0, 5, (T, 2)))


def test_a_sum_over_steps_that_run_backward_is_one_sum(draw: Any) -> None:
    def made(reverse: bool) -> Any:
        def loss_fn(W: Any, xs: Any) -> Any:
            h, loss = np.zeros(3), 0.0
            for _, x in tg.steps(xs, reverse=reverse):
                h = np.tanh(x + h @ W)
                loss = loss + (h * h).sum()
            return loss

        return compiled(loss_fn, draw(3, 3), draw(T, 3)).source

    assert len(made(reverse=True).splitlines()) <= len(made(reverse=False).splitlines())


def test_a_state_may_begin_with_the_first_argument(draw: Any) -> None:
    def loop(h: Any, W: Any, xs: Any) -> Any:
        loss = 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(x + h @ W)
            loss = loss + (h * h).sum()
        return loss

    assert "if t" not in compiled(loop, draw(2, 3), draw(3, 3), draw(T, 2, 3)).source


def test_a_state_that_is_a_number_times_something_keeps_its_first_value(draw: Any) -> None:
    def loss_fn(R: Any, h: Any, xs: Any) -> Any:
        loss = 0.0
        for _, x in tg.steps(xs):
            loss = loss + (h * h).sum()  # the first value is read, and then 1.0 * u of the step before
            u = np.tanh(x + h @ R)
            h = 1.0 * u
        return loss

    compiled(loss_fn, draw(3, 3), draw(3), draw(T, 3))
