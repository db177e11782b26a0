"""From losses and the states of a layer to what is measured of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.tensor import Tensor
from .gradient_flow import GradientFlow
from .layout import Layout, layout
from .reach import Memory, Reach, Thresholds, reach
from .structure import State
from .sweep import Seed


def seeds_of(flow: GradientFlow, losses: list[Tensor]) -> tuple[list[Seed], list[int | None]]:
    """Where each loss starts, and its step; a single loss is taken apart by the steps that it enters at."""
    if len(losses) == 1:
        entries = (flow if flow.loss is losses[0] else GradientFlow(losses[0])).entries()
        if entries:
            return list(entries.values()), list(entries)
    return [[(loss, np.ones(loss.shape, loss.dtype))] for loss in losses], [loss.step for loss in losses]


def measure(
    states: list[State],
    seeds: Sequence[Seed],
    steps: Sequence[int | None],
    others: set[int],
    thresholds: Thresholds,
) -> tuple[Layout, Reach, Memory]:
    """How the states lie in the graph, what reaches them, and what all losses say together.

    Args:
        states: of a layer and direction.
        seeds, steps: of the losses.
        others: creation numbers of the states of other layers.
        thresholds: of the verdicts.
    """
    shape = layout(sorted(states, key=lambda state: state[0].index), others)
    if len(seeds) == len(states) and None in steps:  # a loss for each step, made after the loop
        steps = sorted(shape.steps)
    found = reach(seeds, steps, shape)
    return shape, found, Memory.of(found.curves().values, thresholds, shape.farthest)


__all__ = ["measure", "seeds_of"]
