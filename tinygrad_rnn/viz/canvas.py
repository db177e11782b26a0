"""A scene drawn by Matplotlib: PNG, PDF and GIF on a machine without Graphviz, with the look of the SVG."""

from __future__ import annotations

import io
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from .printing import printed
from .scene import Edge, Label, Lane, Rect, Scene
from .style import Theme
from .text import SUBSCRIPT, SUBSCRIPT_DROP, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
    _Drawing(axes, theme).draw(scene)
    return made


class _Drawing:
    def __init__(self, axes: Axes, theme: Theme) -> None:
        self.axes = axes
        self.color = theme

    def draw(self, scene: Scene) -> None:
        for lane in scene.lanes:
            self._lane(lane)
        for backdrop in scene.backdrops:
            self._rect(backdrop, 1)
        for edge in scene.edges:
            self._edge(edge)
        for box in scene.boxes:
            self._rect(box, 3)
        for label in scene.labels:
            self._label(label)

    def _lane(self, lane: Lane) -> None:
        shape = Rect(lane.id, lane.x, lane.y, lane.width, lane.height, "lane", "lane-line", radius=9.0)
        self._box(shape, 0, hatch="//" if lane.hatched else None)
        self._text(lane.label, *lane.label_at, "middle", 1)

    def _rect(self, rect: Rect, order: float) -> None:
        self._box(rect, order)
        for line, y in rect.text():
            self._text(line, rect.middle[0], y, "middle", order + 0.1)

    def _box(self, rect: Rect, order: float, hatch: str | None = None) -> None:
        from matplotlib.patches import FancyBboxPatch

        radius = min(rect.radius, rect.width / 2, rect.height / 2)
        self.axes.add_artist(
            FancyBboxPatch(
                (rect.x, rect.y),
                rect.width,
                rect.height,
                boxstyle=f"round,pad=0,rounding_size={radius}" if radius else "square,pad=0",
                facecolor=self.color(rect.fill),
                edgecolor=self.color(rect.stroke),
                linewidth=rect.stroke_width * POINT if rect.stroke != "none" else 0.0,
                linestyle=_DASHES.get(rect.dash, "-"),
                zorder=order,
                hatch=hatch,
            )
        )

    def _edge(self, edge: Edge) -> None:
        from matplotlib.patches import PathPatch, Polygon
        from matplotlib.path import Path

        points, head = edge.with_arrow()
        path = Path(points, [Path.MOVETO, *[Path.CURVE4] * (len(points) - 1)])
        color = self.color(edge.color)
        strokes = [(color, edge.width)] + ([(self.color("paper"), edge.width / 3)] if edge.dash == "double" else [])
        for stroke, width in strokes:
            self.axes.add_artist(
                PathPatch(
                    path,
                    facecolor="none",
                    edgecolor=stroke,
                    linewidth=width * POINT,
                    linestyle=_DASHES.get(edge.dash, "-"),
                    capstyle="butt",
                    zorder=2,
                )
            )
        self.axes.add_artist(Polygon(head, facecolor=color, edgecolor="none", zorder=2))

    def _label(self, label: Label) -> None:
        if label.background != "none":
            left, top = label.left - 2, label.y - label.height / 2
            back = Rect(label.id, left, top, label.line.width + 4, label.height, label.background, radius=3.0)
            self._box(back, 4)
        self._text(label.line, label.x, label.y, label.anchor, 5)

    def _text(self, line: Line, x: float, y: float, anchor: str, order: float) -> None:
        """One line, run after run, each as wide as the font says."""
        pieces = [
            (run.text, line.size * (SUBSCRIPT if run.subscript else 1), line.size * SUBSCRIPT_DROP * run.subscript)
            for run in line.runs
        ]
        widths = [text_width(text, line.bold) * size for text, size, _ in pieces]
        x -= sum(widths) * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        for (text, size, drop), width in zip(pieces, widths, strict=True):
            self.axes.text(
                x,
                y + line.size * 0.35 + drop,
                text,
                fontsize=size * POINT,
                color=self.color(line.color),
                family=_FONT,
                weight="bold" if line.bold else "normal",
                va="baseline",
                ha="left",
                zorder=order,
                parse_math=False,
            )
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


__all__ = ["figure", "image", "text_width"]
