"""Vocabulary: what the words of the source are, and which lines import them, so that it runs by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..core.primitive import Primitive
from ..escape import identifier
from .sizes import Fraction, Size
from .statements import Call, Expr, Given
from .written import name_of, written

NUMPY = {
    *("add", "arange", "array", "broadcast_to", "concatenate", "copyto", "divide", "dot", "einsum", "empty", "exp"),
    *("expand_dims", "float32", "full", "inf", "matmul", "maximum", "minimum", "moveaxis", "multiply", "nan", "ones"),
    *("s_", "stack", "tanh", "zeros"),
}
"""NumPy's names that are written by the rules, not for a primitive of that name."""

_SHORT = 16  # numbers; a longer array is not worth reading


def called(p: Primitive) -> str:
    """How the source calls a primitive: by NumPy's name, or that of its definition or of a parameter."""
    if _is_numpys(p):
        return p.function.__name__
    return identifier(p.name) if is_given(p) else name_of(p.function)


def is_given(p: Primitive) -> bool:
    """Whether the source cannot define it, such as a user's own, and gets its function as a parameter."""
    return not _is_numpys(p) and (not is_known(p) or written(p.function) is None)


def is_known(p: Primitive) -> bool:
    """Whether it is NumPy's or this package's, and no user's own."""
    module = getattr(p.function, "__module__", None) or ""
    return _is_numpys(p) or module.startswith(__name__.split(".")[0] + ".")


def _is_numpys(p: Primitive) -> bool:
    return p.is_ufunc and getattr(np, p.function.__name__, None) is p.function


def words(code: str) -> set[str]:
    """The names in a piece of source, without attributes."""
    return set(re.findall(r"(?<![\w.])[^\W\d]\w*", code))


def imports(code: str, used: Iterable[Primitive]) -> Iterator[str]:
    """The import lines for `code`, in which the primitives `used` may be called."""
    found = words(code)
    if "np" in found:
        yield "import numpy as np"
    numpys = found & (NUMPY | {called(p) for p in used if _is_numpys(p)})
    if numpys:
        yield f"from numpy import {', '.join(sorted(numpys))}"


def uniform(value: np.ndarray[Any, Any]) -> Any:
    """The number that all entries of an array are, or None."""
    if value.dtype.kind not in "biuf" or value.itemsize > 8 or not value.size:
        return None
    entries = np.ascontiguousarray(value).reshape(-1)
    bits = entries.view(f"V{value.itemsize}")  # so that -0.0 is not 0.0, and nan is nan
    return entries[0].item() if (bits == bits[0]).all() else None


def literal(value: np.ndarray[Any, Any]) -> Expr | None:
    """An array as an expression that gives it back bit by bit, or None if that is too long to read."""
    shape, kind, number = value.shape, value.dtype.kind, uniform(value)
    if kind not in "biuf" or value.itemsize > 8:
        return None
    dtype = value.dtype.str.lstrip("<=|").replace("b1", "?")
    named = {known: () if dtype == known else (("dtype", value.dtype),) for known in ("f8", "i8")}
    usual = () if dtype in ("f8", "i8", "?") else (("dtype", value.dtype),)
    if not value.size or repr(number) in ("0.0", "0", "False"):
        return Call("zeros", (shape,), named["f8"])
    if number is not None:
        return Call("ones", (shape,), named["f8"]) if number == 1 else Call("full", (shape, number), usual)
    if kind == "i" and value.size == max(shape, default=0) and (value.reshape(-1) == np.arange(value.size)).all():
        numbers = Call("arange", (value.size,), named["i8"])
        return numbers if value.ndim == 1 else Call(".reshape", (numbers, *shape))
    return Call("array", (Given(value.tolist(), ""),), usual) if value.size <= _SHORT else None


def parameter(value: Any) -> str | None:
    """A primitive's parameter as source text; a dtype by its name; None for what has no text, such as an array."""
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, (np.generic, float, int))):
        return repr(np.dtype(value).name)
    return repr(value) if _is_plain(value) else None


def _is_plain(value: Any) -> bool:
    """Whether its repr is source that gives it back."""
    kind = type(value)
    if kind is tuple or kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        return all(map(_is_plain, (*value, *value.values())))
    if kind is slice:
        return all(map(_is_plain, (value.start, value.stop, value.step)))
    return value is None or value is Ellipsis or kind in (bool, int, float, str, Size, Fraction)
