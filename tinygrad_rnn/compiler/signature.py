"""Signature: which operations a loss function does in each step, whatever the shapes.

A program for every length is made from traces of a few steps. On a longer sequence the function runs once without
a tape and without a graph, and each of its steps must be one of those known: so an `if t % 50 == 0` is noticed
when it first matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.context import Draw, context
from ..core.tensor import Array, Tensor, release
from ..debug.origin import place


class Signatures:
    """For each step the hash of its operations, in order: from which line, and where gradients flow.

    Attributes:
        hidden: whether gradients may differ where no value does: something is cut off (`c * h + (1 - c) * h.detach()`
            is h whatever the number c), or an operation is not of the table and its rule may be anything.
    """

    def __init__(self) -> None:
        self.of_step: dict[int | None, int] = {}
        self.hidden = False

    def note(self, result: Tensor) -> None:
        if result.primitive is None:
            return
        flows = tuple([type(x) is Tensor and x.requires_grad for x in result.inputs])
        if result.primitive.arity is None:  # a stack of all steps has as many operands
            flows = all(flows), any(flows)
        if not self.hidden:
            lost = not result.requires_grad and result.primitive.differentiable and True in flows
            self.hidden = lost or not result.primitive.own or any(_is_cut(x) for x in result.inputs)
        what = (id(result.primitive), place(result.origin), flows, result.requires_grad, result.ndim, result.dtype)
        self.of_step[result.step] = hash((self.of_step.get(result.step, 0), what))


def _is_cut(x: Any) -> bool:
    return type(x) is Tensor and x.cut_from is not None


def forward(loss_fn: Callable[..., Any], arguments: Sequence[Any]) -> tuple[Any, Signatures]:
    """What the function returns, and the signatures of its steps; in the memory of its own variables."""
    signatures = Signatures()

    def note(_: str, result: Tensor, __: Any) -> None:
        signatures.note(result)
        release(result)

    def draw(rng: np.random.Generator, draw: Draw, shape: tuple[int, ...]) -> Array:
        return draw(rng, shape)  # into a tensor, as in a trace

    with context(tracing=True, recording=True, step=None, scope="", watch=note, draw=draw):
        return loss_fn(*arguments), signatures
