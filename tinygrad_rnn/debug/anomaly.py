"""Where the first NaN or infinity comes from: which operation, at which step, in which direction."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import messages


def check(operation: str, result: Any, message: Any) -> None:
    """Look at a result, or at the gradient that its rule sent to an operand.

    An infinity that was there before is deliberate, such as the -inf of a mask before a softmax; what makes one of
    finite numbers, or a NaN of infinities, is not. A weight that holds either is named as the source.

    Raises:
        GraphError: with the operation, step, scope, direction and the user's line.
    """
    array = result._array if message is None else np.asarray(getattr(message, "_array", message))
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return
    tensors = [x for x in result.inputs if hasattr(x, "describe")]
    nan = bool(np.isnan(array).any())
    if message is None and not nan and any(_is_deliberate(x) for x in result.inputs):
        return
    kind, direction = "NaN" if nan else "infinity", "forward" if message is None else "backward"
    sources = [x for x in tensors if not np.isfinite(x._array).all()]
    raise messages.not_finite(operation, result, kind, direction, sources)


def _is_deliberate(operand: Any) -> bool:
    """Whether an operand that is no weight holds an infinity."""
    if getattr(operand, "requires_grad", False) and operand.is_leaf:
        return False
    return bool(np.isinf(getattr(operand, "_array", operand)).any())
