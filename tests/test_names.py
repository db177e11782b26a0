"""Tensors are named after the variables of the user's code, on every Python."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn as tg


def make(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.ones(shape), requires_grad=True)


def test_a_weight_is_named_where_it_is_kept() -> None:
    W_direct = tg.Tensor(np.eye(2), requires_grad=True)
    W_made = make(2, 2)
    assert W_direct.name == "W_direct"
    assert W_made.name == "W_made"
    assert tg.Tensor(1.0, name="given").name == "given"
    assert [make(2), make(2)][0].name is None


def test_an_attribute_and_an_item_name_a_weight_too() -> None:
    class Model:
        def __init__(self) -> None:
            self.W_hh = make(2, 2)

    weights, key = {}, "b_h"
    weights["W_xh"] = make(2, 2)
    weights[key] = make(2)
    assert Model().W_hh.name == "W_hh"
    assert weights["W_xh"].name == "W_xh"
    assert weights[key].name is None  # a key that is not written there is not known


def test_results_are_named_in_every_step_and_parts_of_expressions_are_not() -> None:
    W = make(3, 3)
    for _ in range(3):  # again and again: the interpreter specialises loops as they warm up
        for _t, x in tg.steps(np.ones((5, 3))):
            h = np.tanh(x @ W)
            y = h * 2.0
            assert x.name == "x"
            assert h.name == "h"
            assert y.name == "y"
            assert h.inputs[0].name is None


def test_unpacked_results_have_no_name_of_their_own() -> None:
    W = make(4)
    i, f = (W[k] for k in range(2))
    assert i.name is None
    assert f.name is None


def test_tuple_assignment_names_each_weight() -> None:
    W1, U1 = make(2), make(2)
    W2, U2, b2 = make(2), make(2), make(2)
    (W3, U3), b3, c3 = (make(2), make(2)), make(2), tg.Tensor(np.ones(2), requires_grad=True)
    model: dict[str, tg.Tensor] = {}
    model["p"], model["q"] = make(2), make(2)
    assert [x.name for x in (W1, U1, W2, U2, b2)] == ["W1", "U1", "W2", "U2", "b2"]
    assert [x.name for x in (W3, U3, b3, c3)] == ["W3", "U3", "b3", "c3"]
    assert [x.name for x in model.values()] == ["p", "q"]
    first, second = [make(2) + make(2), make(2) * 2.0]
    assert (first.name, second.name) == ("first", "second")
    assert first.inputs[0].name is None


def test_a_helper_that_returns_its_variable_leaves_the_name_to_the_caller() -> None:
    def helper() -> tg.Tensor:
        out = tg.Tensor(np.ones(2), requires_grad=True)
        return out  # noqa: RET504 - the assignment is what is tested

    W_hh, W_xh = helper(), helper()
    assert (W_hh.name, W_xh.name) == ("W_hh", "W_xh")
    assert [helper()][0].name == "out", "the only name that there is"
