"""What the engine must know at every operation: record or not, which time step, which scope.

The state lives in one `ContextVar`, so threads and async tasks do not see each other's, and
whoever changes it puts the old record back even when an exception flies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from itertools import count
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..debug import messages
from ..debug.calls import loop_body

F = TypeVar("F", bound=Callable[..., Any])
Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[Any]]
"""Draws an array of a shape; two that are equal draw alike."""


next_index = count(1).__next__
"""Creation numbers: operands always have smaller ones than results, so they sort topologically."""


class Tag:
    """The step that one loop gives to its body; the loop holds the sequence, so that this may outlive it.

    Attributes:
        step: the number of the step.
        outer_step, outer: the step and the tag around the loop.
        alive: False once the loop is over.
        frame: where the loop's body may be left without the loop's knowledge (a generator that yields, a call of
            `next`, a `zip` that holds the steps), the id and code of the frame that must be running for the tag to
            hold; else None. Not the frame itself: that would keep all the variables of the loop's function.
        head, body: where that frame asked for the step, and its instructions that are the loop's body.
        sure: whether it holds wherever the program is: alive, and bound to no frame.
    """

    __slots__ = ("alive", "body", "frame", "head", "outer", "outer_step", "step", "sure")

    def __init__(self) -> None:
        self.outer_step, self.outer = effective(current.get())
        self.step = 0
        self.alive = self.sure = True
        self.frame: tuple[int, CodeType] | None = None
        self.head, self.body = 0, range(0)

    def bind(self, frame: FrameType, body: range | None = None) -> None:
        """Let the tag hold only while this frame runs, or what it calls; within the loop that it is at, or `body`."""
        asking = id(frame), frame.f_code
        if self.frame != asking or self.head != frame.f_lasti:
            self.frame, self.head, self.sure = asking, frame.f_lasti, False
            self.body = loop_body(frame.f_code, frame.f_lasti) if body is None else body

    def holds(self, running: FrameType | None = None) -> bool:
        """Whether what runs now is within the loop's body, or called by it; `running` is its frame or one above."""
        if self.frame is None or not self.alive:
            return self.alive
        wanted, code = self.frame
        frame = running or sys._getframe(1)
        while frame is not None and (frame.f_code is not code or id(frame) != wanted):
            frame = frame.f_back  # type: ignore[assignment]
        return frame is not None and frame.f_lasti in self.body

    def end(self) -> None:
        """Give the context back to the innermost loop around this one that still runs."""
        self.alive = self.sure = False
        now = current.get()
        if now.loop is self:
            step, outer = effective(now)
            current.set(now._replace(step=step, loop=outer))


class Context(NamedTuple):
    """One immutable record; changing the state means setting another record."""

    recording: bool = True
    """Record operations on tensors that require a gradient."""
    tracing: bool = False
    """Record every operation on a Tensor, gradient or not (the compiler's view)."""
    step: int | None = None
    """The time step that new tensors belong to, where it was set; else `loop` tells it, see `step_of`."""
    scope: str = ""
    """The scope that new tensors belong to, outermost first, joined by `/`."""
    watch: Callable[[str, Any, Any], None] | None = None
    """Called with the name of the operation, its result, and None or the gradient that it sends back."""
    draw: Callable[[np.random.Generator, Draw, tuple[int, ...]], NDArray[Any]] | None = None
    """Draws random numbers: called with the generator, the function that draws from it, and the shape."""
    loop: Tag | None = None
    """The `steps` loop that gives the step, or None outside any."""
    entered: tuple[context, Context] | None = None
    """The innermost block that is under way, and the record to put back after it."""


def effective(now: Context, running: FrameType | None = None) -> tuple[int | None, Tag | None]:
    """What a context's `step` and `loop` are without the loops that have been left."""
    step, loop = now.step, now.loop
    while loop is not None and not loop.holds(running):
        step, loop = loop.outer_step, loop.outer
    return step, loop


def step_of(now: Context, running: FrameType | None = None) -> int | None:
    """The time step that a new tensor belongs to; `running` is the frame that makes it, or one above."""
    step, loop = now.step, now.loop
    if step is not None or loop is None:
        return step
    if loop.sure or loop.holds(running):
        return loop.step
    step, loop = effective(now, running)
    return loop.step if step is None and loop is not None else step


current: ContextVar[Context] = ContextVar("tinygrad_rnn", default=Context())


class context:  # noqa: N801 (used as a function is)
    """Run a block, or a decorated function, under the current context with `changes` applied.

    One object may be used again and again, also within itself. In a generator function the changes hold while its
    body runs, and not for who takes from it.

    Raises:
        InputError: it is to decorate an asynchronous generator.
    """

    def __init__(self, **changes: Any) -> None:
        self.changes = changes

    def __enter__(self) -> Context:
        outer = current.get()
        inner = outer._replace(**self.changes, entered=(self, outer))
        current.set(inner)
        return inner

    def __exit__(self, *error: object) -> None:
        entered = current.get().entered  # and not an attribute: several threads may be within the same object
        while entered is not None:
            block, outer = entered
            if block is self:
                current.set(outer)
                return
            entered = outer.entered  # a block within it that was never left, as in a generator that stands still

    def __call__(self, function: F) -> F:
        if isgeneratorfunction(function):
            return cast(F, self._generator(function))
        if isasyncgenfunction(function):
            raise messages.async_generator(function)
        if iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with context(**self.changes):
                    return await function(*args, **kwargs)

            return cast(F, awaited)

        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with context(**self.changes):
                return function(*args, **kwargs)

        return cast(F, inside)

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Iterator[Any]:
            generator = function(*args, **kwargs)
            resume: Callable[[], Any] = partial(next, generator)
            loop: dict[str, Any] = {}  # the `steps` loop whose body it stands still in
            try:
                while True:
                    caller = current.get()
                    with context(**self.changes, **loop):
                        value = resume()
                        left = current.get()
                    loop = {} if left.loop is caller.loop else {"loop": left.loop, "step": left.step}
                    try:
                        sent = yield value
                        resume = partial(generator.send, sent)
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        resume = partial(generator.throw, error)
            except StopIteration as stop:
                return stop.value
            finally:
                with context(**self.changes):
                    generator.close()

        return inside
