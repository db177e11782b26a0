"""Arguments that are no tensors: checked where they come in, so that a wrong one is named and not what it leads to."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ..errors import DTypeError, InputError, ShapeError


def whole(given: Any, what: str, least: int = 0) -> int:
    """A whole number.

    Raises:
        DTypeError: it is of another kind.
        InputError: it is below `least`, or larger than any size can be.
    """
    try:
        number = operator.index(given)
    except TypeError:
        raise DTypeError(f"{what}: got {_short(given)}, expected a whole number of at least {least}") from None
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
    if not isinstance(given, int | float | np.number) or isinstance(given, complex | np.complexfloating):
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


def function(given: Any, what: str) -> Any:
    """Something to call.

    Raises:
        DTypeError: it is none.
    """
    if not callable(given) or isinstance(given, type):
        raise DTypeError(f"{what}: got {_short(given)}, expected a function")
    return given


def several(given: Any, what: str, of: str) -> list[Any]:
    """The items of a list or tuple.

    Args:
        of: what they should be, in words.

    Raises:
        DTypeError: it is neither.
    """
    if not isinstance(given, list | tuple):
        raise DTypeError(f"{what}: got {_short(given)}, expected a list of {of}")
    return list(given)


def _short(given: Any) -> str:
    """Itself if it is a number, text or shape, else its type."""
    if isinstance(given, str | int | float | complex | np.generic | tuple) or given is None:
        return f"{given!r:.60}"
    return f"an object of type {type(given).__name__}"


__all__ = ["dtype", "function", "generator", "probability", "real", "several", "shape", "whole"]
