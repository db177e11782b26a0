"""How a gradient fades or grows on its way back through time: slope, half-life, horizon and verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.tensor import Array

VANISHED = 1e-3
"""What is left of a gradient at the other end of the sequence: less is vanishing, more than 1 / VANISHED exploding."""

MASKED = "masked: |dL/dh_t| looks healthy, because every step has a loss of its own"

FOREVER = 1e6
"""A half-life of so many steps and more is not worth a number."""

HORIZON = 0.01
"""A state whose credit is below this fraction of the last state's is beyond the horizon."""


@dataclass(frozen=True, eq=False)
class Decay:
    """How a gradient fades on its way back through time, fitted to its norm at each lag."""

    norms: Array
    """|dL_T/dh_(T-lag)| for lag 0, 1, ..."""
    verdict: str
    """"vanishing", "healthy" or "exploding", from what is left at the largest lag, relative to lag 0."""
    gain: float
    """The factor a step: exp of the slope of log norm against lag."""
    half_life: float
    """Steps in which the gradient halves, ln 0.5 / ln gain; inf where it does not shrink."""
    horizon: int | None
    """The first lag from which less than 1 % is left; None where more is left at all lags."""

    @staticmethod
    def of(norms: Array) -> Decay:
        """Fit norms that start at the last state; lag 0 is the first of them that anything reaches."""
        norms = np.asarray(norms, np.float64)
        reached = np.flatnonzero(norms)
        norms = norms[reached[0] :] if len(reached) else norms[:1]
        finite = bool(np.isfinite(norms).all())
        lags = np.flatnonzero(np.isfinite(norms) & (norms > 0))
        gain = float("nan")
        if len(lags) > 1:
            gain = float(np.exp(np.polyfit(lags, np.log(norms[lags]), 1)[0]))
        elif len(norms) > 1 and finite:
            gain = 0.0  # nothing gets past the first step
        if not finite:
            verdict = "exploding"
        elif norms[-1] < VANISHED * norms[0]:
            verdict = "vanishing"
        else:
            verdict = "exploding" if norms[-1] > norms[0] / VANISHED else "healthy"
        half_life = float(np.log(0.5) / np.log(gain)) if 0 < gain < 1 else (0.0 if gain == 0 else np.inf)
        seen = np.flatnonzero(~(norms < HORIZON * norms[0]))
        horizon = int(seen[-1]) + 1 if finite and len(seen) and seen[-1] + 1 < len(norms) else None
        return Decay(norms, verdict, gain, half_life, horizon)

    def __str__(self) -> str:
        lags = len(self.norms) - 1
        if lags < 1:
            return "there is no step before it to look back to"
        if not np.isfinite(self.norms).all():
            lag = int(np.argmin(np.isfinite(self.norms)))
            return f"the gradient is not finite {f'within {lag} steps back' if lag else 'at the last step already'}"
        words = [f"mean gain {self.gain:.2f} a step"]
        if self.half_life < FOREVER:
            words.append(f"half-life {self.half_life:.1f} steps")
        words.append(f"1 % horizon {f'beyond {lags}' if self.horizon is None else self.horizon} steps")
        return f"{', '.join(words)}, |dL_T/dh_1| = {self.norms[-1] / self.norms[0]:.1e} |dL_T/dh_T|"

    def masked_by(self, node_norms: Decay) -> bool:
        """Whether this vanishes while the norms of the whole loss's gradient at each state do not show it."""
        return self.verdict == "vanishing" and node_norms.verdict == "healthy"


__all__ = ["MASKED", "Decay"]
