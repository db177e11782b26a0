"""The engine itself: what a graph is, how it is swept, kept safe, and let go."""

from __future__ import annotations

import functools
import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core.context import Context, current


def parameters(H: int = 3, seed: int = 0) -> list[tg.Tensor]:
    rng = np.random.default_rng(seed)
    return [tg.Tensor(rng.normal(size=s) * 0.4, requires_grad=True) for s in ((H, H), (H, H), (H,))]


def unroll(xs: Any, h: Any, W: Any, R: Any, b: Any) -> Any:
    for _, x in tg.steps(xs):
        h = np.tanh(x @ W + h @ R + b)
    return h


# ---------------------------------------------------------------------- gradients of shared parts
def test_an_operand_used_twice_gets_both_gradients() -> None:
    x = tg.Tensor([3.0], requires_grad=True)
    (x * x).sum().backward()
    assert x.grad.tolist() == [6.0]


def test_a_diamond_adds_what_comes_by_both_ways() -> None:
    x = tg.Tensor(2.0, requires_grad=True)
    left, right = x * 3.0, np.square(x)
    y = left * right + left  # 3 x^3 + 3 x
    y.backward()
    assert x.grad == pytest.approx(9 * 4 + 3)


def test_many_diamonds_in_a_row_take_linear_time() -> None:
    x = tg.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(200):  # 2 ** 200 paths
        y = 0.5 * y + 0.5 * y
    y.backward()
    assert x.grad == pytest.approx(1.0)


def test_a_weight_shared_by_two_steps_gets_both_gradients() -> None:
    def loss(w: Any) -> Any:
        h: Any = 1.0
        for _, x in tg.steps(np.array([0.3, -0.7])):
            h = np.tanh(w * h + x)
        return h

    assert tg.gradcheck(loss, [np.array(0.8)], order=2)


def test_two_sequences_in_a_row_carry_the_state_and_its_gradient() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(4, 2, 3)), rng.normal(size=(3, 2, 3))
    W, R, b = parameters()
    h = unroll(first, np.zeros((2, 3)), W, R, b)
    np.square(unroll(second, h, W, R, b)).sum().backward()
    apart = [p.grad for p in (W, R, b)]
    for p in (W, R, b):
        p.grad = None
    np.square(unroll(np.concatenate([first, second]), np.zeros((2, 3)), W, R, b)).sum().backward()
    for ours, expected in zip(apart, (W, R, b), strict=True):
        np.testing.assert_allclose(ours, expected.grad, rtol=1e-13)


def test_backward_twice_adds_and_interior_tensors_keep_none_unless_asked() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    inner = x * 2.0
    kept = (inner * 3.0).retain_grad()
    y = kept.sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [12.0, 12.0]
    assert inner.grad is None
    assert kept.grad.tolist() == [2.0, 2.0]


def test_gradients_do_not_share_memory_with_each_other_or_the_seed() -> None:
    a, b = tg.Tensor([1.0], requires_grad=True), tg.Tensor([2.0], requires_grad=True)
    seed = np.ones(1)
    (a + b).backward(seed)
    a.grad += 5.0
    assert b.grad.tolist() == [1.0]
    assert seed.tolist() == [1.0]


def test_each_gradient_is_a_tensor_of_its_own_unless_it_is_part_of_a_graph() -> None:
    x, y = tg.Tensor([1.0, 2.0], requires_grad=True), tg.Tensor([1.0, 2.0], requires_grad=True)
    seed = tg.Tensor([1.0, 1.0])
    by_x, by_y = tg.grad(x + y, [x, y], create_graph=True, grad_output=seed)
    by_x.data[0] = 7.0
    assert by_y.tolist() == seed.tolist() == [1.0, 1.0]
    wanted = tg.Tensor([1.0, 1.0], requires_grad=True)
    (by_x,) = tg.grad(x + y, [x], create_graph=True, grad_output=wanted)
    assert tg.grad(by_x.sum(), [wanted])[0].tolist() == [1.0, 1.0]


def test_the_gradient_of_a_scalar_is_an_array_however_often_it_is_added_to() -> None:
    x = tg.Tensor(3.0, requires_grad=True)
    for times in (1, 2, 3):
        (x * x + x).backward()
        assert type(x.grad) is np.ndarray
        assert x.grad.tolist() == 7.0 * times


# ---------------------------------------------------------------------- dtypes
def test_a_recorded_gradient_has_its_tensors_dtype_whatever_it_starts_from() -> None:
    x = tg.Tensor(np.ones(2, np.float32), requires_grad=True)
    (g,) = tg.grad(x[0], [x], create_graph=True, grad_output=tg.Tensor(1.0))
    assert g.dtype == np.float32


@pytest.mark.parametrize("make", [np.asarray, tg.Tensor, list])
@pytest.mark.parametrize("create_graph", [False, True])
def test_several_outputs_take_a_gradient_each(make: Any, create_graph: bool) -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    seeds = [make([1.0, 10.0]), make([100.0, 1000.0]), None]
    (g,) = tg.grad([x * 2.0, x * 3.0, x.sum()], [x], create_graph, seeds)
    np.testing.assert_array_equal(g.data, [303.0, 3021.0])


def test_python_scalars_never_upcast() -> None:
    x = tg.Tensor(np.ones(3, np.float32), requires_grad=True)
    y = 0.5 * x + 1 - x / 3 + x**2 + 2.0**x + np.maximum(x, 0) + np.where(x.data > 0, x, 0.0) + np.clip(x, -2.0, 2)
    assert y.dtype == np.float32
    (g,) = tg.grad(y.sum(), x, create_graph=True)
    assert g.dtype == np.float32
    assert tg.grad(g.sum(), x)[0].dtype == np.float32


def test_dropout_takes_a_probability_of_any_kind() -> None:
    x, rng = np.ones(8, np.float32), np.random.default_rng
    assert np.array_equal(tg.dropout(x, np.float32(0.5), rng(0)), tg.dropout(x, 0.5, rng(0)))


def test_a_cast_sends_the_gradient_back_in_the_inputs_dtype() -> None:
    x = tg.Tensor(np.ones(3, np.float32), requires_grad=True)
    (x.astype(np.float64) * np.array([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [1.0, 2.0, 3.0]


# ---------------------------------------------------------------------- ties and kinks, where numbers cannot tell
@pytest.mark.parametrize(
    ("fn", "at", "expected"),
    [
        (lambda x: np.maximum(x, 0.0), [0.0], [0.5]),
        (lambda x: np.minimum(x, 0.0), [0.0], [0.5]),
        (np.max, [2.0, 1.0, 2.0], [0.5, 0.0, 0.5]),
        (np.min, [1.0, 1.0, 2.0], [0.5, 0.5, 0.0]),
        (tg.relu, [0.0], [0.0]),
        (np.abs, [0.0], [0.0]),
        (np.linalg.norm, [0.0, 0.0], [0.0, 0.0]),
        (np.std, [1.0, 1.0], [0.0, 0.0]),
        (np.prod, [0.0, 3.0, 2.0], [6.0, 0.0, 0.0]),
        (np.prod, [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]),
        (lambda x: np.clip(x, -1.0, 1.0), [-1.0, 1.0, 2.0], [1.0, 1.0, 0.0]),
        (lambda x: x**2, [0.0], [0.0]),
        (lambda x: x**0, [0.0], [0.0]),
        (tg.logsumexp, [-np.inf, 0.0], [0.0, 1.0]),
        (tg.logsumexp, [-np.inf, -np.inf], [0.0, 0.0]),
    ],
)
def test_the_gradient_where_there_are_several_or_none(fn: Callable[..., Any], at: Any, expected: Any) -> None:
    x = tg.Tensor(at, requires_grad=True)
    fn(x).sum().backward()
    np.testing.assert_allclose(x.grad, expected)


@pytest.mark.parametrize("fn", [tg.sigmoid, tg.softplus, tg.silu, tg.gelu, tg.elu, np.tanh, tg.softmax, tg.log_softmax])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows_at_extreme_values(fn: Callable[..., Any], dtype: Any) -> None:
    x = tg.Tensor(np.array([-1e4, -90.0, 0.0, 90.0, 1e4], dtype), requires_grad=True)
    fn(x).sum().backward()
    assert np.isfinite(x.grad).all()


# ---------------------------------------------------------------------- higher orders and products
def test_derivatives_to_any_order() -> None:
    x = tg.Tensor(0.7, requires_grad=True)
    y = np.exp(2.0 * x)
    for n in range(1, 6):
        (y,) = tg.grad(y, x, create_graph=True)
        assert float(y) == pytest.approx(2**n * np.exp(1.4))


def test_no_grad_around_a_gradient_that_is_asked_to_record_itself() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = x[0] ** 3 + (x * x).sum()
    with tg.no_grad():
        (g,) = tg.grad(y, [x], create_graph=True)
    assert tg.grad(g.sum(), [x])[0].tolist() == [8.0, 2.0]


@pytest.mark.parametrize("given", [1.0, [1.0, 1.0], None])
def test_a_rule_that_gives_no_array_is_named(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tg.tanh, "vjps", (lambda g, y, x: given,))
    y = tg.tanh(tg.Tensor([1.0, 2.0], requires_grad=True)).sum()
    with pytest.raises(tg.TensorError, match=f"tanh: the vjp rule of operand 0 gave {type(given).__name__}"):
        y.backward()


def test_jacobian_jvp_and_hvp_agree() -> None:
    rng = np.random.default_rng(0)
    x, w = (tg.Tensor(rng.normal(size=s), requires_grad=True) for s in ((3,), (2, 3)))
    y = np.tanh(w @ x) * x.sum()
    by_x, by_w = tg.jacobian(y, [x, w])
    assert by_x.shape == (2, 3)
    assert by_w.shape == (2, 2, 3)
    u, v = rng.normal(size=3), rng.normal(size=(2, 3))
    expected = by_x.data @ u + np.tensordot(by_w.data, v, 2)
    np.testing.assert_allclose(tg.jvp(y, [x, w], [u, v]).data, expected, rtol=1e-12)

    (gradient,) = tg.grad(np.square(y).sum(), x, create_graph=True)
    (hessian,) = tg.jacobian(gradient, x)
    np.testing.assert_allclose(hessian.data, hessian.data.T, rtol=1e-12)
    np.testing.assert_allclose(tg.hvp(np.square(y).sum(), x, u)[0].data, hessian.data @ u, rtol=1e-12)


def test_jacobian_between_states_of_an_unrolled_network() -> None:
    W, R, b = parameters()
    hs = [tg.Tensor(np.zeros(3), requires_grad=True)]
    for _, x in tg.steps(np.ones((4, 3))):
        hs.append(np.tanh(x @ W + hs[-1] @ R + b))
    (step,) = tg.jacobian(hs[3], hs[2])
    np.testing.assert_allclose(step.data, (1 - hs[3].data ** 2)[:, None] * R.data.T, rtol=1e-12)
    (lag,) = tg.jacobian(hs[4], hs[1])
    chain = np.linalg.multi_dot([tg.jacobian(hs[t], hs[t - 1])[0].data for t in (4, 3, 2)])
    np.testing.assert_allclose(lag.data, chain, rtol=1e-12)


def test_products_of_what_does_not_depend_are_zero() -> None:
    x, y = tg.Tensor([1.0, 2.0], requires_grad=True), tg.Tensor([3.0], requires_grad=True)
    assert tg.hvp((x * 2.0).sum(), x, [1.0, 1.0])[0].data.tolist() == [0.0, 0.0]
    assert tg.grad((x * 2.0).sum(), y)[0].data.tolist() == [0.0]
    assert tg.jvp(x * 1.0, y, [1.0]).data.tolist() == [0.0, 0.0]
    assert tg.jacobian(x[:0], x)[0].shape == (0, 2)


def test_the_gradient_of_the_gradient_of_a_new_axis() -> None:
    assert tg.gradcheck(lambda x: (x[None] ** 3 + x[None] * x[None, :]).sum(), [np.array([0.8, -0.3])], order=2)


# ---------------------------------------------------------------------- gradcheck
def test_gradcheck_names_the_worst_entry_of_a_large_input() -> None:
    def fn(x: Any) -> Any:
        mended = np.where(np.arange(1000) == 321, x * x.data, x * x)  # half the gradient at one entry
        return mended.sum()

    report = tg.gradcheck(fn, np.linspace(1.0, 2.0, 1000), raises=False)
    assert not report
    assert report.index == (321,)
    assert report.input == "x"
    assert "x[321]" in str(report)
    with pytest.raises(tg.GradientError, match="DISAGREE"):
        tg.gradcheck(fn, np.linspace(1.0, 2.0, 1000))


def test_gradcheck_takes_the_complex_step_only_where_it_is_right() -> None:
    x = np.array([0.5, -1.5])
    assert tg.gradcheck(np.tanh, x).method == "complex step"
    assert tg.gradcheck(np.tanh, x).error < 1e-14
    assert tg.gradcheck(lambda x: np.abs(x) * x, x).method == "central differences"
    assert tg.gradcheck(lambda x: tg.softplus(x), x).method == "central differences"


def test_gradcheck_takes_functions_that_hide_their_parameters() -> None:
    assert tg.gradcheck(functools.partial(np.power, 2.0), [np.array([0.3])])
    assert tg.gradcheck(np.multiply, [np.array([0.3]), np.array([0.7])])


def test_gradcheck_refuses_what_is_not_a_function() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(tg.InputError, match="other values when called again"):
        tg.gradcheck(lambda x: x * rng.normal(), [np.ones(3)])
    with pytest.raises(tg.InputError, match="floating"):
        tg.gradcheck(lambda i: i * 2, [np.arange(3)])


# ---------------------------------------------------------------------- safety
def test_results_are_read_only() -> None:
    y = tg.Tensor([1.0, 2.0], requires_grad=True) * 2.0
    with pytest.raises(ValueError, match="read-only"):
        y.data[0] = 5.0


@pytest.mark.parametrize("change", [lambda w: w.data.__setitem__(0, 9.0), lambda w: np.multiply(w.data, 2.0, w.data)])
def test_a_leaf_changed_between_forward_and_backward_is_named(change: Callable[[tg.Tensor], Any]) -> None:
    weight = tg.Tensor([1.0, 2.0], requires_grad=True)
    loss = np.square(weight).sum()
    change(weight)
    with pytest.raises(tg.GraphError, match=r"weight \(2,\).*was changed"):
        loss.backward()
    assert weight.grad is None
    np.square(weight).sum().backward()  # the next graph sees it anew
    np.testing.assert_allclose(weight.grad, 2 * weight.data)


def test_a_weight_may_change_after_backward() -> None:
    w = tg.Tensor([1.0], requires_grad=True)
    for _ in range(3):
        w.grad = None
        np.square(w).sum().backward()
        w.data -= 0.1 * w.grad
    assert w.data == pytest.approx(0.8**3)


def test_a_changed_sequence_is_noticed_through_its_steps() -> None:
    W, R, b = parameters()
    xs = tg.Tensor(np.ones((3, 2, 3)))
    h = unroll(xs, np.zeros((2, 3)), W, R, b)
    xs.data[1] = 7.0
    with pytest.raises(tg.GraphError, match="was changed"):
        h.sum().backward()


def test_a_loop_sets_the_step_and_leaves_the_rest_of_the_context_alone() -> None:
    before = current.get()
    w = tg.Tensor(2.0, requires_grad=True)
    loop = tg.steps(np.ones(3))
    with tg.no_grad():
        for t, x in loop:
            y = x * w
            assert (y.requires_grad, y.step) == (False, t)
        assert not (w * w).requires_grad
    assert current.get() == before
    with tg.scope("outer"):
        abandoned = tg.steps(np.ones(3))
        next(abandoned)
    abandoned.close()
    assert current.get() == before
    for (t, x), (_, z) in zip(tg.steps(np.ones(3)), tg.steps(np.ones(2)), strict=False):
        assert (x * w * z).step == t
    assert current.get() == before


def test_an_exception_restores_step_scope_and_recording() -> None:
    def fails() -> None:
        for t, _ in tg.steps(np.ones((3, 1))):
            1 / (1 - t)

    with pytest.raises(ZeroDivisionError) as raised:
        fails()
    assert raised.tb is not None  # though the traceback keeps the loop's frame alive
    assert current.get() == Context()
    with pytest.raises(ZeroDivisionError), tg.scope("encoder"), tg.no_grad():
        fails()
    assert current.get() == Context()
    x = tg.Tensor([-1.0], requires_grad=True)
    with pytest.raises(tg.TensorError), tg.detect_anomaly(), np.errstate(all="ignore"):
        np.log(x)
    assert current.get() == Context()
    with pytest.raises(tg.GraphError):
        tg.grad(np.square(x), tg.Tensor(1.0))
    assert current.get() == Context()


def test_a_rule_that_raises_restores_the_context() -> None:
    @tg.primitive(vjps=[lambda g, y, x: 1 / 0], name="rule_that_raises")
    def broken(x: Any) -> Any:
        return x * 2.0

    try:
        x = tg.Tensor([1.0], requires_grad=True)
        for _, part in tg.steps(x):
            y = broken(part)
        with pytest.raises(ZeroDivisionError):
            tg.grad(y, x, create_graph=True)
        assert current.get() == Context()
    finally:
        from tinygrad_rnn.core.primitive import primitives

        del primitives["rule_that_raises"]


def test_threads_do_not_see_each_others_steps_or_gradients() -> None:
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(50, 2, 3))
    W, R, b = parameters()

    def gradient(scale: float) -> list[np.ndarray]:
        with tg.scope(f"worker_{scale:.0f}"):
            h: Any = np.zeros((2, 3))
            for t, x in tg.steps(xs):
                h = np.tanh(scale * x @ W + h @ R + b)
                assert (h.step, h.scope) == (t, f"worker_{scale:.0f}")
            return [g.data for g in tg.grad(np.square(h).sum(), [W, R, b])]

    expected = {scale: gradient(scale) for scale in (1.0, 2.0, 3.0, 4.0)}
    found: dict[float, list[list[np.ndarray]]] = {scale: [] for scale in expected}

    def work(scale: float) -> None:
        for _ in range(5):
            found[scale].append(gradient(scale))
        with tg.no_grad():
            assert not (W * 1.0).requires_grad
            time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(scale,)) for scale in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for scale, runs in found.items():
        assert len(runs) == 5
        for run in runs:
            for g, e in zip(run, expected[scale], strict=True):
                np.testing.assert_array_equal(g, e)


# ---------------------------------------------------------------------- anomalies
def test_detect_anomaly_names_op_step_scope_direction_and_line() -> None:
    def fails() -> None:
        with tg.scope("decoder"):
            for _, x in tg.steps(np.array([2.0, 1.0, 0.0])):
                np.log(tg.Tensor(1.0, requires_grad=True) * x)  # the culprit

    with tg.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(tg.GraphError) as raised:
        fails()
    text = str(raised.value)
    for word in ("infinity", "forward", "log", "step 2", "decoder", "the culprit", "test_engine.py"):
        assert word in text


def test_detect_anomaly_goes_backward_too() -> None:
    x = tg.Tensor([4.0, 0.0], requires_grad=True)
    with tg.scope("head"):
        root = np.sqrt(x)
    with tg.detect_anomaly(), np.errstate(all="ignore"):
        with pytest.raises(
            tg.GraphError, match=r"infinity of the backward pass arises in sqrt, root \(2,\) in scope head"
        ):
            root.sum().backward()
        with pytest.raises(tg.GraphError, match=r"infinity of the backward pass arises in sqrt"):
            tg.grad(root.sum(), x, create_graph=True)
    assert x.grad is None


def test_detect_anomaly_names_the_weight_that_was_bad_already() -> None:
    weight = tg.Tensor([np.nan], requires_grad=True)
    with tg.detect_anomaly(), pytest.raises(tg.GraphError, match=r"NaN .* in its input already: weight"):
        weight * 2.0


# ---------------------------------------------------------------------- checkpoints
def test_checkpoint_reaches_arguments_and_what_the_function_closes_over() -> None:
    rng = np.random.default_rng(0)
    x, w = (tg.Tensor(rng.normal(size=3), requires_grad=True) for _ in range(2))
    scaled = w * 2.0  # an interior tensor from outside

    def fn(x: Any) -> Any:
        inner = np.tanh(x * scaled) + w
        return inner * inner

    expected = tg.grad(fn(x).sum(), [x, w])
    found = tg.grad(tg.checkpoint(fn)(x).sum(), [x, w])
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(g.data, e.data, rtol=1e-14)
    (first,) = tg.grad(tg.checkpoint(fn)(x).sum(), x, create_graph=True)
    (plain,) = tg.grad(fn(x).sum(), x, create_graph=True)
    for g, e in zip(tg.grad(np.square(first).sum(), [x, w]), tg.grad(np.square(plain).sum(), [x, w]), strict=True):
        np.testing.assert_allclose(g.data, e.data, rtol=1e-12)


def test_checkpoint_keeps_nothing_of_the_inside() -> None:
    made: list[weakref.ref[tg.Tensor]] = []

    def fn(x: Any) -> Any:
        y = np.tanh(x)
        made.append(weakref.ref(y))
        return y * y

    x = tg.Tensor(np.ones(3), requires_grad=True)
    z = tg.checkpoint(fn)(x)
    assert made[0]() is None
    z.sum().backward()
    assert len(made) == 2
    assert made[1]() is None


def test_checkpoint_gives_several_outputs_and_repeats_its_random_numbers() -> None:
    x = tg.Tensor(np.ones((4, 3)), requires_grad=True)

    def fn(x: Any, rng: np.random.Generator) -> Any:
        dropped = tg.dropout(x, 0.5, rng)
        return dropped * 3.0, np.square(dropped).sum()

    rng, twin = np.random.default_rng(5), np.random.default_rng(5)
    a, total = tg.checkpoint(fn)(x, rng)
    b, expected = fn(x, twin)
    np.testing.assert_array_equal(a.data, b.data)
    assert rng.random() == twin.random()  # the stream went on as it would have
    np.testing.assert_allclose(tg.grad(a.sum() + total, x)[0].data, tg.grad(b.sum() + expected, x)[0].data, rtol=1e-14)


def test_checkpoint_refuses_a_function_that_changes() -> None:
    rng = np.random.default_rng(0)
    x = tg.Tensor(np.ones(8), requires_grad=True)
    y = tg.checkpoint(lambda x: x * x * rng.random(x.shape))(x)  # the generator is not an argument
    with pytest.raises(tg.GraphError, match="other values when run again"):
        y.sum().backward()
    with pytest.raises(tg.InputError, match="gave float"):
        tg.checkpoint(lambda x: 1.0)(x)


@pytest.mark.parametrize("every", ["sqrt", 1, 3, 100])
@pytest.mark.parametrize("T", [0, 1, 10])
def test_checkpoint_steps_is_the_loop(every: Any, T: int) -> None:
    rng = np.random.default_rng(0)
    W, R, b = parameters()
    xs = tg.Tensor(rng.normal(size=(T, 2, 3)), requires_grad=True)
    h0 = tg.Tensor(rng.normal(size=(2, 3)), requires_grad=True)
    seen = []

    def cell(x: Any, state: Any) -> Any:
        h, loss = state
        h = np.tanh(x @ W + h @ R + b)
        seen.append(h.step)
        return h, loss + np.square(h).sum()

    state: Any = (h0, tg.Tensor(0.0))
    for _, x in tg.steps(xs, start=5):
        state = cell(x, state)
    expected = tg.grad(state[0].sum() + state[1], [W, R, b, xs, h0])
    assert seen == list(range(5, 5 + T))
    seen.clear()
    h, loss = tg.checkpoint_steps(cell, (h0, tg.Tensor(0.0)), xs, every=every, start=5)
    assert seen == list(range(5, 5 + T))
    for g, e in zip(tg.grad(h.sum() + loss, [W, R, b, xs, h0]), expected, strict=True):
        np.testing.assert_allclose(g.data, e.data, rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------------- memory and time
def alive() -> int:
    return sum(type(each) is tg.Tensor for each in gc.get_objects())


@pytest.mark.parametrize("kind", ["loop", "create_graph", "checkpoint", "indexed", "flow"])
def test_a_graph_dies_by_reference_counting_alone(kind: str) -> None:
    W, R, b = parameters()
    xs = tg.Tensor(np.ones((6, 2, 3)), requires_grad=True)

    def run() -> None:
        if kind == "checkpoint":
            h = tg.checkpoint_steps(lambda x, h: np.tanh(x @ W + h @ R + b), tg.Tensor(np.zeros((2, 3))), xs)
        else:
            h = unroll(xs, np.zeros((2, 3)), W, R, b)
        loss = (h[:, np.array([0, 0, 2])] if kind == "indexed" else h).sum()
        if kind == "create_graph":
            (g,) = tg.grad(loss, W, create_graph=True)
            np.square(g).sum().backward()
        elif kind == "flow":
            tg.gradient_flow(loss)
        else:
            loss.backward()

    run()
    gc.collect()
    gc.disable()
    try:
        before = alive()
        run()
        assert alive() == before
    finally:
        gc.enable()


def test_a_hundred_thousand_steps_forward_backward_and_deletion() -> None:
    w = tg.Tensor(np.full((1, 1), 0.9), requires_grad=True)
    h: Any = tg.Tensor(np.ones((1, 1)), requires_grad=True)
    start = h
    for _, x in tg.steps(np.full((100_000, 1, 1), 0.001)):
        h = h * w + x
    h.sum().backward()
    assert w.grad is not None
    assert start.grad is not None
    assert float(w.grad[0, 0]) == pytest.approx(0.001 / (1 - 0.9) ** 2)
    del h, x


@pytest.mark.parametrize("wanted", [False, True])
def test_time_is_linear_in_the_steps(wanted: bool) -> None:
    """Also when the sequence wants its gradient: each step adds into its own slice of one buffer."""
    W, R, b = parameters(8)

    def seconds(T: int) -> float:
        xs = tg.Tensor(np.zeros((T, 2, 8)), requires_grad=wanted)
        start = time.process_time()
        unroll(xs, np.zeros((2, 8)), W, R, b).sum().backward()
        return time.process_time() - start

    seconds(300)
    ratio = min(seconds(4000) for _ in range(2)) / min(seconds(400) for _ in range(5))
    assert ratio < 20, ratio  # quadratic time would be 100; `benchmarks/engine.py` measures it closely


# ---------------------------------------------------------------------- names and places
def test_a_function_of_the_table_names_its_result_and_nothing_on_the_way() -> None:
    p, q = tg.Tensor([1.0, 2.0], requires_grad=True), np.zeros(2)
    loss = tg.huber(p, q)
    assert loss.name == "loss"
    inner = loss.inputs[0]
    assert inner.primitive.name == "huber_of"
    assert inner.name is None
    (first,) = tg.grad(np.square(p).sum(), p, create_graph=True)
    assert first.name is None or first.name == "first"


def test_backward_operations_belong_to_the_step_they_differentiate() -> None:
    x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    total: Any = 0.0
    with tg.scope("layer"):
        for _, part in tg.steps(x):
            total = total + part * part * part
    (g,) = tg.grad(total, x, create_graph=True)
    steps = {operand.step for operand in g.inputs if isinstance(operand, tg.Tensor)}
    assert {0, 1, 2} <= steps


def test_a_result_that_is_its_operands_array_leaves_the_weight_writeable() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    np.squeeze(w).sum().backward()  # NumPy hands the very array back
    w.data -= 0.5 * w.grad
    assert w.data.tolist() == [0.5, 1.5]


def test_grad_of_what_a_dictionary_holds() -> None:
    weights = {"a": tg.Tensor([1.0, 2.0], requires_grad=True), "b": tg.Tensor([3.0, 4.0], requires_grad=True)}
    loss = (weights["a"] * weights["b"]).sum()
    assert [g.tolist() for g in tg.grad(loss, weights.values())] == [[3.0, 4.0], [1.0, 2.0]]
    with pytest.raises(tg.GraphError, match="grad: got ndarray among the inputs"):
        tg.grad(loss, {"x": np.ones(2)}.values())
