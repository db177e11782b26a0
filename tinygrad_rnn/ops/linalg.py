"""Products of vectors, matrices and stacks of matrices, and what else treats the last two axes as a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.primitive import composed, primitive
from ..core.tensor import Array, raw
from ..core.traits import Attrs, Shape, Traits
from ..errors import ShapeError
from .axes import axes_of, lift_matrices


def _matrix_transpose(a: Any) -> Any:
    return a.T if a.ndim == 2 else np.swapaxes(a, -1, -2)


def _by_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    if a.ndim == b.ndim == 2:
        return g @ b.T
    if b.ndim == 1:
        return np.expand_dims(g, -1) * b
    if a.ndim == 1:
        return (np.expand_dims(g, -2) @ _matrix_transpose(b))[..., 0, :]
    return g @ _matrix_transpose(b)


def _by_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    if a.ndim == b.ndim == 2:
        return a.T @ g
    if b.ndim == 1:
        return np.expand_dims(g, -1) * a
    if a.ndim == 1:
        return np.expand_dims(a, -1) * np.expand_dims(g, -2)
    if b.ndim == 2 and a.ndim > 2:  # one product for the whole stack, instead of a stack to be summed
        rows = math.prod(a.shape[:-1])
        return np.reshape(a, (rows, a.shape[-1])).T @ np.reshape(g, (rows, g.shape[-1]))
    return _matrix_transpose(a) @ g


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


def _by_einsum(g: Any, y: Any, xs: Sequence[Any], subscripts: str) -> list[Any]:
    """The gradient of one operand is the einsum of `g` with the others, in the operand's own letters.

    A letter that no other has (it was summed out) is spread with ones; a repeated one (a diagonal was
    taken) is put back on the diagonal with an identity.
    """
    terms, result = subscripts.split("->")
    letters = terms.split(",")
    found = []
    for i, term in enumerate(letters):
        operands = [g, *xs[:i], *xs[i + 1 :]]
        names = [result, *letters[:i], *letters[i + 1 :]]
        shapes = [dict(zip(name, np.shape(x), strict=True)) for name, x in zip(names, operands, strict=True)]
        wanted = ""
        for letter, n in zip(term, np.shape(xs[i]), strict=True):
            fresh = letter if letter not in wanted else next(c for c in _ALPHABET if c not in subscripts + wanted)
            if fresh != letter:
                operands.append(np.eye(n, dtype=g.dtype))
                names.append(letter + fresh)
            elif not any(shape.get(letter) == n for shape in shapes):
                operands.append(np.ones(n, dtype=g.dtype))
                names.append(letter)
            wanted += fresh
        found.append(einsum(f"{','.join(names)}->{wanted}", *operands))
    return found


_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _lift_einsum(attrs: Attrs, shapes: Sequence[Shape], shape: Shape, length: int) -> Attrs | None:
    terms, result = attrs["subscripts"].split("->")
    letter = next((c for c in _ALPHABET if c not in attrs["subscripts"]), None)
    if letter is None:
        return None
    return {"subscripts": f"{','.join(letter + term for term in terms.split(','))}->{letter}{result}"}


def _einsum_flops(attrs: Attrs, shapes: Sequence[Shape], shape: Shape) -> int:
    terms = attrs["subscripts"].split("->")[0].split(",")
    lengths: dict[str, int] = {}
    for term, each in zip(terms, shapes, strict=True):
        for letter, n in zip(term, each, strict=True):
            lengths[letter] = n if n != 1 else lengths.get(letter, 1)
    return len(terms) * math.prod(lengths.values())


@primitive(vjps=_by_einsum, name="einsum", traits=Traits(lift=_lift_einsum, flops=_einsum_flops))
def _einsum(xs: Sequence[Array], subscripts: str) -> Array:
    return np.einsum(subscripts, *xs, optimize=len(xs) > 1)


@composed(of=np.einsum)
def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein summation, as in NumPy: einsum("bi,ij->bj", x, W); letters not in the result are summed over.

    Raises:
        ShapeError: the subscripts do not fit the operands.
    """
    if not isinstance(subscripts, str):
        raise ShapeError(f"einsum: got {type(subscripts).__name__} as subscripts, expected text: 'ij,jk->ik'")
    return _einsum(operands, _spell_out(subscripts, [np.ndim(raw(x)) for x in operands]))


def _spell_out(subscripts: str, ndims: Sequence[int]) -> str:
    """The subscripts with a letter for every axis and an explicit result."""
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    given = f"einsum: subscripts {subscripts!r}"
    if len(terms) != len(ndims):
        raise ShapeError(f"{given} name {len(terms)} operands, and there are {len(ndims)}")
    for term in (*terms, result):
        if not set(term.replace("...", "", 1)) <= set(_ALPHABET):
            raise ShapeError(f"{given}: {term!r} should hold letters, and ... at most once")
    free = [c for c in _ALPHABET if c not in subscripts]
    widths = [n - len(term.replace("...", "")) for term, n in zip(terms, ndims, strict=True)]
    for term, n, width in zip(terms, ndims, widths, strict=True):
        if width < 0 or (width > 0 and "..." not in term):
            raise ShapeError(f"{given}: {term!r} does not fit an operand of {n} axes")
    widest = np.max(widths, initial=0)
    if not arrow:
        once = sorted(c for c in set(inputs) & set(_ALPHABET) if inputs.count(c) == 1)
        result = ("..." if "..." in inputs else "") + "".join(once)
    spelled = [
        term.replace("...", "".join(free[widest - width : widest])) for term, width in zip(terms, widths, strict=True)
    ]
    return f"{','.join(spelled)}->{result.replace('...', ''.join(free[:widest]))}"


_TRIANGLE = Traits(alias="new", lift=lift_matrices, linear=True, moves=True)


@primitive(vjps=[lambda g, y, x, k: np.triu(g, k)], of=np.triu, traits=_TRIANGLE)
def triu(x: Array, k: int = 0) -> Array:
    """The entries of each matrix on and above its k-th diagonal, zeros below."""
    return np.triu(x, k)


@primitive(vjps=[lambda g, y, x, k: np.tril(g, k)], of=np.tril, traits=_TRIANGLE)
def tril(x: Array, k: int = 0) -> Array:
    """The entries of each matrix on and below its k-th diagonal, zeros above."""
    return np.tril(x, k)


@composed(of=np.diagonal)
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The entries x_(i, i + offset) of the matrices along two axes, as a new last axis."""
    matrices = np.moveaxis(x, (axis1, axis2), (-2, -1))
    n, m = np.shape(raw(matrices))[-2:]
    i = np.arange(np.maximum(-offset, 0), np.minimum(n, m - offset))
    return matrices[..., i, i + offset]


@composed(of=np.diag)
def diag(x: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix; or the matrix with a vector on its k-th diagonal and zeros elsewhere."""
    if np.ndim(raw(x)) != 1:
        return np.diagonal(x, k)
    row = np.pad(x, (k, 0) if k > 0 else (0, -k))
    return np.where(np.eye(np.size(raw(row)), k=k, dtype=bool), row, 0)


@composed(of=np.trace)
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal."""
    return np.sum(np.diagonal(x, offset, axis1, axis2), axis=-1)


def _cubic(attrs: Attrs, shapes: Sequence[Shape], shape: Shape) -> int:
    """What a factorisation of a matrix takes, up to a factor."""
    return math.prod(shapes[0]) * shapes[0][-1]


@primitive(
    vjps=[lambda g, y, x: -_matrix_transpose(y) @ g @ _matrix_transpose(y)],
    of=np.linalg.inv,
    traits=Traits(alias="new", lift=lift_matrices, flops=_cubic, formula="{0}⁻¹", backward=("−yᵀ @ g @ yᵀ",)),
)
def inv(x: Array) -> Array:
    """The inverse of each matrix: (..., n, n) -> (..., n, n)."""
    return np.linalg.inv(x)


def _by_sides(g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return np.linalg.solve(_matrix_transpose(a), np.expand_dims(g, -1))[..., 0]
    return np.linalg.solve(_matrix_transpose(a), g)


def _by_system(g: Any, y: Any, a: Any, b: Any) -> Any:
    back = _by_sides(g, y, a, b)
    if b.ndim == 1:
        return -np.expand_dims(back, -1) * np.expand_dims(y, -2)
    return -back @ _matrix_transpose(y)


@primitive(
    vjps=[_by_system, _by_sides],
    of=np.linalg.solve,
    traits=Traits(alias="new", lift=lift_matrices, flops=_cubic),
)
def solve(a: Array, b: Array) -> Array:
    """x with a @ x = b: (..., n, n) and (n,) or (..., n, m) -> the shape of b, broadcast."""
    return np.linalg.solve(a, b)


__all__ = [
    "diag",
    "diagonal",
    "dot",
    "einsum",
    "inner",
    "inv",
    "matmul",
    "outer",
    "solve",
    "tensordot",
    "trace",
    "tril",
    "triu",
]
