"""Arguments that are no tensors: checked where they come in, so that a wrong one is named and not what it leads to."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from ..errors import DTypeError, InputError, ShapeError


def whole(given: Any, what: str, least: int = 0) -> int:
    """A whole number.

    Raises:
        DTypeError: it is of another kind.
        InputError: it is below `least`, or larger than any size can be.
    """
    try:
        number = operator.index(given) if not isinstance(given, bool) else None
    except TypeError:
        number = None
    if number is None:
        raise DTypeError(f"{what}: got {_short(given)}, expected a whole number of at least {least}")
    if not least <= number < 2**63:
        raise InputError(f"{what}: got {_short(given)}, expected a whole number of at least {least}")
    return number


def real(given: Any, what: str, least: float = -math.inf) -> float:
    """A finite number.

    Raises:
        DTypeError: it is of another kind.
        InputError: it is below `least`, infinite or nan.
    """
    limit = "" if least == -math.inf else f" of at least {least:g}"
    if not fits(given, float):
        raise DTypeError(f"{what}: got {_short(given)}, expected a number{limit}")
    try:
        number = float(given)
    except OverflowError:
        number = math.inf
    if not least <= number < math.inf:
        raise InputError(f"{what}: got {_short(given)}, expected a finite number{limit}")
    return number


def probability(given: Any, what: str) -> float:
    """A number from 0 to below 1.

    Raises:
        DTypeError, InputError: it is none.
    """
    if not real(given, what) < 1 or given < 0:
        raise InputError(f"{what}={_short(given)}, expected a probability in [0, 1)")
    return float(given)


def dtype(given: Any, what: str) -> np.dtype[Any]:
    """A dtype of floats.

    Raises:
        DTypeError: it is none.
    """
    try:
        found = np.dtype(given)
    except (TypeError, ValueError, SyntaxError, RecursionError):
        found = np.dtype(object)
    if given is None or found.kind != "f":
        raise DTypeError(f"{what}: got dtype={_short(given)}, expected one of floats, such as np.float32")
    return found


def shape(given: Any, what: str) -> tuple[int, ...]:
    """A shape, from one whole number or a sequence of them.

    Raises:
        DTypeError: it is of another kind.
        InputError: a number is negative, or larger than any size can be.
        ShapeError: no array can have it.
    """
    sizes = given if isinstance(given, tuple | list) else (given,)
    found = tuple(whole(size, f"{what}: a size of the shape") for size in sizes)
    if len(found) > 64 or math.prod(found) >= 2**60:
        raise ShapeError(f"{what}: got shape {_short(found)}, which no array can have; give a smaller one")
    return found


def generator(given: Any, what: str) -> np.random.Generator:
    """A generator of random numbers, from itself, a seed, or None for one that differs every time.

    Raises:
        DTypeError: it is neither.
        InputError: the seed is negative.
    """
    if given is None or isinstance(given, np.random.Generator | np.random.BitGenerator | np.random.SeedSequence):
        return np.random.default_rng(given)
    try:
        return np.random.default_rng(operator.index(given))
    except TypeError:
        raise DTypeError(f"{what}: got rng={_short(given)}, expected a NumPy generator or a seed") from None
    except ValueError:
        raise InputError(
            f"{what}: got rng={_short(given)}, expected a NumPy generator or a seed of at least 0"
        ) from None


F = TypeVar("F", bound=Callable[..., Any])


def checked(fn: F) -> F:
    """A function that compares its arguments with its type hints before it runs, as far as those say plain kinds.

    What may be an array is not looked at here: the operations do that. A class is checked by its `__init__`.

    Raises:
        DTypeError: an argument is of another kind than its hint says.
    """
    signature = inspect.signature(fn)
    hints: dict[str, Any] = {}

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not hints:
            hints.update(_hints(fn))
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # too few, too many or unknown: Python says which
            return fn(*args, **kwargs)
        for name, value in given.items():
            hint = hints.get(name, Any)
            if signature.parameters[name].kind not in _PACKED and not fits(value, hint):
                place = fn.__qualname__.removesuffix(".__init__")
                raise DTypeError(f"{place}: got {name}={_short(value)}, expected {_words(hint)}")
        return fn(*args, **kwargs)

    return cast(F, call)


def _hints(fn: Any) -> dict[str, Any]:
    try:
        return {**get_type_hints(fn), "return": Any}
    except NameError:  # some are imported for type checkers only
        return {"return": Any}


_PACKED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


_PLAIN: dict[Any, Any] = {
    bool: bool | np.bool_,
    int: int | np.integer,
    float: int | float | np.integer | np.floating,
}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the kind that a type hint says; True where it says nothing that can be seen at once."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:  # which of them it is, the function itself looks at
        return any(fits(value, type(one)) for one in inner)
    if hint in (None, type(None)):
        return value is None
    if hint in _PLAIN:
        return isinstance(value, _PLAIN[hint]) and (hint is bool or not isinstance(value, bool))
    if origin is Callable:
        return callable(value)
    if origin in (list, tuple, Sequence, Iterable):
        if isinstance(value, str):  # a text is a sequence of texts: tokens="hello"
            return origin in (Sequence, Iterable) and inner == (str,)
        return hasattr(value, "__iter__") and not isinstance(value, bytes | dict | set)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    own = isinstance(hint, type) and hint.__module__.split(".")[0] == __name__.split(".")[0]
    return isinstance(value, hint) if own or hint in (str, Path) else True


def _words(hint: Any) -> str:
    """A type hint as one would say it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_words, inner)))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Callable:
        return "a function"
    if origin in (list, tuple, Sequence, Iterable):
        return f"a list of {_words(inner[0])}" if inner and inner[0] is not Any else "a list"
    if origin in (dict, Mapping):
        return "entries by name"
    known = {int: "a whole number", float: "a number", str: "text", bool: "True or False", type(None): "None"}
    return known.get(hint) or str(getattr(origin or hint, "__name__", hint))


def _short(given: Any) -> str:
    """Itself if it is a number, text or shape, else its type."""
    if isinstance(given, str | int | float | complex | np.generic | tuple) or given is None:
        return f"{given!r:.60}"
    return f"an object of type {type(given).__name__}"


__all__ = ["checked", "dtype", "fits", "generator", "probability", "real", "shape", "whole"]
