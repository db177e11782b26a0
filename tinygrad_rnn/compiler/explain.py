"""Explain: what the compiler did with a program, in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..escape import terminal
from .ir import Loop, Node, Part
from .statements import Code, For

SAID = 20
"""So many operations that did not roll are named."""

MANY = 100
"""So many operations outside of loops are more than a step and what surrounds it."""


def explain(
    schedule: Sequence[Part], code: Code, misfits: Sequence[str], notes: Sequence[str], by_rows: bool = False
) -> str:
    """One line for each loop, then what runs once for all steps, then what did not roll and why.

    The `code` of a general program tells the steps of its loops: from 0 to T - 1. `by_rows`: they were found by the
    rows that are read.
    """
    lines, at_once, single = [], [], 0
    loops = (each for each in code.body if isinstance(each, For))
    for part in schedule:
        if isinstance(part, Loop):
            loop = next(loops)
            direction = "from the last step to the first" if loop.reverse else "from the first step to the last"
            lines.append(f"loop over steps {loop.lo}..{loop.hi}, {direction}: {', '.join(map(_name, part.nodes))}")
        elif part.rolled and part.primitive is not None:
            at_once.append(f"all steps at once: {_name(part)}")
        elif part.primitive is not None:
            single += 1
    lines += [*at_once, f"{single} operations run once, outside of time", *notes]
    if by_rows and (len(misfits) > SAID or single > MANY):
        lines.append(
            "most of it runs step by step: without tg.steps a loop is found by the rows that it reads; write each loop "
            "over time as `for t, x in tg.steps(xs)`, or `tg.steps(xs, reverse=True)` from the last to the first"
        )
    lines += [f"not rolled: {what}" for what in misfits[:SAID]]
    if len(misfits) > SAID:
        lines.append(f"... and {len(misfits) - SAID} more")
    return "\n".join(lines)


def _name(node: Node) -> str:
    title = node.name
    of = node.backward_of
    words = node.primitive.name if node.primitive else "constant"
    if title:
        words = f"{terminal(title)} = {words}"
    if of is not None and not title and of.primitive is not None:
        words += f" (backward of {of.primitive.name})"
    return words
