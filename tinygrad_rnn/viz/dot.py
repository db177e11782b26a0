"""A scene as DOT: plain text, with every coordinate fixed (`layout=nop2`), or without any for Graphviz to lay out.

With coordinates, `dot -Tsvg` draws a thousand steps as fast as ten, and labels, bars and cells of the strips are nodes
too. Without, the text is short and pleasant to edit; what puts time from left to right is a cluster for each step, in
time order under an invisible root whose edges to the lowest box of each step are the heaviest.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from textwrap import fill

from ..escape import dot_string
from .scene import Block, Edge, Label, Lane, Point, Rect, Scene
from .style import Theme
from .text import Line, fixed, in_line

_EXTRAS = ("bar", "share", "reach", "legend", "scope")
"""Kinds of boxes that are no part of the graph."""
_LATE = ("after", "top")
"""How the names of boxes begin that stand after the lanes."""
_PLAIN = re.compile(r"([a-zA-Z]\w*|-?\d*\.?\d+)|[\w,. #:-]*", re.ASCII)
"""What needs no quotes; or no more than quotes, such as coordinates and colours."""


def dot(scene: Scene, theme: Theme, positions: bool = True) -> str:
    """The picture as DOT text.

    Args:
        scene: what to draw.
        theme: its colours and font.
        positions: whether Graphviz is given the coordinates; otherwise it is given only the graph.
    """
    return "\n".join(["digraph unrolled {", *_Writer(scene, theme, positions).lines(), "}", ""])


class _Writer:
    def __init__(self, scene: Scene, theme: Theme, positions: bool) -> None:
        self.scene = scene
        self.color = theme
        self.positions = positions
        self.lefts = [lane.x for lane in scene.lanes]
        boxes = [*scene.backdrops, *scene.boxes]
        self.boxes = boxes if positions else [box for box in boxes if box.kind not in _EXTRAS]
        self.names = {rect.id for rect in self.boxes}

    def lines(self) -> Iterator[str]:
        scene, font = self.scene, {"fontname": self.color.font.replace("'", "")}
        inside: dict[int | None, list[Rect]] = {}
        for rect in self.boxes:
            inside.setdefault(self._lane_of(rect), []).append(rect)
        beside = inside.get(None, [])
        lanes = [inside.get(at, []) for at in range(len(scene.lanes))]
        first, last = ([rect for rect in beside if rect.id.startswith(_LATE) == late] for late in (False, True))
        if self.positions:
            size = f"0,0,{fixed(scene.width)},{fixed(scene.height)}"
            layout = {"layout": "nop2", "splines": "true", "outputorder": "edgesfirst", "bb": size}
            yield _said("  graph", **layout, bgcolor=self.color("paper"), pad=0.15, **font)
            yield _said("  node", shape="box", fixedsize="true", margin=0, **font)
        else:
            title = {"label": dot_string(fill(scene.title, 60)), "labelloc": "t", "labeljust": "l"}
            yield _said("  graph", rankdir="BT", nodesep=0.3, ranksep=0.3, fontsize=14, **title, **font)
            yield _said("  node", shape="box", height=0.3, margin="0.08,0.04", **font)
            yield _said("  root", style="invis", shape="point", width=0.01, ordering="out")
            yield from self._cluster("first", first, style="invis") if first else ()
        for lane, rects in zip(scene.lanes, lanes, strict=True):
            yield from self._lane(lane, rects)
        if self.positions:
            yield from (f"  {self._rect(rect)}" for rect in beside)
            yield from (f"  {self._label(label)}" for label in scene.labels)
        else:
            yield from self._cluster("last", last, style="invis") if last else ()
            yield from self._in_time_order([first, *lanes])
        yield from self._missing_ends()
        yield from (f"  {self._edge(edge)}" for edge in scene.edges)

    def _cluster(self, name: str, rects: list[Rect], **look: str | float) -> Iterator[str]:
        yield f"  subgraph cluster_{name} {{"
        yield _said("    graph", **look)
        yield from (f"    {self._rect(rect)}" for rect in rects)
        yield "  }"

    def _in_time_order(self, groups: list[list[Rect]]) -> Iterator[str]:
        """Invisible edges from the root to a lowest box of each group."""
        group = {rect.id: at for at, rects in enumerate(groups) for rect in rects}
        fed = {edge.target for edge in self.scene.edges if group.get(edge.source, -1) == group.get(edge.target)}
        for at, rects in enumerate(groups):
            lowest = next((rect for rect in rects if rect.id not in fed), None)
            if lowest is not None:
                yield _said(f"  root -> {lowest.id}", style="invis", weight=50, minlen="" if at else 5)

    def _lane_of(self, rect: Rect) -> int | None:
        x, y = rect.middle
        at = bisect_right(self.lefts, x) - 1
        lane = self.scene.lanes[max(at, 0)]
        return at if lane.x <= x <= lane.right and lane.y <= y <= lane.bottom else None

    def _points(self, *points: Point) -> str:
        """Points in DOT, where y runs up; nothing where Graphviz finds them."""
        height = self.scene.height
        return " ".join([f"{fixed(x)},{fixed(height - y)}" for x, y in points]) if self.positions else ""

    def _bounds(self, block: Block) -> str:
        return self._points((block.x, block.bottom), (block.right, block.y)).replace(" ", ",")

    def _named(self, item: Lane | Rect | Label, lines: Sequence[Line], end: str = "") -> dict[str, str | float]:
        """What every shape is called, and the words in it."""
        said = {"id": item.id, "class": item.kind, "label": _label(lines, end), "tooltip": item.tooltip}
        size = min((line.size for line in lines), default=1.0)
        return {**said, "fontsize": size, "fontcolor": self.color(lines[0].color if lines else "ink")}

    def _filled(self, fill: str, stroke: str, *style: str) -> dict[str, str]:
        fill, stroke = (self.color(name) if name != "none" else "transparent" for name in (fill, stroke))
        return {"style": ",".join(style), "fillcolor": fill, "color": stroke}

    def _lane(self, lane: Lane, rects: list[Rect]) -> Iterator[str]:
        """A cluster; so are backdrops, as nodes are drawn over the edges and clusters under them."""
        look = self._filled("lane", "lane-line", "rounded", "filled", *["dashed"] * lane.hatched)
        left, _, right, _ = lane.words.area
        place = {"labelloc": "b", "bb": self._bounds(lane), "lp": self._points(((left + right) / 2, lane.words.y))}
        return self._cluster(lane.id, rects, **self._named(lane, [lane.label]), **look, **place)

    def _rect(self, rect: Rect, end: str = "") -> str:
        style = ["filled", *["rounded"] * bool(rect.radius), *["dashed"] * (rect.dash == "dashed")]
        look = self._filled(rect.fill, rect.stroke, *style)
        if rect.kind == "scope":
            inside = _said("graph", **self._named(rect, []), **look, bb=self._bounds(rect))
            return f"subgraph cluster_{rect.id} {{{inside}}}"
        if self.positions and rect.text_shift:  # Graphviz has no text shift: empty lines below lift the others
            end = "\\n" * round(2 * rect.text_shift / (min(line.size for line in rect.lines) * 1.2))
        said = self._named(rect, rect.lines, end) | {"tooltip": rect.tooltip or rect.id}
        if self.positions:
            said |= {"pos": self._points(rect.middle), "width": rect.width / 72, "height": rect.height / 72}
        shape = "circle" if rect.kind == "total" else ""
        return _said(rect.id, **said, **look, penwidth=rect.stroke_width, shape=shape)

    def _label(self, item: Label) -> str:
        left, top, right, bottom = item.area
        size = left - 2, top, right - left + 4, bottom - top
        words = Rect(item.id, *size, item.background, lines=(item.line,), kind=item.kind)
        words.tooltip = item.tooltip or item.line.text
        return self._rect(words, {"start": "\\l", "middle": "", "end": "\\r"}[item.anchor])

    def _missing_ends(self) -> Iterator[str]:
        """Edges need nodes at both ends; the hidden lane is none, so an invisible point stands for it."""
        missing = {end for edge in self.scene.edges for end in (edge.source, edge.target)} - self.names
        places = {lane.id: (lane.middle[0], lane.y) for lane in self.scene.lanes}
        for end in sorted(missing):
            place = self._points(places.get(end, (0.0, 0.0)))
            yield _said(f"  {end}_anchor", style="invis", shape="point", width=0.01, pos=place)

    def _edge(self, edge: Edge) -> str:
        color, (points, head) = self.color(edge.color), edge.with_arrow()
        ends = [end if end in self.names else f"{end}_anchor" for end in (edge.source, edge.target)]
        near = edge.source.partition("_")[0] == edge.target.partition("_")[0]
        return _said(
            f"{ends[0]} -> {ends[1]}",
            **{"id": edge.id, "class": edge.kind},
            color=f"{color}:{self.color('paper')}:{color}" if edge.dash == "double" else color,
            penwidth=round(edge.width, 2),
            arrowsize=round(edge.arrow_size / 10, 2),
            pos=f"{'s' if edge.backward else 'e'},{self._points(head[0], *points)}" if self.positions else "",
            weight="" if self.positions or not near else 8,
            dir="back" if edge.backward else "",
            style=edge.dash if edge.dash in ("dashed", "dotted") else "",
            tooltip=edge.tooltip,
        )


def _said(name: str, **given: str | float) -> str:
    """A statement: a node, an edge, or what holds for all of them, with its attributes but the empty ones."""
    words = [f"{key}={each if key == 'label' else _value(each)}" for key, each in given.items() if each != ""]
    return f"{name} [{' '.join(words)}];"


@lru_cache(1024)
def _value(given: str | float) -> str:
    if not isinstance(given, str):
        return fixed(given, 4)
    plain = _PLAIN.fullmatch(given)
    return dot_string(given) if plain is None else plain[1] or f'"{given}"'


def _label(lines: Sequence[Line], end: str = "") -> str:
    """Lines of text as a DOT label, with subscripts in line: W_hh, h₃."""
    words = "\n".join("".join(in_line(run) for run in line.runs) for line in lines)
    return f'{dot_string(words)[:-1]}{end}"'
