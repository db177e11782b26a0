"""Lower: loops of a program become operations that run native code; the rest stays as it is.

The result is a program like any other: a region is one node that reads whole arrays and gives a sequence of them, and
its entries stand for what others read. So the passes after this one need not know of native code.
"""

from __future__ import annotations

from copy import copy
from itertools import count
from operator import getitem
from typing import Any, cast
from weakref import WeakValueDictionary

from ...core.primitive import Primitive, primitives
from ...core.threads import allowed
from ...core.traits import Traits
from .. import ir
from ..distribute import scheduled
from ..ir import Node, Program, Read, Shift, Span
from ..rewrite import Rewriter
from . import machine
from .call import NativeLoop
from .choose import regions
from .loop import Loop, Written
from .region import is_virtual


def with_native_loops(program: Program, rows: int | None) -> tuple[Program, list[NativeLoop], list[str]]:
    """A copy of a program in which the loops that fit are native, for products of so many rows or those it has.

    Also these loops, and for every loop a word on what became of it.
    """
    why = machine.missing()
    found, misfits = ([], []) if why else regions(program)
    notes = [f"not native: {why}"] if why else []
    native: list[NativeLoop] = []
    new = {node: copy(node) for node in program.nodes}
    made: list[Node] = []
    for region in found:
        loop = Loop(region, rows or max(1, region.batch // allowed()))
        around = len(region.nodes) - len(region.loop.nodes)
        notes.append(f"native: the {_title(region.loop)}, and {around} operations around it")
        primitive = _primitive(loop.written)
        native.append(cast(Any, primitive.function).__self__)
        call = _native_node(loop, primitive)
        made.append(call)
        for i, node in enumerate([*loop.sums, *(node for node, how in loop.kept.items() if how == "slab")]):
            made += (views := _views(node, call, i, region.held(node)[0] if node.rolled else None))
            new[node] = views[-1]
    inside = {node for region in found for node in region.nodes if not is_virtual(node)}  # of a result others may slice
    lowered = Rewriter([*(new[n] for n in program.nodes if n not in inside), *made], list(program.results))
    lowered.replace(lambda read: Read(new.get(read.node, read.node), read.when))
    lowered.drop_unused()
    loops = {new[n] for part in program.schedule if isinstance(part, ir.Loop) for n in part.nodes if n not in inside}
    schedule = scheduled(lowered.nodes, lambda node: node not in loops)
    result = Program(schedule, lowered.results, [new[node] for node in program.inputs])
    ir.check(result)
    notes += [f"not native: the {_title(loop)}: {reason}" for loop, reason in misfits]
    return result, native, notes


def _title(loop: ir.Loop) -> str:
    return f"loop of steps {loop.lo} to {loop.hi}{' back in time' if loop.reverse else ''}"


def _native_node(loop: Loop, primitive: Primitive) -> Node:
    """A call of native code; what depends on lengths are its parameters."""
    region = loop.region
    args = [Read(read.node, Span(*region.span(read))) if isinstance(read.when, Shift) else read for read in loop.reads]
    node = region.loop.nodes[0].like(primitive, args, rolled=False)
    held = [region.held(node) for node in loop.kept]
    node.params = {
        "steps": region.hi - region.lo + 1,
        "batch": region.batch,
        "rows": tuple(last - first + 1 for first, last in held),
        "numbers": tuple(number.value for number in loop.numbers),
    }
    node.shape, node.name, node.backward_of = (), None, None
    return node


def _primitive(written: Written) -> Primitive:
    """One for all programs that need the same, and for as long as one of them lives."""
    found = _KNOWN.get(written)
    if found is None:
        name, doc = f"native{next(_NUMBERS)}", "A loop over time, as machine code; gives a sequence of arrays."
        found = Primitive(NativeLoop(written).run, lambda g, y, xs: [None] * len(xs), name, doc, Traits(alias="new"))
        _KNOWN[written] = found
    return found


_KNOWN: WeakValueDictionary[Written, Primitive] = WeakValueDictionary()
_NUMBERS = count()

_RESULT = Primitive(getitem, [lambda g, y, x, i: None] * 2, "result", "One of them.", Traits(alias="new"))


def _views(node: Node, made: Node, i: int, first: int | None) -> list[Node]:
    """Result i of a native loop as others read `node`."""
    whole = node.like(_RESULT, [Read(made), i], rolled=False)
    if first is None:
        return [whole]
    rows = max([node.hi, *node.initials]) - first + 1
    whole.shape, whole.name = (rows, *node.shape), None
    row = node.like(primitives["getitem"], [Read(whole)], rolled=True)
    row.params, row.numbers = {"key": 0}, [(1, -first)]
    row.lo, row.hi = first, first + rows - 1
    return [whole, row]
