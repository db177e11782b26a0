"""Module: parameters with names, and nothing else.

A layer is a Python object whose attributes are parameters (tensors that require a gradient and were made by no
operation), other modules, or lists and dicts of them, nested or not; their names are the paths to them, as in
PyTorch's `state_dict`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..core import arguments
from ..core.arguments import checked
from ..core.steps import scope
from ..core.tensor import Array, Tensor, numeric, raw
from ..errors import InputError, ShapeError
from ..escape import preformatted, terminal
from .saving import can_keep, load_module, save_module

if TYPE_CHECKING:
    from typing_extensions import Self

Seed = np.random.Generator | int | None
"""A generator to share, a seed for a new one, or None for an unpredictable one."""


class Module:
    """Base of every layer and model: write `__init__` and `forward`, and call the object.

    A call runs `forward` in a scope named after the module, so that pictures, gradient flow and the
    compiler know which layer a tensor belongs to. The name is the attribute of the parent that holds
    the module, or the class's own name at the top.

    Its parameters are the tensors with `requires_grad=True` among its attributes, also in lists, tuples and dicts. A
    result of operations, such as a state that is kept to be looked at, is none.

    Attributes:
        training: True until `eval()`; dropout looks at it.
    """

    training: bool = True
    scope_name: str
    made_with: tuple[tuple[Any, ...], dict[str, Any]] | None
    """The arguments that it was made with, which `save` writes down; None if a copy does not know them."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, "made_with", (args, kwargs))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What a copy and a pickle hold: not what it was made with, where a file could not keep that either."""
        return {**vars(self), "made_with": self.made_with if can_keep(self, _layers()) else None}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with scope(getattr(self, "scope_name", type(self).__name__.lower())):
            return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward(); write the layer's equations there")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        for path, tensor in parameters_in(name, value):
            tensor.name = tensor.name or path
        for path, module in modules_in(name, value):
            module.attach(path)

    def attach(self, path: str) -> None:
        """Take the name under which a parent holds this module: for its scope and its parameters' names."""
        if not hasattr(self, "scope_name"):
            object.__setattr__(self, "scope_name", path)
            for name, parameter in self.named_parameters():
                parameter.name = f"{path}.{name}"

    # ------------------------------------------------------------------ walking the tree
    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules held directly, by attribute (`head`), or by position in a list or key in a dict (`layers.0`)."""
        for name, value in self._held():
            yield from modules_in(name, value)

    def modules(self) -> Iterator[Module]:
        """This module and every one below it."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def own_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters that are attributes of this very module, or in a list or dict that is one."""
        for name, value in self._held():
            yield from parameters_in(name, value)

    def _held(self) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in vars(self).items() if name != "made_with"]

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter with the path to it, `("head.weight", Tensor)`; a shared one comes once."""
        seen: set[int] = set()
        for name, parameter in self._walk(""):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def _walk(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.own_parameters():
            yield prefix + name, parameter
        for name, child in self.children():
            yield from child._walk(f"{prefix}{name}.")

    def _by_name(self) -> dict[str, Tensor]:
        """Every parameter by name, a shared one under each of its names.

        Raises:
            InputError: two of them have the same one.
        """
        found: dict[str, Tensor] = {}
        for name, parameter in self._walk(""):
            if found.setdefault(name, parameter) is not parameter:
                raise InputError(
                    f"{type(self).__name__} has two parameters named {name}: a full stop stands for a part of a "
                    "module; rename one of them, without a full stop"
                )
        return found

    def parameters(self) -> list[Tensor]:
        """Every parameter, each once, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def generators(self) -> list[np.random.Generator]:
        """The random generators that the modules hold, each once: what a checkpoint must remember."""
        held = [v for m in self.modules() for v in vars(m).values() if isinstance(v, np.random.Generator)]
        return list({id(generator): generator for generator in held}.values())

    # ------------------------------------------------------------------ state
    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter's array by name: the names and shapes of `torch.nn`."""
        return {name: parameter.data.copy() for name, parameter in self._by_name().items()}

    @checked
    def load_state_dict(self, state: Mapping[str, ArrayLike | Tensor]) -> None:
        """Copy arrays into the parameters, cast to each parameter's dtype; all or nothing.

        Args:
            state: an array for every parameter, named as `state_dict()` names them; a PyTorch model's
                `{name: tensor.numpy()}` fits as it is.

        Raises:
            InputError: names are missing or unknown.
            ShapeError: an array has another shape than its parameter.
        """
        own = self._by_name()
        missing, unknown = [n for n in own if n not in state], [n for n in state if n not in own]
        if missing or unknown:
            problems = [f"{word} {', '.join(n)}" for word, n in (("missing", missing), ("unknown", unknown)) if n]
            raise InputError(
                f"load_state_dict: {'; '.join(problems)}; {type(self).__name__} has {', '.join(own) or 'no parameters'}"
            )
        arrays = {name: numeric(raw(value), f"load_state_dict: {name}") for name, value in state.items()}
        for name, parameter in own.items():
            if arrays[name].shape != parameter.shape:
                raise ShapeError(
                    f"load_state_dict: {name} has shape {arrays[name].shape}, expected {parameter.shape}; "
                    f"build the {type(self).__name__} with the sizes that the arrays were saved from"
                )
        for name, parameter in own.items():
            parameter.data[...] = arrays[name]

    def save(self, path: str | Path) -> Path:
        """Write the model into one file, from which its class makes it again:

            model.save("forecaster.safetensors")
            model = Forecaster.load("forecaster.safetensors")

        The file is safetensors, as PyTorch's users exchange it, and holds the arguments of the constructor as JSON.

        Raises:
            InputError: the path has another ending or cannot be written to, or an argument is no plain value.
        """
        return save_module(self, path, _layers())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model that `save` wrote.

        Raises:
            InputError: the file cannot be read, is damaged, or holds another class of model.
        """
        return cast("Self", load_module(path, cls, _layers()))

    def zero_grad(self) -> None:
        """Forget every parameter's gradient: `backward` adds to what is there."""
        for parameter in self.parameters():
            parameter.grad = None

    @checked
    def train(self, mode: bool = True) -> Module:
        """Switch this module and all below it to training (or, with False, to evaluation)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch dropout off, here and in all modules below."""
        return self.train(False)

    def summary(self) -> str:
        """A table of every parameter: name, shape, dtype and how many numbers it holds."""
        rows = [(terminal(n), str(p.shape), str(p.dtype), f"{p.size:,}") for n, p in self.named_parameters()]
        total = sum(parameter.size for parameter in self.parameters())
        rows = [("parameter", "shape", "dtype", "numbers"), *rows, (type(self).__name__, "", "", f"{total:,}")]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _repr_html_(self) -> str:
        return preformatted(self.summary())

    def __repr__(self) -> str:
        parts = [f"{terminal(name)}={child!r}" for name, child in self.children()]
        return f"{type(self).__name__}({', '.join(parts) or self.describe()})"

    def describe(self) -> str:
        """The sizes that tell this layer from another, for `repr`."""
        return ""


def _layers() -> dict[str, type[Module]]:
    """The layers of this package by name, which a file may name."""
    known, found = {}, [Module]
    while found:
        one = found.pop()
        found += one.__subclasses__()
        if one.__module__.startswith(f"{__package__}."):
            known[one.__name__] = one
    return known


def modules_in(name: str, value: Any) -> Iterator[tuple[str, Module]]:
    """The modules that an attribute holds, with the paths to them."""
    yield from ((path, item) for path, item in _items(name, value) if isinstance(item, Module))


def parameters_in(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The parameters that an attribute holds, with the paths to them."""
    for path, item in _items(name, value):
        if isinstance(item, Tensor) and item.requires_grad and item.is_leaf:
            yield path, item


def _items(name: str, value: Any, around: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """An attribute, or what stands in it if it is a list, a tuple or a dict, and in those within it.

    Raises:
        InputError: a parameter or module stands in a set, which has no order to name it by.
    """
    if isinstance(value, (set, frozenset)) and any(isinstance(item, (Module, Tensor)) for item in value):
        raise InputError(f"{name} is a set of parameters or modules, which has no order; keep them in a list or dict")
    if isinstance(value, (list, tuple, dict)):
        if not any(value is each for each in around):  # a list may hold itself
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                yield from _items(f"{name}.{key}", item, (*around, value))
    else:
        yield name, value


def parameter(array: ArrayLike, dtype: DTypeLike = np.float64) -> Tensor:
    """A leaf that training adjusts, named by the module that holds it."""
    tensor = Tensor(array, requires_grad=True, dtype=arguments.dtype(dtype, "parameter"))
    tensor.origin = None  # else it had the name of the variable here
    return tensor


__all__ = ["Module", "Seed", "parameter"]
