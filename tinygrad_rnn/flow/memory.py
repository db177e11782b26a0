"""What curves of |dL/dh| by lag say: verdict, gain, half-life, horizon.

Losses early in a sequence have short curves; they count for as long as they last and no longer, as in survival analysis
(Kaplan and Meier, 1958), so that no number depends on the length of the sequences once they are long enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_type_hints

import numpy as np

from ..core.arguments import Finite, Positive, check, checked
from ..core.tensor import Array
from ..errors import InputError

MOST = 0.75
"""A verdict holds for at least this share of the losses; where none does they are mixed."""

BENT = 0.1
"""A rate describes a curve whose logarithm lies by less than this share of its change, or by 10 %, off a line."""

BENDS = 0.25
"""A rate goes on where that of the first half and that of the second differ by less than this share of it."""

LEAST = 4
"""A rate is seen on at least so many lags, if there are so many."""


@dataclass(frozen=True)
class Thresholds:
    """Where the verdicts begin; all relative to the gradient at lag 0.

    Attributes:
        low: a state that gets less than this is out of reach: for 32 units, of 30,000 sequences to learn from. Longer
            training makes use of less: see `for_training`.
        high: a gradient that grows to more than this explodes.
        lags: fewer lags than this, with neither of both within them, are too short to tell.
    """

    low: Finite = 0.001
    high: Finite = 100.0
    lags: Positive = 10

    def __post_init__(self) -> None:
        check("Thresholds", vars(self), get_type_hints(Thresholds, include_extras=True))
        if not 0 < self.low < 1 < self.high:
            raise InputError(f"got {self}, expected low between 0 and 1, high above 1")

    @staticmethod
    @checked
    def for_training(sequences: Positive, units: Positive) -> Thresholds:
        """Those by which "vanishing" means: not to be learned from so many sequences.

        What an early input says to the weights is the same in all sequences. What later inputs say is noise to it, of
        the size of the gradient at lag 0, and lies in as many directions as there are units, of which the signal is
        one: it stands out of the mean over n sequences where it is more than 1 / sqrt(n units). Of three sets of 32
        recall tasks that foretold 30, 29 and 27, as the default did, and 1 % did 25, 28 and 26
        (`benchmarks/prediction.py`). It is not enough: a few updates, or too large ones, do not learn what is in
        reach; and weights that wander may reach more.

        Args:
            sequences: updates times batch.
            units: of the layer.
        """
        return Thresholds(low=min(0.5, (sequences * units) ** -0.5))


@dataclass(frozen=True, eq=False)
class Memory:
    """What the curves of one sequence, or of all, say together. Shares are of losses, counted as above.

    Attributes:
        verdict: "vanishing", "weak" (it falls below `low` and then hardly further), "exploding", "mixed", "healthy",
            "too short to tell" or "not finite".
        vanishing: the share of losses whose gradient falls below `low` before it grows above `high`.
        exploding: the share of losses whose gradient grows above `high` first.
        broken: the share of losses whose gradient is infinite or NaN before either.
        lags: the largest lag.
        left: what is left of the gradient at the largest lag, the median.
        gain: the factor a step: for most losses up to where less than `low` or more than `high` is left; where more is
            left at all lags, over the last three quarters of them. nan where no one factor describes it, as where a
            single step does it all.
        since: the lag that the gain is measured from.
        kept: the factor over the last half of the lags, of the gradient that looks back farthest.
        horizon: the first lag at which less than `low` is left, the median; None where more is left for most losses.
        horizons: the same for the first and for the last tenth of the losses that lose it.
        rise: the first lag at which the gradient is more than `high`, the median; None where it is not for most losses.
        back: the lag from which on the gradient that looks back farthest is between the bounds again, after it was not.
        expected: the lag at which less than `low` or more than `high` would be left at the same gain; inf if past or
            never, or where the gain itself changes with the lag.
    """

    verdict: str
    vanishing: float = 0.0
    exploding: float = 0.0
    broken: float = 0.0
    lags: int = 0
    left: float = 1.0
    gain: float = np.nan
    since: int = 0
    kept: float = 1.0
    horizon: int | None = None
    horizons: tuple[int | None, int | None] = (None, None)
    rise: int | None = None
    back: int | None = None
    expected: float = np.inf

    @property
    def half_life(self) -> float:
        """Lags in which the gradient halves, ln 0.5 / ln gain; inf where it does not shrink, nan without a gain."""
        with np.errstate(all="ignore"):
            return float(np.log(0.5) / np.log(self.gain)) if not self.gain >= 1 else np.inf

    @staticmethod
    def of(values: Array, thresholds: Thresholds, order: int = 1) -> Memory:
        """Judge curves (C, lags + 1), nan where there is no lag and inf where they are not finite.

        Args:
            values: relative to lag 0.
            thresholds: of the verdicts.
            order: of the network; its curves may fall only every so many lags.
        """
        values = values[~np.isnan(values).all(1)]  # of a network of higher order some are too short to have a lag
        if not len(values):
            return Memory("too short to tell")
        known = ~np.isnan(values)
        lags = known.sum(1) - 1
        bad = np.isinf(values)
        low, high = known & (values < thresholds.low), known & (values > thresholds.high) & ~bad
        event = low | high | bad
        first = np.where(event.any(1), np.argmax(event, 1), lags)
        rows = np.arange(len(values))
        falls, rises, breaks = low[rows, first], high[rows, first], bad[rows, first]
        fallen, risen, broken = _incidence(first, falls, rises, breaks)
        vanishing, exploding = float(fallen[-1]), float(risen[-1])
        longest = int(lags.max())
        horizon, rise = _when(fallen, 0.5), _when(risen, 0.5)
        farthest = median(values[lags == longest, : longest + 1])
        verdict = "not finite" if breaks.any() else _verdict(vanishing, exploding, longest, thresholds)
        gain, steady, kept, since = _late(farthest, order)
        if verdict == "vanishing" and _hardly_falls(kept, longest, thresholds):
            verdict = "weak"
        elif verdict in ("vanishing", "exploding"):
            crossed = (falls if verdict == "vanishing" else rises) & (first > 0)
            gain, since = _typical(*_rates(values[crossed], first[crossed], order)), 0
        elif verdict in ("mixed", "not finite"):
            gain = np.nan
        left = float(farthest[-1])
        return Memory(
            verdict=verdict,
            vanishing=vanishing,
            exploding=exploding,
            broken=float(broken[-1]),
            lags=longest,
            left=left,
            gain=gain,
            since=since,
            kept=kept,
            horizon=horizon,
            horizons=(_when(fallen, 0.1), _when(fallen, 0.9)),
            rise=rise,
            back=_back(farthest, thresholds),
            expected=_expected(longest, left, gain if steady else np.nan, thresholds),
        )


@dataclass(frozen=True)
class Finding:
    """Something to know about a layer beside its curves.

    Attributes:
        kind: "cut", "late", "begins", "jump", "change", "dead units", "saturated", "directions", "other layer", "chaos"
            or "silent losses".
        value: the number that it is about: a share, a factor, a doubling time, ...; see the words.
    """

    kind: str
    value: float
    words: str

    def __str__(self) -> str:
        return self.words


def _verdict(vanishing: float, exploding: float, lags: int, thresholds: Thresholds) -> str:
    if max(vanishing, exploding) >= MOST:
        return "vanishing" if vanishing > exploding else "exploding"
    if vanishing + exploding > 1 - MOST:
        return "mixed"
    return "too short to tell" if lags < thresholds.lags else "healthy"


def _hardly_falls(kept: float, lags: int, thresholds: Thresholds) -> bool:
    """A steady decay that is below low at the end has lost more than its square root over the last half."""
    return bool(np.sqrt(thresholds.low) <= kept <= 1 / np.sqrt(thresholds.low)) and lags >= 2 * thresholds.lags


def _incidence(time: Array, *kinds: Array) -> list[Array]:
    """The share of curves to which each kind of event has come, by each lag, among those that last so long."""
    L = int(time.max()) + 1
    counts = [np.bincount(time[kind], minlength=L) for kind in kinds]
    at_risk = np.maximum((time[:, None] >= np.arange(L)).sum(0), 1)
    before = np.cumprod(np.concatenate([[1.0], 1 - np.sum(counts, axis=0) / at_risk]))[:-1]
    return [np.cumsum(before * count / at_risk) for count in counts]


def _when(share: Array, enough: float) -> int | None:
    return int(np.argmax(share >= enough - 1e-12)) if share[-1] >= enough - 1e-12 else None


def _back(curve: Array, thresholds: Thresholds) -> int | None:
    outside = np.flatnonzero(~((curve >= thresholds.low) & (curve <= thresholds.high)))
    return int(outside[-1]) + 1 if len(outside) and outside[-1] < len(curve) - 1 else None


# ------------------------------------------------------------------ rates
def _late(curve: Array, order: int) -> tuple[float, bool, float, int]:
    """Of the last three quarters of the lags the factor a step, and whether it is the same all along; of the last half
    the factor in all; and the lag with which the three quarters begin."""
    lags = len(curve) - 1
    order = order if lags >= order else 1
    points = curve[lags % order :: order]
    n = len(points) - 1
    if not n:
        return np.nan, False, 1.0, 0
    late = points[n // 4 :]
    m = len(late) - 1
    since = lags - m * order
    (rate, first), (straight, _) = _rates(np.array([late, late]), np.array([m, m // 2]), 1)
    (last,), _ = _rates(late[None, m // 2 :], np.array([m - m // 2]), 1)
    with np.errstate(all="ignore"):
        steady = m < 4 or abs(np.log(first / last)) <= max(BENDS * abs(np.log(rate)), 2 * BENT / m)
        gain = float(rate ** (1 / order)) if straight else np.nan
        return gain, steady, float(points[-1] / points[n // 2]), since


def _rates(values: Array, ends: Array, order: int) -> tuple[Array, Array]:
    """For each curve, up to a lag, the factor a step by least squares of its logarithm, and whether it describes it."""
    columns = values[:, ::order]
    last = (~np.isnan(columns)).sum(1) - 1
    ends = np.minimum(np.maximum(-(-ends // order), LEAST), last)
    x = np.arange(columns.shape[1], dtype=float)
    y = np.log(np.clip(columns, 5e-324, np.finfo(float).max))
    inside = x <= ends[:, None]
    n = np.maximum(ends + 1.0, 1.0)
    dx = np.where(inside, x - ends[:, None] / 2, 0.0)
    dy = np.where(inside, y - (np.where(inside, y, 0.0).sum(1) / n)[:, None], 0.0)
    with np.errstate(all="ignore"):
        slope = (dx * dy).sum(1) / (dx * dx).sum(1)
    off = np.sqrt(np.square(dy - slope[:, None] * dx).sum(1) / n)
    return np.exp(slope / order), off <= np.maximum(BENT * np.abs(slope) * ends, BENT)


def _typical(rates: Array, straight: Array) -> float:
    """The median, where a rate describes most of the curves."""
    return float(np.median(rates)) if len(rates) and straight.mean() >= MOST else np.nan


def _expected(lags: int, left: float, rate: float, thresholds: Thresholds) -> float:
    """The lag at which the gradient is out of bounds, with `left` at the largest lag and a factor of `rate` a step."""
    if not (0 < rate < np.inf and thresholds.low < left < thresholds.high) or abs(np.log(rate)) < 1e-9:
        return float("inf")
    bound = thresholds.low if rate < 1 else thresholds.high
    return float(lags + np.log(bound / left) / np.log(rate))


def median(values: Array) -> Array:
    """Along the first axis, without the nan; nan where there is nothing else. An inf counts as large."""
    return quantile(values, 0.5)


def quantile(values: Array, q: float) -> Array:
    """As `median`; between two values on a straight line."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    ordered = np.sort(values, axis=0)  # nan last
    at = q * np.maximum((~np.isnan(values)).sum(0) - 1, 0)
    low, high = np.take_along_axis(ordered, np.array([np.floor(at), np.ceil(at)], int), 0)
    with np.errstate(invalid="ignore"):
        return np.where(low == high, low, low + (high - low) * (at % 1))


__all__ = ["Finding", "Memory", "Thresholds", "median", "quantile"]
