"""Rewrite: bring a rolled program into the form in which distributing its loops pays.

Nested sums become one, what a recurrent sum (or product) takes from outside the recurrence is added up
(or multiplied) beforehand, and a sum over time of matrix products becomes one product over time and batch.
Every rewrite changes results by rounding at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.primitive import Primitive
from ..ops import add, astype, matmul, multiply, subtract
from ..ops import sum as sum_
from .operations import Op, total
from .reroll import Ref, Unit


def _contract(operands: Sequence[Any]) -> Any:
    a, b = operands
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])


contract = Primitive(
    _contract, lambda g, y, xs: [None, None], "contract", "Sum of a.T @ b over all axes of a and b but their last."
)


class Program:
    """The units of a rolled program, and how its results are read, while they are being rewritten."""

    def __init__(self, units: list[Unit], results: list[Ref]) -> None:
        self.units, self.results = units, results

    def readers(self) -> dict[Unit, list[tuple[Unit | None, Ref]]]:
        """Who reads each unit, and how; None stands for the results."""
        found: dict[Unit, list[tuple[Unit | None, Ref]]] = {unit: [] for unit in self.units}
        for unit in self.units:
            for ref in unit.refs:
                found[ref.unit].append((unit, ref))
        for ref in self.results:
            found[ref.unit].append((None, ref))
        return found

    def replace(self, change: Callable[[Ref], Ref]) -> None:
        """Let everybody read something else."""
        for unit in self.units:
            unit.args = [change(a) if type(a) is Ref else a for a in unit.args]
            unit.initials = {t: r if r is None else change(r) for t, r in unit.initials.items()}
        self.results = [change(ref) for ref in self.results]

    def put(self, unit: Unit, instead: Ref) -> None:
        """Let everybody read `instead` of a unit."""
        self.replace(lambda ref: instead if ref.unit is unit else ref)

    def drop_unused(self) -> None:
        used: set[Unit] = set()
        stack = [ref.unit for ref in self.results]
        while stack:
            unit = stack.pop()
            if unit not in used:
                used.add(unit)
                stack.extend(ref.unit for ref in unit.refs)
        self.units = [
            u for u in self.units if u in used or (u.primitive is None and u.op.value is None and not u.rolled)
        ]

    def fold_constants(self) -> None:
        """Compute what depends on constants alone now."""
        for unit in sorted((u for u in self.units if not u.rolled and u.primitive), key=lambda u: u.order):
            values = [_constant_value(a) for a in unit.args]
            if any(v is None for v in values) or math.prod(unit.shape) > 4096:
                continue
            made = _made(total, unit, rolled=False)
            p = unit.primitive
            assert p is not None
            y = p.function(*values, **unit.params) if p.variadic is None else p.function(values, **unit.params)
            made.op.value = np.array(y, unit.dtype)
            made.op.primitive = made.primitive = None
            made.op.params = {}
            self.units.append(made)
            self.put(unit, Ref(made))
        self.drop_unused()

    def single_terms(self) -> None:
        """A sum of one term is that term."""
        for unit in self.units:
            if unit.primitive is total and len(unit.args) == 1 and not unit.initials and unit.args[0].span is None:
                source = unit.args[0]
                if unit.op.name and source.unit.op.name is None:
                    source.unit.op.name = unit.op.name

                def through(ref: Ref, unit: Unit = unit, source: Ref = source) -> Ref:
                    if ref.unit is not unit:
                        return ref
                    if source.delay is None:
                        return ref if ref.span is not None else source
                    if ref.delay is not None:
                        return Ref(source.unit, delay=ref.delay + source.delay)
                    if ref.span is not None:
                        return Ref(source.unit, span=(ref.span[0] - source.delay, ref.span[1] - source.delay))
                    assert ref.at is not None
                    return Ref(source.unit, at=ref.at - source.delay)

                self.replace(through)

    def casts(self) -> None:
        """A mask that is added to, subtracted from or multiplied by numbers need not become numbers first.

        Two masks must: their sum is "or", and they have no difference.
        """
        readers = self.readers()
        for unit in self.units:
            if unit.primitive is not astype or unit.initials or unit.args[0].unit.dtype != np.bool_:
                continue
            source = unit.args[0]
            if all(
                reader is not None
                and reader.primitive in (add, subtract, multiply)
                and reader.dtype == unit.dtype
                and sum(type(a) is Ref and a.unit is unit for a in reader.args) == 1
                and all(
                    type(a) is float
                    or (type(a) is Ref and (a.unit is unit or (a.unit.dtype == unit.dtype and not _of_mask(a.unit))))
                    for a in reader.args
                )
                and unit.dtype.kind == "f"
                and (ref.delay == 0 or not unit.rolled)
                for reader, ref in readers[unit]
            ):
                self.put(unit, source)

    def running_sums(self) -> None:
        """`loss = loss + l_t`, of which only the end is read, is the sum of all l_t."""
        readers = self.readers()
        for unit in self.units:
            if unit.primitive is not add or not unit.rolled or len(unit.initials) != 1:
                continue
            own = [a for a in unit.args if type(a) is Ref and a.unit is unit]
            others = [a for a in unit.args if type(a) is not Ref or a.unit is not unit]
            if len(own) != 1 or len(others) != 1 or own[0].delay not in (1, -1):
                continue
            last, before = (unit.hi, unit.lo - 1) if own[0].delay == 1 else (unit.lo, unit.hi + 1)
            start = unit.initials.get(before)
            term = others[0]
            outside = [ref for reader, ref in readers[unit] if reader is not unit]
            if any(ref.at != last for ref in outside) or type(term) is not Ref or term.delay is None or start is None:
                continue
            if term.unit.shape != unit.shape or term.unit.dtype != unit.dtype:
                continue
            sum_unit = _made(total, unit, rolled=False)
            sum_unit.args = [start, Ref(term.unit, span=(unit.lo - term.delay, unit.hi - term.delay))]
            self.units.append(sum_unit)
            self.put(unit, Ref(sum_unit))
            unit.args, unit.initials = [], {}

    def flatten_sums(self) -> None:
        """A sum of sums is one sum, where nobody else reads the inner one."""
        readers = self.readers()
        for unit in sorted(self.units, key=lambda u: u.order):
            if not _is_sum(unit):
                continue
            terms: list[Any] = []
            for a in unit.args:
                inner = a.unit if type(a) is Ref else None
                if (
                    inner is not None
                    and _is_sum(inner)
                    and len(readers[inner]) == 1
                    and not inner.initials
                    and (inner.shape, inner.dtype) == (unit.shape, unit.dtype)
                    and inner.rolled == unit.rolled
                    and (not unit.rolled or (a.delay == 0 and inner.lo <= unit.lo and inner.hi >= unit.hi))
                    and (unit.rolled or a == Ref(inner))
                ):
                    terms.extend(inner.args)
                else:
                    terms.append(a)
            if len(terms) > len(unit.args):
                unit.primitive, unit.args = total, _joined(terms, unit)

    def sums_over_time(self) -> None:
        """The sum over time of h_t.T @ dz_t is one product; that of sum(dz_t, axis=0) is one sum."""
        readers = self.readers()
        for unit in [u for u in self.units if u.primitive is total and not u.rolled]:
            terms: list[Any] = []
            for a in unit.args:
                merged = None
                if type(a) is Ref and a.span is not None and (a.unit.primitive is sum_ or len(readers[a.unit]) == 1):
                    first, last = sorted(a.span)
                    if a.unit.lo <= first and last <= a.unit.hi:
                        merged = _merged(a.unit, first, last)
                if merged is None:
                    terms.append(a)
                else:
                    self.units.append(merged)
                    terms.append(Ref(merged))
            if len(terms) == 1 and terms[0] != unit.args[0]:
                new = terms[0].unit
                new.op = unit.op
                self.put(unit, Ref(new))
            unit.args = terms

    def transposes(self) -> None:
        """A transpose of a transpose is nothing; that of the sum of a.T @ b is the sum of b.T @ a."""
        readers = self.readers()
        for unit in sorted((u for u in self.units if _transposes(u)), key=lambda u: u.order):
            inner = unit.args[0].unit
            if _transposes(inner):
                self.put(unit, inner.args[0])
            elif inner.primitive is contract and len(readers[inner]) == 1:
                unit.primitive, unit.params, unit.args = contract, {}, inner.args[::-1]
                unit.numbers = []

    def same_sums(self) -> None:
        """What is added up twice, such as the gradient of two biases, is added up once."""
        known: dict[Any, Unit] = {}
        for unit in self.units:
            if not unit.rolled and unit.primitive in (sum_, total):
                key = (unit.primitive, tuple(unit.args), tuple(unit.params.items()), unit.shape)
                first = known.setdefault(key, unit)
                if first is not unit:
                    self.put(unit, Ref(first))

    def sum_beforehand(self, circle: dict[Unit, int]) -> None:
        """Add up outside the loop what a sum inside it does not need the loop for."""
        for unit in [u for u in self.units if _is_sum(u) and u in circle]:
            inner, outer = _inside(unit, circle)
            for a in inner:
                if a.delay and a.unit.op.name is None and unit.op.name is not None:
                    a.unit.op.name = f"{unit.op.name}_{'next' if a.delay < 0 else 'last'}"
            if len(unit.args) < 3:
                continue
            if any(type(a) is not Ref or a.unit.dtype != unit.dtype for a in outer):
                continue
            fixed = [a for a in outer if a.delay is None]
            if len(fixed) > 1:
                biases = self.made(total, unit, fixed, rolled=False)
                outer = [*(a for a in outer if a.delay is not None), Ref(biases)]
            if len(outer) < 2:
                unit.primitive, unit.args = total, [*inner, *outer]
                continue
            before = self.made(total, unit, outer, rolled=True)
            before.op.name = None if unit.op.name is None else f"{unit.op.name}_given"
            unit.primitive, unit.args = total, [*inner, Ref(before, delay=0)]

    def multiply_beforehand(self, circle: dict[Unit, int]) -> None:
        """Multiply outside the loop what a product inside it does not need the loop for.

        dh * tanh(c) * o * (1 - o) then costs one multiplication a step: the gate's derivative is ready.
        """
        readers = self.readers()
        for unit in sorted((u for u in self.units if u.primitive is multiply), key=lambda u: -u.order):
            if unit not in circle:
                continue
            factors, chain = list(unit.args), [unit]
            while True:
                inner, outer = _inside(unit, circle, factors)
                if len(inner) != 1 or inner[0].delay != 0 or inner[0].unit.initials:
                    break
                product = inner[0].unit
                if product.primitive is not multiply or len(readers[product]) != 1 or product.shape != unit.shape:
                    break
                factors = [*product.args, *outer]
                chain.append(product)
            inner, outer = _inside(unit, circle, factors)
            if len(chain) < 2 or len(inner) != 1 or len(outer) < 2:
                continue
            if any(type(a) is not Ref or a.delay is None or (a.unit.shape, a.unit.dtype) != (unit.shape, unit.dtype)
                   for a in outer):  # fmt: skip
                continue
            made = outer[0]
            for factor in outer[1:]:
                made = Ref(self.made(multiply, unit, [made, factor], rolled=True), delay=0)
                made.unit.op.name = None
            unit.args = [inner[0], made]

    def made(self, primitive: Primitive, like: Unit, args: list[Any], rolled: bool) -> Unit:
        """A new unit in the place of another, with operands of its own."""
        unit = _made(primitive, like, rolled)
        shapes = [a.unit.shape for a in args if type(a) is Ref]
        unit.shape, unit.args = np.broadcast_shapes(*shapes), args
        unit.op.name = None
        self.units.append(unit)
        return unit


def _inside(unit: Unit, circle: dict[Unit, int], args: Sequence[Any] | None = None) -> tuple[list[Ref], list[Any]]:
    """The operands that belong to the same recurrence, and the others."""
    args = unit.args if args is None else args
    inner = [a for a in args if type(a) is Ref and circle.get(a.unit) == circle[unit]]
    return inner, [a for a in args if a not in inner]


def _transposes(unit: Unit) -> bool:
    """Whether it swaps the axes of a matrix that does not change with time."""
    p = unit.primitive
    return (
        p is not None
        and p.name == "transpose"
        and not unit.rolled
        and len(unit.shape) == 2
        and (unit.params["axes"] in (None, (1, 0), [1, 0]) and unit.args[0] == Ref(unit.args[0].unit))
    )


def _constant_value(x: Any) -> Any:
    """The value of an operand that is known now, else None."""
    if type(x) is not Ref:
        return x
    known = x.unit.primitive is None and not x.unit.rolled and not x.unit.drawings and x == Ref(x.unit)
    return x.unit.op.value if known else None


def _joined(terms: list[Any], unit: Unit) -> list[Any]:
    """The terms of a sum without zeros, and with single steps next to a span taken into it."""
    full = [a for a in terms if type(a) is Ref and a.unit.shape == unit.shape]
    terms = [a for a in terms if type(a) is Ref or a != 0 or not full]
    for i, a in enumerate(terms):
        if type(a) is Ref and a.span is not None:
            first, last = sorted(a.span)
            while (before := Ref(a.unit, at=first - 1)) in terms:
                terms[terms.index(before)], first = 0, first - 1
            while (after := Ref(a.unit, at=last + 1)) in terms:
                terms[terms.index(after)], last = 0, last + 1
            terms[i] = Ref(a.unit, span=(first, last))
    return [a for a in terms if type(a) is Ref or a != 0] or terms


def _of_mask(unit: Unit) -> bool:
    """Whether it is a mask as numbers, which may be replaced by the mask."""
    return unit.primitive is astype and type(unit.args[0]) is Ref and unit.args[0].unit.dtype == np.bool_


def _is_sum(unit: Unit) -> bool:
    return unit.primitive is add or unit.primitive is total


def _made(primitive: Primitive, like: Unit, rolled: bool) -> Unit:
    """A unit that the compiler makes, in the place of another."""
    op = Op()
    for slot in Op.__slots__:
        setattr(op, slot, getattr(like.op, slot))
    op.primitive, op.params, op.numbers = primitive, {}, ()
    return Unit(op, like.order, rolled, like.lo, like.hi if rolled else like.lo)


def _over(ref: Any, first: int, last: int) -> Ref:
    """What a unit with steps first..last reads, as one array with time first."""
    return Ref(ref.unit, span=(first - ref.delay, last - ref.delay))


def _merged(unit: Unit, first: int, last: int) -> Unit | None:
    """One unit for the sum of `unit` over its steps, if there is a better way than adding them up."""
    if unit.primitive is matmul and len(unit.shape) == 2:
        a, b = unit.args
        if type(a) is Ref and type(b) is Ref and a.delay is not None and b.delay is not None:
            left = _untransposed(a)
            if left is not None and len(b.unit.shape) == 2:
                new = _made(contract, unit, rolled=False)
                new.args = [_over(left, first, last), _over(b, first, last)]
                return new
    if unit.primitive is multiply and len(unit.shape) == 2 and unit.dtype.kind == "f":
        a, b = (_expanded(x) for x in unit.args)
        if a is not None and b is not None and (a[1], b[1]) in ((1, 0), (0, 1)):
            left, right = (a[0], b[0]) if a[1] == 1 else (b[0], a[0])
            new = _made(contract, unit, rolled=False)
            new.args = [_over(left, first, last), _over(right, first, last)]
            return new
    if unit.primitive is sum_:
        (x,) = unit.args
        if type(x) is Ref and x.delay is not None:
            axis, keepdims = unit.params["axis"], unit.params["keepdims"]
            ndim = len(x.unit.shape)
            axes = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
            if not keepdims:
                new = _made(sum_, unit, rolled=False)
                new.params = {"axis": (0, *(i % ndim + 1 for i in axes)), "keepdims": False}
                new.args = [_over(x, first, last)]
                return new
    return None


def _untransposed(ref: Ref) -> Ref | None:
    """What `ref` is the transpose of, if it is one of a matrix."""
    unit = ref.unit
    if unit.primitive is None or unit.primitive.name != "transpose" or len(unit.shape) != 2 or unit.initials:
        return None
    if unit.params["axes"] not in (None, (1, 0), [1, 0]):
        return None
    (x,) = unit.args
    if type(x) is not Ref or x.delay is None or ref.delay is None:
        return None
    return Ref(x.unit, delay=x.delay + ref.delay)


def _expanded(ref: Any) -> tuple[Ref, int] | None:
    """The vector behind a (n, 1) or (1, n) view of it, and which axis was inserted."""
    if type(ref) is not Ref or ref.delay is None or ref.unit.primitive is None or ref.unit.initials:
        return None
    unit, name = ref.unit, ref.unit.primitive.name
    if name not in ("expand_dims", "reshape") or len(unit.shape) != 2 or 1 not in unit.shape:
        return None
    (x,) = unit.args
    if type(x) is not Ref or x.delay is None or len(x.unit.shape) != 1:
        return None
    return Ref(x.unit, delay=x.delay + ref.delay), 1 if unit.shape[1] == 1 else 0
