"""Picked: entries that a mask picks, the number of which a program cannot follow."""

from __future__ import annotations

from ..core.tensor import Array
from ..errors import GraphError


def picked(entries: Array, shape: tuple[int, ...]) -> Array:
    """The entries themselves.

    Raises:
        GraphError: they are not as many as when the program was compiled, so what follows would be wrong.
    """
    if entries.shape != shape:
        raise GraphError(
            f"compile: a boolean index picked entries of shape {entries.shape}, and {shape} when the program was "
            "compiled: multiply by the mask or use where(), which give the same shape for every mask"
        )
    return entries
