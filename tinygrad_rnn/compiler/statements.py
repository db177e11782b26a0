"""Statements: the program as data, one line of source each, before it is text.

An `Array` is a name of the program and the memory behind it; an expression says what is read; a statement
says what is written where. Everything that a later pass must know stands in the fields: nothing is looked
for in text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

from ..core.primitive import Primitive
from .ir import Node, When


# ---------------------------------------------------------------------- memory
@dataclass(eq=False)
class Memory:
    """One allocation, and the arrays that show it one after another."""

    dtype: np.dtype[Any]
    size: int
    arrays: list[Array] = field(default_factory=list)


@dataclass(eq=False)
class Array:
    """What one name of the program stands for.

    Attributes:
        shape: of all of it.
        first: the step of its first row, where time is its first axis; None where it has no time.
        memory: the allocation behind it; None for an input, a constant, a view and what a call makes.
        nodes: those whose results it holds, one after another.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    first: int | None
    memory: Memory | None
    nodes: list[Node]

    @property
    def last(self) -> int:
        assert self.first is not None
        return self.first + self.shape[0] - 1


# ---------------------------------------------------------------------- expressions
@dataclass(frozen=True, slots=True)
class Leaf:
    """What `array` holds of the result of `node`: of all steps if it has time and `when` is WHOLE."""

    array: Array
    when: When
    node: Node


@dataclass(frozen=True, slots=True)
class Moving:
    """An index that moves with the steps: slope * t + start."""

    slope: int
    start: int


@dataclass(frozen=True, slots=True)
class Index:
    """of[key]; the entries of the key may be expressions or `Moving`."""

    of: Expr
    key: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A call, of a primitive, of a NumPy function by its name, or of a method (".sum"; ".T" is an attribute).

    Among the arguments, a list is a sequence of expressions, and everything but expressions is a parameter.
    """

    word: Primitive | str
    args: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """A value that has no text: it becomes a parameter of the program, called `wanted` if that is free."""

    value: Any
    wanted: str


DRAWN = "mask"
"""What random numbers are wanted to be called."""

Expr = Leaf | Index | Call | Given | int | float | complex | bool
"""What a statement reads; a Python number is itself."""


# ---------------------------------------------------------------------- statements
@dataclass
class Alloc:
    """Memory for the array, once for all calls; `zero` if its rows of initial values are zero and stay so."""

    array: Array
    zero: bool = False


@dataclass
class Rows:
    """The list of the rows of an array, in which [t] is that of step t: indexing it costs a fifth."""

    array: Array


@dataclass
class Assign:
    """The array is the value of an expression."""

    array: Array
    value: Expr
    node: Node


@dataclass
class Apply:
    """A call that writes into `out`."""

    out: Expr
    call: Call
    node: Node


@dataclass
class Copy:
    """Copy a value into `out`, all of it or `where` a mask is true; `cast` to whatever dtype `out` has."""

    out: Expr
    value: Expr
    node: Node
    where: Expr | None = None
    cast: bool = False


@dataclass
class Fill:
    """One number everywhere in `out`."""

    out: Expr
    number: Any
    node: Node


@dataclass
class Put:
    """Write a value into `out[key]`, add it there ("+="), or add it entry by entry, some of them twice ("at")."""

    out: Expr
    key: tuple[Any, ...]
    value: Expr
    how: str
    node: Node


Line = Assign | Apply | Copy | Fill | Put
"""What a loop may hold."""


@dataclass
class Within:
    """A statement of a loop, and the steps at which it runs."""

    lo: int
    hi: int
    statement: Line


@dataclass
class For:
    """A loop over time; on one BLAS thread, where its products are too small to share."""

    lo: int
    hi: int
    reverse: bool
    body: list[Within]
    one_thread: bool


Statement = Alloc | Rows | For | Line


@dataclass
class Code:
    """The program: what is done once, what is done at every call, and what a call returns.

    Attributes:
        inputs: the arrays that a call is given.
        drawn: the random numbers of a call, and the constants that they go to; see `drawn.Run`.
        most: floating-point operations of the largest matrix product; at any sizes, for each unit of their product.
    """

    inputs: list[Array]
    setup: list[Statement]
    body: list[Statement]
    results: list[Expr]
    drawn: list[Any]
    most: float


E = TypeVar("E", Leaf, Call)


def every(kind: type[E], x: Any) -> Iterator[E]:
    """The leaves or the calls in an expression, a key or a statement, from left to right."""
    if type(x) is kind:
        yield x
    if isinstance(x, (tuple, list)):
        for each in x:
            yield from every(kind, each)
    else:
        for name in _PARTS.get(type(x), ()):
            yield from every(kind, getattr(x, name))


def leaves(x: Any) -> Iterator[Leaf]:
    """What an expression, a key or a statement reads and writes."""
    return every(Leaf, x)


_PARTS: dict[type, tuple[str, ...]] = {slice: ("start", "stop", "step")} | {
    each: tuple([part.name for part in fields(each) if part.name != "node"])
    for each in (Index, Call, Alloc, Rows, Assign, Apply, Copy, Fill, Put, Within, For)
}
"""The fields of each kind that may hold expressions."""
