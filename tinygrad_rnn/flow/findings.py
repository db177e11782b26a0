"""What is special about a layer beside its reach, each said in a few words: cuts, dead units, saturation, chaos, ..."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.backprop import edge_gradients
from ..core.tensor import Tensor
from ..ops import maximum
from .layout import Layout
from .reach import Memory, Reach, Thresholds
from .sweep import ToStates, between

CLOSE = 0.95
"""A tanh or sigmoid is saturated where it is so far from the middle to a bound: its slope is a tenth of the largest."""

WIDTH = 64
"""The directions of larger states are not counted: it takes a backward pass for each."""


@dataclass(frozen=True)
class Finding:
    """Something to know about a layer."""

    kind: str
    """"cut", "jump", "change", "dead units", "saturated", "directions", "other layer", "chaos" or "silent losses"."""
    value: float
    """The number that it is about: a share, a factor, a doubling time, ...; see the words."""
    words: str

    def __str__(self) -> str:
        return self.words


def findings(reach: Reach, memory: Memory, others: set[int], thresholds: Thresholds) -> list[Finding]:
    """All that is found, the causes first.

    Args:
        reach: of the layer.
        memory: what its curves say together.
        others: creation numbers of the states of other layers.
        thresholds: of the verdicts.
    """
    layout = reach.layout
    found = [*_cuts(layout), *_activations(layout)]
    steady = True
    if layout.farthest == 1 and reach.losses:
        rates = _changes(reach, thresholds)
        steady = not rates
        found += rates
    if others:
        found += _other_layer(layout, memory, others, thresholds)
    if memory.verdict == "healthy" and not any(finding.kind == "other layer" for finding in found):
        found += _directions(layout, thresholds)
    if steady:
        found += _chaos(reach)
    if reach.silent:
        words = f"{reach.silent} of {reach.silent + len(reach.losses)} losses have no gradient and do not count"
        found.append(Finding("silent losses", reach.silent, words))
    return found


def _cuts(layout: Layout) -> list[Finding]:
    at = [layout.steps[k] for k in np.unique(layout.starts)[1:]]
    if not at:
        return []
    where = f"before t = {', '.join(map(str, at[:3]))}{', ...' if len(at) > 3 else ''}"
    times = "" if len(at) == 1 else f" {len(at)} times"
    return [Finding("cut", len(at), f"truncated: the path is cut{times}, {where}")]


# ------------------------------------------------------------------ activations
def _activations(layout: Layout) -> list[Finding]:
    """Dead units, and saturation, among the activations that lead from state to state."""
    states = [tensor for state in layout.states for tensor in state]
    known = {tensor.index for tensor in states}
    places: dict[tuple[object, str, tuple[float, float]], list[Tensor]] = {}
    for node in between(states, states).values():
        if node.primitive is not None and node.scope == states[0].scope and node.shape == states[-1].shape:
            bounds = node.primitive.traits.bounds or (-np.inf, 0.0 if node.primitive is maximum else np.inf)
            gate = bounds == (0, 1) and node.index not in known
            if node.primitive.traits.elementwise and not gate and np.isfinite(bounds).any():
                places.setdefault((node.origin, node.primitive.name, bounds), []).append(node)
    found = []
    for (_, name, (low, high)), nodes in places.items():
        values = np.stack([node._array for node in nodes])
        if np.isfinite(low) and np.isfinite(high):
            share = float((np.abs(values - (low + high) / 2) > CLOSE * (high - low) / 2).mean())
            if share >= 0.5:
                words = f"{share:.0%} of the outputs of {name} are saturated (slope below 10% of the largest)"
                found.append(Finding("saturated", share, words))
        else:
            slopes = np.stack([edge_gradients(node, np.ones(node.shape, node.dtype))[_active(node)] for node in nodes])
            dead = float((layout.by_sequence(slopes) == 0).all((0, 1)).mean())
            if dead:
                words = f"{dead:.0%} of the units of {name} are dead (let nothing through at any step)"
                found.append(Finding("dead units", dead, words))
    return found


def _active(node: Tensor) -> int:
    """The operand of an activation that a gradient flows to."""
    return next(i for i, x in enumerate(node.inputs) if type(x) is Tensor and x.requires_grad)


# ------------------------------------------------------------------ along the sequence
def _changes(reach: Reach, thresholds: Thresholds) -> list[Finding]:
    """Single steps that change the gradient far more than the others; else two parts that change it differently."""
    steps = reach.layout.steps
    with np.errstate(all="ignore"):
        logs = np.log(np.maximum(reach.gains(), 1e-300))
    usual = np.flatnonzero(np.isfinite(logs))
    if len(usual) < 5:
        return []
    far = np.log(thresholds.high)
    off = logs[usual] - np.median(logs[usual])
    jumps = usual[np.abs(off) > far]
    if 0 < len(jumps) <= max(1, len(usual) // 10):
        where = ", ".join(f"t = {steps[k + 1]} (x{_short(float(np.exp(logs[k])))})" for k in jumps[:3])
        rest = _short(float(np.exp(np.median(logs[usual]))))
        words = f"one step alone does it: {where}" if len(jumps) == 1 else f"{len(jumps)} steps alone do it: {where}"
        return [Finding("jump", float(np.exp(logs[jumps[0]])), f"{words}; the others x{rest}")]
    # How a gradient begins is no change along the sequence: compare steps at the same few lags, where all are known.
    near = max(10, 2 * len(steps) // max(1, len(reach.losses)))
    with np.errstate(all="ignore"):
        logs = np.log(np.maximum(reach.gains(near), 1e-300))[: max(0, len(steps) - 1 - near)]
    usual = np.flatnonzero(np.isfinite(logs))
    if len(usual) < 10:
        return []
    sums, n = np.concatenate([[0.0], np.cumsum(logs[usual])]), np.arange(1, len(usual))
    with np.errstate(all="ignore"):
        first, last = sums[1:-1] / n, (sums[-1] - sums[1:-1]) / (len(usual) - n)
    split = int(np.argmax(n * (len(usual) - n) * (first - last) ** 2))
    a, b = float(first[split]), float(last[split])
    shorter = min(split + 1, len(usual) - split - 1)
    if (
        shorter < 5
        or abs(a - b) * shorter < far
        or min(abs(a) * (split + 1), abs(b) * (len(usual) - split - 1)) < far / 2
    ):
        return []
    if a * b > 0 and abs(a - b) < max(abs(a), abs(b)) / 2:
        return []
    t = steps[usual[split] + 1]
    words = f"the gain changes along the sequence: x{np.exp(a):.2f} a step up to t = {t}, x{np.exp(b):.2f} after it"
    return [Finding("change", float(t), words)]


def _short(factor: float) -> str:
    return f"{factor:.2f}" if 0.005 <= factor < 100 else "0" if factor < 1e-290 else f"{factor:.0e}"


def _chaos(reach: Reach) -> list[Finding]:
    """States that stay bounded and move while the gradient grows on and on."""
    layout = reach.layout
    K = len(layout.states)
    if not len(reach.losses) or K < 21:
        return []
    norms = reach.norms[reach.farthest]
    alive = (norms[:, 0] > 0) & np.isfinite(norms[:, 0]) & (norms[:, K // 2] > 0) & layout.moved.all(1)
    if not alive.any():
        return []
    rates = (np.log(norms[alive, 0]) - np.log(norms[alive, K // 2])) / (K // 2)
    rate, spread = float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(len(rates))) if len(rates) > 1 else 0.0
    if rate * (K // 2) < np.log(4) or rate < 2 * spread:
        return []
    values = [
        np.stack([state[i]._array for state in layout.states])
        for i in range(len(layout.states[0]))
        if all(len(s) > i for s in layout.states)
    ]
    half = K // 2
    if any(np.abs(v[half:]).max() > 1.2 * np.abs(v[:half]).max() for v in values):
        return []
    if all(np.abs(np.diff(v[half:], axis=0)).max() <= 1e-3 * np.abs(v).max() for v in values):
        return []
    words = (
        f"chaos: the states stay bounded and nearby ones part, exponent {rate:.3f} a step, doubling every "
        f"{np.log(2) / rate:.1f} steps"
    )
    return [Finding("chaos", float(np.log(2) / rate), words)]


# ------------------------------------------------------------------ directions and paths
def _directions(layout: Layout, thresholds: Thresholds) -> list[Finding]:
    """How many directions of the state keep more than `low`, over twenty steps or the whole sequence."""
    last = len(layout.states) - 1
    back = min(20, last - int(layout.starts[last]))
    before, after = layout.states[last - back], layout.states[last]
    sizes = [tensor.size // layout.sequences for tensor in after]
    if back < 2 or sum(sizes) > WIDTH or len(before) != len(after) or max(sizes) < 2:
        return []
    seeds = layout.unit_seeds(after)
    arrived = ToStates(after, [before]).gradients(seeds).get(0)
    if arrived is None:
        return []
    J = np.zeros((layout.sequences, len(seeds), sum(tensor.size // layout.sequences for tensor in before)))
    at = 0
    for rows in arrived:
        part = layout.by_sequence(rows.values)
        J[:, rows.first : rows.end, at : at + part.shape[-1]] = part.swapaxes(0, 1)
        at += part.shape[-1]
    whole = layout.moved[:, last - back :].all(1)
    if not whole.any() or not np.isfinite(J).all():
        return []
    kept = float(np.median((np.linalg.svd(J[whole], compute_uv=False) >= thresholds.low).sum(-1)))
    of = max(sizes)
    if kept > 0.75 * of:
        return []
    return [
        Finding(
            "directions", kept / of, f"only {kept:.0f} of {of} directions keep {thresholds.low:.0%} over {back} steps"
        )
    ]


def _other_layer(layout: Layout, memory: Memory, others: set[int], thresholds: Thresholds) -> list[Finding]:
    """Where the layer's own recurrence keeps far less than all paths together."""
    if not layout.alone:
        return [Finding("other layer", 0.0, "each state leads to the next only through the states of another layer")]
    if memory.verdict == "vanishing" and (memory.horizon or 0) < 3:
        return []
    sweep = ToStates(layout.states[-1], layout.states)
    sweep.useful -= others
    rng = np.random.default_rng(0)
    seed = [(tensor, rng.normal(size=tensor.shape).astype(tensor.dtype)) for tensor in layout.states[-1]]
    norms = np.zeros((1, layout.sequences, len(layout.states)))
    for k, arrived in sweep.gradients([seed]).items():
        for rows in arrived:
            norms[:, :, k] = np.hypot(norms[:, :, k], layout.norms(rows.values))
    own = Memory.of(Reach(layout, norms, [0], np.array([len(layout.states) - 1]), 0).curves().values, thresholds)
    if own.horizon is None or (memory.horizon is not None and memory.horizon < 2 * own.horizon):
        return []
    words = (
        f"its own recurrence alone keeps less than {thresholds.low:.0%} from lag {own.horizon} on; what reaches "
        "further runs through another layer"
    )
    return [Finding("other layer", own.gain, words)]


__all__ = ["Finding", "findings"]
