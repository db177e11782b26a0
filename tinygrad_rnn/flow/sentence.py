"""What was measured, in words: one word for one number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .findings import Finding
from .reach import Memory, Thresholds

MASKED = "masked: |dL/dh_t| of the total loss looks healthy, because every step has a loss of its own"

FAR = 1e5
"""Lags beyond this are not worth a number."""


def in_words(verdict: str, memory: Memory, thresholds: Thresholds, steady: bool) -> str:
    """The numbers behind a verdict; no mean of steps that are not alike (`steady`)."""
    if not memory.lags:
        return "there is no step before it to look back to"
    low, high = f"less than {100 * thresholds.low:g} %", f"more than {thresholds.high:g} times as much"
    if verdict == "weak":
        stays = f"{_amount(memory.left)} at the largest lag, {memory.lags}, gain {memory.gain:.2f} a step"
        return f"{low} is left from lag {memory.horizon} on{_spread(memory)}, but there it stays: {stays}"
    words = [f"gain {memory.gain:.2f} a step"] if steady and not np.isnan(memory.gain) else []
    if memory.half_life < FAR and steady:
        words.append(f"half-life {memory.half_life:.1f} steps")
    if memory.horizon is not None:
        words.append(f"{low} is left from lag {memory.horizon} on{_spread(memory)}")
    if memory.rise is not None:
        words.append(f"{high} from lag {memory.rise} on")
    if verdict == "mixed" or (verdict == "healthy" and max(memory.vanishing, memory.exploding) >= 0.1):
        words.append(f"{memory.vanishing:.0%} of the losses fade, {memory.exploding:.0%} grow")
    if memory.horizon is None and memory.rise is None:
        words.append(f"{_amount(memory.left)} is left at the largest lag, {memory.lags}")
        if memory.expected < FAR and steady:
            words.append(f"at this rate {low} from lag {np.ceil(memory.expected):.0f} on")
    return ", ".join(words)


def _spread(memory: Memory) -> str:
    first, last = memory.horizons
    return (
        f" ({first} to {last} for most losses)" if first is not None and last is not None and last > first + 1 else ""
    )


def _amount(left: float) -> str:
    return f"{left:.0%}" if 0.1 <= left < 10 else f"{left:.1%}" if 1e-3 <= left < 0.1 else f"{left:.1e} times as much"


def remedy(verdict: str, memory: Memory, found: Sequence[Finding], gated: bool, broken: bool) -> str:
    """What usually helps."""
    kinds = {finding.kind for finding in found}
    keep = "use an LSTM or GRU, or start W_hh orthogonal"
    if gated:
        keep = "start with the gates open, by a larger bias of the forget gate (LSTM) or update gate (GRU)"
    if broken:
        return "lower the learning rate, clip the gradient, and look at that operation first"
    if "jump" in kinds or "change" in kinds:
        return "look at what is different there first"
    if "cut" in kinds and verdict in ("healthy", "too short to tell"):
        return "truncate less often (a larger k2) if the task needs more past"
    if verdict == "too short to tell":
        return "give longer sequences"
    if verdict == "exploding":
        return "clip the gradient norm, or start W_hh at a spectral radius of 1 or below (orthogonal)"
    if verdict == "mixed":
        return "look at the sequences one by one: `layers[i].sequences`"
    if verdict == "weak":
        return "what is remembered is read weakly: look at what lies between it and the loss, such as a saturated tanh"
    if "dead units" in kinds and verdict == "vanishing":
        return "start with smaller weights and no negative biases, or use leaky_relu"
    if verdict == "vanishing":
        return f"{keep}; more steps will not make it remember more"
    if memory.expected < FAR:
        return f"if the task needs more than {np.ceil(memory.expected):.0f} steps of past, {keep}"
    return "nothing to do"


__all__ = ["MASKED", "in_words", "remedy"]
