"""Surroundings: the plain numbers that a loss function reads beside its arguments, each time it is called.

A trace would keep them for ever: a weight of the loss that is annealed from epoch to epoch, a module's temperature.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from functools import cache, partial
from itertools import product
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..core.operation import Operation
from ..core.tensor import Tensor
from ..nn import Module

_PLAIN = (bool, int, float, complex, str, np.generic, type(None))
_PACKAGE = __name__.partition(".")[0]


@cache
def _is_plain(kind: type) -> bool:
    return issubclass(kind, _PLAIN)


class Surroundings:
    """Calling it gives the numbers as they are now, hashable.

    They are variables that the function, or a user's function that it calls, reads from around it, and attributes of
    modules there, and those that it reads of other objects, of which a method's own is one. What stands in lists and
    dicts is not looked at.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._names: list[tuple[dict[str, Any], str]] = []
        self._cells: list[Any] = []
        self._objects: list[Any] = []
        self._read: set[str] = set()  # all names in the code, attributes among them
        self._seen: set[int] = set()
        self._enter(function)
        known = -1
        while known < len(self._seen):  # methods that the code names, and those that these name
            known = len(self._seen)
            for x, name in product(list(self._objects), list(self._read)):
                self._enter(getattr(type(x), name, None))

    def __call__(self) -> tuple[Any, ...]:
        values = [names.get(name) for names, name in self._names]
        for cell in self._cells:
            try:
                values.append(cell.cell_contents)
            except ValueError:  # not bound yet
                values.append(None)
        found = [repr(x) if _is_plain(type(x)) else None for x in values]  # type: ignore[arg-type]
        return tuple(found) + tuple(attributes(x, self._read) for x in self._objects)

    def _enter(self, x: Any) -> None:
        """Take in a function, or what one is made of."""
        if id(x) in self._seen:
            return
        self._seen.add(id(x))
        if isinstance(x, Module):
            self._objects.append(x)
            self._read.add("forward")
        elif isinstance(x, partial):
            for each in (x.func, *x.args, *x.keywords.values()):
                self._enter(each)
        elif isinstance(x, MethodType):
            self._enter(x.__self__)
            self._enter(x.__func__)
        elif isinstance(x, FunctionType) and (x.__module__ or "").partition(".")[0] not in _NOT_THE_USERS:
            self._read.update(_names(x.__code__, attributes=True))
            for name in _names(x.__code__):
                if name in x.__globals__:
                    self._names.append((x.__globals__, name))
                    self._enter(x.__globals__[name])
            for cell in x.__closure__ or ():
                self._cells.append(cell)
                with suppress(ValueError):  # not bound yet
                    self._enter(cell.cell_contents)
        elif hasattr(x, "__dict__") and not isinstance(x, (FunctionType, type, ModuleType, Operation, Tensor)):
            self._objects.append(x)
            self._read.add("__call__")


_NOT_THE_USERS = {_PACKAGE, "numpy", *sys.stdlib_module_names} - {"__main__"}


def _names(code: CodeType, attributes: bool = False) -> Iterator[str]:
    """What code reads from its globals, that of functions within it too; or all its names, as those of attributes."""
    for instruction in dis.get_instructions(code):
        if attributes or instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each, attributes)


def attributes(x: Any, read: Container[str] | None = None) -> tuple[Any, ...]:
    """The plain numbers among the attributes of a module and of those within it, such as `training`.

    Of another object only those that are `read`: others may change all the time, as the counters of a run do.
    """
    objects = list(x.modules()) if isinstance(x, Module) else [x]
    return tuple(
        (name, repr(value))
        for each in objects
        for name, value in vars(each).items()
        if _is_plain(type(value))  # type: ignore[arg-type]
        and (isinstance(x, Module) or read is None or name in read)
    )


__all__ = ["Surroundings", "attributes"]
