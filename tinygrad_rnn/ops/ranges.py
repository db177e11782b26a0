"""Ranges: what the values of an argument must be, such as class numbers; a compiled program looks in every call."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.context import current
from ..core.primitive import primitive
from ..core.tensor import Array, Tensor, raw
from ..core.traits import Traits
from ..errors import ShapeError


@primitive(
    vjps=[lambda g, y, x, low, high, wrong: g],
    traits=Traits(elementwise=True, alias="new", symbol="in range", backward=("g",)),
)
def within(x: Array, low: float, high: float, wrong: str) -> Array:
    """A copy of x, if all its entries are from `low` to `high`.

    Raises:
        ShapeError: some are not; `wrong` says so, with {0} the smallest, {1} the largest, {2} `high`.
    """
    if x.size and not (x.min() >= low and x.max() <= high):
        raise ShapeError(wrong.format(x.min(), x.max(), high))
    return np.array(x)


def in_range(x: Any, low: float, high: float, wrong: str) -> Any:
    """x, after `within`; a step of its own only where it must be repeated, in a function that is being compiled."""
    if isinstance(x, Tensor) and current.get().tracing:
        return within(x, low=low, high=high, wrong=wrong)
    within(np.asarray(raw(x)), low=low, high=high, wrong=wrong)
    return x


__all__: list[str] = []
