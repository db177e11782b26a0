"""Trace: run a loss function once on tensors and write down every operation, forward and backward.

The backward pass runs the same vjp rules as `Tensor.backward`, on tensors, so that what they
compute is written down too. It gathers the messages that arrive at a tensor as one n-ary `total`
instead of a chain of additions: a sum over time is then one operation with T terms, which
re-rolling turns into one sum (or one matrix product) over the whole sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.context import Draw, context
from ..core.indexing import scatter
from ..core.tensor import Array, Tensor
from ..errors import GraphError
from .containers import tensors_in
from .operations import NOWHEN, Ops, total
from .randomness import Generators, Watch
from .signature import Signatures
from .tape import WHOLE, Message, Tape


@dataclass
class Trace:
    """The unrolled program, in which operations are known by their numbers.

    Attributes:
        ops: everything that was recorded.
        alive: what the results depend on, in an order in which it can run.
        inputs: the leaves among the arguments.
        results: the loss, then the tensors in `extra`, then the gradients.
        extra: what the loss function returned beside the loss, or None; without gradients, all that it returned.
        signatures: of the steps of the loss function.
    """

    ops: Ops
    alive: Array
    inputs: list[int]
    results: list[int]
    extra: Any
    signatures: Signatures


def trace(
    loss_fn: Callable[..., Any],
    arguments: Sequence[Any],
    inputs: Sequence[Tensor],
    names: Sequence[str | None],
    count: int | None,
    found: Generators,
) -> Trace:
    """Write down `loss_fn(*arguments)` and its gradients by the first `count` of the `inputs`, the parameters.

    Args:
        loss_fn: returns a scalar Tensor, or that and a container of further tensors.
        arguments: what it is called with: containers of the tensors in `inputs`.
        inputs: the leaves among the arguments, parameters and batch.
        names: what to call them.
        count: how many of the inputs are parameters; one that the loss does not use gets zeros. None: there are no
            gradients, and the function may return any container of tensors.
        found: the generators that it may draw random numbers from.

    Raises:
        GraphError: the loss is no scalar Tensor, depends on no parameter, or on values that would be the same in
            every call.
    """
    tape, watch, signatures = Tape(), Watch(found), Signatures(inputs[: count or 0])
    named = [tape.input(tensor, name) for tensor, name in zip(inputs, names, strict=True)]

    def record(name: str, result: Tensor, gradient: Any) -> None:
        watch.operation()
        signatures.note(result)
        tape.record(name, result, gradient)

    def draw(rng: np.random.Generator, numbers: Draw, shape: tuple[int, ...]) -> Array:
        watch.check()
        found = tape.draw(rng, numbers, shape)
        watch.told()
        return found

    now = {"tracing": True, "recording": True, "step": None, "scope": ""}
    with context(**now, watch=record, draw=draw):
        loss = loss_fn(*arguments)
        watch.end()
    extra = loss if count is None else None
    if count is not None:
        loss, extra = loss if isinstance(loss, tuple) and len(loss) == 2 else (loss, None)
        if not isinstance(loss, Tensor) or loss.size != 1:
            given = loss.describe() if isinstance(loss, Tensor) else type(loss).__name__
            raise GraphError(
                f"compile: the loss function returned {given}, expected a scalar Tensor, or (loss, extra) with one "
                "container of all that is returned beside it"
            )
        if not loss.requires_grad:
            raise GraphError("compile: the loss depends on no parameter, so there is no gradient to compile")
    with context(**now, watch=tape.record):
        results = [tape.op_of(tensor) for tensor in tensors_in([extra] if count is None else [loss, extra])]
        if not results:
            raise GraphError("compile: the function returned no tensors, so there is nothing to compute")
        tape.turn(named[: count or 0])
        with np.errstate(all="ignore"):
            gradients = {} if count is None else _backward(tape, results[0])
    for op, tensor in zip(named[: count or 0], inputs, strict=False):
        gradient = gradients.get(op)
        results.append(tape.constant(np.zeros_like(tensor._array)) if gradient is None else gradient)
    return Trace(tape.ops, _alive([*results, *named], tape.ops), named, results, extra, signatures)


class _Gradient:
    """What has arrived at one operation's result."""

    def __init__(self) -> None:
        self.terms: list[int] = []
        self.parts: list[Message] = []

    def add(self, message: Message) -> None:
        if message[0] is WHOLE:
            self.terms.extend(message[1])
        else:
            self.parts.append(message)

    def gather(self, of: int, tape: Tape) -> int:
        """All of it as one `total`; reads of single entries as one `scatter`."""
        ops, terms = tape.ops, self.terms
        name = ops.name(of) and f"d{ops.name(of)}"
        if self.parts:
            keys = tuple([(key, len(operands) - 1) for key, operands in self.parts])
            operands = [n for _, operands in self.parts for n in operands]
            terms = [*terms, tape.gradient(scatter, operands, {"shape": ops.site(of).shape, "parts": keys})]
            if ops.site(of).primitive is None:
                tape.give_name(terms[-1], name)
        if len(terms) == 1 and ops.site_of[of] not in tape.shared:
            (term,) = terms
            if not ops.name_of[term] and ops.backward_of[term] >= 0:
                tape.give_name(term, name)
            return term
        op = tape.gradient(total, terms, {})
        tape.give_name(op, name)
        return op


def _backward(tape: Tape, loss: int) -> dict[int, int]:
    """One sweep back over the recorded operations; the gradients of the leaves.

    Unlike `autodiff.backprop` it adds all messages at one result at once, and it visits an operation
    that was repeated in every step (such as `W.T`) once.
    """
    ops = tape.ops
    pending = {loss: _Gradient()}
    end = ops.site(loss)
    pending[loss].terms.append(tape.constant(np.ones(end.shape, end.dtype)))
    for n in reversed(range(len(ops))):
        arrived = pending.pop(n, None) if tape.flows(n) else None
        if arrived is None:
            continue
        tape.differentiate(n)
        g, known = arrived.gather(n, tape), len(ops)
        for target, message in zip(ops.args(n), tape.messages(n, g), strict=True):
            if message is None:
                continue
            if target not in pending:
                pending[target] = _Gradient()
            pending[target].add(message)
            key, sent = message
            if key is WHOLE and sent[0] >= known and (name := ops.name(target)):
                ops.sent_to.setdefault(ops.site_of[sent[0]], name)
            if key is WHOLE and sent[0] >= known and ops.step[n] == NOWHEN and ops.step[target] != NOWHEN:
                tape.move(sent[0], ops.step[target])  # what is sent back into a step from outside belongs to it
    found = {}
    for leaf, arrived in pending.items():
        tape.differentiate(leaf)
        found[leaf] = arrived.gather(leaf, tape)
    return found


def _alive(wanted: Iterable[int], ops: Ops) -> Array:
    """The operations that lead to those wanted, in order."""
    seen = bytearray(len(ops))
    for n in wanted:
        seen[n] = True
    for n in reversed(range(len(ops))):
        if seen[n]:
            for a in ops.args(n):
                if a >= 0:
                    seen[a] = True
    return np.flatnonzero(np.frombuffer(seen, np.uint8))
