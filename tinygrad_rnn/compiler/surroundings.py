"""Surroundings: what a loss function reads beside its arguments, each time it is called.

A trace would keep it for ever: a weight of the loss that is annealed from epoch to epoch, the settings of a run in a
dict, a table of class weights, a module's temperature, the weights of a target network.
"""

from __future__ import annotations

import dis
import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..core.operation import Operation
from ..core.seal import fingerprint
from ..core.tensor import Tensor
from ..nn import Module

_PLAIN = {bool, int, float, complex, str, bytes, type(None)}
_FIXED = _PLAIN | {FunctionType, CodeType, np.ufunc}
_NOT_THE_USERS = {__name__.partition(".")[0], "numpy", *sys.stdlib_module_names} - {"__main__"}


class Surroundings:
    """Calling it describes them as they are now, by variable; what is described alike is as it was.

    They are the variables that the function, or a user's function that it calls, reads from around it: numbers, arrays,
    constant tensors, functions and their code, what lists and dicts hold, attributes of modules, and of functions,
    classes and other objects those that are named in the code.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._variables: dict[Any, Callable[[], Any]] = {"": lambda: function}
        self._read = {"__call__", "forward"}  # all names in the code, attributes among them
        self._seen: dict[Any, Any] = {}  # kept, so that nothing else gets their identity
        self._learned: dict[type, int] = {}  # of how many names the methods are known
        self._fixed: dict[Any, tuple[Any, Any]] = {}  # values that stay as they are, and their descriptions
        self._own: set[Any] = set()  # variables that the function itself changes
        self()

    def __call__(self) -> dict[Any, Any]:
        known, found = (len(self._variables), len(self._read)), {}
        for key, value in list(self._variables.items()):
            x, was = value(), self._fixed.get(key)
            if was is not None and was[0] is x:
                found[key] = was[1]
            elif key not in self._own:
                found[key] = self.describe(x)
                if _stays(x, found[key]):
                    self._fixed[key] = x, found[key]
        return found if known == (len(self._variables), len(self._read)) else self()

    def watch(self, around: dict[Any, Any]) -> list[tuple[Callable[[], Any], Any]] | None:
        """How to get each variable that was described, and its value, if all are of kinds that stay as they are."""
        fixed = {key: self._fixed[key] for key in around if key in self._fixed}
        if any(key not in fixed or fixed[key][1] != x for key, x in around.items()):
            return None
        return [(self._variables[key], value) for key, (value, _) in fixed.items()]

    def settle(self, before: dict[Any, Any]) -> bool:
        """Leave out what the function itself has changed since, such as a list that it appends to, if anything."""
        now = self()
        changed = {key for key, x in before.items() if type(x) is not str and now.get(key) != x}
        self._own |= changed
        return bool(changed)

    def describe(self, x: Any, around: tuple[int, ...] = ()) -> Any:
        """A value as far as the code reads it, hashable whatever it is; `around` are the objects that hold it."""
        kind = type(x)
        if kind in _PLAIN:
            return repr(x)
        if kind is FunctionType:
            self._enter(x)
            return x
        if kind is CodeType:  # reloading a module in a notebook replaces that of its functions
            for function in [each[0] for each in self._seen.values() if type(each) is tuple]:
                self._enter(function)
            return id(x)
        if isinstance(x, np.generic):
            return repr(x)
        if isinstance(x, np.ndarray):
            return x.shape, x.dtype.str, fingerprint(x)
        if kind is Tensor:
            return None if x.requires_grad else self.describe(x._array)
        if isinstance(x, (list, tuple)) and _PLAIN.issuperset(map(type, x)):
            return kind, repr(x)
        if id(x) in around:
            return None
        around = (*around, id(x))
        if isinstance(x, (list, tuple, set, frozenset, deque)):
            return kind, *[self.describe(each, around) for each in x]
        if isinstance(x, dict):
            return kind, *[(key, self.describe(value, around)) for key, value in x.items()]
        if kind is MethodType or kind is partial:
            parts = (x.__self__, x.__func__) if kind is MethodType else (x.func, x.args, x.keywords)
            return kind, *[self.describe(each, around) for each in parts]
        slots = [name for name in getattr(kind, "__slots__", ()) if hasattr(x, name)]
        if isinstance(x, (type, Operation, np.ufunc)) or not (hasattr(x, "__dict__") or slots):
            if isinstance(x, type):
                self._learn(x)
            return x if callable(x) else kind
        if kind is ModuleType and (_root(x) in _NOT_THE_USERS or "site-packages" in (x.__file__ or "")):
            return None
        if self._learned.get(kind) != len(self._read):
            self._learn(kind)
        read, whole = self._read, isinstance(x, Module)
        return kind, *[
            (name, repr(value) if type(value) in _PLAIN else self.describe(value, around))
            for name, value in (*getattr(x, "__dict__", {}).items(), *[(name, getattr(x, name)) for name in slots])
            if name in read or (whole and name != "made_with")
        ]

    def _learn(self, kind: type) -> None:
        """Take in what the code reads of a class: its methods, and the user's attributes."""
        self._learned[kind] = len(self._read)
        for name in list(self._read):
            method = getattr(kind, name, None)
            self._enter(method.fget if isinstance(method, property) else method)
        for each in kind.__mro__:
            if _root(each) not in _NOT_THE_USERS:
                self._attributes(each)

    def _attributes(self, x: Any) -> None:
        """Those of a class or function that the code reads are variables; what computes an attribute is none."""
        for name in self._read & vars(x).keys():
            value = vars(x)[name]
            if isinstance(value, FunctionType) or not hasattr(value, "__get__"):
                self._variables[id(x), name] = partial(vars(x).get, name)

    def _enter(self, x: Any) -> None:
        """Take in a user's function: the variables that it reads, and the functions among them."""
        if not isinstance(x, FunctionType) or _root(x) in _NOT_THE_USERS or (id(x), id(x.__code__)) in self._seen:
            return
        self._seen[id(x), id(x.__code__)] = x, x.__code__
        self._read.update(_names(x.__code__, attributes=True))
        self._variables[id(x), "__code__"] = partial(getattr, x, "__code__")
        self._attributes(x)
        if x.__defaults__ or x.__kwdefaults__:
            self._variables[id(x)], self._variables[id(x), ""] = lambda: x.__defaults__, lambda: x.__kwdefaults__
        for name in _names(x.__code__):
            if self.describe(value := x.__globals__.get(name)) is not None or type(value) is not ModuleType:
                self._variables[id(x.__globals__), name] = partial(x.__globals__.get, name)
        for cell in x.__closure__ or ():
            self._seen[id(cell)] = cell
            self._variables[id(cell)] = partial(contents, cell)


def _stays(x: Any, described: Any) -> bool:
    """Whether a value will always be described like that, as it cannot change itself."""
    plain = type(x) in _FIXED or (type(x) is tuple and _PLAIN.issuperset(map(type, x)))
    return plain or described is x or (type(x) is ModuleType and described is None)


def _root(x: Any) -> str:
    """The top package that something comes from."""
    return (getattr(x, "__module__", None) or x.__name__).partition(".")[0]


def contents(cell: Any) -> Any:
    """What a variable of an enclosing function holds; None where it is not assigned yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _names(code: CodeType, attributes: bool = False) -> Iterator[str]:
    """What code reads from its globals, that of functions within it too; or all its names, as those of attributes."""
    for instruction in dis.get_instructions(code):
        if attributes or instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each, attributes)
