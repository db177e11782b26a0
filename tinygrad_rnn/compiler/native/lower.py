"""Lower: loops of a program become operations that run native code; the rest stays as it is.

The result is a program like any other: a region is one node that reads whole arrays and gives one flat array, and
views of it stand for what others read. So the passes after this one need not know of native code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

from ...core.primitive import Primitive, primitives
from ...core.traits import Traits
from .. import ir
from ..ir import Node, Program, Read, Shift, Span
from . import machine
from .call import NativeLoop
from .region import MisfitError, Region, is_virtual, regions


class Lowered(NamedTuple):
    """A program with native loops, the text of each, and for every loop a word on what became of it."""

    program: Program
    texts: list[str]
    notes: list[str]


def with_native_loops(program: Program) -> Lowered:
    """A copy of a program in which the loops that fit are native."""
    why = machine.missing()
    found, misfits = ([], []) if why else regions(program)
    notes = [f"not native: {why}"] if why else []
    new: dict[Node, Node] = {node: copy(node) for node in program.nodes}
    removed: dict[Node, int] = {}
    texts: list[str] = []
    parts: list[tuple[float, ir.Part]] = []
    at = {node: i for i, part in enumerate(program.schedule) for node in _nodes(part)}
    for number, region in enumerate(found):
        try:
            native = NativeLoop(region)
        except MisfitError as reason:
            misfits.append((region.loop, str(reason)))
            continue
        texts.append(native.text)
        around = len(region.nodes) - len(region.loop.nodes)
        notes.append(f"native{number}: the {_title(region.loop)}, and {around} operations around it, in machine code")
        removed.update(dict.fromkeys(region.nodes, number))
        place = at[region.loop.nodes[0]]
        made = _native_node(native, region, number)
        parts.append((place, made))
        for node, (start, shape) in native.results.items():
            views = _views(node, made, start, shape, region.held(node)[0] if node.rolled else None)
            parts += [(place, view) for view in views]
            new[node] = views[-1]
        for node in region.nodes:
            if is_virtual(node) and region.is_read_outside(node):
                parts.append((place, new[node]))  # a slice of a result, read outside

    def moved(read: Read) -> Read:
        return Read(new.get(read.node, read.node), read.when)

    for i, part in enumerate(program.schedule):
        if isinstance(part, ir.Loop):
            if part.nodes[0] not in removed:
                parts.append((i, ir.Loop([new[node] for node in part.nodes], part.reverse)))
        elif part not in removed:
            parts.append((i, new[part]))
    for _, part in parts:
        for node in _nodes(part):
            node.args = [moved(a) if type(a) is Read else a for a in node.args]
            node.initials = {t: r and moved(r) for t, r in node.initials.items()}
    results = [moved(read) for read in program.results]
    lowered = Program(_ordered(parts, results), results, [new[node] for node in program.inputs])
    ir.check(lowered)
    notes += [f"not native: the {_title(loop)}: {reason}" for loop, reason in misfits]
    return Lowered(lowered, texts, notes)


def _title(loop: ir.Loop) -> str:
    return f"loop of steps {loop.lo} to {loop.hi}{' back in time' if loop.reverse else ''}"


def _nodes(part: ir.Part) -> Sequence[Node]:
    return part.nodes if isinstance(part, ir.Loop) else [part]


def _native_node(native: NativeLoop, region: Region, number: int) -> Node:
    what = f"native{number}"
    doc = "A loop over time, compiled to machine code."
    primitive = Primitive(native.run, lambda g, y, xs: [None] * len(xs), what, doc, Traits(alias="new"))
    args = []
    for read in native.reads:
        whole = not isinstance(read.when, Shift)
        args.append(read if whole else Read(read.node, Span(*region.span(read))))
    node = region.loop.nodes[0].like(primitive, args, rolled=False)
    node.shape, node.name, node.backward_of = (native.size,), None, None
    return node


def _views(node: Node, flat: Node, start: int, shape: tuple[int, ...], first: int | None) -> list[Node]:
    """Views of the flat array that end in what others read in the place of `node`."""
    part = node.like(primitives["getitem"], [Read(flat)], rolled=False)
    size = math.prod(shape)
    part.params, part.numbers = {"key": slice(start, start + size)}, [(0, start), (0, start + size)]
    part.shape, part.name = (size,), None
    whole = node.like(primitives["reshape"], [Read(part)], rolled=False)
    whole.params, whole.shape = {"shape": shape}, shape
    if first is None:
        return [part, whole]
    whole.name = None
    row = node.like(primitives["getitem"], [Read(whole)], rolled=True)
    row.params, row.numbers = {"key": 0}, [(1, -first)]
    row.lo, row.hi = first, first + shape[0] - 1
    return [part, whole, row]


def _ordered(parts: list[tuple[float, ir.Part]], results: Sequence[Read]) -> list[ir.Part]:
    """Each part after what it reads, otherwise as they were; without what nobody reads."""
    part_of = {node: i for i, (_, part) in enumerate(parts) for node in _nodes(part)}
    waits = [
        {part_of[read.node] for node in _nodes(part) for read in node.reads} - {i} for i, (_, part) in enumerate(parts)
    ]
    used, stack = set(), [part_of[read.node] for read in results]
    stack += [i for i, (_, part) in enumerate(parts) if isinstance(part, Node) and part.is_input]
    while stack:
        i = stack.pop()
        if i not in used:
            used.add(i)
            stack.extend(waits[i])
    ordered: list[ir.Part] = []
    placed: set[int] = set()
    waiting = sorted(used, key=lambda i: parts[i][0])
    while waiting:
        i = next(i for i in waiting if waits[i] <= placed)
        waiting.remove(i)
        placed.add(i)
        ordered.append(parts[i][1])
    return ordered
