"""The compiled gradients as one more reference for `bptt.compare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import ops
from ..bptt.problem import Gradients, Problem, Window
from ..bptt.recurrences import CELLS, readout
from ..core.steps import steps
from .step import compile


def compiled(problem: Problem) -> Gradients:
    """The gradients of the compiled program: `bptt.compare(..., references={"compiled": tg.compiler.compiled})`.

    A window of truncated BPTT is a program of its own. The program adds the steps' contributions up at
    once, so it has no `per_step` and no `states` to show.
    """
    total: dict[str, Any] = {name: np.zeros_like(array) for name, array in problem.params.items()}
    begin = dict(problem.initial)
    initial = {f"{name}0": np.zeros_like(array) for name, array in begin.items()}
    value, made = 0.0, {0: begin}
    for window in problem.windows:

        def loss_fn(params: Any, xs: Any, targets: Any, window: Window = window) -> Any:
            return _window(problem, params["W"], params["begin"], xs, targets, window)

        begin = made[window.start]
        params = {"W": dict(problem.params), "begin": begin}
        chosen = slice(window.start, window.end)
        (loss, states), grads = compile(loss_fn)(params, problem.xs[chosen], problem.targets[chosen])
        value += float(loss)
        for name, g in grads["W"].items():
            total[name] += g
        if window.start == 0:
            for name, g in grads["begin"].items():
                initial[f"{name}0"] += g
        for t, state in enumerate(states, window.start + 1):
            made[t] = state
    return Gradients(loss=value, parameters=total, initial=initial, final=made[problem.T])


def _window(
    problem: Problem, W: Mapping[str, Any], begin: Mapping[str, Any], xs: Any, targets: Any, window: Window
) -> tuple[Any, list[dict[str, Any]]]:
    state, loss, states = dict(begin), 0.0, []
    for t, x in steps(xs, start=window.start):
        state = CELLS[problem.cell](x, state, W, lambda name, h: h)
        states.append(state)
        if t >= window.first:
            y, target = readout(state["h"], W), targets[t - window.start]
            error = ops.squared_error if problem.loss.name == "squared_error" else ops.softmax_cross_entropy
            loss = loss + error(y, target, reduction="sum")
    return loss * problem.scale, states
