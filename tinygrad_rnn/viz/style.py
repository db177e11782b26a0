"""How a gradient looks: colour, width and number together, on one stated scale. Never colour alone."""

from __future__ import annotations

import math
from itertools import pairwise

DECADES = 3.0
"""Norms are drawn relative to a reference and clipped to this many powers of ten either way."""

_ANCHORS = ((-3.0, "#053061"), (-1.5, "#4393C3"), (0.0, "#A8A8A8"), (1.5, "#E08214"), (3.0, "#993404"))
NOT_FINITE = "#D500D5"
PLAIN = "#555555"
INK = "#1A1A1A"
MUTED = "#5F5F5F"

FILL = {
    "op": "#FFFFFF",
    "state": "#DDF3EA",
    "cell": "#DDF3EA",
    "initial": "#FFFFFF",
    "input": "#E8F1FA",
    "loss": "#FBE6DA",
    "total": "#FFFFFF",
    "weight": "#D9D9D9",
    "band": "#F1F1F1",
    "cut": "#FFFFFF",
}
STROKE = {
    "op": "#777777",
    "state": "#009E73",
    "cell": "#009E73",
    "initial": "#009E73",
    "input": "#0072B2",
    "loss": "#D55E00",
    "total": "#D55E00",
    "weight": "#555555",
    "band": "#777777",
    "cut": "#B00020",
}
"""Fill and outline by what a box is; the hues are those of Okabe and Ito, told apart by colour-blind readers."""

INJECTED = "#7A7A7A"
FROM_FUTURE = "#009E73"
LANE_FILL = "#FAFAFA"
LANE_STROKE = "#C4C4C4"


def decades(norm: float | None, reference: float) -> float | None:
    """log10(norm / reference), clipped; None for a norm that is missing, zero or not finite."""
    if norm is None or not math.isfinite(norm) or norm <= 0:
        return None
    return max(-DECADES, min(DECADES, math.log10(norm) - math.log10(reference)))


def colour(level: float) -> str:
    """The colour of `level` decades above the reference (below: negative)."""
    for (low, first), (high, second) in pairwise(_ANCHORS):
        if level <= high:
            return mix(first, second, (max(level, low) - low) / (high - low))
    return _ANCHORS[-1][1]


def mix(first: str, second: str, share: float) -> str:
    """A colour between two, `share` of the way to the second."""
    pairs = [(int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in pairs)


def tint(norm: float | None, reference: float) -> str:
    """A fill that goes with the scale and leaves black text readable."""
    level = decades(norm, reference)
    if level is None:
        return "#FFFFFF" if norm is None or norm == 0 else mix(NOT_FINITE, "#FFFFFF", 0.7)
    return mix(colour(level), "#FFFFFF", 0.58)


def stroke_width(level: float) -> float:
    """0.6 to 6 points over the range of the scale."""
    return round(0.6 + 5.4 * (level + DECADES) / (2 * DECADES), 2)


def ink_on(fill: str) -> str:
    """Black or white, whichever reads better on `fill` (relative luminance as in WCAG)."""
    channels = [int(fill[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#FFFFFF" if luminance < 0.18 else INK
