"""The reach of every loss to every earlier state, and what it says: verdict, gain, half-life, horizon.

Everything is counted in *lags*: how many updates lie between the state at which a loss enters and an earlier one. A
curve is |dL/dh| of one loss in one sequence by lag, relative to lag 0. Losses early in a sequence have short curves;
they count for as long as they last and no longer, as in survival analysis (Kaplan and Meier, 1958), so that no number
depends on the length of the sequences once they are long enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..core.tensor import Array, Tensor
from ..errors import InputError
from .layout import Layout
from .sweep import Seed, ToStates

LOSSES = 100
"""At most so many losses are followed back, spread evenly over the sequence."""

BUDGET = 20_000_000
"""How many numbers their gradients may fill; eight losses are followed in any case."""

CHUNK = 6_000_000
"""The same for the losses that are followed side by side, which bounds the memory."""


MOST = 0.75
"""A verdict holds for at least this share of the losses; where none does they are mixed."""


@dataclass(frozen=True)
class Thresholds:
    """Where the verdicts begin; all relative to the gradient at lag 0."""

    low: float = 0.01
    """A state that gets less than this is out of reach."""
    high: float = 100.0
    """A gradient that grows to more than this explodes."""
    lags: int = 10
    """Fewer lags than this, with neither of both within them, are too short to tell."""

    def __post_init__(self) -> None:
        if not 0 < self.low < 1 < self.high or self.lags < 1:
            raise InputError(f"got {self}, expected low between 0 and 1, high above 1 and at least 1 lag")


class Curves(NamedTuple):
    """|dL/dh| by lag, relative to lag 0; one row for each loss and sequence; nan where there is no such lag."""

    values: Array
    """(C, lags + 1); inf where the gradient is not finite."""
    sequence: Array
    """(C,): whose sequence each curve is."""


@dataclass(frozen=True, eq=False)
class Reach:
    """The gradients of the losses that were looked at, at all states of a layer."""

    layout: Layout
    norms: Array
    """|dL_t/dh_k| for each loss, sequence and state: (losses, B, K), states in the order of running."""
    losses: list[int]
    """The numbers of the losses that were looked at and have a gradient."""
    own: Array
    """(losses,): the state of each loss's own step; what comes after it, as by way of another direction, is no past."""
    silent: int
    """How many were looked at and have none, at no state of no sequence."""

    def curves(self) -> Curves:
        """One row for each loss and sequence, from the last state that the loss reaches backwards."""
        rows, whose = [], []
        order = self.layout.farthest
        for b, moved in enumerate(self.layout.moved):
            real = np.flatnonzero(moved)
            norms = np.where(np.isnan(self.norms[:, b, real]), np.inf, self.norms[:, b, real])
            norms = np.where(real <= self.own[:, None], norms, 0.0)
            norms = norms[norms.any(1)]
            if not len(norms):
                continue
            last = norms.shape[1] - 1 - np.argmax(norms[:, ::-1] != 0, axis=1)
            first = np.searchsorted(real, self.layout.starts[real[last]])
            at = last[:, None] - np.arange(last.max() + 1)
            with np.errstate(all="ignore"):
                values = np.take_along_axis(norms, np.maximum(at, 0), 1) / norms[np.arange(len(last)), last, None]
            values = np.where(np.isnan(values), np.inf, values)
            values = _companion(np.where(at >= first[:, None], values, np.nan), order)
            rows.append(values)
            whose.append(np.full(len(values), b))
        if not rows:
            return Curves(np.zeros((0, 1)), np.zeros(0, int))
        longest = max(row.shape[1] for row in rows)
        padded = [np.pad(row, ((0, 0), (0, longest - row.shape[1])), constant_values=np.nan) for row in rows]
        return Curves(np.concatenate(padded), np.concatenate(whose))

    @property
    def last(self) -> Array:
        """|dL_T/dh_k| of the loss that looks back farthest, over the whole batch: (K,), in the order of running."""
        if not self.losses:
            return np.zeros(len(self.layout.states))
        return np.asarray(np.sqrt(np.square(self.norms[self.farthest]).sum(0)))

    @property
    def farthest(self) -> int:
        """Which of the losses looks back from the last state, the last of them if there are several."""
        return int(np.flatnonzero(self.own == self.own.max())[-1])

    def gains(self, lags: int | None = None) -> Array:
        """(K - 1,): by how much a gradient changes from state k + 1 to state k, the median over losses and sequences.

        nan where no gradient arrives, or where nothing is computed from one state to the next.

        Args:
            lags: count a loss up to so many lags from its own state; by default all.
        """
        before, after = self.norms[..., :-1], self.norms[..., 1:]
        starts, moved = self.layout.starts, self.layout.moved
        known = (
            (after > 0)
            & np.isfinite(after)
            & np.isfinite(before)
            & moved[:, 1:]
            & (starts[1:] <= np.arange(len(starts) - 1))
        )
        if lags is not None:
            lag = self.own[:, None, None] - np.arange(1, len(starts))
            known &= (lag >= 0) & (lag < lags)
        with np.errstate(all="ignore"):
            ratio = np.where(known, before / after, np.nan)
        return _median(ratio.reshape(len(ratio) * ratio.shape[1], -1))


def _companion(values: Array, order: int) -> Array:
    """Where a state is made from several before it, all of these are the past: the largest of their gradients."""
    if order == 1 or values.shape[1] <= order:
        return values
    windows = np.lib.stride_tricks.sliding_window_view(values, order, axis=1)
    largest = np.where(np.isnan(windows).any(-1), np.nan, windows.max(-1))
    with np.errstate(all="ignore"):
        return np.asarray(largest / largest[:, :1])


def reach(seeds: Sequence[Seed], steps: Sequence[int | None], layout: Layout) -> Reach:
    """Follow losses back to all states: those, evenly spread, that the budget allows, and others where they are silent.

    Args:
        seeds: where each loss starts.
        steps: the step of each loss, if it has one.
        layout: of the states.
    """
    state = sum(tensor.size for tensor in layout.states[0])
    K = len(layout.states)
    wanted = min(LOSSES, max(8, BUDGET // max(1, state * K)))
    sweep = ToStates([tensor for seed in seeds for tensor, _ in seed], layout.states)
    found: dict[int, Array] = {}
    silent = 0
    for chosen in _in_turn(len(seeds), min(wanted, max(1, CHUNK // max(1, state * K)))):
        norms = np.zeros((len(chosen), layout.sequences, K))
        for k, arrived in sweep.gradients([seeds[s] for s in chosen]).items():
            for rows in arrived:
                part = norms[rows.first : rows.end, :, k]
                part[...] = np.hypot(part, layout.norms(rows.values))
        heard = np.asarray(norms.any((1, 2)))
        silent += int((~heard).sum())
        found.update({s: norms[row] for row, s in enumerate(chosen) if heard[row]})
        if len(found) >= wanted:
            break
    losses = sorted(found)
    stacked = np.stack([found[s] for s in losses]) if losses else np.zeros((0, layout.sequences, K))
    known = _own(seeds, steps, layout, sweep)
    latest = [int(np.flatnonzero(norms.any(0))[-1]) for norms in stacked]
    own = np.array([min(known[s], k) for s, k in zip(losses, latest, strict=True)], int)
    return Reach(layout, stacked, losses, own, silent)


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


def by_lag(values: Array, quantiles: Sequence[float]) -> Array:
    """Quantiles of the curves at each lag, over those that last so long: (quantiles, lags + 1)."""
    return np.array([[np.quantile(column[~np.isnan(column)], q) for column in values.T] for q in quantiles])


# ------------------------------------------------------------------ what curves say
@dataclass(frozen=True, eq=False)
class Memory:
    """What the curves of one sequence, or of all, say together. Shares are of losses, counted as above."""

    verdict: str
    """"vanishing", "weak" (it falls below `low`, and there it stays), "exploding", "mixed", "healthy" or "too short to
    tell"."""
    vanishing: float
    """The share of losses whose gradient falls below `low` before it grows above `high`."""
    exploding: float
    """The share of losses whose gradient grows above `high` first."""
    lags: int
    """The largest lag."""
    left: float
    """What is left of the gradient at the largest lag, the median."""
    gain: float
    """The factor a step: for most losses up to where less than `low` or more than `high` is left; where more is left
    at all lags, or where it is weak, over the last half of the lags."""
    half_life: float
    """Lags in which the gradient halves, ln 0.5 / ln gain; inf where it does not shrink."""
    horizon: int | None
    """The first lag at which less than `low` is left, the median; None where more is left for most losses."""
    horizons: tuple[int | None, int | None]
    """The same for the first and for the last tenth of the losses that lose it."""
    rise: int | None
    """The first lag at which the gradient is more than `high`, the median; None where it is not for most losses."""
    expected: float
    """The lag at which less than `low` or more than `high` would be left at the same gain; inf if past or never."""

    @staticmethod
    def of(values: Array, thresholds: Thresholds, order: int = 1) -> Memory:
        """Judge curves (C, lags + 1) as `Curves` holds them, of a network of that order."""
        if not len(values):
            return Memory("too short to tell", 0.0, 0.0, 0, 1.0, np.nan, np.inf, None, (None, None), None, np.inf)
        known = ~np.isnan(values)
        lags = known.sum(1) - 1
        low, high = known & (values < thresholds.low), known & (values > thresholds.high)
        event = low | high
        first = np.where(event.any(1), np.argmax(event, 1), lags)
        rows = np.arange(len(values))
        falls, rises = low[rows, first], high[rows, first]
        vanishing, exploding = _incidence(first, falls, rises)
        longest = int(lags.max())
        horizon, rise = _when(vanishing, 0.5), _when(exploding, 0.5)
        farthest = _median(values[lags == longest, : longest + 1])
        verdict = _verdict(float(vanishing[-1]), float(exploding[-1]), longest, thresholds)
        gain, kept = _late(farthest, order)
        # A steady decay that is below low at the end has lost more than its square root over the last half.
        if verdict == "vanishing" and kept >= np.sqrt(thresholds.low) and longest >= 2 * thresholds.lags:
            verdict = "weak"
        elif verdict in ("vanishing", "exploding"):
            crossed = (falls if verdict == "vanishing" else rises) & (first > 0)
            with np.errstate(all="ignore"):  # nothing crosses where the gradient is not finite at lag 0 already
                gains = values[rows, first][crossed] ** (1 / first[crossed])
                gain = float(np.median(gains)) if len(gains) else np.nan
        return Memory(
            verdict=verdict,
            vanishing=float(vanishing[-1]),
            exploding=float(exploding[-1]),
            lags=longest,
            left=float(farthest[-1]),
            gain=gain,
            half_life=float(np.log(0.5) / np.log(gain)) if 0 < gain < 1 else 0.0 if gain == 0 else float("inf"),
            horizon=horizon,
            horizons=(_when(vanishing, 0.1), _when(vanishing, 0.9)),
            rise=rise,
            expected=_expected(longest, float(farthest[-1]), gain, thresholds),
        )


def _verdict(vanishing: float, exploding: float, lags: int, thresholds: Thresholds) -> str:
    if max(vanishing, exploding) >= MOST:
        return "vanishing" if vanishing > exploding else "exploding"
    if vanishing + exploding > 1 - MOST:
        return "mixed"
    return "too short to tell" if lags < thresholds.lags else "healthy"


def _incidence(time: Array, falls: Array, rises: Array) -> tuple[Array, Array]:
    """The share of curves that have fallen, and that have risen, by each lag, among those that last so long."""
    L = int(time.max()) + 1
    v, e = np.bincount(time[falls], minlength=L), np.bincount(time[rises], minlength=L)
    at_risk = np.maximum((time[:, None] >= np.arange(L)).sum(0), 1)
    before = np.cumprod(np.concatenate([[1.0], 1 - (v + e) / at_risk]))[:-1]
    return np.cumsum(before * v / at_risk), np.cumsum(before * e / at_risk)


def _when(share: Array, enough: float) -> int | None:
    return int(np.argmax(share >= enough - 1e-12)) if share[-1] >= enough - 1e-12 else None


def _late(curve: Array, order: int) -> tuple[float, float]:
    """Over the last half of the lags, in multiples of the order: the factor a step, and the factor in all."""
    lags = len(curve) - 1
    half = (lags + 1) // 2
    half = half // order * order or half
    with np.errstate(all="ignore"):
        factor = float(curve[lags] / curve[lags - half])
        return (factor ** (1 / half) if half else float("nan")), factor


def _expected(lags: int, left: float, rate: float, thresholds: Thresholds) -> float:
    """The lag at which the gradient is out of bounds, with `left` at the largest lag and a factor of `rate` a step."""
    if not (rate > 0 and thresholds.low < left < thresholds.high) or abs(np.log(rate)) < 1e-9:
        return float("inf")
    bound = thresholds.low if rate < 1 else thresholds.high
    return float(lags + np.log(bound / left) / np.log(rate))


def _median(values: Array) -> Array:
    """Along the first axis, without the nan; nan where there is nothing else. An inf counts as large."""
    ordered = np.sort(values, axis=0)  # nan last
    n = (~np.isnan(values)).sum(0)
    columns = np.arange(values.shape[1])
    low, high = ordered[np.maximum((n - 1) // 2, 0), columns], ordered[np.maximum(n // 2, 0), columns]
    return (
        np.where(n > 0, np.where(low == high, low, (low + high) / 2), np.nan)
        if len(values)
        else np.full(values.shape[1], np.nan)
    )


__all__ = ["Curves", "Memory", "Reach", "Thresholds", "by_lag", "reach"]
