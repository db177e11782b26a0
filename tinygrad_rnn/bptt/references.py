"""Two ways to the gradients that need no derivation: generic backprop, and numbers alone.

A reference is a function from a `Problem` to its `Gradients`. `compare` takes more of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import ops
from ..core.steps import steps
from ..core.tensor import Tensor
from ..flow.gradient_flow import gradient_flow
from .problem import Array, Gradients, Problem, Window
from .recurrences import CELLS, State, readout

Reference = Callable[[Problem], Gradients]

STEP = 1e-20
"""Of the complex step: as nothing is subtracted, it can be far below rounding."""

SIDE_BY_SIDE = 64
"""Nudges that are evaluated at once, of arrays up to 16,384 entries; fewer of larger ones, to bound memory."""


def autodiff(problem: Problem) -> Gradients:
    """Generic backprop on the unrolled graph of tensor operations; each window is a graph of its own."""
    W = {name: Tensor(array, requires_grad=True, name=name) for name, array in problem.params.items()}
    begin = {name: Tensor(array, requires_grad=True, name=f"{name}0") for name, array in problem.initial.items()}
    made: list[State] = [{} for _ in problem.xs]
    per_step = {name: np.zeros((problem.T, *array.shape)) for name, array in problem.params.items()}
    states = {name: np.zeros((problem.T, *array.shape)) for name, array in problem.initial.items()}
    value = 0.0
    for window in problem.windows:
        start, _, end = window
        state: State = begin if start == 0 else {name: h.detach() for name, h in made[start - 1].items()}
        loss, made[start:end] = unroll(problem, window, W, state)
        value += float(loss)
        flow = gradient_flow(loss)
        for t in range(start, end):
            for name, h in made[t].items():
                g = flow.gradient(h)
                states[name][t] += 0.0 if g is None else g
        rows = flow.structure.steps
        for name, tensor in W.items():
            per_step[name][rows] += flow.per_step(tensor)
        loss.backward()
    return Gradients(
        loss=value,
        parameters={name: _grad(tensor) for name, tensor in W.items()},
        per_step=per_step,
        states=states,
        initial={f"{name}0": _grad(tensor) for name, tensor in begin.items()},
        final={name: h.data for name, h in made[-1].items()},
    )


def unroll(problem: Problem, window: Window, W: Mapping[str, Tensor], state: State) -> tuple[Tensor, list[State]]:
    """The network written with tensor operations over one window of steps.

    Args:
        W: the parameters, by the names in `problem.params`.
        state: what the window starts from, by the names in `problem.initial`.

    Returns:
        The loss of the window, scaled, and the state after each of its steps. Whoever differentiates the loss in a way
        of his own, such as by compiling it, adds a reference to `compare`.
    """
    losses, states = [], []
    for t, x in steps(problem.xs[window.start : window.end], start=window.start):
        state = CELLS[problem.cell](x, state, W, lambda name, h: h)
        states.append(state)
        if t >= window.first:
            losses.append(_loss(problem, readout(state["h"], W), problem.targets[t]))
    return ops.stack(losses).sum() * problem.scale, states


def _loss(problem: Problem, y: Tensor, target: Array) -> Tensor:
    if problem.loss.name == "squared_error":
        return ops.squared_error(y, target, reduction="sum")
    return ops.softmax_cross_entropy(y, target, reduction="sum")


def _grad(tensor: Tensor) -> Array:
    return np.zeros(tensor.shape) if tensor.grad is None else tensor.grad


def numerical(problem: Problem, entries: int | None = None, seed: int = 0) -> Gradients:
    """Complex steps (Squire and Trapp 1998): f'(x) = Im f(x + i s) / s + O(s^2), without any cancellation.

    Args:
        entries: how many entries of each gradient to evaluate, chosen at random; None for all.
        seed: of that choice.

    Returns:
        Masked arrays, where the entries that were not evaluated are masked.
    """
    run = _Forward(problem)
    rng = np.random.default_rng(seed)

    def chosen(size: int) -> Array:
        return np.arange(size) if entries is None or entries >= size else rng.choice(size, entries, replace=False)

    def whole(name: str, shape: tuple[int, ...]) -> Array:
        return run.derivatives(name, shape, [(None, entry) for entry in chosen(math.prod(shape))])[0]

    def by_step(name: str, shape: tuple[int, ...]) -> Array:
        nudges = [(t, entry) for t in range(problem.T) for entry in chosen(math.prod(shape))]
        return run.derivatives(name, shape, nudges)

    shapes = {name: array.shape for name, array in problem.params.items()}
    return Gradients(
        loss=run.loss,
        parameters={name: whole(name, shape) for name, shape in shapes.items()},
        per_step={name: by_step(name, shape) for name, shape in shapes.items()},
        states={name: by_step(name, array.shape) for name, array in problem.initial.items()},
        initial={f"{name}0": whole(f"{name}0", array.shape) for name, array in problem.initial.items()},
        final=run.states[-1],
    )


class _Forward:
    """The forward pass, once as it is, then with one array nudged in many directions side by side."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.states: list[dict[str, Array]] = []
        everything = Window(0, 0, problem.T)
        self.loss = float(self._run(everything, dict(problem.initial), lambda name, t: 0.0, self.states))

    def derivatives(self, name: str, shape: tuple[int, ...], nudges: Sequence[tuple[int | None, int]]) -> Array:
        """Derivatives of the loss by single entries of one array, masked where none was asked for.

        Args:
            name, shape: the array.
            nudges: pairs of the step whose use of the array is meant (None: every use) and the entry, by step.

        Returns:
            (T, *shape), or (1, *shape) for uses at every step.
        """
        size = math.prod(shape)
        together = max(1, min(SIDE_BY_SIDE, SIDE_BY_SIDE * 2**14 // size))
        found = np.ma.array(np.zeros((1 if nudges[0][0] is None else self.problem.T, size)), mask=True)
        for at in range(0, len(nudges), together):
            part = nudges[at : at + together]
            entries = [entry for _, entry in part]
            found[[t or 0 for t, _ in part], entries] = self._derivatives(name, shape, [t for t, _ in part], entries)
        return found.reshape(-1, *shape)

    def _derivatives(self, name: str, shape: tuple[int, ...], when: list[int | None], entries: list[int]) -> Array:
        P = len(entries)
        nudge = np.zeros((P, math.prod(shape)), complex)
        nudge[np.arange(P), entries] = 1j * STEP
        nudge = nudge.reshape(P, *((1, *shape) if len(shape) == 1 else shape))  # a bias is added to rows

        def at(which: str, t: int) -> Any:
            if which != name or not (t in when or None in when):
                return 0.0
            return nudge * np.array([each is None or each == t for each in when])[:, None, None]

        total: Any = 0.0
        for window in self.problem.windows:
            inside = [window.start if t is None else t for t in when if t is None or window.start <= t < window.end]
            if not inside:
                continue
            begin = min(inside)  # what comes before is as it was
            state = dict(self.problem.initial if begin == 0 else self.states[begin - 1])
            if window.start == 0:
                state = {key: h + at(f"{key}0", 0) for key, h in state.items()}
            total = total + self._run(window._replace(start=begin), state, at)
        return np.broadcast_to(np.imag(total), P) / STEP

    def _run(
        self,
        window: Window,
        state: dict[str, Any],
        nudge: Callable[[str, int], Any],
        states: list[dict[str, Array]] | None = None,
    ) -> Any:
        p = self.problem
        total: Any = 0.0
        for t in range(window.start, window.end):
            W = {name: array + nudge(name, t) for name, array in p.params.items()}
            state = CELLS[p.cell](p.xs[t], state, W, partial(_nudged, nudge, t))
            if states is not None:
                states.append(state)
            if t >= window.first:
                total = total + p.loss.value(readout(state["h"], W), p.targets[t]) * p.scale
        return total


def _nudged(nudge: Callable[[str, int], Any], t: int, name: str, h: Any) -> Any:
    return h + nudge(name, t)


__all__ = ["Reference", "autodiff", "numerical", "unroll"]
