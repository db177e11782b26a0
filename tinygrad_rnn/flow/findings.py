"""What is special about a layer beside its reach, each said in a few words: cuts, dead units, saturation, chaos, ..."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ..core.backprop import edge_gradients
from ..core.tensor import Tensor
from ..debug.origin import place
from ..escape import terminal
from ..ops import maximum
from .along import change, chaos, jumps, planted
from .layout import Layout, jacobian
from .memory import Finding, Memory, Thresholds
from .reach import Reach, sizes
from .structure import Structure
from .sweep import ToStates, between

CLOSE = 0.95
"""A tanh or sigmoid is saturated where it is so far from the middle to a bound: its slope is a tenth of the largest."""

WIDTH = 64
"""The directions of larger states are not counted: it takes a backward pass for each."""


def findings(
    reach: Reach, memory: Memory, graph: Structure, thresholds: Thresholds, whole: bool = False
) -> list[Finding]:
    """All that is found, the causes first.

    Args:
        reach: of the layer.
        memory: what its curves say together.
        graph: of the loss.
        thresholds: of the verdicts.
        whole: whether the losses are one, taken apart by the steps that it enters at.
    """
    layout = reach.layout
    found = [*(_cuts(layout, graph) or _late(layout, graph)), *_begins(layout, memory), *activations(layout)]
    rates = None
    if layout.farthest == 1 and reach.losses and len(layout.states) > 1:
        rates = planted(layout)
        found += jumps(reach, thresholds) or change(reach, rates, thresholds)
    if layout.others:
        found += _other_layer(reach, memory, thresholds)
    if memory.verdict == "healthy" and not any(finding.kind == "other layer" for finding in found):
        found += _directions(layout, thresholds)
    if rates is not None:
        found += chaos(layout, rates)
    if reach.silent:
        of = reach.silent + len(reach.losses)
        words = f"{reach.silent} of {of} losses have no gradient and do not count"
        if whole and of > 1:
            words = f"at {reach.silent} of the {of} steps at which the loss enters it sends nothing to this layer"
        found.append(Finding("silent losses", reach.silent, words))
    return found


def _cuts(layout: Layout, graph: Structure) -> list[Finding]:
    in_place = [x for x in graph.cuts if any(graph.role(user, i) for user, i in graph.consumers(x))]  # of a state
    handed_on = between(layout.states[0], in_place)
    at = [layout.steps[k] for k in np.unique(layout.starts)[0 if handed_on else 1 :]]
    if not at:
        return []
    where = f"before t = {', '.join(map(str, at[:3]))}{', ...' if len(at) > 3 else ''}"
    times = "" if len(at) == 1 else f" {len(at)} times"
    return [Finding("cut", len(at), f"truncated: the path is cut{times}, {where}")]


def _late(layout: Layout, graph: Structure) -> list[Finding]:
    """Where the steps before the first state are not behind the loss, as after `tg.Tensor(h.data)`."""
    first = layout.steps[0]
    if not 0 < first < layout.steps[-1] or graph.steps[:1] != [first]:
        return []
    return [Finding("late", first, f"its first state behind the loss is that of t = {first}")]


def _begins(layout: Layout, memory: Memory) -> list[Finding]:
    """Where a direction that runs back through the steps is read at the last step, with which it begins."""
    first, last = layout.steps[0], layout.steps[-1]
    if memory.lags or first <= last:
        return []
    words = f"it runs from t = {first} back to t = {last}, and the loss reads only the state that it begins with"
    return [Finding("begins", first, words)]


# ------------------------------------------------------------------ activations
def activations(layout: Layout) -> list[Finding]:
    """Dead units, and saturation, among the activations that lead from state to state."""
    states = [tensor for state in layout.states for tensor in state]
    known = {tensor.index for tensor in states}
    places: dict[tuple[object, str, tuple[float, float]], list[Tensor]] = {}
    for node in layout.path.values():
        if node.primitive is not None and node.scope == states[0].scope and node.shape == states[-1].shape:
            bounds = node.primitive.traits.bounds or (-np.inf, 0.0 if node.primitive is maximum else np.inf)
            gate = bounds == (0, 1) and node.index not in known
            if node.primitive.traits.elementwise and not gate and np.isfinite(bounds).any():
                site = place(node.origin), node.primitive.name, bounds
                places.setdefault(site, []).append(node)
    found = []
    often = Counter(name for _, name, _ in places)
    for (_, name, (low, high)), nodes in places.items():
        name = name if often[name] == 1 else _called(nodes[0], name)
        values = np.stack([node._array for node in nodes])
        if np.isfinite(low) and np.isfinite(high):
            share = float((np.abs(values - (low + high) / 2) > CLOSE * (high - low) / 2).mean())
            if share >= 0.5:
                words = f"{share:.0%} of the outputs of {name} are saturated (slope below 10% of the largest)"
                found.append(Finding("saturated", share, words))
        else:
            sent = (edge_gradients(node, np.ones(node.shape, node.dtype)) for node in nodes)
            slopes = np.stack([next(g for g in each if g is not None) for each in sent])
            dead = float((layout.by_sequence(slopes) == 0).all((0, 1)).mean())
            if dead:
                words = f"{dead:.0%} of the units of {name} are dead (let nothing through at any step)"
                found.append(Finding("dead units", dead, words))
    return found


def _called(node: Tensor, name: str) -> str:
    """Which of several activations of a kind it is, by its variable or that of its operand."""
    if node.name:
        return f"{terminal(node.name)} = {name}"
    operand = next((x.name for x in node.inputs if type(x) is Tensor and x.name), None)
    return f"{name}({terminal(operand)})" if operand else name


# ------------------------------------------------------------------ directions and paths
def _directions(layout: Layout, thresholds: Thresholds) -> list[Finding]:
    """How many directions of the state keep more than `low`, over twenty steps or the whole sequence."""
    last = len(layout.states) - 1
    back = min(20, last - int(layout.starts[last]))
    before, after = layout.states[last - back], layout.states[last]
    sizes = [tensor.size // layout.sequences for tensor in after]
    if back < 2 or sum(sizes) > WIDTH or len(before) != len(after) or max(sizes) < 2:
        return []
    J = jacobian(layout, ToStates(after, [before]), after)
    whole = layout.moved[:, last - back :].all(1)
    if not whole.any() or not np.isfinite(J).all():
        return []
    kept = float(np.median((np.linalg.svd(J[whole], compute_uv=False) >= thresholds.low).sum(-1)))
    of = max(sizes)
    if kept > 0.75 * of:
        return []
    low = f"{100 * thresholds.low:.3g}%"
    words = f"only {kept:.0f} of {of} directions keep {low} over {back} steps"
    if kept == 0:
        words = f"its recurrence keeps less than {low} over {back} steps; what reaches further goes past it"
    return [Finding("directions", kept / of, words)]


def _other_layer(reach: Reach, memory: Memory, thresholds: Thresholds) -> list[Finding]:
    """Where the layer's own recurrence keeps far less than all paths together of the loss that looks back farthest."""
    layout = reach.layout
    if not layout.alone:
        return [Finding("other layer", 0.0, "each state leads to the next only through the states of another layer")]
    soon = memory.verdict == "vanishing" and (memory.horizon or 0) < 3
    if soon or not reach.losses:
        return []
    loss = reach.farthest
    if ToStates([x for x, _ in reach.seeds[loss]], layout.states).nodes.keys().isdisjoint(layout.others):
        return []
    k = int(reach.own[loss])
    seed = reach.arrived(loss, k)
    sweep = ToStates(layout.states[k], layout.states)
    sweep.useful.difference_update(layout.others)
    own, whole = (
        Memory.of(Reach(layout, norms, [0], reach.own[[loss]], 0, [seed]).curves.values, thresholds)
        for norms in (sizes(layout, sweep, [seed]), reach.norms[[loss]])
    )
    if own.horizon is None or (whole.horizon is not None and whole.horizon < 2 * own.horizon):
        return []
    words = (
        f"its own recurrence alone keeps less than {100 * thresholds.low:.3g}% from lag {own.horizon} on; what reaches "
        "further runs through another layer"
    )
    return [Finding("other layer", own.gain, words)]


__all__ = ["activations", "findings"]
