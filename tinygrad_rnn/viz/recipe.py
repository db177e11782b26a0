"""The picture as DOT that Graphviz lays out itself: for graphs unlike any loop, and for people who edit the DOT.

What makes plain `dot` put time from left to right and inputs below: a cluster for each step, in time order under an
invisible root whose edges to each step are the heaviest; weights written on the operations instead of drawn.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..escape import dot_string
from .compose import stroke_of
from .diagram import Box, Diagram
from .dot import FONT, label
from .measure import Face, Gradients, link_words
from .text import line


def recipe(drawn: Diagram, faces: dict[Box, Face], gradients: Gradients, title: str) -> str:
    """DOT text without coordinates. Up to some hundred steps `dot` lays it out in seconds."""
    return "\n".join([*_lines(drawn, faces, gradients, title), "}", ""])


def _lines(drawn: Diagram, faces: dict[Box, Face], gradients: Gradients, title: str) -> Iterator[str]:
    yield "digraph unrolled {"
    yield (
        f'  graph [rankdir=BT nodesep=.3 ranksep=.3 fontname="{FONT}" label={label([line(title, size=13.0)])} '
        "labelloc=t labeljust=l];"
    )
    yield f'  node [fontname="{FONT}" shape=box style="filled,rounded" fontsize=10 height=.3 margin="0.08,0.04"];'
    yield f'  edge [fontname="{FONT}" fontsize=9];'
    yield "  root [style=invis shape=point width=0.01 ordering=out];"
    lanes: list[tuple[str, str, list[Box]]] = []
    for step in drawn.steps:
        boxes = [box for box in drawn.boxes if box.zone == "lane" and box.step == step]
        if drawn.hidden and step > drawn.hidden[0] and not any(name == "hidden" for name, _, _ in lanes):
            lanes.append(("hidden", f"{len(drawn.hidden)} steps not drawn", [drawn.gap]))
        lanes.append((f"t{step}", f"t = {step}" if drawn.structure.steps else "", boxes))
    before = [box for box in drawn.boxes if box.zone in ("before", "bottom", "weights")]
    if before:
        lanes.insert(0, ("before", "", before))
    after = [box for box in drawn.boxes if box.zone in ("after", "top")]
    if after:
        lanes.append(("after", "", after))
    for name, words, boxes in lanes:
        yield f"  subgraph cluster_{name} {{"
        frame = 'style="rounded,filled" fillcolor="#FAFAFA" color="#C4C4C4"' if words else "style=invis"
        yield f"    graph [label={label([line(words)] if words else [])} labelloc=b {frame}];"
        for box in boxes:
            yield f"    {_node(box, faces)}"
        yield "  }"
    has_input = {
        link.target for link in drawn.links if link.source.zone == "lane" and link.source.step == link.target.step
    }
    for name, _, boxes in lanes:
        if boxes and name != "after":
            bottom = next((box for box in boxes if box not in has_input), boxes[0])
            yield f"  root -> {bottom.id} [style=invis weight=50{' minlen=5' if name == 'before' else ''}];"
    for at, link in enumerate(drawn.links):
        norm = gradients.link(link)
        color, width, dash = stroke_of(link, norm, gradients)
        inside = link.source.zone == "lane" and link.source.step == link.target.step
        settings = [
            f'id="e{at}"',
            f'color="{color}"',
            f"penwidth={width:g}",
            f"tooltip={dot_string(link_words(link, norm, gradients))}",
        ]
        settings += ["weight=8"] if inside else []
        settings += ["dir=back"] if norm is not None else []
        settings += [f"style={dash}"] if dash in ("dashed", "dotted") else []
        yield f"  {link.source.id} -> {link.target.id} [{' '.join(settings)}];"


def _node(box: Box, faces: dict[Box, Face]) -> str:
    if box not in faces:
        return f'{box.id} [id="{box.id}" label="…" shape=plaintext style=""];'
    looks = faces[box]
    style = "filled,rounded,dashed" if box.kind in ("initial", "cut") else "filled,rounded"
    return (
        f'{box.id} [id="{box.id}" class="{box.kind}" label={label(looks.lines)} style="{style}" color="{looks.stroke}" '
        f'fillcolor="{looks.fill}" penwidth={looks.stroke_width:g} tooltip={dot_string(looks.tooltip or box.id)}];'
    )


__all__ = ["recipe"]
