"""Statistics: averages and order statistics, and the reductions that pass over NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.primitive import composed
from ..core.tensor import Axis, numeric, raw
from ..errors import InputError, ShapeError
from .axes import axes_of, in_front_of


@composed(of=np.average)
def average(x: Any, axis: int | None = None, weights: Any = None, *, keepdims: bool = False) -> Any:
    """The mean over `axis` with `weights`, of the shape of x or of that axis; their sum may be any but 0."""
    if weights is None:
        return np.mean(x, axis=axis, keepdims=keepdims)
    shape = np.shape(raw(x))
    if np.shape(raw(weights)) != shape:
        if axis is None or np.shape(raw(weights)) != (shape[axis],):
            raise ShapeError(
                f"average: got weights of shape {np.shape(raw(weights))} for x of shape {shape} over axis={axis}, "
                "expected the same shape, or one weight for each place along the axis"
            )
        weights = np.reshape(weights, [n if i == axis % len(shape) else 1 for i, n in enumerate(shape)])
        weights = np.broadcast_to(weights, shape)
    total = np.sum(weights, axis=axis, keepdims=keepdims)
    return np.sum(x * weights, axis=axis, keepdims=keepdims) / total


@composed(of=np.ptp)
def ptp(x: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The maximum minus the minimum over `axis`."""
    return np.max(x, axis=axis, keepdims=keepdims) - np.min(x, axis=axis, keepdims=keepdims)


@composed(of=np.quantile)
def quantile(x: Any, q: Any, axis: Axis = None, *, method: str = "linear", keepdims: bool = False) -> Any:
    """The value below which the share q of the entries over `axis` lies, interpolated between neighbours.

    Args:
        x: any shape; a NaN makes the result NaN.
        q: a number from 0 to 1, or a vector of them, which becomes the first axis of the result.
        axis: over which; None takes all entries.
        method: "linear", the only one with a rule.
        keepdims: leave an axis of length 1.
    """
    share = _shares(q)
    if method != "linear" or share.ndim > 1 or not np.all((share >= 0) & (share <= 1)):
        raise InputError(f"quantile: got q={q!r} and method={method!r}, expected shares from 0 to 1 and 'linear'")
    shape = np.shape(raw(x))
    axes = axes_of(axis, len(shape))
    front = np.moveaxis(x, axes, range(len(axes)))
    rest = np.shape(raw(front))[len(axes) :]
    ordered = np.sort(np.reshape(front, (-1, *rest)), axis=0)
    dtype = np.dtype(np.float64) if raw(x).dtype.kind in "iub" else raw(x).dtype
    at = share * (np.shape(raw(ordered))[0] - 1)
    low, high = np.floor(at).astype(int), np.ceil(at).astype(int)
    weight = np.reshape(at - low, share.shape + (1,) * len(rest)).astype(dtype)
    y = ordered[low] * (1 - weight) + ordered[high] * weight
    y = np.where(np.isnan(ordered[-1]), np.nan, y)
    return np.reshape(y, (*share.shape, *(1 if i in axes else n for i, n in enumerate(shape)))) if keepdims else y


def _shares(q: Any) -> Any:
    """q in double precision; complex numbers are refused by NumPy's rule for casts."""
    return numeric(raw(q), "quantile: q").astype(np.float64, casting="same_kind")


@composed(of=np.percentile)
def percentile(x: Any, q: Any, axis: Axis = None, *, method: str = "linear", keepdims: bool = False) -> Any:
    """The quantile of the share q / 100."""
    return quantile(x, _shares(q) / 100, axis=axis, method=method, keepdims=keepdims)


@composed(of=np.median)
def median(x: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The middle entry along `axis`, or the mean of the middle two."""
    return quantile(x, 0.5, axis=axis, keepdims=keepdims)


@composed(of=np.nansum)
def nansum(x: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The sum of the entries that are numbers; the others receive no gradient."""
    return np.sum(np.where(np.isnan(x), 0, x), axis=axis, keepdims=keepdims)


@composed(of=np.nanprod)
def nanprod(x: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The product of the entries that are numbers; the others receive no gradient."""
    return np.prod(np.where(np.isnan(x), 1, x), axis=axis, keepdims=keepdims)


@composed(of=np.nanmean)
def nanmean(x: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The mean of the entries that are numbers."""
    return np.mean(x, axis=axis, keepdims=keepdims, where=np.logical_not(np.isnan(x)))


@composed(of=np.nanvar)
def nanvar(x: Any, axis: Axis = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    """The variance of the entries that are numbers."""
    return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims, where=np.logical_not(np.isnan(x)))


@composed(of=np.nanstd)
def nanstd(x: Any, axis: Axis = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    """The standard deviation of the entries that are numbers."""
    return np.std(x, axis=axis, ddof=ddof, keepdims=keepdims, where=np.logical_not(np.isnan(x)))


@composed(of=np.nanmax)
def nanmax(x: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The maximum of the entries that are numbers; NaN where there are none."""
    if raw(x).dtype.kind in "iub":
        return np.max(x, axis=axis, keepdims=keepdims)
    y = np.max(np.where(np.isnan(x), -np.inf, x), axis=axis, keepdims=keepdims)
    return np.where(np.min(np.isnan(x), axis=axis, keepdims=keepdims), np.nan, y)


@composed(of=np.nanmin)
def nanmin(x: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The minimum of the entries that are numbers; NaN where there are none."""
    if raw(x).dtype.kind in "iub":
        return np.min(x, axis=axis, keepdims=keepdims)
    return -nanmax(-x, axis=axis, keepdims=keepdims)


@composed(of=np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The integral of y along `axis` by the trapezoidal rule, at the places x (a vector) or at distances dx."""
    before = in_front_of(axis, y)
    if x is not None and np.ndim(raw(x)) != 1:
        raise ShapeError(f"trapezoid: got x of shape {np.shape(raw(x))}, expected a vector along the axis")
    width = dx if x is None else np.reshape(np.diff(x), (-1, *(1,) * (np.ndim(raw(y)) - len(before) - 1)))
    return np.sum(width * (y[before + (slice(1, None),)] + y[before + (slice(-1),)]) / 2, axis=axis)


@composed(of=np.gradient)
def gradient(f: Any, *spacing: float, axis: Axis = None) -> Any:
    """The slopes of f by central differences, one-sided at the ends: along one axis, or a tuple for several.

    Args:
        f: two entries or more along each axis.
        spacing: the distance of neighbours, one for all axes or one for each; by default 1.
        axis: along which; None takes all.
    """
    axes = axes_of(axis, np.ndim(raw(f)))
    if any(np.shape(raw(f))[i] < 2 for i in axes):
        raise ShapeError(f"gradient: got shape {np.shape(raw(f))}, expected two entries or more along axes {axes}")
    steps = spacing * len(axes) if len(spacing) == 1 else spacing or (1.0,) * len(axes)
    if len(steps) != len(axes) or any(np.ndim(raw(each)) for each in steps):
        raise InputError(f"gradient: got {spacing!r} as spacing for {len(axes)} axes, expected one number, or one each")
    slopes = []
    for i, h in zip(axes, steps, strict=True):
        x = np.moveaxis(f, i, 0)
        inner = (x[2:] - x[:-2]) / 2
        slopes.append(np.moveaxis(np.concatenate([x[1:2] - x[:1], inner, x[-1:] - x[-2:-1]]) / h, 0, i))
    return slopes[0] if len(slopes) == 1 else tuple(slopes)


@composed(of=np.linspace)
def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True) -> Any:
    """`num` numbers in equal distances from start to stop, along a new first axis."""
    share = np.linspace(0.0, 1.0, num, endpoint)
    ndim = int(np.maximum(np.ndim(raw(start)), np.ndim(raw(stop))))
    dtype = np.result_type(raw(start), raw(stop))
    share = np.reshape(share, (-1, *(1,) * ndim)).astype(dtype if dtype.kind == "f" else np.float64)
    return start * (1 - share) + stop * share


__all__ = ["average", "gradient", "linspace", "median", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum"]
__all__ += ["nanvar", "percentile", "ptp", "quantile", "trapezoid"]
