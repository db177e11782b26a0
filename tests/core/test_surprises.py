"""What surrounds the calculus holds no surprise: the step belongs to the loop body, and nothing is silently wrong."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core.primitive import primitives

XS = np.ones((4, 2))


def step_here() -> int | None:
    return tg.Tensor(1.0).step


def breaks(it: Any) -> None:
    for _ in it:
        break
    assert step_here() is None


def raises(it: Any) -> None:
    try:
        for _ in it:
            raise KeyError
    except KeyError:
        assert step_here() is None


def returns(it: Any) -> None:
    for t, _ in it:
        assert step_here() == t
        return


def asks_by_hand(it: Any) -> None:
    t, x = next(it)
    assert step_here() == t == x.step


@pytest.mark.parametrize("leave", [breaks, raises, returns, asks_by_hand])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_step_ends_with_the_loop_body_though_the_iterator_is_kept(
    leave: Callable[[Any], None], reverse: bool
) -> None:
    kept = []
    for _ in range(3):
        it = tg.steps(XS, reverse=reverse)
        kept.append(it)
        leave(it)
        assert step_here() is None
    assert len(list(kept[0])) == 3  # and it goes on where it was left
    kept.clear()
    del it
    assert step_here() is None


@pytest.mark.parametrize("wrap", [enumerate, lambda it: zip(range(9), it, strict=False)])
def test_the_step_ends_with_the_loop_body_though_zip_keeps_the_iterator(wrap: Callable[[Any], Any]) -> None:
    it = wrap(tg.steps(np.ones((4, 2))))
    for _, (t, x) in it:
        with tg.scope("inside"):
            assert step_here() == t == x.step
        if t == 1:
            assert step_here() == 1
            break
    assert step_here() is None
    raises(it)
    assert [(t, step_here()) for _, (t, _) in it] == [(3, 3)]
    assert step_here() is None


def test_the_step_ends_where_zip_stops_at_the_shorter_one() -> None:
    pairs = zip(tg.steps(np.ones((4, 2))), range(2), strict=False)
    assert [step_here() for _ in pairs] == [0, 1]
    assert step_here() is None
    del pairs


def test_the_body_of_a_loop_may_be_long() -> None:
    lines = "".join(f"        a{i} = {i} * len(seen)\n" for i in range(300))
    source = f"def run(it, seen):\n    for _ in it:\n{lines}        seen.append(step_here())\n        break\n"
    names = {"step_here": step_here}
    exec(source, names)
    seen: list[int | None] = []
    names["run"](it := enumerate(tg.steps(np.ones((4, 2)))), seen)
    assert (seen, step_here(), next(it)[0]) == ([0], None, 1)


def test_a_loop_left_within_another_gives_the_outer_step_back() -> None:
    kept = []
    for t, _ in tg.steps(XS):
        inner = tg.steps(XS, start=10)
        kept.append(inner)
        for s, _ in inner:
            assert step_here() == s
            break
        assert step_here() == t
        for (s, _), _ in zip(tg.steps(XS, start=20), tg.steps(XS, start=20), strict=True):
            assert step_here() == s
            if s == 22:
                break
        assert step_here() == t
    assert step_here() is None


def test_a_generator_that_stands_still_does_not_tag_its_caller() -> None:
    def states() -> Iterator[int]:
        for t, _ in tg.steps(XS, start=5):
            assert step_here() == t
            yield t
            assert step_here() == t

    generator = states()
    assert next(generator) == 5
    assert step_here() is None
    assert next(generator) == 6
    for t, _ in tg.steps(XS):
        assert step_here() == t
        other = states()
        assert next(other) == 5
        assert step_here() == t
    assert step_here() is None
    assert list(states()) == [5, 6, 7, 8]
    assert step_here() is None


# ---------------------------------------------------------------------- right, or a clear error
def test_complex_numbers_do_not_lose_a_gradient_silently() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    for attempt in (lambda: np.abs(w * 1j), lambda: w.astype(complex), lambda: w * np.array([1j, 2.0])):
        with pytest.raises(tg.DTypeError, match="complex"):
            attempt()


def test_operations_on_bits_compute_on_bits() -> None:
    a, b = np.array([6, 3]), np.array([3, 5])
    t, mask = tg.Tensor(a), tg.Tensor([True, False])
    for found, expected in [
        (t & 1, a & 1), (1 & t, a & 1), (t | b, a | b), (b | t, a | b), (t ^ b, a ^ b), (~t, ~a),
        (np.bitwise_and(t, b), a & b), (np.bitwise_or(a, tg.Tensor(b)), a | b), (np.invert(t), ~a),
        (~mask, [False, True]), (mask & True, [True, False]), (mask ^ mask, [False, False]),
    ]:  # fmt: skip
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(tg.DTypeError, match="expected masks or integers"):
        tg.Tensor([1.0]) & 1


def test_an_integer_leaf_has_no_gradient_though_it_was_asked_for() -> None:
    n = tg.Tensor([1, 2])
    n.requires_grad = True
    with pytest.raises(tg.DTypeError, match="only floating numbers have gradients"):
        (n * 0.5).sum().backward()


def test_a_gradient_of_another_shape_is_not_broadcast() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    w.grad = np.ones((3, 2))
    with pytest.raises(tg.ShapeError, match=r"grad of w .*\(3, 2\), expected \(2,\)"):
        (w * w).sum().backward()


@pytest.mark.parametrize("which", ["the gradient", "the result", "the operand"])
def test_a_rule_cannot_write_into_what_others_read(which: str) -> None:
    def doubles(g: Any, y: Any, x: Any) -> Any:
        written = {"the gradient": g, "the result": y, "the operand": x}[which]
        written *= 2
        return g

    twice = tg.primitive(lambda x: 2 * x, vjps=[doubles], name="twice_in_place")
    try:
        w = tg.Tensor([1.0], requires_grad=True)
        with pytest.raises(tg.TensorError, match="twice_in_place: its vjp rule writes"):
            (twice(w) + w).sum().backward()
        assert w.data == [1.0]
    finally:
        del primitives["twice_in_place"]


# ---------------------------------------------------------------------- copies
def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


COPIES = pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])


@COPIES
def test_the_copy_of_a_leaf_is_a_leaf_of_its_own(duplicate: Callable[[Any], Any]) -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    other = duplicate(w)
    assert (other.is_leaf, other.requires_grad, other.name, other.dtype) == (True, True, "w", w.dtype)
    np.testing.assert_array_equal(other.grad, [2.0, 4.0])
    other.grad = None
    other.data += 1
    (w * other).sum().backward()
    np.testing.assert_array_equal(w.data, [1.0, 2.0])
    np.testing.assert_array_equal(w.grad, [4.0, 7.0])
    np.testing.assert_array_equal(other.grad, [1.0, 2.0])


@COPIES
def test_the_copy_of_a_result_is_detached(duplicate: Callable[[Any], Any]) -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    other = duplicate(np.tanh(w))
    assert (other.is_leaf, other.requires_grad) == (True, False)
    np.testing.assert_array_equal(other.data, np.tanh([1.0, 2.0]))
    other.data[0] = 5.0
    assert w.data[0] == 1.0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_a_model_and_its_optimiser_train_on_as_the_first_after_a_copy(duplicate: Callable[[Any], Any]) -> None:
    def trains(model: Any, optimiser: Any) -> Any:
        for _ in range(3):
            optimiser.zero_grad()
            (model(tg.Tensor(XS)) ** 2).sum().backward()
            optimiser.step()
        return model.state_dict()

    model = tg.nn.Linear(2, 3, rng=0)
    optimiser = tg.optim.Adam(model.parameters(), lr=0.1)
    trains(model, optimiser)
    best, its_optimiser = duplicate((model, optimiser))
    kept = model.state_dict()
    first = trains(model, optimiser)
    for name, value in best.state_dict().items():
        np.testing.assert_array_equal(value, kept[name])
    for name, value in trains(best, its_optimiser).items():
        np.testing.assert_array_equal(value, first[name])
        assert not np.array_equal(value, kept[name])


@pytest.mark.parametrize("symbol", ["add", "sub", "mul", "truediv", "matmul"])
def test_a_masked_array_beside_a_tensor_is_refused_on_either_side(symbol: str) -> None:
    w, masked = tg.Tensor(np.ones(3), requires_grad=True), np.ma.masked_array(np.ones(3), [0, 1, 0])
    for a, b in ((masked, w), (w, masked)):
        with pytest.raises(tg.TensorError):
            getattr(operator, symbol)(a, b)
