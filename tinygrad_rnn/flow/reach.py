"""The reach of every loss to every earlier state.

Everything is counted in *lags*: how many updates lie between the state at which a loss enters and an earlier one. A
curve is |dL/dh| of one loss in one sequence by lag, relative to lag 0; what curves say: `memory`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..core.cached import cached
from ..core.tensor import Array, Tensor
from ..escape import record
from .layout import Layout
from .norms import norms
from .sweep import Seed, ToStates

LOSSES = 100
"""At most so many losses are followed back, spread evenly over the sequence."""

BUDGET = 20_000_000
"""How many numbers their gradients may fill; eight losses are followed in any case."""

CHUNK = 6_000_000
"""The same for the losses that are followed side by side, which bounds the memory."""


class Curves(NamedTuple):
    """|dL/dh| by lag, relative to lag 0; one row for each loss and sequence; nan where there is no such lag."""

    values: Array
    """(C, lags + 1); inf where the gradient is not finite."""
    sequence: Array
    """(C,): whose sequence each curve is."""


@dataclass(frozen=True, eq=False)
class Reach:
    """The gradients of the losses that were looked at, at all states of a layer."""

    __repr__ = record

    layout: Layout
    norms: Array
    """|dL_t/dh_k| for each loss, sequence and state: (losses, B, K), states in the order of running."""
    losses: list[int]
    """The numbers of the losses that were looked at and have a gradient."""
    own: Array
    """(losses,): the state of each loss's own step; what comes after it, as by way of another direction, is no past."""
    silent: int
    """How many were looked at and have none, at no state of no sequence."""
    seeds: list[Seed] = field(repr=False)
    """Where each of the losses starts."""

    @cached
    def curves(self) -> Curves:
        """One row for each loss and sequence, from the last state that the loss reaches backwards."""
        rows, whose = [], []
        order = self.layout.farthest
        for b, moved in enumerate(self.layout.moved):
            real = np.flatnonzero(moved)
            size = np.where(np.isnan(self.norms[:, b, real]), np.inf, self.norms[:, b, real])
            size = np.where(real <= self.own[:, None], size, 0.0)
            size = size[size.any(1)]
            if not len(size):
                continue
            last = size.shape[1] - 1 - np.argmax(size[:, ::-1] != 0, axis=1)
            first = np.searchsorted(real, self.layout.starts[real[last]])
            at = last[:, None] - np.arange(last.max() + 1)
            with np.errstate(all="ignore"):
                values = np.take_along_axis(size, np.maximum(at, 0), 1) / size[np.arange(len(last)), last, None]
            values = np.where(np.isnan(values), np.inf, values)
            values = _companion(np.where(at >= first[:, None], values, np.nan), order)
            rows.append(values)
            whose.append(np.full(len(values), b))
        if not rows:
            return Curves(np.zeros((0, 1)), np.zeros(0, int))
        longest = max(row.shape[1] for row in rows)
        padded = [np.pad(row, ((0, 0), (0, longest - row.shape[1])), constant_values=np.nan) for row in rows]
        return Curves(np.concatenate(padded), np.concatenate(whose))

    def arrived(self, loss: int, k: int) -> Seed:
        """The gradient of one of the losses at the tensors of state k."""
        return ToStates([x for x, _ in self.seeds[loss]], self.layout.states).of(self.seeds[loss], k)

    @property
    def last(self) -> Array:
        """|dL_T/dh_k| of the loss that looks back farthest, over the whole batch: (K,), in the order of running."""
        if not self.losses:
            return np.zeros(len(self.layout.states))
        return norms(self.norms[self.farthest], 0)

    @property
    def farthest(self) -> int:
        """Which of the losses looks back from the last state, the last of them if there are several."""
        return int(np.flatnonzero(self.own == self.own.max())[-1])


def _companion(values: Array, order: int) -> Array:
    """Where a state is made from several before it, all of these are the past: the largest of their gradients."""
    if order == 1 or values.shape[1] <= order:
        return values
    windows = np.lib.stride_tricks.sliding_window_view(values, order, axis=1)
    largest = np.where(np.isnan(windows).any(-1), np.nan, windows.max(-1))
    with np.errstate(all="ignore"):
        return np.asarray(largest / largest[:, :1])


def reach(seeds: Sequence[Seed], steps: Sequence[int | None], layout: Layout, most: int = LOSSES) -> Reach:
    """Follow losses back to all states: those, evenly spread, that the budget allows, and others where they are silent.

    Args:
        seeds: where each loss starts.
        steps: the step of each loss, if it has one.
        layout: of the states.
        most: so many losses are followed, if there are.
    """
    state = sum(tensor.size for tensor in layout.states[0])
    K = len(layout.states)
    wanted = min(most, max(8, BUDGET // max(1, state * K)))
    sweep = ToStates([tensor for seed in seeds for tensor, _ in seed], layout.states)
    found: dict[int, Array] = {}
    silent = 0
    for chosen in _in_turn(len(seeds), min(wanted, max(1, CHUNK // max(1, state * K)))):
        arrived = sizes(layout, sweep, [seeds[s] for s in chosen])
        heard = np.asarray(arrived.any((1, 2)))
        silent += int((~heard).sum())
        found.update({s: arrived[row] for row, s in enumerate(chosen) if heard[row]})
        if len(found) >= wanted:
            break
    losses = sorted(found)
    stacked = np.stack([found[s] for s in losses]) if losses else np.zeros((0, layout.sequences, K))
    known = _own(seeds, steps, layout, sweep)
    latest = [int(np.flatnonzero(each.any(0))[-1]) for each in stacked]
    own = np.array([min(known[s], k) for s, k in zip(losses, latest, strict=True)], int)
    return Reach(layout, stacked, losses, own, silent, [seeds[s] for s in losses])


def sizes(layout: Layout, sweep: ToStates, seeds: Sequence[Seed]) -> Array:
    """The norm of each seed's gradient for each sequence at each state of a sweep: (seeds, B, states)."""
    found = np.zeros((len(seeds), layout.sequences, len(sweep.states)))
    for k, arrived in sweep.gradients(seeds).items():
        for rows in arrived:
            part = found[rows.first : rows.end, :, k]
            part[...] = np.hypot(part, norms(layout.by_sequence(rows.values)))
    return found


def _own(seeds: Sequence[Seed], steps: Sequence[int | None], layout: Layout, sweep: ToStates) -> list[int]:
    """For each loss the last state that can be its past.

    That is the last of all: of an encoder every state is the past of the decoder's losses. Only where something runs
    back through the steps, states after the loss's own step lead to it without being its past.
    """
    last = len(layout.states) - 1
    number = {tensor.index: k for k, state in enumerate(layout.states) for tensor in state}
    first: dict[int, int] = {}
    back = False
    for index, node in sweep.nodes.items():  # the first state that each leads to, not through other states
        inputs = [x for x in node.inputs if type(x) is Tensor]
        first[index] = min((number.get(x.index, first.get(x.index, last + 1)) for x in inputs), default=last + 1)
        back = back or any(x.step is not None and node.step is not None and x.step == node.step + 1 for x in inputs)
    if not back:
        return [last] * len(seeds)
    found = []
    for seed, step in zip(seeds, steps, strict=True):
        direct = min((number.get(x.index, first.get(x.index, last + 1)) for x, _ in seed), default=last)
        own = layout.at(step)
        found.append(own if direct <= own else last)
    return found


def _in_turn(n: int, size: int) -> Iterator[list[int]]:
    """The numbers below n in groups of at most `size`, each spread over the whole range; the last number first."""
    groups = -(-n // size)
    for offset in range(groups):
        yield list(range(n - 1 - offset, -1, -groups))[::-1]


__all__ = ["Curves", "Reach", "reach", "sizes"]
