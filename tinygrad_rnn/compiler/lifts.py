"""Lifts: prove by two steps of arbitrary numbers that an operation may be done for all steps at once.

Which axis is which after a time axis was put in front says a trait or a form; a mistake there would move an axis
without a word. So before a form for all steps is used, it is evaluated for two steps and compared with the operation
itself, step by step. What differs, or cannot be evaluated, stays in a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..core.indexing import Slot
from ..core.primitive import Primitive
from ..core.tensor import Array
from ..ops.indexing import getitem_p
from . import forms
from .ir import Node, Read
from .statements import Apply, Call, Copy, Fill, Given, Index, Line, Put

_POOL = np.random.default_rng(0).permutation(np.linspace(0.1, 1.9, 1009))

_proven: WeakKeyDictionary[Node, bool] = WeakKeyDictionary()


def once(node: Node) -> bool:
    """Whether a rolled node can be computed for all its steps at once, and does the same then."""
    if forms.at_once(node) is None:
        return False
    if node.primitive is None or forms.is_elementwise(node):
        return True
    if node not in _proven:
        try:
            with np.errstate(all="ignore"):
                _proven[node] = all(map(_same, *_cases(node)))
        except Exception:  # a user's primitive, on numbers that it does not take
            _proven[node] = False
    return _proven[node]


def _cases(node: Node) -> tuple[list[Node], list[list[Any]]]:
    """The node for two steps, and operands to try it on: a number each, or an array, with time first if it has time."""
    short = copy(node)
    short.hi = min(node.hi, node.lo + 1)
    steps = short.hi - short.lo + 1
    if node.primitive is getitem_p and len(node.args) == 1 and node.args[0].delay is None:
        shape = node.args[0].node.shape  # all of a sequence: entries that say where they are, along one axis at a time
        grids = [np.broadcast_to(np.arange(n).reshape(n, *(1,) * (len(shape) - i - 1)), shape)
                 for i, n in enumerate(shape)]  # fmt: skip
        return [short] * len(grids), [[grid] for grid in grids]
    operands: list[Any] = []
    for a in node.args:
        if type(a) is Read:
            shape = (steps, *a.node.shape) if a.delay is not None else a.node.shape
            operands.append(_numbers(shape, a.node.dtype, len(operands)))
        else:
            operands.append(a)
    return [short], [operands]


def _numbers(shape: tuple[int, ...], dtype: np.dtype[Any], seed: int) -> Array:
    pool = np.roll(_POOL, 17 * seed)
    return np.resize(pool if dtype.kind == "f" else pool > 1, shape).astype(dtype)  # integers index: 0 and 1


def _same(node: Node, operands: Sequence[Any]) -> bool:
    """Whether the form for all steps gives what the operation gives step by step."""
    timed = [type(a) is Read and a.delay is not None for a in node.args]
    steps = node.hi - node.lo + 1
    given = [
        forms.Operand(Given(x, ""), np.shape(x)[1:] if t else np.shape(x), t, False)
        for x, t in zip(operands, timed, strict=True)
    ]
    if forms.writes_out(node):
        found = np.zeros((steps, *node.shape), node.dtype)
        for line in forms.into(node, given, Given(found, ""), steps):
            _run(line)
    else:
        found = np.asarray(_value(forms.value(node, given, steps)))
    if found.shape != (steps, *node.shape):
        return False
    for i in range(steps):
        step = [x[i] if t else x for x, t in zip(operands, timed, strict=True)]
        if not np.allclose(found[i], _one_step(node, step, node.lo + i), rtol=1e-3, atol=1e-6, equal_nan=True):
            return False
    return True


def _one_step(node: Node, operands: list[Any], t: int) -> Any:
    """The operation itself, at step t."""
    p, params = node.primitive, node.params
    assert p is not None
    if p is getitem_p:
        numbers = [(0, slope * t + start) for slope, start in node.numbers]
        params = {"key": forms.filled_key(params["key"], [Slot(i) for i in range(len(operands) - 1)], numbers)}
    return p.function(*operands, **params) if p.variadic is None else p.function(operands, **params)


# ---------------------------------------------------------------------- statements, evaluated
def _run(line: Line) -> None:
    match line:
        case Apply(out, call, _):
            _value(Call(call.word, call.args, (*call.keywords, ("out", out))))
        case Copy(out, value, _):
            np.copyto(_value(out), _value(value), casting="unsafe")
        case Fill(out, number, _):
            _value(out).fill(number)
        case Put(out, key, value, how, _):
            target, at = _value(out), _key(key)
            target[at] = _value(value) if how == "=" else target[at] + _value(value)


def _value(x: Any) -> Any:
    match x:
        case Given(value, _):
            return value
        case Index(of, key):
            return _value(of)[_key(key)]
        case list():
            return [_value(each) for each in x]
        case Call(word, args, keywords):
            values, named = [_value(each) for each in args], {name: _value(each) for name, each in keywords}
            if isinstance(word, Primitive):
                return word.function(*values, **named)
            if word == ".T":
                return values[0].T
            if word.startswith("."):
                return getattr(values[0], word[1:])(*values[1:], **named)
            return getattr(np, word)(*values, **named)
    return x


def _key(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(each if isinstance(each, slice) else _value(each) for each in key)
