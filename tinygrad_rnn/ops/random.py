"""Operations that draw random numbers, always from a generator that the caller passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arguments import Probability
from ..core.context import current
from ..core.primitive import composed
from ..core.tensor import Array, constant, raw
from ..errors import DTypeError


@dataclass(frozen=True)
class _Mask:
    """Draws 0 with probability p, else 1 / (1 - p)."""

    p: float
    dtype: np.dtype[Any]

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return ((rng.random(shape, np.float32) >= self.p) / (1 - self.p)).astype(self.dtype)


@composed()
def dropout(x: Any, p: Probability, rng: np.random.Generator, training: bool = True) -> Any:
    """Set each entry to 0 with probability `p` and scale the others by 1 / (1 - p); same shape.

    Args:
        x: any shape, of a floating dtype.
        p: the probability of dropping, at least 0 and below 1.
        rng: where the random numbers come from; the same seed gives the same mask.
        training: False returns x as it is.

    Raises:
        InputError: `p` is out of range.
        DTypeError: `rng` is not a generator, or `x` holds integers, which the scale would be rounded to.
    """
    shape, dtype = np.shape(raw(x)), np.asarray(raw(x)).dtype
    if dtype.kind not in "fc":
        raise DTypeError(f"dropout: got dtype {dtype}, expected a floating one, as what stays is scaled; use astype")
    if not training or p == 0:
        return x

    mask, watched = _Mask(float(p), dtype), current.get().draw
    return x * (mask(rng, shape) if watched is None else constant(watched(rng, mask, shape)))


__all__ = ["dropout"]
