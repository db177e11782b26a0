"""What the operations say of themselves: each trait of each operation is held against what its function does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from calculus import CASES
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.core.context import context
from tinygrad_rnn.core.primitive import Primitive, Traits, primitives
from tinygrad_rnn.core.tensor import Tensor, raw

FAST = settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
FACTORS = (1.0, 1.25, 0.75)


def nodes_of(result: Any) -> Iterator[Tensor]:
    """All results of primitives in the graph behind a function's result."""
    stack = [*result] if isinstance(result, (list, tuple)) else [result]
    seen: set[int] = set()
    while stack:
        node = stack.pop()
        if isinstance(node, Tensor) and node.primitive is not None and node.index not in seen:
            seen.add(node.index)
            yield node
            stack.extend(node.inputs)


def call(p: Primitive, arrays: list[Any], attrs: Any) -> np.ndarray:
    return np.asarray(p.function(arrays, **attrs) if p.arity is None else p.function(*arrays, **attrs))


def floating(x: Any) -> bool:
    return np.asarray(x).dtype.kind == "f"


def scaled(arrays: list[Any], factor: float) -> list[Any]:
    return [x * factor if isinstance(x, np.ndarray) and floating(x) else x for x in arrays]


def check_alias(p: Primitive, arrays: list[Any], attrs: Any, y: np.ndarray) -> bool:
    if p.traits.alias == "new":
        assert not any(np.shares_memory(y, x) for x in arrays if isinstance(x, np.ndarray))
    elif p.traits.alias == "view":
        assert y.size == 0 or np.shares_memory(y, arrays[0])
    return p.traits.alias != "either"


def check_elementwise(p: Primitive, arrays: list[Any], attrs: Any, y: np.ndarray) -> bool:
    flat = [np.broadcast_to(x, y.shape).reshape(-1) for x in arrays]
    np.testing.assert_array_equal(call(p, flat, attrs).reshape(y.shape), y)
    for i, rule in enumerate(p.vjps):
        if rule is not None and floating(y) and np.shape(arrays[i]) == y.shape:
            g = np.stack([y * 0 + 1, y + 0.5])
            rows = [np.broadcast_to(rule(each, y, *arrays, **attrs), y.shape) for each in g]
            np.testing.assert_array_equal(rule(g, y, *arrays, **attrs), rows)
    return True


def check_moves(p: Primitive, arrays: list[Any], attrs: Any, y: np.ndarray) -> bool:
    constants = [0.0, attrs.get("constant_values", 0.0)]
    assert np.isin(y, np.concatenate([*(np.ravel(x) for x in arrays), constants]).astype(y.dtype)).all()
    return True


def check_linear(p: Primitive, arrays: list[Any], attrs: Any, y: np.ndarray) -> bool:
    twice = [2 * x if floating(x) else x for x in arrays]
    thrice = [3 * x if floating(x) else x for x in arrays]
    np.testing.assert_allclose(call(p, twice, attrs), 2 * y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(call(p, thrice, attrs), 3 * y, rtol=1e-12, atol=1e-12)
    shifted = [x + np.ones_like(x) if floating(x) else x for x in arrays]
    ones = [np.ones_like(x) if floating(x) else x for x in arrays]
    np.testing.assert_allclose(call(p, shifted, attrs), y + call(p, ones, attrs), rtol=1e-12, atol=1e-12)
    return True


def check_bounds(p: Primitive, arrays: list[Any], attrs: Any, y: np.ndarray) -> bool:
    low, high = p.traits.bounds or (0, 0)
    assert np.all((low <= y) & (y <= high))
    return True


def check_lift(p: Primitive, arrays: list[Any], attrs: Any, y: np.ndarray) -> bool:
    operands = [np.asarray(x) for x in arrays]
    if p.traits.elementwise:
        operands = [x.reshape((1,) * (y.ndim - x.ndim) + x.shape) for x in operands]
    elif p.traits.lift is None:
        return False
    lifted = p.traits.lifted(attrs, [x.shape for x in operands], y.shape, len(FACTORS))
    if lifted is None:
        return False
    calls = [scaled(operands, factor) for factor in FACTORS]
    stacked = [np.stack(each) for each in zip(*calls, strict=True)]
    with np.errstate(invalid="ignore"):  # a factor may lead out of the domain
        expected = np.stack([call(p, each, attrs) for each in calls])
        found = call(p, stacked, lifted)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
    return True


def check_parts(p: Primitive, arrays: list[Any], attrs: Any, y: np.ndarray) -> bool:
    assert p.traits.parts is not None
    found = []
    for function in (p, p.traits.parts):
        x = Tensor(arrays[0], requires_grad=True)
        result = function(x, **attrs)
        found.append(
            (result.data, tg.grad(result, [x], grad_output=np.cos(np.arange(y.size)).reshape(y.shape))[0].data)
        )
    for ours, whole in zip(*found, strict=True):
        np.testing.assert_allclose(ours, whole, rtol=1e-9, atol=1e-11)
    return True


WORDS = [
    *(("⊙", "*"), ("·", "*"), ("−", "-"), ("²", "**2"), ("^", "**"), ("⌊", "floor("), ("⌋", ")"), ("√", "sqrt")),
    *((" = ", " == "), ("≠", "!="), ("≤", "<="), ("≥", ">="), ("∧", "*"), ("∨", "+"), (" mod ", " % ")),
]
NAMES = {name: getattr(np, name) for name in ("exp", "log", "sin", "cos", "sinh", "cosh", "sign", "floor", "sqrt")}


def evaluated(text: str, operands: list[Any], y: Any, g: Any) -> Any:
    """The value of a formula as it is shown."""
    text = text.format(*(f"x[{i}]" for i in range(len(operands))))
    for sign, code in WORDS:
        text = text.replace(sign, code)
    text = re.sub(r"\bσ\(", "sigmoid(", text)
    text = re.sub(r"\|(.*)\|", r"abs(\1)", text)
    text = re.sub(r"\b([23]) (?=[gy])", r"\1 * ", text)
    if found := re.fullmatch(r"(.+) where (.+), else (.+)", text):
        text = "where({1}, {0}, {2})".format(*found.groups())
    return eval(
        text, {**NAMES, "sigmoid": tg.sigmoid, "where": np.where, "abs": np.abs}, {"x": operands, "y": y, "g": g}
    )


def check_backward(p: Primitive, arrays: list[Any], attrs: Any, y: np.ndarray) -> bool:
    """Only of elementwise operations, whose formulas are expressions."""
    assert len(p.traits.backward) == len(p.vjps)
    g = np.linspace(-1, 2, y.size).reshape(y.shape)
    for text, rule in zip(p.traits.backward, p.vjps, strict=True):
        if rule is not None:
            with np.errstate(all="ignore"):
                found = evaluated(text, arrays, y, g)
            expected = rule(g, y, *arrays, **attrs)
            np.testing.assert_allclose(np.broadcast_to(found, y.shape), np.broadcast_to(expected, y.shape), rtol=1e-12)
    return True


def check_formula(p: Primitive, arrays: list[Any], attrs: Any, y: np.ndarray) -> bool:
    text = p.traits.describe(p.name, [f"{{{i}}}" for i in range(len(arrays))])
    np.testing.assert_allclose(np.broadcast_to(evaluated(text, arrays, y, None), y.shape).astype(y.dtype), y)
    return True


CHECKS: dict[str, tuple[Callable[[Primitive], bool], Callable[..., bool]]] = {
    "alias": (lambda p: p.traits.alias != "either", check_alias),
    "elementwise": (lambda p: p.traits.elementwise, check_elementwise),
    "moves": (lambda p: p.traits.moves, check_moves),
    "linear": (lambda p: p.traits.linear, check_linear),
    "bounds": (lambda p: p.traits.bounds is not None, check_bounds),
    "lift": (lambda p: p.traits.elementwise or p.traits.lift is not None, check_lift),
    "parts": (lambda p: p.traits.parts is not None, check_parts),
    "backward": (lambda p: bool(p.traits.elementwise and p.traits.backward), check_backward),
    "formula": (lambda p: p.traits.elementwise and (p.traits.infix or bool(p.traits.formula)), check_formula),
}
STATED = {name: [t for t, (has, _) in CHECKS.items() if has(p)] for name, p in sorted(primitives.items())}
INDEXED = {"getitem", "scatter"}
"""Their case in the table has index arrays, which cannot be lifted; `test_indexing_lifts` has others."""


def hold(name: str, stated: list[str]) -> Counter[str]:
    """Check traits on drawn calls; how many calls each had something to say about."""
    counted = Counter[str]()

    @FAST
    @given(data=st.data())
    def run(data: Any) -> None:
        case = CASES[name]
        operands, params = data.draw(case.draw)
        whole = primitives[name].traits.parts is None  # else the compiler is given its parts
        with context(tracing=whole):
            result = case.fn(*(Tensor(x, requires_grad=floating(x)) for x in operands), **params)
        for node in nodes_of(result):
            if node.primitive is primitives[name]:
                arrays = [raw(x) for x in node.inputs]
                y = call(node.primitive, arrays, node.attrs)
                for trait in stated:
                    counted[trait] += CHECKS[trait][1](node.primitive, arrays, node.attrs, y)

    run()
    return counted


@pytest.mark.parametrize("name", STATED)
def test_an_operation_is_what_its_traits_say(name: str) -> None:
    counted = hold(name, STATED[name])
    assert all(counted[trait] for trait in STATED[name] if trait != "lift" or name not in INDEXED)


@pytest.mark.parametrize(
    ("name", "trait", "wrong"),
    [
        ("reshape", "alias", Traits(alias="new")),
        ("astype", "alias", Traits(alias="view")),
        ("softmax", "elementwise", Traits(elementwise=True)),
        ("negative", "moves", Traits(moves=True)),
        ("multiply", "linear", Traits(linear=True)),
        ("tanh", "bounds", Traits(bounds=(0, 1))),
        ("stack", "lift", Traits(lift=primitives["argmax"].traits.lift)),
        ("multiply", "backward", Traits(elementwise=True, backward=("g ⊙ {0}", "g ⊙ {1}"))),
        ("subtract", "formula", Traits(elementwise=True, formula="{1} − {0}")),
    ],
)
def test_a_wrong_trait_is_caught(name: str, trait: str, wrong: Traits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitives[name], "traits", wrong)
    with pytest.raises(AssertionError):
        hold(name, [trait])


@pytest.mark.parametrize("key", [0, slice(1, 3), (..., 1), (None, slice(None, None, -1), 0)])
def test_indexing_lifts(key: Any) -> None:
    x = np.arange(24.0).reshape(4, 6)
    y = call(primitives["getitem"], [x], {"key": key})
    assert check_lift(primitives["getitem"], [x], {"key": key}, y)
    attrs = {"shape": x.shape, "parts": ((None, 0), (key, 0))}
    assert check_lift(primitives["scatter"], [x, y], attrs, call(primitives["scatter"], [x, y], attrs))


def test_an_operation_without_traits_is_taken_for_nothing() -> None:
    p = Primitive(lambda x: x, [lambda g, y, x: g], "same", "")
    assert p.traits == Traits()
    assert p.traits.lifted({}, [(2,)], (2,), 3) is None
    assert p.traits.describe("my_op", ["a", "b"]) == "my op(a, b)"


def test_a_users_operation_states_its_traits() -> None:
    p = Primitive(lambda x: x + 1, [lambda g, y, x: g], "next", "", Traits(elementwise=True, formula="{0}'"))
    assert p.traits.lifted({}, [(2,)], (2,), 3) == {}
    assert p.traits.describe("next", ["h"]) == "h'"
    assert replace(p.traits, alias="new").alias == "new"


def test_what_products_cost() -> None:
    assert primitives["matmul"].traits.cost({}, [(4, 3), (3, 5)], (4, 5)) == 2 * 4 * 3 * 5
    assert primitives["einsum"].traits.cost({"subscripts": "bi,ij->bj"}, [(4, 3), (3, 5)], (4, 5)) == 2 * 4 * 3 * 5
    assert primitives["transpose"].traits.cost({"axes": None}, [(4, 3)], (3, 4)) == 0
    assert primitives["sum"].traits.cost({"axis": None}, [(4, 3)], ()) == 12
    assert primitives["tanh"].traits.cost({}, [(4, 3)], (4, 3)) == 12
