"""Containers: the arrays in what a compiled function is called with, and how to put others in their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.seal import Seal
from ..core.tensor import Array, Tensor, constant, numeric
from ..errors import DTypeError
from ..nn import Module


class Function:
    """A function whose last arguments go by name.

    Args:
        function: what to call.
        keywords: the names of the last arguments.
    """

    def __init__(self, function: Callable[..., Any], keywords: tuple[str, ...]) -> None:
        self.function, self.keywords = function, keywords

    def __call__(self, *arguments: Any) -> Any:
        n = len(arguments) - len(self.keywords)
        return self.function(*arguments[:n], **dict(zip(self.keywords, arguments[n:], strict=True)))

    def name(self, i: int, count: int) -> str:
        """What argument i of `count` is called."""
        if i >= count - len(self.keywords):
            return self.keywords[i - count]
        code = getattr(self.function, "__code__", None)
        names = code.co_varnames[: code.co_argcount] if code is not None else ()
        return names[i] if i < len(names) else f"x{i}"


class Arguments(NamedTuple):
    """What a compiled function is called with.

    Attributes:
        values: containers of arrays, tensors and modules.
        leaves: the arrays in them.
        parameters: how many of the leaves, the first ones, are parameters; None if there are no gradients.
    """

    values: Sequence[Any]
    leaves: Sequence[Array]
    parameters: int | None

    def bound(self) -> tuple[list[Tensor], list[Any]]:
        """Tensors of the leaves, of which the parameters require a gradient, and the values filled with them."""
        own = [tensor for value in self.values for tensor in own_tensors(value)]
        tensors = [
            tensor if tensor is not None else Tensor(x, requires_grad=True) if i < (self.parameters or 0) else lent(x)
            for i, (tensor, x) in enumerate(zip(own, self.leaves, strict=True))
        ]
        rest = iter(tensors)
        return tensors, [unflatten(value, rest) for value in self.values]


def flatten(x: Any, leaves: list[Array], describe: Callable[[Any], Any], path: Any) -> Any:
    """Append the arrays in `x` to `leaves`; returns a hashable description of the rest, and of their kinds.

    Args:
        x: containers of arrays.
        leaves: where the arrays go.
        describe: see `Surroundings.describe`.
        path: "params" or "batch", or the path of the container that holds `x` and its key there, for errors.
    """
    kind = type(x)
    if kind is np.ndarray:
        leaves.append(numeric(x, "compile"))
        return x.ndim, x.dtype
    if kind is Tensor:
        x = x._array
        leaves.append(x)
        return x.ndim, x.dtype
    if isinstance(x, dict):
        return "dict", *x, *[flatten(value, leaves, describe, (path, key)) for key, value in x.items()]
    if isinstance(x, (list, tuple)):
        return kind, *[flatten(value, leaves, describe, (path, i)) for i, value in enumerate(x)]
    if isinstance(x, Module):
        named = dict(x.named_parameters())
        arrays = [parameter._array for parameter in named.values()]
        leaves.extend(arrays)
        return "module", id(x), *named, *[(a.ndim, a.dtype) for a in arrays], describe(x)
    if isinstance(x, (np.ndarray, np.generic)):
        leaves.append(numeric(x, "compile"))
        return x.ndim, x.dtype
    keys = ""
    while type(path) is tuple:
        path, keys = path[0], f"[{path[1]!r}]{keys}"
    where = path + keys
    if path == "params":
        raise DTypeError(f"compile: {where} is {kind.__name__}, expected an array or tensor (or a container of them)")
    try:
        hash(x)
    except TypeError:
        raise DTypeError(f"compile: {where} is {kind.__name__}, which is no array and cannot be hashed") from None
    return kind, None if kind is float else x, describe(x)  # -0.0 is not 0.0, and one nan is another


def unflatten(x: Any, leaves: Iterator[Any], by_name: bool = False) -> Any:
    """The container `x` with its arrays replaced; a module stays what it is, or becomes a dict by parameter name."""
    if type(x) is np.ndarray or isinstance(x, (Tensor, np.ndarray, np.generic)):  # the first is what it mostly is
        return next(leaves)
    if isinstance(x, dict):
        return {key: unflatten(value, leaves, by_name) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        values = [unflatten(value, leaves, by_name) for value in x]
        return type(x)(*values) if hasattr(x, "_fields") else type(x)(values)
    if isinstance(x, Module) and by_name:
        return {name: next(leaves) for name, _ in x.named_parameters()}
    if isinstance(x, Module):
        for _ in x.parameters():
            next(leaves)
    return x


def lent(x: Array) -> Tensor:
    """A tensor for the loss function to read: the caller's own array, not a copy of it, which nobody changes now."""
    view = x.view()
    view.setflags(write=False)
    tensor = constant(view)
    tensor.seal = Seal(view)  # one that is not looked at again in every step
    return tensor


def parts(x: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The arrays, tensors and modules in containers, each with the keys on the way to it."""
    if isinstance(x, (Tensor, np.ndarray, np.generic, Module)):
        yield path, x
    elif isinstance(x, (dict, list, tuple)):
        for key, value in x.items() if isinstance(x, dict) else enumerate(x):
            yield from parts(value, (*path, key))


def tensors_in(x: Any) -> Iterator[Tensor]:
    """The tensors in a container, in the order in which arrays take their place; arrays are the same in every call."""
    for _, part in parts(x):
        if not isinstance(part, Module):
            yield part if isinstance(part, Tensor) else constant(np.asarray(part))


def own_tensors(x: Any) -> Iterator[Tensor | None]:
    """For each array in `x`: the tensor that the loss function will find there itself, if `x` is a module."""
    for _, part in parts(x):
        yield from part.parameters() if isinstance(part, Module) else [None]


def names(x: Any, name: str) -> Iterator[str | None]:
    """A name for each array in `x`: its keys in the containers around it."""
    for path, part in parts(x, (name,) if name else ()):
        if isinstance(part, Module):
            yield from (each.replace(".", "_") for each, _ in part.named_parameters())
        else:
            yield "_".join(map(str, path)) or (part.name if isinstance(part, Tensor) else None)
