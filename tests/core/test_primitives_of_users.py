"""What can go wrong in a primitive of a user's own, and how it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core.primitive import primitives


@pytest.fixture(autouse=True)
def the_table_as_it_was() -> Iterator[None]:
    before = dict(primitives)
    yield
    primitives.clear()
    primitives.update(before)


def test_a_rule_that_cannot_be_called_is_refused_where_it_is_defined() -> None:
    with pytest.raises(tg.TensorError, match=r"rule of operand 0 of short .* cannot be called as \(g, y, x0, times=\)"):

        @tg.primitive(vjps=[lambda g, x: g], name="short")
        def short(x: Any, times: float = 2.0) -> Any:
            return times * x

    with pytest.raises(tg.TensorError, match=r"rule of operand 1 of product"):
        tg.primitive(vjps=[lambda g, y, a, b: g * b, lambda g, y, a: g * a], name="product")(lambda a, b: a * b)
    with pytest.raises(tg.TensorError, match=r"the vjp rule of joined .* as \(g, y, inputs\)"):
        tg.primitive(vjps=lambda g: [g], name="joined")(lambda xs: np.concatenate(xs))


def test_too_few_gradients_name_the_primitive() -> None:
    few = tg.primitive(vjps=lambda g, y, xs: [g], name="few")(lambda xs: xs[0] + xs[1])
    one = tg.primitive(vjps=lambda g, y, xs: g, name="one")(lambda xs: xs[0] + xs[1])
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(tg.TensorError, match="few: the vjp rule gave 1 gradients, expected a list of 2"):
        few([x, x]).sum().backward()
    with pytest.raises(tg.TensorError, match="one: the vjp rule gave ndarray, expected a list of 2"):
        one([x, x]).sum().backward()


def test_a_function_that_gives_no_numbers_is_named() -> None:
    text = tg.primitive(vjps=[lambda g, y, x: g], name="text")(lambda x: "abc")
    nothing = tg.primitive(vjps=[lambda g, y, x: g], name="nothing")(lambda x: None)
    words = tg.primitive(vjps=[lambda g, y, x: g], name="words")(lambda x: np.array(["a", "b"]))
    for made in (text, nothing, words):
        with pytest.raises(tg.DTypeError, match=made.name):
            made(tg.Tensor([1.0, 2.0], requires_grad=True))


def test_a_singular_matrix_is_numpys_error_too() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="inv: cannot take"):
        np.linalg.inv(tg.Tensor(np.zeros((2, 2)), requires_grad=True))


def test_a_deliberate_infinity_is_no_anomaly() -> None:
    scores = tg.Tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    mask = np.array([[0.0, -np.inf, 0.0]])
    with tg.detect_anomaly():
        for masked in (scores + mask, tg.where(mask == 0, scores, -np.inf)):
            tg.softmax(masked).sum().backward()
        with pytest.raises(tg.GraphError, match=r"first infinity .* log"), np.errstate(all="ignore"):
            np.log(scores * 0.0)
        with pytest.raises(tg.GraphError, match=r"first NaN .* subtract"), np.errstate(all="ignore"):
            (scores + mask) - mask
    bad = tg.Tensor([np.inf], requires_grad=True)
    with tg.detect_anomaly(), pytest.raises(tg.GraphError, match="in its input already: bad"):
        bad * 2.0


def test_a_notebooks_cell_may_be_run_again() -> None:
    cell = compile("f = tg.primitive(vjps=[lambda g, y, x: k * g], name='scaled')(lambda x: k * x)", "<cell>", "exec")
    room: dict[str, Any] = {"tg": tg, "__name__": "__main__", "k": 2.0}
    exec(cell, room)
    room["k"] = 3.0
    exec(cell, room)
    x = tg.Tensor([1.0], requires_grad=True)
    room["f"](x).sum().backward()
    assert np.array_equal(x.grad, [3.0])
    with pytest.raises(tg.TensorError, match="a primitive named 'scaled' already"):
        exec(cell, room | {"__name__": "elsewhere"})
    with pytest.raises(tg.TensorError, match="a primitive named 'tanh' already"):
        tg.primitive(np.tanh, vjps=[lambda g, y, x: g])


def test_a_function_cannot_write_into_its_operands() -> None:
    @tg.primitive(vjps=[lambda g, y, x: g])
    def grows(x: Any) -> Any:
        x += 1.0
        return x

    @tg.primitive(vjps=lambda g, y, xs: [g] * len(xs))
    def grows_all(xs: Any) -> Any:
        xs[0][:] = 0.0
        return xs[0] + xs[1]

    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    for call in (lambda: grows(w), lambda: grows_all([w, w])):
        with pytest.raises(tg.TensorError, match=r"grows\w*: its function writes into an operand"):
            call()
    loss.backward()
    assert np.array_equal(w.grad, [2.0, 4.0])
    same = tg.primitive(vjps=[lambda g, y, x: g], name="same")(lambda x: x)
    assert np.array_equal(same(w).data, w.data)
    w.data[0] = 5.0
    assert w.data.flags.writeable
