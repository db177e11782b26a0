"""Signature: which operations a loss function does in each step, whatever the shapes.

A program for every length is made from traces of a few steps. On a longer sequence the function runs once without
a tape and without a graph, and each of its steps must be one of those known: so an `if t % 50 == 0` is noticed
when it first matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import numpy as np

from ..core.context import Draw, context
from ..core.tensor import NO_ATTRS, Array, Tensor, release
from ..debug.origin import place
from ..errors import GraphError
from .rows import row_read


class Signatures:
    """For each step the hash of its operations, in order: from which line, of which weights, and where gradients flow.

    Args:
        parameters: whichever of them is read, values may be the same: biases begin with zeros.

    Attributes:
        hidden: whether gradients may differ where no value does: something is cut off (`c * h + (1 - c) * h.detach()`
            is h whatever the number c), or an operation is not of the table and its rule may be anything.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.of_step: dict[Any, int] = {}
        self.hidden = False
        self._known: dict[Any, tuple[int, Any]] = {}  # the hash of what has been seen, and what it must keep alive
        self._parameters = {id(x): i for i, x in enumerate(parameters, 2)}  # True is 1
        self._thread = get_ident()
        self._home: dict[int, Any] = {}  # for results outside of steps the only step or row that they come from

    def note(self, result: Tensor) -> None:
        primitive, array, step, flows = result.primitive, result._array, result.step, []
        if primitive is None:
            return
        if get_ident() != self._thread:
            raise GraphError(
                f"compile: the function computes {result.describe()} in a thread of its own, so the order of its "
                "operations differs from call to call; compute it in the thread that calls, or do not compile it"
            )
        for x in result.inputs:
            if type(x) is Tensor:
                flows.append(self._parameters.get(id(x), x.requires_grad))
                self.hidden = self.hidden or (x.attrs is not NO_ATTRS and x.cut_from is not None)
        if primitive.arity is None:  # a stack of all steps has as many operands
            flows = [all(flows), any(flows)]
        what = (id(primitive), *flows, result.requires_grad, array.ndim, array.dtype.num)
        here = (*what, id(result._code), result._offset)
        known = self._known.get(here)
        if known is None:
            known = self._known[here] = hash((*what, place(result.origin))), result._code
            lost = not result.requires_grad and primitive.differentiable and any(flows)
            self.hidden = self.hidden or lost or not primitive.own
        when = ("after", self._afterwards(result)) if step is None else step
        if when != ("after", None) or not primitive.traits.moves:  # W.T in each step is as good as one
            self.of_step[when] = hash((self.of_step.get(when), known[0]))

    def _afterwards(self, result: Tensor) -> Any:
        """What work outside of steps is counted for: the latest step whose results it reads, or row of a sequence."""
        homes = [self._home.get(x.index) if x.step is None else x.step for x in result.inputs if type(x) is Tensor]
        steps, rows = [h for h in homes if type(h) is int], [h for h in homes if type(h) is tuple]
        if not steps and (i := row_read(result.primitive, result.attrs)) is not None:
            rows.append(("row", i))
        home = max(steps, default=None) if steps else max(rows, default=None)
        if home is not None:
            self._home[result.index] = home
        return home


def forward(
    loss_fn: Callable[..., Any], arguments: Sequence[Any], parameters: Sequence[Tensor]
) -> tuple[Any, Signatures]:
    """What the function returns, and the signatures of its steps; in the memory of its own variables."""
    signatures = Signatures(parameters)

    def note(_: str, result: Tensor, __: Any) -> None:
        signatures.note(result)
        release(result)

    def draw(rng: np.random.Generator, draw: Draw, shape: tuple[int, ...]) -> Array:
        return draw(rng, shape)  # into a tensor, as in a trace

    with context(tracing=True, recording=True, step=None, scope="", watch=note, draw=draw):
        return loss_fn(*arguments), signatures
