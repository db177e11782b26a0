"""Sizes: one program for every length, from the programs of a few lengths.

The statements of programs of the same loss function at several sizes are walked side by side. What is equal
stays; integers that differ must be one polynomial of the sizes, with whole coefficients, at every one of them;
a number that comes with the sizes, as in a mean, is a multiple or a fraction of one. Anything else that differs
means that there is no such program.
"""

from __future__ import annotations

import fractions
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np

from .ir import Node
from .statements import DRAWN, Array, Code, For, Given, Memory

Point = Mapping[str, int]
Monomial = tuple[str, ...]


class NotGeneralError(Exception):
    """The programs differ in something that is no function of the sizes."""


class Size:
    """An integer that is a polynomial of named sizes: 2*T*B + 1.

    Two are compared for all sizes from the smallest known on; where that depends on the sizes, it is an error.
    """

    def __init__(self, terms: Mapping[Monomial, int], points: Sequence[Point]) -> None:
        self.terms = {m: c for m, c in terms.items() if c}
        self.points = points

    def at(self, sizes: Point) -> int:
        return sum(c * math.prod(sizes[name] for name in m) for m, c in self.terms.items())

    def __add__(self, other: Any) -> Size:
        terms = dict(self.terms)
        for m, c in (other.terms if isinstance(other, Size) else {(): int(other)}).items():
            terms[m] = terms.get(m, 0) + c
        return Size(terms, self.points)

    def __sub__(self, other: Any) -> Size:
        return self + other * -1

    def __mul__(self, other: Any) -> Size:
        found: dict[Monomial, int] = {}
        for n, d in (other.terms if isinstance(other, Size) else {(): int(other)}).items():
            for m, c in self.terms.items():
                monomial = tuple(sorted((*m, *n)))
                found[monomial] = found.get(monomial, 0) + c * d
        return Size(found, self.points)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Any) -> Size:
        return self * -1 + other

    def __neg__(self) -> Size:
        return self * -1

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Size, int)):
            return NotImplemented
        return not (self - other).terms

    def __hash__(self) -> int:
        constant = self.terms.get((), 0)
        return hash(constant if set(self.terms) <= {()} else frozenset(self.terms.items()))

    def _holds(self, test: Callable[[int, int], bool]) -> bool:
        """Whether it is so (compared with 0) at every size from the smallest known on, or at none."""
        found = {test(self.at(point), 0) for point in self.points}
        grows = {c > 0 for m, c in self.terms.items() if m}
        if len(found) > 1 or grows - found:
            raise NotGeneralError(f"how {self} compares with 0 depends on the sizes")
        return found.pop()

    def __lt__(self, other: Any) -> bool:
        return not self >= other

    def __gt__(self, other: Any) -> bool:
        return (self - other)._holds(operator.gt)

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __ge__(self, other: Any) -> bool:
        return (self - other)._holds(operator.ge)

    def __abs__(self) -> Size:
        return self if self >= 0 else -self

    def __repr__(self) -> str:
        text = ""
        for m, c in sorted(self.terms.items(), key=lambda term: (-len(term[0]), term[0])):
            factors = "*".join(([str(abs(c))] if abs(c) != 1 or not m else []) + list(m))
            text += f"{' - ' if c < 0 else ' + '}{factors}" if text else f"{'-' if c < 0 else ''}{factors}"
        return text or "0"


@dataclass(frozen=True)
class Fraction:
    """A number that comes with the sizes, such as 2 / (T*B): number * above / below, rounded to float32 if `single`."""

    number: float
    above: Size | int
    below: Size | int
    single: bool = False

    def __repr__(self) -> str:
        text = f"{self.number!r}*{self.above!r}" if isinstance(self.above, Size) else repr(self.number)
        if isinstance(self.below, Size):
            below = repr(self.below)
            text = f"{text} / {below if below.isidentifier() else f'({below})'}"
        return f"float(float32({text}))" if self.single else text


def at(size: Size | int, point: Point) -> int:
    """A size as a number."""
    return size.at(point) if isinstance(size, Size) else size


def _constant(numbers: Sequence[float], single: bool) -> float | None:
    """The number that all of these are but for rounding: a whole one if it can be, or if `single` a simple ratio."""
    first, error = numbers[0], 2.0**-23 if single else 1e-14
    number = float(round(first)) if abs(first - round(first)) < 1e-12 * abs(first) else first
    if single:
        ratios = (float(fractions.Fraction(first).limit_denominator(10**digits)) for digits in range(1, 9))
        number = next((x for x in ratios if abs(x - first) <= error * abs(first)), first)
    return number if all(abs(n - number) <= error * abs(number) for n in numbers) else None


def _rounded(xs: Sequence[float]) -> list[float]:
    """The numbers in float32."""
    with np.errstate(over="ignore"):
        return [float(x) for x in np.array(xs, np.float32)]


def generalise(codes: Sequence[Code], sizes: Sequence[Point]) -> Code:
    """One program for all sizes from the smallest of these on.

    Args:
        codes: the programs of one loss function, at three or more sizes.
        sizes: for each of them the sizes by name, such as {"T": 40, "B": 32}.

    Raises:
        NotGeneralError: they differ in something else than sizes.
    """
    return _Merger(sizes).code(codes)


def followed(counts: Sequence[int], points: Sequence[Point]) -> set[str]:
    """The names of the sizes that a count follows, from its values at these points.

    Raises:
        NotGeneralError: it follows none of them in a way that is known.
    """
    size = _Merger(points)._size(counts)
    return {name for monomial in size.terms for name in monomial}


class _Merger:
    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points
        self.arrays: dict[Array, Array] = {}
        self.pairs: dict[Array, Sequence[Array]] = {}
        names = sorted(points[0])
        products = [(name,) for name in names] + [tuple(pair) for pair in combinations(names, 2)]
        self.shapes: list[list[Monomial]] = [[m] for m in products] + [[(), m] for m in products]
        self.shapes += [[(), (a,), (b,)] for a, b in combinations(names, 2)]

    def code(self, codes: Sequence[Code]) -> Code:
        parts = {name: self.merge([getattr(code, name) for code in codes])
                 for name in ("inputs", "setup", "body", "results", "drawn")}  # fmt: skip
        self._memories()
        most = max(code.most / math.prod(point.values()) for code, point in zip(codes, self.points, strict=True))
        return Code(**parts, most=most)

    def merge(self, xs: Sequence[Any]) -> Any:
        """What stands for all of these, at every size."""
        first = xs[0]
        if any(type(x) is not type(first) for x in xs) and not all(type(x) in (int, float) for x in xs):
            kinds = ", ".join(dict.fromkeys(type(x).__name__ for x in xs))
            raise NotGeneralError(f"one length gives other statements than another ({kinds})")
        if isinstance(first, Node):
            return first
        if isinstance(first, Array):
            return self._array(xs)
        if isinstance(first, Given) and first.wanted == DRAWN:
            return xs[-1]  # what a call draws is written over it
        if isinstance(first, (tuple, list)):
            if len({len(x) for x in xs}) > 1:
                raise NotGeneralError("one length has more or other statements, operands or axes than another")
            return type(first)(self.merge(each) for each in zip(*xs, strict=True))
        if isinstance(first, slice):
            return slice(*(self.merge([getattr(x, end) for x in xs]) for end in ("start", "stop", "step")))
        if isinstance(first, For):
            merged = {f.name: self.merge([getattr(x, f.name) for x in xs])
                      for f in fields(first) if f.name != "one_thread"}  # fmt: skip
            return For(**merged, one_thread=any(x.one_thread for x in xs))
        if is_dataclass(first) and not isinstance(first, type):
            return replace(first, **{f.name: self.merge([getattr(x, f.name) for x in xs]) for f in fields(first)})
        if isinstance(first, np.ndarray):
            if all(x.shape == first.shape and x.dtype == first.dtype and x.tobytes() == first.tobytes() for x in xs):
                return first
            raise NotGeneralError("a constant array is another at another length")
        if type(first) in (int, float) and not all(type(x) is type(first) and repr(x) == repr(first) for x in xs):
            return self._number(xs)
        if all(x is first or x == first for x in xs):
            return first
        raise NotGeneralError(f"{first!r} is {next(x for x in xs if x != first)!r} at another length")

    def _number(self, xs: Sequence[Any]) -> Any:
        if all(type(x) is int for x in xs):
            return self._size(xs)
        ones: list[Size | int] = [1, *(Size({m: 1}, self.points) for (m, *rest) in self.shapes if not rest and m)]
        pairs = sorted(product(ones, ones), key=lambda pair: (pair[1] != 1, pair[0] != 1))
        rounded = _rounded(xs) == list(xs)
        for single, (below, above) in product((False, True)[: 1 + rounded], pairs):
            top, bottom = ([at(size, point) for point in self.points] for size in (above, below))
            number = _constant([x * b / a for x, a, b in zip(xs, top, bottom, strict=True)], single)
            if number is None:
                continue
            if not single or _rounded([number * a / b for a, b in zip(top, bottom, strict=True)]) == list(xs):
                return Fraction(number, above, below, single)
        for number in (1.0, 2.0, 3.0, 4.0):  # over an affine size, such as T - 1
            whole = [round(number / x) if x else 0 for x in xs]
            if all(n and abs(x * n / number - 1) < 1e-14 for x, n in zip(xs, whole, strict=True)):
                return Fraction(number, 1, self._size(whole))
        raise NotGeneralError(f"the number {xs[0]!r} is {xs[1]!r} at another length")

    def _size(self, xs: Sequence[int]) -> Size:
        """The simplest polynomial with whole coefficients that gives these integers."""
        for monomials in self.shapes:
            rows = [[math.prod(point[name] for name in m) for m in monomials] for point in self.points]
            found = np.linalg.lstsq(np.array(rows, float), np.array(xs, float), rcond=None)[0]
            terms = {m: round(float(c)) for m, c in zip(monomials, found, strict=True)}
            size = Size(terms, self.points)
            if [size.at(point) for point in self.points] == list(xs):
                return size
        raise NotGeneralError(f"the integer {xs[0]} is {xs[1]} at another length")

    def _array(self, xs: Sequence[Array]) -> Array:
        first = xs[0]
        if first not in self.arrays:
            if len({x.dtype for x in xs}) > 1:
                raise NotGeneralError("an array has another dtype at another length")
            shape, start = self.merge([x.shape for x in xs]), self.merge([x.first for x in xs])
            self.arrays[first] = Array(shape, first.dtype, start, first.memory, first.nodes)
            self.pairs[first] = xs
        elif list(map(id, self.pairs[first])) != list(map(id, xs)):
            raise NotGeneralError("one length keeps its results in other arrays than another")
        return self.arrays[first]

    def _memories(self) -> None:
        """Memory is shared by the arrays that share it at every size; the first is the longest."""
        made: dict[Any, Memory] = {}
        for array in self.arrays.values():
            array.memory = None
        for first, xs in self.pairs.items():
            if first.memory is None:
                continue
            array = self.arrays[first]
            size: Any = math.prod(array.shape)
            shared = made.setdefault(tuple(id(x.memory) for x in xs), Memory(first.dtype, size))
            try:
                array.memory = shared if size <= shared.size else Memory(first.dtype, size)
            except NotGeneralError:  # sometimes it fits, sometimes not
                array.memory = Memory(first.dtype, size)
            array.memory.arrays.append(array)
