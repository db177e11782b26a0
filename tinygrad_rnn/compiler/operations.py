"""Operations: the unrolled program, in columns of numbers.

A sequence of a thousand steps is tens of thousands of operations, so what each one takes decides how
much memory compiling needs. What many have in common (their site, their parameters) is kept once.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..core.context import Draw
from ..core.primitive import Primitive
from ..core.tensor import Array
from ..core.traits import Traits


class Forward(NamedTuple):
    """The forward operation whose vjp rule recorded another, or whose gradient that is."""

    primitive: Primitive | None
    name: str | None


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


@dataclass(frozen=True)
class Drawing:
    """An array of random numbers that the loss function drew: from where, how, and of which shape."""

    rng: np.random.Generator
    draw: Draw
    shape: tuple[int, ...]


class Params(NamedTuple):
    """Parameters, which all operations with the same ones share; see `_freeze`."""

    values: Mapping[str, Any]
    frozen: Any
    numbers: tuple[int, ...]


NOWHEN = -1
"""Stands in the column of steps for what belongs to none."""


class Ops:
    """The operations of an unrolled program, by number: column by column, about 32 bytes for each instead of 300.

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
        self.drawings: list[Drawing] = []
        self.drawing_of: dict[int, int] = {}
        """For each random constant the number of its drawing."""
        self.sent_to: dict[int, str] = {}
        """For each site of messages back the name of the operand that they go to."""
        self.site_of, self.params_of, self.name_of = array("i"), array("i"), array("i")
        self.step = array("i")
        self.backward_of = array("i")
        self.by_rows = False
        """Whether no operation had a step: those of loops are told by the rows that they read."""
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

    def backward_from(self, n: int) -> Forward | None:
        """What operation n is the backward of."""
        of = self.backward_of[n]
        return None if of < 0 else Forward(self.site(of).primitive, self.name(of))


def _total(terms: Sequence[Array]) -> Array:
    y = terms[0]
    for term in terms[1:]:
        y = y + term
    return y


total = Primitive(
    _total,
    lambda g, y, terms: [g] * len(terms),
    "total",
    "The sum of all terms.",
    Traits(elementwise=True, alias="new", linear=True),
)
"""Not part of the table of calculus: only the compiler makes it."""


def _contract(operands: Sequence[Array]) -> Any:
    a, b = operands
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])


contract = Primitive(
    _contract,
    lambda g, y, xs: [None, None],
    "contract",
    "Sum of a.T @ b over all axes of a and b but their last.",
    Traits(alias="new", flops=lambda attrs, shapes, shape: 2 * math.prod(shapes[0][:-1]) * math.prod(shape)),
)
"""A sum over time of matrix products; the compiler makes it too."""
