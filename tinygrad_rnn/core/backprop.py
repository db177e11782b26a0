"""Generic backprop: the chain rule from the outputs back to the leaves, for any graph.

Run on an unrolled recurrent network it is backpropagation through time; nothing here knows of time.
Creation numbers sort a graph topologically, so one iterative sweep in descending order visits every
result after all of its consumers: no recursion, and time linear in the number of edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DTypeError, GraphError, ShapeError, TensorError
from .context import Context, context, current
from .indexing import Patch, gather
from .primitive import Vjp
from .tensor import Leaf, Tensor, check_seals, numeric, raw


def no_grad() -> AbstractContextManager[Context]:
    """Within this block (or decorated function) operations compute without recording a graph."""
    return context(recording=False)


def backward(output: Tensor, gradient: ArrayLike | None = None) -> None:
    """Add d output / d leaf to `.grad` of every leaf that requires it; see `Tensor.backward`."""
    seed = seed_of(output, gradient, "backward")
    found = backprop([output], [seed])
    for tensor, g in found:
        if tensor.grad is not None and np.shape(tensor.grad) != g.shape:
            raise ShapeError(
                f"backward: the grad of {tensor.describe()} has shape {np.shape(tensor.grad)}, expected {g.shape}; "
                "set grad = None, or an array of the tensor's shape"
            )
    for tensor, g in found:
        tensor.grad = g if tensor.grad is None else np.asarray(tensor.grad + g)  # of 0-d arrays NumPy makes a scalar


def grad(
    output: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    create_graph: bool = False,
    grad_output: ArrayLike | Tensor | Sequence[ArrayLike | Tensor] | None = None,
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
    outputs: list[Any] = list(output) if isinstance(output, (list, tuple)) else [output]
    targets: list[Any] = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    given: Any = grad_output
    if not isinstance(output, (list, tuple)):
        given = [grad_output]
    elif grad_output is None:
        given = [None] * len(outputs)
    if len(given) != len(outputs):
        raise ShapeError(f"grad: got {len(given)} grad_output for {len(outputs)} outputs, expected one each")
    for each in targets:
        if not isinstance(each, Tensor):
            raise GraphError(
                f"grad: got {type(each).__name__} among the inputs, expected tensors that require a gradient"
            )
        if not each.requires_grad:
            raise GraphError(f"grad: {each.describe()} does not require a gradient; make it with requires_grad=True")
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
        raise GraphError(
            f"{caller}: a function that is being compiled cannot take gradients itself: its graph is not kept; "
            "call it without compiling it"
        )
    if not isinstance(output, Tensor):
        raise GraphError(f"{caller}: got {type(output).__name__}, expected a Tensor computed from others")
    if not output.requires_grad:
        raise GraphError(
            f"{caller}: {output.describe()} has no graph behind it; compute it from a Tensor with "
            "requires_grad=True, outside no_grad()"
        )
    if gradient is None:
        if output.size != 1:
            raise GraphError(
                f"{caller}: {output.describe()} is not a scalar; reduce it with .sum() or .mean(), "
                "or pass the gradient of what follows"
            )
        seed: Any = np.ones(output.shape, output.dtype)
    elif isinstance(gradient, Tensor) and create_graph:
        seed = gradient if gradient.dtype == output.dtype else gradient.astype(output.dtype)
    else:
        seed = np.asarray(numeric(raw(gradient), caller), output.dtype)
    if seed.shape != output.shape:
        raise ShapeError(
            f"{caller}: the gradient has shape {seed.shape}, expected {output.shape} as {output.describe()}"
        )
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
    useful = None if wanted is None else leading_to(wanted, outputs, since)
    reached: dict[int, Tensor] = {}
    queue: list[int] = []  # a heap of those that are results, negative so that the youngest comes first
    pending: dict[int, Any] = {}  # what has arrived: the sum so far, or a list of all if they are tensors
    owned: set[int] = set()
    used: dict[Leaf, tuple[Tensor, int]] = {}
    kept: list[tuple[Tensor, Any]] = []

    def arrive(tensor: Tensor, message: Any) -> None:
        """Add a message to what has arrived, in place only in buffers that were made here."""
        index = tensor.index
        held = pending.get(index)
        if held is None:
            reached[index] = tensor
            if tensor.primitive is not None and index > since:
                heappush(queue, -index)
            if create_graph:
                message = [message]
            elif type(message) is Patch:
                message = message.dense(tensor.shape)
                owned.add(index)
            pending[index] = message
        elif create_graph:
            held.append(message)
        elif type(message) is Patch:
            if index not in owned:
                owned.add(index)
                held = pending[index] = np.array(held)
            message.add_to(held)
        elif index in owned:
            held += message
        else:
            pending[index] = np.asarray(held + message)  # of 0-d arrays NumPy makes a scalar
            owned.add(index)

    def report(tensor: Tensor, g: Any) -> None:
        kept.append((tensor, g if create_graph or tensor.index in owned else np.array(g)))

    for output, seed in zip(outputs, seeds, strict=True):
        arrive(output, seed)
    outer = current.get()
    watch = outer.watch
    recorded = outer._replace(recording=True, watch=None)
    try:
        while queue:
            index = -heappop(queue)
            node, g = reached.pop(index), pending.pop(index)
            if create_graph:  # a backward operation belongs to the step that it differentiates
                current.set(recorded._replace(step=node.step, scope=node.scope, loop=None))
                g = gather(g, node.shape)
            if every or (node.retains_grad if wanted is None else index in wanted):
                report(node, g)
            operands, rules, args = rules_of(node, g, create_graph)
            params = node.attrs
            for i, x in enumerate(operands):  # as in `messages`, whose call and list would cost each node more
                if type(x) is not Tensor:
                    continue
                if x.leaf is not None:
                    used[x.leaf] = x, index  # youngest first, so what stays is the first use
                rule = rules[i]
                if rule is None or not x.requires_grad or (useful is not None and x.index not in useful):
                    continue
                message = rule(*args, **params) if params else rule(*args)
                data = x._array
                if type(message) is not np.ndarray or message.shape != data.shape or message.dtype is not data.dtype:
                    message = fit(message, node, i)
                arrive(x, message)
                if watch is not None and node.primitive is not None:
                    watch(node.primitive.name, node, message.value if type(message) is Patch else message)
        check_seals(used)
        if create_graph:
            current.set(recorded)
        for index, leaf in reached.items():
            g = pending[index]
            report(leaf, gather(g, leaf.shape) if create_graph else g)
    finally:
        current.set(outer)
    return kept


def leading_to(wanted: set[int], outputs: Sequence[Tensor], since: int) -> set[int]:
    """Creation numbers of the tensors between `outputs` and those `wanted`, ends included; none up to `since`."""
    seen: dict[int, Tensor] = {}
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node.index not in seen and node.index > since:
            seen[node.index] = node
            stack.extend([x for x in node.inputs if type(x) is Tensor and x.requires_grad])
    useful = set(wanted)
    for index in sorted(seen):
        if any(type(x) is Tensor and x.index in useful for x in seen[index].inputs):
            useful.add(index)
    return useful


def messages(node: Tensor, g: Any, create_graph: bool = False, useful: set[int] | None = None) -> list[Any]:
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
    operands, rules, args = rules_of(node, g, create_graph)
    found: list[Any] = [None] * len(operands)
    for i, x in enumerate(operands):
        rule = rules[i]
        if rule is not None and type(x) is Tensor and x.requires_grad and (useful is None or x.index in useful):
            found[i] = fit(rule(*args, **node.attrs), node, i)
    return found


def rules_of(node: Tensor, g: Any, create_graph: bool) -> tuple[Sequence[Any], Sequence[Vjp | None], Sequence[Any]]:
    """The operands of `node`, the vjp rule of each, and what to call the rules with: `(g, y, *inputs)`."""
    primitive = node.primitive
    assert primitive is not None
    arity = primitive.arity
    if arity == 2 and not create_graph:  # the two usual cases first, and without a loop
        left, right = operands = node._left, node._right
        a = left._array if type(left) is Tensor else left
        b = right._array if type(right) is Tensor else right
        return operands, primitive.vjps, (g, node._array, a, b)
    if arity == 1 and not create_graph:
        return (node._left,), primitive.vjps, (g, node._array, node._left._array)
    inputs = node.inputs
    y, arrays = (node, inputs) if create_graph else (node._array, tuple(map(raw, inputs)))
    if primitive.variadic is None:
        return inputs, primitive.vjps, (g, y, *arrays)
    sent = primitive.variadic(g, y, arrays, **node.attrs)
    return inputs, [None if each is None else partial(_sent, each) for each in sent], ()


def _sent(message: Any, **params: Any) -> Any:
    """The rule of one operand, where all messages are made at once."""
    return message


def fit(message: Any, node: Tensor, i: int) -> Any:
    """What a rule gave, in the shape and dtype of the operand that it is for.

    Raises:
        TensorError: it is neither an array or tensor nor a broadcast of the operand's shape.
    """
    if type(message) is Patch:
        return message
    if not hasattr(message, "shape"):
        raise TensorError(
            f"{_name(node)}: the vjp rule of operand {i} gave {type(message).__name__}, expected an array; "
            "a rule computes with g, and an operand without a gradient has None in place of a rule"
        )
    data = node.inputs[i]._array
    if data.dtype.kind != "f":
        raise DTypeError(
            f"backward: {node.inputs[i].describe()} has dtype {data.dtype} and requires_grad was set on it, but only "
            "floating numbers have gradients; make it with dtype=np.float64"
        )
    if message.shape != data.shape:
        message = unbroadcast(message, data.shape, node, i)
    return message if message.dtype == data.dtype else message.astype(data.dtype)


def unbroadcast(g: Any, shape: tuple[int, ...], node: Tensor, i: int) -> Any:
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
        raise TensorError(
            f"{_name(node)}: the vjp rule of operand {i} gave a gradient of shape {given} for an operand "
            f"of shape {shape}; a rule must give its operand's shape, or one that broadcasting made of it"
        )
    return g


def _name(node: Tensor) -> str:
    return node.primitive.name if node.primitive else "?"
