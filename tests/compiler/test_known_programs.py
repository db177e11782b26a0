"""Programs that were once compiled wrong: the loss and every gradient are those of eager, call after call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core.primitive import primitives

SHAPES = {"W": (3, 4), "R": (4, 4)}


def agree(loss_fn: Callable[[Any, Any], Any], shapes: Any = SHAPES, batch: tuple[int, ...] = (5, 2, 3)) -> None:
    """Compare three calls with eager, each with new parameters and a new batch; what was returned must stay."""
    rng = np.random.default_rng(0)
    step = tg.compile(loss_fn)
    kept: list[tuple[Any, Any]] = []
    for _ in range(3):
        given = {key: tg.Tensor(rng.standard_normal(shape), requires_grad=True) for key, shape in shapes.items()}
        xs = rng.standard_normal(batch)
        eager = loss_fn(given, tg.Tensor(xs))
        loss, extra = eager if isinstance(eager, tuple) else (eager, None)
        loss.backward()
        value, grads = step(given, xs)
        if extra is not None:
            value, found = value
            kept.append((found, extra.data))
        kept.append((value, loss.item()))
        for key, tensor in given.items():
            expected = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
            assert grads[key].shape == expected.shape
            kept.append((grads[key], expected))
        for found, expected in kept:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def recurrent(cell: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A loss on the states h = cell(h, x, params) of a loop over time."""

    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((xs.shape[1], 4)), 0.0
        for _, x in tg.steps(xs):
            h = cell(h, x, params)
            loss = loss + (h * h).sum()
        return loss

    return loss_fn


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_gradient_is_not_written_over_while_it_is_added_twice(scale: float) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h = xs[0] @ params["W"]
        v = h + h
        u = v.sum()  # read by nobody, but v has two readers
        return (h * h).sum() + scale * (v * params["c"]).sum() if u.ndim == 0 else u

    agree(loss_fn, {**SHAPES, "c": (2, 4)})


@pytest.fixture
def returned_as_it_came() -> Iterator[Any]:
    """A primitive of a user's own that returns a view of its operand."""

    @tg.primitive(vjps=[lambda g, y, x: g])
    def returned_as_it_came(x: Any) -> Any:
        return x[...]

    yield returned_as_it_came
    del primitives["returned_as_it_came"]


VIEWS: dict[str, Callable[[Any], Any]] = {
    "tensordot": lambda a: np.tensordot(a, np.eye(4) * 0.3, axes=1),
    "flip": lambda a: np.flip(a, axis=1),
    "flip of both": lambda a: np.flip(a),
    "moveaxis": lambda a: np.moveaxis(a, 0, 1).T,
    "squeeze": lambda a: np.squeeze(a[:, None], axis=1),
    "einsum": lambda a: np.einsum("ij->ji", a).T,
    "user": lambda a: primitives["returned_as_it_came"](a),
}


@pytest.mark.parametrize("place", ["inside", "after", "alone"])
@pytest.mark.parametrize("name", VIEWS)
def test_what_may_be_a_view_is_kept_apart(name: str, place: str, returned_as_it_came: Any) -> None:
    view = VIEWS[name]

    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss, states = np.zeros((2, 4)), 0.0, []
        for _, x in tg.steps(xs):
            a = x @ params["W"] + h @ params["R"]
            h = np.tanh(a + view(a)) if place == "inside" else np.tanh(a)
            states.append(h)
            loss = loss + (h * h).sum()
        if place == "after":
            for h in states:
                v = view(h)
                loss = loss + ((h + v) * v * h).sum()
        if place == "alone":
            a = xs[0] @ params["W"]
            v = view(a)
            w = np.tanh(a + v)
            loss = loss + (w * w * v).sum() + (v * v).sum()
            return loss, v
        return loss

    agree(loss_fn)


def test_tensordot_with_a_weight_is_added_to_its_operand() -> None:
    def cell(h: Any, x: Any, p: Any) -> Any:
        a = x @ p["W"] + h
        return np.tanh(a + np.tensordot(a, p["R"], axes=1))

    agree(recurrent(cell))


AXES: dict[str, Callable[[Any, int], Any]] = {
    "softmax": lambda z, axis: tg.softmax(z, axis=axis),
    "log_softmax": lambda z, axis: tg.log_softmax(z, axis=axis),
    "cumsum": lambda z, axis: np.cumsum(z, axis=axis) / 9,
    "logsumexp": lambda z, axis: z - tg.logsumexp(z, axis=axis, keepdims=True),
    "max": lambda z, axis: z - z.max(axis=axis, keepdims=True),
    "mean": lambda z, axis: z - z.mean(axis=axis, keepdims=True),
    "flip": lambda z, axis: np.flip(z, axis=axis),
    "concatenate": lambda z, axis: np.concatenate([z, z * z], axis=axis).sum(axis=axis, keepdims=True) * z,
    "stack": lambda z, axis: np.stack([z, z * z], axis=axis).sum(axis=axis),
    "repeat": lambda z, axis: np.repeat(z, 2, axis=axis).sum(axis=axis, keepdims=True) * z,
    "argmax": lambda z, axis: z * np.argmax(z, axis=axis, keepdims=True),
}


@pytest.mark.parametrize("place", ["inside", "on each"])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
@pytest.mark.parametrize("name", AXES)
def test_an_operation_along_an_axis_in_a_loop(name: str, axis: int, place: str) -> None:
    operation = AXES[name]

    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4)), 0.0
        for _, x in tg.steps(xs):
            z = x @ params["W"] + h @ params["R"]
            h = np.tanh(operation(z, axis) if place == "inside" else z)
            y = operation(h, axis) if place == "on each" else h
            loss = loss + (y * y * y).sum()
        return loss

    agree(loss_fn)


def test_attention() -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        memory = np.stack([x @ params["W"] for _, x in tg.steps(xs)], axis=1)
        h, loss = np.zeros((xs.shape[1], 4)), 0.0
        for _, x in tg.steps(xs):
            scores = tg.softmax((memory * (h @ params["R"])[:, None, :]).sum(axis=2), axis=1)
            read = (memory * scores[:, :, None]).sum(axis=1)
            h = np.tanh(x @ params["W"] + read)
            loss = loss + (h * h).sum()
        return loss

    agree(loss_fn)


MASKS: dict[str, Callable[[Any, Any], Any]] = {
    "plus": lambda m, n: m.astype(float) + n.astype(float),
    "minus": lambda m, n: m.astype(float) - n.astype(float),
    "times": lambda m, n: m.astype(float) * n.astype(float),
    "minus bytes": lambda m, n: m.astype(float) - n.astype(np.uint8),
    "bytes minus": lambda m, n: m.astype(np.uint8).astype(float) - n.astype(np.uint8),
    "one minus": lambda m, n: 1 - m.astype(float) + n.astype(float),
    "minus a number": lambda m, n: (m.astype(float) - 1) * n,
}


@pytest.mark.parametrize("place", ["inside", "alone"])
@pytest.mark.parametrize("name", MASKS)
def test_masks_become_numbers_before_they_are_added(name: str, place: str) -> None:
    both = MASKS[name]

    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4)), 0.0
        for _, x in tg.steps(xs):
            z = x @ params["W"] + h @ params["R"]
            h = np.tanh(z * both(z > 0.2, z > -0.3)) if place == "inside" else np.tanh(z)
            loss = loss + (h * h).sum()
        if place == "alone":
            z = xs[0] @ params["W"]
            loss = loss + (z * both(z > 0.2, z > -0.3)).sum()
        return loss

    agree(loss_fn)


@pytest.mark.parametrize("times", [2, 3])
def test_a_truncated_state_is_truncated_again(times: int) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4)), 0.0
        for t, x in tg.steps(xs):
            h = np.tanh(x @ params["W"] + h @ params["R"])
            loss = loss + (h * h).sum()
            if t == 2:
                for _ in range(times):
                    h = tg.truncate(h)
        return loss

    agree(loss_fn)


def test_a_reduction_of_an_earlier_loops_result() -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h = np.zeros((2, 4))
        for _, x in tg.steps(xs):
            h = np.tanh(x @ params["W"] + h @ params["R"])
        g, loss = np.zeros((2, 4)), 0.0
        for _, x in tg.steps(xs):
            g = np.tanh(x @ params["W"] + g + h.mean(axis=0))
            loss = loss + (g * g).sum()
        return loss

    agree(loss_fn)


def test_a_part_of_a_tiled_state() -> None:
    def cell(h: Any, x: Any, p: Any) -> Any:
        h = np.tanh(x @ p["W"] + h @ p["R"])
        return np.tile(h, (1, 2))[:, 4:] * h

    agree(recurrent(cell))


@pytest.fixture
def shifted() -> Iterator[Any]:
    """A primitive of a user's own with a parameter of any kind."""

    @tg.primitive(vjps=[lambda g, y, x, by: g])
    def shifted(x: Any, by: Any = None) -> Any:
        return x + (by(x) if callable(by) else by)

    yield shifted
    del primitives["shifted"]


PARAMETERS = {
    "an array": np.array([0.1, 1 / 3, np.pi, 1e-17]),
    "a long array": np.linspace(0, 1, 8).reshape(2, 4) / 3,
    "a float32": np.float32(0.1),
    "a callable": np.zeros_like,
    "a lambda": lambda x: 0.25,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_that_has_no_literal(name: str, shifted: Any) -> None:
    def cell(h: Any, x: Any, p: Any) -> Any:
        return np.tanh(shifted(x @ p["W"] + h @ p["R"], by=PARAMETERS[name]))

    agree(recurrent(cell))


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_is_concatenated(rows: int) -> None:
    def cell(h: Any, x: Any, p: Any) -> Any:
        z = np.tanh(x @ p["W"] + h @ p["R"])
        return np.concatenate([z[:rows], z[rows:], z[:0]], axis=0)

    agree(recurrent(cell))


def test_nothing_at_all_is_concatenated() -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        loss = 0.0
        for _, x in tg.steps(xs):
            z = np.tanh(x @ params["W"])
            loss = loss + (z * z).sum() + np.concatenate([z[:0], z[:0]], axis=0).sum()
        return loss

    agree(loss_fn)


def of_classes(table: Any, place: str) -> Callable[[Any, Any], Any]:
    """A loss with the rows of a table that the batch picks; one number at a time if `place` is "one"."""

    def loss_fn(params: Any, xs: Any) -> Any:
        loss = (xs[0] @ params["W"]).sum()
        for _, x in tg.steps(xs):
            z = np.tanh(x @ params["W"])
            picked = np.argmax(x[0]) if place == "one" else np.argmax(x, axis=1)
            loss = loss + (z * table[picked]).sum()
        return loss

    return loss_fn


@pytest.mark.parametrize("place", ["one", "all"])
def test_an_array_at_an_index_that_is_a_tensor_is_refused(place: str) -> None:
    table = np.arange(12.0).reshape(3, 4) / 7
    step = tg.compile(of_classes(table, place))
    for _ in range(2):
        with pytest.raises(tg.errors.GraphError, match=r"tg.Tensor\(table\)\[i\]"):
            step({"W": np.ones((3, 4))}, np.ones((5, 2, 3)))
    agree(of_classes(tg.Tensor(table), place))


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("shape", [(5, 0, 3), (5, 2, 0)])
def test_states_without_entries_are_concatenated(shape: tuple[int, ...], axis: int | None) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        states = [np.tanh(x @ params["W"]) for _, x in tg.steps(xs)]
        return np.concatenate(states, axis=axis).sum() + (params["R"] ** 2).sum()

    agree(loss_fn, {"W": (shape[2], 0 if shape[2] == 0 else 4), "R": (4, 4)}, shape)


RETURNED: dict[str, Callable[[Any, Any], Any]] = {
    "the last": lambda states, p: states[-1],
    "a row": lambda states, p: states[-1][0],
    "a transpose": lambda states, p: states[-1].T,
    "all": lambda states, p: np.stack(states),
    "a part of all": lambda states, p: np.stack(states)[1:3],
    "flipped": lambda states, p: np.flip(np.stack(states), axis=0),
    "squeezed": lambda states, p: np.squeeze(states[-1][:, None], axis=1),
    "a parameter": lambda states, p: p["R"],
    "a part of a parameter": lambda states, p: p["R"][:, 1:],
    "one entry": lambda states, p: states[-1][0, 1],
    "a constant": lambda states, p: tg.Tensor(np.arange(3.0)),
}


@pytest.mark.parametrize("name", RETURNED)
def test_what_is_returned_is_the_callers_own(name: str) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss, states = np.zeros((2, 4)), 0.0, []
        for _, x in tg.steps(xs):
            h = np.tanh(x @ params["W"] + h @ params["R"])
            states.append(h)
            loss = loss + (h * h).sum()
        return loss, RETURNED[name](states, params)

    agree(loss_fn)


def test_gradients_that_are_views_of_each_other_are_not_shared() -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        z = params["R"] + params["S"].T
        return (np.tanh(z) ** 2).sum() + (xs[0] @ params["W"]).sum()

    agree(loss_fn, {**SHAPES, "S": (4, 4)})
    rng = np.random.default_rng(1)
    step = tg.compile(loss_fn)
    params = {key: rng.standard_normal(shape) for key, shape in {**SHAPES, "S": (4, 4)}.items()}
    _, grads = step(params, rng.standard_normal((5, 2, 3)))
    assert not np.shares_memory(grads["R"], grads["S"])


def test_an_array_written_to_between_two_steps_is_another_parameter(shifted: Any) -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss, by = np.zeros((2, 4)), 0.0, np.zeros(4)
        for _, x in tg.steps(xs):
            by += 0.1
            h = np.tanh(shifted(x @ params["W"] + h @ params["R"], by=by))
            loss = loss + (h * h).sum()
        return loss

    agree(loss_fn)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sigmoid_of_large_numbers_is_one_in_every_dtype(dtype: Any) -> None:
    x = np.array([-1000, -40, 0, 12, 40, 1000], dtype)
    loss, grads = tg.compile(lambda W: tg.sigmoid(W).sum())(x)
    np.testing.assert_allclose(loss, tg.sigmoid(x).sum(), rtol=1e-3)
    assert np.isfinite(grads).all()


def test_a_single_sequence_rolls_backward_too() -> None:
    """Both rules of a vector times a matrix begin with the same operation; at step 0 only one of them is wanted."""

    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros(4), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(x @ params["W"] + h @ params["R"])
            loss = loss + (h * h).sum()
        return loss

    agree(loss_fn, batch=(9, 3))
    lengths = []
    for T in (9, 13):
        step = tg.compile(loss_fn)
        step({key: np.ones(shape) for key, shape in SHAPES.items()}, np.ones((T, 3)))
        lengths.append(len(step.source.splitlines()))
    assert lengths[0] == lengths[1]
    assert str(step.explain()).count("not rolled") == 1  # h @ R at step 0, where h is not yet a state


def test_as_many_sequences_as_states_roll_all_the_same() -> None:
    """h.T @ dz and dz @ R.T have one shape then, and are of one matmul."""

    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((xs.shape[1], 4)), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(x @ params["W"] + h @ params["R"])
            loss = loss + (h * h).sum()
        return loss

    lengths = []
    for batch in (3, 4):
        agree(loss_fn, batch=(9, batch, 3))
        step = tg.compile(loss_fn)
        step({key: np.ones(shape) for key, shape in SHAPES.items()}, np.ones((9, batch, 3)))
        lengths.append(len(step.source.splitlines()))
    assert max(lengths) <= min(lengths) + 1


NUMBERS = {
    "a truth": (True, 1.0),
    "zeros": (0.0, False),
    "float64 and float": (np.float64(0.3), 0.3),
    "float32 and float": (np.float32(0.3), 0.3),
    "an integer of NumPy's": (np.int64(2), 2),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NUMBERS)
def test_equal_parameters_of_other_kinds_are_others(name: str, dtype: Any) -> None:
    @tg.primitive(vjps=[lambda g, y, x, by: g * (2 if isinstance(by, bool) else 3 if by == 1 else by)])
    def by_kind(x: Any, by: Any = None) -> Any:
        return x * (2 if isinstance(by, bool) else 3 if by == 1 else by)

    def loss_fn(p: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 4), dtype), 0.0
        for _, x in tg.steps(xs):
            z = x @ p + h
            a, b = (by_kind(z, by=by) for by in NUMBERS[name])
            h = np.tanh(a - 0.5 * b).astype(dtype)
            loss = loss + (h * h).sum() + (a * b).astype(np.float64).sum()
        return loss

    try:
        rng = np.random.default_rng(0)
        W, xs = rng.standard_normal((3, 4)).astype(dtype), rng.standard_normal((5, 2, 3)).astype(dtype)
        given = tg.Tensor(W, requires_grad=True)
        expected = loss_fn(given, tg.Tensor(xs))
        expected.backward()
        loss, grad = tg.compile(loss_fn)(W, xs)
        assert loss.dtype == expected.dtype
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-6 if dtype is np.float32 else 1e-12)
        np.testing.assert_allclose(grad, given.grad, rtol=1e-5 if dtype is np.float32 else 1e-10)
    finally:
        del primitives["by_kind"]


def test_every_step_of_a_long_loop_may_be_returned() -> None:
    """The proof shortens long stretches of time, but not past a step that is returned."""
    rng = np.random.default_rng(0)
    W, xs = rng.normal(0, 0.3, (4, 4)), rng.standard_normal((25, 4))

    def loss_fn(W: Any, xs: Any) -> Any:
        h, states = np.zeros(4), []
        for _, x in tg.steps(xs):
            h = np.tanh(x + h @ W)
            states.append(h)
        return (h * h).sum(), states

    (_, states), _ = tg.compile(loss_fn)(W, xs)
    np.testing.assert_allclose(states, [state.data for state in loss_fn(W, tg.Tensor(xs))[1]], rtol=1e-12)


def test_steps_are_returned_in_another_order() -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        kept = [tg.softmax(x @ params["W"] @ params["R"], axis=1) for _, x in tg.steps(xs, reverse=True)]
        return xs.sum() * params["W"].sum(), np.stack(kept)

    agree(loss_fn)


def test_an_array_that_python_keeps_at_zero_in_every_step() -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        before, state, loss, kept = np.zeros(1), np.zeros(1), 0.0, []
        for _, row in tg.steps(params["W"], reverse=True):
            kept.append(before - row)
            loss = loss + (state + xs).sum()
            before, state = state, state * state
        for _, difference in tg.steps(kept):
            loss = loss + (difference**2).mean()
        return loss + params["R"].sum()

    agree(loss_fn)


def test_an_initial_value_that_is_not_a_number() -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        before, loss = np.full((2, 4), np.nan), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(x @ params["W"])
            loss = loss + np.where(np.isnan(before), 0.0, h * before).sum() + (h @ params["R"]).sum()
            before = np.where(h > 2, h, before)
        return loss, before

    agree(loss_fn)


def test_parts_that_overlap_in_an_empty_batch() -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h = np.zeros((0, 4))
        for _, x in tg.steps(xs):
            z = h @ params["R"] + x @ params["W"]
            h = np.tanh(z[:, :3].sum(axis=1, keepdims=True) + z[:, 1:].sum(axis=1, keepdims=True) + z)
        return h.sum() + params["W"].sum()

    agree(loss_fn, batch=(5, 0, 3))
