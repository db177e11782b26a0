"""Tape: turn each tensor that is made into an operation, and differentiate operations.

The tape keeps operations, not arrays. The loss function sees real values while it runs, and they die
with its own variables; the rules of the backward pass then run on stand-ins of the same shape, as
nobody reads what they compute, and only once for what is the same at every step.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.backprop import edge_gradients
from ..core.context import Draw, context, current, next_index, step_of
from ..core.indexing import Patch, Slot
from ..core.primitive import Primitive
from ..core.seal import SEALED
from ..core.tensor import Array, Tensor, connect, constant, make_leaf, release
from ..debug.origin import Origin, Place, assigned_name, place
from ..errors import GraphError
from ..ops import relu, sigmoid, tanh
from ..ops.indexing import getitem_p
from .afterwards import steps_afterwards
from .operations import NOWHEN, Drawing, Ops, Params, Site, total
from .rows import row_read
from .vocabulary import is_known

_TRACKS = 64  # how many sites of the same code are looked through for the neighbour of a new operation

Message = tuple[Any, list[int]]
"""What is sent back to an operand: a key, the operation that is the gradient there, and the key's index arrays."""

WHOLE = object()  # the key of a gradient of the whole


class Script:
    """What the rules of one operation recorded, in terms of what they were given.

    A word i >= 0 stands for the i-th of what is known: the operation, its gradient, its operands, and then the
    results of the lines, one after another; a word ~i for `fixed[i]`, a constant or scalar of the rules' own.

    Attributes:
        key: what must be equal for another operation to have the same script.
        repeatable: whether all words are clear; not so if a rule made by chance what it was given.
    """

    def __init__(self, key: Any, given: list[int]) -> None:
        self.key, self.repeatable = key, True
        self.lines: list[tuple[Site, list[int], int, int, bool]] = []
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

    def role(self, x: int) -> int | None:
        """What x is to the rules: the place of what they were given, or what they computed; None for their own."""
        word = self._words.get(x, -1)
        return None if word < 0 else word if word < self._given else -1 - self.lines[word - self._given][0].base

    def own(self, n: int) -> None:
        """A rule has made the constant n."""
        if self._word(n) >= 0:
            self.repeatable = False

    def note(self, n: int, like: Site, args: list[int], params: int, flags: int, row: bool) -> None:
        """A rule has recorded operation n."""
        self.lines.append((like, [self._word(a) for a in args], params, flags, row))
        word = self._given + len(self.lines) - 1
        if self._words.setdefault(n, word) < self._given:
            self.repeatable = False

    def send(self, message: Message | None) -> None:
        self.sent.append(message)
        self.words_sent.append(None if message is None else (message[0], [self._word(x) for x in message[1]]))

    def read(self, words: list[int], known: list[int]) -> list[int]:
        """What the words stand for now."""
        return [known[word] if word >= 0 else self.fixed[~word] for word in words]


class Tape:
    """Turns each new tensor into an operation; the same on the same operands is written once."""

    def __init__(self) -> None:
        self.ops = Ops()
        self.shared: set[int] = set()
        """Sites of which some operation is used more than once, so that its gradient is a sum."""
        self._of: int = -1  # the operation that is being differentiated
        self._of_leaf: dict[int, int] = {}
        self._of_tensor, self._first = array("i"), next_index()  # by creation number, from the first
        self._same: dict[int, int] = {}
        self._lately: dict[int, int] = {}  # the same for what only this step can repeat
        self._flags: list[tuple[tuple[bool, ...], bool]] = []  # whether gradients flow to the operands, and the result
        self._flags_of = array("i")
        self._varies = bytearray()
        self._real: dict[int, Array] = {}  # integers and masks, which rules may index with
        self._dummies: dict[Any, Array] = {}
        self._numbered: dict[Any, int] = {}  # parameters, names, scalars and flags
        self._likes: dict[Any, Site] = {}
        self._tracks: list[list[list[int]]] = []  # for each base its sites: [last step, visit, site]
        self._step = NOWHEN
        self._visit = 0
        self._reader: Any = None  # where the operation stands that is being recorded
        self._assigned: dict[Place, str | None] = {}
        self._row: tuple[int, Tensor] | None = None
        self._script: Script | None = None  # the one that is being written
        self._scripts: dict[int, Script] = {}  # the last one of each site
        self._random: dict[int, int] = {}  # the constants that were drawn, by the identity of their arrays
        self._alive: list[Any] = []  # keeps identities in keys unique

    # ------------------------------------------------------------------ forward
    def input(self, tensor: Tensor, name: str | None) -> int:
        data = tensor._array
        n = self._new(self._like(None, 0, data, ""), (), 0, NOWHEN)
        self.give_name(n, name)
        if data.dtype.kind != "f":
            self._real[n] = data
        self._of_leaf[tensor.index] = n
        return n

    def draw(self, rng: np.random.Generator, draw: Draw, shape: tuple[int, ...]) -> Array:
        """An array of random numbers: a constant, of which every call of the program has its own."""
        now, ops, array = current.get(), self.ops, draw(rng, shape)
        n = self._random[id(array)] = self._new(self._like(None, 0, array, now.scope), (), 0, _when(step_of(now)))
        ops.values[n] = array
        ops.drawing_of[n] = len(ops.drawings)
        ops.drawings.append(Drawing(rng, draw, shape))
        return array

    def constant(self, array: Array) -> int:
        """A constant: the same memory is the same one, and so are equal small arrays in one place of the code.

        A zero state may be made at every step; but two layers that start from equal zeros keep each their own, or
        their first steps would be one operation.
        """
        if (n := self._random.get(id(array), -1)) >= 0:
            return n
        small = array.size <= 256
        entries = array.tobytes() if small else b""
        where = array.__array_interface__["data"][0], array.strides
        memory = ("constant", array.shape, array.dtype.str, where, entries)
        n = self._numbered.get(memory, -1)
        if n < 0 and small:
            alike = ("constant", array.shape, array.dtype.str, self._reader, entries)
            n = self._numbered.get(alike, -1)
        if n < 0 or not (small or self.ops.values[n].tobytes() == array.tobytes()):  # it may have been written to
            now = current.get()
            n = self._new(self._like(None, 0, array, now.scope), (), 0, _when(step_of(now)))
            self.ops.values[n] = np.array(array)
            if small:
                self._numbered[alike] = n
        if self._numbered.get(memory) != n:
            self._numbered[memory] = n
            self._alive.append(array)  # so that no other array is in its memory
        return n

    def op_of(self, tensor: Tensor) -> int:
        """The operation that made `tensor`; a leaf it has not seen is a constant."""
        n = self._known(tensor.index)
        if n < 0:
            n = -1 if tensor.cut_from is None else self._known(tensor.cut_from)
            if n < 0:
                if tensor.requires_grad and tensor.index < self._first:
                    raise GraphError(
                        f"compile: the function reads {tensor.describe()}, which wants a gradient and is not among its "
                        "arguments: the program would keep its numbers of today and give no gradient for it. Pass it, "
                        "or the module that it belongs to, as an argument; or read a detached copy, if it is constant"
                    )
                if tensor.requires_grad and tensor.primitive is not None:
                    raise GraphError(
                        f"compile: the function reads {tensor.describe()}, which it computed where that is not written "
                        "down: in a thread of its own, or under detect_anomaly. Compute it in the calling thread, and "
                        "look for anomalies in the function as it is, not compiled"
                    )
                n = self.constant(tensor._array)
                if self._script is not None:
                    self._script.own(n)
                if not self.ops.name_of[n]:
                    self.give_name(n, tensor._name or self._place(tensor.origin)[1])
            self._of_leaf[tensor.index] = n
        return n

    def _known(self, index: int) -> int:
        i = index - self._first
        n = self._of_tensor[i] if 0 <= i < len(self._of_tensor) else -1
        return self._of_leaf.get(index, -1) if n < 0 else n

    def _is_made_by(self, tensor: Tensor, n: int) -> None:
        missing = tensor.index - self._first - len(self._of_tensor)
        if missing > 0:  # leaves were made in between, or tensors in other threads
            self._of_tensor.extend([-1] * missing)
        self._of_tensor.append(n)

    def record(self, _: str, tensor: Tensor, __: Any) -> None:
        primitive = tensor.primitive
        if not isinstance(primitive, Primitive):
            return
        if self._row is not None:
            self._name_row()
        inputs, of_tensor, first = tensor.inputs, self._of_tensor, self._first
        args = []
        varies = row = row_read(primitive, tensor.attrs) is not None
        place, name = self._place(tensor.origin) if self._of < 0 else (None, None)
        self._reader = place, tensor.scope
        for x in inputs:
            if type(x) is Tensor:
                i = x.index - first
                n = of_tensor[i] if 0 <= i < len(of_tensor) else -1
                if n < 0:
                    n = self.op_of(x)
                varies = varies or bool(self._varies[n])
            elif isinstance(x, np.generic):  # unlike a Python number it has a dtype, as an array has
                n = self.constant(np.asarray(x))
            else:
                n = ~self._number(self.ops.scalars, (type(x), x or repr(x)), x)  # -0.0 is not 0.0
            args.append(n)
        params = self._number_of_params(primitive, tensor.attrs) if tensor.attrs else 0
        flows, data = tensor.requires_grad, tensor._array
        wanted = tuple([type(x) is Tensor and x.requires_grad for x in inputs])  # a detached operand is another
        flags = self._number(self._flags, (wanted, flows), (wanted, flows))
        of_what = None if self._script is None else tuple(map(self._script.role, args))
        like, before = self._like(primitive, params, data, tensor.scope, place, of_what), len(self.ops)
        n = self._write(like, args, params, _when(tensor.step), flags, varies)
        if self._script is not None:
            self._script.note(n, like, args, params, flags, row)
        elif n == before:
            self.give_name(n, name if tensor._name is None else tensor._name)
            if data.dtype.kind != "f":
                self._real[n] = data
            if varies and not self.ops.name_of[n] and primitive is getitem_p:
                self._row = n, tensor
        self._is_made_by(tensor, n)
        release(tensor)

    def _write(self, like: Site, args: list[int], params: int, step: int, flags: int, varies: bool) -> int:
        """The number of an operation that does this: the one that did it before, or a new one."""
        if step != self._step:
            self._enter(step)
        same = self._lately if varies and self._is_passing(args) else self._same
        key = hash((like.primitive, *args, params, step if varies else None, flags))
        n = same.get(key, -1)
        if n < 0 or not self._is(n, like, args, params, step, flags, varies):
            n = same[key] = self._new(like, args, params, step, flags, varies)
        return n

    def _is(self, n: int, like: Site, args: list[int], params: int, step: int, flags: int, varies: bool) -> bool:
        """Whether operation n does this: equal keys are almost proof."""
        ops = self.ops
        return (
            ops.site(n).primitive is like.primitive
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
        return any(n >= 0 and (of[n] >= 0 or sites[n] not in shared) for n in args)

    def _number(self, table: list[Any], key: Any, entry: Any) -> int:
        """The place of an entry in a table, in which equal ones stand once."""
        n = self._numbered.get(key)
        if n is None:
            n = self._numbered[key] = len(table)
            table.append(entry)
        return n

    def _number_of_params(self, primitive: Primitive, values: Mapping[str, Any]) -> int:
        numbers: list[int] = []
        plain = is_known(primitive)
        frozen = _freeze(values, numbers, plain)
        key = ("params", frozen, tuple(numbers))
        n = self._numbered.get(key)
        return self._number(self.ops.params, key, Params(_kept(values, plain), *key[1:])) if n is None else n

    def give_name(self, n: int, name: str | None) -> None:
        self.ops.name_of[n] = self._number(self.ops.names, ("name", name), name) if name else 0

    def _place(self, origin: Origin | None) -> tuple[Any, str | None]:
        """The source line and the variable assigned there; instruction offsets are not the same in every run."""
        at = place(origin)
        if origin is None or at is None:
            return None, None
        if at not in self._assigned:
            self._assigned[at] = assigned_name(origin)
        return at, self._assigned[at]

    def _name_row(self) -> None:
        """Name a row after the variable of the loop, which it is assigned to after it was recorded."""
        assert self._row is not None
        n, tensor = self._row
        self.give_name(n, self._place(tensor.origin)[1])
        self._row = None

    # ------------------------------------------------------------------ backward
    def turn(self, weights: Sequence[int]) -> None:
        """The forward pass is over; `weights`: the inputs that are parameters."""
        if self._row is not None:
            self._name_row()
        ops = self.ops
        ops.by_rows = all(step == NOWHEN for step in ops.step)
        for n, step in steps_afterwards(ops, weights).items():
            self.move(n, step)
        self._same = {key: n for key, n in self._same.items() if not self.flows(n)}  # backward, nothing does
        used = bytearray(len(ops))
        for n in range(len(ops)):
            operands = [a for a in ops.args(n) if a >= 0]
            if ops.name_of[n] and ops.site(n).primitive in (tanh, sigmoid, relu):
                for a in operands[:1]:
                    self.give_name(a, ops.name(a) or f"z_{ops.name(n)}")  # what gives h is z_h
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

    def _stand_in(self, n: int, flows: bool = False) -> Tensor:
        """A tensor in the place of a result: of the same kind, and with its value if that is no fraction."""
        found = self.ops.values.get(n)
        if found is None:
            found = self._real.get(n)
        if found is None:
            _, _, shape, dtype, _ = self.ops.site(n)
            found = self._dummies.get((shape, dtype))
            if found is None:
                found = self._dummies[shape, dtype] = _dummy(shape, dtype)
        tensor = make_leaf(found, None, SEALED, requires_grad=flows)
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
        self._of_tensor, self._first = array("i"), next_index()
        self._script = script = Script(key, given)
        step = None if ops.step[n] == NOWHEN else ops.step[n]
        with context(recording=False, step=step, scope=ops.site(n).scope):
            for message in edge_gradients(self._node(n), self._stand_in(g), create_graph=True):
                if type(message) is Patch:
                    sent: Any = message.key, [self.op_of(x) for x in (message.value, *message.indices)]
                else:
                    tensor = constant(message) if isinstance(message, np.ndarray) else message  # one that g is not in
                    sent = None if message is None else (WHOLE, [self.op_of(tensor)])
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
        inputs = tuple([self._stand_in(a, flows) if a >= 0 else ops.scalars[~a] for a, flows in operands])
        node = self._stand_in(n, True)
        primitive = ops.site(n).primitive
        assert primitive is not None
        connect(node, primitive, inputs, ops.params[ops.params_of[n]].values)
        return node

    def _repeat(self, script: Script, given: list[int]) -> list[Message | None]:
        """Write down what a script says, for other operations."""
        step, varies, known = self.ops.step[given[0]], self._varies, given
        for like, words, params, flags, row in script.lines:
            args = script.read(words, known)
            moves = row or any(x >= 0 and varies[x] for x in args)
            known.append(self._write(like, args, params, step, flags, bool(moves)))
        return [None if sent is None else (sent[0], script.read(sent[1], known)) for sent in script.words_sent]

    def gradient(self, primitive: Primitive, args: Sequence[int], params: Mapping[str, Any]) -> int:
        """The operation that gathers the gradient of what is being differentiated."""
        of, ops = self._of, self.ops
        number = self._number_of_params(primitive, params) if params else 0
        like = self._like(primitive, number, ops.site(of), ops.site(of).scope)
        return self._new(like, args, number, ops.step[of], varies=bool(self._varies[of]))

    def move(self, n: int, step: int) -> None:
        """Put an operation that belongs to no step into one."""
        if self.ops.step[n] == NOWHEN:
            self.ops.step[n] = step
            self.ops.site_of[n] = self._site(self.ops.site(n), step)

    # ------------------------------------------------------------------ both
    def _like(
        self, primitive: Primitive | None, params: int, of: Any, scope: str, place: Any = None, of_what: Any = None
    ) -> Site:
        """What operations have in common that do this, with results of the shape and dtype that `of` has.

        In a rule it also counts `of_what` they are: h.T @ dz and dz @ R.T may have one shape.
        """
        where = (place, scope) if self._of < 0 else (self.ops.site_of[self._of], of_what)
        key = (primitive, where, of.shape, of.dtype, self.ops.params[params].frozen)
        like = self._likes.get(key)
        if like is None:
            like = self._likes[key] = Site(len(self._tracks), primitive, of.shape, of.dtype, scope)
            self._tracks.append([])
        return like

    def _new(
        self, like: Site, args: Sequence[int], params: int, step: int, flags: int | None = None, varies: bool = False
    ) -> int:
        self._flags_of.append(self._number(self._flags, ((), False), ((), False)) if flags is None else flags)
        self._varies.append(varies)
        return self.ops.append(self._site(like, step), args, params, step, self._of)

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


def _dummy(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of next to no memory: ones, or where it may be a matrix to invert, the identity."""
    square = len(shape) > 1 and shape[-1] == shape[-2]
    return np.broadcast_to(np.eye(shape[-1], dtype=dtype) if square else np.ones((), dtype), shape)


def _freeze(value: Any, numbers: list[int], plain: bool) -> Any:
    """A hashable form of parameters with the integers taken out, in order, into `numbers`.

    If `plain`, NumPy's integers are Python's: as an axis or an index np.int64(1) means 1. To a user's primitive
    they may be numbers to compute with, which have a dtype.
    """
    kind = type(value)
    if kind is int:
        numbers.append(value)
        return "#"
    if kind is Slot:
        return value
    if kind in (float, complex, bool):
        return kind.__name__, repr(value)  # -0.0 is not 0.0, and 1.0 is not True
    if kind is slice:
        return ("slice", *(_freeze(v, numbers, plain) for v in (value.start, value.stop, value.step)))
    if isinstance(value, (tuple, list)):
        return (kind.__name__, *(_freeze(v, numbers, plain) for v in value))
    if kind is dict:
        return tuple((k, _freeze(v, numbers, plain)) for k, v in value.items())
    if plain and isinstance(value, (np.integer, np.bool_)):
        return _freeze(value.item(), numbers, plain)
    if isinstance(value, np.generic):
        return "number", value.dtype.str, value.tobytes()
    if isinstance(value, np.ndarray):  # by its entries: it may be written to between two steps
        return ("array", value.shape, value.dtype.str, value.tobytes())
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def _kept(value: Any, plain: bool) -> Any:
    """Parameters as they are now, in case an array is written to; see `_freeze` for `plain`."""
    kind = type(value)
    if plain and isinstance(value, (np.integer, np.bool_)):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.copy()
    if kind is slice:
        return slice(*(_kept(v, plain) for v in (value.start, value.stop, value.step)))
    if kind is tuple or kind is list:
        return kind(_kept(v, plain) for v in value)
    return {k: _kept(v, plain) for k, v in value.items()} if kind is dict else value
