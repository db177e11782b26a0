"""What the engine must know at every operation: record or not, which time step, which scope.

The state lives in one `ContextVar`, so threads and async tasks do not see each other's, and
whoever changes it puts the old record back even when an exception flies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .tensor import Array, Tensor


class Context(NamedTuple):
    """One immutable record; changing the state means setting another record."""

    recording: bool = True
    """Record operations on tensors that require a gradient."""
    tracing: bool = False
    """Record every operation on a Tensor, gradient or not (the compiler's view)."""
    step: int | None = None
    """The time step that new tensors belong to; None outside any `steps` loop."""
    scope: str = ""
    """The scope that new tensors belong to, outermost first, joined by `/`."""
    watch: Callable[[str, Tensor, Any], None] | None = None
    """Called with the name of the operation, its result, and None or the gradient that it sends back."""
    drawn: Callable[[Array, np.random.Generator, Callable[[], Array]], None] | None = None
    """Called with an array of random numbers, where they came from, and how to draw the next."""


current: ContextVar[Context] = ContextVar("tinygrad_rnn", default=Context())


@contextmanager
def context(**changes: Any) -> Iterator[Context]:
    """Run the body under the current context with `changes` applied."""
    outer = current.get()
    inner = outer._replace(**changes)
    current.set(inner)
    try:
        yield inner
    finally:
        current.set(outer)
