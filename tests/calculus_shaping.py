"""Entries of the table for flips, splits, grids and blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from calculus import (
    Operands,
    an_axis,
    apart,
    arrays,
    broadcast,
    case,
    masked,
    normal,
    shapes,
    unary,
    with_params,
)
from hypothesis import strategies as st

import tinygrad_rnn as tg

case("flipud", unary(min_dims=1), np.flipud, lambda torch, x: torch.flip(x, (0,)))
case("fliplr", unary(min_dims=2), np.fliplr, lambda torch, x: torch.flip(x, (1,)))


def quarters(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    axes = tuple(draw(st.permutations(range(len(shape))))[:2])
    return {"k": draw(st.integers(-2, 5)), "axes": axes}


case("rot90", with_params(params=quarters, min_dims=2), np.rot90, lambda torch, x, k, axes: torch.rot90(x, k, axes))


def rolled(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {"axis": an_axis(draw, shape), "start": draw(st.integers(-len(shape), len(shape)))}


def _torch_rollaxis(torch: Any, x: Any, axis: int, start: int) -> Any:
    order = [i for i in range(x.ndim) if i != axis % x.ndim]
    start = start + x.ndim if start < 0 else start
    order.insert(start - (axis % x.ndim < start), axis % x.ndim)
    return x.permute(order)


case("rollaxis", with_params(params=rolled, min_dims=1), np.rollaxis, _torch_rollaxis)
case(
    "broadcast_arrays",
    broadcast(normal, normal, normal),
    np.broadcast_arrays,
    lambda torch, *xs: torch.broadcast_tensors(*xs),
)


@st.composite
def vectors(draw: Any) -> tuple[Operands, dict[str, Any]]:
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    return [draw(arrays((n,))) for n in lengths], {"indexing": draw(st.sampled_from(["xy", "ij"]))}


case("meshgrid", vectors(), np.meshgrid, lambda torch, *xs, indexing: torch.meshgrid(*xs, indexing=indexing))

case(
    "dstack",
    broadcast(normal).map(lambda d: (d[0] * 2, {})),
    lambda *xs: np.dstack(xs),
    lambda torch, *xs: torch.dstack(xs),
)


@st.composite
def blocks(draw: Any) -> tuple[Operands, dict[str, Any]]:
    return [draw(arrays(shape)) for shape in ((3, 3), (3, 1), (1, 3), (1,))], {}


case(
    "block",
    blocks(),
    lambda a, b, c, d: np.block([[a, b], [c, d]]),
    lambda torch, a, b, c, d: torch.cat([torch.cat([a, b], 1), torch.cat([c, d[None]], 1)], 0),
)


def parts(axis: int) -> Any:
    def params(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
        n = shape[axis % len(shape)]
        equal = [k for k in (1, 2, 3) if n % k == 0]
        return {"indices_or_sections": draw(st.sampled_from([*equal, [n // 2], [n // 3, n // 2]]))}

    return params


def _torch_parts(axis: int) -> Any:
    return lambda torch, x, indices_or_sections: torch.tensor_split(x, indices_or_sections, axis)


for _name, _axis in (("vsplit", 0), ("hsplit", 1)):
    case(_name, with_params(params=parts(_axis), min_dims=2), getattr(np, _name), _torch_parts(_axis))


@st.composite
def deep(draw: Any) -> tuple[Operands, dict[str, Any]]:
    shape = draw(st.sampled_from([(3, 3, 3), (2, 1, 4), (1, 2, 0)]))
    return [draw(arrays(shape))], parts(2)(draw, shape)


case("dsplit", deep(), np.dsplit, _torch_parts(2))


def any_parts(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {"axis": an_axis(draw, shape), "indices_or_sections": draw(st.sampled_from([1, 2, 3, 5, [0], [1, 2]]))}


case(
    "array_split",
    with_params(params=any_parts, min_dims=1),
    np.array_split,
    lambda torch, x, axis, indices_or_sections: torch.tensor_split(x, indices_or_sections, axis),
)


@st.composite
def chosen(draw: Any) -> tuple[Operands, dict[str, Any]]:
    (m, a, b), _ = draw(masked())
    return [m, np.roll(m, 1), a, b], {}


case(
    "select",
    chosen(),
    lambda m, n, a, b: (
        np.select([m, n], [a, b], 0.5) if not isinstance(a, np.ndarray) else tg.select([m, n], [a, b], 0.5)
    ),
    lambda torch, m, n, a, b: torch.where(m, a, torch.where(n, b, 0.5)),
)
case("real", unary(), np.real, lambda torch, x: x.clone())


# ---------------------------------------------------------------------- order, slopes and lines
def kths(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    axis = an_axis(draw, shape)
    return {"axis": axis, "kth": draw(st.integers(0, shape[axis] - 1))}


def _as_numpy_orders(torch: Any, x: Any, axis: int, kth: int) -> Any:
    places = np.argpartition(x.detach().numpy(), kth, axis=axis)
    return torch.gather(x, axis, torch.tensor(places))


case("partition", with_params(apart, params=kths, min_dims=1, min_side=1), np.partition, _as_numpy_orders)
case(
    "argpartition",
    with_params(apart, params=kths, min_dims=1, min_side=1),
    np.argpartition,
    lambda torch, x, axis, kth: torch.tensor(np.argpartition(x.detach().numpy(), kth, axis=axis)),
)


@st.composite
def slopes(draw: Any) -> tuple[Operands, dict[str, Any]]:
    x = draw(arrays(draw(shapes(min_dims=1, min_side=2))))
    return [x], {"axis": draw(st.sampled_from([None, 0, -1])), "h": draw(st.sampled_from([1.0, 0.3]))}


def _torch_gradient(torch: Any, x: Any, axis: Any, h: float) -> Any:
    dim = tuple(range(x.ndim)) if axis is None else axis
    found = torch.gradient(x, spacing=h, dim=dim)
    return found[0] if len(found) == 1 else found


case("gradient", slopes(), lambda x, axis, h: np.gradient(x, h, axis=axis), _torch_gradient)


@st.composite
def lines(draw: Any) -> tuple[Operands, dict[str, Any]]:
    ends, _ = draw(broadcast(normal, normal))
    return ends, {"num": draw(st.integers(1, 4)), "endpoint": draw(st.booleans())}


def _torch_linspace(torch: Any, a: Any, b: Any, num: int, endpoint: bool) -> Any:
    a, b = torch.broadcast_tensors(a, b)
    share = torch.tensor(np.linspace(0.0, 1.0, num, endpoint)).reshape(-1, *[1] * a.ndim)
    return a + (b - a) * share


case("linspace", lines(), np.linspace, _torch_linspace)
