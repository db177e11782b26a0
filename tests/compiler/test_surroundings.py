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


SETTINGS: dict[str, Any] = {"scale": 1.0, "more": [1.0, {"power": 2}], "unused": 0}
TABLE = np.ones(3)
activation: Any = np.tanh
FROZEN = tg.Tensor(np.eye(3))
target = tg.nn.Linear(3, 3, rng=0)
for each in target.parameters():
    each.requires_grad = False


def of_many_things(W: Any, xs: Any, options: Any = SETTINGS["more"]) -> Any:
    y = activation(xs @ W * TABLE) @ FROZEN + target(xs)
    return (y ** options[1]["power"]).sum() * SETTINGS["scale"] * SETTINGS["more"][0]


def squared(x: Any) -> Any:
    return x * x * weight


@pytest.mark.parametrize("gradients", [True, False])
def test_what_lists_dicts_arrays_and_functions_hold(gradients: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    step = tg.compile(of_many_things, gradients=gradients)
    changes: list[Any] = [
        lambda: None,
        lambda: None,
        lambda: SETTINGS.update(scale=0.5),
        lambda: SETTINGS["more"].__setitem__(0, 3.0),
        lambda: SETTINGS["more"][1].update(power=3),
        lambda: TABLE.__setitem__(1, 0.5),
        lambda: globals().update(TABLE=np.arange(3.0)),
        lambda: globals().update(activation=tg.sigmoid),
        lambda: globals().update(activation=squared),
        lambda: globals().update(weight=0.25),
        lambda: FROZEN.data.__setitem__((0, 1), 2.0),
        lambda: target.weight.data.__imul__(2.0),
        lambda: globals().update(weight=1.0),
    ]
    for change in changes:
        change()
        expected = of_many_things(tg.Tensor(W), tg.Tensor(XS)).item()
        found = step(W, XS)
        assert (found[0] if gradients else found) == pytest.approx(expected, rel=1e-12)


class Inner:
    __slots__ = ("power",)


class Settings:
    def __init__(self) -> None:
        self.beta, self.calls, self.inner = 1.0, 0, Inner()
        self.inner.power = 1

    @property
    def twice(self) -> float:
        return 2 * self.beta**self.inner.power


def test_attributes_of_an_object_that_is_an_argument() -> None:
    settings, outer_settings = Settings(), Settings()
    outer_settings.inner = settings  # type: ignore[assignment]

    def loss_fn(W: Any, xs: Any, settings: Any) -> Any:
        return (xs @ W).sum() * settings.inner.twice

    step = tg.compile(loss_fn)
    for settings.beta in (1.0, 1.0, 1.0, 0.5):
        assert step(W, XS, outer_settings)[0] == pytest.approx(2 * settings.beta * (XS @ W).sum(), rel=1e-12)
        settings.calls += 1
    settings.inner.power = 2
    assert step(W, XS, outer_settings)[0] == pytest.approx(0.5 * (XS @ W).sum(), rel=1e-12)
    assert len(step.programs) == 3


def test_what_the_function_itself_collects_makes_no_new_programs() -> None:
    seen: list[Any] = []

    def loss_fn(W: Any, xs: Any) -> Any:
        seen.append(xs @ W)
        return seen[-1].sum()

    step = tg.compile(loss_fn)
    for _ in range(5):
        step(W, XS)
    assert len(step.programs) == 1


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


class Defaults:
    scale = 1.0


class Scaled(Defaults):
    def loss(self, W: Any, xs: Any) -> Any:
        return (np.tanh(xs @ W) ** 2).sum() * self.scale


def by_a_class(W: Any, xs: Any) -> Any:
    return (np.tanh(xs @ W) ** 2).sum() * Defaults.scale


def by_itself(W: Any, xs: Any) -> Any:
    return (np.tanh(xs @ W) ** 2).sum() * by_itself.scale  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("loss_fn", "owner"), [(by_a_class, Defaults), (Scaled().loss, Defaults), (by_itself, by_itself)]
)
def test_attributes_of_classes_and_functions(loss_fn: Any, owner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "scale", 1.0, raising=False)
    step = tg.compile(loss_fn)
    for value in (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 1.0):
        monkeypatch.setattr(owner, "scale", value)
        agree(step, loss_fn)


def test_code_that_is_replaced_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a notebook does with the functions of a module that it loads again."""

    def before(W: Any, xs: Any) -> Any:
        return (np.tanh(xs @ W) ** 2).sum()

    step = tg.compile(before)
    for _ in range(5):
        agree(step, before)
    before.__code__ = outer.__code__
    agree(step, before)
    monkeypatch.setitem(globals(), "weight", 3.0)
    agree(step, before)
