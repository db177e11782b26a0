"""Tracing: what the loss function sees, what it costs in memory, and that a rule runs once for all steps."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest
from test_compile import check, eager, rnn_arguments

import tinygrad_rnn as tg
from tinygrad_rnn.core.primitive import Primitive

KINDS = {"RNN": 30, "LSTM": 70, "GRU": 70}  # operations of one step, at most


def traced(kind: str, T: int, B: int, H: int, backend: Any = "auto") -> tuple[Any, Any, Any]:
    """A compiled layer with a loss at every step, the layer and a sequence."""
    layer = getattr(tg.nn, kind)(H, H, rng=0)

    def loss_fn(model: Any, xs: Any) -> Any:
        return (model(xs)[0] ** 2).mean()

    return tg.compile(loss_fn, backend), layer, np.random.default_rng(1).standard_normal((T, B, H))


# ---------------------------------------------------------------------- memory
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("T", "B", "H"), [(40, 32, 48), (300, 1, 4)])
def test_the_first_call_needs_little_more_memory_than_the_program(kind: str, T: int, B: int, H: int) -> None:
    traced(kind, 2, 2, 2)[0](*traced(kind, 2, 2, 2)[1:])  # what is cached for good
    step, layer, xs = traced(kind, T, B, H)
    gc.collect()
    tracemalloc.start()
    try:
        results = step(layer, xs)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert results is not None
    steps_arrays = T * B * H * 8 * KINDS[kind] / 2  # what a graph of tensors would hold, at least
    assert peak < kept + 150 * T * KINDS[kind] + 300_000
    assert peak < steps_arrays or B == 1


@pytest.mark.slow
def test_a_program_is_no_larger_for_a_longer_sequence() -> None:
    def size(T: int) -> int:
        step, layer, xs = traced("LSTM", T, 1, 2, "numpy")  # whose buffers are all among those of idle runs
        gc.collect()
        tracemalloc.start()
        try:
            step(layer, xs)
            step.program._idle.clear()  # the buffers
            gc.collect()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    size(400)  # what is kept for good is not that of a length
    assert size(600) < size(300) + 18_000


def test_the_arrays_of_a_step_die_with_the_loss_functions_own_variables() -> None:
    alive: list[int] = []

    def loss_fn(params: Any, xs: Any) -> Any:
        seen: list[Any] = []
        h, loss = np.zeros((2, 3)), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(x @ params["W"] + h @ params["R"])
            loss = loss + (h * h).sum()
            seen.append(weakref.ref(h._array))
            alive.append(sum(each() is not None for each in seen))
        return loss

    rng = np.random.default_rng(0)
    tg.compile(loss_fn)({"W": rng.standard_normal((3, 3)), "R": np.eye(3)}, rng.standard_normal((9, 2, 3)))
    assert max(alive) <= 2


# ---------------------------------------------------------------------- what the loss function sees
def test_the_loss_function_sees_real_values() -> None:
    seen: list[list[float]] = []

    def loss_fn(params: Any, xs: Any, targets: Any) -> Any:
        h, values = np.zeros((3, 5)), []
        for _, x in tg.steps(xs):
            h = np.tanh(x @ params["W_xh"] + h @ params["W_hh"] + params["b_h"])
            top = (h * h).sum()
            values.append(float(top._array))
        seen.append([*values, h._array.max()])
        return (h * params["W_hy"][:5, 0]).sum() + targets.sum() * 0.0

    params, xs, targets = rnn_arguments()
    tg.compile(loss_fn)(params, xs, targets)
    eager(loss_fn, params, xs, targets)
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-12)


def test_what_is_returned_beside_the_loss_is_not_kept() -> None:
    refs: list[Any] = []

    def loss_fn(params: Any, x: Any) -> Any:
        h = np.tanh(params * x)
        refs.append(weakref.ref(h._array))
        return h.sum(), [h]

    step = tg.compile(loss_fn)
    (_, (h,)), _ = step(np.ones(3), np.arange(3.0))
    np.testing.assert_allclose(h, np.tanh(np.arange(3.0)))
    assert refs[0]() is None


def test_the_batch_cannot_be_changed_by_the_loss_function() -> None:
    def loss_fn(params: Any, x: Any) -> Any:
        x._array[0] = 7.0
        return (params * x).sum()

    x = np.ones(3)
    with pytest.raises(ValueError, match="read-only"):
        tg.compile(loss_fn)(np.ones(3), x)
    np.testing.assert_array_equal(x, 1.0)


def test_gradients_inside_a_compiled_function_are_refused() -> None:
    def penalty(params: Any, x: Any) -> Any:
        y = np.tanh(params * x).sum()
        (g,) = tg.grad(y, [params], create_graph=True)
        return y + (g * g).sum()

    with pytest.raises(tg.GraphError, match="grad: a function that is being compiled"):
        tg.compile(penalty)(np.ones(3), np.arange(3.0))


@pytest.mark.parametrize("batch", [3, 100])
def test_an_array_that_the_loss_function_writes_to_between_the_steps(batch: int) -> None:
    def loss_fn(params: Any, xs: Any, copy: bool) -> Any:
        h, loss, place = np.zeros((batch, 4)), 0.0, np.zeros((batch, 4))
        for t, x in tg.steps(xs):
            place[...] = t / 5
            h = np.tanh(x @ params["W"] + h + (place.copy() if copy else place))
            loss = loss + (h * h).sum()
        return loss

    rng = np.random.default_rng(0)
    params, xs = {"W": rng.standard_normal((4, 4))}, rng.standard_normal((5, batch, 4))
    loss, grads = tg.compile(loss_fn)(params, xs, False)
    expected, (gradient,) = eager(loss_fn, params, xs, True)  # which refuses to go back over such an array
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(grads["W"], gradient, rtol=1e-10)


# ---------------------------------------------------------------------- rules on stand-ins
RULES = {
    "solve": lambda h, A, i, m: np.linalg.solve(A + 4 * np.eye(4), h.T).T,
    "solve a result": lambda h, A, i, m: np.linalg.solve(h.T @ h + np.eye(4), h.T).T,
    "inv": lambda h, A, i, m: h @ np.linalg.inv(A @ A.T + np.eye(4)),
    "norm": lambda h, A, i, m: h / (np.linalg.norm(h, axis=-1, keepdims=True) + 1.0),
    "std": lambda h, A, i, m: h * np.std(h, axis=-1, keepdims=True, ddof=1),
    "where": lambda h, A, i, m: np.where(m, h, np.where(h > 0, h * A[0], -h)),
    "power": lambda h, A, i, m: np.abs(h) ** (1.5 + A[0] * A[0]),
    "logarithm": lambda h, A, i, m: np.log(1e-3 + h * h) / (0.5 + np.abs(h)),
    "prod": lambda h, A, i, m: h * np.prod(1 + h, axis=-1, keepdims=True),
    "max": lambda h, A, i, m: h - np.max(h, axis=-1, keepdims=True),
    "take": lambda h, A, i, m: np.take(h, i, axis=1),
    "take_along_axis": lambda h, A, i, m: np.take_along_axis(h, np.argsort(np.argsort(h)), axis=1),
    "index arrays": lambda h, A, i, m: h[:, i] * A[i, i],
    "masked entries": lambda h, A, i, m: h * h[m].sum(),
    "einsum": lambda h, A, i, m: np.einsum("bi,ij->bj", h, A),
    "cumsum": lambda h, A, i, m: np.cumsum(h, axis=1) / 4.0,
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("batch", [3, 4])
def test_rules_that_divide_invert_or_index_are_traced_without_a_warning(name: str, batch: int) -> None:
    def loss_fn(params: Any, xs: Any, index: Any, mask: Any) -> Any:
        h, loss = np.zeros((batch, 4)), 0.0
        for t, x in tg.steps(xs):
            h = np.tanh(RULES[name](x @ params["A"] + 0.5 * h, params["A"], index, mask[t]))
            loss = loss + (h * h).sum()
        return loss

    rng = np.random.default_rng(3)
    mask = np.arange(5 * batch * 4).reshape(5, batch, 4) % 3 == 0
    check(loss_fn, {"A": rng.standard_normal((4, 4)) / 2}, rng.standard_normal((5, batch, 4)), np.array([2, 0, 3, 1]),
          mask)  # fmt: skip


# ---------------------------------------------------------------------- a rule runs once for all steps
def test_a_rule_runs_once_for_all_steps() -> None:
    runs = []

    def rule(g: Any, y: Any, x: Any) -> Any:
        runs.append(1)
        return 2 * g * x

    square = Primitive(np.square, [rule], "my_square", "")

    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros(4), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(x * params + 0.5 * square(h))
            loss = loss + (h * h).sum()
        return loss

    rng = np.random.default_rng(0)
    params, xs = rng.standard_normal(4), rng.standard_normal((30, 4))
    loss, grads = tg.compile(loss_fn)(params, xs)
    assert len(runs) <= 2
    expected, (gradient,) = eager(lambda p, xs: loss_fn(p[0], xs), [params], xs)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(grads, gradient, rtol=1e-10)


@pytest.mark.parametrize("special", range(6))
def test_a_constant_of_a_rule_is_not_taken_for_an_operand_that_equals_it(special: int) -> None:
    """The rule of the cross-entropy compares the targets with 0, 1, 2, which at one step they are themselves."""
    targets = np.random.default_rng(1).integers(0, 3, (6, 3))
    targets[special] = np.arange(3)

    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((3, 3)), 0.0
        for t, x in tg.steps(xs):
            h = np.tanh(x @ params["W"] + h)
            loss = loss + tg.softmax_cross_entropy(h, targets[t].copy())
        return loss

    rng = np.random.default_rng(0)
    check(loss_fn, {"W": rng.standard_normal((3, 3))}, rng.standard_normal((6, 3, 3)))


@pytest.mark.parametrize("special", range(5))
def test_an_operation_that_reads_the_same_twice_at_one_step(special: int) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 3)), 0.0
        for t, x in tg.steps(xs):
            a, b = np.tanh(x @ params["W"]), np.tanh(h + x)
            if t == special:
                b = a
            h = np.tanh(a * b + 0.5 * (a - b) * a)
            loss = loss + (h * h).sum()
        return loss

    rng = np.random.default_rng(0)
    check(loss_fn, {"W": rng.standard_normal((3, 3))}, rng.standard_normal((5, 2, 3)))


@pytest.mark.parametrize("special", range(2, 6))
def test_an_operation_that_reads_one_state_for_two(special: int) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        states = [params["h"], params["h"] * 0.5]
        loss = 0.0
        for t, x in tg.steps(xs):
            other = states[-1] if t == special else states[-2]
            states.append(np.tanh(x + states[-1] * other))
            loss = loss + (states[-1] ** 2).sum()
        return loss

    rng = np.random.default_rng(0)
    check(loss_fn, {"h": rng.standard_normal((2, 3))}, rng.standard_normal((6, 2, 3)))


def test_a_rule_that_picks_a_number_of_entries_that_changes() -> None:
    spread = Primitive(
        lambda x, mask: x * np.mean(x[mask]),
        [lambda g, y, x, mask: g * np.mean(x[mask]) + mask * (g * x).sum() / len(x[mask]), None],
        "spread",
        "",
    )

    def loss_fn(params: Any, xs: Any, mask: Any) -> Any:
        h, loss = np.zeros(4), 0.0
        for t, x in tg.steps(xs):
            h = np.tanh(x * params["p"] + spread(h + x, mask[t]))
            loss = loss + (h * h).sum()
        return loss

    rng = np.random.default_rng(0)
    mask = np.tri(4, dtype=bool)[[0, 3, 1, 2, 0]]
    check(loss_fn, {"p": rng.standard_normal(4)}, rng.standard_normal((5, 4)), mask)


def test_signed_zeros_are_two_numbers() -> None:
    def loss_fn(params: Any, x: Any) -> Any:
        padded = [np.pad(x, (0, 1), constant_values=zero)[1:] for zero in (0.0, -0.0)]
        return (params * x).sum(), [x * 0.0, x * -0.0, *padded]

    (_, zeros), _ = tg.compile(loss_fn)(np.ones(1), np.ones(1))
    assert [bool(np.signbit(zero[0])) for zero in zeros] == [False, True, False, True]
