"""The reach of every loss to every earlier state, from losses and the states of a layer.

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
from .gradients import Gradients
from .layout import NONE, Layout, first_states
from .memory import Memory, Thresholds
from .norms import norms
from .structure import State
from .sweep import Seed, ToStates

LOSSES = 100
"""At most so many losses are followed back, spread evenly over the sequence."""

BUDGET = 20_000_000
"""How many numbers their gradients may fill; eight losses are followed in any case."""

CHUNK = 6_000_000
"""The same for the losses that are followed side by side, which bounds the memory."""

Start = tuple[int | None, Seed]
"""A loss that is followed back: its step, if it has one, and where it starts."""


class Curves(NamedTuple):
    """|dL/dh| by lag, relative to lag 0; one row for each loss and sequence; nan where there is no such lag."""

    values: Array
    """(C, lags + 1); inf where the gradient is not finite."""
    sequence: Array
    """(C,): whose sequence each curve is."""


@dataclass(frozen=True, eq=False)
class Reach:
    """The gradients of the losses that were looked at, at all states of a layer.

    Attributes:
        norms: |dL_t/dh_k| for each loss, sequence and state: (losses, B, K), states in the order of running.
        losses: the numbers of the losses that were looked at and have a gradient.
        own: (losses,): the state of each loss's own step; what comes after it, as by way of another direction, is no
            past.
        silent: how many were looked at and have none, at no state of no sequence.
        seeds: where each of the losses starts.
    """

    __repr__ = record

    layout: Layout
    norms: Array
    losses: list[int]
    own: Array
    silent: int
    seeds: list[Seed] = field(repr=False)

    @cached
    def curves(self) -> Curves:
        """One row for each loss and sequence, from the last state that the loss reaches backwards."""
        rows, whose = [np.zeros((0, 1))], [np.zeros(0, int)]
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
            rows.append(_companion(np.where(at >= first[:, None], values, np.nan), self.layout.farthest))
            whose.append(np.full(len(values), b))
        longest = max(row.shape[1] for row in rows)
        padded = [np.pad(row, ((0, 0), (0, longest - row.shape[1])), constant_values=np.nan) for row in rows]
        return Curves(np.concatenate(padded), np.concatenate(whose))

    def arrived(self, loss: int, k: int) -> list[tuple[Tensor, Array]]:
        """The gradient of one of the losses at the tensors of state k."""
        return ToStates([x for x, _ in self.seeds[loss]], self.layout.states).of(self.seeds[loss], k)

    @property
    def last(self) -> Array:
        """|dL_T/dh_k| of the loss that looks back farthest, over the whole batch: (K,), in the order of running."""
        return norms(self.norms[self.farthest], 0) if self.losses else np.zeros(len(self.layout.states))

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


# ------------------------------------------------------------------ where losses start
def starts_of(flow: Gradients, losses: list[Tensor]) -> list[Start]:
    """Each loss; a single one is taken apart by the steps that it enters at."""
    if len(losses) == 1:
        entries = (flow if flow.loss is losses[0] else Gradients(losses[0])).entries()
        if entries:
            return list(entries.items())
    return [(loss.step, [(loss, np.ones(loss.shape, loss.dtype))]) for loss in losses]


def _by_state(seed: Seed, shape: Layout) -> list[Start]:
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
        return []  # what a state is made from is also read beside it
    found: list[Start] = []
    for k, arrived in sorted(ToStates([x for x, _ in seed], shape.states, direct=True).gradients([seed]).items()):
        parts = [(tensor, rows.values[0]) for tensor, rows in zip(shape.states[k], arrived, strict=True)]
        if any(part.any() for _, part in parts):
            found.append((shape.steps[k], parts))
    return found


# ------------------------------------------------------------------ back to the states
def measure(
    states: list[State], starts: Sequence[Start], others: set[int], thresholds: Thresholds, most: int = LOSSES
) -> tuple[Reach, Memory]:
    """What reaches the states, and what all losses say together.

    Args:
        states: of a layer and direction.
        starts: the losses.
        others: creation numbers of the states of other layers.
        thresholds: of the verdicts.
        most: so many losses are followed, evenly spread.
    """
    shape = Layout(sorted(states, key=lambda state: state[0].index), others)
    if len(starts) == 1 and starts[0][0] is None:
        starts = _by_state(starts[0][1], shape) or starts
    if len(starts) == len(states) and any(step is None for step, _ in starts):  # a loss for each step, after the loop
        starts = [(step, seed) for step, (_, seed) in zip(sorted(shape.steps), starts, strict=True)]
    found = reach(starts, shape, most)
    return found, Memory.of(found.curves.values, thresholds, shape.farthest)


def reach(starts: Sequence[Start], layout: Layout, most: int = LOSSES) -> Reach:
    """Follow losses back to all states: those, evenly spread, that the budget allows, and others where they are silent.

    Args:
        starts: the losses.
        layout: of the states.
        most: so many losses are followed, if there are.
    """
    state = sum(tensor.size for tensor in layout.states[0])
    K = len(layout.states)
    wanted = min(most, max(8, BUDGET // max(1, state * K)))
    sweep = ToStates([tensor for _, seed in starts for tensor, _ in seed], layout.states)
    found: dict[int, Array] = {}
    silent = 0
    for chosen in _in_turn(len(starts), min(wanted, max(1, CHUNK // max(1, state * K)))):
        arrived = sizes(layout, sweep, [starts[s][1] for s in chosen])
        heard = np.asarray(arrived.any((1, 2)))
        silent += int((~heard).sum())
        found.update({s: arrived[row] for row, s in enumerate(chosen) if heard[row]})
        if len(found) >= wanted:
            break
    losses = sorted(found)
    stacked = np.stack([found[s] for s in losses]) if losses else np.zeros((0, layout.sequences, K))
    latest = [int(np.flatnonzero(each.any(0))[-1]) for each in stacked]
    own = np.minimum(_own([starts[s] for s in losses], layout, sweep), latest).astype(int)
    if not own.any():  # no loss has a past within its own step: the layer was read whole, as an encoder is
        own = np.array(latest, int)
    return Reach(layout, stacked, losses, own, silent, [starts[s][1] for s in losses])


def sizes(layout: Layout, sweep: ToStates, seeds: Sequence[Seed]) -> Array:
    """The norm of each seed's gradient for each sequence at each state of a sweep: (seeds, B, states).

    Of a gradient that has shrunk below the smallest normal number 0 is told: rounding keeps 5e-324 from shrinking
    further, however small the gain.
    """
    kind = np.finfo(sweep.states[0][0].dtype)
    found = np.zeros((len(seeds), layout.sequences, len(sweep.states)))
    for k, arrived in sweep.gradients(seeds).items():
        for rows in arrived:
            part = found[rows.first : rows.end, :, k]
            part[...] = np.hypot(part, norms(layout.by_sequence(rows.values)))
    shrunk = found.max(2, keepdims=True, initial=0.0) > float(kind.tiny / kind.eps)
    return np.where(shrunk & (found < float(kind.tiny)), 0.0, found)


def _own(starts: Sequence[Start], layout: Layout, sweep: ToStates) -> list[int]:
    """For each loss the last state that can be its past.

    That is the last of all: of an encoder every state is the past of the decoder's losses. Only where something runs
    back through the steps, states after the loss's own step lead to it without being its past.
    """
    last = len(layout.states) - 1
    links = ((node.step, x.step) for node in sweep.nodes.values() for x in node.inputs if type(x) is Tensor)
    if not any(step is not None and source == step + 1 for step, source in links):
        return [last] * len(starts)
    first = first_states(sweep.nodes, layout.states)
    first |= {tensor.index: k for k, state in enumerate(layout.states) for tensor in state}
    direct = [min((first.get(x.index, NONE) for x, _ in seed), default=last) for _, seed in starts]
    own = [layout.at(step) for step, _ in starts]
    return [at if k <= at else last for k, at in zip(direct, own, strict=True)]


def _in_turn(n: int, size: int) -> Iterator[list[int]]:
    """The numbers below n in groups of at most `size`, each spread over the whole range; the last number first."""
    groups = -(-n // size)
    for offset in range(groups):
        yield list(range(n - 1 - offset, -1, -groups))[::-1]


__all__ = ["Curves", "Reach", "Start", "measure", "reach", "sizes", "starts_of"]
