"""Rules: how each primitive is written down as NumPy source, for one step or for all steps at once.

A rule gets its operands as source text and the name of the array to write to. For all steps at once
the operands that change with time carry a leading time axis. A primitive without a rule is called
as it is, step by step, so an operation that a user adds works without a word to the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.indexing import Slot
from .ir import Node, Read
from .operations import total
from .vocabulary import called


class Operand(NamedTuple):
    """An operand as source text.

    text: an expression; shape: of one step; timed: whether there is a time axis in front of it.
    """

    text: str
    shape: tuple[int, ...]
    timed: bool


VIEWS = {"reshape", "transpose", "swapaxes", "expand_dims", "broadcast_to", "getitem"}
"""Primitives that make no new values; they are written as an expression, not into an array."""

_ANY_RANK = {"relu", "sigmoid", "where", "astype"}
_REDUCTIONS = {"sum", "mean", "max", "min"}
_LAST_AXIS = {"cross_entropy_of_classes", "softmax", "one_hot", "log_softmax"}
"""Primitives that work along the last axis, or along one counted from the end, whatever axes stand in front."""

_NEW = {
    *(_REDUCTIONS | _LAST_AXIS | _ANY_RANK),
    *("leaky_relu", "elu", "softplus", "silu", "gelu", "argmax", "argmin", "clip", "getitem", "var", "std", "norm"),
    *("prod", "cumsum", "triu", "tril", "inv", "solve", "logsumexp", "standardize", "cross_entropy_of_logits", "pad"),
}
"""Primitives that always make an array of their own; any other, such as a user's, may return a view."""


def is_elementwise(node: Node) -> bool:
    """Whether each entry of the result depends on the same entry of the operands only."""
    p = node.primitive
    if p is None:
        return False
    if isinstance(p.function, np.ufunc):
        return p.function.signature is None
    return p is total or p.name in _ANY_RANK


def is_view(node: Node) -> bool:
    """Whether the result may share its operand's memory."""
    p = node.primitive
    if p is None:
        return False
    if p.name == "stack":  # of all steps: the array that has them all
        return len(node.args) == 1 and node.args[0].span is not None and node.params["axis"] == 0
    return p.name in VIEWS and (p.name != "getitem" or len(node.args) == 1)


def may_share(node: Node) -> bool:
    """Whether calling its function may give a view of an operand, so that the result must be copied to be kept."""
    p = node.primitive
    return p is not None and not is_elementwise(node) and p.name not in _NEW and not writes_out(node)


def writes_out(node: Node) -> bool:
    """Whether the rule writes into an array that is given to it."""
    p = node.primitive
    if p is None or is_view(node):
        return False
    if is_elementwise(node):
        return p.name != "where" or _mask_is_boolean(node)
    return p.name in {"matmul", "contract", "concatenate", "stack", "scatter", *_REDUCTIONS}


def _mask_is_boolean(node: Node) -> bool:
    mask = node.args[0]
    return type(mask) is Read and mask.node.dtype == np.bool_


def once(node: Node) -> bool:
    """Whether a rolled node can be computed for all its steps at once."""
    p = node.primitive
    if p is None:
        return True
    timed = [type(a) is Read and a.delay is not None for a in node.args]
    moving = [i for i, (slope, _) in enumerate(node.numbers) if slope]
    if p.name == "getitem":
        return _getitem_once(node, timed, moving)
    if moving:
        return False
    if is_elementwise(node):
        return writes_out(node) and any(timed)
    if p.name == "matmul":
        return any(timed) and _matmul_once(node, timed)
    if p.name == "scatter":
        return all(n == 0 for _, n in node.params["parts"]) and all(timed)
    if p.name in _LAST_AXIS:
        return all(timed) and type(node.params.get("axis", -1)) is int
    if p.name in _REDUCTIONS:
        return all(timed)
    return p.name in {"reshape", "transpose", "swapaxes", "expand_dims", "broadcast_to", "stack"} or (
        p.name == "concatenate" and node.params["axis"] is not None
    )


def _getitem_once(node: Node, timed: list[bool], moving: list[int]) -> bool:
    key = node.params["key"]
    entries = key if type(key) is tuple else (key,)
    if len(node.args) == 1:
        if not moving:
            return timed[0]
        rows = [e for e in entries if type(e) is int]
        return (
            not timed[0]
            and len(moving) == 1
            and len(node.numbers) == len(_numbers(entries))
            and (
                Ellipsis not in entries
                and None not in entries
                and _moving_is_row(entries, moving[0])
                and len(rows) == 1
                and _wraps_nowhere(node, moving[0])
            )
        )
    if moving or not any(timed) or _by_mask(node):
        return False
    if not timed[0]:  # rows of a table, such as embeddings
        return type(key) is Slot
    slots = [e for e in entries if type(e) is Slot]
    return len(slots) == len(entries) and len({len(a.node.shape) for a in node.args[1:] if type(a) is Read}) == 1


def _by_mask(node: Node) -> bool:
    """Whether a boolean array is among the indices, so that it depends on values how many entries are picked."""
    return any(a.node.dtype.kind == "b" for a in node.args[1:])


def _numbers(entries: Sequence[Any]) -> list[int]:
    found = []
    for e in entries:
        if type(e) is int:
            found.append(e)
        elif type(e) is slice:
            found += [n for n in (e.start, e.stop, e.step) if type(n) is int]
    return found


def _moving_is_row(entries: Sequence[Any], moving: int) -> bool:
    """Whether the integer number `moving` of the key is an index, not an end of a slice."""
    at = 0
    for e in entries:
        n = len(_numbers((e,)))
        if at <= moving < at + n:
            return type(e) is int
        at += n
    return False


def _wraps_nowhere(node: Node, moving: int) -> bool:
    """Whether an index stays on one side of zero: xs[t - 1] reads the last row at the first step, so it is no slice."""
    slope, start = node.numbers[moving]
    return (slope * node.lo + start >= 0) == (slope * node.hi + start >= 0)


def _matmul_once(node: Node, timed: list[bool]) -> bool:
    a, b = (len(x.node.shape) for x in node.args)
    if a == 1 and b == 1:
        return True
    if timed == [True, False]:
        return b <= 2
    if timed == [False, True]:
        return a == 2 and b <= 2
    return (a >= 2 and b >= 2) or (a == 1 and b == 2) or (a == 2 and b == 1)


# ---------------------------------------------------------------------- source text
def statements(
    node: Node,
    operands: Sequence[Operand],
    out: str | None,
    steps: int | None,
    t: str = "t",
    packed: bool = False,
    spelled: Callable[[str, Any], str] = lambda name, value: repr(value),
) -> list[str]:
    """The lines that compute `node` into `out`; where the rule writes no `out`, `out` is assigned.

    Args:
        node: what to compute.
        operands: its operands.
        out: the array to write to, or None for one expression without assignment.
        steps: the number of steps to compute at once, or None for one step.
        t: the text of the step number.
        packed: whether `out` has the very dtype of the operands and no gaps. Then a product of matrices is a `dot`,
            whose call takes half a microsecond less than that of `matmul`.
        spelled: gives the text of a parameter, from its name and value.
    """
    p = node.primitive
    assert p is not None
    texts = [o.text for o in operands]
    if is_view(node):
        return [_view(node, operands[0], steps, t)]
    if is_elementwise(node) and writes_out(node):
        if steps is not None:
            texts = [_aligned(o, len(node.shape), steps) for o in operands]
        return _elementwise(node, texts, out or "", operands)
    if p.name in _REDUCTIONS:
        return [_reduction(node, operands[0], out or "", steps)]
    if p.name == "matmul":
        if packed and len(operands[0].shape) == len(operands[1].shape) == 2:
            return [f"dot({texts[0]}, {texts[1]}, out={out})"]
        return [_matmul(operands[0], operands[1], out or "", steps)]
    if p.name == "contract":
        n, m = node.shape
        a, b = (_joined(o.text, math.prod(o.shape[:-1]), size) for o, size in zip(operands, (n, m), strict=True))
        return [f"matmul({a}.T, {b}, out={out})"]
    if p.name in ("concatenate", "stack"):
        return [_join(node, operands, out or "", steps)]
    if p.name == "scatter":
        return _scatter(node, operands, out or "", steps)
    if p.name == "getitem":
        return [f"{out} = {_take(node, operands, steps)}"]
    params = node.params
    if steps is not None and params.get("axis", -1) >= 0:  # counted from the end, it is the same behind a time axis
        params = {**params, "axis": params["axis"] - len(operands[0].shape)}
    settings = "".join(f", {k}={spelled(k, v)}" for k, v in params.items())
    if p.arity is None:
        return [f"{out} = {called(p)}([{', '.join(texts)}]{settings})"]
    return [f"{out} = {called(p)}({', '.join(texts)}{settings})"]


def _joined(text: str, rows: int, last: int) -> str:
    """An array as a matrix; how many rows it has only matters to NumPy where they are empty."""
    return f"{text}.reshape({-1 if last else rows}, {last})"


def _aligned(o: Operand, ndim: int, steps: int) -> str:
    """An operand whose time axis stands in front of the axes that broadcasting will add."""
    if not o.timed or len(o.shape) == ndim:
        return o.text
    shape = (steps, *(1,) * (ndim - len(o.shape)), *o.shape)
    return f"{o.text}.reshape{shape}"


def _elementwise(node: Node, x: list[str], out: str, operands: Sequence[Operand]) -> list[str]:
    name = node.operation
    if name == "sigmoid":
        limit = 11.0 if node.dtype == np.float16 else 45.0  # as in the operation: exp must not overflow
        return [
            f"minimum({x[0]}, {limit}, out={out})",
            f"exp({out}, out={out})",
            f"divide({out}, {out} + 1, out={out})",
        ]
    if name == "relu":
        return [f"maximum({x[0]}, 0, out={out})"]
    if name == "where":
        return [f"copyto({out}, {x[2]})", f"copyto({out}, {x[1]}, where={x[0]})"]
    if node.primitive is total:
        spans = [type(a) is Read and a.span is not None for a in node.args]
        terms = sorted(zip(spans, x, strict=True), key=lambda term: not term[0])
        lines: list[str] = []
        for span, text in terms:
            summed = f"{text}.sum(axis=0)" if span else text
            if not lines:
                lines.append(f"{text}.sum(axis=0, out={out})" if span else summed)
            elif len(lines) == 1 and not spans[0] and not terms[0][0]:
                lines = [*lines, f"add({lines[0]}, {summed}, out={out})"]
            else:
                lines.append(f"add({out}, {summed}, out={out})")
        if terms[0][0]:
            return lines
        return lines[1:] if len(lines) > 1 else [f"copyto({out}, {lines[0]})"]
    if name == "astype":
        return [f"copyto({out}, {x[0]}, casting='unsafe')"]
    assert node.primitive is not None
    return [f"{called(node.primitive)}({', '.join(x)}, out={out})"]


def _reduction(node: Node, o: Operand, out: str, steps: int | None) -> str:
    axis, keepdims = node.params["axis"], node.params["keepdims"]
    if steps is not None:
        n = len(o.shape)
        axes = range(n) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        shifted = tuple(i % n + 1 for i in axes)
        axis = shifted[0] if len(shifted) == 1 else shifted
    elif isinstance(axis, tuple) and axis == tuple(range(len(axis))) and len(o.shape) == len(axis) + 1 and not keepdims:
        x = _joined(o.text, math.prod(o.shape[:-1]), o.shape[-1])
        return f"{x}.{node.operation}(axis=0, out={out})"
    settings = [] if axis is None else [f"axis={axis}"]
    settings += ["keepdims=True"] if keepdims else []
    return f"{o.text}.{node.operation}({', '.join([*settings, f'out={out}'])})"


def _matmul(a: Operand, b: Operand, out: str, steps: int | None) -> str:
    x, z = a.text, b.text
    if steps is not None:
        n, m = len(a.shape), len(b.shape)
        if n == 1 and m == 1:
            if a.timed and b.timed:
                return f"einsum('ti,ti->t', {x}, {z}, out={out})"
            timed, fixed = (x, z) if a.timed else (z, x)
            return f"matmul({timed}, {fixed}, out={out})"
        if not b.timed and m == 2 and n > 1:
            rows = steps * math.prod(a.shape[:-1])
            return f"matmul({_joined(x, rows, a.shape[-1])}, {z}, out={_joined(out, rows, b.shape[-1])})"
        if not a.timed and m == 1:
            return f"matmul({z}, {x}.T, out={out})"
        if n == 1 and b.timed:
            return f"matmul({x}[:, None] if {a.timed} else {x}, {z}, out={out}[:, None])"
        if m == 1 and b.timed:
            return f"matmul({x}, {z}[:, :, None], out={out}[:, :, None])"
    return f"matmul({x}, {z}, out={out})"


def _join(node: Node, operands: Sequence[Operand], out: str, steps: int | None) -> str:
    """concatenate and stack; a span is a run of operands with time in front."""
    name, axis = node.operation, node.params["axis"]
    texts = []
    spans = [type(a) is Read and a.span is not None for a in node.args]
    if any(spans):
        axis = 0 if axis is None else axis % len(node.shape)
        for o, span in zip(operands, spans, strict=True):
            if name == "stack":
                texts.append(f"moveaxis({o.text}, 0, {axis})" if span else f"expand_dims({o.text}, {axis})")
            elif not span or node.params["axis"] is None:
                texts.append(f"{o.text}.reshape(-1)" if node.params["axis"] is None else o.text)
            else:
                shape = (*o.shape[1 : axis + 1], o.shape[0] * o.shape[axis + 1], *o.shape[axis + 2 :])
                texts.append(f"moveaxis({o.text}, 0, {axis}).reshape{shape}")
        name = "concatenate"
    else:
        for o in operands:
            lead = "" if steps is None or o.timed else f"broadcast_to({o.text}, {(steps, *o.shape)})"
            texts.append(lead or o.text)
        if steps is not None:
            axis = axis % len(node.shape) + 1
    joined = f"({', '.join(texts)},)" if len(texts) == 1 else f"({', '.join(texts)})"
    return f"{name}({joined}, axis={axis}, out={out})"


def _scatter(node: Node, operands: Sequence[Operand], out: str, steps: int | None) -> list[str]:
    parts = node.params["parts"]
    lead = ":, " if steps is not None else ""
    covers = tiles(node)
    lines = [] if covers else [f"{out}[...] = 0"]
    at = 0
    for key, n in parts:
        value = operands[at].text
        if not value:  # it was written into its place
            at += 1 + n
            continue
        if key is None:
            lines.append(f"{out}[...] += {value}")
        elif n:
            index = _key(key, [o.text for o in operands[at + 1 : at + 1 + n]])
            lines.append(f"add.at({out}, s_[{index}], {value})")
        else:
            lines.append(f"{out}[{lead}{_key(key, [])}] {'=' if covers else '+='} {value}")
        at += 1 + n
    return lines


def tiles(node: Node) -> bool:
    """Whether the parts of a scatter touch every entry exactly once, so that it is a concatenation."""
    parts = node.params["parts"]
    if any(n or key is None for key, n in parts) or math.prod(node.shape) > 1 << 24:
        return False
    hits = np.zeros(node.shape, np.int8)
    for key, _ in parts:
        hits[key] += 1
    return bool((hits == 1).all())


def _key(key: Any, arrays: Sequence[str], numbers: Sequence[str] = ()) -> str:
    """An index as source text, with `arrays` and, if given, `numbers` filled in."""
    rest = iter(numbers)

    def number(n: Any) -> str:
        return "" if n is None else next(rest, str(n)) if type(n) is int else str(n)

    def entry(e: Any) -> str:
        if type(e) is slice:
            start, stop = number(e.start), number(e.stop)
            return f"{start}:{stop}" + (f":{number(e.step)}" if e.step is not None else "")
        if type(e) is Slot:
            return arrays[e.at]
        return "..." if e is Ellipsis else "None" if e is None else number(e) if type(e) is int else repr(e)

    if type(key) is tuple:
        return ", ".join(entry(e) for e in key) + ("," if len(key) == 1 else "")
    return entry(key)


def part_of(node: Node, i: int, text: str, timed: bool) -> str:
    """Part number i of a scatter's array, as a view."""
    return f"{text}[{':, ' if timed else ''}{_key(node.params['parts'][i][0], [])}]"


def affine(slope: int, start: int, t: str) -> str:
    """slope * t + start as text."""
    if not slope:
        return str(start)
    sign = t if slope == 1 else f"-{t}"
    return sign if not start else f"{sign} {'+' if start > 0 else '-'} {abs(start)}"


def _take(node: Node, operands: Sequence[Operand], steps: int | None) -> str:
    """Indexing with integer or boolean arrays."""
    x, *indices = operands
    key = node.params["key"]
    if steps is None or not x.timed:
        text = f"{x.text}[{_key(key, [o.text for o in indices], [affine(a, b, 't') for a, b in node.numbers])}]"
        return f"picked({text}, {node.shape})" if _by_mask(node) else text
    ndim = len(indices[0].shape)
    times = f"arange({steps}).reshape{(steps, *(1,) * ndim)}"
    return f"{x.text}[{', '.join([times, *(o.text for o in indices)])}]"


def _view(node: Node, o: Operand, steps: int | None, t: str) -> str:
    name, params, x = node.operation, node.params, o.text
    n = len(o.shape)
    if steps is None:
        if name == "stack":
            return x
        if name == "reshape":
            return f"{x}.reshape({', '.join(map(str, node.shape))})" if node.shape else f"{x}.reshape(())"
        if name == "transpose":
            axes = params["axes"]
            return f"{x}.T" if axes is None else f"{x}.transpose({', '.join(map(str, axes))})"
        if name == "swapaxes":
            return f"{x}.swapaxes({params['axis1']}, {params['axis2']})"
        if name == "expand_dims":
            return f"expand_dims({x}, {params['axis']})"
        if name == "broadcast_to":
            return f"broadcast_to({x}, {node.shape})"
        whole = "" if node.shape else ", ..."  # without it NumPy gives a number, which is no view
        return f"{x}[{_key(params['key'], [], [affine(a, b, t) for a, b in node.numbers]).rstrip(',')}{whole}]"
    full = (steps, *node.shape)
    if name == "getitem":
        return _rows(node, o)
    if not o.timed:
        return f"broadcast_to({_view(node, o, None, t)}, {full})"
    if name == "reshape":
        return f"{x}.reshape{full}" if node.shape else f"{x}.reshape({steps})"
    if name == "transpose":
        axes = params["axes"] or tuple(reversed(range(n)))
        return f"{x}.transpose(0, {', '.join(str(a % n + 1) for a in axes)})" if n else x
    if name == "swapaxes":
        return f"{x}.swapaxes({params['axis1'] % n + 1}, {params['axis2'] % n + 1})"
    if name == "expand_dims":
        return f"{x}.reshape{full}"
    return f"broadcast_to({_aligned(o, len(node.shape), steps)}, {full})"


def _rows(node: Node, o: Operand) -> str:
    """Indexing for all steps at once: of a timed array, or row by row along one axis of a fixed one."""
    key = node.params["key"]
    if o.timed:
        return f"{o.text}[:, {_key(key, [])}]"
    entries = key if type(key) is tuple else (key,)
    axis = next(i for i, e in enumerate(entries) if type(e) is int)
    slope, start = node.numbers[len(_numbers(entries[:axis]))]
    first, last = slope * node.lo + start, slope * node.hi + start
    if slope > 0:
        rows = slice(first, last + 1) if first >= 0 else slice(first, last + 1 or None)
    else:
        rows = slice(first, last - 1 if last > 0 or last < -1 else None, -1)
    whole = slope > 0 and axis == 0 and rows == slice(0, _length(node, axis)) and entries[1:] == ()
    if whole:
        return o.text
    text = f"{o.text}[{_key((*entries[:axis], rows, *entries[axis + 1 :]), [])}]".replace(",]", "]")
    return text if axis == 0 else f"moveaxis({text}, {axis}, 0)"


def _length(node: Node, axis: int) -> int:
    (x,) = node.args
    return int(x.node.shape[axis])
