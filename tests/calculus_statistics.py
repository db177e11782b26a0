"""Entries of the table for averages, order statistics, running extremes and reductions that pass over NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from calculus import (
    Operands,
    an_axis_or_none,
    apart,
    arrays,
    case,
    dims,
    positive,
    reduction,
    shapes,
    with_params,
)
from hypothesis import strategies as st

from tinygrad_rnn.ops.reductions import place_of_extreme


@st.composite
def weighted(draw: Any) -> tuple[Operands, dict[str, Any]]:
    shape = draw(shapes(min_dims=1, min_side=1))
    axis = an_axis_or_none(draw, shape)
    of = shape if axis is None else draw(st.sampled_from([shape, (shape[axis],)]))
    return [draw(arrays(shape)), draw(arrays(of, positive))], {"axis": axis, "keepdims": draw(st.booleans())}


def _torch_average(torch: Any, x: Any, w: Any, axis: Any, keepdims: bool) -> Any:
    if w.shape != x.shape:
        w = torch.movedim(w.expand(torch.movedim(x, axis, -1).shape), -1, axis)
    over = dims(torch, x, axis)
    return (x * w).sum(over, keepdim=keepdims) / w.sum(over, keepdim=keepdims)


case(
    "average",
    weighted(),
    lambda x, w, axis, keepdims: np.average(x, axis=axis, weights=w, keepdims=keepdims),
    _torch_average,
)


def along(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {"axis": draw(st.integers(-len(shape), len(shape) - 1))}


for _name, _ufunc in (("cummax", np.maximum), ("cummin", np.minimum)):
    case(
        _name,
        with_params(apart, params=along, min_dims=1, min_side=1),
        lambda x, axis, ufunc=_ufunc: ufunc.accumulate(x, axis=axis),
        lambda torch, x, axis, name=_name: getattr(torch, name)(x, axis).values,
    )
case(
    "place_of_extreme",
    with_params(apart, params=along, min_dims=1, min_side=1),
    lambda x, axis: place_of_extreme(x, -1, axis),
    lambda torch, x, axis: torch.cummin(x, axis).indices,
)
case(
    "ptp",
    with_params(apart, params=reduction, min_side=1),
    lambda x, axis, keepdims: np.ptp(x, axis=axis, keepdims=keepdims),
    lambda torch, x, axis, keepdims: (
        torch.amax(x, dims(torch, x, axis), keepdim=keepdims) - torch.amin(x, dims(torch, x, axis), keepdim=keepdims)
    ),
)


def shares(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {
        "axis": an_axis_or_none(draw, shape),
        "keepdims": False,
        "q": draw(st.sampled_from([0.0, 1.0, [0.25, 0.6]])),
    }


def several(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {**reduction(draw, shape), "q": draw(st.sampled_from([0.0, 0.3, [0.25, 0.6]]))}


def _torch_quantile(torch: Any, x: Any, axis: Any, keepdims: bool, q: Any = 0.5) -> Any:
    over = sorted(i % x.ndim for i in ((axis,) if isinstance(axis, int) else dims(torch, x, axis)))
    rest = [i for i in range(x.ndim) if i not in over]
    flat = x.permute([*over, *rest]).reshape([-1, *(x.shape[i] for i in rest)])
    y = torch.quantile(flat, torch.tensor(q, dtype=x.dtype), 0)
    kept = [1 if i in over else n for i, n in enumerate(x.shape)]
    return y.reshape([*np.shape(q), *kept]) if keepdims else y


case("quantile", with_params(apart, params=several, min_side=1), np.quantile, _torch_quantile)
case(
    "percentile",
    with_params(apart, params=shares, min_side=1),
    lambda x, q, axis, keepdims: np.percentile(x, 100 * np.asarray(q), axis=axis, keepdims=keepdims),
    _torch_quantile,
)
case("median", with_params(apart, params=reduction, min_side=1), np.median, _torch_quantile)


@st.composite
def with_gaps(draw: Any, params: Any) -> tuple[Operands, dict[str, Any]]:
    """An array with NaN here and there, but not only NaN along any axis."""
    x = np.array(draw(arrays(draw(shapes(min_dims=2, min_side=2)), apart)))
    if draw(st.booleans()):
        x[(0,) * x.ndim] = np.nan
    return [x], params(draw, x.shape)


def _torch_nan(name: str) -> Any:
    def of(torch: Any, x: Any, axis: Any, keepdims: bool, ddof: float = 0) -> Any:
        axis, gaps = dims(torch, x, axis), torch.isnan(x)
        if name in ("nanmax", "nanmin"):
            filled = torch.where(gaps, float("-inf" if name == "nanmax" else "inf"), x)
            return (torch.amax if name == "nanmax" else torch.amin)(filled, axis, keepdim=keepdims)
        zeros, count = torch.where(gaps, 0.0, x), (~gaps).sum(axis, keepdim=True)
        mean = zeros.sum(axis, keepdim=True) / count
        squares = torch.where(gaps, 0.0, zeros - mean) ** 2
        variance = squares.sum(axis, keepdim=True) / (count - ddof)
        some = torch.where(
            variance > 0, variance, 1.0
        )  # PyTorch's root has no gradient at 0; ours has 0, as its norm has
        root = torch.where(variance > 0, some.sqrt(), 0.0)
        y = {"nansum": zeros.sum(axis, keepdim=True), "nanmean": mean, "nanvar": variance}.get(name, root)
        return y if keepdims else y.reshape(zeros.sum(axis).shape)

    return of


def _with_ddof(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {**reduction(draw, shape), "ddof": draw(st.sampled_from([0, 0.5]))}


for _name in ("nansum", "nanmean", "nanmax", "nanmin"):
    case(_name, with_gaps(reduction), getattr(np, _name), _torch_nan(_name))
for _name in ("nanvar", "nanstd"):
    case(_name, with_gaps(_with_ddof), getattr(np, _name), _torch_nan(_name))


def _torch_nanprod(torch: Any, x: Any, axis: int) -> Any:
    return torch.prod(torch.where(torch.isnan(x), 1.0, x), axis)


case("nanprod", with_gaps(along), np.nanprod, _torch_nanprod)


@st.composite
def curve(draw: Any) -> Any:
    y = draw(arrays(draw(shapes(min_dims=1, min_side=1))))
    axis = draw(st.integers(-y.ndim, y.ndim - 1))
    places = draw(st.booleans())
    return [y, *([draw(arrays((y.shape[axis],)))] if places else [])], {"axis": axis}


def _torch_trapezoid(torch: Any, y: Any, x: Any = None, axis: int = -1) -> Any:
    return torch.trapezoid(y, dim=axis) if x is None else torch.trapezoid(torch.movedim(y, axis, -1), x)


case("trapezoid", curve(), np.trapezoid, _torch_trapezoid)
