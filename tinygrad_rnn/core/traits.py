"""Traits: what is known of an operation beside its function and its derivatives.

The compiler, gradient flow, pictures and pages read them, so an operation is described in one place.
The defaults assume nothing: an operation without traits is called as it is, step by step, its result
may share an operand's memory, and a picture shows its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal

from ..errors import InputError
from ..escape import short, terminal

Shape = tuple[int, ...]
Attrs = Mapping[str, Any]
Lift = Callable[[Attrs, Sequence[Shape], Shape, int], Attrs | None]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What is known of an operation.

    In `formula` and `backward`, {0}, {1} stand for the operands, y for the result and g for its gradient.

    Attributes:
        elementwise: whether each entry of the result depends on one entry of each operand, as they broadcast, and
            the rules on the same entries, so that extra axes in front of `g` pass through them.
        alias: whether the result is "new" memory, a "view" of its first operand, or "either".
        moves: whether each entry of the result is an entry of an operand (moved, repeated, picked, joined) or a
            constant.
        linear: whether the result is linear in all operands together.
        bounds: an interval that every entry of the result is in, or None.
        lift: `lift(attrs, shapes, shape, length)` gives the attributes for operands stacked along a new first axis
            of that length, or None where there are none; see `lifted`.
        parts: the same by simpler operations, which the compiler writes in its place.
        flops: `flops(attrs, shapes, shape)` counts floating-point operations; see `cost`.
        symbol: what a picture writes for it, such as "σ"; by default its name.
        infix: whether the symbol stands between two operands.
        formula: the result in terms of the operands; by default made from the symbol.
        backward: for each operand the gradient that it is sent, before it is summed over broadcast axes.
    """

    elementwise: bool = False
    alias: Literal["new", "view", "either"] = "either"
    moves: bool = False
    linear: bool = False
    bounds: tuple[float, float] | None = None
    lift: Lift | None = None
    parts: Callable[..., Any] | None = None
    flops: Callable[[Attrs, Sequence[Shape], Shape], int] | None = None
    symbol: str = ""
    infix: bool = False
    formula: str = ""
    backward: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for template in (self.formula, *self.backward):
            if not all(field is None or field.isdigit() for field in _fields(template)):
                raise InputError(
                    f"Traits: got {short(template)}, expected {{0}}, {{1}} for operands and {{{{ for a brace"
                )

    def lifted(self, attrs: Attrs, shapes: Sequence[Shape], shape: Shape, length: int) -> Attrs | None:
        """The attributes with which one call does `length` calls at once, on operands stacked along a new first axis.

        The result is then stacked along its first axis too. Operands that broadcast need the result's number of axes
        before they are stacked; what is the same in all calls of an elementwise operation need not be stacked.

        Args:
            attrs: those of one call.
            shapes, shape: of the operands and of the result of one call.
            length: how many calls.

        Returns:
            None where one call cannot do it.
        """
        if self.elementwise:
            return attrs if all(len(each) == len(shape) for each in shapes) else None
        return None if self.lift is None else self.lift(attrs, shapes, shape, length)

    def cost(self, attrs: Attrs, shapes: Sequence[Shape], shape: Shape) -> int:
        """About how many floating-point operations one call takes; unless stated, one for each entry."""
        if self.flops is not None:
            return self.flops(attrs, shapes, shape)
        return 0 if self.moves else max(map(math.prod, (*shapes, shape)))

    def label(self, name: str) -> str:
        """What a picture writes for the operation called `name`."""
        return terminal(self.symbol or name.replace("_", " "))

    def describe(self, name: str, operands: Sequence[str]) -> str:
        """The operation called `name` applied to operands given as text."""
        if self.infix and len(operands) == 2:
            return f"{operands[0]} {self.label(name)} {operands[1]}"
        if self.formula:
            return terminal(self.formula.format(*operands))
        return f"{self.label(name)}({', '.join(operands)})"


def _fields(template: str) -> list[str | None]:
    """What stands in the braces of a template; None for text without."""
    try:
        return [field for _, field, _, _ in Formatter().parse(template)]
    except ValueError:  # a brace alone
        return [""]


NOTHING = Traits()
"""What is known of an operation that states nothing."""
