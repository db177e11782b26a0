"""From losses and the states of a layer to what is measured of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.tensor import Tensor
from .gradients import Gradients
from .layout import Layout, layout
from .memory import Memory, Thresholds
from .reach import LOSSES, Reach, reach
from .structure import State
from .sweep import Seed, ToStates


def seeds_of(flow: Gradients, losses: list[Tensor]) -> tuple[list[Seed], list[int | None]]:
    """Where each loss starts, and its step; a single loss is taken apart by the steps that it enters at."""
    if len(losses) == 1:
        entries = (flow if flow.loss is losses[0] else Gradients(losses[0])).entries()
        if entries:
            return list(entries.values()), list(entries)
    return [[(loss, np.ones(loss.shape, loss.dtype))] for loss in losses], [loss.step for loss in losses]


def measure(
    states: list[State],
    seeds: Sequence[Seed],
    steps: Sequence[int | None],
    others: set[int],
    thresholds: Thresholds,
    most: int = LOSSES,
) -> tuple[Reach, Memory]:
    """What reaches the states, and what all losses say together.

    Args:
        states: of a layer and direction.
        seeds, steps: of the losses.
        others: creation numbers of the states of other layers.
        thresholds: of the verdicts.
        most: so many losses are followed, evenly spread.
    """
    shape = layout(sorted(states, key=lambda state: state[0].index), others)
    if len(seeds) == 1 and steps[0] is None:
        apart = _by_state(seeds[0], shape)
        seeds, steps = (list(apart.values()), list(apart)) if apart else (seeds, steps)
    if len(seeds) == len(states) and None in steps:  # a loss for each step, made after the loop
        steps = sorted(shape.steps)
    found = reach(seeds, steps, shape, most)
    return found, Memory.of(found.curves.values, thresholds, shape.farthest)


def _by_state(seed: Seed, shape: Layout) -> dict[int | None, Seed]:
    """A loss without steps taken apart by the states that it depends on directly, not through other states."""
    tensors = [tensor for state in shape.states for tensor in state]
    ends = {tensor.index for tensor in tensors}
    direct: set[int] = set()
    stack = [tensor for tensor, _ in seed if tensor.index not in ends]
    while stack:
        node = stack.pop()
        if node.index not in direct and node.primitive is not None:
            direct.add(node.index)
            stack.extend(x for x in node.inputs if type(x) is Tensor and x.index not in ends)
    if any(type(x) is Tensor and x.index in direct for tensor in tensors for x in tensor.inputs):
        return {}  # what a state is made from is also read beside it
    sweep = ToStates([tensor for tensor, _ in seed], shape.states, direct=True)
    found: dict[int | None, Seed] = {}
    for k, arrived in sorted(sweep.gradients([seed]).items()):
        parts = [(tensor, rows.values[0]) for tensor, rows in zip(shape.states[k], arrived, strict=True)]
        if any(part.any() for _, part in parts):
            found[shape.steps[k]] = parts
    return found


__all__ = ["measure", "seeds_of"]
