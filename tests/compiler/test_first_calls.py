"""A compiled function is called for the first times by several threads at once."""

from __future__ import annotations

import contextvars
import threading
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from together import together

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.program import Program


def rnn(params: Any, xs: Any) -> Any:
    h: Any = np.zeros(3)
    for _, x in tg.steps(xs):
        h = np.tanh(x @ params["W"] + h @ params["R"])
    return (h * h).sum()


def test_first_calls_of_many_lengths_from_four_threads() -> None:
    rng = np.random.default_rng(0)
    params = {"W": rng.normal(size=(2, 3)), "R": rng.normal(size=(3, 3)) * 0.3}
    inputs = {T: rng.normal(size=(T, 2)) for T in range(4, 9)}
    expected = {}
    for T, xs in inputs.items():
        tensors = {name: tg.Tensor(value, requires_grad=True) for name, value in params.items()}
        loss = rnn(tensors, xs)
        expected[T] = loss.item(), [g.data for g in tg.grad(loss, list(tensors.values()))]
    step = tg.compile(rnn)

    def work() -> int:
        calls = 0
        for T in [*inputs, *reversed(inputs)] * 3:
            loss, grads = step(params, inputs[T])
            np.testing.assert_allclose(loss, expected[T][0], rtol=1e-12)
            for g, e in zip(grads.values(), expected[T][1], strict=True):
                np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-12)
            calls += 1
        return calls

    assert together(work, work, work, work) == [30] * 4


def test_the_second_call_is_compared_also_where_two_threads_make_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run, both = Program.__call__, threading.Barrier(2)
    offsets = array("d", [0.0])  # at which the compiler does not look
    step = tg.compile(lambda w, x: (w * x).sum() + sum(offsets), backend="numpy")
    step(np.ones(3), np.ones(3))
    offsets.append(1.0)

    def meeting(program: Program, *arguments: Any) -> Any:
        found = run(program, *arguments)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)
        return found

    monkeypatch.setattr(Program, "__call__", meeting)
    found = together(*[lambda: step(np.ones(3), np.ones(3))] * 2)
    assert all("the loss function itself gives 4" in str(each) for each in found), found


def elsewhere(inherits: bool) -> Callable[[Callable[[], Any]], Any]:
    """Runs a function in another thread, which has this one's context where Python 3.14 lets it inherit that."""

    def run(work: Callable[[], Any]) -> Any:
        within = contextvars.copy_context().run if inherits else lambda f: f()
        (found,) = together(lambda: within(work))
        if isinstance(found, Exception):
            raise found
        return found

    return run


def watched(work: Callable[[], Any]) -> Any:
    with tg.detect_anomaly():
        return work()


@pytest.mark.parametrize(
    ("run", "error"),
    [
        (elsewhere(inherits=False), "where that is not written down: in a thread of its own"),
        (elsewhere(inherits=True), "in a thread of its own, so the order of its operations differs"),
        (watched, "where that is not written down: .* under detect_anomaly"),
    ],
)
def test_what_a_loss_function_computes_unseen_is_refused(run: Callable[..., Any], error: str) -> None:
    """It was taken for a constant, and its gradient for zero, until the second call was compared."""

    def loss(w: Any, x: Any) -> Any:
        h = run(lambda: np.tanh(x @ w))
        return (h * h).sum()

    with pytest.raises(tg.GraphError, match=error):
        tg.compile(loss)(np.ones((2, 2)), np.ones(2))
