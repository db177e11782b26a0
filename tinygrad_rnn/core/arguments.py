"""Arguments that are no tensors: checked where they come in, so that a wrong one is named and not what it leads to."""

from __future__ import annotations

import builtins
import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)  # fmt: skip

import numpy as np

from ..errors import DTypeError, InputError, ShapeError, TensorError
from ..escape import short
from .array import numeric, raw


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
        raise DTypeError(f"{what}: got {short(given)}, expected a whole number of at least {least}")
    if not least <= number < 2**63:
        raise InputError(f"{what}: got {short(given)}, expected a whole number of at least {least}")
    return number


def dtype(given: Any, what: str) -> np.dtype[Any]:
    """A dtype of floats.

    Raises:
        DTypeError: it is none.
    """
    try:
        found = np.dtype(given)
    except Exception:  # NumPy shows in its own error what was given, which may fail
        found = np.dtype(object)
    if given is None or found.kind != "f":
        raise DTypeError(f"{what}: got dtype={short(given)}, expected one of floats, such as np.float32")
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
        raise ShapeError(f"{what}: got shape {short(found)}, which no array can have; give a smaller one")
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
        raise DTypeError(f"{what}: got rng={short(given)}, expected a NumPy generator or a seed") from None
    except ValueError:
        raise InputError(
            f"{what}: got rng={short(given)}, expected a NumPy generator or a seed of at least 0"
        ) from None


class Range(NamedTuple):
    """The numbers from `least` to below `end`, and infinity if it is said to; never nan."""

    least: float = -math.inf
    end: float = math.inf
    infinite: bool = False

    def __contains__(self, number: Any) -> bool:
        return bool((self.least <= number < self.end and number != -math.inf) or (self.infinite and number == math.inf))

    def words(self, kind: Any) -> str:
        if kind is int:
            end = f" to {self.end - 1:,.0f}" if self.end < math.inf else " or more"
            return f"a whole number, {self.least:,.0f}{end}"
        least = f" of at least {self.least:g}" if self.least > -math.inf else ""
        end = f"{' and' * bool(least)} below {self.end:g}" if self.end < math.inf else ""
        return f"a {'' if self.infinite else 'finite '}number{least}{end}"


LARGEST = 10**8
"""Of sizes: above it NumPy may not even try to make the arrays."""
Size = Annotated[int, Range(1, LARGEST + 1)]
SizeOrZero = Annotated[int, Range(0, LARGEST + 1)]
Count = Annotated[int, Range(0, 2**53 + 1)]
"""Of updates or steps: up to it they are exact as floats."""
Positive = Annotated[int, Range(1, 2**53 + 1)]
Seeding = Annotated[int, Range(0)]
Finite = Annotated[float, Range()]
NotNegative = Annotated[float, Range(0)]
Bound = Annotated[float, Range(0, infinite=True)]
Probability = Annotated[float, Range(0, 1)]

F = TypeVar("F", bound=Callable[..., Any])


def checked(fn: F) -> F:
    """A function that compares its arguments with its type hints before it runs, as far as those say plain kinds.

    A class is checked by its `__init__`. Numbers are looked at where the hint is an `Array` or `ArrayLike`; what may
    be a tensor as well the operations themselves look at.

    Raises:
        DTypeError: an argument is of another kind than its hint says.
        InputError: it is out of the range, or none of the texts, that the hint says.
    """
    signature = inspect.signature(fn)
    hints: dict[str, Any] | None = None

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal hints
        if hints is None:
            hints = _hints(fn)
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # too few, too many or unknown: Python says which
            return fn(*args, **kwargs)
        place = type(args[0]).__name__ if fn.__name__ == "__init__" else fn.__qualname__
        check(place, {name: value for name, value in given.items() if name in hints}, hints)
        return fn(*args, **kwargs)

    return cast(F, call)


def check(place: str, given: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Compare values with type hints, both by name; `place` says in the message whose they are.

    Raises:
        DTypeError: a value is of another kind than its hint says.
        InputError: it is out of the range, or none of the texts, that the hint says.
    """
    for name, value in given.items():
        if not fits(value, hints[name]):
            error = InputError if fits(value, hints[name], kind_only=True) else DTypeError
            raise error(f"{place}: got {name}={short(value)}, expected {_words(hints[name])}")


class Kinds:
    """The type hints of an operation's parameters, in a form with which a call is compared quickly.

    Operands, whose hints say no more than that they are numbers, are looked at by the primitives that they reach, and
    hints of `elsewhere` by whom the operation calls.
    """

    def __init__(self, name: str, function: Callable[..., Any], elsewhere: Sequence[Any] = ()) -> None:
        self.name, self.function = name, function
        self.elsewhere = elsewhere
        self.says_more = True  # than what is looked at elsewhere
        self._hints: dict[str, Any] | None = None
        self._names: list[str] = []
        self._certain: dict[str, set[type]] = {}

    def compare(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Look at the arguments of a call.

        Raises:
            DTypeError, InputError: as `check`.
        """
        if self._hints is None:  # once, and not when the package is imported
            hints = _hints(self.function)
            hints = {key: hint for key, hint in hints.items() if hint not in self.elsewhere}
            hints = {key: hint for key, hint in hints.items() if not fits(_OPERAND, hint)}
            listed = inspect.signature(self.function).parameters.values()
            self._names = [one.name for one in listed if one.kind <= one.POSITIONAL_OR_KEYWORD]
            self._certain = dict.fromkeys(self._names, USUAL) | {key: _certain(hint) for key, hint in hints.items()}
            self.says_more = bool(hints)
            self._hints = hints  # the last one: other threads compare as soon as there are hints
        certain = self._certain
        for name, value in zip(self._names, args, strict=False):
            if type(value) not in certain[name]:
                self._look_at(name, value)
        for name in kwargs:
            if type(kwargs[name]) not in certain.get(name, USUAL):
                self._look_at(name, kwargs[name])

    def _look_at(self, name: str, value: Any) -> None:
        if self._hints and name in self._hints:
            check(self.name, {name: value}, self._hints)
        elif hasattr(type(value), "__array__"):
            numeric(value, self.name)  # masked, or another framework's: NumPy would take it for an array


USUAL = {np.ndarray, int, float, bool, list, tuple, slice, type(None)}
"""Types of operands that need no look; tensors are added where they are defined."""
_OPERAND = np.array(0.5)


def _certain(hint: Any) -> set[type]:
    """Types of which every value is what a hint says; for a flag, as for NumPy, whole numbers too."""
    return {type(value) for value in (-1, -0.5, True, None) if fits(value, hint)} | ({int} if hint is bool else set())


def _hints(fn: Any) -> dict[str, Any]:
    packed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [name for name, one in inspect.signature(fn).parameters.items() if one.kind not in packed]
    hints = get_type_hints(inspect.unwrap(fn), localns=_Names(fn.__globals__), include_extras=True)
    return {name: hints[name] for name in names if name in hints} or {"": Any}


class _Names(dict[str, Any]):
    """What the names in type hints stand for; what only type checkers import may be anything."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


_PLAIN: dict[Any, Any] = {
    bool: bool | np.bool_,
    int: int | np.integer,
    float: int | float | np.integer | np.floating,
}


def fits(value: Any, hint: Any, kind_only: bool = False) -> bool:
    """Whether a value is what a type hint says; True where that says nothing which can be seen at once.

    Args:
        value: what to look at.
        hint: a type hint.
        kind_only: whether to leave out ranges, and which of the texts of a `Literal` it is.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Annotated:
        kind, limits = inner
        return fits(value, kind, kind_only=True) and (kind_only or _is_in(value, kind, limits))
    if origin in (Union, UnionType):
        inner = _without_nesting(inner)
        return any(fits(value, one, kind_only) for one in inner)
    if np.ndarray in (hint, origin):
        return _are_numbers(value)
    if origin is Literal:
        return any(isinstance(value, type(one)) and (kind_only or value == one) for one in inner)
    if hint in (None, type(None)):
        return value is None
    if hint in _PLAIN:
        if not isinstance(value, _PLAIN[hint]) or (isinstance(value, bool) and hint is not bool):
            return False
        return kind_only or hint is bool or (_is_float(value) if hint is float else -(2**63) <= value < 2**63)
    if origin is Callable:
        return callable(value)
    if origin in (list, tuple, Sequence, Iterable):
        if isinstance(value, str):  # a text is a sequence of texts: tokens="hello"
            return origin in (Sequence, Iterable) and inner == (str,)
        if not hasattr(value, "__iter__" if origin is Iterable else "__len__") or isinstance(
            value, bytes | dict | set | type
        ):
            return False
        return not isinstance(value, list | tuple | np.ndarray) or _items_fit(value, origin, inner, kind_only)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    plain = origin is None and isinstance(hint, type) and not getattr(hint, "_is_protocol", False)
    return isinstance(value, hint) if plain else True


def _without_nesting(union: tuple[Any, ...]) -> tuple[Any, ...]:
    """The parts of a union, an array in place of those that an `ArrayLike` consists of, which no plain sequence is."""
    if not any(getattr(get_origin(one), "__name__", "") == "_NestedSequence" for one in union):
        return union
    own = __name__.partition(".")[0]
    kept = (one for one in union if one is type(None) or str(one.__module__).partition(".")[0] == own)
    return np.ndarray, *kept, *(one for one in union if get_origin(one) in (list, tuple, Sequence, dict, Mapping))


def _are_numbers(value: Any) -> bool:
    try:
        numeric(raw(value), "")
    except TensorError:
        return False
    return True


def _is_in(number: Any, kind: Any, limits: Range) -> bool:
    try:
        return (float(number) if kind is float else number) in limits
    except OverflowError:
        return False


def _is_float(number: Any) -> bool:
    try:
        return not math.isnan(float(number))
    except OverflowError:
        return False


def _items_fit(given: Any, origin: Any, inner: Sequence[Any], kind_only: bool) -> bool:
    if isinstance(given, np.ndarray) and given.ndim == 0:
        return False
    if origin is tuple and inner[-1:] != (Ellipsis,):
        return len(given) == len(inner) and all(map(fits, given, inner, [kind_only] * len(inner)))
    return not inner or inner[0] is Any or all(fits(item, inner[0], kind_only) for item in given)


def _words(hint: Any) -> str:
    """A type hint as one would say it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return str(inner[1].words(inner[0]))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_words, _without_nesting(inner))))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Callable:
        return "a function"
    if origin is tuple and inner[-1:] != (Ellipsis,):
        return f"({', '.join(map(_words, inner))})"
    if origin in (list, tuple, Sequence, Iterable):
        return f"a list of {_words(inner[0])}" if inner and inner[0] is not Any else "a list"
    if origin in (dict, Mapping):
        return "entries by name"
    if np.ndarray in (hint, origin):
        return "an array of numbers"
    return _SAID.get(hint) or str(getattr(origin or hint, "__name__", hint))


_SAID: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "True or False",
    type(None): "None",
    np.random.Generator: "np.random.default_rng(seed)",
}
