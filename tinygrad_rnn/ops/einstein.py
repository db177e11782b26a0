"""Einstein summation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.primitive import composed, primitive
from ..core.tensor import Array, raw
from ..core.traits import Attrs, Shape, Traits
from ..errors import ShapeError


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
def einsum(*operands: Any, optimize: bool | str | Sequence[Any] | None = None) -> Any:
    """Einstein summation, as in NumPy: einsum("bi,ij->bj", x, W); letters not in the result are summed over.

    Args:
        operands: the subscripts and then the tensors; or each tensor followed by the list of its axes' numbers, and at
            the end, if it is given, that of the result.
        optimize: as in NumPy; the order of the products is chosen here in any case.

    Raises:
        ShapeError: the subscripts do not fit the operands.
    """
    subscripts, *tensors = operands if operands and isinstance(operands[0], str) else _from_sublists(operands)
    return _einsum(tensors, _spell_out(subscripts, [np.ndim(raw(x)) for x in tensors]))


def _from_sublists(operands: Sequence[Any]) -> list[Any]:
    """Lists of axes' numbers as letters."""
    *pairs, result = operands if len(operands) % 2 else [*operands, None]
    lists = pairs[1::2] if result is None else [*pairs[1::2], result]
    if not pairs or any(not isinstance(each, (list, tuple)) for each in lists):
        raise ShapeError(
            "einsum: got no subscripts, expected text as in einsum('ij,jk->ik', a, b), or lists of numbers"
        )
    terms = ["".join("..." if i is Ellipsis else _ALPHABET[i] for i in each) for each in lists]
    arrow = "" if result is None else f"->{terms.pop()}"
    return [",".join(terms) + arrow, *pairs[0::2]]


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


__all__ = ["einsum"]
