"""Entries of the table for products and linear algebra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from calculus import Operands, an_axis, arrays, case, nonzero, reduction, with_params
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.core.tensor import raw
from tinygrad_rnn.ops import linalg


@st.composite
def operands(draw: Any, *drawn: Sequence[tuple[int, ...]], **params: Any) -> tuple[Operands, dict[str, Any]]:
    """Arrays of shapes that belong together."""
    fit = draw(st.sampled_from(list(zip(*drawn, strict=True))))
    return [draw(arrays(shape)) for shape in fit], {name: draw(st.sampled_from(of)) for name, of in params.items()}


def turned(x: Any) -> Any:
    return x.mT if hasattr(x, "mT") and not isinstance(x, tg.Tensor) else np.swapaxes(x, -1, -2)


# ---------------------------------------------------------------------- products
STACKED = [(3, 3), (2, 3, 3), (1, 2, 3, 3)]
case("matvec", operands(STACKED, [(3,), (2, 3), (3,)]), tg.matvec, lambda torch, a, b: (a @ b[..., None])[..., 0])
case("vecmat", operands([(3,), (2, 3), (3,)], STACKED), tg.vecmat, lambda torch, a, b: (b.mT @ a[..., None])[..., 0])
case(
    "vecdot",
    operands([(3,), (2, 3), (3, 1)], [(3,), (3,), (3, 3)], axis=[-1]),
    lambda a, b, axis: np.linalg.vecdot(a, b, axis=axis) if a.shape == b.shape else tg.vecdot(a, b, axis=axis),
    lambda torch, a, b, axis: torch.linalg.vecdot(a, b, dim=axis),
)
case(
    "vdot",
    operands([(3,), (2, 3)], [(3,), (3, 2)]),
    np.vdot,
    lambda torch, a, b: torch.dot(a.reshape(-1), b.reshape(-1)),
)
case("kron", operands([(3, 3), (2, 3), (2,)], [(3, 3), (2,), (3, 1)]), np.kron, lambda torch, a, b: torch.kron(a, b))
case(
    "cross",
    operands([(3,), (2, 3), (3, 3)], [(3,), (3,), (3, 3)]),
    np.cross,
    lambda torch, a, b: torch.linalg.cross(*torch.broadcast_tensors(a, b)),
)
case(
    "multi_dot",
    operands([(3, 3), (3,)], [(3, 3), (3, 2)], [(3, 3), (2, 3)]),
    lambda *xs: np.linalg.multi_dot(xs),
    lambda torch, *xs: torch.linalg.multi_dot(xs),
)
case(
    "matrix_power",
    operands(STACKED, n=[0, 1, 2, 3, 5, -1]),
    np.linalg.matrix_power,
    lambda torch, x, n: torch.linalg.matrix_power(x, n),
)


def windows(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    axis = an_axis(draw, shape)
    return {"window_shape": draw(st.integers(1, shape[axis])), "axis": axis}


case(
    "sliding_window_view",
    with_params(params=windows, min_dims=1, min_side=1),
    np.lib.stride_tricks.sliding_window_view,
    lambda torch, x, window_shape, axis: x.unfold(axis, window_shape, 1),
)


def _torch_convolve(torch: Any, a: Any, v: Any, mode: str) -> Any:
    n, m = max(len(a), len(v)), min(len(a), len(v))
    a, v = (a, v) if len(a) == n else (v, a)
    full = torch.nn.functional.conv1d(a[None, None], v.flip(0)[None, None], padding=m - 1)[0, 0]
    start, count = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}[mode]
    return full[start : start + count]


def _torch_correlate(torch: Any, a: Any, v: Any, mode: str) -> Any:
    if len(a) < len(v):
        return _torch_convolve(torch, a.flip(0), v, mode).flip(0)
    return _torch_convolve(torch, a, v.flip(0), mode)


SIGNALS = [(3,), (4,), (2,), (5,)], [(3,), (2,), (3,), (1,)]
case("convolve", operands(*SIGNALS, mode=["full", "same", "valid"]), np.convolve, _torch_convolve)
case("correlate", operands(*SIGNALS, mode=["full", "same", "valid"]), np.correlate, _torch_correlate)

# ---------------------------------------------------------------------- matrices
case("matrix_transpose", operands([(3, 3), (2, 3, 1)]), np.matrix_transpose, lambda torch, x: x.mT)
case(
    "diagflat",
    operands([(3,), (2, 2), (1,)], k=[0, 1, -2]),
    np.diagflat,
    lambda torch, x, k: torch.diag(x.reshape(-1), k),
)
case(
    "matrix_diagonal",
    operands([(3, 3), (2, 3, 4)], offset=[0, 1, -1]),
    lambda x, offset: np.linalg.diagonal(x, offset=offset),
    lambda torch, x, offset: torch.diagonal(x, offset, -2, -1),
)
case(
    "matrix_trace",
    operands([(3, 3), (2, 3, 4)], offset=[0, 1, -1]),
    lambda x, offset: np.linalg.trace(x, offset=offset),
    lambda torch, x, offset: torch.diagonal(x, offset, -2, -1).sum(-1),
)


# ---------------------------------------------------------------------- determinants and decompositions
@st.composite
def spectral(draw: Any, *of: tuple[int, ...]) -> tuple[Operands, dict[str, Any]]:
    """Matrices whose singular values are apart from each other and from 0."""
    shape = draw(st.sampled_from(of))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    u, _, vh = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    s = np.sort(np.arange(1.0, u.shape[-1] + 1) + rng.uniform(-0.2, 0.2, u.shape[-1]))[::-1]
    return [np.asarray(u * s @ vh)], {}


def symmetric(x: Any) -> Any:
    return x @ turned(x)


def of(prepare: Callable[[Any], Any], fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: fn(prepare(x))


SQUARES = ((3, 3), (2, 2, 2))
RECTANGLES = ((3, 3), (2, 3), (4, 2), (2, 3, 2))
case("det", spectral(*SQUARES), np.linalg.det, lambda torch, x: torch.linalg.det(x))
case(
    "cofactors",
    spectral(*SQUARES),
    linalg.cofactors,
    lambda torch, x: torch.linalg.det(x)[..., None, None] * torch.linalg.inv(x).mT,
)
case(
    "slogdet", spectral(*SQUARES), lambda x: np.linalg.slogdet(x).logabsdet, lambda torch, x: torch.linalg.slogdet(x)[1]
)
case("log_abs_det", spectral(*SQUARES), linalg.log_abs_det, lambda torch, x: torch.linalg.slogdet(x)[1])
case("sign_of_det", spectral(*SQUARES), linalg.sign_of_det, lambda torch, x: torch.linalg.slogdet(x)[0])
case(
    "cholesky",
    spectral(*SQUARES),
    of(symmetric, np.linalg.cholesky),
    lambda torch, x: torch.linalg.cholesky(symmetric(x)),
)


def gauge_free(w: Any, v: Any) -> Any:
    """What does not depend on the signs of the eigenvectors."""
    return [w, v * v, v[..., :1, :] * v[..., 1:2, :]]


def _packed_eigh(x: Any) -> Any:
    packed = linalg.packed_eigh(symmetric(x))
    return gauge_free(packed[..., 0], packed[..., 1:])


def _torch_eigh(torch: Any, x: Any) -> Any:
    return gauge_free(*torch.linalg.eigh(symmetric(x)))


case("eigh", spectral(*SQUARES), lambda x: gauge_free(*np.linalg.eigh(symmetric(x))), _torch_eigh)
case("packed_eigh", spectral(*SQUARES), _packed_eigh, _torch_eigh)
case(
    "eigvalsh",
    spectral(*SQUARES),
    of(symmetric, np.linalg.eigvalsh),
    lambda torch, x: torch.linalg.eigvalsh(symmetric(x)),
)


def gauge_free_svd(u: Any, s: Any, vh: Any) -> Any:
    return [s, u * u, vh * vh, u[..., :1, :] * turned(vh)[..., :1, :]]


def _packed_svd(x: Any) -> Any:
    packed, m = linalg.packed_svd(x), x.shape[-2]
    return gauge_free_svd(packed[..., :m, :], packed[..., m, :], turned(packed[..., m + 1 :, :]))


def _torch_svd(torch: Any, x: Any) -> Any:
    return gauge_free_svd(*torch.linalg.svd(x, full_matrices=False))


case("svd", spectral(*RECTANGLES), lambda x: gauge_free_svd(*np.linalg.svd(x, full_matrices=False)), _torch_svd)
case("packed_svd", spectral(*RECTANGLES), _packed_svd, _torch_svd)
case("svdvals", spectral(*RECTANGLES), np.linalg.svdvals, lambda torch, x: torch.linalg.svdvals(x))
case("pinv", spectral(*RECTANGLES), np.linalg.pinv, lambda torch, x: torch.linalg.pinv(x))


# ---------------------------------------------------------------------- norms
def a_norm(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {**reduction(draw, shape), "ord": draw(st.sampled_from([1, 2, 3, 2.5, -1, np.inf, -np.inf]))}


case(
    "vector_norm",
    with_params(nonzero, params=a_norm, min_dims=1, min_side=1),
    np.linalg.vector_norm,
    lambda torch, x, axis, keepdims, **of: torch.linalg.vector_norm(x, of["ord"], axis, keepdim=keepdims),
)
NORMS = ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf]


def away_from_kinks(drawn: tuple[Operands, dict[str, Any]]) -> bool:
    """Whether no entry is near 0 and no two rows or columns sum to nearly the same: there the norms have kinks."""
    (x,), _ = drawn
    sums = [np.sort(np.sum(np.abs(x), axis=axis), axis=-1) for axis in (-1, -2)]
    return bool(np.min(np.abs(x)) > 0.01 and all(np.min(np.diff(s)) > 0.01 for s in sums))


@st.composite
def normed(draw: Any) -> tuple[Operands, dict[str, Any]]:
    drawn, _ = draw(spectral((3, 3), (2, 3), (2, 3, 2)).filter(away_from_kinks))
    return drawn, {"ord": draw(st.sampled_from(NORMS)), "keepdims": draw(st.booleans())}


case(
    "matrix_norm",
    normed(),
    np.linalg.matrix_norm,
    lambda torch, x, keepdims, **of: torch.linalg.matrix_norm(x, of["ord"], keepdim=keepdims),
)


def gauge_free_qr(q: Any, r: Any) -> Any:
    """With a positive diagonal of R: LAPACK's signs jump."""
    signs = np.sign(np.einsum("...ii->...i", np.asarray(raw(r))[..., : q.shape[-1]]))
    return [q * signs[..., None, :], r * signs[..., None]]


def _packed_qr(x: Any) -> Any:
    tall = x[..., : x.shape[-2]]
    packed, m = linalg.packed_qr(tall), tall.shape[-2]
    return gauge_free_qr(packed[..., :m, :], packed[..., m:, :])


def _torch_qr(torch: Any, x: Any) -> Any:
    q, r = torch.linalg.qr(x)
    signs = torch.sign(torch.diagonal(r[..., : q.shape[-1]], 0, -2, -1))
    return [q * signs[..., None, :], r * signs[..., None]]


case("qr", spectral(*RECTANGLES), lambda x: gauge_free_qr(*np.linalg.qr(x)), _torch_qr)
case("packed_qr", spectral(*RECTANGLES), _packed_qr, lambda torch, x: _torch_qr(torch, x[..., : x.shape[-2]]))
