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
from ..ops import add, astype, expand_dims, matmul, multiply, reshape, subtract, transpose
from ..ops import sum as sum_
from .ir import NOW, At, Node, Read, Readers, Span, readers_of
from .operations import contract, total
from .reroll import compressed


class Rewriter:
    """The nodes of a rolled program, and how its results are read, while they are being rewritten."""

    def __init__(self, nodes: list[Node], results: list[Read]) -> None:
        self.nodes, self.results = nodes, results

    def readers(self) -> Readers:
        return readers_of(self.nodes, self.results)

    def replace(self, change: Callable[[Read], Read]) -> None:
        """Let everybody read something else."""
        for node in self.nodes:
            node.args = [change(a) if type(a) is Read else a for a in node.args]
            node.initials = {t: r if r is None else change(r) for t, r in node.initials.items()}
        self.results = [change(ref) for ref in self.results]

    def put(self, node: Node, instead: Read) -> None:
        """Let everybody read `instead` of a node."""
        self.replace(lambda ref: instead if ref.node is node else ref)

    def drop_unused(self) -> None:
        used: set[Node] = set()
        stack = [ref.node for ref in self.results]
        while stack:
            node = stack.pop()
            if node not in used:
                used.add(node)
                stack.extend(ref.node for ref in node.reads)
        self.nodes = [u for u in self.nodes if u in used or u.is_input]

    def fold_constants(self) -> None:
        """Compute what depends on constants alone now."""
        for node in sorted((u for u in self.nodes if not u.rolled and u.primitive), key=lambda u: u.order):
            values = [_constant_value(a) for a in node.args]
            if any(v is None for v in values) or math.prod(node.shape) > 4096:
                continue
            p = node.primitive
            assert p is not None
            y = p.function(*values, **node.params) if p.variadic is None else p.function(values, **node.params)
            made = node.like(None, [], rolled=False, value=np.array(y, node.dtype))
            self.nodes.append(made)
            self.put(node, Read(made))
        self.drop_unused()

    def single_terms(self) -> None:
        """A sum of one term is that term."""
        for node in self.nodes:
            if node.primitive is total and len(node.args) == 1 and not node.initials and node.args[0].span is None:
                source = node.args[0]
                if node.name and source.node.name is None:
                    source.node.name = node.name

                def through(ref: Read, node: Node = node, source: Read = source) -> Read:
                    repeats = source.delay is None and ref.span is not None
                    return ref if ref.node is not node or repeats else source.seen(ref.when)

                self.replace(through)

    def extend_domains(self) -> None:
        """An initial value that is what the node itself would compute at that step is one of its steps.

        So it is where two layers start from the same zeros: h_0.T is recorded once, and read by both.
        """
        for node in self.nodes:
            for step in (node.lo - 1, node.hi + 1) if node.rolled else ():
                start = node.initials.get(step)
                known = None if start is None else _resolved(start)
                if known is not None and _computes(node, step, *known):
                    del node.initials[step]
                    node.lo, node.hi = min(node.lo, step), max(node.hi, step)

    def casts(self) -> None:
        """A mask that is added to, subtracted from or multiplied by numbers need not become numbers first.

        Two masks must: their sum is "or", and they have no difference.
        """
        readers = self.readers()
        for node in self.nodes:
            if not _of_mask(node) or node.initials or node.dtype.kind != "f":
                continue
            for reader, ref in readers[node]:
                if reader is None or reader.primitive not in (add, subtract, multiply) or reader.dtype != node.dtype:
                    break
                others = [a for a in reader.args if type(a) is not Read or a.node is not node]
                reads = [a for a in others if type(a) is Read and a.node.dtype == node.dtype and not _of_mask(a.node)]
                numbers = [a for a in others if type(a) is float]
                once = len(others) == len(reads) + len(numbers) == len(reader.args) - 1
                if not once or (node.rolled and ref.delay != 0):
                    break
            else:
                self.put(node, node.args[0])

    def running_sums(self) -> None:
        """`loss = loss + l_t`, of which only the end is read, is the sum of all l_t."""
        readers = self.readers()
        for node in self.nodes:
            if node.primitive is not add or not node.rolled or len(node.initials) != 1:
                continue
            own = [a for a in node.args if type(a) is Read and a.node is node]
            others = [a for a in node.args if type(a) is not Read or a.node is not node]
            if len(own) != 1 or len(others) != 1 or own[0].delay not in (1, -1):
                continue
            last, before = (node.hi, node.lo - 1) if own[0].delay == 1 else (node.lo, node.hi + 1)
            start = node.initials.get(before)
            term = others[0]
            outside = [ref for reader, ref in readers[node] if reader is not node]
            if any(ref.at != last for ref in outside) or type(term) is not Read or term.delay is None or start is None:
                continue
            if term.node.shape != node.shape or term.node.dtype != node.dtype:
                continue
            summed = node.like(total, [start, term.seen(Span(node.lo, node.hi))], rolled=False)
            self.nodes.append(summed)
            self.put(node, Read(summed))
            node.args, node.initials = [], {}

    def flatten_sums(self) -> None:
        """A sum of sums is one sum, where nobody else reads the inner one."""
        readers = self.readers()
        for node in sorted(self.nodes, key=lambda u: u.order):
            if not _is_sum(node):
                continue
            terms: list[Any] = []
            nested = False
            for a in node.args:
                inner = a.node if type(a) is Read else None
                if (
                    inner is not None
                    and _is_sum(inner)
                    and len(readers[inner]) == 1
                    and not inner.initials
                    and (inner.shape, inner.dtype) == (node.shape, node.dtype)
                    and inner.rolled == node.rolled
                    and (not node.rolled or (a.delay == 0 and inner.lo <= node.lo and inner.hi >= node.hi))
                    and (node.rolled or a == Read(inner))
                ):
                    terms.extend(inner.args)
                    nested = True
                else:
                    terms.append(a)
            if nested:
                node.primitive, node.args = total, _joined(terms, node)

    def sums_over_time(self) -> None:
        """The sum over time of h_t.T @ dz_t is one product; that of sum(dz_t, axis=0) is one sum."""
        readers = self.readers()
        for node in [u for u in self.nodes if u.primitive is total and not u.rolled]:
            terms: list[Any] = []
            for a in node.args:
                merged = None
                if type(a) is Read and a.span is not None and (a.node.primitive is sum_ or len(readers[a.node]) == 1):
                    first, last = sorted(a.span)
                    if a.node.lo <= first and last <= a.node.hi:
                        merged = _merged(a.node, first, last)
                if merged is None:
                    terms.append(a)
                else:
                    self.nodes.append(merged)
                    terms.append(Read(merged))
            if len(terms) == 1 and terms[0] != node.args[0]:
                new = terms[0].node
                new.name, new.scope, new.backward_of = node.name, node.scope, node.backward_of
                self.put(node, Read(new))
            node.args = terms

    def transposes(self) -> None:
        """A transpose of a transpose is nothing; that of the sum of a.T @ b is the sum of b.T @ a."""
        readers = self.readers()
        for node in sorted((u for u in self.nodes if _transposes(u)), key=lambda u: u.order):
            inner = node.args[0].node
            if _transposes(inner):
                self.put(node, inner.args[0])
            elif inner.primitive is contract and len(readers[inner]) == 1:
                node.primitive, node.params, node.args = contract, {}, inner.args[::-1]
                node.numbers = []

    def sum_beforehand(self, circle: dict[Node, int]) -> None:
        """Add up outside the loop what a sum inside it does not need the loop for."""
        for node in [u for u in self.nodes if _is_sum(u) and u in circle]:
            inner, outer = _inside(node, circle)
            for a in inner:
                if a.delay and a.node.name is None and node.name is not None:
                    a.node.name = f"{node.name}_{'next' if a.delay < 0 else 'last'}"
            if len(node.args) < 3:
                continue
            if any(type(a) is not Read or a.node.dtype != node.dtype for a in outer):
                continue
            fixed = [a for a in outer if a.delay is None]
            if len(fixed) > 1:
                biases = self.made(total, node, fixed, rolled=False)
                outer = [*(a for a in outer if a.delay is not None), Read(biases)]
            if len(outer) < 2:
                node.primitive, node.args = total, [*inner, *outer]
                continue
            before = self.made(total, node, outer, rolled=True)
            before.name = None if node.name is None else f"{node.name}_given"
            node.primitive, node.args = total, [*inner, Read(before, NOW)]

    def multiply_beforehand(self, circle: dict[Node, int]) -> None:
        """Multiply outside the loop what a product inside it does not need the loop for.

        dh * tanh(c) * o * (1 - o) then costs one multiplication a step: the gate's derivative is ready.
        """
        readers = self.readers()
        for node in sorted((u for u in self.nodes if u.primitive is multiply), key=lambda u: -u.order):
            if node not in circle:
                continue
            factors, chain = list(node.args), [node]
            while True:
                inner, outer = _inside(node, circle, factors)
                if len(inner) != 1 or inner[0].delay != 0 or inner[0].node.initials:
                    break
                product = inner[0].node
                if product.primitive is not multiply or len(readers[product]) != 1 or product.shape != node.shape:
                    break
                factors = [*product.args, *outer]
                chain.append(product)
            inner, outer = _inside(node, circle, factors)
            if len(chain) < 2 or len(inner) != 1 or len(outer) < 2:
                continue
            if any(type(a) is not Read or a.delay is None or (a.node.shape, a.node.dtype) != (node.shape, node.dtype)
                   for a in outer):  # fmt: skip
                continue
            made = outer[0]
            for factor in outer[1:]:
                made = Read(self.made(multiply, node, [made, factor], rolled=True), NOW)
                made.node.name = None
            node.args = [inner[0], made]

    def made(self, primitive: Primitive, like: Node, args: list[Any], rolled: bool) -> Node:
        """A new node in the place of another, with operands of its own."""
        node = like.like(primitive, args, rolled)
        shapes = [a.node.shape for a in args if type(a) is Read]
        node.shape = np.broadcast_shapes(*shapes)
        node.name = None
        self.nodes.append(node)
        return node


def _resolved(read: Read) -> tuple[Node, int | None] | None:
    """The node and step behind a read of one result, past initial values; None for zeros."""
    step = read.at
    if step is None or read.node.lo <= step <= read.node.hi:
        return read.node, step
    start = read.node.initials.get(step)
    return None if start is None else _resolved(start)


def _computes(node: Node, step: int, other: Node, at: int | None) -> bool:
    """Whether a node would compute at that step what another one computes at step `at`."""
    alike = (node.primitive, node.shape, node.dtype) == (other.primitive, other.shape, other.dtype)
    if (
        not alike
        or node.params is not other.params
        or node is other
        or len(node.args) != len(other.args)
        or any(a for a, _ in node.numbers)
    ):
        return False
    return node.numbers == other.numbers and all(
        _operand_at(a, step) == _operand_at(b, at) is not None for a, b in zip(node.args, other.args, strict=True)
    )


def _operand_at(a: Any, step: int | None) -> Any:
    """What an operand is at one step, for comparison; None if it has nothing there."""
    if type(a) is not Read:
        return type(a), repr(a)
    if a.span is not None:
        return a
    if a.delay is None:
        return _resolved(a)
    if step is None or not a.node.holds(step - a.delay):
        return None
    return _resolved(a.seen(At(step)))


def _inside(node: Node, circle: dict[Node, int], args: Sequence[Any] | None = None) -> tuple[list[Read], list[Any]]:
    """The operands that belong to the same recurrence, and the others."""
    args = node.args if args is None else args
    inner = [a for a in args if type(a) is Read and circle.get(a.node) == circle[node]]
    return inner, [a for a in args if a not in inner]


def _transposes(node: Node) -> bool:
    """Whether it swaps the axes of a matrix that does not change with time."""
    return _swaps(node) and not node.rolled and node.args[0] == Read(node.args[0].node)


def _swaps(node: Node) -> bool:
    """Whether it swaps the axes of a matrix."""
    return node.primitive is transpose and len(node.shape) == 2 and node.params["axes"] in (None, (1, 0), [1, 0])


def _constant_value(x: Any) -> Any:
    """The value of an operand that is known now, else None."""
    if type(x) is not Read:
        return x
    known = x.node.primitive is None and not x.node.rolled and not x.node.drawings and x == Read(x.node)
    return x.node.value if known else None


def _joined(terms: list[Any], node: Node) -> list[Any]:
    """The terms of a sum without zeros, and with neighbouring steps of a node as one span."""
    full = [a for a in terms if type(a) is Read and a.node.shape == node.shape]
    terms = [a for a in terms if type(a) is Read or a != 0 or not full]
    if not node.rolled and all(type(a) is Read for a in terms):
        terms = min(terms, list(compressed(terms, total)), key=len)
    for i, a in enumerate(terms):
        if type(a) is Read and a.span is not None:
            first, last = sorted(a.span)
            while (before := Read(a.node, At(first - 1))) in terms:
                terms[terms.index(before)], first = 0, first - 1
            while (after := Read(a.node, At(last + 1))) in terms:
                terms[terms.index(after)], last = 0, last + 1
            terms[i] = Read(a.node, Span(first, last))
    return [a for a in terms if type(a) is Read or a != 0] or terms


def _of_mask(node: Node) -> bool:
    """Whether it is a mask as numbers, which may be replaced by the mask."""
    return node.primitive is astype and type(node.args[0]) is Read and node.args[0].node.dtype == np.bool_


def _is_sum(node: Node) -> bool:
    return node.primitive is add or node.primitive is total


def _merged(node: Node, first: int, last: int) -> Node | None:
    """One node for the sum of `node` over its steps, if there is a better way than adding them up."""
    factors: tuple[Read, Read] | None = None
    if node.primitive is sum_:
        (x,) = node.args
        axis, ndim = node.params["axis"], len(x.node.shape)
        if x.delay is None or node.params["keepdims"]:
            return None
        axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        new = node.like(sum_, [x.seen(Span(first, last))], rolled=False)
        new.params = {"axis": (0, *(i % ndim + 1 for i in axes)), "keepdims": False}
        return new
    if node.primitive is matmul and len(node.shape) == 2:
        a, b = node.args
        if b.delay is not None and len(b.node.shape) == 2 and (left := _untransposed(a)) is not None:
            factors = left, b
    elif node.primitive is multiply and len(node.shape) == 2 and node.dtype.kind == "f":
        one, other = map(_expanded, node.args)
        if one and other and one[1] != other[1]:
            factors = (one[0], other[0]) if one[1] else (other[0], one[0])
    if factors is None:
        return None
    return node.like(contract, [x.seen(Span(first, last)) for x in factors], rolled=False)


def _untransposed(ref: Read) -> Read | None:
    """What `ref` is the transpose of, if it is one of a matrix."""
    node = ref.node
    if not _swaps(node) or node.initials or node.args[0].delay is None or ref.delay is None:
        return None
    return Read.seen(node.args[0], ref.when)


def _expanded(ref: Any) -> tuple[Read, bool] | None:
    """The vector behind a (n, 1) or (1, n) view of it, and whether it is the former."""
    if type(ref) is not Read or ref.delay is None or ref.node.initials:
        return None
    node = ref.node
    if node.primitive not in (expand_dims, reshape) or len(node.shape) != 2 or 1 not in node.shape:
        return None
    (x,) = node.args
    return (x.seen(ref.when), node.shape[1] == 1) if x.delay is not None and len(x.node.shape) == 1 else None
