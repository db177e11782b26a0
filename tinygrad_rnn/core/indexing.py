"""Gradients of indexing: zero but for the entries that were read.

Making a zero array of the whole sequence for every step that reads one slice of it would make
backpropagation quadratic in the number of steps. So the rule of indexing hands back a `Patch`, and
all patches of one tensor are added into a single buffer; on tensors `gather` does so with the one
primitive `scatter`, which keeps second derivatives linear too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..debug import messages
from .primitive import primitive
from .tensor import Array, Tensor
from .traits import Attrs, Shape, Traits


class Slot(NamedTuple):
    """Stands in an index for its array number `at`, which is an operand of the graph."""

    at: int


class Patch(NamedTuple):
    """A gradient that is `value` at `[key]` of its tensor and zero elsewhere."""

    value: Any
    key: Any
    indices: Sequence[Any]

    def dense(self, shape: tuple[int, ...]) -> Array:
        """The same as an array of the tensor's `shape`."""
        total = np.zeros(shape, self.value.dtype)
        self.add_to(total)
        return total

    def add_to(self, total: Array) -> None:
        """Add it to the gradient of the whole tensor, in place."""
        if self.indices:
            np.add.at(total, fill_key(self.key, self.indices), self.value)
        else:
            total[self.key] += self.value


_FIXED = {int, slice, type(None), type(Ellipsis)}
"""Entries of an index that are no operands, as they are."""


def split_key(key: Any) -> tuple[Any, tuple[Any, ...]]:
    """Separate an index into its fixed form and the arrays in it, which are operands.

    Raises:
        DTypeError: an entry is neither an integer, a slice, None, ..., nor an integer or boolean array.
    """
    if type(key) in _FIXED or (type(key) is tuple and all(type(entry) in _FIXED for entry in key)):
        return ((None,) if key is None else key), ()  # as a part's key, None alone is the whole
    arrays: list[Any] = []
    entries: list[Any] = []
    for entry in key if isinstance(key, tuple) else (key,):
        if (
            entry is None
            or entry is Ellipsis
            or (isinstance(entry, (slice, int, np.integer)) and not isinstance(entry, bool))
        ):
            entries.append(int(entry) if isinstance(entry, np.integer) else entry)
            continue
        if isinstance(entry, list) and not entry:
            entry = np.zeros(0, np.intp)
        array = entry if isinstance(entry, Tensor) else np.asarray(entry) if _is_array_like(entry) else None
        if array is None or array.dtype.kind not in "iub":
            raise messages.no_index_entry(entry, array)
        entries.append(Slot(len(arrays)))
        arrays.append(array)
    return (tuple(entries) if isinstance(key, tuple) else entries[0]), tuple(arrays)


def _is_array_like(entry: Any) -> bool:
    return isinstance(entry, (np.ndarray, np.generic, bool)) or (
        isinstance(entry, list) and all(isinstance(e, (int, np.integer, bool, list)) for e in entry)
    )


def fill_key(key: Any, indices: Sequence[Any]) -> Any:
    """Put the arrays back where `split_key` took them from."""
    if not indices:
        return key
    if type(key) is Slot:
        return indices[key.at]
    return tuple(indices[entry.at] if type(entry) is Slot else entry for entry in key)


def _scatter_vjp(g: Any, y: Any, operands: Sequence[Any], shape: Any, parts: Sequence[tuple[Any, int]]) -> list[Any]:
    found: list[Any] = []
    for key, n in parts:
        at = len(found) + 1
        found.append(g if key is None else g[fill_key(key, operands[at : at + n])])
        found.extend([None] * n)
    return found


def _lift_scatter(attrs: Attrs, shapes: Sequence[Shape], shape: Shape, length: int) -> Attrs | None:
    if any(n for _, n in attrs["parts"]):
        return None
    keys = [key if key is None or type(key) is tuple else (key,) for key, _ in attrs["parts"]]
    parts = tuple((None if key is None else (slice(None), *key), 0) for key in keys)
    return {"shape": (length, *shape), "parts": parts}


@primitive(vjps=_scatter_vjp, traits=Traits(alias="new", linear=True, lift=_lift_scatter))
def scatter(operands: Sequence[Array], shape: tuple[int, ...], parts: Sequence[tuple[Any, int]]) -> Array:
    """Add values into an array of zeros, each at its own index.

    Args:
        operands: for each part its value, then its index arrays.
        shape: that of the result.
        parts: for each part its key (None: the whole) and its number of index arrays.
    """
    values = [operands[0]]
    at = 0
    for _, n in parts[:-1]:
        at += 1 + n
        values.append(operands[at])
    y = np.zeros(shape, np.result_type(*values))
    at = 0
    for (key, n), value in zip(parts, values, strict=True):
        if key is None:
            y += value
        else:
            Patch(value, key, operands[at + 1 : at + 1 + n]).add_to(y)
        at += 1 + n
    return y


def gather(messages: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """The sum of dense gradients and patches that arrived at one tensor of `shape`, recorded if they are tensors."""
    if Patch not in map(type, messages):
        return messages[0] if len(messages) == 1 else sum(messages[1:], messages[0])
    operands: list[Any] = []
    parts: list[tuple[Any, int]] = []
    for message in messages:
        if type(message) is Patch:
            operands += (message.value, *message.indices)
            parts.append((message.key, len(message.indices)))
        else:
            operands.append(message)
            parts.append((None, 0))
    return scatter(operands, shape=shape, parts=tuple(parts))
