"""A scene as DOT with every coordinate fixed (`layout=nop2`): Graphviz draws what was laid out here.

Plain `dot -Tsvg` honours it, for a thousand steps as fast as for ten. Shapes that are no boxes of the
graph (labels, bars, cells of the strips) are nodes too, drawn after it.
"""

from __future__ import annotations

from bisect import bisect_right

from ..escape import dot_html, dot_string
from .scene import Edge, Label, Lane, Point, Rect, Scene
from .svg import arrow_size, with_arrow
from .text import Line, Run, fixed, in_line

FONT = "Helvetica,Arial,sans-serif"
_LEADING = '<BR/><FONT POINT-SIZE="1.5"> </FONT><BR/>'
"""Graphviz sets lines so tight that an underscore touches the digits below it."""


def dot(scene: Scene) -> str:
    """The picture as DOT text."""
    return _Writer(scene).text()


class _Writer:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.lefts = [lane.x for lane in scene.lanes]
        self.names = {rect.id for rect in scene.boxes}

    def text(self) -> str:
        scene = self.scene
        lines = [
            "digraph unrolled {",
            f'  graph [layout=nop2 splines=true outputorder=edgesfirst bgcolor=white fontname="{FONT}" pad=0.15 '
            f'bb="0,0,{fixed(scene.width)},{fixed(scene.height)}" tooltip={dot_string(scene.title)}];',
            f'  node [fontname="{FONT}" shape=box fixedsize=true margin=0 fontsize=10];',
            f'  edge [fontname="{FONT}"];',
        ]
        inside: dict[int, list[Rect]] = {}
        outside: list[Rect] = []
        for rect in scene.boxes:
            lane = self._lane_of(rect)
            (outside if lane is None else inside.setdefault(lane, [])).append(rect)
        behind: dict[int | None, list[Rect]] = {}
        for backdrop in scene.backdrops:
            behind.setdefault(self._lane_of(backdrop), []).append(backdrop)
        for at, column in enumerate(scene.lanes):
            lines += self._lane(column, behind.get(at, []), inside.get(at, []))
        lines += [f"  {self._rect(rect)}" for rect in outside]
        lines += [f"  {self._label(label)}" for label in scene.labels]
        lines += self._anchors()
        lines += [f"  {self._edge(edge)}" for edge in scene.edges]
        return "\n".join([*lines, "}", ""])

    def _lane_of(self, rect: Rect) -> int | None:
        x, y = rect.middle
        at = bisect_right(self.lefts, x) - 1
        if at < 0 or not self.scene.lanes[at].y <= y <= self.scene.lanes[at].y + self.scene.lanes[at].height:
            return None
        return at if x <= self.scene.lanes[at].right else None

    def _flip(self, x: float, y: float) -> str:
        return f"{fixed(x)},{fixed(self.scene.height - y)}"

    def _box(self, x: float, y: float, right: float, bottom: float) -> str:
        return f"{self._flip(x, bottom)},{self._flip(right, y)}"

    def _backdrop(self, rect: Rect, rects: list[Rect]) -> list[str]:
        """A cluster and not a node: nodes are drawn over the edges, clusters under them."""
        box = self._box(rect.x, rect.y, rect.right, rect.bottom)
        head = (
            f"    subgraph cluster_{rect.id} {{\n"
            f'      graph [id="{rect.id}" class="{rect.kind}" label="" style="rounded,filled" fillcolor="{rect.fill}" '
            f'color=transparent bb="{box}" tooltip={dot_string(rect.tooltip)}];'
        )
        return [head, *(f"      {self._rect(each)}" for each in rects), "    }"]

    def _lane(self, lane: Lane, backdrops: list[Rect], rects: list[Rect]) -> list[str]:
        box = self._box(lane.x, lane.y, lane.right, lane.y + lane.height)
        place = self._flip(*lane.label_at)
        look = "rounded,filled,dashed" if lane.hatched else "rounded,filled"
        tip = f" tooltip={dot_string(lane.tooltip)}" if lane.tooltip else ""
        head = (
            f"  subgraph cluster_{lane.id} {{\n"
            f'    graph [id="{lane.id}" class="lane" label={label([lane.label])} style="{look}" '
            f'fillcolor="{"#F1F1F1" if lane.hatched else "#FAFAFA"}" color="#C4C4C4" fontsize=10 '
            f'bb="{box}" lp="{place}"{tip}];'
        )
        lines = [head]
        for backdrop in backdrops:
            covered = [rect for rect in rects if backdrop.y <= rect.middle[1] <= backdrop.bottom]
            rects = [rect for rect in rects if rect not in covered]
            lines += self._backdrop(backdrop, covered)
        return [*lines, *(f"    {self._rect(rect)}" for rect in rects), "  }"]

    def _rect(self, rect: Rect) -> str:
        style = "filled" if rect.fill != "none" else "solid"
        style += ",rounded" if rect.radius else ""
        style += ",dashed" if rect.dash == "dashed" else ""
        shape = " shape=circle" if rect.kind == "total" else ""
        # Graphviz has no text shift: an empty last line of twice the height lifts the others.
        words = label(rect.lines, lift=2 * rect.text_shift)
        stroke = "transparent" if rect.stroke == "none" else rect.stroke
        tip = dot_string(rect.tooltip or rect.id)
        return (
            f'{rect.id} [id="{rect.id}" class="{rect.kind}" label={words} pos="{self._flip(*rect.middle)}" '
            f"width={_inches(rect.width)} height={_inches(rect.height)}{shape} "
            f'style="{style}" color="{stroke}" fillcolor="{rect.fill if rect.fill != "none" else "transparent"}" '
            f"penwidth={fixed(rect.stroke_width)} tooltip={tip}];"
        )

    def _label(self, item: Label) -> str:
        x = item.left + item.line.width / 2
        width = item.line.width
        just = {"start": "l", "middle": "", "end": "r"}[item.anchor]
        filled = item.background != "none"
        look = f'style=filled fillcolor="{item.background}D9"' if filled else "style=solid"
        place = f"{label([item.line])}" if not just else _justified(item.line, width, just)
        return (
            f'{item.id} [id="{item.id}" class="{item.kind}" label={place} pos="{self._flip(x, item.y)}" '
            f"width={_inches(width + 4)} height={_inches(item.height)} {look} color=transparent "
            f"tooltip={dot_string(item.tooltip or item.line.text)}];"
        )

    def _anchors(self) -> list[str]:
        """Edges need nodes at both ends; the hidden lane is none, so an invisible point stands for it."""
        missing = {end for edge in self.scene.edges for end in (edge.source, edge.target)} - self.names
        places = {lane.id: (lane.x + lane.width / 2, lane.y) for lane in self.scene.lanes}
        return [
            f'  {end}_anchor [style=invis shape=point width=0.01 pos="{self._flip(*places.get(end, (0.0, 0.0)))}"];'
            for end in sorted(missing)
        ]

    def _edge(self, edge: Edge) -> str:
        points, head = with_arrow(edge)
        tip = self._flip(*head[0])
        path = " ".join(self._flip(*point) for point in points)
        place = f"s,{tip} {path}" if edge.backward else f"e,{tip} {path}"
        color = f"{edge.color}:white:{edge.color}" if edge.dash == "double" else edge.color
        look = f" style={edge.dash}" if edge.dash in ("dashed", "dotted") else ""
        way = " dir=back" if edge.backward else ""
        ends = [end if end in self.names else f"{end}_anchor" for end in (edge.source, edge.target)]
        return (
            f'{ends[0]} -> {ends[1]} [id="{edge.id}" class="{edge.kind}" pos="{place}" color="{color}" '
            f"penwidth={fixed(edge.width)} arrowsize={fixed(arrow_size(edge) / 10)}{way}{look} "
            f"tooltip={dot_string(edge.tooltip)}];"
        )


def _inches(points: float) -> str:
    return fixed(points / 72, 4)


def label(lines: list[Line] | tuple[Line, ...], lift: float = 0.0) -> str:
    """Lines of text as a DOT label; HTML-like, so that sizes and subscripts are possible."""
    if not lines:
        return '""'
    words = _LEADING.join(_line(line) for line in lines)
    if lift:
        words += f'<BR/><FONT POINT-SIZE="{fixed(lift / 1.2)}"> </FONT>'
    return f"<{words}>"


def _line(line: Line) -> str:
    words = "".join(_run(run) for run in line.runs) or "&#160;"
    words = f"<B>{words}</B>" if line.bold else words
    return f'<FONT POINT-SIZE="{fixed(line.size)}" COLOR="{line.color}">{words}</FONT>'


def _run(run: Run) -> str:
    """No smaller subscripts: Graphviz sets each size as a text of its own with a gap, and <SUB> onto the line below."""
    words = dot_html(in_line(run))
    return words.replace(" ", "&#160;") if words.strip() != words else words


def _justified(line: Line, width: float, side: str) -> str:
    """A line at the left or right end of its node."""
    align = "LEFT" if side == "l" else "RIGHT"
    cell = f'<TR><TD ALIGN="{align}" WIDTH="{round(width)}">{_line(line)}</TD></TR>'
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{cell}</TABLE>>'


__all__ = ["Point", "dot", "label"]
