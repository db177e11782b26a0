"""IR: the rolled program as data, between the recorded trace and the source.

A `Node` is one operation, at one step of a time domain or at none. A `Read` is how a node looks at another:
which one, and when. A `Loop` is a run of nodes that go step by step; a `Program` is loops and nodes in an order in
which they can run. `check` proves that order and every read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..core.primitive import Primitive
from ..core.tensor import Array
from .operations import Drawing, Ops


# ---------------------------------------------------------------------- how a read looks at time
@dataclass(frozen=True, slots=True)
class Whole:
    """The only result of a node that runs once."""


@dataclass(frozen=True, slots=True)
class At:
    """Always the result of that one step."""

    step: int


@dataclass(frozen=True, slots=True)
class Shift:
    """At step t, the result of step t - delay: of the step before if it is 1, of the one after if it is -1."""

    delay: int


@dataclass(frozen=True, slots=True)
class Span:
    """The results of all steps from `first` to `last`, as one array with time first; backwards if last < first."""

    first: int
    last: int


When = Whole | At | Shift | Span

WHOLE, NOW = Whole(), Shift(0)


class Read(NamedTuple):
    """What a node reads: another node, and when. `delay`, `at` and `span` are None unless it looks that way."""

    node: Node
    when: When = WHOLE

    @property
    def delay(self) -> int | None:
        return self.when.delay if type(self.when) is Shift else None

    @property
    def at(self) -> int | None:
        return self.when.step if type(self.when) is At else None

    @property
    def span(self) -> tuple[int, int] | None:
        return (self.when.first, self.when.last) if type(self.when) is Span else None

    def seen(self, when: When) -> Read:
        """What this operand of a node is, where the node is looked at in that way."""
        match self.when, when:
            case Shift(d), At(step):
                return Read(self.node, At(step - d))
            case Shift(d), Span(first, last):
                return Read(self.node, Span(first - d, last - d))
            case Shift(d), Shift(delay):
                return Read(self.node, Shift(delay + d))
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is read; of a span, with time first."""
        rows = (abs(self.when.last - self.when.first) + 1,) if type(self.when) is Span else ()
        return (*rows, *self.node.shape)


# ---------------------------------------------------------------------- operations
class Node:
    """One operation: it runs once, or where it is `rolled`, once for each step from `lo` to `hi`.

    Attributes:
        primitive: None for an input (a parameter or a batch array) and for a constant.
        params: the primitive's parameters.
        args: a Read or a Python scalar for each operand.
        numbers: for each integer among the parameters `(a, b)`, meaning a * t + b.
        initials: what a step outside lo..hi holds: a Read, or None for zeros.
        shape, dtype: of the result of one step.
        value: of a constant, its array; with time first where it changes from step to step.
        drawings: of a random constant, the number of its drawing; one for each row, or None, where it is rolled.
        name, scope: the variable it was assigned to, and the scope that was open there.
        backward_of: the forward operation that it belongs to, if it is of the backward pass.
        sent_to: the name of the operand whose gradient it is part of, if that has one.
        order: its place in the program as it was recorded.
    """

    def __init__(self, ops: Ops, n: int, order: float, domain: tuple[int, int] | None = None) -> None:
        _, self.primitive, self.shape, self.dtype, self.scope = ops.site(n)
        self.params, _, numbers = ops.params[ops.params_of[n]]
        self.args: list[Any] = []
        self.numbers: list[tuple[int, int]] = [(0, number) for number in numbers]
        self.initials: dict[int, Read | None] = {}
        self.value = ops.values.get(n)
        self.drawings: list[int | None] = [ops.drawing_of[n]] if n in ops.drawing_of else []
        self.name, self.backward_of = ops.name(n), ops.backward_from(n)
        self.sent_to, self.order = ops.sent_to.get(ops.site_of[n]), order
        self.rolled = domain is not None
        self.lo, self.hi = domain or (0, 0)

    def like(self, primitive: Primitive | None, args: list[Any], rolled: bool, value: Array | None = None) -> Node:
        """A new node that the compiler makes in the place of this one, for the same steps or to run once."""
        new = Node.__new__(Node)
        new.__dict__.update(self.__dict__)
        new.primitive, new.params, new.args, new.numbers = primitive, {}, args, []
        new.initials, new.drawings, new.value, new.rolled, new.sent_to = {}, [], value, rolled, None
        if not rolled:
            new.lo = new.hi = 0
        return new

    @property
    def operation(self) -> str:
        """The name of its primitive; empty for an input or a constant."""
        return self.primitive.name if self.primitive else ""

    @property
    def is_input(self) -> bool:
        return self.primitive is None and self.value is None

    @property
    def steps(self) -> int | None:
        """How many steps it runs at, or None if it runs once."""
        return self.hi - self.lo + 1 if self.rolled else None

    @property
    def reads(self) -> Iterator[Read]:
        """What it reads, initial values included."""
        yield from (a for a in self.args if type(a) is Read)
        yield from (r for r in self.initials.values() if r is not None)

    def holds(self, step: int) -> bool:
        """Whether it has a result at that step, or an initial value there."""
        return self.rolled and (self.lo <= step <= self.hi or step in self.initials)

    @property
    def starts_from_zeros(self) -> bool:
        """Whether it has initial values, and all of them are zero."""
        return bool(self.initials) and all(
            read is None or (read.node.value is not None and not read.node.drawings and _is_zero(read.node.value))
            for read in self.initials.values()
        )

    def __repr__(self) -> str:
        kind = self.operation or ("input" if self.is_input else "constant")
        return f"<{kind} {self.name or ''} {f'{self.lo}..{self.hi}' if self.rolled else ''}>"


def _is_zero(value: Array) -> bool:
    return not np.frombuffer(value.tobytes(), np.uint8).any()  # -0.0 is not 0.0


@dataclass
class Loop:
    """Nodes that run step by step, in this order within a step; `reverse` from the last step to the first."""

    nodes: list[Node]
    reverse: bool

    @property
    def lo(self) -> int:
        return min(node.lo for node in self.nodes)

    @property
    def hi(self) -> int:
        return max(node.hi for node in self.nodes)


Part = Loop | Node
"""A piece of the schedule: a loop, or a node that runs once (a rolled one for all its steps at once)."""


def nodes_of(part: Part) -> Sequence[Node]:
    return part.nodes if isinstance(part, Loop) else [part]


@dataclass
class Program:
    """Parts in the order in which they run, the reads that are the results, and the inputs in the caller's order.

    `drawings` are the random numbers that a call draws, in this order.
    """

    schedule: list[Part]
    results: list[Read]
    inputs: list[Node]
    drawings: list[Drawing] = field(default_factory=list)

    @property
    def nodes(self) -> Iterator[Node]:
        """Every node, in the order of the schedule."""
        for part in self.schedule:
            yield from nodes_of(part)


Readers = dict[Node, list[tuple[Node | None, Read]]]
"""Who reads each node, and how; None stands for the results."""


def readers_of(nodes: Iterable[Node], results: Iterable[Read]) -> Readers:
    found: Readers = {node: [] for node in nodes}
    for node in found:
        for read in node.reads:
            found[read.node].append((node, read))
    for read in results:
        found[read.node].append((None, read))
    return found


# ---------------------------------------------------------------------- proof
class CheckError(Exception):
    """A program that is not well formed: a bug of the compiler's, found before the program runs."""


def check(program: Program) -> None:
    """Prove that every read finds what it looks for, there and by then.

    A read must suit its source (`Whole` for what runs once, the others for what runs step by step), stay among the
    steps that the source has (initial values included), and come after what it reads: in an earlier part, or in the
    same loop earlier in the step or in a step that the loop has passed.

    Raises:
        CheckError: it does not.
    """
    part_of = {node: i for i, part in enumerate(program.schedule) for node in nodes_of(part)}
    place = {node: j for part in program.schedule for j, node in enumerate(nodes_of(part))}
    for node in part_of:
        for read in node.reads:
            if read.node not in part_of:
                raise CheckError(f"{node} reads {read.node}, which is not in the program")
            _check_time(node, read)
            part = program.schedule[part_of[node]]
            if part_of[read.node] < part_of[node]:
                continue
            delay = read.delay
            if part_of[read.node] > part_of[node] or not isinstance(part, Loop) or delay is None:
                raise CheckError(f"{node} reads {read.node} before it is computed")
            if delay == 0 and place[read.node] >= place[node]:
                raise CheckError(f"{node} reads {read.node} earlier in the step than it is computed")
            if delay and (delay < 0) != part.reverse:
                raise CheckError(f"{node} reads {read.node} of a step that the loop has not reached")
        for step, start in node.initials.items():
            if not node.rolled or node.lo <= step <= node.hi:
                raise CheckError(f"{node} has an initial value at its own step {step}")
            if start is not None and (start.delay is not None or start.span is not None):
                raise CheckError(f"the initial value of {node} at step {step} is not one step's result")
            if start is not None and (start.node.shape, start.node.dtype) != (node.shape, node.dtype):
                raise CheckError(f"the initial value of {node} at step {step} is another kind of array")
    for read in program.results:
        if read.node not in part_of or read.delay is not None:
            raise CheckError(f"a result reads {read.node}, which is not in the program, or at no step")
        _check_time(None, read)


def _check_time(node: Node | None, read: Read) -> None:
    source = read.node
    match read.when:
        case Whole():
            found = not source.rolled
        case At(step):
            found = source.holds(step)
        case Span(first, last):
            found = source.holds(first) and source.holds(last)
            found = found and all(source.holds(t) for t in range(min(first, last), source.lo))
            found = found and all(source.holds(t) for t in range(source.hi + 1, max(first, last) + 1))
        case Shift(delay):
            assert node is not None
            first, last = node.lo - delay, node.hi - delay
            found = node.rolled and all(source.holds(t) for t in range(first, min(source.lo, last + 1)))
            found = found and all(source.holds(t) for t in range(max(source.hi + 1, first), last + 1))
    if not found:
        raise CheckError(f"{node or 'a result'} reads {source} at {read.when}, where it has no result")
