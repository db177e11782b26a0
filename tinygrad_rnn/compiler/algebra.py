"""Algebra: what one would not write twice, or not at all.

The rules of differentiation know nothing of each other: a power of 1, a factor 1, two factors in a row, the same
`1 - z` forward and backward, `dh * h_prev - dh * n`. Every rewrite changes results by rounding at most.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ..core.primitive import Primitive
from ..ops import add, multiply, negative, power, square, subtract
from .ir import NOW, Node, Read, Readers
from .operations import total
from .rewrite import Rewriter
from .vocabulary import uniform

_LARGE = 1e30  # factors are only multiplied with each other where the product is no larger, nor its inverse


def simplify(program: Rewriter) -> None:
    """Powers and factors, from the operands to the results; then what is there twice."""
    reads = Counter({node: len(found) for node, found in program.readers().items()})
    instead: dict[Node, Node] = {}

    def seen(read: Any) -> Any:
        while type(read) is Read and read.node in instead:
            read = Read(instead[read.node], read.when)
        return read

    for node in sorted(program.nodes, key=lambda u: u.order):
        if node.dtype.kind == "f" and not node.initials:
            node.args = list(map(seen, node.args))
            _power(node)
            _doubled(node, reads)
            _factors(program, node, reads)
            if _factor(node) == 1 and (same := _factored(node)) is not None and _follows(node, same):
                instead[node] = same.node
                same.node.name = same.node.name or node.name
                reads[same.node] += reads[node] - 1
    program.replace(seen)
    once_each(program)


# ---------------------------------------------------------------------- powers and factors
def _power(node: Node) -> None:
    """x ** 2 is a square, and x ** 1 is x * 1."""
    if node.primitive is power and type(node.args[0]) is Read and _alike(node, node.args[0]):
        if node.args[1] == 2 and type(node.args[1]) in (int, float):
            node.primitive, node.args = square, node.args[:1]
        elif node.args[1] == 1 and type(node.args[1]) in (int, float):
            node.primitive, node.args = multiply, [1.0, node.args[0]]


def _doubled(node: Node, reads: Counter[Node]) -> None:
    """x + x is 2 * x."""
    if node.primitive in (add, total) and len(node.args) == 2 and node.args[0] == node.args[1]:
        a = node.args[0]
        if type(a) is Read and a.span is None and _alike(node, a):
            node.primitive, node.args = multiply, [2.0, a]
            reads[a.node] -= 1


def _factors(program: Rewriter, node: Node, reads: Counter[Node]) -> None:
    """2 * (c * x), where nobody else reads c * x, is one product."""
    while (c := _factor(node)) is not None:
        x = _factored(node)
        if x is None or reads[x.node] != 1 or x.node.initials or not _follows(node, x):
            return
        inner, d = _factored(x.node), _factor(x.node)
        if inner is None or d is None or not 1 / _LARGE < abs(c * d) < _LARGE or not _alike(node, inner):
            return
        if any(type(a) is Read and a.node.value is not None for a in (*node.args, *x.node.args)):
            constant = node.like(None, [], rolled=False, value=np.array(c * d, node.dtype))  # may go with the sizes
            constant.shape, constant.name = (), None
            program.nodes.append(constant)
            node.args = [Read(constant), inner]
        else:
            node.args = [c * d, inner]


def _factor(node: Node) -> float | None:
    """The number that it multiplies something by."""
    if node.primitive is not multiply:
        return None
    numbers = [number for a in node.args if (number := _number(a, node)) is not None]
    return numbers[0] if len(numbers) == 1 else None


def _factored(node: Node) -> Read | None:
    """What it multiplies by a number, if that alone gives the result its shape and dtype."""
    rest = [a for a in node.args if _number(a, node) is None]
    return rest[0] if len(rest) == 1 and type(rest[0]) is Read and _alike(node, rest[0]) else None


def _number(a: Any, node: Node) -> float | None:
    """The number that an operand is everywhere."""
    if type(a) in (int, float):
        return float(a)
    if type(a) is not Read or a.node.value is None or a.node.drawings or a.node.dtype != node.dtype:
        return None
    return uniform(a.node.value)


def _alike(node: Node, read: Read) -> bool:
    return (read.node.shape, read.node.dtype) == (node.shape, node.dtype)


def _follows(node: Node, read: Read) -> bool:
    """Whether it reads what another computes at the same step, at each of the other's steps, or both run once."""
    if not node.rolled:
        return not read.node.rolled
    return read.when == NOW and (node.lo, node.hi) == (read.node.lo, read.node.hi)


# ---------------------------------------------------------------------- what is there twice
def once_each(program: Rewriter) -> None:
    """Of nodes that do the same to the same, all read the first; a product of two may have them in either order."""
    found: dict[Any, Node] = {}
    instead: dict[Node, Node] = {}

    def seen(a: Any) -> Any:
        return Read(instead.get(a.node, a.node), a.when) if type(a) is Read else (type(a), repr(a))

    for node in sorted(program.nodes, key=lambda u: u.order):
        if node.primitive is None:
            continue
        operands: Any = tuple(map(seen, node.args))
        if node.primitive in (add, multiply):
            operands = frozenset(Counter(operands).items())
        params = tuple((name, type(value), repr(value)) for name, value in node.params.items())
        if any(isinstance(value, np.ndarray) or callable(value) for value in node.params.values()):
            continue
        domain = (node.lo, node.hi) if node.rolled else None
        key = (node.primitive, operands, params, tuple(node.numbers), domain, node.shape, node.dtype)
        first = found.setdefault(key, node)
        if first is not node and not node.initials:
            instead[node] = first
            first.name = first.name or node.name
    program.replace(lambda read: Read(instead.get(read.node, read.node), read.when))


# ---------------------------------------------------------------------- common factors
def factor(program: Rewriter, circle: dict[Node, int]) -> None:
    """dh * h - dh * n in a loop is dh * (h - n), if h and n are known before it."""
    readers = program.readers()
    for node in [u for u in program.nodes if u in circle and u.primitive in (add, subtract, total) and not u.initials]:
        if len(node.args) != 2 or node.dtype.kind != "f":
            continue
        first, second = (_product(a, node, readers) for a in node.args)
        if first is None or second is None:
            continue
        signs = [1, -1 if node.primitive is subtract else 1]
        (left, one), (right, other) = first, second
        for a in left.args:
            if a not in right.args or type(a) is not Read or circle.get(a.node) != circle[node]:
                continue
            rest = [next((b for b in product.args if b != a), a) for product in (left, right)]
            if not _alike(node, a) or not all(_is_apart(b, node, circle) for b in rest):
                continue
            plus = [s * t for s, t in zip(signs, (one, other), strict=True)]
            if plus == [-1, -1]:
                continue
            if plus == [-1, 1]:
                rest = rest[::-1]
            word: Primitive = add if plus == [1, 1] else subtract
            node.primitive, node.args = multiply, [a, Read(program.made(word, node, rest, rolled=True), NOW)]
            break


def _is_apart(a: Any, node: Node, circle: dict[Node, int]) -> bool:
    """Whether an operand is known for all steps before the loop."""
    return type(a) is Read and circle.get(a.node) != circle[node] and a.delay is not None and _alike(node, a)


def _product(a: Any, node: Node, readers: Readers) -> tuple[Node, int] | None:
    """The product behind a term that nobody else reads, and its sign."""
    sign = 1
    while type(a) is Read and a.when == NOW and len(readers[a.node]) == 1 and not a.node.initials:
        source = a.node
        if (source.lo, source.hi) != (node.lo, node.hi) or not _alike(node, a):
            return None
        if source.primitive is multiply and len(source.args) == 2:
            return source, sign
        if source.primitive is not negative:
            return None
        sign, a = -sign, source.args[0]
    return None
