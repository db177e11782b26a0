"""Colours: by role ("ink", "lane") and by how large a gradient is, in the themes `light`, `dark` and `print`.

A scene names colours; a `Theme` says which they are when it is drawn. A gradient's norm is shown by colour, width and
number together, never by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from ..errors import InputError

DECADES = 3.0
"""Norms are drawn relative to a reference and clipped to this many powers of ten either way."""

TEXT, NAME, TITLE = 11.0, 12.0, 14.0
"""Sizes of text in px: of everything, of a state's name, of the title. No text but a subscript is smaller."""

_FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Theme:
    """How a picture looks. `dataclasses.replace(viz.themes["light"], font="Georgia")` makes another one."""

    palette: Mapping[str, str]
    """Role -> colour, "#RRGGBB"."""
    scale: tuple[tuple[float, str], ...]
    """(decades above the reference, colour), ascending; between them colours are mixed."""
    font: str = _FONT
    """A list of fonts, as in CSS."""
    tint: float = 0.74
    """How much paper is in a fill that goes with the scale."""
    fill: float = 0.86
    """How much paper is in the fill of a role."""
    _known: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, name: str) -> str:
        """The colour of a role ("state"), of its fill ("fill state"), of a point of the scale ("scale 1.5"), of a fill
        that goes with it ("tint 1.5"), or of text on it ("on 1.5")."""
        if name.startswith("#") or name == "none":
            return name
        found = self.palette.get(name) or self._known.get(name)
        if found is None:
            kind, _, level = name.partition(" ")
            colour = self.palette.get(level) or self.colour(float(level))
            if kind in ("tint", "fill"):
                colour = mix(colour, self.palette["paper"], self.tint if kind == "tint" else self.fill)
            elif kind == "on":
                colour = max("#FFFFFF", "#000000", key=lambda each: contrast(each, colour))
            found = self._known[name] = colour
        return found

    def colour(self, level: float) -> str:
        """The colour of `level` decades above the reference (below: negative)."""
        for (low, first), (high, second) in pairwise(self.scale):
            if level <= high:
                return mix(first, second, (max(level, low) - low) / (high - low))
        return self.scale[-1][1]


_ROLES = {  # in the themes light, dark and print
    "paper": ("#FFFFFF", "#15181B", "#FFFFFF"),
    "ink": ("#1A1A1A", "#F1F3F4", "#000000"),
    "muted": ("#4D4D4D", "#C8CFD5", "#404040"),
    "lane": ("#FAFAFA", "#1D2125", "#FFFFFF"),
    "lane-line": ("#C4C4C4", "#4A525A", "#9A9A9A"),
    "hatch": ("#DADADA", "#343A40", "#C9C9C9"),
    "scope": ("#EDF1F4", "#262C31", "#F0F0F0"),
    "op": ("#777777", "#9AA2A9", "#000000"),
    "faint": ("#808080", "#8A929A", "#808080"),
    "not finite": ("#C800C8", "#FF6BFF", "#000000"),
    "state": ("#00805E", "#2EC296", "#000000"),
    "input": ("#0072B2", "#6BB5E8", "#000000"),
    "loss": ("#C25400", "#FF9D5C", "#000000"),
    "cut": ("#B00020", "#FF7A8A", "#000000"),
    "injected": ("#7A7A7A", "#9C9C9C", "#8C8C8C"),
    "future": ("#009E73", "#1FB98B", "#404040"),
}
_light, _dark, _print = (dict(zip(_ROLES, colours, strict=True)) for colours in zip(*_ROLES.values(), strict=True))
themes: dict[str, Theme] = {
    "light": Theme(
        _light, ((-3.0, "#053061"), (-1.5, "#2F7FB5"), (0.0, "#868686"), (1.5, "#C4690A"), (3.0, "#7F2704"))
    ),
    "dark": Theme(_dark, ((-3.0, "#CDE6FA"), (-1.5, "#64AFE0"), (0.0, "#8F8F8F"), (1.5, "#EB9A45"), (3.0, "#FFE0C2"))),
    "print": Theme(_print, ((-3.0, "#868686"), (0.0, "#5E5E5E"), (3.0, "#000000")), tint=0.8, fill=1.0),
}
"""The themes that pictures know by name; `print` needs no colour."""


def theme(given: str | Theme) -> Theme:
    """A theme by its name.

    Raises:
        InputError: no theme is called so.
    """
    if isinstance(given, Theme):
        return given
    if given not in themes:
        raise InputError(f"picture: got theme={given!r}, expected one of {', '.join(themes)}, or a viz.Theme")
    return themes[given]


def decades(norm: float | None, reference: float) -> float | None:
    """log10(norm / reference), clipped; None for a norm that is missing, zero or not finite."""
    if norm is None or not math.isfinite(norm) or norm <= 0:
        return None
    return max(-DECADES, min(DECADES, math.log10(norm) - math.log10(reference)))


def on_scale(kind: Literal["scale", "tint"], norm: float | None, reference: float) -> str:
    """The name of the colour that says how large a norm is: that of paper where it is zero or missing."""
    level = decades(norm, reference)
    if level is not None:
        return f"{kind} {level:.2f}"
    if norm is None or norm == 0:
        return "paper"
    return "not finite" if kind == "scale" else "fill not finite"


def text_on(colour: str) -> str:
    """The name of the colour of text that reads well on a colour of the scale."""
    return f"on {colour.removeprefix('scale ')}" if colour.startswith(("scale ", "not finite")) else "ink"


def stroke_width(level: float) -> float:
    """0.8 to 6 px over the range of the scale."""
    return round(0.8 + 5.2 * (level + DECADES) / (2 * DECADES), 2)


def mix(first: str, second: str, share: float) -> str:
    """A colour between two, `share` of the way to the second."""
    pairs = [(int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in pairs)


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG defines it: 0 for black, 1 for white."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG)."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)
