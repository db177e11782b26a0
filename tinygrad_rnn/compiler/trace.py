"""Trace: run a loss function once on tensors and write down every operation, forward and backward.

The backward pass runs the same vjp rules as `Tensor.backward`, on tensors, so that what they
compute is written down too. It gathers the messages that arrive at a tensor as one n-ary `total`
instead of a chain of additions: a sum over time is then one operation with T terms, which
re-rolling turns into one sum (or one matrix product) over the whole sequence.

A trace keeps operations, not arrays. The loss function sees real values while it runs, and they die
with its own variables; the rules of the backward pass then run on stand-ins, as nobody reads what
they compute. So tracing needs little memory beside its operations: about 250 bytes for each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import messages
from ..context import context, current
from ..errors import GraphError
from ..origin import Origin, assigned_name, line
from ..patch import Patch, Slot, scatter
from ..primitive import Primitive
from ..tensor import Array, Tensor, constant


class Op:
    """One operation of the unrolled program: a primitive, its operands, and where it belongs.

    Attributes:
        primitive: None for an input (a parameter or a batch array) and for a constant.
        args: operands, each an Op or a Python scalar.
        params: the primitive's parameters.
        numbers: the integers among the parameters (indices, axes), which may change from step to step.
        name: the name it was given, or the variable it was assigned to; gradients are called d and the name.
        step: the time step, or None.
        site: equal for operations that do the same at different steps: same line of code, scope and
            shape, and, in the backward pass, the same operand of the same forward site.
        backward_of: the forward operation whose vjp rule recorded this one, or whose gradient it is.
        value: the array of a constant.
        flows: for each operand whether a gradient flows back to it; empty if none flows to the result.
        varies: whether it belongs to its step; otherwise, like `W.T`, it is the same in every step,
            and written down once.
    """

    __slots__ = (
        "args",
        "backward_of",
        "dtype",
        "flows",
        "index",
        "name",
        "numbers",
        "params",
        "primitive",
        "scope",
        "shape",
        "site",
        "step",
        "value",
        "varies",
    )

    args: tuple[Any, ...]
    backward_of: Op | None
    dtype: np.dtype[Any]
    flows: tuple[bool, ...]
    index: int
    name: str | None
    numbers: tuple[int, ...]
    params: Any
    primitive: Primitive | None
    scope: str
    shape: tuple[int, ...]
    site: tuple[int, int]
    step: int | None
    value: Array | None
    varies: bool


_TRACKS = 64  # how many sites of the same code are looked through for the neighbour of a new operation


@dataclass
class Trace:
    """The unrolled program: `ops` in an order in which they can run.

    Attributes:
        inputs: the leaves among the arguments.
        results: the loss, then the tensors in `extra`, then the gradients.
        extra: what the loss function returned beside the loss, or None.
    """

    ops: list[Op]
    inputs: list[Op]
    results: list[Op]
    extra: Any


def _total(terms: Sequence[Array]) -> Array:
    y = terms[0]
    for term in terms[1:]:
        y = y + term
    return y


total = Primitive(_total, lambda g, y, terms: [g] * len(terms), "total", "The sum of all terms.")
"""Not part of the table of calculus: only the compiler makes it."""


def trace(
    loss_fn: Callable[..., Any], arguments: Sequence[Any], inputs: Sequence[Tensor], names: Sequence[str | None]
) -> Trace:
    """Write down `loss_fn(*arguments)` and its gradients by those `inputs` that require one.

    Args:
        loss_fn: returns a scalar Tensor, or that and a container of further tensors.
        arguments: what it is called with: containers of the tensors in `inputs`.
        inputs: the leaves among the arguments, parameters and batch.
        names: what to call them.

    Raises:
        GraphError: the loss is no scalar Tensor, or depends on no parameter.
    """
    tape = _Tape()
    named = [tape.input(tensor, name) for tensor, name in zip(inputs, names, strict=True)]
    with context(tracing=True, recording=True, step=None, scope="", watch=tape.record):
        loss = loss_fn(*arguments)
        loss, extra = loss if isinstance(loss, tuple) and len(loss) == 2 else (loss, None)
        if not isinstance(loss, Tensor) or loss.size != 1:
            given = loss.describe() if isinstance(loss, Tensor) else type(loss).__name__
            raise GraphError(f"compile: the loss function returned {given}, expected a scalar Tensor")
        if not loss.requires_grad:
            raise GraphError("compile: the loss depends on no parameter, so there is no gradient to compile")
        results = [tape.op_of(loss), *[tape.op_of(tensor) for tensor in _tensors(extra)]]
        tape.turn()
        with np.errstate(all="ignore"):
            found = _backward(tape, results[0])
    for op, tensor in zip(named, inputs, strict=True):
        if tensor.requires_grad:
            gradient = found.get(op)
            results.append(tape.constant(np.zeros_like(tensor._data)) if gradient is None else gradient)
    return Trace(_alive([*results, *named], tape.ops), named, results, extra)


def _tensors(x: Any) -> Iterator[Tensor]:
    """The tensors in a container, in the order in which `step` puts arrays in their place."""
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, (dict, list, tuple)):
        for value in x.values() if isinstance(x, dict) else x:
            yield from _tensors(value)
    elif isinstance(x, np.ndarray):
        raise GraphError("compile: the loss function returned an array beside the loss, expected tensors")


class _Params(NamedTuple):
    """Parameters, which all operations with the same ones share."""

    values: Mapping[str, Any]
    frozen: Any
    numbers: tuple[int, ...]


_NO_PARAMS = _Params({}, None, ())


class _Tape:
    """Turns each new tensor into an Op; the same operation on the same operands is written once."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.shared: set[tuple[int, int]] = set()
        """Sites of which some operation is used more than once, so that its gradient is a sum."""
        self._backward_of: Op | None = None
        self._of_tensor: dict[int, Op] = {}
        self._same: dict[Any, Op] = {}
        self._lately: dict[Any, Op] = {}  # the same for what only this step can repeat
        self._real: dict[int, Array] = {}  # integers and masks, which rules may index with
        self._dummies: dict[Any, Array] = {}
        self._params: dict[Any, _Params] = {}
        self._one: dict[tuple[int, ...], tuple[int, ...]] = {}  # equal shapes are kept once, and equal sites
        self._flags: dict[tuple[bool, ...], tuple[bool, ...]] = {}
        self._sites: dict[Any, int] = {}
        self._tracks: dict[int, list[list[Any]]] = {}
        self._step: int | None = None
        self._visit = 0
        self._places: dict[tuple[int, int], tuple[Any, str | None]] = {}
        self._row: tuple[Op, Tensor] | None = None
        self._alive: list[Any] = []  # keeps identities in keys unique

    # ------------------------------------------------------------------ forward
    def input(self, tensor: Tensor, name: str | None) -> Op:
        data = tensor._data
        op = self._new(None, (), _NO_PARAMS, data.shape, data.dtype, None, "")
        op.name = name
        if data.dtype.kind != "f":
            self._real[op.index] = data
        self._of_tensor[tensor.order] = op
        return op

    def constant(self, array: Array) -> Op:
        key = ("constant", array.shape, array.dtype.str, array.tobytes() if array.size <= 256 else id(array))
        op = self._same.get(key)
        if op is None:
            now = current.get()
            op = self._same[key] = self._new(None, (), _NO_PARAMS, array.shape, array.dtype, now.step, now.scope)
            op.value = np.array(array)
            self._alive.append(array)
        return op

    def op_of(self, tensor: Tensor) -> Op:
        """The operation that made `tensor`; a leaf it has not seen is a constant."""
        op = self._of_tensor.get(tensor.order)
        if op is None:
            cut = None if tensor.leaf is None else tensor.leaf.cut_from
            op = self._of_tensor.get(cut) if cut is not None else None
            if op is None:
                op = self.constant(tensor._data)
                op.name = op.name or tensor._name or self._place(tensor.origin)[1]
                op.scope = tensor.scope
            self._of_tensor[tensor.order] = op
        return op

    def record(self, _: str, tensor: Tensor, __: Any) -> None:
        primitive = tensor.primitive
        if primitive is None:
            return
        if self._row is not None:
            self._name_row()
        of, inputs = self._of_tensor, tensor.inputs
        args = tuple([(of.get(x.order) or self.op_of(x)) if type(x) is Tensor else x for x in inputs])
        params = self._shared_params(tensor.params) if tensor.params else _NO_PARAMS
        step, flows, data = tensor.step, tensor.requires_grad, tensor._data
        if step != self._step:
            self._step, self._visit = step, self._visit + 1
            self._lately.clear()
        varies = _reads_a_row(tensor)
        for a in args:
            if type(a) is Op and a.varies:
                varies = True
                break
        wanted = tuple([type(x) is Tensor and x.requires_grad for x in inputs])  # a detached operand is another
        key = (
            primitive,
            tuple([id(a) if type(a) is Op else (type(a), a) for a in args]),
            wanted,
            id(params),
            flows,
            step if varies else None,
        )
        same = self._lately if varies and self._is_passing(args) else self._same
        op = same.get(key)
        if op is None:
            if self._backward_of is None:
                place, name = self._place(tensor.origin)
                op = self._new(primitive, args, params, data.shape, data.dtype, step, tensor.scope, place)
                op.name = name if tensor._name is None else tensor._name or None
                if flows:
                    op.flows = self._flags.setdefault(wanted, wanted)
                if data.dtype.kind != "f":
                    self._real[op.index] = data
                if varies and op.name is None and primitive.name == "getitem":
                    self._row = op, tensor
            else:
                op = self._new(primitive, args, params, data.shape, data.dtype, step, tensor.scope)
            op.varies = varies
            same[key] = op
        of[tensor.order] = op
        _let_go(tensor)

    def _is_passing(self, args: tuple[Any, ...]) -> bool:
        """Whether no rule of another step, or later of this one, will do this again, as it reads a gradient or
        what only one operation reads."""
        if self._backward_of is None:
            return False
        shared = self.shared
        return any([type(a) is Op and (a.backward_of is not None or a.site not in shared) for a in args])

    def _shared_params(self, values: Mapping[str, Any]) -> _Params:
        numbers: list[int] = []
        key = _freeze(values, numbers), tuple(numbers)
        found = self._params.get(key)
        if found is None:
            found = self._params[key] = _Params(values, *key)
        return found

    def _place(self, origin: Origin | None) -> tuple[Any, str | None]:
        """The source line and the variable assigned there; instruction offsets are not the same in every run."""
        if origin is None:
            return None, None
        key = (id(origin[0]), origin[1])
        found = self._places.get(key)
        if found is None:
            self._alive.append(origin[0])
            at = line(origin)
            found = self._places[key] = ((at.file, at.number), assigned_name(origin))
        return found

    def _name_row(self) -> None:
        """Name a row after the variable of the loop, which it is assigned to after it was recorded."""
        assert self._row is not None
        op, tensor = self._row
        op.name = self._place(tensor.origin)[1]
        self._row = None

    # ------------------------------------------------------------------ backward
    def turn(self) -> None:
        """The forward pass is over."""
        if self._row is not None:
            self._name_row()
        self._of_tensor.clear()
        self._same = {key: op for key, op in self._same.items() if not op.flows}  # backward, none carries a gradient
        used: set[int] = set()
        for op in self.ops:
            operands = [a for a in op.args if type(a) is Op]
            if op.name and op.primitive is not None and op.primitive.name in ("tanh", "sigmoid", "relu"):
                for operand in operands[:1]:
                    operand.name = operand.name or sys.intern(f"z_{op.name}")  # what gives h is z_h
            if op.flows:
                for operand in operands:
                    if operand.index in used:
                        self.shared.add(operand.site)
                    used.add(operand.index)

    def differentiate(self, op: Op) -> None:
        """What is recorded from now on belongs to the gradient of `op`."""
        self._backward_of = op
        self._of_tensor.clear()  # nobody holds a tensor of another rule

    def stand_in(self, op: Op, flows: bool = False) -> Tensor:
        """A tensor in the place of a result: of the same kind, and with its value if that is no fraction."""
        array = op.value if op.value is not None else self._real.get(op.index)
        if array is None:
            array = self._dummies.get((op.shape, op.dtype))
        if array is None:
            array = self._dummies[op.shape, op.dtype] = _dummy(op.shape, op.dtype)
        tensor = constant(array)
        tensor.unsealed = False
        tensor.requires_grad = flows
        self._of_tensor[tensor.order] = op
        return tensor

    def node(self, op: Op) -> Tensor:
        """A stand-in whose operands are stand-ins, for its rules to run on."""
        node = self.stand_in(op, True)
        node.primitive, node.params = op.primitive, op.params
        operands = zip(op.args, op.flows, strict=True)
        _take(node, tuple([self.stand_in(a, flows) if type(a) is Op else a for a, flows in operands]))
        return node

    def gradient(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Op:
        """The operation that gathers the gradient of what is being differentiated."""
        of = self._backward_of
        assert of is not None
        op = self._new(primitive, tuple(args), self._shared_params(params), of.shape, of.dtype, of.step, of.scope)
        op.varies = of.varies
        return op

    def move(self, op: Op, step: int, known: int) -> None:
        """What an operation outside the loop sends back into step `t` belongs to step `t`."""
        if op.index >= known and op.step is None:
            op.step = step
            op.site = self._site(op.site[0], step)

    # ------------------------------------------------------------------ both
    def _new(
        self,
        primitive: Primitive | None,
        args: tuple[Any, ...],
        params: _Params,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        step: int | None,
        scope: str,
        place: Any = None,
    ) -> Op:
        op = Op()
        op.primitive, op.args, op.params, op.numbers = primitive, args, params.values, params.numbers
        op.shape, op.dtype, op.step, op.scope = self._one.setdefault(shape, shape), dtype, step, scope
        op.value, op.name, op.varies, op.flows = None, None, False, ()
        of = op.backward_of = self._backward_of
        name = primitive.name if primitive else None
        where = (place, scope) if of is None else of.site
        base = self._sites.setdefault((name, where, shape, dtype, params.frozen), len(self._sites))
        if primitive is total and of is not None:  # there is one gradient of each forward operation
            site = base, 0
            op.site = self._one.setdefault(site, site)
        else:
            op.site = self._site(base, step)
        op.index = len(self.ops)
        self.ops.append(op)
        return op

    def _site(self, base: int, step: int | None) -> tuple[int, int]:
        """The site of a new operation: the one that did the same at a neighbouring step, most recently.

        So two loops over the same code, or twice the same operation in one step, are two sites.
        """
        if step != self._step:
            self._step, self._visit = step, self._visit + 1
            self._lately.clear()
        tracks = self._tracks.setdefault(base, [])
        found = None
        for track in tracks[-_TRACKS:]:  # [last step, visit, site]
            adjacent = step is not None and track[0] is not None and abs(track[0] - step) == 1
            if adjacent and (found is None or track[1] > found[1]):
                found = track
        if found is None:
            site = base, len(tracks)
            tracks.append(found := [step, self._visit, self._one.setdefault(site, site)])
        found[0], found[1] = step, self._visit
        return found[2]


# ---------------------------------------------------------------------- what is done to tensors
def _let_go(tensor: Tensor) -> None:
    """Part a recorded result from its operands, so that their arrays die with the user's last reference."""
    _take(tensor, ())


def _take(tensor: Tensor, operands: tuple[Any, ...]) -> None:
    tensor.inputs = operands


def _dummy(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of next to no memory: ones, or where it may be a matrix to invert, the identity."""
    square = len(shape) > 1 and shape[-1] == shape[-2]
    return np.broadcast_to(np.eye(shape[-1], dtype=dtype) if square else np.ones((), dtype), shape)


def _reads_a_row(tensor: Tensor) -> bool:
    """Whether it is `x[i]` or the like, which usually follows the steps: `xs[t]`."""
    if tensor.primitive is None or tensor.primitive.name != "getitem":
        return False
    key = tensor.params["key"]
    return type(key) is int or (type(key) is tuple and any(type(k) is int for k in key))


def _freeze(value: Any, numbers: list[int]) -> Any:
    """A hashable form of parameters with the integers taken out, in order, into `numbers`."""
    kind = type(value)
    if kind is int:
        numbers.append(value)
        return "#"
    if kind is Slot:
        return value
    if kind is slice:
        return ("slice", *(_freeze(v, numbers) for v in (value.start, value.stop, value.step)))
    if isinstance(value, (tuple, list)):
        return (kind.__name__, *(_freeze(v, numbers) for v in value))
    if kind is dict:
        return tuple((k, _freeze(v, numbers)) for k, v in value.items())
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


class _Gradient:
    """What has arrived at one operation's result."""

    def __init__(self, target: Op) -> None:
        self.target = target
        self.terms: list[Op] = []
        self.parts: list[tuple[Any, list[Any]]] = []
        """Of single entries: their key, and the operands of a `scatter`."""

    def add(self, message: Tensor | Patch, tape: _Tape) -> None:
        if isinstance(message, Patch):
            operands = [tape.op_of(x) if type(x) is Tensor else x for x in (message.value, *message.indices)]
            self.parts.append((message.key, operands))
        else:
            self.terms.append(tape.op_of(message))

    def gather(self, tape: _Tape) -> Op:
        """All of it as one `total`; reads of single entries as one `scatter`."""
        of, terms = self.target, self.terms
        name = sys.intern(f"d{of.name}") if of.name else None
        if self.parts:
            keys = tuple([(key, len(operands) - 1) for key, operands in self.parts])
            operands = [x for _, operands in self.parts for x in operands]
            terms = [*terms, tape.gradient(scatter, operands, {"shape": of.shape, "parts": keys})]
            if of.primitive is None:
                terms[-1].name = name
        if len(terms) == 1 and of.site not in tape.shared:
            (term,) = terms
            if term.name is None and term.backward_of is not None:
                term.name = name
            return term
        op = tape.gradient(total, terms, {})
        op.name = name
        return op


def _backward(tape: _Tape, loss: Op) -> dict[Op, Op]:
    """One sweep back over the recorded operations; the gradients of the leaves.

    Unlike `autodiff.backprop` it adds all messages at one result at once, and it visits an operation
    that was repeated in every step (such as `W.T`) once.
    """
    pending = {loss.index: _Gradient(loss)}
    pending[loss.index].terms.append(tape.constant(np.ones(loss.shape, loss.dtype)))
    outer = current.get()
    try:
        for op in reversed(tape.ops[:]):
            arrived = pending.pop(op.index, None) if op.flows else None
            if arrived is None:
                continue
            tape.differentiate(op)
            current.set(outer._replace(recording=False, step=op.step, scope=op.scope))
            g = tape.stand_in(arrived.gather(tape))
            known = len(tape.ops)
            for target, message in zip(op.args, messages(tape.node(op), g, create_graph=True), strict=True):
                if message is None:
                    continue
                if target.index not in pending:
                    pending[target.index] = _Gradient(target)
                pending[target.index].add(message, tape)
                if op.step is None and target.step is not None and type(message) is Tensor:
                    tape.move(tape.op_of(message), target.step, known)
        found = {}
        for arrived in pending.values():  # at the leaves
            tape.differentiate(arrived.target)
            found[arrived.target] = arrived.gather(tape)
        return found
    finally:
        current.set(outer)


def _alive(wanted: Iterable[Op], ops: Sequence[Op]) -> list[Op]:
    """The operations that lead to those wanted, in order."""
    seen = bytearray(len(ops))
    for op in wanted:
        seen[op.index] = True
    for op in reversed(ops):
        if seen[op.index]:
            for a in op.args:
                if type(a) is Op:
                    seen[a.index] = True
    return [op for op in ops if seen[op.index]]
