"""Time and place as part of the graph: which step, and which scope, a tensor belongs to.

Pictures, per-step gradients and the compiler's loops all read this one tag. Two words then define
themselves for any cell: a *state* is a tensor made in one step and used in another; a *shared
weight* is a leaf used in several steps.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..debug import origin as _origin
from ..errors import InputError, ShapeError
from ..escape import is_plain
from .context import Context, context, current
from .tensor import Array, Leaf, Tensor, constant, make_leaf, numeric


def steps(xs: Tensor | Array | Sequence[Any], *, reverse: bool = False, start: int = 0) -> Iterator[tuple[int, Any]]:
    """Read a sequence step by step: `for t, x in tg.steps(xs):`; the loop body belongs to step `t`.

    Args:
        xs: a tensor or array whose first axis is time, or a list with one entry per step.
        reverse: read from the last step to the first, for the backward direction of a layer.
        start: the number of the first step; pass T to continue a sequence of T steps.

    Yields:
        `(t, x)`: the step number and `xs[t - start]` as a Tensor.

    Raises:
        ShapeError: `xs` is a scalar and has no time axis.
        DTypeError: `xs` (or an entry of a list) is not numeric.
    """
    if not isinstance(start, int) or start < 0:
        raise InputError(f"steps: got start={start!r}, expected the number of the first step, 0 or more")
    source: Any
    if isinstance(xs, Tensor):
        source, length = xs, xs.shape[0] if xs.ndim else None
    elif isinstance(xs, (list, tuple)):
        source, length = [_entry(x) for x in xs], len(xs)
    else:
        array = numeric(xs, "steps")
        source, length = constant(array, _origin.caller(1)), array.shape[0] if array.ndim else None
    if length is None:
        raise ShapeError("steps: got a scalar, expected a sequence with time as its first axis")
    numbers = range(length)
    now = current.get()  # before the first step, as one loop may walk two sequences, zipped
    return _walk(source, reversed(numbers) if reverse else numbers, start, now.step, now.tracing)


def _entry(x: Any) -> Any:
    """A list's entry as a tensor; tuples of arrays, one tensor each."""
    if isinstance(x, tuple):
        return tuple(_entry(part) for part in x)
    return x if isinstance(x, Tensor) else constant(numeric(x, "steps"))


def _walk(
    source: Any, numbers: Iterable[int], start: int, outer: int | None, tracing: bool
) -> Iterator[tuple[int, Any]]:
    # A generator has no context of its own: what it sets is what the loop body sees. Only the step is its business.
    slices = isinstance(source, Tensor)
    viewed = slices and not source.requires_grad and not tracing
    leaf = Leaf(base=source if slices and source.leaf is not None else None)  # one for all views
    try:
        for i in numbers:
            now = current.get()  # what `_replace` does, in two thirds of its time
            current.set(Context(now.recording, now.tracing, start + i, now.scope, now.watch, now.drawn))
            x = _slice(source, i, leaf) if viewed else source[i]
            if slices:
                frame = sys._getframe(1)
                x._code, x._offset = frame.f_code, frame.f_lasti
            yield start + i, x
    finally:
        current.set(current.get()._replace(step=outer))


def _slice(source: Tensor, i: int, leaf: Leaf) -> Tensor:
    """One step of a sequence without a gradient: a read-only view under its owner's seal."""
    view = source._data[i]
    view = view if isinstance(view, np.ndarray) else np.asarray(view)
    view.setflags(write=False)
    x = make_leaf(Tensor.__new__(Tensor), view, None, leaf, False, None)
    x.unsealed = leaf.base is not None
    return x


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Tensors made in this block belong to `name`, nested in the scopes around it.

    Raises:
        InputError: the name is empty, not text, holds control characters, or a `/`, which separates nested scopes.
    """
    if not isinstance(name, str) or not name or "/" in name:
        raise InputError(f"scope: got {name!r}, expected a name without '/'; nest scopes with nested blocks")
    if not is_plain(name):
        raise InputError(f"scope: got {name!r}, expected a name without line breaks and other control characters")
    outer = current.get().scope
    with context(scope=f"{outer}/{name}" if outer else name):
        yield


__all__ = ["scope", "steps"]
