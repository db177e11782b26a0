"""What differs along the sequence: single steps that do it all, a gain that changes, and chaos.

How a gradient begins depends on the loss, not on the step that it is in. So a step is blamed only where the same
gradient fares otherwise in other steps, and the gain of steps is measured on random gradients planted along the way.
"""

from __future__ import annotations

import numpy as np

from ..core.tensor import Array
from .layout import Layout
from .memory import Finding, Thresholds, median
from .reach import Reach, sizes
from .sweep import ToStates

PLANTED = 10
"""About so many random gradients are planted, evenly spread."""

ALIGNED = 10
"""Lags after which a random gradient has turned to where it is stretched most; in short sequences an eighth of them."""

JUMP = 10.0
"""A step that does so much more, or less, than the others is looked at."""

CLEAR = 5.0
"""What differs does so by so many times what is usual."""

MANY = 5
"""At most so many such steps are looked at."""

NEAR = 2
"""So many steps before and after it are what it is compared with."""


def jumps(reach: Reach, thresholds: Thresholds) -> list[Finding]:
    """Few steps that account for most of what becomes of the gradients until they are out of bounds."""
    layout = reach.layout
    steps = _step_by_step(reach)
    typical = median(steps.reshape(-1, steps.shape[-1]))
    usual = float(median(typical[:, None])[0])
    apart = np.abs(typical - usual)
    off = apart > max(np.log(JUMP), CLEAR * median(apart[:, None])[0])
    if not 0 < off.sum() <= max(1, len(typical) // 10) or not _accounts(reach, steps, off, thresholds):
        return []
    found = [k for k in np.flatnonzero(off)[:MANY] if _stands_out(reach, k)]
    if not _accounts(reach, steps, np.isin(np.arange(len(off)), found), thresholds):
        return []
    where = ", ".join(f"t = {layout.steps[k + 1]} (x{_short(np.exp(typical[k]))})" for k in found[:3])
    does = "one step alone does it" if len(found) == 1 else f"{len(found)} steps alone do it"
    words = f"{does}: {where}; the others x{_short(np.exp(usual))}"
    return [Finding("jump", float(np.exp(typical[found[0]])), words)]


def _step_by_step(reach: Reach) -> Array:
    """The logarithm of the factor from state k + 1 to state k of each loss in each sequence: (losses, B, K - 1).

    nan where no gradient arrives, where nothing is computed, and where so little arrives that it underflows.
    """
    layout = reach.layout
    past = np.arange(1, len(layout.states)) <= reach.own[:, None, None]
    logs = _logs(layout, reach.norms[..., :-1], reach.norms[..., 1:])
    return np.where(past & linked(layout), logs, np.nan)


def _log(before: Array, after: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.log(np.maximum(before / after, 1e-300)))


def _logs(layout: Layout, before: Array, after: Array) -> Array:
    """The logarithms of factors; nan where a gradient is not finite, or so small that it may underflow next."""
    kind = np.finfo(layout.states[0][0].dtype)
    known = (after > float(kind.tiny / kind.eps)) & np.isfinite(before) & np.isfinite(after)
    return np.where(known, _log(before, after), np.nan)


def linked(layout: Layout) -> Array:
    """(B, K - 1): whether state k + 1 was computed from state k."""
    K = len(layout.states)
    return np.asarray(layout.moved[:, 1:] & (layout.starts[1:] <= np.arange(K - 1)))


def _accounts(reach: Reach, steps: Array, chosen: Array, thresholds: Thresholds) -> bool:
    """Whether the chosen steps do most of what is done to most of the gradients that change at all."""
    shares = []
    for curve in steps.reshape(-1, steps.shape[-1]):
        back = curve[::-1]
        done = np.cumsum(np.where(np.isnan(back), 0.0, back))
        out = (done < np.log(thresholds.low)) | (done > np.log(thresholds.high))
        end = int(np.argmax(out)) if out.any() else len(back) - 1
        if abs(done[end]) > np.log(JUMP):
            shares.append(np.nansum(np.where(chosen[::-1], back, 0.0)[: end + 1]) / done[end])
    return len(shares) > 0 and float(np.median(shares)) > 0.5


def _stands_out(reach: Reach, k: int) -> bool:
    """Whether the gradient that arrives at state k + 1 fares otherwise in this step than it would in those around."""
    layout = reach.layout
    loss = max(range(len(reach.losses)), key=lambda i: (reach.norms[i, :, k + 1].any(), reach.own[i]))
    arrived = reach.arrived(loss, k + 1)
    around = range(max(0, k - NEAR), min(len(layout.states) - 1, k + NEAR + 1))
    factors: dict[int, float] = {}
    for j in around:
        state = layout.states[j + 1]
        if len(state) == len(arrived) and linked(layout)[:, j].any():
            v = [(x, g) for x, (_, g) in zip(state, arrived, strict=True)]
            before, after = sizes(layout, ToStates(state, [layout.states[j], state]), [v])[0].T
            factors[j] = float(median(_log(before, after)[:, None])[0])
    others = [factor for j, factor in factors.items() if j != k]
    return k in factors and len(others) > 0 and abs(factors[k] - np.median(others)) > np.log(JUMP)


def change(reach: Reach, rates: Array, thresholds: Thresholds) -> list[Finding]:
    """Two parts of the sequence that change gradients differently; `rates` as `planted` gives them."""
    steps = reach.layout.steps
    far = np.log(thresholds.high)
    logs = median(rates)
    beside = median(np.array([np.append(logs[1:], np.nan), logs, np.insert(logs[:-1], 0, np.nan)]))
    usual = np.flatnonzero(np.abs(logs - beside) < np.log(JUMP))  # without single steps that do otherwise
    if len(usual) < 10:
        return []
    sums, n = np.concatenate([[0.0], np.cumsum(logs[usual])]), np.arange(1, len(usual))
    first, last = sums[1:-1] / n, (sums[-1] - sums[1:-1]) / (len(usual) - n)
    split = int(np.argmax(n * (len(usual) - n) * (first - last) ** 2))
    a, b = float(first[split]), float(last[split])
    shorter = min(split + 1, len(usual) - split - 1)
    spread = np.std(np.concatenate([logs[usual[: split + 1]] - a, logs[usual[split + 1 :]] - b]))
    if abs(a - b) < CLEAR * spread / np.sqrt(shorter):
        return []
    if shorter < 5 or abs(a - b) * shorter < far or (a * b > 0 and abs(a - b) < max(abs(a), abs(b)) / 2):
        return []
    t = steps[usual[split] + 1]
    words = f"the gain changes along the sequence: x{np.exp(a):.2f} a step up to t = {t}, x{np.exp(b):.2f} after it"
    return [Finding("change", float(t), words)]


def planted(layout: Layout) -> Array:
    """The logarithm of the factor of each step on random gradients, after some lags: (B, K - 1), nan where unknown."""
    K = len(layout.states)
    ends = np.append(np.flatnonzero(layout.starts[1:] > np.arange(K - 1)), K - 1)  # the last states before cuts
    stride, aligned = max(1, K // PLANTED), max(3, min(ALIGNED, K // 8))
    places = {*range(K - 1, aligned, -stride), *ends[:: max(1, len(ends) // PLANTED)].tolist()}
    at = sorted(k for k in places if k > aligned)
    found = np.full((layout.sequences, K - 1), np.nan)
    if not at:
        return found
    rng = np.random.default_rng(0)
    seeds = [[(x, rng.normal(size=x.shape).astype(x.dtype)) for x in layout.states[k]] for k in at]
    norms = sizes(layout, ToStates([x for k in at for x in layout.states[k]], layout.states), seeds)
    known = linked(layout)
    for k, sizes_of in zip(at, norms, strict=True):  # in this order the nearest of them counts
        near = slice(max(0, k - aligned - 2 * stride), k - aligned)
        logs = _logs(layout, sizes_of[:, near], sizes_of[:, near.start + 1 : near.stop + 1])
        found[:, near] = np.where(known[:, near] & np.isnan(found[:, near]), logs, found[:, near])
    return found


def chaos(layout: Layout, rates: Array) -> list[Finding]:
    """States that stay bounded and move while gradients grow on and on; `rates` as `planted` gives them."""
    K = len(layout.states)
    if K < 21:
        return []
    with np.errstate(invalid="ignore"):
        parts = np.array_split(rates, 4, 1)
        quarters = np.array([np.nansum(part, 1) / np.isfinite(part).sum(1) for part in parts])
    quarters = quarters[:, np.isfinite(quarters).all(0)]
    if not quarters.size:
        return []
    rate, spread = float(quarters.mean()), float(quarters.std(ddof=1) / np.sqrt(quarters.size))
    if (quarters.mean(1) <= 0).any() or rate * K < np.log(16) or rate < 2 * spread:
        return []
    values = [
        np.stack([state[i]._array for state in layout.states])
        for i in range(len(layout.states[0]))
        if all(len(state) > i for state in layout.states)
    ]
    half = K // 2
    if not all(np.abs(v[half:]).max() <= 1.2 * np.abs(v[:half]).max() < np.inf for v in values):
        return []
    if all(np.abs(np.diff(v[half:], axis=0)).max() <= 1e-3 * np.abs(v).max() for v in values):
        return []
    words = (
        f"chaos: the states stay bounded and nearby ones part, exponent {rate:.3f} a step, doubling every "
        f"{np.log(2) / rate:.1f} steps"
    )
    return [Finding("chaos", float(np.log(2) / rate), words)]


def _short(factor: float) -> str:
    return f"{factor:.2f}" if 0.005 <= factor < 100 else "0" if factor < 1e-290 else f"{factor:.0e}"


__all__ = ["change", "chaos", "jumps", "planted"]
