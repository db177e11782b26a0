"""Generic backprop: the chain rule from the outputs back to the leaves, for any graph.

Run on an unrolled recurrent network it is backpropagation through time; nothing here knows of time.
Creation numbers sort a graph topologically, so one iterative sweep in descending order visits every
result after all of its consumers: no recursion, and time linear in the number of edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..debug import anomaly, messages
from .arguments import checked
from .context import Context, context, current
from .indexing import Patch, gather
from .operation import Vjp
from .products import ENOUGH, Carrier, ThroughWeight, ToWeight, Waiting
from .seal import SEALED, Seal
from .tensor import Array, Tensor, check_seals, numeric, raw, registry
from .turn import Turn

Rules = tuple[Sequence[Any], Sequence[Vjp | None], Sequence[Any]]
"""Operands, the rule of each or None, and the arguments of the rules."""


def no_grad() -> context:
    """Within this block (or decorated function) operations compute without recording a graph."""
    return context(recording=False)


def detect_anomaly() -> context:
    """Within this block the first NaN or infinity raises and says where it arose; everything runs slower.

    Forward it names the operation whose result is not finite, backward the one whose rule sent such a
    gradient to an input. A weight that already holds a NaN is named as the source. An infinity that comes
    from an infinite constant, such as a mask of -inf, is deliberate and may pass.

    Raises:
        GraphError: with the operation, step, scope, direction and the user's line.
    """
    return context(watch=anomaly.check)


def backward(output: Tensor, gradient: ArrayLike | None = None) -> None:
    """Add d output / d leaf to `.grad` of every leaf that requires it; see `Tensor.backward`."""
    seed = seed_of(output, gradient, "backward")
    found = backprop([output], [seed])
    with _ADDING:  # else of what two threads add to one weight, one part is lost
        for tensor, g in found:
            if tensor.grad is not None and np.shape(tensor.grad) != g.shape:
                raise messages.other_grad(tensor, np.shape(tensor.grad))
        for tensor, g in found:  # of 0-d arrays NumPy makes a scalar
            tensor.grad = g if tensor.grad is None else np.asarray(tensor.grad + g)


_ADDING = Turn()


@checked
def grad(
    output: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    create_graph: bool = False,
    grad_output: ArrayLike | Tensor | Sequence[ArrayLike | Tensor | None] | None = None,
) -> list[Tensor]:
    """The gradients of `output` with respect to each of `inputs`, leaving every `.grad` alone.

    Args:
        output: a scalar tensor, or several outputs whose gradients are added.
        inputs: the tensors to differentiate by, leaves or results.
        create_graph: record the backward pass too, so that its result can be differentiated again.
        grad_output: the gradient with respect to `output`, of its shape (a sequence for several
            outputs); by default 1 for scalars.

    Returns:
        One tensor per input, of its shape; zeros where the output does not depend on it.

    Raises:
        GraphError: no graph, a non-scalar output without `grad_output`, or a changed leaf.
    """
    outputs: list[Any] = [output] if isinstance(output, Tensor) else list(output)
    targets: list[Any] = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given: Any = grad_output
    if isinstance(output, Tensor):
        given = [grad_output]
    elif grad_output is None:
        given = [None] * len(outputs)
    if len(given) != len(outputs):
        raise messages.one_seed_each(len(given), len(outputs))
    for each in targets:
        if not isinstance(each, Tensor):
            raise messages.no_input(each)
        if not each.requires_grad:
            raise messages.no_gradient_wanted(each)
    seeds = [seed_of(o, g, "grad", create_graph) for o, g in zip(outputs, given, strict=True)]
    wanted = {target.index for target in targets}
    found: dict[int, Any] = {}
    for node, value in backprop(outputs, seeds, create_graph, wanted):
        found[node.index] = value
    return [_as_gradient(found.get(target.index), target) for target in targets]


def _as_gradient(value: Any, target: Tensor) -> Tensor:
    """A tensor of its own for each target; what is part of a graph cannot change, and may be the same for several."""
    if value is None:
        return Tensor(np.zeros_like(target._array))
    return value if isinstance(value, Tensor) and value.requires_grad else Tensor(value)


def seed_of(output: Tensor, gradient: Any, caller: str, create_graph: bool = False) -> Any:
    """Check the output and its gradient; 1 for a scalar when none is given.

    Raises:
        GraphError: not a tensor, no graph, a non-scalar without a gradient, or within a function being compiled.
        ShapeError: the gradient has another shape than the output.
    """
    if current.get().tracing:
        raise messages.in_compiled_function(caller)
    if not isinstance(output, Tensor):
        raise messages.no_tensor(caller, output)
    if not output.requires_grad:
        raise messages.no_graph(caller, output)
    if gradient is None:
        if output.size != 1:
            raise messages.not_scalar(caller, output)
        seed: Any = np.ones(output.shape, output.dtype)
    elif isinstance(gradient, Tensor) and create_graph:
        seed = gradient if gradient.dtype == output.dtype else gradient.astype(output.dtype)
    else:
        given = numeric(raw(gradient), caller)
        if given.dtype.kind == "c":
            raise messages.not_real(caller, given.dtype)
        seed = np.asarray(given, output.dtype)
    if seed.shape != output.shape:
        raise messages.other_seed(caller, seed.shape, output)
    return Tensor(seed) if create_graph and not isinstance(seed, Tensor) else seed


def backprop(
    outputs: Sequence[Tensor],
    seeds: Sequence[Any],
    create_graph: bool = False,
    wanted: set[int] | None = None,
    every: bool = False,
    since: int = 0,
) -> list[tuple[Tensor, Any]]:
    """Sweep the graph once and hand back the gradients that matter.

    Args:
        outputs, seeds: where to start and with which gradients (tensors if `create_graph`).
        create_graph: run the rules on tensors, so that they are recorded.
        wanted: creation numbers to go back to and report; only what leads to them is computed. By
            default all leaves, and the results that were asked to retain theirs.
        every: report every result on the way.
        since: a creation number; the sweep ends at older tensors as it does at leaves.

    Returns:
        Pairs of tensor and gradient; a gradient array is the caller's own.

    Raises:
        GraphError: a leaf's array was changed after the graph used it.
    """
    outer = current.get()
    sums = Recorded(outer) if create_graph else Arrays()
    useful = None if wanted is None else {*wanted, *between(outputs, wanted, since)}
    used: dict[Seal, tuple[Tensor, int]] = {}
    found = []
    try:
        for tensor, g in sweep(zip(outputs, seeds, strict=True), sums, useful, since, used):
            ends = tensor.primitive is None or tensor.index <= since
            if (ends or every or tensor.retains_grad) if wanted is None else tensor.index in wanted:
                found.append((tensor, sums.own(tensor, g)))
        check_seals(used)
    finally:
        current.set(outer)
    return found


def sweep(
    seeds: Iterable[tuple[Tensor, Any]],
    sums: Sums,
    useful: set[int] | None = None,
    since: int = 0,
    used: dict[Seal, tuple[Tensor, int]] | None = None,
) -> Iterator[tuple[Tensor, Any]]:
    """Go back from the tensors of `seeds`, the youngest first: each is visited after all of its consumers.

    Args:
        seeds: tensors and the gradients to start with.
        sums: how gradients are added up, and how the rules are called.
        useful: the creation numbers of the tensors to go to; by default all that require a gradient.
        since: a creation number; the sweep ends at older tensors as it does at leaves.
        used: filled with the seals of operands that may have changed, the operand, and the first result that used it.

    Yields:
        Each tensor with its gradient, complete, before it is sent on to the operands.
    """
    reached: dict[int, Tensor] = {}
    queue: list[int] = []  # a heap of creation numbers, negative so that the youngest comes first

    for output, seed in seeds:
        if output.index not in reached:
            reached[output.index] = output
            heappush(queue, -output.index)
        sums.add(output, seed)
    add, take, rules_for = sums.add, sums.take, sums.rules
    while queue:
        index = -heappop(queue)
        node = reached.pop(index)
        g = take(node)
        yield node, g
        if node.primitive is None or index <= since:
            continue
        operands, rules, args = rules_for(node, g)
        attrs = node.attrs
        for i, x in enumerate(operands):
            if type(x) is not Tensor:
                continue
            seal = x.seal
            if seal is not SEALED and used is not None and (seal.open or seal.changed_at > index):
                used[seal] = x, index  # youngest first, so what stays is the first use
            rule = rules[i]
            if rule is None or not x.requires_grad or (useful is not None and x.index not in useful):
                continue
            message = rule(*args, **attrs) if attrs else rule(*args)
            if x.index not in reached:
                reached[x.index] = x
                heappush(queue, -x.index)
            add(x, message, node, i)


class Sums(Protocol):
    """What a sweep computes with: the sum of what has arrived at each tensor, and the rules to send it on."""

    def add(self, tensor: Tensor, message: Any, sender: Tensor | None = None, i: int = 0) -> None:
        """Add what the rule of operand `i` of `sender` gave for `tensor`; without a sender, where the sweep starts."""

    def take(self, tensor: Tensor) -> Any:
        """The gradient of `tensor`, which no further message will reach."""

    def rules(self, node: Tensor, g: Any) -> Rules:
        """The operands of `node`, the rule of each, and what to call the rules with."""


class Arrays:
    """Gradients as arrays, added up in place where the buffer was made here."""

    def __init__(self) -> None:
        self.pending: dict[int, Array] = {}
        self.owned: set[int] = set()
        self.waiting = Waiting()
        self.carrier = Carrier()
        self.watch = current.get().watch

    def add(self, tensor: Tensor, message: Any, sender: Tensor | None = None, i: int = 0) -> None:
        index, data = tensor.index, tensor._array
        if type(message) is ThroughWeight:
            message = self.carrier.through(message)
        if type(message) is not np.ndarray or message.shape != data.shape or message.dtype is not data.dtype:
            message = self._fitted(tensor, message, sender, i)
            if message is None:
                return
        held = self.pending.get(index)
        if held is None:
            self.pending[index] = message
        elif index in self.owned:
            held += message
        else:
            self.pending[index] = np.asarray(held + message)  # of 0-d arrays NumPy makes a scalar
            self.owned.add(index)
        if self.watch is not None:
            observe(self.watch, message, sender)

    def _fitted(self, tensor: Tensor, message: Any, sender: Tensor | None, i: int) -> Any:
        """A message as an array like the tensor's; None if it has been added already, or waits for others."""
        if type(message) is Patch:
            self._add_patch(tensor, message)
            if self.watch is not None:
                observe(self.watch, message, sender)
            return None
        if tensor.primitive is None and self.watch is None:
            size = self.waiting.keep(tensor, message)
            if size >= ENOUGH:
                self._settle(tensor)
            if size:
                return None
        return fit(message, tensor, sender, i)

    def _add_patch(self, tensor: Tensor, patch: Patch) -> None:
        index, data = tensor.index, tensor._array
        held = self.pending.get(index)
        if held is None:
            held = np.zeros(data.shape, data.dtype)
        elif index not in self.owned:
            held = np.array(held)
        patch.add_to(held)
        self.pending[index] = held
        self.owned.add(index)

    def take(self, tensor: Tensor) -> Array:
        if tensor.primitive is None:
            self._settle(tensor)
        return self.pending.pop(tensor.index)

    def _settle(self, tensor: Tensor) -> None:
        """Add up what waits for a tensor."""
        for message in self.waiting.sums(tensor.index):
            self.add(tensor, message)
            self.owned.add(tensor.index)

    def rules(self, node: Tensor, g: Any) -> Rules:
        primitive = node.primitive
        assert primitive is not None
        arity = primitive.arity
        if arity == 2:  # the two usual cases first, and without a loop
            left, right = operands = node._left, node._right
            a = left._array if type(left) is Tensor else left
            b = right._array if type(right) is Tensor else right
            return operands, primitive.vjps, (g, node._array, a, b)
        if arity == 1:
            return (node._left,), primitive.vjps, (g, node._array, node._left._array)
        return rules_of(node, g, node._array, [raw(x) for x in node.inputs])

    def own(self, tensor: Tensor, g: Array) -> Array:
        """The gradient as an array that the caller may change."""
        return g if tensor.index in self.owned else np.array(g)


class Recorded:
    """Gradients as tensors: sums and rules are recorded, so that they can be differentiated again."""

    def __init__(self, outer: Context) -> None:
        self.outside = outer._replace(recording=True, watch=None)
        self.pending: dict[int, list[Any]] = {}
        self.watch = outer.watch

    def add(self, tensor: Tensor, message: Any, sender: Tensor | None = None, i: int = 0) -> None:
        message = fit(message, tensor, sender, i)
        self.pending.setdefault(tensor.index, []).append(message)
        if self.watch is not None:
            observe(self.watch, message, sender)

    def take(self, tensor: Tensor) -> Any:
        if tensor.primitive is None:
            current.set(self.outside)
        else:  # a backward operation belongs to the step that it differentiates
            current.set(self.outside._replace(step=tensor.step, scope=tensor.scope, loop=None))
        return gather(self.pending.pop(tensor.index), tensor.shape)

    def rules(self, node: Tensor, g: Any) -> Rules:
        return rules_of(node, g, node, node.inputs)

    def own(self, tensor: Tensor, g: Any) -> Any:
        return g


def between(outputs: Iterable[Tensor], wanted: set[int], since: int = 0) -> dict[int, Tensor]:
    """The results that gradients pass through on their way from `outputs` to the tensors `wanted`; none up to `since`.

    All by creation number.
    """
    useful = set(wanted)
    oldest = max(min(wanted, default=since), since)
    seen: dict[int, Tensor] = {}
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node.index not in seen and node.index > oldest:
            seen[node.index] = node
            stack.extend([x for x in node.inputs if type(x) is Tensor and x.requires_grad])
    found: dict[int, Tensor] = {}
    for index in sorted(seen):
        if any(type(x) is Tensor and x.index in useful for x in seen[index].inputs):
            useful.add(index)
            found[index] = seen[index]
    return found


def edge_gradients(node: Tensor, g: Any, create_graph: bool = False, useful: set[int] | None = None) -> list[Any]:
    """What `node`, whose gradient is `g`, sends back to each of its inputs.

    This is the gradient on every edge, before it is added to what other consumers send.

    Args:
        node: the result of a primitive.
        g: its gradient, an array (a tensor if `create_graph`).
        create_graph: run the rules on tensors.
        useful: creation numbers of the inputs that are wanted; by default all.

    Returns:
        For each input an array (or tensor) of its shape and dtype, a `Patch` of it, or None where no
        gradient flows.

    Raises:
        TensorError: a rule gave a gradient that does not fit its input.
    """
    if create_graph:
        operands, rules, args = rules_of(node, g, node, node.inputs)
    else:
        operands, rules, args = rules_of(node, g, node._array, [raw(x) for x in node.inputs])
    found: list[Any] = [None] * len(operands)
    for i, x in enumerate(operands):
        rule = rules[i]
        if rule is not None and type(x) is Tensor and x.requires_grad and (useful is None or x.index in useful):
            found[i] = fit(rule(*args, **node.attrs), x, node, i)
    return found


def rules_of(node: Tensor, g: Any, y: Any, inputs: Sequence[Any]) -> Rules:
    """The operands of `node`, the vjp rule of each, and what to call the rules with: `(g, y, *inputs)`."""
    primitive = node.primitive
    assert primitive is not None
    if primitive.variadic is None:
        return node.inputs, primitive.vjps, (g, y, *inputs)
    gradients = primitive.variadic(g, y, inputs, **node.attrs)
    if not isinstance(gradients, (list, tuple)) or len(gradients) != len(inputs):
        raise messages.too_few_gradients(node, gradients)
    return node.inputs, [None if each is None else partial(sent, each) for each in gradients], ()


def sent(message: Any, **attrs: Any) -> Any:
    """The rule of one operand, where all messages are made at once."""
    return message


def observe(watch: Callable[[str, Tensor, Any], None], message: Any, sender: Tensor | None) -> None:
    """Show `watch` what the rule of an operand of `sender` gave."""
    if sender is not None and sender.primitive is not None:
        watch(sender.primitive.name, sender, message.value if type(message) is Patch else message)


def fit(message: Any, operand: Tensor, sender: Tensor | None, i: int) -> Any:
    """What the rule of operand `i` of `sender` gave, in the operand's shape and dtype.

    Raises:
        TensorError: it is neither an array or tensor nor a broadcast of the operand's shape.
    """
    if type(message) is Patch:
        return message
    if type(message) is ToWeight or type(message) is ThroughWeight:
        message = message.dense()
    if not hasattr(message, "shape"):
        raise messages.no_array(sender, i, message)
    data = operand._array
    if data.dtype.kind != "f":
        raise messages.gradient_of_integers(operand)
    if message.shape != data.shape:
        message = unbroadcast(message, data.shape, sender, i)
    return message if message.dtype == data.dtype else message.astype(data.dtype)


def unbroadcast(g: Any, shape: tuple[int, ...], sender: Tensor | None, i: int) -> Any:
    """Sum `g` over the axes along which an input of `shape` was stretched.

    Raises:
        TensorError: `g` is not a broadcast of `shape`, so the rule that made it is wrong.
    """
    given = g.shape
    extra = len(given) - len(shape)
    total = np.add.reduce if type(g) is np.ndarray else np.sum  # np.sum is a wrapper that costs more than a small sum
    if extra > 0:
        g = total(g, axis=0 if extra == 1 else tuple(range(extra)))
    if g.shape != shape and extra >= 0:
        stretched = tuple(axis for axis, n in enumerate(shape) if n == 1 and g.shape[axis] != 1)
        g = total(g, axis=stretched, keepdims=True)
    if g.shape != shape:
        raise messages.other_gradient(sender, i, given, shape)
    return g


registry[Tensor.backward] = backward
