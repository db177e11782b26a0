"""Reductions over axes: `axis` is an integer, a tuple, or None for all; `keepdims` leaves length-1 axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.primitive import Primitive, composed, primitive
from ..core.tensor import Array, Axis, raw, registry
from ..core.traits import Traits
from ..errors import InputError
from .axes import axes_of, lift_along, lift_over
from .elementwise import astype

_total: Any = np.add.reduce
"""What np.sum and np.mean call in the end, without wrappers that cost more than a small sum."""


def _stretch(g: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """Give a reduced gradient its axes back, broadcast over what was reduced."""
    return np.broadcast_to(g if axis is None else with_axes(g, x, axis, keepdims), x.shape)


def with_axes(reduced: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """Put the axes of `x` that a reduction dropped back, with length 1."""
    if keepdims or x.ndim == 0:
        return reduced
    kept = [1 if i in axes_of(axis, x.ndim) else n for i, n in enumerate(x.shape)]
    return np.reshape(reduced, kept)


def _count(x: Any, axis: Axis) -> int:
    return x.size if axis is None else math.prod(x.shape[i] for i in axes_of(axis, x.ndim))


def _over(g: Any, y: Any) -> Any:
    """g / y, and 0 where y is 0, with all its derivatives."""
    return np.where(y == 0, 0, g / np.where(y == 0, 1, y))


@primitive(
    vjps=[lambda g, y, x, axis, keepdims: _stretch(g, x, axis, keepdims)],
    of=np.sum,
    traits=Traits(alias="new", lift=lift_over, linear=True, symbol="Σ", backward=("g, repeated",)),
)
def sum(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The sum over `axis`."""
    return _total(x, axis=axis, keepdims=keepdims)


@primitive(
    vjps=[lambda g, y, x, axis, keepdims: _stretch(g, x, axis, keepdims) / _count(x, axis)],
    of=np.mean,
    traits=Traits(alias="new", lift=lift_over, linear=True, backward=("g / n, repeated",)),
)
def mean(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The mean over `axis`."""
    x = np.asarray(x)
    wide = np.float32 if x.dtype == np.float16 else np.float64 if x.dtype.kind in "iub" else None
    y = _total(x, axis=axis, dtype=wide, keepdims=keepdims) / _count(x, axis)
    return y.astype(x.dtype) if wide is np.float32 else y


def _freedom(x: Any, axis: Axis, ddof: float) -> float:
    """What a variance divides by; 0 where there are fewer entries than `ddof`."""
    n = _count(x, axis) - ddof
    return n if n > 0 else 0


def _var(x: Any, axis: Axis = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    deviations = x - np.mean(x, axis=axis, keepdims=True)
    y = np.mean(np.square(np.abs(deviations) if x.dtype.kind == "c" else deviations), axis=axis, keepdims=keepdims)
    return y if ddof == 0 else y * _count(x, axis) / _freedom(x, axis, ddof)


def _deviations(x: Any, axis: Axis, ddof: float) -> Any:
    """The gradient of half the variance, for each entry."""
    return (x - np.mean(x, axis=axis, keepdims=True)) / _freedom(x, axis, ddof)


@primitive(
    vjps=[lambda g, y, x, axis, ddof, keepdims: 2 * with_axes(g, x, axis, keepdims) * _deviations(x, axis, ddof)],
    of=np.var,
    traits=Traits(alias="new", lift=lift_over, parts=_var),
)
def var(x: Array, axis: Axis = None, *, ddof: float = 0, keepdims: bool = False) -> Array:
    """The mean squared deviation from the mean over `axis`; ddof=1 divides by n - 1."""
    return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims)


@primitive(
    vjps=[lambda g, y, x, axis, ddof, keepdims: with_axes(_over(g, y), x, axis, keepdims) * _deviations(x, axis, ddof)],
    of=np.std,
    traits=Traits(alias="new", lift=lift_over),
)
def std(x: Array, axis: Axis = None, *, ddof: float = 0, keepdims: bool = False) -> Array:
    """The square root of the variance over `axis`; where it is 0 its derivatives of every order are 0."""
    return np.std(x, axis=axis, ddof=ddof, keepdims=keepdims)


@primitive(
    vjps=[lambda g, y, x, axis, keepdims: with_axes(_over(g, y), x, axis, keepdims) * x],
    name="norm",
    traits=Traits(alias="new", lift=lift_over, symbol="‖·‖", formula="‖{0}‖", backward=("g ⊙ {0} / y",)),
)
def euclidean(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


def _others(x: Any) -> Any:
    """For each entry along the first axis the product of all the others: exact at zeros, no division."""
    n = len(x)
    if n <= 1:
        return np.ones_like(x)
    even, odd = x[0 : n - n % 2 : 2], x[1::2]
    pairs = even * odd
    rest = _others(np.concatenate([pairs, x[n - 1 :]]) if n % 2 else pairs)
    both = np.reshape(np.stack([rest[: n // 2] * odd, rest[: n // 2] * even], axis=1), (n - n % 2, *x.shape[1:]))
    return np.concatenate([both, rest[n // 2 :]]) if n % 2 else both


def _by_prod(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    axes = axes_of(axis, x.ndim)
    first = tuple(range(len(axes)))
    moved = np.moveaxis(x, axes, first)
    others = np.reshape(_others(np.reshape(moved, (_count(x, axis), *moved.shape[len(axes) :]))), moved.shape)
    return with_axes(g, x, axis, keepdims) * np.moveaxis(others, first, axes)


@primitive(vjps=[_by_prod], of=np.prod, traits=Traits(alias="new", lift=lift_over, symbol="Π"))
def prod(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The product over `axis`."""
    return np.prod(x, axis=axis, keepdims=keepdims)


def _by_extreme(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    hit = x == with_axes(y, x, axis, keepdims)
    return np.where(hit, with_axes(g, x, axis, keepdims) / np.sum(astype(hit, x.dtype), axis=axis, keepdims=True), 0)


@primitive(
    vjps=[_by_extreme], of=np.max, traits=Traits(alias="new", lift=lift_over, backward=("g where {0} = y, else 0",))
)
def max(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The maximum over `axis`; equal maxima share the gradient evenly."""
    return np.max(x, axis=axis, keepdims=keepdims)


@primitive(
    vjps=[_by_extreme], of=np.min, traits=Traits(alias="new", lift=lift_over, backward=("g where {0} = y, else 0",))
)
def min(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The minimum over `axis`; equal minima share the gradient evenly."""
    return np.min(x, axis=axis, keepdims=keepdims)


def _refuse_out(name: str, out: Any) -> None:
    if out is not None:
        raise InputError(f"{name}: out= would change a tensor or leave the graph; take the result instead")


def _among(where: Any, x: Any, other: Any) -> Any:
    """x where the mask, which is broadcast to its shape, is true."""
    return np.where(np.broadcast_to(where, np.shape(raw(x))), x, other)


def _chosen(where: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """How many entries of x the mask chooses, in the dtype of x."""
    return np.sum(
        astype(np.broadcast_to(where, np.shape(raw(x))), np.asarray(raw(x)).dtype), axis=axis, keepdims=keepdims
    )


def _with_keywords(p: Primitive, nothing: float | None, combine: Callable[[Any, Any], Any]) -> None:
    """Give a reduction NumPy's other keywords: `nothing` is its value over no entries, if it has one."""

    @p.extend
    def extended(
        x: Any,
        axis: Axis = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        _refuse_out(p.name, out)
        x = x if dtype is None else astype(x, dtype)
        if where is not True:
            other = initial if nothing is None else nothing
            if other is None:
                raise InputError(f"{p.name}: where= needs initial=, which the result is where no entry is left")
            x = _among(where, x, other)
        y = p(x, axis, keepdims=keepdims)
        return y if initial is None else combine(y, initial)


_with_keywords(sum, 0, np.add)
_with_keywords(prod, 1, np.multiply)
_with_keywords(max, None, np.maximum)
_with_keywords(min, None, np.minimum)


@mean.extend
def _mean(
    x: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True
) -> Any:
    _refuse_out("mean", out)
    x = x if dtype is None else astype(x, dtype)
    if where is True:
        return mean(x, axis, keepdims=keepdims)
    return sum(_among(where, x, 0), axis, keepdims=keepdims) / _chosen(where, x, axis, keepdims)


def _spread(x: Any, axis: Axis, ddof: float, keepdims: bool, where: Any) -> tuple[Any, Any]:
    """The deviations of the chosen entries from their mean, with 0 for the others, and how many to divide by."""
    deviations = _among(where, x - np.mean(x, axis=axis, keepdims=True, where=where), 0)
    return deviations, _chosen(where, x, axis, keepdims) - ddof


def _with_mask(p: Primitive, of: Callable[[Any, Any, Axis, bool], Any]) -> None:
    """Give var or std NumPy's other keywords; `of` gives it from deviations, their count, the axis and keepdims."""

    @p.extend
    def extended(
        x: Any,
        axis: Axis = None,
        dtype: Any = None,
        out: Any = None,
        ddof: float = 0,
        keepdims: bool = False,
        *,
        where: Any = True,
        correction: float | None = None,
    ) -> Any:
        _refuse_out(p.name, out)
        x, ddof = x if dtype is None else astype(x, dtype), ddof if correction is None else correction
        if where is True:
            return p(x, axis, ddof=ddof, keepdims=keepdims)
        deviations, count = _spread(x, axis, ddof, keepdims, where)
        return of(deviations, count, axis, keepdims)


_with_mask(var, lambda deviations, n, axis, keepdims: sum(np.square(deviations), axis, keepdims=keepdims) / n)
_with_mask(std, lambda deviations, n, axis, keepdims: euclidean(deviations, axis, keepdims=keepdims) / np.sqrt(n))


def _by_cumsum(g: Any, y: Any, x: Any, axis: int | None) -> Any:
    along = -1 if axis is None else axis
    return np.reshape(np.flip(np.cumsum(np.flip(g, along), along), along), x.shape)


@primitive(vjps=[_by_cumsum], of=np.cumsum, traits=Traits(alias="new", lift=lift_along, linear=True))
def cumsum(x: Array, axis: int | None = None) -> Array:
    """The running sum along `axis`, or of the flattened array."""
    return np.cumsum(x, axis=axis)


@composed(of=np.cumprod)
def cumprod(x: Any, axis: int | None = None) -> Any:
    """The running product along `axis`, or of the flattened array.

    Its gradient is exact where entries are 0, for which n entries take n * n numbers of memory.
    """
    if axis is None:
        x, axis = np.reshape(x, -1), 0
    last = np.moveaxis(x, axis, -1)
    n = np.shape(raw(last))[-1]
    rows = np.where(np.tri(n, dtype=bool), np.expand_dims(last, -2), 1)
    return np.moveaxis(np.prod(rows, axis=-1), -1, axis)


@primitive(vjps=[None, None])
def place_of_extreme(x: Array, sign: Array, axis: int) -> Array:
    """The index along `axis` of the running maximum of sign * x, the first of equals; all after a NaN are its."""
    running = np.maximum.accumulate(sign * x, axis=axis)
    new = np.ones_like(running, dtype=bool)
    before, after = (
        tuple(slice(None) if i != axis % x.ndim else part for i in range(x.ndim))
        for part in (slice(None, -1), slice(1, None))
    )
    new[after] = ~((running[after] == running[before]) | np.isnan(running[before]))
    count = np.arange(x.shape[axis]).reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    return np.maximum.accumulate(np.where(new, count, 0), axis=axis)


@composed(of=np.maximum.accumulate)
def cummax(x: Any, axis: int = 0) -> Any:
    """The running maximum along `axis`; the first of equals has the gradient."""
    return np.take_along_axis(x, place_of_extreme(x, 1, axis), axis)


@composed(of=np.minimum.accumulate)
def cummin(x: Any, axis: int = 0) -> Any:
    """The running minimum along `axis`; the first of equals has the gradient."""
    return np.take_along_axis(x, place_of_extreme(x, -1, axis), axis)


def _of_ufunc(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that stands for a method of a ufunc, whose default is the first axis."""
    return lambda x, axis=0, **kwargs: function(x, axis=axis, **kwargs)


for _ufunc, _reduction in ((np.add, sum), (np.multiply, prod), (np.maximum, max), (np.minimum, min)):
    registry[_ufunc.reduce] = _of_ufunc(_reduction)
registry[np.add.accumulate] = _of_ufunc(cumsum)
registry[np.multiply.accumulate] = _of_ufunc(cumprod)
registry[np.amax] = max
registry[np.amin] = min

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "max", "mean", "min", "prod", "std", "sum", "var"]
