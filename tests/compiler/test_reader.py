"""Calls that are like those before: their arrays are read by a function written for them, and by no other."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import DTypeError

rng = np.random.default_rng(0)
XS = rng.standard_normal((4, 2, 3))
scale = 1.0


def loss_fn(params: Any, xs: Any, bias: Any = 0.0) -> Any:
    h, loss = np.zeros((2, 3)), 0.0
    for _, x in tg.steps(xs):
        h = np.tanh(x + h @ params["W"][0] + bias)
        loss = loss + (h * params["W"][1]).sum() * scale
    return loss


def params(dtype: Any = float) -> dict[str, Any]:
    return {"W": [rng.standard_normal((3, 3)).astype(dtype), rng.standard_normal(3).astype(dtype)], "b": np.ones(2)}


def expected(given: Any, xs: Any = XS, **named: Any) -> tuple[Any, Any]:
    tensors = {"W": [tg.Tensor(w.data if isinstance(w, tg.Tensor) else w, requires_grad=True) for w in given["W"]]}
    loss = loss_fn(tensors, xs, **named)
    loss.backward()
    return loss.item(), [w.grad for w in tensors["W"]]


def agree(step: Any, given: Any, xs: Any = XS, **named: Any) -> Any:
    loss, grads = step(given, xs, **named)
    wanted, gradients = expected(
        {"W": [getattr(w, "data", w) if isinstance(w, tg.Tensor) else w for w in given["W"]]}, xs, **named
    )
    assert loss == pytest.approx(wanted, rel=1e-5 if loss.dtype == np.float32 else 1e-12)
    assert type(grads) is dict
    assert list(grads) == list(given)
    assert all(np.allclose(g, w, rtol=1e-4) for g, w in zip(grads["W"], gradients, strict=True))
    return grads


def settled() -> Any:
    step = tg.compile(loss_fn)
    for _ in range(4):
        agree(step, params())
    assert step._latest is not None, "no reader was written, so that this tests nothing"
    return step


def test_other_kinds_of_arguments_are_noticed() -> None:
    step, given = settled(), params()
    agree(step, {"W": given["W"], "b": given["b"], "more": np.ones(1)})
    agree(step, {"b": given["b"], "W": given["W"]})
    agree(step, OrderedDict(given))
    agree(step, {**given, "W": [tg.Tensor(w) for w in given["W"]]})
    agree(step, {**given, "W": tuple(given["W"])})
    agree(step, params(np.float32), XS.astype(np.float32))
    agree(step, given, np.concatenate([XS, XS]))
    agree(step, given, XS[:, ::-1])
    agree(step, given, bias=np.ones(3))
    agree(step, given, bias=2.0)
    agree(step, given)
    with pytest.raises(DTypeError, match="is NoneType"):
        step({**given, "W": None}, XS)
    with pytest.raises(DTypeError, match="list of tensors"):
        step(given, XS, [XS])
    agree(step, given)


def test_containers_may_be_nested_deeper_than_python_parses_brackets() -> None:
    step = tg.compile(lambda p, x: (innermost(p) * x).sum())
    for n in range(5):
        nested: Any = np.ones(2)
        for k in range(250):
            nested = [nested] if k % 2 else {0: nested}
        assert innermost(step(nested, np.full(2, n))[1]).tolist() == [n, n]
    assert step._latest is not None


def innermost(x: Any) -> Any:
    while isinstance(x, (list, dict)):
        x = x[0]
    return x


def test_what_changes_around_it_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    step = settled()
    for value in (0.5, 0.5, 0.5, 0.5, 2.0, 1.0, 0.5, [1.0][0], 1.0):
        monkeypatch.setitem(globals(), "scale", value)
        agree(step, params())


def test_results_are_the_callers_own() -> None:
    step, given = settled(), params()
    first, second = agree(step, given), agree(step, given)
    assert not np.shares_memory(first["W"][0], second["W"][0])


def test_containers_of_tensors_and_several_structures_in_turns() -> None:
    step, given = settled(), params()
    tensors = {**given, "W": [tg.Tensor(w) for w in given["W"]]}
    for _ in range(5):
        agree(step, tensors)
        agree(step, tensors)
        agree(step, given, bias=np.ones(3))
        agree(step, given)
