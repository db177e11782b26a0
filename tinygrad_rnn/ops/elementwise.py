"""Elementwise arithmetic: any shapes that broadcast; the result has the broadcast shape.

In the rules `g` is the gradient of the output `y`; the engine sums it back over broadcast axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.primitive import composed, primitive
from ..core.tensor import Array, Tensor, numeric, raw, registry
from ..core.traits import Traits
from ..errors import DTypeError
from .table import entry

add = entry(
    np.add, "a + b.", (lambda g, y, a, b: g, "g"), (lambda g, y, a, b: g, "g"), symbol="+", infix=True, linear=True
)

subtract = entry(
    np.subtract,
    "a - b.",
    (lambda g, y, a, b: g, "g"),
    (lambda g, y, a, b: -g, "−g"),
    symbol="−",
    infix=True,
    linear=True,
)

multiply = entry(
    np.multiply,
    "a * b.",
    (lambda g, y, a, b: g * b, "g ⊙ {1}"),
    (lambda g, y, a, b: g * a, "g ⊙ {0}"),
    symbol="⊙",
    infix=True,
)

divide = entry(
    np.divide,
    "a / b.",
    (lambda g, y, a, b: g / b, "g / {1}"),
    (lambda g, y, a, b: -g * y / b, "−g ⊙ y / {1}"),
    symbol="/",
    infix=True,
)

remainder = entry(
    np.remainder,
    "a - b * floor(a / b).",
    (lambda g, y, a, b: g, "g"),
    (lambda g, y, a, b: -g * np.floor(a / b), "−g ⊙ ⌊{0} / {1}⌋"),
    symbol="mod",
    infix=True,
)

fmod = primitive(
    np.fmod,
    vjps=[lambda g, y, a, b: g, lambda g, y, a, b: -g * np.trunc(a / b)],
    doc="a - b * trunc(a / b), of the sign of a.",
)

negative = entry(np.negative, "-x.", (lambda g, y, x: -g, "−g"), symbol="−", formula="−{0}", linear=True)
positive = entry(np.positive, "+x.", (lambda g, y, x: g, "g"), symbol="+", formula="{0}", linear=True)
reciprocal = entry(np.reciprocal, "1 / x.", (lambda g, y, x: -g * y * y, "−g ⊙ y²"), symbol="1/", formula="1 / {0}")
square = entry(np.square, "x * x.", (lambda g, y, x: 2 * g * x, "2 g ⊙ {0}"), formula="{0}²", symbol="square")


def _by_base(g: Any, y: Any, a: Any, b: Any) -> Any:
    if isinstance(b, (int, float)):
        return g * (b * a ** (b - 1)) if b else g * 0
    return g * b * np.where((a == 0) & (b == 0), 1, a) ** (b - 1)  # 0 where both are 0, not 0 * inf


power = entry(
    np.power,
    "a to the power b. The gradient with respect to b is 0 where a <= 0, as the logarithm is not defined there.",
    (_by_base, "g ⊙ {1} ⊙ {0} ^ ({1} − 1)"),
    (lambda g, y, a, b: g * y * np.log(np.where(a > 0, a, 1)), "g ⊙ y ⊙ log({0})"),
    symbol="^",
    infix=True,
)

sqrt = entry(np.sqrt, "The square root of x.", (lambda g, y, x: g * 0.5 / y, "g / (2 y)"), symbol="√")
cbrt = entry(np.cbrt, "The cube root of x.", (lambda g, y, x: g / (3 * y * y), "g / (3 y²)"), symbol="∛")
exp = entry(np.exp, "e to the power x.", (lambda g, y, x: g * y, "g ⊙ y"))
expm1 = entry(np.expm1, "exp(x) - 1, precise near 0.", (lambda g, y, x: g * (y + 1), "g ⊙ (y + 1)"))
exp2 = entry(np.exp2, "2 to the power x.", (lambda g, y, x: g * y * math.log(2), "g ⊙ y ⊙ log(2)"))
log2 = entry(np.log2, "The logarithm of x to base 2.", (lambda g, y, x: g / (x * math.log(2)), "g / ({0} ⊙ log(2))"))

log10 = entry(
    np.log10, "The logarithm of x to base 10.", (lambda g, y, x: g / (x * math.log(10)), "g / ({0} ⊙ log(10))")
)

log = entry(np.log, "The natural logarithm of x.", (lambda g, y, x: g / x, "g / {0}"))
log1p = entry(np.log1p, "log(1 + x), precise near 0.", (lambda g, y, x: g / (1 + x), "g / (1 + {0})"))


def _by_logaddexp(g: Any, y: Any, a: Any, b: Any) -> Any:
    infinite = np.isinf(y)
    share = np.exp(np.where(infinite, -np.inf, np.where(infinite, 0, a) - np.where(infinite, 0, y)))
    return g * share + _share(g, np.logical_and(a == np.inf, b < np.inf), np.logical_and(a == np.inf, b == np.inf))


logaddexp = entry(
    np.logaddexp,
    "log(exp(a) + exp(b)) without overflow. Where it is inf, the operands that are inf share the gradient evenly; "
    "where it is -inf, neither has any.",
    (_by_logaddexp, "g ⊙ exp({0} − y)"),
    (lambda g, y, a, b: _by_logaddexp(g, y, b, a), "g ⊙ exp({1} − y)"),
)


@composed(of=np.logaddexp2)
def logaddexp2(a: Any, b: Any) -> Any:
    """log2(2^a + 2^b) without overflow."""
    return np.logaddexp(a * math.log(2), b * math.log(2)) / math.log(2)


absolute = entry(
    np.absolute,
    "|x|; the gradient at 0 is 0.",
    (lambda g, y, x: g * np.sign(x), "g ⊙ sign({0})"),
    name="abs",
    symbol="|·|",
    formula="|{0}|",
)


fabs = entry(
    np.fabs,
    "|x| as a floating number; the gradient at 0 is 0.",
    (lambda g, y, x: g * np.sign(x), "g ⊙ sign({0})"),
    symbol="|·|",
    formula="|{0}|",
)


def _share(g: Any, wins: Any, ties: Any) -> Any:
    return np.where(wins, g, np.where(ties, 0.5 * g, 0))


maximum = entry(
    np.maximum,
    "The larger of a and b; equal values share the gradient evenly.",
    (lambda g, y, a, b: _share(g, a > b, a == b), "g where {0} > {1}, else 0"),
    (lambda g, y, a, b: _share(g, b > a, a == b), "g where {1} > {0}, else 0"),
)

minimum = entry(
    np.minimum,
    "The smaller of a and b; equal values share the gradient evenly.",
    (lambda g, y, a, b: _share(g, a < b, a == b), "g where {0} < {1}, else 0"),
    (lambda g, y, a, b: _share(g, b < a, a == b), "g where {1} < {0}, else 0"),
)


def _by_fmax(g: Any, y: Any, a: Any, b: Any) -> Any:
    return _share(g, np.logical_or(a > b, np.isnan(b)), a == b)


def _by_fmin(g: Any, y: Any, a: Any, b: Any) -> Any:
    return _share(g, np.logical_or(a < b, np.isnan(b)), a == b)


fmax = primitive(
    np.fmax,
    vjps=[_by_fmax, lambda g, y, a, b: _by_fmax(g, y, b, a)],
    doc="The larger of a and b, or the one that is a number; equal values share the gradient evenly.",
)

fmin = primitive(
    np.fmin,
    vjps=[_by_fmin, lambda g, y, a, b: _by_fmin(g, y, b, a)],
    doc="The smaller of a and b, or the one that is a number; equal values share the gradient evenly.",
)


@primitive(
    vjps=[
        lambda g, y, x, low, high: np.where(np.logical_and(x >= low, x <= high), g, 0),
        lambda g, y, x, low, high: np.where(np.logical_and(x < low, low <= high), g, 0),
        lambda g, y, x, low, high: np.where(np.logical_or(x > high, low > high), g, 0),
    ],
    name="clip",
    traits=Traits(elementwise=True, alias="new"),
)
def _clip(x: Array, low: Array, high: Array) -> Array:
    return np.clip(x, low, high)


@composed(of=np.clip)
def clip(x: Array | Tensor, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """x limited to [a_min, a_max] (None: no limit); a limit receives the gradient of what it replaced."""
    low, high = a_min if min is None else min, a_max if max is None else max
    if raw(x).dtype.kind in "iu":
        limits = np.iinfo(raw(x).dtype)
        return _clip(x, limits.min if low is None else low, limits.max if high is None else high)
    return _clip(x, -np.inf if low is None else low, np.inf if high is None else high)


@primitive(
    vjps=[None, lambda g, y, mask, a, b: np.where(mask, g, 0), lambda g, y, mask, a, b: np.where(mask, 0, g)],
    of=np.where,
    traits=Traits(elementwise=True, alias="new", backward=("", "g where {0}, else 0", "0 where {0}, else g")),
)
def where(mask: Array, a: Array, b: Array) -> Array:
    """a where the mask is true, else b."""
    return np.where(mask, a, b)


@composed(of=np.select)
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """Where the first of the masks is true the first choice, else by the second one, and so on."""
    for mask, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        default = np.where(mask, choice, default)
    return default


@composed(of=np.real)
def real(x: Any) -> Any:
    """x itself, if it is real.

    Raises:
        DTypeError: it is complex, for which there is no rule.
    """
    array = numeric(raw(x), "real")
    if array.dtype.kind == "c":
        raise DTypeError("real: got complex numbers, which have no rule; take t.data.real")
    return x if isinstance(x, Tensor) else array


@composed(of=np.nan_to_num)
def nan_to_num(x: Any, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """x with numbers for NaN and the infinities (by default the largest of its dtype), which receive no gradient."""
    if raw(x).dtype.kind in "iub":
        return x
    limits = np.finfo(raw(x).dtype)
    x = np.where(np.isnan(x), nan, x)
    x = np.where(x == np.inf, limits.max if posinf is None else posinf, x)
    return np.where(x == -np.inf, limits.min if neginf is None else neginf, x)


@primitive(
    vjps=[lambda g, y, x, dtype: g],
    of=np.astype,
    traits=Traits(elementwise=True, alias="new", moves=True, linear=True, backward=("g",)),
)
def astype(x: Array, dtype: Any) -> Array:
    """x in another dtype; its gradient comes back in x's own."""
    return np.array(x, dtype=dtype)


@composed(of=np.copy)
def copy(x: Array | Tensor) -> Any:
    """The same values in new memory."""
    return astype(x, dtype=x.dtype)


registry[np.abs] = absolute
registry[np.real_if_close] = real
registry[np.conjugate] = positive

__all__ = ["absolute", "add", "astype", "cbrt", "clip", "copy", "divide", "exp", "exp2", "expm1", "fabs", "fmax"]
__all__ += ["fmin", "fmod", "log", "log1p", "log2", "log10", "logaddexp", "logaddexp2", "maximum", "minimum"]
__all__ += ["multiply", "nan_to_num", "negative", "positive", "power", "real", "reciprocal", "remainder", "select"]
__all__ += ["sqrt", "square", "subtract", "where"]
