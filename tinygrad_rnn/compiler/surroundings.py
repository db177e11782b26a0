"""Surroundings: the plain numbers that a loss function reads beside its arguments, each time it is called.

A trace would keep them for ever: a weight of the loss that is annealed from epoch to epoch, a module's temperature.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from ..nn import Module

_PLAIN = (bool, int, float, complex, str, np.generic, type(None))
_PACKAGE = __name__.partition(".")[0]


class Surroundings:
    """Calling it gives the numbers as they are now, hashable.

    They are variables that the function, or a user's function that it calls, reads from around it, and attributes of
    modules there. What stands in lists, dicts and other objects is not looked at.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._names: list[tuple[dict[str, Any], str]] = []
        self._cells: list[Any] = []
        self._modules: dict[int, Module] = {}
        self._seen: set[int] = set()
        self._enter(function)

    def __call__(self) -> tuple[Any, ...]:
        values = [names.get(name) for names, name in self._names]
        for cell in self._cells:
            try:
                values.append(cell.cell_contents)
            except ValueError:  # not bound yet
                values.append(None)
        found = [repr(x) if isinstance(x, _PLAIN) else None for x in values]
        return tuple(found) + tuple(attributes(module) for module in self._modules.values())

    def _enter(self, x: Any) -> None:
        """Take in a function, or what one is made of."""
        if id(x) in self._seen:
            return
        self._seen.add(id(x))
        if isinstance(x, Module):
            self._modules[id(x)] = x
            self._enter(type(x).forward)
        elif isinstance(x, partial):
            for each in (x.func, *x.args, *x.keywords.values()):
                self._enter(each)
        elif isinstance(x, MethodType):
            self._enter(x.__self__)
            self._enter(x.__func__)
        elif isinstance(x, FunctionType) and (x.__module__ or "").partition(".")[0] not in _NOT_THE_USERS:
            for name in _names(x.__code__):
                if name in x.__globals__:
                    self._names.append((x.__globals__, name))
                    self._enter(x.__globals__[name])
            for cell in x.__closure__ or ():
                self._cells.append(cell)
                with suppress(ValueError):  # not bound yet
                    self._enter(cell.cell_contents)


_NOT_THE_USERS = {_PACKAGE, "numpy", *sys.stdlib_module_names} - {"__main__"}


def _names(code: CodeType) -> Iterator[str]:
    """What code reads from its globals, that of functions within it too; `co_names` holds attributes too, such as T."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def attributes(module: Module) -> tuple[Any, ...]:
    """The plain numbers among the attributes of a module and those within it, such as `training`."""
    return tuple(
        (name, repr(x)) for each in module.modules() for name, x in vars(each).items() if isinstance(x, _PLAIN)
    )


__all__ = ["Surroundings", "attributes"]
