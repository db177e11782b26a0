"""A scene as DOT: plain text, with every coordinate fixed (`layout=nop2`), or without any for Graphviz to lay out.

With coordinates, `dot -Tsvg` draws a thousand steps as fast as ten, and labels, bars and cells of the strips are nodes
too. Without, the text is short and pleasant to edit; what puts time from left to right is a cluster for each step, in
time order under an invisible root whose edges to the lowest box of each step are the heaviest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from textwrap import fill

from ..escape import dot_string
from .scene import Edge, Label, Lane, Rect, Scene
from .style import Theme
from .text import Line, fixed, in_line

_EXTRAS = ("bar", "share", "reach", "legend", "scope")
"""Kinds of boxes that are no part of the graph."""


def dot(scene: Scene, theme: Theme, positions: bool = True) -> str:
    """The picture as DOT text.

    Args:
        scene: what to draw.
        theme: its colours and font.
        positions: whether Graphviz is given the coordinates; otherwise it is given only the graph.
    """
    return "\n".join([*_Writer(scene, theme, positions).lines(), "}", ""])


class _Writer:
    def __init__(self, scene: Scene, theme: Theme, positions: bool) -> None:
        self.scene = scene
        self.color = theme
        self.font = dot_string(theme.font.replace("'", ""))
        self.positions = positions
        self.lefts = [lane.x for lane in scene.lanes]
        self.boxes = (
            [*scene.backdrops, *scene.boxes] if positions else [b for b in scene.boxes if b.kind not in _EXTRAS]
        )
        self.names = {rect.id for rect in self.boxes}

    def lines(self) -> Iterator[str]:
        scene = self.scene
        yield "digraph unrolled {"
        if self.positions:
            layout = (
                f'layout=nop2 splines=true outputorder=edgesfirst bb="0,0,{fixed(scene.width)},{fixed(scene.height)}"'
            )
            yield f"  graph [{layout} fontname={self.font} bgcolor={dot_string(self.color('paper'))} pad=0.15];"
            yield f"  node [shape=box fixedsize=true margin=0 fontname={self.font}];"
        else:
            title = f"label={dot_string(fill(scene.title, 60))} labelloc=t labeljust=l fontsize=14"
            yield f"  graph [rankdir=BT nodesep=.3 ranksep=.3 {title} fontname={self.font}];"
            yield f'  node [shape=box height=.3 margin="0.08,0.04" fontname={self.font}];'
            yield "  root [style=invis shape=point width=0.01 ordering=out];"
        inside: dict[int | None, list[Rect]] = {}
        for rect in self.boxes:
            inside.setdefault(self._lane_of(rect), []).append(rect)
        beside = inside.get(None, [])
        lanes = [inside.get(at, []) for at in range(len(scene.lanes))]
        first = [rect for rect in beside if not rect.id.startswith(("after", "top"))]
        if not self.positions:
            yield from self._beside("first", first)
        for lane, rects in zip(scene.lanes, lanes, strict=True):
            yield from self._lane(lane, rects)
        if self.positions:
            yield from (f"  {self._rect(rect)}" for rect in beside)
            yield from (f"  {self._label(label)}" for label in scene.labels)
        else:
            yield from self._beside("last", [rect for rect in beside if rect not in first])
            yield from self._in_time_order([first, *lanes])
        yield from self._missing_ends()
        yield from (f"  {self._edge(edge)}" for edge in scene.edges)

    def _beside(self, name: str, rects: list[Rect]) -> Iterator[str]:
        """What stands before or after the lanes, as an invisible cluster."""
        if rects:
            yield f"  subgraph cluster_{name} {{"
            yield "    graph [style=invis];"
            yield from (f"    {self._rect(rect)}" for rect in rects)
            yield "  }"

    def _in_time_order(self, groups: list[list[Rect]]) -> Iterator[str]:
        """Invisible edges from the root to a lowest box of each group."""
        group = {rect.id: at for at, rects in enumerate(groups) for rect in rects}
        fed = {edge.target for edge in self.scene.edges if group.get(edge.source, -1) == group.get(edge.target)}
        for at, rects in enumerate(groups):
            lowest = next((rect for rect in rects if rect.id not in fed), None)
            if lowest is not None:
                yield f"  root -> {lowest.id} [style=invis weight=50{'' if at else ' minlen=5'}];"

    def _lane_of(self, rect: Rect) -> int | None:
        x, y = rect.middle
        at = bisect_right(self.lefts, x) - 1
        lane = self.scene.lanes[max(at, 0)]
        return at if lane.x <= x <= lane.right and lane.y <= y <= lane.bottom else None

    def _flip(self, x: float, y: float) -> str:
        return f"{fixed(x)},{fixed(self.scene.height - y)}"

    def _lane(self, lane: Lane, rects: list[Rect]) -> Iterator[str]:
        """A cluster; so are backdrops, as nodes are drawn over the edges and clusters under them."""
        place = ""
        if self.positions:
            box = f"{self._flip(lane.x, lane.y + lane.height)},{self._flip(lane.right, lane.y)}"
            place = f' bb="{box}" lp="{self._flip(*lane.label_at)}"'
        yield f"  subgraph cluster_{lane.id} {{"
        yield (
            f'    graph [id="{lane.id}" class="lane" label={_label([lane.label])} fontsize={fixed(lane.label.size)} '
            f'labelloc=b style="rounded,filled{",dashed" if lane.hatched else ""}" '
            f'fontcolor="{self.color(lane.label.color)}" '
            f'fillcolor="{self.color("lane")}" color="{self.color("lane-line")}"{place}{_tip(lane.tooltip)}];'
        )
        yield from (f"    {self._rect(rect) if rect.kind != 'scope' else self._backdrop(rect)}" for rect in rects)
        yield "  }"

    def _backdrop(self, rect: Rect) -> str:
        box = f"{self._flip(rect.x, rect.bottom)},{self._flip(rect.right, rect.y)}"
        return (
            f'subgraph cluster_{rect.id} {{graph [id="{rect.id}" class="scope" label="" style="rounded,filled" '
            f'color=transparent fillcolor="{self.color(rect.fill)}" bb="{box}"{_tip(rect.tooltip)}]}}'
        )

    def _rect(self, rect: Rect) -> str:
        look = ",".join(["filled", *["rounded"] * bool(rect.radius), *["dashed"] * (rect.dash == "dashed")])
        size = min((line.size for line in rect.lines), default=1.0)
        place = ""
        if self.positions:
            # Graphviz has no text shift: empty lines below lift the others.
            lift = "\n" * round(2 * rect.text_shift / (size * 1.2)) if rect.text_shift else ""
            words = _label([*rect.lines], lift)
            place = f' pos="{self._flip(*rect.middle)}" width={_inches(rect.width)} height={_inches(rect.height)}'
        else:
            words = _label([*rect.lines])
        place += " shape=circle" if rect.kind == "total" else ""
        colors = [self.color(name) if name != "none" else "transparent" for name in (rect.stroke, rect.fill)]
        ink = self.color(rect.lines[0].color if rect.lines else "ink")
        return (
            f'{rect.id} [id="{rect.id}" class="{rect.kind}" label={words} fontsize={fixed(size)} fontcolor="{ink}" '
            f'style="{look}" color="{colors[0]}" fillcolor="{colors[1]}" penwidth={fixed(rect.stroke_width)}{place}'
            f"{_tip(rect.tooltip or rect.id)}];"
        )

    def _label(self, item: Label) -> str:
        left, top, right, bottom = item.area
        place = f'pos="{self._flip((left + right) / 2, item.y)}"'
        end = {"start": "\\l", "middle": "", "end": "\\r"}[item.anchor]
        back = (
            f'style=filled fillcolor="{self.color(item.background)}D9"' if item.background != "none" else "style=solid"
        )
        return (
            f'{item.id} [id="{item.id}" class="{item.kind}" label={_label([item.line], end=end)} '
            f'fontsize={fixed(item.line.size)} fontcolor="{self.color(item.line.color)}" {place} '
            f"width={_inches(right - left + 4)} height={_inches(bottom - top)} {back} color=transparent"
            f"{_tip(item.tooltip or item.line.text)}];"
        )

    def _missing_ends(self) -> Iterator[str]:
        """Edges need nodes at both ends; the hidden lane is none, so an invisible point stands for it."""
        missing = {end for edge in self.scene.edges for end in (edge.source, edge.target)} - self.names
        places = {lane.id: (lane.x + lane.width / 2, lane.y) for lane in self.scene.lanes}
        for end in sorted(missing):
            place = f' pos="{self._flip(*places.get(end, (0.0, 0.0)))}"' if self.positions else ""
            yield f"  {end}_anchor [style=invis shape=point width=0.01{place}];"

    def _edge(self, edge: Edge) -> str:
        color = self.color(edge.color)
        color = f"{color}:{self.color('paper')}:{color}" if edge.dash == "double" else color
        parts = [f'id="{edge.id}"', f'class="{edge.kind}"', f'color="{color}"', f"penwidth={fixed(edge.width)}"]
        parts.append(f"arrowsize={fixed(edge.arrow_size / 10)}")
        if self.positions:
            points, head = edge.with_arrow()
            path = " ".join(self._flip(*point) for point in points)
            parts.append(f'pos="{"s" if edge.backward else "e"},{self._flip(*head[0])} {path}"')
        elif edge.source.partition("_")[0] == edge.target.partition("_")[0]:
            parts.append("weight=8")
        parts += ["dir=back"] if edge.backward else []
        parts += [f"style={edge.dash}"] if edge.dash in ("dashed", "dotted") else []
        ends = [end if end in self.names else f"{end}_anchor" for end in (edge.source, edge.target)]
        return f"{ends[0]} -> {ends[1]} [{' '.join(parts)}{_tip(edge.tooltip)}];"


def _inches(points: float) -> str:
    return fixed(points / 72, 4)


def _tip(text: str) -> str:
    return f" tooltip={dot_string(text)}" if text else ""


def _label(lines: Sequence[Line], lift: str = "", end: str = "") -> str:
    """Lines of text as a DOT label, with subscripts in line: W_hh, h₃."""
    words = "\n".join("".join(in_line(run) for run in line.runs) for line in lines)
    return f'{dot_string(words + lift)[:-1]}{end}"'
