"""A form for all steps at once that moves an axis is not used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import forms, lifts
from tinygrad_rnn.compiler.ir import Node
from tinygrad_rnn.core.primitive import primitives
from tinygrad_rnn.core.traits import Traits


def compared(loss_fn: Callable[..., Any]) -> tg.compiler.Compiled:
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((3, 4)), "R": rng.standard_normal((4, 4))}
    xs = rng.standard_normal((5, 4, 3))
    given = {k: tg.Tensor(v, requires_grad=True) for k, v in params.items()}
    expected = loss_fn(given, tg.Tensor(xs))
    expected.backward()
    step = tg.compile(loss_fn)
    loss, grads = step(params, xs)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    for name, tensor in given.items():
        np.testing.assert_allclose(grads[name], tensor.grad, rtol=1e-9, atol=1e-12)
    return step


@pytest.fixture
def turned() -> Iterator[Any]:
    """A primitive whose trait is wrong: it sorts along the first axis, and lifted along that of time."""

    @tg.primitive(
        vjps=[lambda g, y, x, axis: np.flip(g, axis)],
        traits=Traits(alias="new", lift=lambda attrs, shapes, shape, length: attrs),
    )
    def turned(x: Any, axis: int = 0) -> Any:
        return np.flip(x, axis) + 0.0

    yield turned
    del primitives["turned"]


def test_a_wrong_trait_does_no_harm(turned: Any) -> None:
    def loss_fn(p: Any, xs: Any) -> Any:
        h, loss = np.zeros((4, 4)), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(x @ p["W"] + h @ p["R"])
            loss = loss + (turned(h) * h).sum()
        return loss

    assert "turned" in compared(loss_fn).explain()


def every_operation(p: Any, xs: Any) -> Any:
    h, loss = np.zeros((4, 4)), 0.0
    for t, x in tg.steps(xs):
        h = np.tanh(x @ p["W"] + h @ p["R"])
        y = h.T.reshape(2, 8)[:, None].sum(axis=1).reshape(4, 4) * xs[4 - t][:, :1]
        y = np.concatenate([y, h], axis=0)[2:6] + np.stack([h, y], axis=1)[:, 0]
        loss = loss + (y * tg.softmax(h, axis=0)).mean(axis=0).sum() + (h[0] @ h[1])
    return loss


@pytest.mark.parametrize("name", ["value", "into"])
def test_a_planted_bug_in_a_form_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation that is done for all steps at once, with its operands' axes exchanged."""
    right = getattr(forms, name)
    turned: set[str] = set()

    def wrong(node: Node, operands: Any, *rest: Any) -> Any:
        steps = rest[-1] if name == "value" else rest[1]
        for i, o in enumerate(operands):
            if steps is not None and not forms.is_elementwise(node) and o.timed and o.shape[:1] == o.shape[1:2]:
                turned.add(node.operation)
                operands = [*operands[:i], o._replace(expr=forms.Call(".swapaxes", (o.expr, 1, 2))), *operands[i + 1 :]]
                break
        return right(node, operands, *rest)

    monkeypatch.setattr(forms, name, wrong)
    compared(every_operation)
    assert turned


def test_forms_are_proven_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Node] = []
    right = lifts._same
    monkeypatch.setattr(lifts, "_same", lambda node, operands: tried.append(node) or right(node, operands))
    step = compared(every_operation)
    assert tried
    assert "all steps at once" in step.explain()
