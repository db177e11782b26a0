"""The rolled program as a graph in DOT: a frame for each loop, a dashed edge for what one step hands to the next."""

from __future__ import annotations

from ..escape import dot_string
from .ir import Loop, Node, Program, Read


def dot(program: Program) -> str:
    """The program as DOT text, for Graphviz; the same program always gives the same text.

    Loops are frames; a double box runs once for all steps, a single one once in all, or within its loop once
    a step. A dashed edge is read in another step, and says how many steps before (or, negative, after).
    """
    number = {node: i for i, node in enumerate(program.nodes)}
    lines = [
        "digraph program {",
        '  graph [rankdir=TB, fontname="Helvetica", labeljust=l, nodesep=0.2, ranksep=0.3]',
        '  node [shape=box, fontname="Helvetica", fontsize=10, height=0.25, margin="0.08,0.04"]',
        '  edge [arrowsize=0.5, color="#555555", fontname="Helvetica", fontsize=9]',
    ]
    for i, part in enumerate(program.schedule):
        if isinstance(part, Loop):
            words = f"for t in {f'{part.hi} … {part.lo}' if part.reverse else f'{part.lo} … {part.hi}'}"
            lines.append(f'  subgraph cluster_{i} {{ label="{words}"; style="rounded,filled"; fillcolor="#f3f3f3"')
            lines.extend(f"    {_node(node, number, within=True)}" for node in part.nodes)
            lines.append("  }")
        else:
            lines.append(f"  {_node(part, number, within=False)}")
    for node in number:
        lines.extend(f"  {_edge(ref, node, number)}" for ref in dict.fromkeys(a for a in node.args if type(a) is Read))
        lines.extend(
            f"  n{number[ref.node]} -> n{number[node]} [style=dotted]"
            for ref in node.initials.values()
            if ref is not None
        )
    return "\n".join([*lines, "}", ""])


def _node(node: Node, number: dict[Node, int], within: bool) -> str:
    kind = node.primitive.name if node.primitive else "constant" if not node.is_input else "input"
    kind = {"total": "sum", "contract": "sum over t of a.T @ b"}.get(kind, kind)
    named = [node.name] if node.primitive is None and node.name else [node.name, kind]
    words = dot_string(" = ".join(word for word in named if word))
    style = ", peripheries=2" if node.rolled and not within else ""
    color = "#fdeeda" if node.backward_of is not None else "#ffffff" if node.primitive else "#e4ecf7"
    return f'n{number[node]} [label={words}, style=filled, fillcolor="{color}"{style}]'


def _edge(ref: Read, node: Node, number: dict[Node, int]) -> str:
    arrow = f"n{number[ref.node]} -> n{number[node]}"
    if ref.delay:
        return f'{arrow} [style=dashed, constraint=false, label="t{-ref.delay:+d}"]'
    return arrow
