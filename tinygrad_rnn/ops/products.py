"""Products of vectors, matrices and stacks of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from ..core.primitive import composed, primitive
from ..core.products import ThroughWeight, ToWeight
from ..core.tensor import raw, registry
from ..core.traits import Traits
from ..errors import InputError, ShapeError
from .axes import axes_of, lift_matrices
from .matrices import matrix_transpose


def _by_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    if a.ndim == b.ndim == 2:
        return ThroughWeight(g, b) if type(g) is np.ndarray else g @ b.T
    if b.ndim == 1:
        return np.expand_dims(g, -1) * b
    if a.ndim == 1 and b.ndim == 2:
        return g @ b.T
    if a.ndim == 1:
        return (np.expand_dims(g, -2) @ matrix_transpose(b))[..., 0, :]
    return g @ matrix_transpose(b)


def _by_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    if a.ndim == b.ndim == 2:
        return ToWeight(a, g) if type(g) is np.ndarray else a.T @ g
    if a.ndim == 2 and b.ndim == 1:
        return a.T @ g
    if b.ndim == 1:
        return np.expand_dims(g, -1) * a
    if a.ndim == 1:
        return np.expand_dims(a, -1) * np.expand_dims(g, -2)
    if b.ndim == 2 and a.ndim > 2:  # one product for the whole stack, instead of a stack to be summed
        rows = math.prod(a.shape[:-1])
        return np.reshape(a, (rows, a.shape[-1])).T @ np.reshape(g, (rows, g.shape[-1]))
    return matrix_transpose(a) @ g


matmul = primitive(
    np.matmul,
    vjps=[_by_left, _by_right],
    doc="a @ b: (..., n, k) @ (..., k, m) -> (..., n, m); a vector (k,) drops its axis, as in NumPy.",
    traits=Traits(
        symbol="@",
        infix=True,
        backward=("g @ {1}ᵀ", "{0}ᵀ @ g"),
        lift=lift_matrices,
        flops=lambda attrs, shapes, shape: 2 * math.prod(shape) * shapes[0][-1],
    ),
)


def _product(a: Any, b: Any) -> Any:
    """What np.matmul gives; of two small matrices `dot` gives it in half the time."""
    return a.dot(b) if type(a) is type(b) is np.ndarray and a.ndim == b.ndim == 2 else np.matmul(a, b)


matmul.compute = _product


@composed(of=np.outer)
def outer(a: Any, b: Any) -> Any:
    """a_i * b_j of two vectors (flattened if need be): (n,), (m,) -> (n, m)."""
    return np.reshape(a, (-1, 1)) * np.reshape(b, (1, -1))


@composed(of=np.dot)
def dot(a: Any, b: Any) -> Any:
    """Sum over the last axis of a and the last but one (or only) of b; a scalar multiplies."""
    n, m = np.ndim(raw(a)), np.ndim(raw(b))
    if n == 0 or m == 0:
        return np.multiply(a, b)
    return np.matmul(a, b) if m <= 2 else np.tensordot(a, b, axes=(-1, -2))


@composed(of=np.inner)
def inner(a: Any, b: Any) -> Any:
    """Sum over the last axes of a and b; a scalar multiplies."""
    if np.ndim(raw(a)) == 0 or np.ndim(raw(b)) == 0:
        return np.multiply(a, b)
    return np.tensordot(a, b, axes=(-1, -1))


@composed(of=np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum over pairs of axes of a and b; the result has the other axes of a, then those of b.

    Args:
        a, b: tensors or arrays.
        axes: how many of a's last axes to sum with b's first, or a pair of axes (or of lists of axes).

    Raises:
        ShapeError: the paired axes differ in length or number.
    """
    x, z = np.shape(raw(a)), np.shape(raw(b))
    left: Sequence[int]
    right: Sequence[int]
    if isinstance(axes, int):
        left, right = range(len(x) - axes, len(x)), range(axes)
    else:
        left, right = ([pair] if isinstance(pair, int) else list(pair) for pair in axes)
    if any(not -len(x) <= i < len(x) for i in left) or any(not -len(z) <= i < len(z) for i in right):
        raise ShapeError(f"tensordot: axes={axes!r} do not exist in shapes {x} and {z}")
    left, right = axes_of(tuple(left), len(x)), axes_of(tuple(right), len(z))
    if [x[i] for i in left] != [z[i] for i in right]:
        raise ShapeError(f"tensordot: cannot sum shapes {x} and {z} over axes={axes!r}: their lengths differ")
    free_a = [i for i in range(len(x)) if i not in left]
    free_b = [i for i in range(len(z)) if i not in right]
    summed = int(np.prod([x[i] for i in left]))
    rows, columns = [x[i] for i in free_a], [z[i] for i in free_b]
    flat_a = np.reshape(np.transpose(a, (*free_a, *left)), (int(np.prod(rows)), summed))
    flat_b = np.reshape(np.transpose(b, (*right, *free_b)), (summed, int(np.prod(columns))))
    return np.reshape(flat_a @ flat_b, (*rows, *columns))


@composed(of=np.linalg.vecdot)
def vecdot(a: Any, b: Any, *, axis: int = -1) -> Any:
    """The dot products of the vectors of a and b along `axis`; the other axes broadcast."""
    return np.sum(np.multiply(a, b), axis=axis)


@composed(of=np.vdot)
def vdot(a: Any, b: Any) -> Any:
    """The dot product of a and b, each flattened."""
    return np.matmul(np.reshape(a, -1), np.reshape(b, -1))


@composed()
def matvec(a: Any, b: Any) -> Any:
    """The product of each matrix with each vector: (..., n, k) and (..., k) -> (..., n)."""
    return np.matmul(a, np.expand_dims(b, -1))[..., 0]


@composed()
def vecmat(a: Any, b: Any) -> Any:
    """The product of each vector with each matrix: (..., k) and (..., k, m) -> (..., m)."""
    return np.matmul(np.expand_dims(a, -2), b)[..., 0, :]


@composed(of=np.kron)
def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: each entry of a times the whole of b, in place of that entry."""
    ndim = int(np.maximum(np.ndim(raw(a)), np.ndim(raw(b))))
    x, z = ((1,) * (ndim - np.ndim(raw(each))) + np.shape(raw(each)) for each in (a, b))
    apart = np.reshape(a, [m for n in x for m in (n, 1)]) * np.reshape(b, [m for n in z for m in (1, n)])
    return np.reshape(apart, [n * m for n, m in zip(x, z, strict=True)])


@composed(of=np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The cross product of vectors of three entries, along `axis` or the last axis of each operand.

    Raises:
        ShapeError: the vectors do not have three entries.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    if np.shape(raw(a))[-1] != 3 or np.shape(raw(b))[-1] != 3:
        raise ShapeError(f"cross: got vectors of {np.shape(raw(a))[-1]} and {np.shape(raw(b))[-1]} entries, expected 3")
    following, last = [1, 2, 0], [2, 0, 1]
    return np.moveaxis(a[..., following] * b[..., last] - a[..., last] * b[..., following], -1, axisc)


@composed(of=np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any]) -> Any:
    """The product of two or more matrices, from left to right; the first and the last may be vectors."""
    if len(arrays) < 2:
        raise InputError(f"multi_dot: got {len(arrays)} operands, expected two or more")
    return reduce(np.matmul, arrays)


@composed(of=np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """The n-th power of each matrix; a negative one is that of its inverse."""
    if np.ndim(raw(a)) < 2:
        raise ShapeError(f"matrix_power: got shape {np.shape(raw(a))}, expected a matrix")
    if n < 0:
        a, n = np.linalg.inv(a), -n
    if n == 0:
        return np.where(np.ones(np.shape(raw(a)), bool), np.eye(np.shape(raw(a))[-1], dtype=raw(a).dtype), a)
    result = None
    while n:
        if n % 2:
            result = a if result is None else np.matmul(result, a)
        n //= 2
        a = np.matmul(a, a) if n else a
    return result


@composed(of=np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x: Any, window_shape: int | tuple[int, ...], axis: int | tuple[int, ...] | None = None) -> Any:
    """All windows of x along `axis` (None: all): the axis counts the windows, and a new last one their entries."""
    widths = window_shape if isinstance(window_shape, tuple) else (window_shape,)
    along = axes_of(axis, np.ndim(raw(x)))
    if len(widths) != len(along):
        raise ShapeError(f"sliding_window_view: got window_shape={window_shape!r} for {len(along)} axes")
    for width, i in zip(widths, along, strict=True):
        count = np.shape(raw(x))[i] - width + 1
        if width < 0 or count < 1:
            raise ShapeError(
                f"sliding_window_view: a window of {width} does not fit into {np.shape(raw(x))[i]} entries"
            )
        x = np.moveaxis(np.take(x, np.arange(count)[:, None] + np.arange(width), axis=i), i + 1, -1)
    return x


@composed(of=np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The discrete convolution of two vectors.

    Args:
        a, v: vectors of n and m entries.
        mode: "full" gives n + m - 1 entries, "same" the middle max(n, m), "valid" those where one lies in the other.
    """
    if mode not in ("full", "same", "valid"):
        raise InputError(f"convolve: got mode={mode!r}, expected 'full', 'same' or 'valid'")
    a, v = np.atleast_1d(a), np.atleast_1d(v)
    n, m = np.size(raw(a)), np.size(raw(v))
    if n < m:
        a, v, n, m = v, a, m, n
    full = np.matmul(sliding_window_view(np.pad(a, m - 1), m), np.flip(v))
    if mode == "full":
        return full
    start = (m - 1) // 2 if mode == "same" else m - 1
    return full[start : start + (n if mode == "same" else n - m + 1)]


@composed(of=np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """The cross-correlation of two vectors: the convolution of a with v reversed."""
    if np.size(raw(a)) < np.size(raw(v)):
        return np.flip(convolve(np.flip(a), v, mode))
    return convolve(a, np.flip(v), mode)


for _name, _function in (("vecdot", vecdot), ("matvec", matvec), ("vecmat", vecmat)):
    if hasattr(np, _name):  # they came with NumPy 2.1 and 2.2
        registry[getattr(np, _name)] = _function
registry[np.linalg.outer] = outer
registry[np.linalg.tensordot] = tensordot
registry[np.linalg.matmul] = matmul
registry[np.linalg.cross] = cross

__all__ = ["convolve", "correlate", "cross", "dot", "inner", "kron", "matmul", "matrix_power", "matvec", "multi_dot"]
__all__ += ["outer", "sliding_window_view", "tensordot", "vdot", "vecdot", "vecmat"]
