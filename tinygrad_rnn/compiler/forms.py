"""Forms: how each operation is written down, for one step or for all steps at once.

What can be done for all steps at once, and with which parameters, says the operation's trait `lift`; matrix
products, rows of a sequence and entries picked from a table have forms of their own. An operation without a form is
called as it is, step by step, so one that a user adds works without a word to the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..core.indexing import Slot, scatter
from ..ops.indexing import getitem_p
from .ir import Node, Read
from .operations import contract, total
from .statements import Apply, Call, Copy, Expr, Fill, Given, Index, Line, Moving, Put


class Operand(NamedTuple):
    """An operand as an expression.

    Attributes:
        shape: of one step; of a span, with time first.
        timed: whether there is a time axis in front of it because all steps are computed at once.
        span: whether it is a span.
    """

    expr: Any
    shape: tuple[int, ...]
    timed: bool
    span: bool


_VIEWS = {ops.reshape, ops.transpose, ops.swapaxes, ops.expand_dims, ops.broadcast_to}
_REDUCTIONS = {ops.sum: ".sum", ops.mean: ".mean", ops.max: ".max", ops.min: ".min"}
_WRITERS = {ops.matmul, contract, ops.concatenate, ops.stack, scatter, total, ops.sigmoid, ops.relu, ops.astype}
NEED_OUT = {ops.sigmoid}
"""What the written source has a function for, which writes into `out` and returns nothing."""


# ---------------------------------------------------------------------- what is known of a node
def is_elementwise(node: Node) -> bool:
    """Whether each entry of the result depends on the same entry of the operands only."""
    return node.primitive is not None and node.primitive.traits.elementwise


def is_view(node: Node) -> bool:
    """Whether it makes no new values and is written as an expression, which shows its operand's memory."""
    p = node.primitive
    if p is ops.stack:  # of all steps: the array that has them all
        return len(node.args) == 1 and node.args[0].span is not None and node.params["axis"] == 0
    return p in _VIEWS or (p is getitem_p and len(node.args) == 1)


def may_share(node: Node) -> bool:
    """Whether calling its function may give a view of an operand, so that the result must be copied to be kept."""
    p = node.primitive
    picks = p is getitem_p and len(node.args) > 1  # index arrays pick copies
    return p is not None and p.traits.alias != "new" and not picks and not writes_out(node)


def writes_out(node: Node) -> bool:
    """Whether its form writes into an array that is given to it."""
    p = node.primitive
    if p is None or is_view(node):
        return False
    if p is ops.where:
        mask = node.args[0]
        return type(mask) is Read and mask.node.dtype == np.bool_
    return p in _WRITERS or p in _REDUCTIONS or (p.is_ufunc and p.traits.elementwise)


def by_mask(node: Node) -> bool:
    """Whether a boolean array is among the indices, so that it depends on values how many entries are picked."""
    return any(a.node.dtype.kind == "b" for a in node.args[1:])


# ---------------------------------------------------------------------- all steps at once
def at_once(node: Node) -> Mapping[str, Any] | None:
    """The parameters with which a rolled node is computed for all its steps at once, or None if it cannot be."""
    p = node.primitive
    if p is None:
        return {}
    timed = [type(a) is Read and a.delay is not None for a in node.args]
    moving = [i for i, (slope, _) in enumerate(node.numbers) if slope]
    if moving:
        row = not any(timed) and p is getitem_p and len(node.args) == 1 and _is_a_row(node, moving)
        return node.params if row else None
    if is_elementwise(node):
        return node.params if writes_out(node) or len(node.args) == 1 else None  # one operand broadcasts with none
    if p is ops.matmul:
        return node.params if any(timed) and _multiplies_at_once(node, timed) else None
    if p is getitem_p and len(node.args) > 1:
        return node.params if any(timed) and _picks_at_once(node, timed) else None
    if any(type(a) is not Read or a.span is not None for a in node.args):
        return None
    shapes = [a.node.shape for a in node.args]
    if p is ops.broadcast_to:
        shapes = [(1,) * (len(node.shape) - len(shape)) + shape for shape in shapes]
    return p.traits.lifted(node.params, shapes, node.shape, node.hi - node.lo + 1)


def _multiplies_at_once(node: Node, timed: list[bool]) -> bool:
    a, b = (len(x.node.shape) for x in node.args)
    if a == 1 and b == 1:
        return True
    if timed == [True, False]:
        return b <= 2
    if timed == [False, True]:
        return a == 2
    return (a >= 2 and b >= 2) or (a == 1 and b == 2) or (a == 2 and b == 1)


def _picks_at_once(node: Node, timed: list[bool]) -> bool:
    key = node.params["key"]
    if by_mask(node):
        return False
    if not timed[0]:  # rows of a table, such as embeddings
        return type(key) is Slot
    slots = all(type(e) is Slot for e in _entries(key))
    return slots and len({len(a.node.shape) for a in node.args[1:] if type(a) is Read}) == 1


def _entries(key: Any) -> tuple[Any, ...]:
    return key if type(key) is tuple else (key,)


def _is_a_row(node: Node, moving: list[int]) -> bool:
    """Whether it reads row after row of one axis, on one side of zero: xs[t - 1] reads the last row at step 0."""
    entries = _entries(node.params["key"])
    rows = [i for i, e in enumerate(entries) if type(e) is int]
    if len(moving) != 1 or len(rows) != 1 or Ellipsis in entries or None in entries:
        return False
    slope, start = node.numbers[moving[0]]
    if slope not in (1, -1) or (slope * node.lo + start >= 0) != (slope * node.hi + start >= 0):
        return False
    return moving[0] == _count(entries[: rows[0]])


def _count(entries: Sequence[Any]) -> int:
    """How many integers there are in entries of a key."""
    slices = [n for e in entries if type(e) is slice for n in (e.start, e.stop, e.step)]
    return len([n for n in (*slices, *entries) if type(n) is int])


# ---------------------------------------------------------------------- values
def value(node: Node, operands: Sequence[Operand], steps: int | None) -> Expr:
    """What the node computes, as an expression, for one step or for that many at once."""
    p, params = node.primitive, node.params
    assert p is not None
    if p is getitem_p:
        return _getitem(node, operands, steps)
    if p is ops.stack and is_view(node):
        return operands[0].expr
    if steps is not None and is_view(node) and not operands[0].timed:
        return Call("broadcast_to", (value(node, operands, None), (steps, *node.shape)))
    if steps is not None:
        lifted = at_once(node)
        assert lifted is not None
        params = lifted
        operands = [_stacked(o, len(node.shape), steps, p is ops.broadcast_to) for o in operands]
    shape = node.shape if steps is None else (steps, *node.shape)
    texts = [o.expr for o in operands]
    x: Any = texts[0] if texts else None  # a native loop of constants reads no array
    if p is ops.reshape:
        return Call(".reshape", (x, *shape) if shape else (x, ()))
    if p is ops.transpose:
        return Call(".T", (x,)) if params["axes"] is None else Call(".transpose", (x, *params["axes"]))
    if p is ops.swapaxes:
        return Call(".swapaxes", (x, params["axis1"], params["axis2"]))
    if p is ops.expand_dims:
        return Call("expand_dims", (x, params["axis"]))
    if p is ops.broadcast_to:
        return Call("broadcast_to", (x, shape))
    keywords = tuple((name, Given(given, name)) for name, given in params.items())
    return Call(p, (texts,) if p.arity is None else tuple(texts), keywords)


def _stacked(o: Operand, ndim: int, steps: int, broadcasts: bool) -> Operand:
    """An operand with a time axis in front, and where it broadcasts, with the axes that broadcasting would add."""
    if not o.timed:
        return o._replace(expr=Call("broadcast_to", (o.expr, (steps, *o.shape))), timed=True)
    return o._replace(expr=_aligned(o, ndim, steps)) if broadcasts else o


def _aligned(o: Operand, ndim: int, steps: int) -> Expr:
    """An operand whose time axis stands in front of the axes that broadcasting will add."""
    if not o.timed or len(o.shape) == ndim:
        return o.expr
    return Call(".reshape", (o.expr, steps, *(1,) * (ndim - len(o.shape)), *o.shape))


def _getitem(node: Node, operands: Sequence[Operand], steps: int | None) -> Expr:
    x, *indices = operands
    key, arrays = node.params["key"], [o.expr for o in indices]
    if steps is not None and not arrays:
        if x.timed:
            return Index(x.expr, (slice(None), *filled_key(key, [], [])))
        if any(slope for slope, _ in node.numbers):
            return _rows(node, x)
        return Call("broadcast_to", (_getitem(node, operands, None), (steps, *node.shape)))
    if steps is not None and x.timed:
        ndim = len(indices[0].shape)
        times = Call(".reshape", (Call("arange", (steps,)), steps, *(1,) * ndim))
        return Index(x.expr, (times, *arrays))
    filled = filled_key(key, arrays, node.numbers)
    if not arrays:
        return Index(x.expr, filled if node.shape else (*filled, ...))  # without it NumPy gives a number, no view
    return Call("picked", (Index(x.expr, filled), node.shape)) if by_mask(node) else Index(x.expr, filled)


def filled_key(key: Any, arrays: Sequence[Any], numbers: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
    """The entries of a key, with `arrays` in their slots and `numbers`, if any, for its integers."""
    rest = iter(numbers)

    def number(n: Any) -> Any:
        slope, start = next(rest, (0, n)) if type(n) is int else (0, n)
        return Moving(slope, start) if slope else start

    def entry(e: Any) -> Any:
        if type(e) is slice:
            return slice(number(e.start), number(e.stop), number(e.step))
        return arrays[e.at] if type(e) is Slot else number(e)

    return tuple(entry(e) for e in _entries(key))


def _rows(node: Node, o: Operand) -> Expr:
    """Row after row along one axis of an array, for all steps at once."""
    entries = _entries(node.params["key"])
    axis = next(i for i, e in enumerate(entries) if type(e) is int)
    slope, start = node.numbers[_count(entries[:axis])]
    first, last = slope * node.lo + start, slope * node.hi + start
    if slope > 0:
        rows = slice(first, last + 1) if first >= 0 else slice(first, last + 1 or None)
    else:
        rows = slice(first, last - 1 if last > 0 or last < -1 else None, -1)
    if axis == 0 and len(entries) == 1 and rows == slice(0, o.shape[0]):
        return o.expr
    taken = Index(o.expr, (*filled_key(entries[:axis], [], []), rows, *filled_key(entries[axis + 1 :], [], [])))
    return Call("moveaxis", (taken, axis, 0)) if axis else taken


# ---------------------------------------------------------------------- written into an array
def into(node: Node, operands: Sequence[Operand], out: Expr, steps: int | None, packed: bool = False) -> list[Line]:
    """The statements that compute the node into `out`, for one step or for that many at once.

    Args:
        node: what to compute, which `writes_out`.
        operands: its operands.
        out: where.
        steps: how many steps at once.
        packed: whether `out` has the very dtype of the operands and no gaps. Then a product of matrices is a `dot`,
            whose call takes half a microsecond less than that of `matmul`.
    """
    p = node.primitive
    if is_elementwise(node):
        texts = [o.expr if steps is None else _aligned(o, len(node.shape), steps) for o in operands]
        return _sum(node, operands, texts, out) if p is total else _elementwise(node, texts, out)
    if p is scatter:
        return _scatter(node, operands, out, steps)
    if p is ops.matmul:
        a, b = operands
        if packed and len(a.shape) == len(b.shape) == 2:
            return [Apply(out, Call("dot", (a.expr, b.expr)), node)]
        return [_matmul(node, a, b, out, steps)]
    if p is contract:
        n, m = node.shape
        left, right = (_flat(o.expr, math.prod(o.shape[:-1]), k) for o, k in zip(operands, (n, m), strict=True))
        return [Apply(out, Call("matmul", (Call(".T", (left,)), right)), node)]
    if p in (ops.concatenate, ops.stack):
        return [_join(node, operands, out, steps)]
    return [_reduction(node, operands[0], out, steps)]


def _flat(x: Expr, rows: int, last: int) -> Expr:
    """An array as a matrix; how many rows it has only matters to NumPy where they are empty."""
    return Call(".reshape", (x, -1 if last else rows, last))


def _elementwise(node: Node, x: list[Expr], out: Expr) -> list[Line]:
    p = node.primitive
    if p is ops.sigmoid:
        low = node.dtype == np.float16  # as in the operation: exp must not overflow
        return [Apply(out, Call("sigmoid", (x[0],), (("limit", 11.0),) if low else ()), node)]
    if p is ops.relu:
        return [Apply(out, Call("maximum", (x[0], 0)), node)]
    if p is ops.where:
        return [Copy(out, x[2], node), Copy(out, x[1], node, where=x[0])]
    if p is ops.astype:
        return [Copy(out, x[0], node, cast=True)]
    assert p is not None
    return [Apply(out, Call(p, tuple(x)), node)]


def _sum(node: Node, operands: Sequence[Operand], x: list[Expr], out: Expr) -> list[Line]:
    """A sum of terms; those that are spans are summed over time, and come first."""
    terms = sorted(zip(operands, x, strict=True), key=lambda term: not term[0].span)
    values = [Call(".sum", (text,), (("axis", 0),)) if o.span else text for o, text in terms]
    lines: list[Line]
    if terms[0][0].span:
        summed = values[0]
        assert isinstance(summed, Call)
        lines, rest = [Apply(out, summed, node)], values[1:]
    elif len(values) == 1:
        return [Copy(out, values[0], node)]
    else:
        lines, rest = [Apply(out, Call("add", (values[0], values[1])), node)], values[2:]
    return [*lines, *(Apply(out, Call("add", (out, each)), node) for each in rest)]


def _reduction(node: Node, o: Operand, out: Expr, steps: int | None) -> Line:
    axis, keepdims, x = node.params["axis"], node.params["keepdims"], o.expr
    if steps is not None:
        lifted = at_once(node)
        assert lifted is not None
        axis, x = lifted["axis"], _stacked(o, 0, steps, False).expr
        axis = axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis
    elif isinstance(axis, tuple) and axis == tuple(range(len(axis))) and len(o.shape) == len(axis) + 1 and not keepdims:
        x, axis = _flat(o.expr, math.prod(o.shape[:-1]), o.shape[-1]), 0
    elif isinstance(axis, tuple) and axis == tuple(range(len(o.shape))):
        axis = None
    keywords = () if axis is None else (("axis", axis),)
    assert node.primitive is not None
    word = _REDUCTIONS[node.primitive]
    return Apply(out, Call(word, (x,), (*keywords, ("keepdims", True)) if keepdims else keywords), node)


def _matmul(node: Node, a: Operand, b: Operand, out: Expr, steps: int | None) -> Line:
    x, z = a.expr, b.expr
    if steps is not None:
        n, m = len(a.shape), len(b.shape)
        if n == 1 and m == 1:
            if a.timed and b.timed:
                return Apply(out, Call("einsum", ("ti,ti->t", x, z)), node)
            x, z = (x, z) if a.timed else (z, x)
        elif not b.timed and m == 2 and n > 1:  # one product over time and batch
            rows = steps * math.prod(a.shape[:-1])
            x, out = _flat(x, rows, a.shape[-1]), _flat(out, rows, b.shape[-1])
        elif not a.timed and m == 1:
            x, z = z, Call(".T", (x,))
        elif n == 1 and a.timed and b.timed:
            x, out = Index(x, (slice(None), None)), Index(out, (slice(None), None))
        elif m == 1 and b.timed:
            z, out = Index(z, (slice(None), slice(None), None)), Index(out, (slice(None), slice(None), None))
    return Apply(out, Call("matmul", (x, z)), node)


def _join(node: Node, operands: Sequence[Operand], out: Expr, steps: int | None) -> Line:
    """concatenate and stack; a span is a run of operands with time in front."""
    stacks, axis = node.primitive is ops.stack, node.params["axis"]
    texts: list[Expr] = []
    if steps is not None:
        texts = [_stacked(o, 0, steps, False).expr for o in operands]
        axis = axis % len(node.shape) + 1
    elif not any(o.span for o in operands):
        texts = [o.expr for o in operands]
    else:
        stacks, along = False, 0 if axis is None else axis % len(node.shape)
        for o in operands:
            if node.primitive is ops.stack:
                word, args = ("moveaxis", (0, along)) if o.span else ("expand_dims", (along,))
                texts.append(Call(word, (o.expr, *args)))
            elif axis is None:
                texts.append(Call(".reshape", (o.expr, -1)))
            elif not o.span:
                texts.append(o.expr)
            else:
                shape = (*o.shape[1 : along + 1], o.shape[0] * o.shape[along + 1], *o.shape[along + 2 :])
                moved = Call("moveaxis", (o.expr, 0, along)) if along else o.expr
                texts.append(Call(".reshape", (moved, *shape)))
        axis = along
    return Apply(out, Call("stack" if stacks else "concatenate", (texts,), (("axis", axis),)), node)


# ---------------------------------------------------------------------- gradients of indexing
def _scatter(node: Node, operands: Sequence[Operand], out: Expr, steps: int | None) -> list[Line]:
    lead = () if steps is None else (slice(None),)
    covers = tiles(node)
    starts = [_start(key, node.shape) for key, _ in node.params["parts"]] if covers else [None]
    if None not in starts and all(o.timed == (steps is not None) for o in operands):
        in_order = [operands[i].expr for i in np.argsort(np.array(starts))]
        return [Apply(out, Call("concatenate", (in_order,), (("axis", len(node.shape) - (steps is None)),)), node)]
    lines: list[Line] = [] if covers else [Fill(out, 0, node)]
    at = 0
    for key, n in node.params["parts"]:
        filled = operands[at].expr
        if key is None:
            lines.append(Put(out, (...,), filled, "+=", node))
        elif n:
            lines.append(
                Put(out, filled_key(key, [o.expr for o in operands[at + 1 : at + 1 + n]], []), filled, "at", node)
            )
        else:
            lines.append(Put(out, (*lead, *filled_key(key, [], [])), filled, "=" if covers else "+=", node))
        at += 1 + n
    return lines


def _start(key: Any, shape: tuple[int, ...]) -> int | None:
    """Where the slice begins that a key takes of the last axis, if it takes all of the others."""
    *before, last = _entries(key)
    reaches = Ellipsis in before or len(before) == len(shape) - 1
    if not reaches or type(last) is not slice or last.step not in (None, 1):
        return None
    return last.indices(shape[-1])[0] if all(e is Ellipsis or e == slice(None) for e in before) else None


def tiles(node: Node) -> bool:
    """Whether the parts of a scatter touch every entry exactly once, so that it is a concatenation."""
    parts = node.params["parts"]
    if any(n or key is None for key, n in parts) or not 0 < math.prod(node.shape) <= 1 << 24:
        return False
    hits = np.zeros(node.shape, np.int8)
    for key, _ in parts:
        hits[key] += 1
    return bool((hits == 1).all())
