"""Written: an operation's function as text that needs NumPy alone, so that the source runs without this package."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable
from functools import lru_cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from ..core.primitive import Primitive
from ..core.tensor import Array
from ..errors import GraphError, TensorError
from ..escape import identifier

HELPERS = {
    "sigmoid": """def sigmoid(x, out, limit={limit}, one={one}):
    exp(minimum(x, limit, out=out), out=out)  # exp must not overflow
    return divide(out, out + one, out=out)""",
}
"""Functions of the source that are written for it; an operation of such a name is called something else."""


def helper(name: str, dtypes: set[np.dtype[Any]]) -> str:
    """The text of a helper that is called for these dtypes; where it is one, its numbers are arrays of it.

    A Python number as an operand doubles the time of a call on a small array.
    """
    (dtype, *others) = dtypes
    kind = dtype.str[1:]
    numbers = (
        {"limit": "45.0", "one": "1"} if others else {"limit": f"array(45, '{kind}')", "one": f"array(1, '{kind}')"}
    )
    return HELPERS[name].format(**numbers)


def picked(entries: Array, shape: tuple[int, ...]) -> Array:
    """The entries themselves, which a mask picks; how many, a program cannot follow.

    Raises:
        GraphError: they are not as many as when the program was compiled, so what follows would be wrong.
    """
    if entries.shape != shape:
        raise GraphError(
            f"compile: a boolean index picked entries of shape {entries.shape}, and {shape} when the program was "
            "compiled: multiply by the mask or use where(), which give the same shape for every mask"
        )
    return entries


class Written(NamedTuple):
    """A definition as text, the names of the functions that it calls, and what is raised under a built-in name."""

    text: str
    calls: tuple[FunctionType, ...]
    raises: dict[str, type[Exception]]


def name_of(function: Callable[..., Any]) -> str:
    """What the source calls a function."""
    name = identifier(function.__name__.strip("_"))
    return f"{name}_" if name in HELPERS or hasattr(builtins, name) or hasattr(np, name) else name


def written(function: Callable[..., Any]) -> Written | None:
    """A function's definition without annotations and docstring; None if it uses more than NumPy and numbers."""
    return _written(function) if isinstance(function, FunctionType) and not function.__closure__ else None


@lru_cache(maxsize=1024)  # of others, such as a native loop's method, it would keep all the memory
def _written(function: FunctionType) -> Written | None:
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    if not isinstance(definition, ast.FunctionDef):
        return None
    definition.decorator_list, definition.returns, definition.name = [], None, name_of(function)
    if ast.get_docstring(definition) is not None:
        del definition.body[0]
    arguments = [a for a in ast.walk(definition) if isinstance(a, ast.arg)]
    for each in arguments:
        each.annotation = None
    own = {a.arg for a in arguments}
    own |= {n.id for n in ast.walk(definition) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    calls: list[FunctionType] = []
    raises: dict[str, type[Exception]] = {}
    for node in list(ast.walk(definition)):
        if isinstance(node, ast.Name) and node.id not in own and node.id in function.__globals__:
            value = function.__globals__[node.id]
            value = value.function if isinstance(value, Primitive) else value
            if isinstance(value, type) and issubclass(value, TensorError):
                node.id = value.__bases__[-1].__name__
                raises[node.id] = value
            elif isinstance(value, FunctionType) and written(value) is not None:
                calls.append(value)
                node.id = name_of(value)
            elif isinstance(value, float):
                node.id = repr(value)
            elif value is not np:
                return None
    return Written(ast.unparse(definition), tuple(calls), raises)


def definitions(functions: list[Callable[..., Any]]) -> tuple[list[str], dict[str, type[Exception]]]:
    """The texts of functions, each after those that it calls, and what they raise under built-in names."""
    texts: dict[Any, str] = {}
    raises: dict[str, type[Exception]] = {}

    def define(function: Any) -> None:
        made = written(function)
        if made is not None and function not in texts:
            for each in made.calls:
                define(each)
            texts[function] = made.text
            raises.update(made.raises)

    for function in functions:
        define(function)
    return list(texts.values()), raises
