"""Time and place as part of the graph: which step, and which scope, a tensor belongs to.

Pictures, per-step gradients and the compiler's loops all read this one tag. Two words then define
themselves for any cell: a *state* is a tensor made in one step and used in another; a *shared
weight* is a leaf used in several steps.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR
from types import FrameType
from typing import Any, overload

from ..debug import messages
from ..debug.calls import EVERYWHERE, starts_loop
from ..debug.origin import Origin, caller
from ..escape import is_plain
from .context import Tag, context, current
from .primitive import transparent
from .seal import SEALED, Seal
from .tensor import Array, Tensor, constant, make_leaf, numeric

_YIELDS = CO_GENERATOR | CO_ASYNC_GENERATOR
"""Marks the code of a function whose frame may stand still while its caller goes on."""


@overload
def steps(xs: Tensor | Array, *, reverse: bool = False, start: int = 0) -> Iterator[tuple[int, Tensor]]: ...


@overload
def steps(xs: Sequence[Any], *, reverse: bool = False, start: int = 0) -> Iterator[tuple[int, Any]]: ...


def steps(xs: Tensor | Array | Sequence[Any], *, reverse: bool = False, start: int = 0) -> Iterator[tuple[int, Any]]:
    """Read a sequence step by step: `for t, x in tg.steps(xs):`; the loop body belongs to step `t`.

    It may stand in `enumerate` and `zip`. A generator around it, such as `tqdm(tg.steps(xs))`, is a loop of its own
    and keeps the tag to itself: make the bar outside, and call `bar.update()` in the body.

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
        raise messages.no_first_step(start)
    if not isinstance(reverse, bool):
        raise messages.no_flag("steps: reverse", reverse)
    source: Any
    if isinstance(xs, Tensor):
        source, length = xs, xs.shape[0] if xs.ndim else None
    elif isinstance(xs, (list, tuple)):
        source, length = [_entry(x) for x in xs], len(xs)
    else:
        array = numeric(xs, "steps")
        source, length = constant(array, caller(1)), array.shape[0] if array.ndim else None
    if length is None:
        raise messages.no_time_axis("steps")
    numbers = range(length)
    return Steps(source, iter(reversed(numbers) if reverse else numbers), start)


def _entry(x: Any) -> Any:
    """A list's entry as a tensor; tuples of arrays, one tensor each."""
    if isinstance(x, tuple):
        return tuple(_entry(part) for part in x)
    return x if isinstance(x, Tensor) else constant(numeric(x, "steps"))


class Steps:
    """What `steps` gives: an iterator that may be kept, left and taken up again.

    A `for` loop asks it for a `_Loop` that only the loop itself holds, so however the body is left, the `_Loop` goes
    and the tag with it. One that `zip` and the like hold may stay, so its tag is bound to the loop's instructions.
    """

    __slots__ = ("_by_hand", "_numbers", "_seal", "_source", "_start", "_viewed")

    def __init__(self, source: Any, numbers: Iterator[int], start: int) -> None:
        self._source, self._numbers, self._start = source, numbers, start
        slices = isinstance(source, Tensor)
        self._viewed = slices and not source.requires_grad and not current.get().tracing
        self._seal = source.seal if self._viewed and not source.seal.exposed else None
        self._by_hand: _Loop | None = None

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        self._end()
        return _Loop(self, bound=not starts_loop(sys._getframe(1)))

    def __next__(self) -> tuple[int, Any]:
        """The next step by hand: its tag ends with the function that asked, the last step, or `close`."""
        if self._by_hand is None:
            self._by_hand = _Loop(self, bound=True)
        return self._by_hand.take(sys._getframe(1))

    def close(self) -> None:
        """Leave the sequence: there is no further step."""
        self._numbers = iter(())
        self._end()

    def _end(self) -> None:
        if self._by_hand is not None:
            self._by_hand.tag.end()
            self._by_hand = None


class _Loop:
    """One loop over a sequence. It keeps no frame, so it goes as soon as the loop is left."""

    __slots__ = ("bound", "numbers", "seal", "source", "start", "tag", "viewed")

    def __init__(self, steps: Steps, bound: bool) -> None:
        self.source, self.numbers, self.start = steps._source, steps._numbers, steps._start
        self.viewed, self.seal, self.bound = steps._viewed, steps._seal, bound
        self.tag = Tag()

    def __iter__(self) -> _Loop:
        return self

    def __next__(self) -> tuple[int, Any]:
        return self.take(sys._getframe(1))

    def take(self, frame: FrameType) -> tuple[int, Any]:
        """The next step, for the body that runs in `frame`."""
        tag = self.tag
        for i in self.numbers:
            t = tag.step = self.start + i
            if self.bound:
                tag.bind(frame)
            elif frame.f_code.co_flags & _YIELDS:
                tag.bind(frame, EVERYWHERE)
            now = current.get()
            if now.loop is not tag or now.step is not None:
                current.set(now._replace(step=None, loop=tag))
            if self.viewed:
                return t, _slice(self.source, i, self.seal, (frame.f_code, frame.f_lasti))
            return t, self.source[i]
        tag.end()
        raise StopIteration

    def __del__(self) -> None:
        if hasattr(self, "tag"):  # not where an interrupt came before
            self.tag.end()


def _slice(source: Tensor, i: int, seal: Seal | None, origin: Origin) -> Tensor:
    """One step of a sequence without a gradient: a view under the seal of the whole, else a copy.

    A copy, as an array that others may write to can be filled with the next steps while the graph waits.
    """
    view = source._array[i, ...]
    if seal is None:
        return make_leaf(view.copy(), origin, SEALED, copied_from=view)
    view.setflags(write=False)
    return make_leaf(view, origin, seal)


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Tensors made in this block belong to `name`, nested in the scopes around it.

    Raises:
        InputError: the name is empty, not text, holds control characters, or a `/`, which separates nested scopes.
    """
    if not isinstance(name, str) or not name or "/" in name:
        raise messages.no_scope(name, "'/'; nest scopes with nested blocks")
    if not is_plain(name):
        raise messages.no_scope(name, "line breaks and other control characters")
    outer = current.get().scope
    with context(scope=f"{outer}/{name}" if outer else name):
        yield


transparent(globals(), reads=True)

__all__ = ["scope", "steps"]
