"""What truncated BPTT costs: how far its gradient is from the full one, as a function of the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arguments import Positive, checked
from .by_hand import by_hand
from .problem import Array, CellName, LossName, Reduction, problem


@dataclass(frozen=True)
class Bias:
    """The gradient of all parameters, truncated after `k2` steps, against the full one."""

    k2: int
    relative_error: float
    """|truncated - full| / |full|."""
    cosine: float
    """Of the angle between the two: 1 points the same way, 0 sideways."""


@checked
def truncation_bias(
    params: Mapping[str, Any],
    xs: Any,
    targets: Any,
    h0: Any = None,
    c0: Any = None,
    *,
    windows: Sequence[Positive] | None = None,
    sliding: bool = False,
    cell: CellName = "rnn",
    loss: LossName = "softmax_cross_entropy",
    reduction: Reduction = "mean",
) -> list[Bias]:
    """Measure the bias of truncated BPTT on one sequence, derived by hand.

    Args:
        params, xs, targets, h0, c0, cell, loss, reduction: as for `compare`.
        windows: the values of k2; by default 1, 2, 4, ... and T, where the bias is 0.
        sliding: every loss goes back k2 steps (k1 = 1) instead of cutting the sequence into pieces (k1 = k2).

    Returns:
        One record for each window.

    Raises:
        InputError, ShapeError: as `bptt.rnn`.
    """
    initial = {"h": h0, "c": c0}
    T = problem(cell, params, xs, targets, initial, loss, reduction).T
    chosen = [*(2**k for k in range(T.bit_length()) if 2**k < T), T] if windows is None else list(windows)

    def gradient(k2: int | None) -> Array:
        k1 = 1 if sliding and k2 is not None else None
        found = by_hand(problem(cell, params, xs, targets, initial, loss, reduction, k1, k2))
        return np.concatenate([g.ravel() for g in found.parameters.values()])

    full = gradient(None)
    size = float(np.linalg.norm(full))

    def bias(k2: int) -> Bias:
        g = gradient(k2)
        both = float(np.linalg.norm(g)) * size
        error = float(np.linalg.norm(g - full))
        return Bias(k2, error / size if size else error, float(g @ full) / both if both else 1.0)

    return [bias(k2) for k2 in chosen]


__all__ = ["Bias", "truncation_bias"]
