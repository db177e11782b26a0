"""Trace: run a loss function once on tensors and write down every operation, forward and backward.

The backward pass runs the same vjp rules as `Tensor.backward`, on tensors, so that what they
compute is written down too. It gathers the messages that arrive at a tensor as one n-ary `total`
instead of a chain of additions: a sum over time is then one operation with T terms, which
re-rolling turns into one sum (or one matrix product) over the whole sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
        varies: whether it belongs to its step; otherwise, like `W.T`, it is the same in every step,
            and written down once.
    """

    __slots__ = (
        "args",
        "backward_of",
        "dtype",
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
        tape.name_operands()
        results = [tape.op_of(loss), *[tape.op_of(tensor) for tensor in _tensors(extra)]]
        found = _backward(tape, loss)
    for tensor in inputs:
        if tensor.requires_grad:
            gradient = found.get(tensor.order)
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


class _Tape:
    """Turns each new tensor into an Op; the same operation on the same operands is written once."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.forward: list[Tensor] = []
        self.backward_of: Op | None = None
        self._of_tensor: dict[int, Op] = {}
        self._same: dict[Any, Op] = {}
        self._sites: dict[Any, int] = {}
        self._tracks: dict[int, list[list[Any]]] = {}
        self._step: int | None = None
        self._visit = 0
        self._uses: dict[int, int] = {}
        self.shared: set[tuple[int, int]] = set()
        """Sites of which some operation is used more than once, so that its gradient is a sum."""
        self._places: dict[tuple[int, int], tuple[Any, str | None]] = {}
        self._rows: list[tuple[Op, Tensor]] = []
        self._alive: list[Any] = []  # keeps identities in keys unique

    def input(self, tensor: Tensor, name: str | None) -> Op:
        op = self._from(tensor, None, (), None)
        op.name = name
        self._of_tensor[tensor.order] = op
        return op

    def constant(self, array: Array) -> Op:
        key = ("constant", array.shape, array.dtype.str, array.tobytes() if array.size <= 256 else id(array))
        op = self._same.get(key)
        if op is None:
            copy = Tensor(array)
            op = self._same[key] = self._from(copy, None, (), None)
            op.value, op.name = copy._data, None
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
        of = self._of_tensor
        args = tuple([(of.get(x.order) or self.op_of(x)) if type(x) is Tensor else x for x in tensor.inputs])
        numbers: list[int] = []
        frozen = _freeze(tensor.params, numbers) if tensor.params else None
        values = tuple(numbers)
        varies = _reads_a_row(tensor)
        for a in args:
            if type(a) is Op and a.varies:
                varies = True
                break
        key = (
            primitive.name,
            tuple([id(a) if type(a) is Op else (type(a), a) for a in args]),
            tuple([type(x) is Tensor and x.requires_grad for x in tensor.inputs]),  # a detached operand is another
            frozen,
            values,
            tensor.requires_grad,
            tensor.step if varies else None,
        )
        op = self._same.get(key)
        if op is None:
            op = self._same[key] = self._from(tensor, primitive, args, frozen)
            op.numbers, op.varies = values, varies
            if varies and op.name is None and primitive.name == "getitem":
                self._rows.append((op, tensor))
            if self.backward_of is None and tensor.requires_grad:
                self.forward.append(tensor)
                for a in args:
                    if type(a) is Op:
                        uses = self._uses[a.index] = self._uses.get(a.index, 0) + 1
                        if uses > 1:
                            self.shared.add(a.site)
        of[tensor.order] = op
        if self.backward_of is not None:
            tensor._left = tensor._right = None  # nobody will go back through the backward pass: let its memory go

    def stand_in(self, op: Op, value: Array) -> Tensor:
        """A tensor with the value of an operation that was not computed by one."""
        tensor = constant(value)
        tensor.unsealed = False
        self._of_tensor[tensor.order] = op
        return tensor

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

    def move(self, op: Op, step: int, known: int) -> None:
        """What an operation outside the loop sends back into step `t` belongs to step `t`."""
        if op.index >= known and op.step is None:
            op.step = step
            op.site = self._site(op.site[0], step)

    def _site(self, base: int, step: int | None) -> tuple[int, int]:
        """The site of a new operation: the one that did the same at a neighbouring step, most recently.

        So two loops over the same code, or twice the same operation in one step, are two sites.
        """
        if step != self._step:
            self._step, self._visit = step, self._visit + 1
        tracks = self._tracks.setdefault(base, [])
        found = None
        for track in tracks[-_TRACKS:]:  # [last step, visit, number]
            adjacent = step is not None and track[0] is not None and abs(track[0] - step) == 1
            if adjacent and (found is None or track[1] > found[1]):
                found = track
        if found is None:
            tracks.append(found := [step, self._visit, len(tracks)])
        found[0], found[1] = step, self._visit
        return base, found[2]

    def name_operands(self) -> None:
        """Name rows after the variable of the loop, and z_h what the activation that gives h is applied to."""
        for op, tensor in self._rows:
            op.name = self._place(tensor.origin)[1]
        self._rows.clear()
        for op in self.ops:
            if op.name and op.primitive is not None and op.primitive.name in ("tanh", "sigmoid", "relu"):
                operand = op.args[0]
                if type(operand) is Op and operand.name is None:
                    operand.name = f"z_{op.name}"

    def _from(self, tensor: Tensor, primitive: Primitive | None, args: tuple[Any, ...], frozen: Any) -> Op:
        """The operation that made `tensor`."""
        place, name = self._place(tensor.origin) if self.backward_of is None else (None, None)
        data = tensor._data
        op = self._new(primitive, args, tensor.params, data.shape, data.dtype, tensor.step, tensor.scope, place, frozen)
        if self.backward_of is None:
            op.name = name if tensor._name is None else tensor._name or None
        return op

    def gradient(self, of: Op, primitive: Primitive, args: Sequence[Any], params: Any) -> Op:
        """The operation that gathers the gradient of `of`."""
        numbers: list[int] = []
        frozen = _freeze(params, numbers)
        op = self._new(primitive, tuple(args), params, of.shape, of.dtype, of.step, of.scope, None, frozen)
        op.numbers, op.varies, op.name = tuple(numbers), of.varies, of.name and f"d{of.name}"
        return op

    def _new(
        self,
        primitive: Primitive | None,
        args: tuple[Any, ...],
        params: Any,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        step: int | None,
        scope: str,
        place: Any,
        frozen: Any,
    ) -> Op:
        op = Op()
        op.primitive, op.args, op.params, op.numbers = primitive, args, params, ()
        op.shape, op.dtype, op.step, op.scope = shape, dtype, step, scope
        op.value, op.name, op.varies = None, None, False
        of = op.backward_of = self.backward_of
        name = primitive.name if primitive else None
        where = (place, scope) if of is None else of.site
        base = self._sites.setdefault((name, where, shape, dtype, frozen), len(self._sites))
        if primitive is total and of is not None:  # there is one gradient of each forward operation
            op.site = (base, 0)
        else:
            op.site = self._site(base, step)
        op.index = len(self.ops)
        self.ops.append(op)
        return op


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
    """What has arrived at one tensor: the operations, and the sum of their values where a rule will need it."""

    def __init__(self, target: Op) -> None:
        self.target = target
        self.terms: list[Op] = []
        self.patches: list[Patch] = []
        self.only: Tensor | None = None
        self.value: Array | None = None

    def add(self, message: Tensor | Patch, tape: _Tape) -> None:
        if isinstance(message, Patch):
            self.patches.append(message)
            return
        self.terms.append(tape.op_of(message))
        if self.target.primitive is None:
            return  # of a leaf only the operations count: T gradients of a weight are never held
        if len(self.terms) == 1:
            self.only, self.value = message, message._data
        elif len(self.terms) == 2:
            self.only, self.value = None, self.value + message._data
        else:
            assert self.value is not None
            self.value += message._data

    def gather(self, tape: _Tape) -> Tensor | Op:
        """All of it as one `total`; reads of single entries as one `scatter`."""
        of = self.target
        if self.patches:
            operands = [x for patch in self.patches for x in (patch.value, *patch.indices)]
            params = {"shape": of.shape, "parts": tuple((patch.key, len(patch.indices)) for patch in self.patches)}
            if of.primitive is None:
                args = [tape.op_of(x) if type(x) is Tensor else x for x in operands]
                self.terms.append(tape.gradient(of, scatter, args, params))
            else:
                self.add(scatter(operands, **params), tape)
        if len(self.terms) == 1 and of.site not in tape.shared:
            (term,) = self.terms
            if term.name is None and term.backward_of is not None:
                term.name = of.name and f"d{of.name}"
            return term if self.only is None else self.only
        op = tape.gradient(of, total, self.terms, {})
        if self.value is None:
            return op
        return tape.stand_in(op, self.value)


def _backward(tape: _Tape, loss: Tensor) -> dict[int, Op]:
    """One sweep back over the recorded graph; the gradients of the leaves by creation number.

    Unlike `autodiff.backprop` it adds all messages at one tensor at once, and it visits an operation
    that was repeated in every step (such as `W.T`) once. It takes the graph apart as it goes, so that
    tracing needs no more memory than an eager pass.
    """
    pending: dict[int, _Gradient] = {}
    leaves: dict[int, int] = {}
    end = tape.op_of(loss)
    pending[end.index] = _Gradient(end)
    pending[end.index].add(Tensor(np.ones(loss.shape, loss.dtype)), tape)
    outer = current.get()
    try:
        while tape.forward:
            tensor = tape.forward.pop()
            op = tape.op_of(tensor)
            arrived = pending.pop(op.index, None)
            if arrived is None:
                continue
            tape.backward_of = op
            current.set(outer._replace(recording=False, step=op.step, scope=op.scope))
            g = arrived.gather(tape)
            known = len(tape.ops)
            for x, message in zip(tensor.inputs, messages(tensor, g, create_graph=True), strict=True):
                if message is None:
                    continue
                target = tape.op_of(x)
                if target.primitive is None:
                    leaves[target.index] = x.order
                if target.index not in pending:
                    pending[target.index] = _Gradient(target)
                pending[target.index].add(message, tape)
                if op.step is None and target.step is not None and type(message) is Tensor:
                    tape.move(tape.op_of(message), target.step, known)
            tensor._left = tensor._right = None
        found = {}
        for index, order in leaves.items():
            tape.backward_of = pending[index].target
            gathered = pending[index].gather(tape)
            assert isinstance(gathered, Op)
            found[order] = gathered
        return found
    finally:
        current.set(outer)


def _alive(wanted: Sequence[Op], ops: Sequence[Op]) -> list[Op]:
    seen = {id(op) for op in wanted}
    kept = []
    for op in reversed(ops):
        if id(op) in seen:
            kept.append(op)
            seen.update(id(a) for a in op.args if type(a) is Op)
    kept.reverse()
    return kept
