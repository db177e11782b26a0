"""What was measured, in words: one word for one number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .memory import Finding, Memory, Thresholds

MASKED = "masked: |dL/dh_t| of the total loss looks healthy, because every step has a loss of its own"

QUIET = ("healthy", "too short to tell")
"""Verdicts with which nothing is wrong."""

NO_NEED = "nothing to do for its memory; if it does not learn, look at the learning rate, the loss and the data"

BEYOND = 10
"""A rate is not extended to more than so many times the lags that it was measured on."""


def in_words(verdict: str, memory: Memory, thresholds: Thresholds) -> str:
    """The numbers behind a verdict; no rate where none describes what was measured."""
    if not memory.lags:
        return "there is no step before it to look back to"
    low, high = f"less than {100 * thresholds.low:.3g}%", f"more than {thresholds.high:g} times as much"
    at_last = f"{in_percent(memory.left)} at the largest lag, {memory.lags}"
    words = []
    if verdict == "weak":
        late = f"x{memory.kept:.2g} in all over the last {(memory.lags + 1) // 2} lags"
        return f"{low} is left from lag {memory.horizon} on{_spread(memory)}, but {late}: {at_last}"
    if verdict == "not finite":
        words.append(f"the gradient of {_share(memory.broken)} of the losses is infinite or NaN")
    elif verdict == "mixed":
        kept = 1 - memory.vanishing - memory.exploding
        shares = {"fade": memory.vanishing, "grow": memory.exploding, "keep": kept}
        parts = [f"{_share(share)} {does}" for does, share in shares.items() if share > 0.005]
        words.append(f"of the losses {', '.join(parts)}")
    elif not np.isnan(memory.gain):
        words.append(f"gain {_factor(memory.gain)} a step")
        if memory.half_life < (BEYOND if ends(memory) else 1) * memory.lags:
            words.append(f"half-life {memory.half_life:.1f} steps")
    if verdict == "healthy" and max(memory.vanishing, memory.exploding) > 0.005:
        does = "fade" if memory.vanishing > memory.exploding else "grow"
        words.append(f"{_share(max(memory.vanishing, memory.exploding))} of the losses {does}")
    if memory.horizon is not None:
        words.append(f"{low} is left from lag {memory.horizon} on{_spread(memory)}")
    if memory.rise is not None:
        words.append(f"{high} from lag {memory.rise} on")
    if memory.back is not None and (memory.horizon is not None or memory.rise is not None):
        words.append(f"but from lag {memory.back} on {'more' if memory.rise is None else 'less'} again: {at_last}")
    elif verdict == "exploding" and memory.left < 1:
        words.append(f"but {at_last}")
    if verdict in QUIET or not words:
        words.append(at_last)
        if ends(memory):
            words.append(f"at this rate {low if memory.gain < 1 else high} from lag {np.ceil(memory.expected):.0f} on")
    return ", ".join(words)


def ends(memory: Memory) -> bool:
    """Whether it can be foreseen at which lag the gradient is out of bounds."""
    return memory.expected < BEYOND * memory.lags


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"


def _factor(gain: float) -> str:
    return f"{gain:.2f}" if gain >= 0.095 else f"{gain:.1g}" if gain > 1e-300 else "0"


def _spread(memory: Memory) -> str:
    first, last = memory.horizons
    return (
        f" ({first} to {last} for most losses)" if first is not None and last is not None and last > first + 1 else ""
    )


def in_percent(left: float) -> str:
    """How much of the gradient at lag 0 is left."""
    if left >= 1.005:
        return f"{left:.2f} times as much" if left < 10 else f"{left:.3g} times as much"
    if left < 1e-3:
        return f"{left:.0e} of it is left" if left else "nothing is left"
    return f"{left:.0%} is left" if left >= 0.1 else f"{left:.1%} is left"


def advice(verdict: str, memory: Memory, found: Sequence[Finding], broken: bool, alike: bool = True) -> str:
    """What can be said without trying anything; empty where there is nothing of the kind.

    Args:
        verdict: of most sequences.
        memory: of all together.
        found: beside it.
        broken: whether something is not finite.
        alike: whether none of the sequences fades or explodes where most do not.
    """
    kinds = {finding.kind for finding in found}
    if broken or verdict == "not finite":
        return "lower the learning rate, clip the gradient, and look at that operation first"
    if verdict == "vanishing" and kinds >= {"saturated", "change"}:
        return "units that latch may remember what no gradient shows: tg.influence measures it"
    if "jump" in kinds or "change" in kinds:
        return "look at what is different there first"
    if "cut" in kinds and verdict in QUIET:
        return "truncate less often (a larger k2) if the task needs more past"
    if "begins" in kinds:
        return "read the state that it ends with, as a layer of tg.nn returns it beside its outputs"
    if verdict == "too short to tell" and alike:
        return "a loss that looks back farther (later in the sequence, or of a longer one) would tell"
    if verdict == "exploding":
        return "clip the gradient norm"
    if verdict == "weak" or (verdict == "mixed" and "saturated" in kinds):
        return "what is remembered is read weakly: look at what lies between it and the loss, such as a saturated tanh"
    if verdict == "mixed" or (verdict in QUIET and not alike):
        return "look at the sequences one by one: `layers[i].sequences`"
    if "dead units" in kinds:
        return "start with smaller weights and no negative biases, or use leaky_relu"
    if verdict == "vanishing":
        return ""
    if ends(memory) and memory.gain > 1:
        return f"clip the gradient norm for more than {np.ceil(memory.expected):.0f} steps"
    return "" if ends(memory) else NO_NEED


__all__ = ["MASKED", "QUIET", "advice", "ends", "in_percent", "in_words"]
