"""Linear algebra on matrices (..., n, n) or (..., m, n): inverses, determinants, decompositions.

Decompositions give several arrays. A primitive gives one, so each packs its parts into one array, which is cut apart
again; the formulas of their gradients are those of Giles (2008) and Townsend (2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.primitive import composed, primitive
from ..core.tensor import Array, raw
from ..core.traits import Attrs, Shape, Traits
from ..errors import InputError
from .axes import lift_matrices
from .matrices import matrix_transpose

_ONE = np.eye(1)
_EighResult: Any = type(np.linalg.eigh(_ONE))
_QRResult: Any = type(np.linalg.qr(_ONE))
_SVDResult: Any = type(np.linalg.svd(_ONE))
_SlogdetResult: Any = type(np.linalg.slogdet(_ONE))


def _cubic(attrs: Attrs, shapes: Sequence[Shape], shape: Shape) -> int:
    """What a factorisation of a matrix takes, up to a factor."""
    return math.prod(shapes[0]) * shapes[0][-1]


@primitive(
    vjps=[lambda g, y, x: -matrix_transpose(y) @ g @ matrix_transpose(y)],
    of=np.linalg.inv,
    traits=Traits(alias="new", lift=lift_matrices, flops=_cubic, formula="{0}⁻¹", backward=("−yᵀ @ g @ yᵀ",)),
)
def inv(x: Array) -> Array:
    """The inverse of each matrix: (..., n, n) -> (..., n, n)."""
    return np.linalg.inv(x)


def _by_sides(g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return np.linalg.solve(matrix_transpose(a), np.expand_dims(g, -1))[..., 0]
    return np.linalg.solve(matrix_transpose(a), g)


def _by_system(g: Any, y: Any, a: Any, b: Any) -> Any:
    back = _by_sides(g, y, a, b)
    if b.ndim == 1:
        return -np.expand_dims(back, -1) * np.expand_dims(y, -2)
    return -back @ matrix_transpose(y)


@primitive(
    vjps=[_by_system, _by_sides],
    of=np.linalg.solve,
    traits=Traits(alias="new", lift=lift_matrices, flops=_cubic),
)
def solve(a: Array, b: Array) -> Array:
    """x with a @ x = b: (..., n, n) and (n,) or (..., n, m) -> the shape of b, broadcast."""
    return np.linalg.solve(a, b)


def _by_cofactors(g: Any, y: Any, x: Any) -> Any:
    """With C the cofactors and d the determinant, dC = (tr(C.T dx) C - C dx.T C) / d."""
    d = np.expand_dims(np.linalg.det(x), (-2, -1))
    return (np.sum(g * y, axis=(-2, -1), keepdims=True) * y - y @ matrix_transpose(g) @ y) / d


@primitive(vjps=[_by_cofactors], traits=Traits(alias="new", lift=lift_matrices, flops=_cubic))
def cofactors(x: Array) -> Array:
    """The derivative of the determinant of each matrix by its entries, also where it is singular."""
    u, s, vh = np.linalg.svd(x)
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(-1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return sign[..., None, None] * (u * others[..., None, :]) @ vh


@primitive(
    vjps=[lambda g, y, x: np.expand_dims(g, (-2, -1)) * cofactors(x)],
    of=np.linalg.det,
    traits=Traits(alias="new", lift=lift_matrices, flops=_cubic, formula="|{0}|", backward=("g · cofactors({0})",)),
)
def det(x: Array) -> Array:
    """The determinant of each matrix: (..., n, n) -> (...)."""
    return np.asarray(np.linalg.det(x))


@primitive(vjps=[None], traits=Traits(alias="new", lift=lift_matrices, flops=_cubic))
def sign_of_det(x: Array) -> Array:
    """The sign of the determinant of each matrix."""
    return np.asarray(np.linalg.slogdet(x).sign)


@primitive(
    vjps=[lambda g, y, x: np.expand_dims(g, (-2, -1)) * matrix_transpose(np.linalg.inv(x))],
    traits=Traits(alias="new", lift=lift_matrices, flops=_cubic, formula="log|det {0}|", backward=("g · {0}⁻ᵀ",)),
)
def log_abs_det(x: Array) -> Array:
    """The logarithm of the absolute determinant of each matrix."""
    return np.asarray(np.linalg.slogdet(x).logabsdet)


@composed(of=np.linalg.slogdet)
def slogdet(x: Any) -> Any:
    """The sign of the determinant of each matrix, which has no gradient, and the logarithm of its absolute value."""
    return _SlogdetResult(sign_of_det(x), log_abs_det(x))


def _half(x: Any) -> Any:
    """The lower triangle of each matrix, with half its diagonal."""
    return np.tril(x) * (1 - 0.5 * np.eye(x.shape[-1], dtype=x.dtype))


def _by_cholesky(g: Any, y: Any, x: Any) -> Any:
    """With L = y, the symmetric part of L^-T P(L.T g) L^-1, where P takes the lower triangle and half the diagonal."""
    back = np.linalg.solve(matrix_transpose(y), _half(matrix_transpose(y) @ g))
    whole = matrix_transpose(np.linalg.solve(matrix_transpose(y), matrix_transpose(back)))
    return (whole + matrix_transpose(whole)) / 2


@primitive(vjps=[_by_cholesky], name="cholesky", traits=Traits(alias="new", lift=lift_matrices, flops=_cubic))
def _cholesky(x: Array) -> Array:
    return np.linalg.cholesky(x)


@composed(of=np.linalg.cholesky)
def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """The lower triangular L with L @ L.T = x, or the upper one, for symmetric positive definite x.

    The gradient is that for a symmetric x: a symmetric matrix.
    """
    return matrix_transpose(_cholesky(x)) if upper else _cholesky(x)


def _by_qr(g: Any, y: Any, x: Any) -> Any:
    """(gQ + Q (L + L.T off the diagonal)) R^-T, where L is the lower triangle of R gR.T - gQ.T Q."""
    m = x.shape[-2]
    q, r, gq, gr = y[..., :m, :], y[..., m:, :], g[..., :m, :], g[..., m:, :]
    both = r @ matrix_transpose(gr) - matrix_transpose(gq) @ q
    whole = gq + q @ (np.tril(both) + matrix_transpose(np.tril(both, -1)))
    return whole @ matrix_transpose(np.linalg.pinv(r))  # the compiler runs rules on ones too, which have no inverse


@primitive(vjps=[_by_qr], traits=Traits(alias="new", lift=lift_matrices, flops=_cubic))
def packed_qr(x: Array) -> Array:
    """Q and below it R, of matrices that are not wide: (..., m, n) -> (..., m + n, n)."""
    return np.concatenate(np.linalg.qr(x), axis=-2)


@composed(of=np.linalg.qr)
def qr(x: Any, mode: str = "reduced") -> Any:
    """Q with orthonormal columns and the upper triangular R with Q @ R = x; with mode "r" only R.

    The gradient exists where the first min(m, n) columns of x are independent.

    Raises:
        InputError: another mode; "complete" of a matrix that is not wide or square, whose further columns of Q have
            no gradient.
    """
    m, n = np.shape(raw(x))[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and m <= n):
        raise InputError(f"qr: got mode={mode!r} of a matrix {(m, n)}, expected 'reduced' or 'r'")
    packed = packed_qr(x[..., :m])
    q, r = packed[..., :m, :], packed[..., m:, :]
    if n > m:
        r = np.concatenate([r, matrix_transpose(q) @ x[..., m:]], axis=-1)
    return r if mode == "r" else _QRResult(q, r)


def _over(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator, and 0 where the numerator is 0."""
    return np.where(numerator == 0, 0, numerator) / np.where(numerator == 0, 1, denominator)


def _by_eigh(g: Any, y: Any, x: Any, lower: bool) -> Any:
    """With V and w, V (diag(gw) + (V.T gV) / (w_j - w_i)) V.T: the second term off the diagonal."""
    w, v, gw, gv = y[..., 0], y[..., 1:], g[..., 0], g[..., 1:]
    eye = np.eye(x.shape[-1], dtype=bool)
    gaps = np.expand_dims(w, -2) - np.expand_dims(w, -1)
    inner = np.where(eye, np.expand_dims(gw, -1), _over(np.where(eye, 0, matrix_transpose(v) @ gv), gaps))
    whole = v @ inner @ matrix_transpose(v)
    return (whole + matrix_transpose(whole)) / 2


@primitive(vjps=[_by_eigh], traits=Traits(alias="new", lift=lift_matrices, flops=_cubic))
def packed_eigh(x: Array, lower: bool = True) -> Array:
    """Eigenvalues and eigenvectors of each symmetric matrix: (..., n, n) -> (..., n, 1 + n)."""
    w, v = np.linalg.eigh(x, "L" if lower else "U")
    return np.concatenate([w[..., None], v], axis=-1)


@composed(of=np.linalg.eigh)
def eigh(x: Any, UPLO: str = "L") -> Any:
    """Eigenvalues (..., n) in rising order, and eigenvectors (..., n, n) as columns, of symmetric matrices.

    The gradient is that for a symmetric x: a symmetric matrix. That of the eigenvectors exists only where the
    eigenvalues differ; a loss should not depend on their signs.
    """
    packed = packed_eigh(x, _side(UPLO))
    return _EighResult(packed[..., 0], packed[..., 1:])


@composed(of=np.linalg.eigvalsh)
def eigvalsh(x: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of symmetric matrices in rising order."""
    return packed_eigh(x, _side(UPLO))[..., 0]


def _side(uplo: str) -> bool:
    if uplo not in ("L", "U"):
        raise InputError(f"eigh: got UPLO={uplo!r}, expected 'L' (reads the lower triangle) or 'U'")
    return uplo == "L"


def _apart(packed: Any, m: int) -> tuple[Any, Any, Any]:
    """U (..., m, k), s (..., k) and V (..., n, k) of what `packed_svd` gives."""
    return packed[..., :m, :], packed[..., m, :], packed[..., m + 1 :, :]


def _by_svd(g: Any, y: Any, x: Any) -> Any:
    m = x.shape[-2]
    (u, s, v), (gu, gs, gv) = _apart(y, m), _apart(g, m)
    k = s.shape[-1]
    eye, row = np.eye(k, dtype=bool), np.expand_dims(s, -2)
    gaps = np.square(row) - np.square(np.expand_dims(s, -1))
    left, right = matrix_transpose(u) @ gu, matrix_transpose(v) @ gv
    turned = _over(np.where(eye, 0, left - matrix_transpose(left)), gaps) * row
    turned = turned + np.expand_dims(s, -1) * _over(np.where(eye, 0, right - matrix_transpose(right)), gaps)
    whole = u @ np.where(eye, np.expand_dims(gs, -1), turned) @ matrix_transpose(v)
    if m > k:  # what leaves the span of u, and of v
        whole = whole + _over(gu - u @ left, row) @ matrix_transpose(v)
    if x.shape[-1] > k:
        whole = whole + u @ matrix_transpose(_over(gv - v @ right, row))
    return whole


@primitive(vjps=[_by_svd], traits=Traits(alias="new", lift=lift_matrices, flops=_cubic))
def packed_svd(x: Array) -> Array:
    """The parts of the singular value decomposition, below each other: (..., m, n) -> (..., m + 1 + n, min(m, n))."""
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return np.concatenate([u, s[..., None, :], np.swapaxes(vh, -1, -2)], axis=-2)


@composed(of=np.linalg.svd)
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """U, s and Vh with x = U @ diag(s) @ Vh; s is in falling order.

    The gradient of U and Vh exists only where the singular values differ from each other and, unless x is square,
    from 0; a loss should not depend on the vectors' signs.

    Raises:
        InputError: `full_matrices` of a matrix that is not square, whose further columns have no gradient.
    """
    m, n = np.shape(raw(x))[-2:]
    if compute_uv and full_matrices and m != n:
        raise InputError(f"svd: full_matrices=True of a matrix {(m, n)} has no gradient; pass full_matrices=False")
    u, s, v = _apart(packed_svd(x), m)
    return _SVDResult(u, s, matrix_transpose(v)) if compute_uv else s


@composed(of=np.linalg.svdvals)
def svdvals(x: Any) -> Any:
    """The singular values of each matrix in falling order."""
    return np.linalg.svd(x, compute_uv=False)


def _by_pinv(g: Any, y: Any, x: Any) -> Any:
    """While the rank stays, with P = y: dP = -P dx P + P P.T dx.T (1 - x P) + (1 - P x) dx.T P.T P."""
    p, h = matrix_transpose(y), matrix_transpose(g)
    rows = h - x @ (y @ h)
    columns = h - (h @ y) @ x
    return rows @ y @ p + p @ y @ columns - p @ g @ p


@primitive(vjps=[_by_pinv], of=np.linalg.pinv, traits=Traits(alias="new", lift=lift_matrices, flops=_cubic))
def pinv(x: Array) -> Array:
    """The pseudo-inverse of each matrix: (..., m, n) -> (..., n, m); its gradient is that where the rank stays."""
    return np.linalg.pinv(x)


__all__ = ["cholesky", "det", "eigh", "eigvalsh", "inv", "pinv", "qr", "slogdet", "solve", "svd", "svdvals"]
