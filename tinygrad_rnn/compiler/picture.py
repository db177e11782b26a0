"""The rolled program as a graph in DOT: a frame for each loop, a dashed edge for what one step hands to the next."""

from __future__ import annotations

from collections.abc import Sequence

from ..escape import dot_string
from .distribute import Loop, Part
from .emit import walk
from .reroll import Ref, Unit


def dot(schedule: Sequence[Part]) -> str:
    """The schedule as DOT text, for Graphviz; the same program always gives the same text.

    Loops are frames; a double box runs once for all steps, a single one once in all, or within its loop once
    a step. A dashed edge is read in another step, and says how many steps before (or, negative, after).
    """
    number = {unit: i for i, unit in enumerate(walk(schedule))}
    lines = [
        "digraph program {",
        '  graph [rankdir=TB, fontname="Helvetica", labeljust=l, nodesep=0.2, ranksep=0.3]',
        '  node [shape=box, fontname="Helvetica", fontsize=10, height=0.25, margin="0.08,0.04"]',
        '  edge [arrowsize=0.5, color="#555555", fontname="Helvetica", fontsize=9]',
    ]
    for i, part in enumerate(schedule):
        if isinstance(part, Loop):
            words = f"for t in {f'{part.hi} … {part.lo}' if part.reverse else f'{part.lo} … {part.hi}'}"
            lines.append(f'  subgraph cluster_{i} {{ label="{words}"; style="rounded,filled"; fillcolor="#f3f3f3"')
            lines.extend(f"    {_node(unit, number, within=True)}" for unit in part.units)
            lines.append("  }")
        else:
            lines.append(f"  {_node(part, number, within=False)}")
    for unit in number:
        lines.extend(f"  {_edge(ref, unit, number)}" for ref in dict.fromkeys(a for a in unit.args if type(a) is Ref))
        lines.extend(
            f"  n{number[ref.unit]} -> n{number[unit]} [style=dotted]"
            for ref in unit.initials.values()
            if ref is not None
        )
    return "\n".join([*lines, "}", ""])


def _node(unit: Unit, number: dict[Unit, int], within: bool) -> str:
    op = unit.op
    kind = unit.primitive.name if unit.primitive else "constant" if op.value is not None or unit.rolled else "input"
    kind = {"total": "sum", "contract": "sum over t of a.T @ b"}.get(kind, kind)
    named = [op.name] if unit.primitive is None and op.name else [op.name, kind]
    words = dot_string(" = ".join(word for word in named if word))
    style = ", peripheries=2" if unit.rolled and not within else ""
    color = "#fdeeda" if op.backward_of is not None else "#ffffff" if unit.primitive else "#e4ecf7"
    return f'n{number[unit]} [label={words}, style=filled, fillcolor="{color}"{style}]'


def _edge(ref: Ref, unit: Unit, number: dict[Unit, int]) -> str:
    arrow = f"n{number[ref.unit]} -> n{number[unit]}"
    if ref.delay:
        return f'{arrow} [style=dashed, constraint=false, label="t{-ref.delay:+d}"]'
    return arrow
