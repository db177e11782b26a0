"""Allocate: where each result lives.

Results that outlive their step get one array with time first, a *slab*, with extra rows for initial
values; what is used up within its step gets one buffer for all steps. All of them are allocated once
per compiled program, so a call allocates nothing but the gradients it returns. Memory is handed on:
an elementwise operation writes over an operand that nobody reads any more, and a dead slab's memory
serves the next.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import ops
from ..ops.indexing import getitem_p
from .forms import is_elementwise, is_view, writes_out
from .ir import Loop, Node, Part, Program, Read, nodes_of, readers_of
from .lifts import once
from .operations import total
from .statements import Array, Memory

INPUT, CONSTANT, VIEW, SLAB, ARRAY, BUFFER, FRESH = "input", "constant", "view", "slab", "array", "buffer", "fresh"

WORTH_SHARING = 4096
"""Entries; less memory than this is not worth a line that says whose it was."""

_NEVER = sys.maxsize


@dataclass
class Place:
    """Where a node's result lives.

    Attributes:
        kind: an INPUT, a CONSTANT, a VIEW of its operand, a SLAB with time first, an ARRAY, a BUFFER for one
            step, or a FRESH array that a call makes anew, which the caller may own.
        timed: whether it holds all steps, time first.
        first, rows: of a slab: the step of its first row, and how many there are.
        static: whether it is the same memory in every call.
        contiguous: whether it is laid out without gaps.
        zeroed: whether it is a slab whose initial values are zero, and stay so from call to call.
        array: its name in the program; that of the operand that it is written over, if it is.
    """

    kind: str
    timed: bool
    first: int = 0
    rows: int = 0
    static: bool = False
    contiguous: bool = True
    zeroed: bool = False
    array: Array | None = None


def allocate(program: Program, thrifty: bool = True, least: int = WORTH_SHARING) -> dict[Node, Place]:
    """Decide where every node lives: if not `thrifty`, or if it has less than the `least` entries, by itself."""
    return _Allocator(program.schedule, program.results, thrifty, least).places


class _Allocator:
    def __init__(self, schedule: Sequence[Part], results: Sequence[Read], thrifty: bool, least: int) -> None:
        self.schedule, self.thrifty, self.least = schedule, thrifty, least
        self.part_of = {node: i for i, part in enumerate(schedule) for node in nodes_of(part)}
        self.position = {node: j for part in schedule for j, node in enumerate(nodes_of(part))}
        self.loop_of = {node: part for part in schedule if isinstance(part, Loop) for node in part.nodes}
        self.readers = readers_of(self.part_of, results)
        self.results = {ref.node for ref in results if ref.at is None}
        self.places: dict[Node, Place] = {}
        self.alike: dict[Any, list[Array]] = {}  # arrays that held the same for another loop, such as the layer above
        self.showing: set[Node] = set()
        self.shown = self._shown_rows()
        for node in self.part_of:
            self.places[node] = self._kind(node)
        self.last = self._lifetimes()
        self._memory()
        for node, place in self.places.items():
            if place.array is None:
                place.array = self._array(node, None)

    def _array(self, node: Node, memory: Memory | None) -> Array:
        """A name for what a node computes."""
        place = self.places[node]
        shape = (place.rows, *node.shape) if place.timed else node.shape
        array = Array(shape, node.dtype, place.first if place.timed else None, memory, [node])
        if memory is not None:
            memory.arrays.append(array)
        return array

    def _shown_rows(self) -> set[Node]:
        """Results of which a view is kept for all steps: they get a slab, and the view, one of `showing`, shows it."""
        shown: set[Node] = set()
        for node in reversed(list(self.loop_of)):
            if is_view(node) and once(node) and not node.initials and (node in shown or self._needs_rows(node)):
                ref = node.args[0]
                source = ref.node
                together = ref.delay == 0 and self.loop_of.get(source) is self.loop_of[node]
                if together and node.primitive in (getitem_p, ops.expand_dims, ops.transpose):
                    self.showing.add(node)
                    shown.update((node, source))
        return shown

    # ------------------------------------------------------------------ kinds
    def _kind(self, node: Node) -> Place:
        if node.primitive is None:
            constant = not node.is_input
            return Place(CONSTANT if constant else INPUT, node.rolled, node.lo, node.hi - node.lo + 1, static=constant)
        first, rows = min([node.lo, *node.initials]), max([node.hi, *node.initials]) + 1
        first, rows = (first, rows - first) if node.rolled else (0, 0)
        slab = Place(SLAB, True, first, rows, static=True, zeroed=node.starts_from_zeros)
        if node in self.loop_of:
            if node in self.showing:
                return Place(VIEW, True, first, rows, static=True, contiguous=False)
            if node in self.shown or self._needs_rows(node):
                return slab
            if is_view(node):
                return Place(VIEW, False, contiguous=False)
            return Place(BUFFER, False, static=True) if writes_out(node) else Place(FRESH, False)
        if is_view(node) and not node.initials:
            base = self.places[node.args[0].node]
            copies = node.primitive is ops.reshape and not base.contiguous
            if self._worth_copying(node):
                return Place(FRESH, False)
            kind = FRESH if copies else VIEW
            return Place(kind, node.rolled, first, rows, base.static and not copies, _stays_contiguous(node, base))
        if node.rolled:
            return slab if node.initials or writes_out(node) else Place(FRESH, True, first, rows)
        keeps = writes_out(node) and len(node.shape) > 1 and node not in self.results
        return Place(ARRAY, False, static=True) if keeps else Place(FRESH, False)

    def _worth_copying(self, node: Node) -> bool:
        """Whether it is a transposed weight that a loop multiplies by: contiguous, that is up to twice as fast."""
        return (not node.rolled and node.primitive is ops.transpose) and any(
            reader and reader.primitive is ops.matmul and reader in self.loop_of for reader, _ in self.readers[node]
        )

    def _needs_rows(self, node: Node) -> bool:
        """Whether more than the current step's result is read, or it is read outside the loop."""
        loop = self.loop_of[node]
        delayed = False
        for reader, ref in self.readers[node]:
            if reader is None or self.loop_of.get(reader) is not loop or ref.delay is None:
                return True
            if ref.delay != 0:
                delayed = True
                if abs(ref.delay) != 1 or self.position[reader] >= self.position[node]:
                    return True
        if delayed:
            edge = node.hi + 1 if loop.reverse else node.lo - 1
            return is_view(node) or not writes_out(node) or bool(set(node.initials) - {edge})
        return bool(node.initials)

    # ------------------------------------------------------------------ lifetimes
    def base(self, node: Node) -> Node:
        """The node whose memory a view shows."""
        while self.places[node].kind == VIEW:
            node = node.args[0].node
        return node

    def _lifetimes(self) -> dict[Node, tuple[int, int]]:
        """Where each result's memory is read last, itself or through a view: the part, and the place within a step.

        Past all places is what reads another step's result, all steps at once, or as an initial value; past all parts
        is the caller.
        """
        last = dict.fromkeys(self.part_of, (-1, 0))
        for node, found in self.readers.items():
            base = self.base(node)
            for reader, read in found:
                part, place = (_NEVER, 0) if reader is None else (self.part_of[reader], self.position[reader])
                here = read.delay == (0 if base.rolled else None)
                last[base] = max(last[base], (part, place if here else _NEVER))
        return last

    # ------------------------------------------------------------------ memory
    def _memory(self) -> None:
        free: list[Memory] = []
        held: dict[Memory, Node] = {}
        for i, part in enumerate(self.schedule):
            for node in nodes_of(part):
                if self.places[node].kind in (SLAB, ARRAY):
                    size = self._size(node)
                    fitting = [m for m in free if m.dtype == node.dtype and self.least <= size <= m.size <= 2 * size]
                    array = self._again(node, free, True) or self._over(node, held)
                    self._hold(
                        node, array or self._new(node, min(fitting, key=lambda m: m.size, default=None)), held, free
                    )
            if isinstance(part, Loop):
                self._buffers(part)
            for memory, node in list(held.items()):
                if self.last[node] < (i + 1, 0):
                    del held[memory]
                    if not self.places[node].zeroed:
                        free.append(memory)

    def _buffers(self, loop: Loop) -> None:
        """One buffer for each result that is used up within its step; dead ones are reused."""
        free: list[Memory] = []
        busy: dict[Memory, Node] = {}
        for node in loop.nodes:
            for memory, holder in list(busy.items()):
                if self.last[holder] < (self.part_of[node], self.position[node]):
                    del busy[memory]
                    free.append(memory)
            if self.places[node].kind == BUFFER:
                keeps = self.last[node][1] == _NEVER  # the next step reads it: nothing else may live there
                fitting = [m for m in free if (m.dtype, m.size) == (node.dtype, self._size(node)) and not keeps]
                taken = {*busy, *(free if keeps else [])}
                array = (None if keeps else self._over(node, busy)) or self._again(node, taken, False)
                self._hold(node, array or self._new(node, fitting[0] if fitting else None), busy, free)

    def _hold(self, node: Node, array: Array, held: dict[Memory, Node], free: list[Memory]) -> None:
        assert array.memory is not None
        if array.memory in free:
            free.remove(array.memory)
        held[array.memory] = node
        self.places[node].array = array

    def _again(self, node: Node, memories: Collection[Memory], among: bool) -> Array | None:
        """An array that held the result of such a node in an earlier loop, if it is among these, or not among them."""
        for array in self.alike.get(self._role(node), ()) if self.thrifty and not self.places[node].zeroed else ():
            if (array.memory in memories) == among:
                array.nodes.append(node)
                return array
        return None

    def _new(self, node: Node, memory: Memory | None) -> Array:
        """An array in memory that is free, or in memory of its own."""
        array = self._array(node, memory if memory and self.thrifty else Memory(node.dtype, self._size(node)))
        self.alike.setdefault(self._role(node), []).append(array)
        return array

    def _role(self, node: Node) -> Any:
        """What is equal for results that may have one name, such as the dz of two layers."""
        place, what = self.places[node], (node.primitive, node.name, node.backward_of)
        return place.kind, place.first, place.rows, node.shape, node.dtype, *what

    def _size(self, node: Node) -> int:
        place = self.places[node]
        return math.prod(node.shape) * (place.rows if place.timed else 1)

    def _over(self, node: Node, held: Mapping[Memory, Node]) -> Array | None:
        """The array of an operand that is read here for the last time, entry by entry."""
        place, reads = self.places[node], [a for a in node.args if type(a) is Read]
        if not self.thrifty or not is_elementwise(node) or node.initials:
            return None
        for ref in sorted(reads, key=lambda a: -self.part_of[a.node]):  # the youngest: it is still in the cache
            other, there = ref.node, self.places[ref.node]
            array = there.array
            if array is None or array.memory is None or held.get(array.memory) is not other:
                continue
            if (there.first, there.rows, other.shape, other.dtype) != (place.first, place.rows, node.shape, node.dtype):
                continue
            if self._may_overwrite(node, ref) and self._dies(other, node):
                if node.primitive is total:  # a sum starts with the term that it overwrites
                    node.args.remove(ref)
                    node.args.insert(0, ref)
                if (node.backward_of is None) != (array.nodes[0].backward_of is None):
                    return self._new(node, array.memory)  # under a name of its own: it is no activation any more
                array.nodes.append(node)
                return array
        return None

    def _dies(self, other: Node, node: Node) -> bool:
        """Whether an operand is not read after this node; a buffer is one of the same loop, all else is older."""
        together = self.part_of[other] == self.part_of[node]
        last = self.last[other] <= (self.part_of[node], self.position[node])
        return last and together == (self.places[node].kind == BUFFER) and not other.initials

    def _may_overwrite(self, node: Node, ref: Read) -> bool:
        """Whether writing the result over this operand hurts no other operand."""
        if ref.node.rolled != node.rolled or (node.rolled and ref.delay != 0):
            return False
        if node.primitive is ops.where and ref is not node.args[2]:
            return False
        if any(type(a) is Read and a.span is not None for a in node.args):
            return False
        base = self.base(ref.node)
        at = next(i for i, a in enumerate(node.args) if a is ref)  # the same Read may stand there twice: x + x
        others = [a for i, a in enumerate(node.args) if type(a) is Read and i != at and self.base(a.node) is base]
        if node.primitive is ops.where or len(node.args) > 2:
            return not others  # these read an operand again after they began to write
        return all(a == ref for a in others)


def _stays_contiguous(node: Node, base: Place) -> bool:
    """Whether a view of contiguous memory is contiguous too."""
    ref = node.args[0]
    if node.rolled and ref.delay is None and not any(slope for slope, _ in node.numbers):
        return False  # repeated for all steps
    if ref.span is not None and ref.span[0] > ref.span[1]:
        return False
    key = node.params.get("key")
    return base.contiguous and (
        node.primitive in (ops.reshape, ops.expand_dims, ops.stack)
        or (node.primitive is getitem_p and node.rolled and ref.delay is None and type(key) is int)
        or (node.primitive is getitem_p and not node.rolled and type(key) is slice and key.step in (None, 1))
    )
