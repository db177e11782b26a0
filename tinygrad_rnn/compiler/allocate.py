"""Allocate: where each result lives.

Results that outlive their step get one array with time first, a *slab*, with extra rows for initial
values; what is used up within its step gets one buffer for all steps. All of them are allocated once
per compiled program, so a call allocates nothing but the gradients it returns. Memory is handed on:
an elementwise operation writes over an operand that nobody reads any more, and a dead slab's memory
serves the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .distribute import Loop, Part
from .operations import total
from .reroll import Ref, Unit
from .rules import is_elementwise, is_view, once, tiles, writes_out

INPUT, CONSTANT, VIEW, SLAB, ARRAY, BUFFER, FRESH, OUTPUT, PART = (
    "input",
    "constant",
    "view",
    "slab",
    "array",
    "buffer",
    "fresh",
    "output",
    "part",
)


_WORTH_SHARING = 4096  # entries; less memory than this is not worth a line that says whose it was


@dataclass(eq=False)
class Memory:
    """One allocation and the units that live in it, one after another."""

    dtype: np.dtype
    size: int
    units: list[Unit] = field(default_factory=list)


@dataclass
class Place:
    """Where a unit's result lives.

    Attributes:
        kind: an INPUT, a CONSTANT, a VIEW of its operand, a SLAB with time first, an ARRAY, a BUFFER for one
            step, a FRESH array that an expression makes, an OUTPUT, which the caller will own, or a PART of the
            slab of the scatter that alone reads it: dz[t] is written gate by gate.
        timed: whether it holds all steps, time first.
        first, rows: of a slab: the step of its first row, and how many there are.
        memory: the allocation behind a slab, an array or a buffer.
        over: the operand that it is written over.
        static: whether it is the same memory in every call.
        contiguous: whether it is laid out without gaps.
    """

    kind: str
    timed: bool
    first: int = 0
    rows: int = 0
    memory: Memory | None = None
    over: Unit | None = None
    static: bool = False
    contiguous: bool = True


def allocate(schedule: Sequence[Part], results: Sequence[Ref]) -> dict[Unit, Place]:
    """Decide where every unit of the schedule lives."""
    return _Allocator(schedule, results).places


class _Allocator:
    def __init__(self, schedule: Sequence[Part], results: Sequence[Ref]) -> None:
        self.schedule = schedule
        self.part_of: dict[Unit, int] = {}
        self.position: dict[Unit, int] = {}
        self.loop_of: dict[Unit, Loop] = {}
        for i, part in enumerate(schedule):
            for j, unit in enumerate(part.units if isinstance(part, Loop) else [part]):
                self.part_of[unit], self.position[unit] = i, j
                if isinstance(part, Loop):
                    self.loop_of[unit] = part
        self.readers: dict[Unit, list[tuple[Unit, Ref]]] = {unit: [] for unit in self.part_of}
        for unit in self.part_of:
            for a in unit.args:
                if type(a) is Ref:
                    self.readers[a.unit].append((unit, a))
        self.results = {ref.unit for ref in results if ref.at is None}
        self.returned = {ref.unit for ref in results}
        self.death = dict.fromkeys(self.part_of, -1)
        self.places: dict[Unit, Place] = {}
        self.showing: set[Unit] = set()
        self.shown = self._shown_rows()
        for unit in self.part_of:
            self.places[unit] = self._kind(unit)
        for unit in self.loop_of:
            if self.places[unit].kind == BUFFER and self._scattered(unit):
                self.places[unit] = Place(PART, True, unit.lo, unit.hi - unit.lo + 1, static=True, contiguous=False)
        self._lifetimes()
        self._memory()

    def _shown_rows(self) -> set[Unit]:
        """Results of which a view is kept for all steps: they get a slab, and the view, one of `showing`, shows it."""
        shown: set[Unit] = set()
        for unit in reversed(list(self.loop_of)):
            if is_view(unit) and once(unit) and not unit.initials and (unit in shown or self._needs_rows(unit)):
                ref = unit.args[0]
                source = ref.unit
                together = ref.delay == 0 and self.loop_of.get(source) is self.loop_of[unit]
                if together and unit.operation in ("getitem", "expand_dims", "transpose"):
                    self.showing.add(unit)
                    shown.update((unit, source))
        return shown

    # ------------------------------------------------------------------ kinds
    def _kind(self, unit: Unit) -> Place:
        if unit.primitive is None:
            constant = unit.op.value is not None or unit.table is not None
            return Place(CONSTANT if constant else INPUT, unit.rolled, unit.lo, unit.hi - unit.lo + 1, static=constant)
        first, last = min([unit.lo, *unit.initials]), max([unit.hi, *unit.initials])
        if not unit.rolled:
            if is_view(unit) and self._worth_copying(unit):
                return Place(ARRAY, False, static=True)
            if is_view(unit):
                base = self.places[unit.args[0].unit]
                same = unit.primitive.name == "reshape" and not base.contiguous
                return Place(
                    FRESH if same else VIEW,
                    False,
                    static=base.static and not same,
                    contiguous=_stays_contiguous(unit, base),
                )
            if not writes_out(unit) or not unit.shape:
                return Place(FRESH, False)
            return Place(OUTPUT if unit in self.results else ARRAY, False, static=unit not in self.results)
        slab = Place(SLAB, True, first, last - first + 1, static=True)
        if unit not in self.loop_of:
            if unit.initials:
                return slab
            if is_view(unit):
                base = self.places[unit.args[0].unit]
                copies = unit.primitive.name == "reshape" and not base.contiguous
                keeps = _stays_contiguous(unit, base)
                return Place(
                    FRESH if copies else VIEW,
                    True,
                    first,
                    last - first + 1,
                    static=base.static and not copies,
                    contiguous=keeps,
                )
            return slab if writes_out(unit) else Place(FRESH, True, first, last - first + 1)
        if unit in self.showing:
            return Place(VIEW, True, unit.lo, unit.hi - unit.lo + 1, static=True, contiguous=False)
        if unit in self.shown or self._needs_rows(unit):
            return slab
        if is_view(unit):
            return Place(VIEW, False, contiguous=False)
        return Place(BUFFER, False, static=True) if writes_out(unit) else Place(FRESH, False)

    def _worth_copying(self, unit: Unit) -> bool:
        """Whether it is a transposed weight that a loop multiplies by: contiguous, that is up to twice as fast."""
        return unit.operation == "transpose" and any(
            reader.operation == "matmul" and reader in self.loop_of for reader, _ in self.readers[unit]
        )

    def _needs_rows(self, unit: Unit) -> bool:
        """Whether more than the current step's result is read, or it is read outside the loop."""
        loop = self.loop_of[unit]
        delayed = False
        for reader, ref in self.readers[unit]:
            if self.loop_of.get(reader) is not loop or ref.delay is None:
                return True
            if ref.delay != 0:
                delayed = True
                if abs(ref.delay) != 1 or self.position[reader] >= self.position[unit]:
                    return True
        if unit in self.returned or any(unit in {r.unit for r in u.initials.values() if r} for u in self.part_of):
            return True
        if delayed:
            edge = unit.hi + 1 if loop.reverse else unit.lo - 1
            return is_view(unit) or not writes_out(unit) or bool(set(unit.initials) - {edge})
        return bool(unit.initials)

    def _scattered(self, unit: Unit) -> bool:
        """Whether it is only put into its own part of a slab, which no other part touches."""
        if len(self.readers[unit]) != 1 or unit.initials:
            return False
        reader, ref = self.readers[unit][0]
        return (
            reader.operation == "scatter"
            and ref.delay == 0
            and self.loop_of.get(reader) is self.loop_of[unit]
            and self.places[reader].kind == SLAB
            and (unit.lo, unit.hi, unit.dtype) == (reader.lo, reader.hi, reader.dtype)
            and tiles(reader)
            and np.empty(reader.shape, np.int8)[reader.params["parts"][reader.args.index(ref)][0]].shape == unit.shape
        )

    # ------------------------------------------------------------------ lifetimes
    def base(self, unit: Unit) -> Unit:
        """The unit whose memory a view shows."""
        while self.places[unit].kind == VIEW:
            unit = unit.args[0].unit
        return unit

    def _lifetimes(self) -> None:
        end = len(self.schedule)
        for unit, part in self.part_of.items():
            for ref in unit.refs:
                base = self.base(ref.unit)
                self.death[base] = max(self.death[base], part)
        for unit in self.returned:
            self.death[self.base(unit)] = end
        for unit in self.part_of:  # a view is read where its readers are
            if self.places[unit].kind == VIEW:
                base = self.base(unit)
                for reader, _ in self.readers[unit]:
                    self.death[base] = max(self.death[base], self.part_of[reader])

    # ------------------------------------------------------------------ memory
    def _memory(self) -> None:
        free: list[Memory] = []
        occupied: dict[Memory, Unit] = {}
        for i, part in enumerate(self.schedule):
            units = part.units if isinstance(part, Loop) else [part]
            for unit in units:
                if self.places[unit].kind in (SLAB, ARRAY):
                    memory = self._taken_over(unit, i, occupied) or self._fitting(unit, free)
                    memory.units.append(unit)
                    occupied[memory] = unit
                    self.places[unit].memory = memory
            if isinstance(part, Loop):
                self._buffers(part)
            for memory, unit in list(occupied.items()):
                if self.death[unit] <= i:
                    del occupied[memory]
                    free.append(memory)

    def _size(self, unit: Unit) -> int:
        place = self.places[unit]
        return math.prod(unit.shape) * (place.rows if place.timed else 1)

    def _fitting(self, unit: Unit, free: list[Memory]) -> Memory:
        size = self._size(unit)
        fitting = [m for m in free if m.dtype == unit.dtype and _WORTH_SHARING <= size <= m.size <= 2 * size]
        if fitting:
            best = min(fitting, key=lambda m: m.size)
            free.remove(best)
            return best
        return Memory(unit.dtype, size)

    def _taken_over(self, unit: Unit, part: int, occupied: dict[Memory, Unit]) -> Memory | None:
        """The memory of an operand that is read here for the last time, entry by entry."""
        place = self.places[unit]
        if not is_elementwise(unit) or unit.initials:
            return None
        for ref in unit.args:
            if type(ref) is not Ref or not self._may_overwrite(unit, ref):
                continue
            other, there = ref.unit, self.places[ref.unit]
            if there.memory is None or occupied.get(there.memory) is not other or self.death[other] > part:
                continue
            if (there.first, there.rows, other.shape, other.dtype) != (place.first, place.rows, unit.shape, unit.dtype):
                continue
            if other.initials or self.part_of[other] == part:
                continue
            late = [
                reader
                for reader in self._readers_in_part(other, part)
                if self.position[reader[0]] > self.position[unit] or reader[1].delay != (0 if other.rolled else None)
            ]
            if not late:
                _put_first(unit, ref)
                place.over = other
                return there.memory
        return None

    def _may_overwrite(self, unit: Unit, ref: Ref) -> bool:
        """Whether writing the result over this operand hurts no other operand."""
        if ref.unit.rolled != unit.rolled or (unit.rolled and ref.delay != 0):
            return False
        if unit.primitive is not None and unit.primitive.name == "where" and ref is not unit.args[2]:
            return False
        if any(type(a) is Ref and a.span is not None for a in unit.args):
            return False
        base = self.base(ref.unit)
        at = next(i for i, a in enumerate(unit.args) if a is ref)  # the same Ref may stand there twice: x + x
        others = [a for i, a in enumerate(unit.args) if type(a) is Ref and i != at and self.base(a.unit) is base]
        if unit.primitive is not None and (unit.primitive.name == "where" or len(unit.args) > 2):
            return not others  # these read an operand again after they began to write
        return all(a == ref for a in others)

    def _readers_in_part(self, unit: Unit, part: int) -> list[tuple[Unit, Ref]]:
        found = []
        for reader, ref in self.readers[unit]:
            if self.part_of[reader] == part:
                found.append((reader, ref))
            if self.places[reader].kind == VIEW:
                found.extend(self._readers_in_part(reader, part))
        return found

    def _buffers(self, loop: Loop) -> None:
        """One buffer for each result that is used up within its step; dead ones are reused."""
        last: dict[Unit, int] = {}
        for unit in loop.units:
            if self.places[unit].kind == BUFFER:
                last[unit] = self._last_use(unit, loop)
        free: list[Memory] = []
        busy: dict[Memory, Unit] = {}
        for j, unit in enumerate(loop.units):
            place = self.places[unit]
            for memory, holder in list(busy.items()):
                if last[holder] < j:
                    del busy[memory]
                    free.append(memory)
            if place.kind != BUFFER:
                continue
            taken: Memory | None = None
            if last[unit] < len(loop.units) and is_elementwise(unit):
                for ref in unit.args:
                    if type(ref) is Ref and self._may_overwrite(unit, ref):
                        there = self.places[ref.unit].memory
                        same = (ref.unit.shape, ref.unit.dtype) == (unit.shape, unit.dtype)
                        if same and there in busy and busy[there] is ref.unit and last[ref.unit] == j:
                            taken = there
                            place.over = ref.unit
                            _put_first(unit, ref)
                            break
            if taken is None:
                size = math.prod(unit.shape)
                keeps = last[unit] == len(loop.units)  # the next step reads it: nothing else may live there
                fitting = [m for m in free if m.dtype == unit.dtype and m.size == size and not keeps]
                taken = fitting[0] if fitting else Memory(unit.dtype, size)
                if fitting:
                    free.remove(taken)
            taken.units.append(unit)
            busy[taken] = unit
            place.memory = taken

    def _last_use(self, unit: Unit, loop: Loop) -> int:
        """The position of the last reader within a step; the end if the next step reads it too."""
        last = -1
        stack = [unit]
        while stack:
            for reader, ref in self.readers[stack.pop()]:
                if ref.delay != 0:
                    return len(loop.units)
                last = max(last, self.position[reader])
                if self.places[reader].kind == VIEW:
                    stack.append(reader)
        return last


def _put_first(unit: Unit, ref: Ref) -> None:
    """A sum starts with the term that it overwrites."""
    if unit.primitive is total:
        unit.args.remove(ref)
        unit.args.insert(0, ref)


def _stays_contiguous(unit: Unit, base: Place) -> bool:
    """Whether a view of contiguous memory is contiguous too."""
    ref = unit.args[0]
    if ref.span is not None and ref.span[0] > ref.span[1]:
        return False
    return (
        base.contiguous
        and unit.primitive is not None
        and (
            unit.primitive.name in ("reshape", "expand_dims", "stack")
            or (
                unit.primitive.name == "getitem"
                and unit.rolled
                and ref.delay is None
                and unit.params["key"].__class__ is int
            )
        )
    )
