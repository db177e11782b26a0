"""A scene drawn by Matplotlib: PNG, PDF and GIF on a machine without Graphviz, with the look of the SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .printing import printed
from .scene import ANCHORS, Curve, Head, Label, Rect, Scene
from .style import Theme
from .text import SUBSCRIPT, SUBSCRIPT_DROP

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

POINT = 0.75
"""Points in a px."""
LARGEST = 32_000
"""Pixels on a side; viewers and bitmap libraries fail beyond 32,767."""
_FONT = "DejaVu Sans"  # the one that Matplotlib brings along
_DASHES = {"dashed": (0, (4, 3)), "dotted": (0, (1, 3))}


def image(scene: Scene, theme: Theme, kind: str, dpi: float) -> bytes:
    """The picture as "png", "pdf" or "gif"; wide ones with fewer dots per inch, so that viewers can open them."""
    drawn = figure(scene, theme)
    dpi = max(1.0, min(dpi, LARGEST * 96 / max(scene.width, scene.height, 1.0)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a name in a script that the font does not have
        if kind == "gif":
            from PIL import Image

            bitmap, out = Image.open(io.BytesIO(printed(drawn, "png", dpi=dpi))).convert("RGB"), io.BytesIO()
            bitmap.quantize(128).save(out, format="gif")
            return out.getvalue()
        same = {"CreationDate": None} if kind == "pdf" else None  # the same picture, the same bytes
        return printed(drawn, kind, dpi=dpi, metadata=same)


def figure(scene: Scene, theme: Theme) -> Figure:
    """The picture as a Matplotlib figure."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(scene.width / 96, scene.height / 96), facecolor=theme("paper"))
    axes = made.add_axes((0, 0, 1, 1), xlim=(0, scene.width), ylim=(scene.height, 0))
    axes.axis("off")
    for shape in scene.shapes():
        for part in shape.parts():
            for artist in [*_text(part, theme)] if isinstance(part, Label) else [_patch(part, theme)]:
                axes.add_artist(artist)
    return made


def _patch(part: Rect | Curve | Head, color: Theme) -> Artist:
    from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
    from matplotlib.path import Path

    if isinstance(part, Head):
        return Polygon(part.points, facecolor=color(part.color), edgecolor="none")
    if isinstance(part, Curve):
        path = Path(part.points, [Path.MOVETO, *[Path.CURVE4] * (len(part.points) - 1)])
        look: Any = {"edgecolor": color(part.color), "linewidth": part.width * POINT, "capstyle": "butt"}
        return PathPatch(path, facecolor="none", linestyle=_DASHES.get(part.dash, "-"), **look)
    radius = min(part.radius, part.width / 2, part.height / 2)
    return FancyBboxPatch(
        (part.x, part.y),
        part.width,
        part.height,
        boxstyle=f"round,pad=0,rounding_size={radius}" if radius else "square,pad=0",
        facecolor=color(part.fill),
        edgecolor=color(part.stroke),
        linewidth=part.stroke_width * POINT if part.stroke != "none" else 0.0,
        linestyle=_DASHES.get(part.dash, "-"),
        hatch="//" if part.hatched else None,
    )


def _text(words: Label, color: Theme) -> Iterator[Artist]:
    """One line, run after run, each as wide as the font says."""
    from matplotlib.text import Text

    line = words.line
    pieces = [
        (run.text, line.size * (SUBSCRIPT if run.subscript else 1), line.size * SUBSCRIPT_DROP * run.subscript)
        for run in line.runs
    ]
    widths = [text_width(text, line.bold) * size for text, size, _ in pieces]
    x = words.x - sum(widths) * ANCHORS[words.anchor]
    look: Any = {"color": color(line.color), "family": _FONT, "weight": "bold" if line.bold else "normal"}
    for (text, size, drop), width in zip(pieces, widths, strict=True):
        y = words.y + line.size * 0.35 + drop
        yield Text(x, y, text, fontsize=size * POINT, zorder=1, parse_math=False, **look)
        x += width


@lru_cache(4096)
def text_width(text: str, bold: bool) -> float:
    """How wide a text is at size 1."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=_FONT, weight="bold" if bold else "normal")))
    font.set_size(100, 72)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ends = []
        for words in (f"{text}|", "|"):  # spaces at the end count only before something
            font.set_text(words, 0.0)
            ends.append(font.get_width_height()[0])
    return (ends[0] - ends[1]) / 6400
