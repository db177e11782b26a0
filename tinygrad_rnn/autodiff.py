"""Generic backprop: the chain rule from the outputs back to the leaves, for any graph.

Run on an unrolled recurrent network it is backpropagation through time; nothing here knows of time.
Creation numbers sort a graph topologically, so one iterative sweep in descending order visits every
result after all of its consumers: no recursion, and time linear in the number of edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .context import Context, context, current
from .errors import GraphError, ShapeError, TensorError
from .patch import Patch, gather
from .tensor import Tensor, check_seal, numeric, raw


def no_grad() -> AbstractContextManager[Context]:
    """Within this block (or decorated function) operations compute without recording a graph."""
    return context(recording=False)


def backward(output: Tensor, gradient: ArrayLike | None = None) -> None:
    """Add d output / d leaf to `.grad` of every leaf that requires it; see `Tensor.backward`."""
    seed = seed_of(output, gradient, "backward")
    for tensor, g in backprop([output], [seed]):
        tensor.grad = g if tensor.grad is None else tensor.grad + g


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
    wanted = {target.order for target in targets}
    found: dict[int, Any] = {}
    for node, value in backprop(outputs, seeds, create_graph, wanted):
        found[node.order] = value
    return [_as_gradient(found.get(target.order), target) for target in targets]


def _as_gradient(value: Any, target: Tensor) -> Tensor:
    if value is None:
        return Tensor(np.zeros_like(target._data))
    return value if isinstance(value, Tensor) else Tensor(value)


def seed_of(output: Tensor, gradient: Any, caller: str, create_graph: bool = False) -> Any:
    """Check the output and its gradient; 1 for a scalar when none is given.

    Raises:
        GraphError: not a tensor, no graph, or a non-scalar without a gradient.
        ShapeError: the gradient has another shape than the output.
    """
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
        seed = gradient
    else:
        seed = np.asarray(numeric(raw(gradient), caller), output.dtype)
    if seed.shape != output.shape:
        raise ShapeError(
            f"{caller}: the gradient has shape {seed.shape}, expected {output.shape} as {output.describe()}"
        )
    return Tensor(seed) if create_graph and not isinstance(seed, Tensor) else seed


def graph_nodes(outputs: Iterable[Tensor], wanted: set[int] | None = None, since: int = 0) -> list[Tensor]:
    """The results that `outputs` depend on and gradients flow through, in creation order.

    Args:
        outputs: where the graph ends.
        wanted: creation numbers of tensors; then only nodes between them and the outputs.
        since: a creation number; nothing older is visited.

    Raises:
        GraphError: a leaf's array was changed after the graph used it.
    """
    seen: set[int] = set()
    nodes: list[Tensor] = []
    leaves: dict[int, tuple[Tensor, int]] = {}
    stack = [output for output in outputs if output.primitive is not None and output.order > since]
    for output in stack:
        seen.add(output.order)
    while stack:
        node = stack.pop()
        nodes.append(node)
        for operand in node.inputs:
            if type(operand) is not Tensor:
                continue
            if operand.primitive is not None:
                order = operand.order
                if operand.requires_grad and order > since and order not in seen:
                    seen.add(order)
                    stack.append(operand)
            elif operand.leaf is not None:
                owner = operand if operand.leaf.base is None else operand.leaf.base
                first = leaves.get(owner.order)
                if first is None or node.order < first[1]:
                    leaves[owner.order] = (operand, node.order)
    for leaf_tensor, first_use in leaves.values():
        check_seal(leaf_tensor, first_use)
    nodes.sort(key=attrgetter("order"))
    if wanted is None:
        return nodes
    useful: set[int] = set(wanted)
    between = []
    for node in nodes:
        if node.order in useful or any(type(x) is Tensor and x.order in useful for x in node.inputs):
            useful.add(node.order)
            between.append(node)
    return between


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
    """
    nodes = graph_nodes(outputs, wanted, since)
    useful = None if wanted is None else wanted.union(node.order for node in nodes)
    pending: dict[int, Any] = {}
    owned: set[int] = set()
    leaves: dict[int, Tensor] = {}
    kept: list[tuple[Tensor, Any]] = []

    def whole(tensor: Tensor, g: Any) -> Any:
        """The gradient of `tensor`, once all messages arrived."""
        if type(g) is not list:
            return g
        owned.add(tensor.order)
        return gather(g, tensor.shape, create_graph)

    def report(tensor: Tensor, g: Any) -> None:
        kept.append((tensor, g if create_graph or tensor.order in owned else np.array(g)))

    for output, seed in zip(outputs, seeds, strict=True):
        _accumulate(pending, owned, output.order, seed)
        if output.primitive is None or output.order <= since:
            leaves[output.order] = output

    outer = current.get()
    watch = outer.watch
    inherited: Context | None = None
    try:
        while nodes:
            node = nodes.pop()
            g = pending.pop(node.order, None)
            if g is None:
                continue
            if type(g) is list:
                g = whole(node, g)
            if every or (node.retains if wanted is None else node.order in wanted):
                report(node, g)
            if create_graph and node._context is not inherited:
                inherited = node._context  # a backward operation belongs to the step that it differentiates
                current.set(outer._replace(recording=True, step=inherited.step, scope=inherited.scope, watch=None))
            for operand, message in zip(node.inputs, messages(node, g, create_graph, useful), strict=True):
                if message is None:
                    continue
                if watch is not None and node.primitive is not None:
                    watch(node.primitive.name, node, message.value if type(message) is Patch else message)
                order = operand.order
                if operand.primitive is None or order <= since:
                    leaves[order] = operand
                if order not in pending and type(message) is not Patch:
                    pending[order] = message
                elif order in owned and type(message) is not Patch:
                    pending[order] += message
                else:
                    _accumulate(pending, owned, order, message)
    finally:
        current.set(outer)
    for leaf in leaves.values():
        report(leaf, whole(leaf, pending.pop(leaf.order)))
    return kept


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
    primitive = node.primitive
    assert primitive is not None
    operands = node.inputs
    y: Any
    inputs: Sequence[Any]
    if create_graph:
        y, inputs = node, operands
    else:
        y, inputs = node._data, [x._data if type(x) is Tensor else x for x in operands]
    rules, params = primitive.vjps, node.params
    sent = None if primitive.joint is None else primitive.joint(g, y, inputs, **params)
    args = (g, y, *inputs)
    found: list[Any] = []
    for i, x in enumerate(operands):
        if type(x) is not Tensor or not x.requires_grad or (useful is not None and x.order not in useful):
            found.append(None)
            continue
        if sent is None:
            rule = rules[i]
            message = None if rule is None else rule(*args, **params) if params else rule(*args)
        else:
            message = sent[i]
        if message is not None and type(message) is not Patch:
            data = x._data
            if message.shape != data.shape:
                message = unbroadcast(message, data.shape, node, i)
            if message.dtype is not data.dtype and message.dtype != data.dtype:
                message = message.astype(data.dtype)
        found.append(message)
    return found


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
        name = node.primitive.name if node.primitive else "?"
        raise TensorError(
            f"{name}: the vjp rule of operand {i} gave a gradient of shape {given} for an operand of shape {shape}; "
            "a rule must give its operand's shape, or one that broadcasting made of it"
        )
    return g


def _accumulate(pending: dict[int, Any], owned: set[int], order: int, message: Any) -> None:
    """Add a message to what has arrived, in place only in buffers that the engine made itself."""
    held = pending.get(order)
    if type(message) is Patch:
        if type(held) is list:
            held.append(message)
        else:
            pending[order] = [message] if held is None else [held, message]
    elif held is None:
        pending[order] = message
    elif type(held) is list:
        held.append(message)
    elif order in owned:
        held += message
    else:
        total = pending[order] = held + message
        if type(total) is np.ndarray:
            owned.add(order)
