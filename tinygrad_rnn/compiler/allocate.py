"""Allocate: where each result lives.

Results that outlive their step get one array with time first, a *slab*, with extra rows for initial
values; what is used up within its step gets one buffer for all steps. All of them are allocated once
per compiled program, so a call allocates nothing but the gradients it returns. Memory is handed on:
an elementwise operation writes over an operand that nobody reads any more, and a dead slab's memory
serves the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import ops
from ..ops.indexing import getitem_p
from .forms import is_elementwise, is_view, writes_out
from .ir import Loop, Node, Part, Program, Read
from .lifts import once
from .operations import total
from .statements import Array, Memory

INPUT, CONSTANT, VIEW, SLAB, ARRAY, BUFFER, FRESH = "input", "constant", "view", "slab", "array", "buffer", "fresh"

WORTH_SHARING = 4096
"""Entries; less memory than this is not worth a line that says whose it was."""


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
        self.part_of: dict[Node, int] = {}
        self.position: dict[Node, int] = {}
        self.loop_of: dict[Node, Loop] = {}
        for i, part in enumerate(schedule):
            for j, node in enumerate(part.nodes if isinstance(part, Loop) else [part]):
                self.part_of[node], self.position[node] = i, j
                if isinstance(part, Loop):
                    self.loop_of[node] = part
        self.readers: dict[Node, list[tuple[Node, Read]]] = {node: [] for node in self.part_of}
        for node in self.part_of:
            for a in node.args:
                if type(a) is Read:
                    self.readers[a.node].append((node, a))
        self.results = {ref.node for ref in results if ref.at is None}
        self.returned = {ref.node for ref in results}
        self.death = dict.fromkeys(self.part_of, -1)
        self.places: dict[Node, Place] = {}
        self.alike: dict[Any, list[Array]] = {}  # arrays that held the same for another loop, such as the layer above
        self.showing: set[Node] = set()
        self.shown = self._shown_rows()
        for node in self.part_of:
            self.places[node] = self._kind(node)
        self._lifetimes()
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
            reader.primitive is ops.matmul and reader in self.loop_of for reader, _ in self.readers[node]
        )

    def _needs_rows(self, node: Node) -> bool:
        """Whether more than the current step's result is read, or it is read outside the loop."""
        loop = self.loop_of[node]
        delayed = False
        for reader, ref in self.readers[node]:
            if self.loop_of.get(reader) is not loop or ref.delay is None:
                return True
            if ref.delay != 0:
                delayed = True
                if abs(ref.delay) != 1 or self.position[reader] >= self.position[node]:
                    return True
        if node in self.returned or any(node in {r.node for r in u.initials.values() if r} for u in self.part_of):
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

    def _lifetimes(self) -> None:
        end = len(self.schedule)
        for node, part in self.part_of.items():
            for ref in node.reads:
                base = self.base(ref.node)
                self.death[base] = max(self.death[base], part)
        for node in self.returned:
            self.death[self.base(node)] = end
        for node in self.part_of:  # a view is read where its readers are
            if self.places[node].kind == VIEW:
                base = self.base(node)
                for reader, _ in self.readers[node]:
                    self.death[base] = max(self.death[base], self.part_of[reader])

    # ------------------------------------------------------------------ memory
    def _memory(self) -> None:
        free: list[Memory] = []
        occupied: dict[Memory, Node] = {}
        for i, part in enumerate(self.schedule):
            nodes = part.nodes if isinstance(part, Loop) else [part]
            for node in nodes:
                if self.places[node].kind in (SLAB, ARRAY):
                    array = self._again(node, free.__contains__) or self._over(node, occupied, self._dies_in(i, node))
                    array = array or self._new(node, self._fitting(node, free))
                    assert array.memory is not None
                    if array.memory in free:
                        free.remove(array.memory)
                    occupied[array.memory] = node
                    self.places[node].array = array
            if isinstance(part, Loop):
                self._buffers(part)
            for memory, node in list(occupied.items()):
                if self.death[node] <= i:
                    del occupied[memory]
                    if not self.places[node].zeroed:
                        free.append(memory)

    def _again(self, node: Node, usable: Callable[[Memory], bool]) -> Array | None:
        """An array that held the result of such a node in an earlier loop, if nothing lives there now."""
        for array in self.alike.get(self._role(node), ()) if self.thrifty and not self.places[node].zeroed else ():
            if array.memory is not None and usable(array.memory):
                array.nodes.append(node)
                return array
        return None

    def _new(self, node: Node, memory: Memory) -> Array:
        array = self._array(node, memory)
        self.alike.setdefault(self._role(node), []).append(array)
        return array

    def _role(self, node: Node) -> Any:
        """What is equal for results that may have one name, such as the dz of two layers."""
        place, what = self.places[node], (node.primitive, node.name, node.backward_of)
        return place.kind, place.first, place.rows, node.shape, node.dtype, *what

    def _size(self, node: Node) -> int:
        place = self.places[node]
        return math.prod(node.shape) * (place.rows if place.timed else 1)

    def _fitting(self, node: Node, free: list[Memory]) -> Memory:
        size = self._size(node)
        fitting = [m for m in free if m.dtype == node.dtype and self.least <= size <= m.size <= 2 * size]
        if fitting and self.thrifty:
            best = min(fitting, key=lambda m: m.size)
            free.remove(best)
            return best
        return Memory(node.dtype, size)

    def _over(self, node: Node, held: dict[Memory, Node], dies: Callable[[Read], bool]) -> Array | None:
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
            if self._may_overwrite(node, ref) and dies(ref):
                _put_first(node, ref)
                if (node.backward_of is None) != (array.nodes[0].backward_of is None):
                    return self._new(node, array.memory)  # under a name of its own: it is no activation any more
                array.nodes.append(node)
                return array
        return None

    def _dies_in(self, part: int, node: Node) -> Callable[[Read], bool]:
        """Whether an operand, of an earlier part, is not read after this node."""

        def dies(ref: Read) -> bool:
            other = ref.node
            if self.death[other] > part or other.initials or self.part_of[other] == part:
                return False
            return not any(
                self.position[reader] > self.position[node] or read.delay != (0 if other.rolled else None)
                for reader, read in self._readers_in_part(other, part)
            )

        return dies

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

    def _readers_in_part(self, node: Node, part: int) -> list[tuple[Node, Read]]:
        found = []
        for reader, ref in self.readers[node]:
            if self.part_of[reader] == part:
                found.append((reader, ref))
            if self.places[reader].kind == VIEW:
                found.extend(self._readers_in_part(reader, part))
        return found

    def _buffers(self, loop: Loop) -> None:
        """One buffer for each result that is used up within its step; dead ones are reused."""
        last: dict[Node, int] = {}
        for node in loop.nodes:
            if self.places[node].kind == BUFFER:
                last[node] = self._last_use(node, loop)
        free: list[Memory] = []
        busy: dict[Memory, Node] = {}
        for j, node in enumerate(loop.nodes):
            place = self.places[node]
            for memory, holder in list(busy.items()):
                if last[holder] < j:
                    del busy[memory]
                    free.append(memory)
            if place.kind != BUFFER:
                continue
            keeps = last[node] == len(loop.nodes)  # the next step reads it: nothing else may live there

            def dies(ref: Read, j: int = j) -> bool:
                return last.get(ref.node) == j

            taken = None if keeps else self._over(node, busy, dies)
            if taken is None:

                def usable(memory: Memory, keeps: bool = keeps) -> bool:
                    return memory not in busy and not (keeps and memory in free)

                size = math.prod(node.shape)
                fitting = [m for m in free if m.dtype == node.dtype and m.size == size and self.thrifty and not keeps]
                taken = self._again(node, usable) or self._new(node, (fitting or [Memory(node.dtype, size)])[0])
            assert taken.memory is not None
            if taken.memory in free:
                free.remove(taken.memory)
            busy[taken.memory] = node
            place.array = taken

    def _last_use(self, node: Node, loop: Loop) -> int:
        """The position of the last reader within a step; the end if the next step reads it too."""
        last = -1
        stack = [node]
        while stack:
            for reader, ref in self.readers[stack.pop()]:
                if ref.delay != 0:
                    return len(loop.nodes)
                last = max(last, self.position[reader])
                if self.places[reader].kind == VIEW:
                    stack.append(reader)
        return last


def _put_first(node: Node, ref: Read) -> None:
    """A sum starts with the term that it overwrites."""
    if node.primitive is total:
        node.args.remove(ref)
        node.args.insert(0, ref)


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
