"""Comparisons, logic, rounding and indices of extremes: not differentiable, so they give plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.primitive import primitive
from ..core.tensor import Array, registry
from ..core.traits import Traits
from .axes import lift_along

equal = primitive(np.equal, vjps=[None, None], doc="a == b.", traits=Traits(symbol="=", infix=True))
not_equal = primitive(np.not_equal, vjps=[None, None], doc="a != b.", traits=Traits(symbol="≠", infix=True))
less = primitive(np.less, vjps=[None, None], doc="a < b.", traits=Traits(symbol="<", infix=True))
less_equal = primitive(np.less_equal, vjps=[None, None], doc="a <= b.", traits=Traits(symbol="≤", infix=True))
greater = primitive(np.greater, vjps=[None, None], doc="a > b.", traits=Traits(symbol=">", infix=True))
greater_equal = primitive(np.greater_equal, vjps=[None, None], doc="a >= b.", traits=Traits(symbol="≥", infix=True))

logical_and = primitive(
    np.logical_and, vjps=[None, None], doc="Whether both a and b.", traits=Traits(symbol="∧", infix=True)
)

logical_or = primitive(
    np.logical_or, vjps=[None, None], doc="Whether a or b or both.", traits=Traits(symbol="∨", infix=True)
)

logical_xor = primitive(np.logical_xor, vjps=[None, None], doc="Whether either a or b.")
logical_not = primitive(np.logical_not, vjps=[None], doc="Whether not x.")
isnan = primitive(np.isnan, vjps=[None], doc="Whether x is not a number.")
isinf = primitive(np.isinf, vjps=[None], doc="Whether x is infinite.")
isfinite = primitive(np.isfinite, vjps=[None], doc="Whether x is neither infinite nor NaN.")
sign = primitive(np.sign, vjps=[None], doc="-1, 0 or 1.")
floor = primitive(np.floor, vjps=[None], doc="The largest integer not above x.")
ceil = primitive(np.ceil, vjps=[None], doc="The smallest integer not below x.")
trunc = primitive(np.trunc, vjps=[None], doc="x without its fractional part.")
rint = primitive(np.rint, vjps=[None], doc="x rounded to the nearest integer, halves to even.")
floor_divide = primitive(np.floor_divide, vjps=[None, None], doc="floor(a / b).")


@primitive(vjps=[None], of=np.round, name="round", traits=Traits(elementwise=True, alias="new"))
def round_(x: Array, decimals: int = 0) -> Array:
    """x rounded to `decimals` places."""
    return np.round(x, decimals)


@primitive(vjps=[None], of=np.argmax, traits=Traits(alias="new", lift=lift_along))
def argmax(x: Array, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """The index of the largest entry along `axis`, of the flattened array by default; the first of equals."""
    return np.argmax(x, axis=axis, keepdims=keepdims)


@primitive(vjps=[None], of=np.argmin, traits=Traits(alias="new", lift=lift_along))
def argmin(x: Array, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """The index of the smallest entry along `axis`, of the flattened array by default; the first of equals."""
    return np.argmin(x, axis=axis, keepdims=keepdims)


@primitive(vjps=[None], of=np.argsort, traits=Traits(alias="new", lift=lift_along))
def argsort(x: Array, axis: int | None = -1, *, kind: Any = None) -> Array:
    """The indices that put x in rising order along `axis`; None sorts the flattened array."""
    return np.argsort(x, axis=axis, kind=kind)


@primitive(vjps=[None], of=np.argpartition, traits=Traits(alias="new", lift=lift_along))
def argpartition(x: Array, kth: int, axis: int | None = -1) -> Array:
    """The indices that put the entry that belongs at place `kth` there, with no larger one before it."""
    return np.argpartition(x, kth, axis=axis)


registry[np.around] = round_
registry[np.fix] = trunc

__all__ = ["argmax", "argmin", "argpartition", "argsort", "ceil", "equal", "floor", "floor_divide", "greater"]
__all__ += ["greater_equal", "isfinite", "isinf", "isnan", "less", "less_equal", "logical_and", "logical_not"]
__all__ += ["logical_or", "logical_xor", "not_equal", "rint", "round_", "sign", "trunc"]
