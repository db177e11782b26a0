"""Numbers that a loss function reads beside its arguments may change from call to call."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

rng = np.random.default_rng(0)
W, XS = rng.standard_normal((3, 3)), rng.standard_normal((4, 2, 3))
weight = 1.0
T = 0


def inner(x: Any) -> Any:
    return np.tanh(x) * weight


def outer(W: Any, xs: Any) -> Any:
    return (inner(xs @ W.T) ** 2).sum()


def agree(step: Any, loss_fn: Any, params: Any = W) -> None:
    given = params if isinstance(params, tg.nn.Module) else tg.Tensor(params, requires_grad=True)
    assert step(params, XS)[0] == pytest.approx(loss_fn(given, tg.Tensor(XS)).item(), rel=1e-12)


def test_a_global_of_a_function_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    step = tg.compile(outer)
    for value in (1.0, 1.0, 1.0, 0.5, np.float64(0.25), 1.0):
        monkeypatch.setitem(globals(), "weight", value)
        agree(step, outer)


def test_a_variable_around_it_and_its_part() -> None:
    factor = 1.0

    def loss_fn(scale: float, W: Any, xs: Any) -> Any:
        return sum((np.tanh(x @ W) ** 2).sum() * factor for x in xs) * scale

    step, eager = tg.compile(partial(loss_fn, 2.0)), partial(loss_fn, 2.0)
    for value in (1.0, 1.0, 1.0, 0.5):
        factor = value
        agree(step, eager)


def test_an_attribute_of_a_module() -> None:
    class Sharp(tg.nn.Module):
        def __init__(self) -> None:
            self.linear, self.temperature = tg.nn.Linear(3, 3, rng=0), 1.0

        def forward(self, xs: Any) -> Any:
            return tg.logsumexp(self.linear(xs) / self.temperature)

    model = Sharp()
    step, bound = tg.compile(lambda model, xs: model(xs)), tg.compile(partial(_of, model))
    for value in (1.0, 1.0, 1.0, 0.5):
        model.temperature = value
        agree(step, lambda model, xs: model(xs), model)
        assert bound(W, XS)[0] == pytest.approx(_of(model, tg.Tensor(W, requires_grad=True), XS).item(), rel=1e-12)


def _of(model: Any, W: Any, xs: Any) -> Any:
    return (xs @ W / model.temperature).sum()


class Training:
    """A user's own object, as one that keeps a run's settings."""

    def __init__(self) -> None:
        self.rate, self.calls = 1.0, 0

    def loss(self, W: Any, xs: Any) -> Any:
        return (np.tanh(xs @ W) ** 2).sum() * self.rate

    def __call__(self, W: Any, xs: Any) -> Any:
        return self.loss(W, xs)


def test_attributes_of_other_objects_that_are_read() -> None:
    run = Training()
    steps = [tg.compile(run.loss), tg.compile(run), tg.compile(lambda W, xs: run.loss(W, xs))]
    for run.rate in (1.0, 1.0, 1.0, 0.5):
        for step in steps:
            agree(step, run.loss)
            run.calls += 1
    assert [len(step.programs) for step in steps] == [2, 2, 2]


def test_names_of_attributes_are_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    step = tg.compile(outer)
    for value in range(4):
        monkeypatch.setitem(globals(), "T", value)  # outer reads W.T
        agree(step, outer)
    assert len(step.programs) == 1


def test_programs_for_numbers_that_keep_changing_are_let_go() -> None:
    step = tg.compile(lambda W, xs, scale: (xs @ W).sum() * scale)
    for k in range(100):
        step(W, XS, float(k))
    assert len(step.programs) == 64
