"""A property that is computed once, without the lock of `functools.cached_property` before Python 3.12.

That lock belongs to the class. A process that forks while another thread computes would leave it taken in the child.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class cached(Generic[T]):  # noqa: N801 - it is read as a decorator
    """`@cached def f(self)` is computed at its first use, and then an attribute of the object like any other."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __get__(self, owner: object | None, kind: type) -> T:
        if owner is None:
            return self  # type: ignore[return-value]
        value = owner.__dict__[self._compute.__name__] = self._compute(owner)
        return value
