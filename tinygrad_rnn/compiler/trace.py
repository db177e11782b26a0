"""Trace: run a loss function once on tensors and write down every operation, forward and backward.

The backward pass runs the same vjp rules as `Tensor.backward`, on tensors, so that what they
compute is written down too. It gathers the messages that arrive at a tensor as one n-ary `total`
instead of a chain of additions: a sum over time is then one operation with T terms, which
re-rolling turns into one sum (or one matrix product) over the whole sequence.

A trace keeps operations, not arrays. The loss function sees real values while it runs, and they die
with its own variables; the rules of the backward pass then run on stand-ins, as nobody reads what
they compute.
"""

from __future__ import annotations

from array import array
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
from ..tensor import Array, Tensor, constant, next_order


class Op:
    """One operation of the unrolled program: a primitive, and where it belongs.

    Attributes:
        primitive: None for an input (a parameter or a batch array) and for a constant.
        params: the primitive's parameters.
        numbers: the integers among the parameters (indices, axes), which may change from step to step.
        name: the name it was given, or the variable it was assigned to; gradients are called d and the name.
        step: the time step, or None.
        backward_of: the forward operation whose vjp rule recorded this one, or whose gradient it is.
        value: the array of a constant.
    """

    __slots__ = (
        "backward_of",
        "dtype",
        "name",
        "numbers",
        "params",
        "primitive",
        "scope",
        "shape",
        "step",
        "value",
    )

    backward_of: Op | None
    dtype: np.dtype[Any]
    name: str | None
    numbers: tuple[int, ...]
    params: Any
    primitive: Primitive | None
    scope: str
    shape: tuple[int, ...]
    step: int | None
    value: Array | None


class Site(NamedTuple):
    """What operations have in common that do the same at different steps.

    They come from the same line of code in the same scope; in the backward pass, from the same operand of the
    same forward site. `base` is equal for sites of the same code, such as two loops over it.
    """

    base: int
    primitive: Primitive | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scope: str


class Params(NamedTuple):
    """Parameters, which all operations with the same ones share; see `_freeze`."""

    values: Mapping[str, Any]
    frozen: Any
    numbers: tuple[int, ...]


NOWHEN = -1
"""Stands in the column of steps for what belongs to none."""


class Ops:
    """The operations of an unrolled program, by number: column by column, 50 bytes for each instead of 300.

    Operation n reads `args(n)`: numbers of other operations, which are smaller, or where negative, ~i for the
    Python scalar `scalars[i]`.
    """

    def __init__(self) -> None:
        self.sites: list[Site] = []
        self.params: list[Params] = [Params({}, None, ())]
        self.names: list[str | None] = [None]
        self.scalars: list[Any] = []
        self.values: dict[int, Array] = {}
        """The arrays of constants."""
        self.site_of, self.params_of, self.name_of = array("i"), array("i"), array("i")
        self.step = array("i")
        self.backward_of = array("i")
        self.starts, self.operands = array("i", [0]), array("i")

    def __len__(self) -> int:
        return len(self.site_of)

    def append(self, site: int, args: Iterable[int], params: int, step: int, backward_of: int) -> int:
        self.site_of.append(site)
        self.params_of.append(params)
        self.name_of.append(0)
        self.step.append(step)
        self.backward_of.append(backward_of)
        self.operands.extend(args)
        self.starts.append(len(self.operands))
        return len(self.site_of) - 1

    def args(self, n: int) -> array[int]:
        return self.operands[self.starts[n] : self.starts[n + 1]]

    def site(self, n: int) -> Site:
        return self.sites[self.site_of[n]]

    def name(self, n: int) -> str | None:
        return self.names[self.name_of[n]]

    def __getitem__(self, n: int) -> Op:
        """One operation as an object."""
        op, params, of = Op(), self.params[self.params_of[n]], self.backward_of[n]
        _, op.primitive, op.shape, op.dtype, op.scope = self.site(n)
        op.params, op.numbers = params.values, params.numbers
        op.name, op.value = self.name(n), self.values.get(n)
        op.step = None if self.step[n] == NOWHEN else self.step[n]
        op.backward_of = None if of < 0 else self[of]
        return op


_TRACKS = 64  # how many sites of the same code are looked through for the neighbour of a new operation


@dataclass
class Trace:
    """The unrolled program, in which operations are known by their numbers.

    Attributes:
        ops: everything that was recorded.
        alive: what the results depend on, in an order in which it can run.
        inputs: the leaves among the arguments.
        results: the loss, then the tensors in `extra`, then the gradients.
        extra: what the loss function returned beside the loss, or None.
    """

    ops: Ops
    alive: Array
    inputs: list[int]
    results: list[int]
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
    return Trace(tape.ops, _alive([*results, *named], tape.ops), named, results, extra)


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
    """Turns each new tensor into an operation; the same on the same operands is written once."""

    def __init__(self) -> None:
        self.ops = Ops()
        self.shared: set[int] = set()
        """Sites of which some operation is used more than once, so that its gradient is a sum."""
        self._of: int = -1  # the operation that is being differentiated
        self._of_leaf: dict[int, int] = {}
        self._of_tensor, self._first = array("i"), next_order()  # by creation number, from the first
        self._same: dict[int, int] = {}
        self._lately: dict[int, int] = {}  # the same for what only this step can repeat
        self._flags: list[tuple[tuple[bool, ...], bool]] = []
        self._flags_of = array("i")
        self._varies = bytearray()
        self._real: dict[int, Array] = {}  # integers and masks, which rules may index with
        self._dummies: dict[Any, Array] = {}
        self._numbered: dict[Any, int] = {}  # parameters, names, scalars and flags
        self._bases: dict[Any, int] = {}
        self._tracks: list[list[list[int]]] = []  # of each base: [last step, visit, site]
        self._step = NOWHEN
        self._visit = 0
        self._places: dict[tuple[int, int], tuple[Any, str | None]] = {}
        self._row: tuple[int, Tensor] | None = None
        self._script: _Script | None = None  # the one that is being written
        self._scripts: dict[int, _Script] = {}  # the last one of each site
        self._alive: list[Any] = []  # keeps identities in keys unique

    # ------------------------------------------------------------------ forward
    def input(self, tensor: Tensor, name: str | None) -> int:
        data = tensor._data
        n = self._new(None, (), 0, data.shape, data.dtype, NOWHEN, "")
        self.call(n, name)
        if data.dtype.kind != "f":
            self._real[n] = data
        self._of_leaf[tensor.order] = n
        return n

    def constant(self, array: Array) -> int:
        key = ("constant", array.shape, array.dtype.str, array.tobytes() if array.size <= 256 else id(array))
        n = self._numbered.get(key)
        if n is None:
            now = current.get()
            n = self._numbered[key] = self._new(None, (), 0, array.shape, array.dtype, _when(now.step), now.scope)
            self.ops.values[n] = np.array(array)
            self._alive.append(array)
        return n

    def op_of(self, tensor: Tensor) -> int:
        """The operation that made `tensor`; a leaf it has not seen is a constant."""
        n = self._known(tensor.order)
        if n < 0:
            cut = None if tensor.leaf is None else tensor.leaf.cut_from
            n = -1 if cut is None else self._known(cut)
            if n < 0:
                n = self.constant(tensor._data)
                if self._script is not None:
                    self._script.own(n)
                if not self.ops.name_of[n]:
                    self.call(n, tensor._name or self._place(tensor.origin)[1])
            self._of_leaf[tensor.order] = n
        return n

    def _known(self, order: int) -> int:
        i = order - self._first
        n = self._of_tensor[i] if 0 <= i < len(self._of_tensor) else -1
        return self._of_leaf.get(order, -1) if n < 0 else n

    def _is_made_by(self, tensor: Tensor, n: int) -> None:
        missing = tensor.order - self._first - len(self._of_tensor)
        if missing > 0:  # leaves were made in between, or tensors in other threads
            self._of_tensor.extend([-1] * missing)
        self._of_tensor.append(n)

    def record(self, _: str, tensor: Tensor, __: Any) -> None:
        primitive = tensor.primitive
        if primitive is None:
            return
        if self._row is not None:
            self._name_row()
        inputs, of_tensor, first = tensor.inputs, self._of_tensor, self._first
        args = []
        varies = row = _reads_a_row(tensor)
        for x in inputs:
            if type(x) is Tensor:
                i = x.order - first
                n = of_tensor[i] if 0 <= i < len(of_tensor) else -1
                if n < 0:
                    n = self.op_of(x)
                varies = varies or bool(self._varies[n])
            else:
                n = ~self._number(self.ops.scalars, (type(x), x or repr(x)), x)  # -0.0 is not 0.0
            args.append(n)
        params = self._number_of_params(tensor.params) if tensor.params else 0
        flows, step, data = tensor.requires_grad, _when(tensor.step), tensor._data
        wanted = tuple([type(x) is Tensor and x.requires_grad for x in inputs])  # a detached operand is another
        flags = self._number(self._flags, (wanted, flows), (wanted, flows))
        before = len(self.ops)
        n = self._write(primitive, args, params, flags, varies, data.shape, data.dtype, step, tensor.scope, tensor)
        if self._script is not None:
            self._script.note(n, primitive, args, params, flags, row, data)
        elif n == before:
            if data.dtype.kind != "f":
                self._real[n] = data
            if varies and not self.ops.name_of[n] and primitive.name == "getitem":
                self._row = n, tensor
        self._is_made_by(tensor, n)
        _let_go(tensor)

    def _write(
        self,
        primitive: Primitive,
        args: list[int],
        params: int,
        flags: int,
        varies: bool,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        step: int,
        scope: str,
        tensor: Tensor | None = None,
    ) -> int:
        """The number of an operation that does this: the one that did it before, or a new one."""
        if step != self._step:
            self._enter(step)
        same = self._lately if varies and self._is_passing(args) else self._same
        key = hash((primitive, *args, flags, params, step if varies else None))
        n = same.get(key, -1)
        if n < 0 or not self._is(n, primitive, args, flags, params, step, varies):
            place = name = None
            if self._of < 0 and tensor is not None:
                place, name = self._place(tensor.origin)
                name = name if tensor._name is None else tensor._name or None
            n = same[key] = self._new(primitive, args, params, shape, dtype, step, scope, place, flags, varies)
            self.call(n, name)
        return n

    def _is(
        self, n: int, primitive: Primitive, args: list[int], flags: int, params: int, step: int, varies: bool
    ) -> bool:
        """Whether operation n does this: equal keys are almost proof."""
        ops = self.ops
        return (
            ops.site(n).primitive is primitive
            and ops.args(n).tolist() == args
            and (self._flags_of[n], ops.params_of[n]) == (flags, params)
            and (ops.step[n] == step or not varies)
        )

    def _is_passing(self, args: list[int]) -> bool:
        """Whether no rule of another step, or later of this one, will do this again: it reads a gradient or what
        only one operation reads."""
        if self._of < 0:
            return False
        of, sites, shared = self.ops.backward_of, self.ops.site_of, self.shared
        return any([n >= 0 and (of[n] >= 0 or sites[n] not in shared) for n in args])

    def _number(self, table: list[Any], key: Any, entry: Any) -> int:
        """The place of an entry in a table, in which equal ones stand once."""
        n = self._numbered.get(key)
        if n is None:
            n = self._numbered[key] = len(table)
            table.append(entry)
        return n

    def _number_of_params(self, values: Mapping[str, Any]) -> int:
        numbers: list[int] = []
        frozen = _freeze(values, numbers)
        params = Params(values, frozen, tuple(numbers))
        return self._number(self.ops.params, ("params", frozen, params.numbers), params)

    def call(self, n: int, name: str | None) -> None:
        self.ops.name_of[n] = self._number(self.ops.names, ("name", name), name) if name else 0

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
        n, tensor = self._row
        self.call(n, self._place(tensor.origin)[1])
        self._row = None

    # ------------------------------------------------------------------ backward
    def turn(self) -> None:
        """The forward pass is over."""
        if self._row is not None:
            self._name_row()
        ops = self.ops
        self._same = {key: n for key, n in self._same.items() if not self.flows(n)}  # backward, nothing does
        used = bytearray(len(ops))
        for n in range(len(ops)):
            operands = [a for a in ops.args(n) if a >= 0]
            if ops.name_of[n] and getattr(ops.site(n).primitive, "name", None) in ("tanh", "sigmoid", "relu"):
                for a in operands[:1]:
                    self.call(a, ops.name(a) or f"z_{ops.name(n)}")  # what gives h is z_h
            if self.flows(n):
                for a in operands:
                    if used[a]:
                        self.shared.add(ops.site_of[a])
                    used[a] = True

    def flows(self, n: int) -> bool:
        """Whether a gradient flows through operation n."""
        return self._flags[self._flags_of[n]][1]

    def differentiate(self, n: int) -> None:
        """What is recorded from now on belongs to the gradient of operation n."""
        self._of = n

    def stand_in(self, n: int, flows: bool = False) -> Tensor:
        """A tensor in the place of a result: of the same kind, and with its value if that is no fraction."""
        found = self.ops.values.get(n)
        if found is None:
            found = self._real.get(n)
        if found is None:
            _, _, shape, dtype, _ = self.ops.site(n)
            found = self._dummies.get((shape, dtype))
            if found is None:
                found = self._dummies[shape, dtype] = _dummy(shape, dtype)
        tensor = constant(found)
        tensor.unsealed = False
        tensor.requires_grad = flows
        self._is_made_by(tensor, n)
        return tensor

    def messages(self, n: int, g: int) -> list[Message | None]:
        """What the rules of operation n send back to its operands, when the gradient of its result is g.

        They run once for operations of one site that read the same sites: what they recorded is a script,
        which is repeated for the others.
        """
        ops = self.ops
        given = [n, g, *ops.args(n)]
        repeated = () if len(set(given)) == len(given) else map(given.index, given)  # such as x * x
        key = (ops.params_of[n], self._flags_of[n], *[ops.site_of[x] if x >= 0 else x for x in given], *repeated)
        script = self._scripts.get(ops.site_of[n])
        if script is not None and script.key == key:
            return self._repeat(script, given)
        self._of_leaf.clear()  # nobody holds a tensor of another rule
        self._of_tensor, self._first = array("i"), next_order()
        self._script = script = _Script(key, given)
        node = self._node(n)
        for message in messages(node, self.stand_in(g), create_graph=True):
            if type(message) is Patch:
                sent: Any = message.key, [self.op_of(x) for x in (message.value, *message.indices)]
            else:
                sent = None if message is None else (_WHOLE, [self.op_of(message)])
            script.send(sent)
        self._script = None
        masks = any(x >= 0 and ops.site(x).dtype.kind == "b" for x in given)  # what they pick may differ in number
        if script.repeatable and not masks:
            self._scripts[ops.site_of[n]] = script
        return script.sent

    def _node(self, n: int) -> Tensor:
        """A stand-in whose operands are stand-ins, for its rules to run on."""
        ops = self.ops
        operands = zip(ops.args(n), self._flags[self._flags_of[n]][0], strict=True)
        inputs = tuple([self.stand_in(a, flows) if a >= 0 else ops.scalars[~a] for a, flows in operands])
        node = self.stand_in(n, True)
        node.primitive, node.params = ops.site(n).primitive, ops.params[ops.params_of[n]].values
        _take(node, inputs)
        return node

    def _repeat(self, script: _Script, given: list[int]) -> list[Message | None]:
        """Write down what a script says, for other operations."""
        step, scope, varies, known = self.ops.step[given[0]], self.ops.site(given[0]).scope, self._varies, given
        for primitive, words, params, flags, row, shape, dtype in script.lines:
            args = script.read(words, known)
            moves = row or any([x >= 0 and varies[x] for x in args])
            known.append(self._write(primitive, args, params, flags, bool(moves), shape, dtype, step, scope))
        return [None if sent is None else (sent[0], script.read(sent[1], known)) for sent in script.words_sent]

    def gradient(self, primitive: Primitive, args: Sequence[int], params: Mapping[str, Any]) -> int:
        """The operation that gathers the gradient of what is being differentiated."""
        _, _, shape, dtype, scope = self.ops.site(self._of)
        step, varies = self.ops.step[self._of], bool(self._varies[self._of])
        number = self._number_of_params(params) if params else 0
        return self._new(primitive, args, number, shape, dtype, step, scope, varies=varies)

    def move(self, n: int, step: int, known: int) -> None:
        """What an operation outside the loop sends back into step `t` belongs to step `t`."""
        if n >= known and self.ops.step[n] == NOWHEN:
            self.ops.step[n] = step
            self.ops.site_of[n] = self._site(self.ops.site(n), step)

    # ------------------------------------------------------------------ both
    def _new(
        self,
        primitive: Primitive | None,
        args: Sequence[int],
        params: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        step: int,
        scope: str,
        place: Any = None,
        flags: int | None = None,
        varies: bool = False,
    ) -> int:
        where = (place, scope) if self._of < 0 else self.ops.site_of[self._of]
        key = (primitive, where, shape, dtype, self.ops.params[params].frozen)
        base = self._bases.get(key)
        if base is None:
            base = self._bases[key] = len(self._tracks)
            self._tracks.append([])
        site = self._site(Site(base, primitive, shape, dtype, scope), step)
        self._flags_of.append(self._number(self._flags, ((), False), ((), False)) if flags is None else flags)
        self._varies.append(varies)
        return self.ops.append(site, args, params, step, self._of)

    def _enter(self, step: int) -> None:
        self._step, self._visit = step, self._visit + 1
        self._lately.clear()

    def _site(self, like: Site, step: int) -> int:
        """The site of a new operation: the one that did the same at a neighbouring step, most recently.

        So two loops over the same code, or twice the same operation in one step, are two sites. But there is one
        gradient of each forward operation.
        """
        tracks = self._tracks[like.base]
        if like.primitive is total and tracks:
            return tracks[0][2]
        if step != self._step:
            self._enter(step)
        found = None
        for track in tracks[-_TRACKS:]:
            adjacent = step != NOWHEN and track[0] != NOWHEN and abs(track[0] - step) == 1
            if adjacent and (found is None or track[1] > found[1]):
                found = track
        if found is None:
            tracks.append(found := [step, self._visit, len(self.ops.sites)])
            self.ops.sites.append(like)
        found[0], found[1] = step, self._visit
        return found[2]


def _when(step: int | None) -> int:
    return NOWHEN if step is None else step


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


Message = tuple[Any, list[int]]
"""What is sent back to an operand: a key, the operation that is the gradient there, and the key's index arrays."""

_WHOLE = object()  # the key of a gradient of the whole


class _Script:
    """What the rules of one operation recorded, in terms of what they were given.

    A word i >= 0 stands for the i-th of what is known: the operation, its gradient, its operands, and then the
    results of the lines, one after another; a word ~i for `fixed[i]`, a constant or scalar of the rules' own.

    Attributes:
        key: what must be equal for another operation to have the same script.
        repeatable: whether all words are clear; not so if a rule made by chance what it was given.
    """

    def __init__(self, key: Any, given: list[int]) -> None:
        self.key, self.repeatable = key, True
        self.lines: list[tuple[Any, ...]] = []
        self.sent: list[Message | None] = []
        self.words_sent: list[Message | None] = []
        self.fixed: list[int] = []
        self._given = len(given)
        self._words = {x: i for i, x in reversed(list(enumerate(given)))}

    def _word(self, x: int) -> int:
        word = self._words.get(x)
        if word is None:
            word = self._words[x] = ~len(self.fixed)
            self.fixed.append(x)
        return word

    def own(self, n: int) -> None:
        """A rule has made the constant n."""
        if self._word(n) >= 0:
            self.repeatable = False

    def note(
        self, n: int, primitive: Primitive, args: list[int], params: int, flags: int, row: bool, result: Array
    ) -> None:
        """A rule has recorded operation n."""
        self.lines.append((primitive, [self._word(a) for a in args], params, flags, row, result.shape, result.dtype))
        word = self._given + len(self.lines) - 1
        if self._words.setdefault(n, word) < self._given:
            self.repeatable = False

    def send(self, message: Message | None) -> None:
        self.sent.append(message)
        self.words_sent.append(None if message is None else (message[0], [self._word(x) for x in message[1]]))

    def read(self, words: list[int], known: list[int]) -> list[int]:
        """What the words stand for now."""
        return [known[word] if word >= 0 else self.fixed[~word] for word in words]


class _Gradient:
    """What has arrived at one operation's result."""

    def __init__(self) -> None:
        self.terms: list[int] = []
        self.parts: list[Message] = []

    def add(self, message: Message) -> None:
        if message[0] is _WHOLE:
            self.terms.extend(message[1])
        else:
            self.parts.append(message)

    def gather(self, of: int, tape: _Tape) -> int:
        """All of it as one `total`; reads of single entries as one `scatter`."""
        ops, terms = tape.ops, self.terms
        name = ops.name(of) and f"d{ops.name(of)}"
        if self.parts:
            keys = tuple([(key, len(operands) - 1) for key, operands in self.parts])
            operands = [n for _, operands in self.parts for n in operands]
            terms = [*terms, tape.gradient(scatter, operands, {"shape": ops.site(of).shape, "parts": keys})]
            if ops.site(of).primitive is None:
                tape.call(terms[-1], name)
        if len(terms) == 1 and ops.site_of[of] not in tape.shared:
            (term,) = terms
            if not ops.name_of[term] and ops.backward_of[term] >= 0:
                tape.call(term, name)
            return term
        op = tape.gradient(total, terms, {})
        tape.call(op, name)
        return op


def _backward(tape: _Tape, loss: int) -> dict[int, int]:
    """One sweep back over the recorded operations; the gradients of the leaves.

    Unlike `autodiff.backprop` it adds all messages at one result at once, and it visits an operation
    that was repeated in every step (such as `W.T`) once.
    """
    ops = tape.ops
    pending = {loss: _Gradient()}
    end = ops.site(loss)
    pending[loss].terms.append(tape.constant(np.ones(end.shape, end.dtype)))
    outer = current.get()
    try:
        for n in reversed(range(len(ops))):
            arrived = pending.pop(n, None) if tape.flows(n) else None
            if arrived is None:
                continue
            tape.differentiate(n)
            step = None if ops.step[n] == NOWHEN else ops.step[n]
            current.set(outer._replace(recording=False, step=step, scope=ops.site(n).scope))
            g = arrived.gather(n, tape)
            known = len(ops)
            for target, message in zip(ops.args(n), tape.messages(n, g), strict=True):
                if message is None:
                    continue
                if target not in pending:
                    pending[target] = _Gradient()
                pending[target].add(message)
                if step is None and ops.step[target] != NOWHEN and message[0] is _WHOLE:
                    tape.move(message[1][0], ops.step[target], known)
        found = {}
        for leaf, arrived in pending.items():
            tape.differentiate(leaf)
            found[leaf] = arrived.gather(leaf, tape)
        return found
    finally:
        current.set(outer)


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
