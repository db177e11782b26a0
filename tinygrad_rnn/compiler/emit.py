"""Emit: write the scheduled program down as NumPy source, and make it run.

The source is one function, `program()`, which allocates the buffers and returns `step`, which computes
the loss and the gradients. Inside a loop, `h[t]` is row t of the slab `h_all`, and `h[-1]` its initial
value: the list of rows is made once, because indexing a list costs a fifth of indexing an array. The source
imports what it uses, so it runs by itself; constants too long to read are parameters of `program`.
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.primitive import primitives
from ..core.tensor import Array
from ..escape import comment, identifier
from . import rules
from .allocate import ARRAY, BUFFER, CONSTANT, FRESH, OUTPUT, PART, SLAB, VIEW, Memory, Place
from .distribute import Loop, Part
from .operations import total
from .reroll import Ref, Unit
from .rules import Operand
from .threads import SMALL
from .vocabulary import NUMPY, called, imports, is_given, literal, parameter, uniform, words


class Source:
    """The text of a program, and what it cannot hold.

    Attributes:
        text: Python that runs by itself.
        constants: the arguments of its function `program`: long arrays, and functions of a user's own primitives.
        drawn: for each drawing of random numbers where they go: the constant, and its row if it has one for each step.
        small: whether all its matrix products are too small to share between threads.
    """

    def __init__(
        self, text: str, constants: dict[str, Any], drawn: dict[int, list[tuple[str, Any]]], small: bool
    ) -> None:
        self.text, self.constants, self.drawn, self.small = text, constants, drawn, small

    def make(self, random: Mapping[str, Array]) -> Callable[..., Any]:
        """Allocate the buffers; returns `step(inputs...) -> (loss, gradients...)`, which one thread may run.

        Args:
            random: arrays of its own for the constants that random numbers are written into.
        """
        file = f"<compiled {abs(hash(self.text)):x}>"
        linecache.cache[file] = (len(self.text), None, self.text.splitlines(True), file)
        names: dict[str, Any] = {}
        exec(compile(self.text, file, "exec"), names)
        return names["program"](**{**self.constants, **random})


def emit(schedule: Sequence[Part], results: Sequence[Ref], inputs: Sequence[Unit], places: dict[Unit, Place]) -> Source:
    """Write the program down."""
    return _Writer(schedule, results, inputs, places).source()


class _Writer:
    def __init__(
        self, schedule: Sequence[Part], results: Sequence[Ref], inputs: Sequence[Unit], places: dict[Unit, Place]
    ) -> None:
        self.schedule, self.results, self.inputs, self.places = schedule, results, inputs, places
        self.setup: list[tuple[str, str]] = []
        self.body: list[tuple[str, str]] = []
        self.constants: dict[str, Any] = {}
        self.drawn: dict[int, list[tuple[str, Any]]] = {}
        self.spelled: list[tuple[str, Any]] = []  # parameters of primitives that have no text
        self.literals: dict[str, str] = {}  # the text of those that are short enough to read
        self.uniform: dict[Unit, Any] = {}  # the number that all entries of a constant are
        self.primitives = {unit.primitive for unit in walk(schedule) if unit.primitive is not None}
        self.used: set[str] = {
            *("t", "program", "step", "list", "range", "reversed", "float", "OneThread", "one_thread", "ops", "picked"),
            *NUMPY,
            *primitives,
            *(called(p) for p in self.primitives),
        }
        self.names: dict[Unit, str] = {}
        self.slabs: dict[Unit, str] = {}  # text of the array with time first
        self.gradients = {ref.unit for ref in results[1:]}
        self.small = all(_flops(unit) * _steps_at_once(unit, schedule) < SMALL for unit in walk(schedule))
        self.returned = {ref.unit for ref in results}
        self.in_loops = {unit for part in schedule if isinstance(part, Loop) for unit in part.units}
        self.readers: dict[Unit, list[Unit]] = {}
        for unit in walk(schedule):
            for ref in unit.refs:
                self.readers.setdefault(ref.unit, []).append(unit)
        self.arrays: set[Unit] = set()
        self.lists: dict[Unit, str] = {}  # name of the list of its rows
        self.memory: dict[Memory, tuple[str, tuple[int, ...]]] = {}
        self.next = {place.over: unit for unit, place in places.items() if place.over is not None}

    # ------------------------------------------------------------------ the whole
    def source(self) -> Source:
        for unit in self.inputs:
            self.names[unit] = self.slabs[unit] = self._unique(_title(unit) or "x")
        for part in self.schedule:
            if isinstance(part, Loop):
                self._loop(part)
            else:
                self._once(part)
        returned = self._returned()
        text = self._text(returned)
        return Source(text, self.constants, self.drawn, self.small)

    def _text(self, returned: str) -> str:
        lines = [*self.setup, ("", "")]
        arguments = ", ".join(self.names[unit] for unit in self.inputs)
        lines.append((f"def step({arguments}):", ""))
        lines += [(f"    {code}" if code else "", note) for code, note in self.body]
        lines += [(f"    return {returned}", ""), ("", ""), ("return step", "")]
        lines = self._constants(words("\n".join(code for code, _ in lines))) + lines
        head = "\n".join(imports("\n".join(code for code, _ in lines), self.primitives))
        body = "\n".join(_commented(f"    {code}" if code else "", note) for code, note in lines)
        return f"{head}\n\n\ndef program({', '.join(self.constants)}):\n{body}\n"

    def _constants(self, read: set[str]) -> list[tuple[str, str]]:
        """The lines of the constants that the program reads; what they cannot hold becomes its parameters."""
        own = {called(p): p.function for p in self.primitives if is_given(p)}
        self.constants = {name: value for name, value in {**self.constants, **own}.items() if name in read}
        given = [self._given(name) for name in self.constants]
        return [*given, *((f"{name} = {text}", "") for name, text in self.literals.items() if name in read)]

    def _given(self, name: str) -> tuple[str, str]:
        """A comment for a parameter of `program`: what it is and where it is found."""
        value = self.constants[name]
        if any(name == other for places in self.drawn.values() for other, _ in places):
            return f"# {name}: {value.shape} of {value.dtype}, random numbers, which are drawn anew for every call", ""
        own = any(value is p.function for p in self.primitives)
        what = "the function of a primitive" if own else f"of type {type(value).__name__}"
        what = f"{value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else what
        return f"# {name}: {what}, as it was when compiled: step.program.source.constants[{name!r}]", ""

    def _returned(self) -> str:
        texts, seen = [], set()
        for ref in self.results:
            place = self.places[ref.unit]
            text = self._read(ref)
            fresh = place.kind in (OUTPUT, FRESH) and ref.at is None
            if not fresh or ref in seen:
                text = f"{text}.copy()"
            seen.add(ref)
            texts.append(text)
        return ", ".join(texts) + ("," if len(texts) == 1 else "")

    # ------------------------------------------------------------------ names
    def _unique(self, wanted: str) -> str:
        base = identifier(wanted)
        name, n = base, 2
        while name in self.used:
            name, n = f"{base}_{n}" if base[-1].isdigit() else f"{base}{n}", n + 1
        self.used.add(name)
        return name

    def _name(self, unit: Unit) -> str:
        if unit not in self.names:
            self.names[unit] = self._unique(_title(unit) or self._described(unit))
        return self.names[unit]

    def _namesake(self, unit: Unit) -> Unit:
        """Of the results written over each other, the one that gives this one its name: z += b is still z."""
        after = unit
        while _title(after) is None and after in self.next:
            after = self.next[after]
        before = unit
        while _title(after) is None and _title(before) is None and (over := self.places[before].over) is not None:
            before = over
        return before if _title(after) is None else after

    def _described(self, unit: Unit) -> str:
        """A name for what has none, from its operation and operands."""
        p = unit.primitive
        if p is None:
            plain = "table" if unit.rolled else "constant"
            return "mask" if unit.drawings else "filled" if unit in self.uniform else plain
        word = _SHORT.get(p.name, p.name)
        operands = [self.names.get(a.unit) or _title(a.unit) or "x" for a in unit.args if type(a) is Ref]
        first = operands[0] if operands else "x"
        if p.name in ("transpose", "swapaxes"):
            return f"{first}_T"
        if p is total:
            return f"{first}_sum"
        if p.name == "matmul" and len(operands) == 2 and len("".join(operands)) < 12:
            return f"{operands[0]}_{operands[1]}"
        of = unit.op.backward_of
        if of is not None:
            title = of.name
            what = of.primitive.name if of.primitive else "x"
            return f"d{title or _SHORT.get(what, what)}_{word}"
        return f"{first}_{word}" if len(first) < 10 else word

    # ------------------------------------------------------------------ reading
    def _read(self, ref: Any, unit: Unit | None = None) -> str:
        """An operand as text: for one step inside a loop, or for all steps of `unit` at once."""
        if type(ref) is not Ref:
            return _scalar(ref)
        other = ref.unit
        if ref.span is not None:
            first, last = ref.span
            if first <= last:
                return self._slice(other, first, last)
            return f"{self._slice(other, last, first)}[::-1]"
        if ref.at is not None:
            return self._row(other, ref.at)
        if ref.delay is None:
            return self.names[other]
        if unit is not None:
            return self._slice(other, unit.lo - ref.delay, unit.hi - ref.delay)
        if other in self.lists:
            return f"{self.lists[other]}[{rules.affine(1, -ref.delay, 't')}]"
        return self.names[other]

    def _row(self, unit: Unit, step: int) -> str:
        return f"{self.slabs[unit]}[{step - self.places[unit].first}{'' if unit.shape else ', ...'}]"

    def _slice(self, unit: Unit, first: int, last: int) -> str:
        place, text = self.places[unit], self.slabs[unit]
        start, stop = first - place.first, last + 1 - place.first
        if (start, stop) == (0, place.rows):
            return text
        return f"{text}[{start or ''}:{'' if stop == place.rows else stop}]"

    def _operands(self, unit: Unit, at_once: bool) -> list[Operand]:
        found = []
        for a in unit.args:
            timed = type(a) is Ref and (a.span is not None or (at_once and a.delay is not None))
            shape = () if type(a) is not Ref else a.unit.shape
            if type(a) is Ref and a.span is not None:
                shape = (abs(a.span[1] - a.span[0]) + 1, *shape)
            if self._is_number(a, unit):
                found.append(Operand(_scalar(self.uniform[a.unit]), (), False))
            else:
                found.append(Operand(self._read(a, unit if at_once else None), shape, timed))
        return found

    def _is_number(self, a: Any, unit: Unit) -> bool:
        """Whether an operand may be written as its only number: another one gives the result shape and dtype."""
        like = (unit.shape, unit.dtype)
        return (
            type(a) is Ref
            and a.unit in self.uniform
            and unit.primitive is not None
            and unit.primitive.is_ufunc
            and rules.is_elementwise(unit)
            and a.unit.dtype == unit.dtype
            and unit.dtype.kind == "f"
            and any(
                type(b) is Ref and b.unit not in self.uniform and (b.unit.shape, b.unit.dtype) == like
                for b in unit.args
            )
        )

    # ------------------------------------------------------------------ memory
    def _array(self, unit: Unit) -> None:
        """Give a unit with memory its array, in the setup."""
        if unit in self.arrays:
            return
        place = self.places[unit]
        namesake = self._namesake(unit)
        name = self._name(namesake)
        if namesake is not unit:
            self.names[unit] = name
            if namesake in self.arrays:
                self.arrays.add(unit)
                for known in (self.slabs, self.lists):
                    if namesake in known:
                        known[unit] = known[namesake]
                return
        shape = (place.rows, *unit.shape) if place.timed else unit.shape
        if place.timed:
            name = self._unique(f"{name}_all")
            self.slabs[unit] = self.slabs[namesake] = name
        self.arrays.update((unit, namesake))
        assert place.memory is not None
        held = self.memory.get(place.memory)
        if held is None:
            self.setup.append((f"{name} = empty({_shape(shape)}, '{_dtype(unit)}')", self._storage_note(unit, place)))
            self.memory[place.memory] = name, shape
        elif held[1] == shape:
            self.setup.append((f"{name} = {held[0]}", "in the same memory"))
        else:
            size = math.prod(shape)
            flat = f"{held[0]}.reshape(-1)" + ("" if size == place.memory.size else f"[:{size}]")
            self.setup.append((f"{name} = {flat}.reshape({_shape(shape)})", "in the same memory"))

    def _storage_note(self, unit: Unit, place: Place) -> str:
        if place.kind == BUFFER:
            return "one step"
        if not place.timed:
            return ""
        before, after = unit.lo - place.first, place.first + place.rows - 1 - unit.hi
        extra = " and the initial value" if before or after else ""
        return f"all steps{extra}"

    def _rows(self, unit: Unit, lines: list[tuple[str, str]]) -> None:
        """Make the list of rows that a loop reads or writes."""
        namesake = self._namesake(unit) if self.places[unit].memory is not None else unit
        if unit not in self.lists and namesake in self.lists:
            self.lists[unit] = self.lists[namesake]
        if unit not in self.lists:
            name = self._name(unit)
            if self.names[unit] == self.slabs.get(unit):
                name = self._unique(f"{name}_t")
            self.lists[unit] = self.lists[namesake] = name
            lines.append((f"{name} = {_list(self.slabs[unit], self.places[unit], unit.shape)}", ""))

    # ------------------------------------------------------------------ writing
    def _initials(self, unit: Unit) -> None:
        place = self.places[unit]
        for step, ref in sorted(unit.initials.items()):
            where = self._row(unit, step) if place.timed else self.names[unit]
            name = self.names[unit]
            number = self.uniform.get(ref.unit) if ref is not None else None
            if number is not None:
                self.body.append((f"{where}.fill({_scalar(number)})", f"{name} of step {step}: the initial value"))
            elif ref is None:
                self.body.append((f"{where}.fill(0)", f"{name} of step {step}: nothing comes from there"))
            else:
                self.body.append((f"copyto({where}, {self._read(ref)})", f"{name} of step {step}: the initial value"))

    def _constant(self, unit: Unit, value: np.ndarray[Any, Any]) -> None:
        """A constant short enough to read is written down; another is a parameter of the program."""
        number, text = (None, None) if unit.drawings else (uniform(value), literal(value))
        if number is not None:
            self.uniform[unit] = number
        name = self._unique(_title(unit) or self._described(unit))
        self.names[unit] = self.slabs[unit] = name
        for row, drawing in enumerate(unit.drawings):
            if drawing is not None:
                self.drawn.setdefault(drawing, []).append((name, ... if unit.table is None else row))
        if text is None:
            self.constants[name] = value
        else:
            self.literals[name] = text

    def _spelled(self, name: str, value: Any) -> str:
        """A primitive's parameter as source text; what has none, such as an array, is a parameter of the program."""
        text = parameter(value)
        if text is not None:
            return text
        known = next((name for name, other in self.spelled if other is value), None)
        if known is None:
            known = self._unique(name)
            self.constants[known] = value
            self.spelled.append((known, value))
        return known

    def _once(self, unit: Unit) -> None:
        """A unit that runs once, for all its steps if it has any."""
        place = self.places[unit]
        if unit.primitive is None:
            if place.kind == CONSTANT:
                self._constant(unit, np.asarray(unit.op.value if unit.table is None else unit.table))
            return
        if place.memory is not None:
            self._array(unit)
            if place.kind == SLAB and unit.initials:
                self._initials(unit)
        steps = unit.hi - unit.lo + 1 if unit.rolled else None
        operands = self._operands(unit, at_once=unit.rolled)
        if place.kind == VIEW:
            (text,) = rules.statements(unit, operands, None, steps)
            self._alias(unit, text, self.setup if place.static else self.body)
            return
        if place.kind == SLAB:
            out = self._slice(unit, unit.lo, unit.hi)
        else:
            out = self._unique(f"{self._name(unit)}_all") if unit.rolled else self._name(unit)
            self.slabs[unit] = out
        lines = rules.statements(unit, operands, out, steps, spelled=self._spelled)
        if place.kind == OUTPUT or (place.kind == FRESH and rules.writes_out(unit)):
            end = f", out={out})"
            if len(lines) == 1 and lines[0].endswith(end) and (unit.shape or unit not in self.gradients):
                lines = [f"{out} = {lines[0].removesuffix(end)})".replace("(, ", "(")]
            else:
                self.body.append((f"{out} = empty({_shape(unit.shape)}, '{_dtype(unit)}')", ""))
        if place.kind in (SLAB, ARRAY) and rules.is_view(unit):
            lines = [f"copyto({out}, {lines[0]})"]
        elif place.kind == SLAB and not rules.writes_out(unit):
            lines = [f"copyto({out}, {lines[0].split(' = ', 1)[1]})"]
        elif place.kind == FRESH and rules.is_view(unit):
            lines = [f"{out} = array({lines[0]})"]  # whether reshape copies depends on strides known only at run time
        elif place.kind == FRESH and rules.may_share(unit):
            lines = [_copied(lines[0])]
        self._append(lines, unit)

    def _alias(self, unit: Unit, text: str, lines: list[tuple[str, str]]) -> None:
        """A view: no line at all where it is its operand itself."""
        readers = self.readers.get(unit, [])
        inline = len(readers) == 1 and readers[0] not in self.in_loops and len(text) < 40 and unit not in self.returned
        if inline:
            self.names[unit] = self.slabs[unit] = text
        elif unit.rolled:
            self._name(unit)
            if not text.isidentifier():
                name = self._unique(f"{self.names[unit]}_all")
                lines.append((f"{name} = {text}", _note(unit)))
                text = name
            self.slabs[unit] = text
        else:
            lines.append((f"{self._name(unit)} = {text}", _note(unit)))

    def _append(self, code: Sequence[str], unit: Unit, indent: str = "") -> None:
        for i, line in enumerate(code):
            self.body.append((indent + line, _note(unit) if not i else ""))

    def _loop(self, loop: Loop) -> None:
        for unit in loop.units:
            place = self.places[unit]
            if place.memory is not None:
                self._array(unit)
                if place.kind == SLAB:
                    self._rows(unit, self.setup)
        for unit in loop.units:
            if _is_scatter(unit):
                self._parts(unit)
        for unit in loop.units:
            place = self.places[unit]
            if place.kind == VIEW and place.timed:  # its row of another step may be read before this step's line
                self._view_in_loop(unit, place)
        for unit in loop.units:
            self._initials(unit)
        inside = set(loop.units)
        for unit in loop.units:
            for a in unit.args:
                if type(a) is Ref and a.delay is not None and a.unit not in inside:
                    static = self.places[a.unit].static
                    self._rows(a.unit, self.setup if static else self.body)
        statements: list[tuple[tuple[int, int], Unit, list[str]]] = []
        for unit in loop.units:
            lines = self._in_loop(unit)
            if lines:
                statements.append(((unit.lo, unit.hi), unit, lines))
        numbers = f"range({loop.lo}, {loop.hi + 1})" if loop.lo else f"range({loop.hi + 1})"
        head = f"for t in {f'reversed({numbers})' if loop.reverse else numbers}:"
        alone = not self.small and any(map(_flops, loop.units)) and all(_flops(u) < SMALL for u in loop.units)
        if alone:
            if ("one_thread = OneThread()", "") not in self.setup:
                self.setup.append(("one_thread = OneThread()", ""))
            self.body.append(("with one_thread:", "its products are too small to share"))
        start = len(self.body)
        self.body.append((head, "back in time" if loop.reverse else "through time"))
        guarded = (loop.lo, loop.hi)
        for steps, unit, lines in statements:
            if steps != guarded and steps != (loop.lo, loop.hi):
                tests = [f"t >= {steps[0]}"] if steps[0] > loop.lo else []
                tests += [f"t <= {steps[1]}"] if steps[1] < loop.hi else []
                self.body.append((f"    if {' and '.join(tests)}:", ""))
            guarded = steps
            self._append(lines, unit, "    " if steps == (loop.lo, loop.hi) else "        ")
        if alone:
            self.body[start:] = [(f"    {code}", note) for code, note in self.body[start:]]

    def _parts(self, scatter: Unit) -> None:
        """What is written into its part of the scatter's slab right away."""
        for i, a in enumerate(scatter.args):
            if type(a) is Ref and self.places[a.unit].kind == PART:
                place = self.places[scatter]
                name = self._unique(f"{self._name(a.unit)}_all")
                slab = self._slice(scatter, scatter.lo, scatter.hi)
                self.setup.append((f"{name} = {rules.part_of(scatter, i, slab, place.timed)}", "part of it"))
                self.slabs[a.unit] = name
                self._rows(a.unit, self.setup)

    def _in_loop(self, unit: Unit) -> list[str]:
        place = self.places[unit]
        if place.kind == VIEW:
            return [] if unit in self.lists else self._view_in_loop(unit, place)
        operands = self._operands(unit, at_once=False)
        if _is_scatter(unit):
            operands = [
                o._replace(text="") if type(a) is Ref and self.places[a.unit].kind == PART else o
                for o, a in zip(operands, unit.args, strict=True)
            ]
        out = f"{self.lists[unit]}[t]" if place.kind in (SLAB, PART) else self._name(unit)
        packed = place.kind in (SLAB, BUFFER) and all(type(a) is Ref and a.unit.dtype == unit.dtype for a in unit.args)
        lines = rules.statements(unit, operands, out, None, packed=packed, spelled=self._spelled)
        if place.kind == SLAB and rules.is_view(unit):
            return [f"copyto({out}, {lines[0]})"]
        if place.kind == SLAB and not rules.writes_out(unit):
            return [f"copyto({out}, {lines[0].split(' = ', 1)[1]})"]
        return [_copied(lines[0])] if place.kind == FRESH and rules.may_share(unit) else lines

    def _view_in_loop(self, unit: Unit, place: Place) -> list[str]:
        """A view of memory that stays is made once, in the setup; any other at every step."""
        source = unit.args[0]
        base = self.places[source.unit]
        stays = base.static and (base.contiguous or unit.operation != "reshape")
        if stays and source.unit in self.slabs and source.delay is not None and rules.once(unit):
            steps = unit.hi - unit.lo + 1
            (text,) = rules.statements(unit, self._operands(unit, at_once=True), None, steps)
            self.slabs[unit] = self._unique(f"{self._name(unit)}_all")
            self.setup.append((f"{self.slabs[unit]} = {text}", _note(unit)))
            place.timed, place.static, place.first, place.rows = True, True, unit.lo, steps
            self._rows(unit, self.setup)
            return []
        (text,) = rules.statements(unit, self._operands(unit, at_once=False), None, None)
        line = f"{self._name(unit)} = {text}"
        moves = any(slope for slope, _ in unit.numbers) or source.unit in self.slabs
        if stays and not moves and base.kind in (BUFFER, VIEW, ARRAY):
            place.static, place.contiguous = (
                True,
                base.contiguous and unit.operation in ("reshape", "expand_dims"),
            )
            self.setup.append((line, _note(unit)))
            return []
        return [line]


# ---------------------------------------------------------------------- text
_SHORT = {"cross_entropy_of_classes": "xent", "cross_entropy_of_logits": "xent", "getitem": "part"}


def _flops(unit: Unit) -> int:
    """Floating-point operations of a matrix product in one step; 0 for anything else."""
    name = unit.operation
    if name == "contract":
        ref = unit.args[0]
        rows = math.prod(ref.unit.shape[:-1]) * (1 if ref.span is None else abs(ref.span[1] - ref.span[0]) + 1)
        return 2 * rows * math.prod(unit.shape)
    return 2 * math.prod(unit.shape) * unit.args[0].unit.shape[-1] if name == "matmul" else 0


def _steps_at_once(unit: Unit, schedule: Sequence[Part]) -> int:
    return unit.hi - unit.lo + 1 if unit.rolled and unit in schedule else 1


def _is_scatter(unit: Unit) -> bool:
    return unit.operation == "scatter"


def _title(unit: Unit) -> str | None:
    return unit.op.name


def _note(unit: Unit) -> str:
    """What a line is for: its operation, or the one whose gradient it belongs to, and the scope."""
    op, p, of = unit.op, unit.primitive, unit.op.backward_of
    if of is None:
        words = "add" if p is total else p.name if p else ""
    elif of.primitive is None:
        words = f"gradient of {of.name or 'an input'}"
    elif p is total and of.name:
        words = f"gradient of {of.name}"
    else:
        words = f"backward of {of.primitive.name}{f' ({of.name})' if of.name else ''}"
    return words + (f", {op.scope}" if op.scope else "")


def _commented(code: str, note: str) -> str:
    return f"{code.ljust(64)}  # {comment(note)}" if note else code


def _scalar(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)


def _list(text: str, place: Place, shape: tuple[int, ...]) -> str:
    """The list `r` of the rows of `text` in which `r[t]` is that of step t; the first may be that of step -1."""
    first, n = place.first, place.rows
    if shape:
        return f"[*{text}[{-first}:], *{text}[:{-first}]]" if first < 0 else f"{_absent(first)}list({text})"
    steps = f"(*range({-first}, {n}), *range({-first}))" if first < 0 else f"range({n})"  # list() would give numbers
    return f"{_absent(first)}[{text}[t, ...] for t in {steps}]"


def _copied(line: str) -> str:
    """An assignment of an array of its own, where the expression may give a view of an operand."""
    out, text = line.split(" = ", 1)
    return f"{out} = array({text})"


def _absent(first: int) -> str:
    return f"[None] * {first} + " if first > 0 else ""


def _shape(shape: tuple[int, ...]) -> str:
    return repr(shape)


def _dtype(unit: Unit) -> str:
    return unit.dtype.str.lstrip("<=|") if unit.dtype.kind != "b" else "?"


def walk(schedule: Sequence[Part]) -> Iterator[Unit]:
    """Every unit, in the order of the schedule."""
    for part in schedule:
        yield from (part.units if isinstance(part, Loop) else [part])
