"""Where the first NaN or infinity comes from: which operation, at which step, in which direction."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..core.context import Context, context
from ..core.tensor import Tensor, raw
from ..errors import GraphError
from . import origin as _origin


def detect_anomaly() -> AbstractContextManager[Context]:
    """Within this block the first NaN or infinity raises and says where it arose; everything runs slower.

    Forward it names the operation whose result is not finite, backward the one whose rule sent such a
    gradient to an input. A weight that already holds a NaN is named as the source.

    Raises:
        GraphError: with the operation, step, scope, direction and the user's line.
    """
    return context(watch=_check)


def _check(op: str, result: Tensor, message: Any) -> None:
    array = result._array if message is None else raw(message)
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return
    kind = "NaN" if np.isnan(array).any() else "infinity"
    direction = "forward" if message is None else "backward"
    place = f"{op}, {result.describe()}"
    place += f", at {_origin.line(result.origin)}" if result.origin else ""
    raise GraphError(f"detect_anomaly: the first {kind} of the {direction} pass arises in {place}{_sources(result)}")


def _sources(result: Tensor) -> str:
    held = [x.describe() for x in result.inputs if isinstance(x, Tensor) and not np.isfinite(x._array).all()]
    return f"; it was in its input already: {', '.join(held)}" if held else ""


__all__ = ["detect_anomaly"]
