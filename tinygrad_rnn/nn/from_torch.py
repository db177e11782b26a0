"""Models that were made with PyTorch, as models of this package, without importing PyTorch.

A module is known by the name of its class and read by its public attributes, so weights, options and dtype come over
in one call and the two compute the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..core.tensor import Array
from ..errors import InputError
from .cells import GRUCell, LSTMCell, RNNCell
from .layers import Dropout, Embedding, LayerNorm, Linear, Sequential
from .module import Module
from .recurrent import GRU, LSTM, RNN

_RECURRENT: dict[str, Any] = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}
_CELLS: dict[str, Any] = {"RNNCell": RNNCell, "LSTMCell": LSTMCell, "GRUCell": GRUCell}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"Tanh": ops.tanh, "ReLU": ops.relu, "Sigmoid": ops.sigmoid}


class Converted(Module):
    """The parts of a PyTorch model of the user's own class, under their names; how they are joined is not known."""

    def __init__(self, kind: str, parts: dict[str, Any]) -> None:
        self.kind = kind
        for name, part in parts.items():
            if hasattr(self, name):
                raise InputError(f"from_torch: {kind} has a part named {name!r}, as every module here has; rename it")
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Raises InputError: call the parts, as the `forward` of the PyTorch model does."""
        raise InputError(
            f"from_torch: how {self.kind} joins its parts is written in its own forward; write the same with the parts "
            f"{', '.join(name for name, _ in self.children())}"
        )


def from_torch(module: Any) -> Any:
    """The same layer, or stack of layers, with the same weights, dtype and mode.

    Args:
        module: a `torch.nn` RNN, LSTM, GRU or a cell of these, Linear, Embedding, LayerNorm, Dropout; a Sequential of
            them, of Tanh, ReLU and Sigmoid; or a model of one's own class that holds some as attributes or in a
            ModuleList: its parts come under their names.

    Raises:
        InputError: it, or a part of it, is of another kind, has an option that is not supported here (`proj_size`,
            `padding_idx`, `max_norm`, ...), or parameters that NumPy cannot hold.
    """
    made = _converted(module, type(module).__name__)
    if isinstance(made, Module):
        made.train(bool(getattr(module, "training", True)))
    return made


def _converted(module: Any, place: str) -> Any:
    kind = type(module).__name__
    if kind in _FUNCTIONS:
        return _FUNCTIONS[kind]
    if kind in ("Sequential", "ModuleList"):
        layers = [_converted(part, f"{place}.{i}") for i, part in enumerate(module)]
        return Sequential(*layers) if kind == "Sequential" else layers
    if not hasattr(module, "named_parameters"):
        raise InputError(f"from_torch: {place} is {kind}, which is no torch.nn module")
    own = module.named_parameters(recurse=False)
    arrays = {name: _array(parameter, f"{place}.{name}") for name, parameter in own}
    made = _layer(module, kind, place, {array.dtype for array in arrays.values()})
    if made is not None:
        made.load_state_dict(arrays)
        return made
    parts = {name: _converted(part, f"{place}.{name}") for name, part in module.named_children()}
    if arrays and parts:
        raise InputError(
            f"from_torch: {place} has parameters of its own, {', '.join(arrays)}, whose use is written in its forward; "
            f"bring its parts one by one, such as from_torch(model.{next(iter(parts))}), and make these parameters "
            f"tensors: tg.Tensor(model.{next(iter(arrays))}.detach().numpy(), requires_grad=True)"
        )
    if arrays or not parts:
        raise InputError(f"from_torch: {place} is {kind}, expected {', '.join(_known())}, or a model that holds such")
    return Converted(kind, parts)


def _layer(module: Any, kind: str, place: str, dtypes: set[Any]) -> Module | None:
    """A layer of the same kind and sizes, with weights of its own; None for other kinds."""
    dtype = next(iter(dtypes), np.dtype(np.float64))
    if kind in _RECURRENT:
        _refuse(module, place, proj_size=0)
        names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
        options = {name: getattr(module, name) for name in names}
        if kind == "RNN":
            options["nonlinearity"] = module.nonlinearity
        made: Module = _RECURRENT[kind](**options, dtype=dtype, rng=0)
    elif kind in _CELLS:
        options = {"nonlinearity": module.nonlinearity} if kind == "RNNCell" else {}
        made = _CELLS[kind](module.input_size, module.hidden_size, module.bias, dtype=dtype, rng=0, **options)
    elif kind == "Linear":
        made = Linear(module.in_features, module.out_features, module.bias is not None, dtype=dtype, rng=0)
    elif kind == "Embedding":
        if getattr(module, "padding_idx", None) is not None:
            raise InputError(
                f"from_torch: {place} has padding_idx={module.padding_idx}, expected None: that row would learn here; "
                "set its padding_idx = None before, if it is only looked at and not trained here"
            )
        _refuse(module, place, max_norm=None, scale_grad_by_freq=False)
        made = Embedding(module.num_embeddings, module.embedding_dim, dtype=dtype, rng=0)
    elif kind == "LayerNorm":
        if len(module.normalized_shape) != 1 or module.weight is None or module.bias is None:
            raise InputError(f"from_torch: {place} needs one axis, a weight and a bias to be a LayerNorm here")
        made = LayerNorm(module.normalized_shape[0], module.eps, dtype=dtype)
    elif kind == "Dropout":
        made = Dropout(module.p, rng=0)
    else:
        return None
    return made


def _refuse(module: Any, place: str, **supported: Any) -> None:
    for name, value in supported.items():
        if getattr(module, name, value) != value:
            raise InputError(
                f"from_torch: {place} has {name}={getattr(module, name)!r}, which is not supported here; "
                f"expected {value!r}"
            )


def _array(parameter: Any, place: str) -> Array:
    try:
        array = np.array(parameter.detach().cpu().numpy())
    except (TypeError, RuntimeError, AttributeError) as error:
        raise InputError(f"from_torch: {place} cannot be read as an array: {error}; convert it to float32") from error
    if array.dtype not in (np.float32, np.float64):
        raise InputError(f"from_torch: {place} has dtype {array.dtype}, expected float32 or float64; convert it before")
    return array


def _known() -> list[str]:
    return [*_RECURRENT, *_CELLS, "Linear", "Embedding", "LayerNorm", "Dropout", "Sequential", *_FUNCTIONS]


__all__ = ["from_torch"]
