"""Region: a loop over time and what runs around it for all its steps, which become one piece of native code.

An input projection, the elementwise operations that only the loop needs, and the sums over time of what it makes
(gradients of weights, a loss) are taken in: what only the loop reads never reaches memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, cast

import numpy as np

from ...core.primitive import Primitive, primitives
from ..forms import tiles
from ..ir import NOW, Loop, Node, Read, Shift
from ..operations import contract, total
from ..vocabulary import uniform
from .functions import ELEMENTWISE

WRITTEN: dict[Primitive, Callable[..., str]] = {primitives[name]: write for name, write in ELEMENTWISE.items()}
"""How each elementwise operation of the table of calculus is written."""


class MisfitError(Exception):
    """Why a loop does not become native code."""


class Place(NamedTuple):
    """Where an operand stands in memory.

    source: a node of the region, or how one outside is read (`NOW` for all that have steps).
    delay: how many steps ago, or None if it does not change with time.
    column: where its columns begin; stride: numbers from one row to the next, 0 if all rows are the same one.
    single: whether each row is one number, for all columns.
    """

    source: Node | Read
    delay: int | None
    column: int
    stride: int
    single: bool = False


class Number(NamedTuple):
    """A number, or that of all entries of a constant; it is read from the table, as it may depend on the length."""

    source: Node | float

    @property
    def value(self) -> float:
        return float(self.source if isinstance(self.source, float) else uniform(self.source.value))  # type: ignore[arg-type]


Operand = float | Number | Place
"""A number, or what stands in memory or, if the same group has just computed it, in a register."""


class Multiply(NamedTuple):
    """result = start + rows of `a` times `weight`, which is (K, N), or its transpose, at the `steps` from .. to."""

    node: Node
    result: Node
    steps: tuple[int, int]
    a: Place
    weight: Read
    transposed: bool
    start: Place | None
    K: int
    N: int


@dataclass(eq=False)
class Task:
    """What is computed vector by vector: a node, or a piece of it.

    Attributes:
        node: what it belongs to.
        column: where in a joined array it begins.
        reads: its operands.
        width: how many columns it has.
        steps: the first and the last step that it is computed at.
        whole: whether it is the node itself, and no operand on its way into columns of a joined array, onto a sum over
            time, or onto that of its row.
    """

    node: Node
    column: int
    reads: list[Operand]
    width: int
    steps: tuple[int, int]
    whole: bool = False


Group = list[Task]
"""Tasks of one width and the same steps, computed in one loop over rows and columns."""


class Contract(NamedTuple):
    """node += the sum over steps and batch of a.T b."""

    node: Node
    a: Place
    b: Place


def own(node: Node) -> Place:
    """Where a node is written."""
    return Place(node, 0, 0, node.shape[-1] if node.shape else 1)


class Region:
    """A loop with `nodes` from around it, planned.

    Attributes:
        before: products for all steps at once.
        steps: what is done in a step, in this order.
        after: sums of products over all steps.
        kept: nodes that must be in memory: a "slab" of all steps for others, a "chunk" of steps, "two", or "one".
        initials: for each of these what stands for the steps before its first or after its last.

    Raises:
        MisfitError: some node or operand cannot be written.
    """

    def __init__(self, loop: Loop, nodes: Sequence[Node], readers: dict[Node, list[tuple[Node | None, Read]]]) -> None:
        self.loop, self.readers = loop, readers
        self.nodes = dict.fromkeys(nodes)  # in the order of the program, so that the text is the same every time
        self.lo, self.hi, self.reverse = loop.lo, loop.hi, loop.reverse
        shapes = {len(node.shape) for node in loop.nodes}
        dtypes = {node.dtype for node in loop.nodes}
        if shapes not in ({1}, {2}) or len(dtypes) != 1:
            raise MisfitError("its arrays are not all vectors, or all matrices, of one dtype")
        (self.ndim,), (self.dtype,) = shapes, dtypes
        if self.dtype.str not in ("<f4", "<f8"):
            raise MisfitError(f"its dtype is {self.dtype}")
        self.batch = loop.nodes[0].shape[0] if self.ndim == 2 else 1
        for node in nodes:
            self._accept(node)
        self.before: list[Multiply] = []
        self.steps: list[Multiply | Group] = []
        self.after = [Contract(n, *map(self._summed, n.args)) for n in nodes if n.primitive is contract]
        self._plan([t for n in nodes if n.primitive is not contract and not is_virtual(n) for t in self._tasks(n)])
        self.kept = self._kept()
        self.initials = {
            node: {t: 0.0 if start is None else self.look(start, node.shape[-1]) for t, start in node.initials.items()}
            for node in self.kept
        }

    # ------------------------------------------------------------------ what fits
    def _accept(self, node: Node) -> None:
        batch = node.shape[:-1] == ((self.batch,) if self.ndim == 2 else ())
        if node.rolled and (len(node.shape) != self.ndim or node.dtype != self.dtype or not batch):
            raise MisfitError(f"{node.operation} has shape {node.shape} of {node.dtype} in a batch of {self.batch}")
        if 0 in node.shape or self.batch == 0:
            raise MisfitError("an array is empty")
        if node.rolled and not known(node) and not (is_virtual(node) and node.args[0].node in self.nodes):
            raise MisfitError(f"{node.operation} has no native form")

    def look(self, a: Any, width: int) -> Operand:
        """An operand of a node with rows of that width."""
        if type(a) is not Read:
            if type(a) not in (int, float):
                raise MisfitError(f"a number of type {type(a).__name__}")
            return float(a) if float(4 * a).is_integer() else Number(float(a))
        node, delay, column = a.node, a.delay, 0
        if a.span is not None:
            raise MisfitError("an operand is many steps at once")
        shape = node.shape
        while is_virtual(node) and a.at is None:
            source = node.args[0]
            if (source.delay is None) != (delay is None) or source.at is not None or source.span is not None:
                break
            column += columns(node) or 0
            node, delay = source.node, None if delay is None else delay + source.delay
        return self._place(node, delay, column, shape, width, a)

    def _place(
        self, node: Node, delay: int | None, column: int, shape: tuple[int, ...], width: int, a: Read
    ) -> Operand:
        """Columns of a node, of that shape, as an operand for rows of some width."""
        if shape and (len(shape) > self.ndim or shape[-1] not in (1, width)):
            hint = "; a product W @ h is native as h @ W.T" if self.ndim == 1 < len(shape) else ""
            raise MisfitError(f"an operand of shape {shape} where rows have {width} columns{hint}")
        single = not shape or (shape[-1] == 1 and width != 1)
        many = self.ndim == 2 and len(shape) == 2 and shape[0] != 1
        if many and shape[0] != self.batch:
            raise MisfitError(f"an operand of shape {shape} in a batch of {self.batch}")
        stride = node.shape[-1] if many or (self.batch == 1 and delay is not None and shape) else 0
        if node in self.nodes:
            return Place(node, delay, column, stride, single)
        value = None if node.drawings or node.dtype != self.dtype else node.value
        if value is not None and uniform(value) is not None:
            return Number(node)
        if node.dtype != self.dtype and node.dtype != np.bool_:
            raise MisfitError(f"an operand of {node.dtype} among {self.dtype}")
        return Place(Read(node, a.when if delay is None else NOW), delay, column, stride, single)

    def _memory(self, a: Read) -> Place:
        """The same where it must be a row for each of the batch."""
        found = self.look(a, a.node.shape[-1])
        if not isinstance(found, Place) or found.single or (found.stride == 0 and self.batch > 1):
            raise MisfitError("a factor of a product is not a row for each of the batch")
        return found

    @staticmethod
    def held(node: Node) -> tuple[int, int]:
        """The first and the last step that a node has a result or an initial value at."""
        return min([node.lo, *node.initials]), max([node.hi, *node.initials])

    def span(self, read: Read) -> tuple[int, int]:
        """The steps of an array outside that may be read: those it has, around those of the loop."""
        (first, last), reach = self.held(read.node), 1 + self.hi - self.lo
        return max(first, self.lo - reach), min(last, self.hi + reach)

    # ------------------------------------------------------------------ the plan
    def _tasks(self, node: Node) -> list[Task]:
        """What is to be computed for a node: itself, or its pieces."""
        source = node if node.rolled else node.args[0].node
        if source.operation in ("scatter", "concatenate") and source in self.nodes:
            pieces = joined(source)
        elif not node.rolled:
            pieces = [(0, Read(source, NOW))]
        elif sums_rows(node):
            pieces = [(0, node.args[0])]
        else:
            return [Task(node, 0, self._operands(node), node.shape[-1], self.times(node), whole=True)]
        widths = [(column, a, a.node.shape[-1]) for column, a in pieces]
        return [Task(node, column, [self.look(a, n)], n, self.times(node)) for column, a, n in widths]

    def _operands(self, node: Node) -> list[Operand]:
        a, width = node.args[0], node.shape[-1]
        first = columns(node)
        if first is not None:  # a slice with initial values, which is copied
            return [self._place(a.node, a.delay, first, node.shape, width, a)]
        if node.operation in ("matmul", "power"):
            return [self._memory(a) if node.operation == "matmul" else self.look(a, width)]
        if node.operation == "where" and (type(a) is not Read or a.node.dtype != np.bool_):
            raise MisfitError("where with a mask that is not one of booleans")
        return [self.look(a, width) for a in node.args]

    def _plan(self, waiting: list[Task]) -> None:
        done: set[Node] = set()
        while waiting:
            ready = [task for task in waiting if all(_now(x) in {None, *done} for x in task.reads)]
            product = next((task.node for task in ready if task.node.operation == "matmul"), None)
            if product:
                made = self._product(product, done)
                at_once = isinstance(made.a.source, Read) and made.steps == (self.lo, self.hi)
                at_once = at_once and (made.start is None or made.start.delay is None)
                (self.before if at_once else self.steps).append(made)
                done |= {made.node, made.result}
                waiting = [task for task in waiting if task.node not in done]
            elif ready:
                group = _grouped(ready[0], waiting, done)
                self.steps.append(group)
                waiting = [task for task in waiting if task not in group]
                done |= {task.node for task in group} - {task.node for task in waiting}
            else:
                raise MisfitError("its operations depend on each other in a circle")

    def times(self, node: Node) -> tuple[int, int]:
        """The first and the last step that it is computed at."""
        if not node.rolled:
            return self.lo, self.hi
        return max(node.lo, self.lo), min(node.hi, self.hi)

    def _product(self, node: Node, done: set[Node]) -> Multiply:
        a, b = node.args
        if type(b) is not Read or b.delay is not None or b.span is not None or len(b.node.shape) != 2:
            raise MisfitError("a product by a matrix that changes with time")
        K, N = b.node.shape
        weight, transposed = b, False
        if b.node.operation == "transpose" and not b.node.rolled and type(b.node.args[0]) is Read:
            weight, transposed = b.node.args[0], True
        if weight.node.dtype != self.dtype or (self.ndim == 2 and len(a.node.shape) != 2):
            raise MisfitError("a product of other kinds of arrays")
        result, start = node, cast(Place | None, None)
        readers = self.readers[node]
        if len(readers) == 1 and not node.initials:  # a sum of the product and something is where its sums start
            reader, read = readers[0]
            sums = reader is not None and (reader.primitive is total or reader.operation == "add")
            if reader in self.nodes and sums and len(reader.args) == 2 and read.delay == 0:
                other = reader.args[1 - next(i for i, x in enumerate(reader.args) if x is read)]
                found = self.look(other, N)
                same = reader.shape == node.shape and self.times(reader) == self.times(node)
                if same and isinstance(found, Place) and not found.single and _now(found) in {None, *done}:
                    result, start = reader, found
        return Multiply(node, result, self.times(node), self._memory(a), weight, transposed, start, K, N)

    def _summed(self, read: Read) -> Place:
        """A factor of a sum over all steps of the loop: its place at a step."""
        assert read.span is not None
        delay = self.lo - read.span[0]
        if read.span != (self.lo - delay, self.hi - delay) or (read.node in self.nodes and delay):
            raise MisfitError("a sum over other steps")
        return self._memory(Read(read.node, Shift(delay)))

    # ------------------------------------------------------------------ memory
    def is_read_outside(self, node: Node) -> bool:
        """Whether it, or a slice of it, is read by others or returned."""
        return any(
            reader is None or reader not in self.nodes or (is_virtual(reader) and self.is_read_outside(reader))
            for reader, _ in self.readers[node]
        )

    def _stored(self) -> Iterator[tuple[Place, str]]:
        """What must be in memory for the statements, and how if it is read in the step in which it is computed."""
        for product in self.before:
            yield own(product.result), "chunk"
        for statement in self.steps:
            if isinstance(statement, Multiply):
                reads: list[Any] = [own(statement.result), statement.a, statement.start]
            else:
                registers = {own(task.node) for task in statement if task.whole}
                reads = [x for task in statement for x in task.reads if x not in registers]
            yield from ((x, "one") for x in reads if isinstance(x, Place))
        for summed in self.after:
            yield from ((x, "chunk") for x in (summed.a, summed.b))

    def _kept(self) -> dict[Node, str]:
        wanted: dict[Node, set[str]] = {node: set() for node in self.nodes}
        for place, how in self._stored():
            if isinstance(place.source, Node):
                delay = abs(place.delay or 0)
                wanted[place.source].add("slab" if delay > 1 else "two" if delay else how)
        found: dict[Node, str] = {}
        for node, needs in wanted.items():
            if needs and node.initials:  # one may be read at the very step that it stands for
                needs.add("two" if set(node.initials) == {node.hi + 1 if self.reverse else node.lo - 1} else "slab")
            if {"two", "chunk"} <= needs or self.is_read_outside(node):
                needs.add("slab")
            if needs and node.rolled and not is_virtual(node):
                found[node] = next(how for how in ("slab", "two", "chunk", "one") if how in needs)
        return found

    def cost(self) -> float:
        """About how many nanoseconds a row takes for a step."""
        products = [s for s in [*self.before, *self.steps] if isinstance(s, Multiply)]
        terms = sum(2 * m.K * m.N for m in products) + sum(2 * math.prod(c.node.shape) for c in self.after)
        slow = ("tanh", "sigmoid", "exp", "log")
        each = sum((0.3 if n.operation in slow else 0.05) * math.prod(n.shape[-1:]) for n in self.nodes)
        return terms / 100 + each


def _now(x: Operand) -> Node | None:
    """The node of the region whose result of this very step it is, if it is one's."""
    return x.source if isinstance(x, Place) and x.delay == 0 and isinstance(x.source, Node) else None


def _grouped(first: Task, waiting: Sequence[Task], done: set[Node]) -> Group:
    """A task, and as many of those that wait as can be computed with it."""
    group: Group = []
    registers: set[Operand] = set()
    alike = [t for t in waiting if (t.width, t.steps) == (first.width, first.steps) and t.node.operation != "matmul"]
    task: Task | None = first
    while task:
        alike.remove(task)
        group.append(task)
        if task.whole:
            registers.add(own(task.node))
        task = next((t for t in alike if all(x in registers or _now(x) in {None, *done} for x in t.reads)), None)
    return group


def columns(node: Node) -> int | None:
    """The first column, if the node is a slice of all rows' columns."""
    if node.operation != "getitem" or len(node.args) != 1 or any(slope for slope, _ in node.numbers):
        return None
    return _first_column(node.params["key"], node.args[0].node.shape)


def _first_column(key: Any, shape: tuple[int, ...]) -> int | None:
    """Where the columns begin that an index of an array of that shape picks, if it picks neighbours in all rows."""
    entries = list(key) if type(key) is tuple else [key]
    if Ellipsis in entries:
        at = entries.index(Ellipsis)
        entries[at : at + 1] = [slice(None)] * (len(shape) - len(entries) + 1)
    if len(entries) != len(shape) or not shape or any(type(e) is not slice for e in entries):
        return None
    if any(e.indices(n) != (0, n, 1) for e, n in zip(entries[:-1], shape, strict=False)):
        return None
    first, _, step = entries[-1].indices(shape[-1])
    return first if step == 1 else None


def is_virtual(node: Node) -> bool:
    """Whether it is such a slice, which whoever reads it takes from where it is."""
    return columns(node) is not None and not node.initials


def sums_rows(node: Node) -> bool:
    """Whether it is the sum or mean of each row, in a column."""
    if node.operation not in ("sum", "mean") or not node.rolled or not node.params["keepdims"]:
        return False
    return len(node.shape) == 2 and node.params["axis"] in (1, -1, (1,), (-1,))


def known(node: Node) -> bool:
    """Whether there is a native form of the very operation, not of one with the same name."""
    p = node.primitive
    if p in WRITTEN or p is total or node.operation in ("where", "matmul"):
        return True
    if node.operation == "power":
        return type(node.args[1]) in (int, float) and node.args[1] in (1, 2, 3)
    if node.operation in ("scatter", "concatenate"):
        return joined(node) != []
    return sums_rows(node) or node.operation == "broadcast_to" or (columns(node) is not None and bool(node.initials))


def joined(node: Node) -> list[tuple[int, Any]]:
    """The first column and the operand for each part of a joined array; empty if parts are no neighbours' columns."""
    if any(type(a) is not Read or not a.node.shape or a.span is not None for a in node.args):
        return []
    if node.operation == "concatenate":
        ends = list(accumulate(a.node.shape[-1] for a in node.args))
        last = node.params["axis"] in (-1, len(node.shape) - 1)
        return list(zip([0, *ends], node.args, strict=False)) if last else []
    if not tiles(node):
        return []
    found = [None if n else _first_column(key, node.shape) for key, n in node.params["parts"]]
    return [] if None in found else list(zip([c or 0 for c in found], node.args, strict=True))
