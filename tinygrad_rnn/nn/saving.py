"""A model in one file: its arrays as safetensors, and as small JSON what it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import read_file, write_file
from .weights import UNREADABLE, check_names, checked_path, pack, unpack

ENTRY = "tinygrad_rnn"
"""The one entry of the file's metadata: JSON with a digest of everything, and the record of the model as JSON."""

Known = Mapping[str, type[Any]]
"""The classes of modules that a file may name."""


def save_module(module: Any, path: str | Path, known: Known) -> Path:
    """Write a module whole or not at all; `load_module` makes it again. Arguments of it may be of the known classes.

    Raises:
        InputError: the path does not end in .safetensors or cannot be written to, or the module was made with
            something that is no plain value.
    """
    target = checked_path(path, "model", (".safetensors",))
    state = module.state_dict()
    arrays = {name: np.array(array, array.dtype.newbyteorder("="), order="C") for name, array in state.items()}
    return write_file(target, pack(arrays, _recipe(module, type(module).__name__, known), ENTRY))


class WrongClassError(Exception):
    """A file holds a module of a class that is not known here."""


def load_module(path: str | Path, kind: type[Any], known: Known) -> Any:
    """The module that was saved there, made by calling its class as it was called then.

    Raises:
        InputError: it cannot be read, is damaged, holds a module of another class than `kind`, or cannot be made.
    """
    source = checked_path(path, "model", (".safetensors",))
    try:
        arrays, recipe = unpack(read_file(source), ENTRY)
        made = _make(recipe, {**known, kind.__name__: kind})
    except WrongClassError as error:
        raise InputError(
            f"{source} holds a {error.args[0]}, not a {kind.__name__}; call load of the class {error.args[0]}"
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"there is no {source}; give a file that Module.save wrote") from error
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}; give another file") from error
    except (*UNREADABLE, AttributeError, RecursionError) as error:
        if isinstance(error, KeyError) and error.args == (ENTRY,):
            raise InputError(f"{source} holds weights only; read them with tg.nn.load_weights") from error
        raise InputError(f"{source} is damaged, or not what Module.save wrote: {error}") from error
    if not isinstance(made, kind):
        raise InputError(f"{source} holds a {type(made).__name__}, not a {kind.__name__}; load it by its own class")
    check_names(source, arrays)
    made.load_state_dict(arrays)
    return made


def can_keep(module: Any, known: Known) -> bool:
    """Whether a file can say what a module was made with."""
    try:
        _recipe(module, "", known)
    except InputError:
        return False
    return True


def _recipe(module: Any, what: str, known: Known) -> dict[str, Any]:
    if module.made_with is None:
        raise InputError(f"save: this {what} is a copy of one that no file can keep; keep its arrays with save_weights")
    positional, named = module.made_with
    arguments = {"args": list(positional), "kwargs": named}
    return {"class": type(module).__name__, **{name: _plain(value, what, known) for name, value in arguments.items()}}


def _plain(value: Any, what: str, known: Known) -> Any:
    """An argument as JSON; what JSON lacks as an entry that says what it is. Generators are left out: None."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.random.Generator | np.random.BitGenerator | np.random.SeedSequence):
        return None
    if isinstance(value, list | tuple):
        return [_plain(one, what, known) for one in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {"dict": {name: _plain(one, what, known) for name, one in value.items()}}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return {"dtype": np.dtype(value).name}
    if type(value) in known.values():
        return {"module": _recipe(value, what, known)}
    raise InputError(
        f"save: this {what} was made with a {type(value).__name__}, and a file keeps numbers, text, lists and layers "
        "of tg.nn; make it with those, or keep its arrays with tg.nn.save_weights"
    )


def _make(recipe: Any, known: Known) -> Any:
    if recipe["class"] not in known:
        raise WrongClassError(f"{recipe['class']!r:.80}")
    arguments = [_value(one, known) for one in recipe["args"]]
    return known[recipe["class"]](*arguments, **_value(recipe["kwargs"], known))


def _value(value: Any, known: Known) -> Any:
    if isinstance(value, list):
        return [_value(one, known) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "dict":
        return {name: _value(one, known) for name, one in inner.items()}
    return np.dtype(inner) if kind == "dtype" else _make(inner, known)


__all__ = ["can_keep", "load_module", "save_module"]
