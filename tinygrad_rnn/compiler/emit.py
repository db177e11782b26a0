"""Emit: write the scheduled program down as NumPy source, and make it run.

The source is one function, `program()`, which allocates the buffers and returns `step`, which computes
the loss and the gradients. Inside a loop, `h[t]` is row t of the slab `h_all`, and `h[-1]` its initial
value: the list of rows is made once, because indexing a list costs a fifth of indexing an array. The source
imports what it uses, so it runs by itself; constants too long to read are parameters of `program`.
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.primitive import primitives
from ..core.tensor import Array
from ..core.threads import SMALL
from ..escape import comment, identifier
from . import rules
from .allocate import ARRAY, BUFFER, FRESH, OUTPUT, PART, SLAB, VIEW, Memory, Place
from .ir import Loop, Node, Part, Program, Read
from .operations import total
from .rules import Operand
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


def emit(program: Program, places: dict[Node, Place]) -> Source:
    """Write the program down."""
    return _Writer(program, places).source()


class _Writer:
    def __init__(self, program: Program, places: dict[Node, Place]) -> None:
        schedule, results = program.schedule, program.results
        self.schedule, self.results, self.inputs, self.places = schedule, results, program.inputs, places
        self.setup: list[tuple[str, str]] = []
        self.body: list[tuple[str, str]] = []
        self.constants: dict[str, Any] = {}
        self.drawn: dict[int, list[tuple[str, Any]]] = {}
        self.spelled: list[tuple[str, Any]] = []  # parameters of primitives that have no text
        self.literals: dict[str, str] = {}  # the text of those that are short enough to read
        self.uniform: dict[Node, Any] = {}  # the number that all entries of a constant are
        self.primitives = {node.primitive for node in program.nodes if node.primitive is not None}
        self.used: set[str] = {
            *("t", "program", "step", "list", "range", "reversed", "float", "OneThread", "one_thread", "ops", "picked"),
            *NUMPY,
            *primitives,
            *(called(p) for p in self.primitives),
        }
        self.names: dict[Node, str] = {}
        self.slabs: dict[Node, str] = {}  # text of the array with time first
        self.gradients = {ref.node for ref in results[1:]}
        self.small = all(_flops(node) * _steps_at_once(node, schedule) < SMALL for node in program.nodes)
        self.returned = {ref.node for ref in results}
        self.in_loops = {node for part in schedule if isinstance(part, Loop) for node in part.nodes}
        self.readers: dict[Node, list[Node]] = {}
        for node in program.nodes:
            for ref in node.reads:
                self.readers.setdefault(ref.node, []).append(node)
        self.arrays: set[Node] = set()
        self.lists: dict[Node, str] = {}  # name of the list of its rows
        self.memory: dict[Memory, tuple[str, tuple[int, ...]]] = {}
        self.next = {place.over: node for node, place in places.items() if place.over is not None}

    # ------------------------------------------------------------------ the whole
    def source(self) -> Source:
        for node in self.inputs:
            self.names[node] = self.slabs[node] = self._unique(_title(node) or "x")
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
        arguments = ", ".join(self.names[node] for node in self.inputs)
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
            place = self.places[ref.node]
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

    def _name(self, node: Node) -> str:
        if node not in self.names:
            self.names[node] = self._unique(_title(node) or self._described(node))
        return self.names[node]

    def _namesake(self, node: Node) -> Node:
        """Of the results written over each other, the one that gives this one its name: z += b is still z."""
        after = node
        while _title(after) is None and after in self.next:
            after = self.next[after]
        before = node
        while _title(after) is None and _title(before) is None and (over := self.places[before].over) is not None:
            before = over
        return before if _title(after) is None else after

    def _described(self, node: Node) -> str:
        """A name for what has none, from its operation and operands."""
        p = node.primitive
        if p is None:
            plain = "table" if node.rolled else "constant"
            return "mask" if node.drawings else "filled" if node in self.uniform else plain
        word = _SHORT.get(p.name, p.name)
        operands = [self.names.get(a.node) or _title(a.node) or "x" for a in node.args if type(a) is Read]
        first = operands[0] if operands else "x"
        if p.name in ("transpose", "swapaxes"):
            return f"{first}_T"
        if p is total:
            return f"{first}_sum"
        if p.name == "matmul" and len(operands) == 2 and len("".join(operands)) < 12:
            return f"{operands[0]}_{operands[1]}"
        of = node.backward_of
        if of is not None:
            title = of.name
            what = of.primitive.name if of.primitive else "x"
            return f"d{title or _SHORT.get(what, what)}_{word}"
        return f"{first}_{word}" if len(first) < 10 else word

    # ------------------------------------------------------------------ reading
    def _read(self, ref: Any, node: Node | None = None) -> str:
        """An operand as text: for one step inside a loop, or for all steps of `node` at once."""
        if type(ref) is not Read:
            return _scalar(ref)
        other = ref.node
        if ref.span is not None:
            first, last = ref.span
            if first <= last:
                return self._slice(other, first, last)
            return f"{self._slice(other, last, first)}[::-1]"
        if ref.at is not None:
            return self._row(other, ref.at)
        if ref.delay is None:
            return self.names[other]
        if node is not None:
            return self._slice(other, node.lo - ref.delay, node.hi - ref.delay)
        if other in self.lists:
            return f"{self.lists[other]}[{rules.affine(1, -ref.delay, 't')}]"
        return self.names[other]

    def _row(self, node: Node, step: int) -> str:
        return f"{self.slabs[node]}[{step - self.places[node].first}{'' if node.shape else ', ...'}]"

    def _slice(self, node: Node, first: int, last: int) -> str:
        place, text = self.places[node], self.slabs[node]
        start, stop = first - place.first, last + 1 - place.first
        if (start, stop) == (0, place.rows):
            return text
        return f"{text}[{start or ''}:{'' if stop == place.rows else stop}]"

    def _operands(self, node: Node, at_once: bool) -> list[Operand]:
        found = []
        for a in node.args:
            timed = type(a) is Read and (a.span is not None or (at_once and a.delay is not None))
            shape = () if type(a) is not Read else a.node.shape
            if type(a) is Read and a.span is not None:
                shape = (abs(a.span[1] - a.span[0]) + 1, *shape)
            if self._is_number(a, node):
                found.append(Operand(_scalar(self.uniform[a.node]), (), False))
            else:
                found.append(Operand(self._read(a, node if at_once else None), shape, timed))
        return found

    def _is_number(self, a: Any, node: Node) -> bool:
        """Whether an operand may be written as its only number: another one gives the result shape and dtype."""
        like = (node.shape, node.dtype)
        return (
            type(a) is Read
            and a.node in self.uniform
            and node.primitive is not None
            and node.primitive.is_ufunc
            and rules.is_elementwise(node)
            and a.node.dtype == node.dtype
            and node.dtype.kind == "f"
            and any(
                type(b) is Read and b.node not in self.uniform and (b.node.shape, b.node.dtype) == like
                for b in node.args
            )
        )

    # ------------------------------------------------------------------ memory
    def _array(self, node: Node) -> None:
        """Give a node with memory its array, in the setup."""
        if node in self.arrays:
            return
        place = self.places[node]
        namesake = self._namesake(node)
        name = self._name(namesake)
        if namesake is not node:
            self.names[node] = name
            if namesake in self.arrays:
                self.arrays.add(node)
                for known in (self.slabs, self.lists):
                    if namesake in known:
                        known[node] = known[namesake]
                return
        shape = (place.rows, *node.shape) if place.timed else node.shape
        if place.timed:
            name = self._unique(f"{name}_all")
            self.slabs[node] = self.slabs[namesake] = name
        self.arrays.update((node, namesake))
        assert place.memory is not None
        held = self.memory.get(place.memory)
        if held is None:
            self.setup.append((f"{name} = empty({_shape(shape)}, '{_dtype(node)}')", self._storage_note(node, place)))
            self.memory[place.memory] = name, shape
        elif held[1] == shape:
            self.setup.append((f"{name} = {held[0]}", "in the same memory"))
        else:
            size = math.prod(shape)
            flat = f"{held[0]}.reshape(-1)" + ("" if size == place.memory.size else f"[:{size}]")
            self.setup.append((f"{name} = {flat}.reshape({_shape(shape)})", "in the same memory"))

    def _storage_note(self, node: Node, place: Place) -> str:
        if place.kind == BUFFER:
            return "one step"
        if not place.timed:
            return ""
        before, after = node.lo - place.first, place.first + place.rows - 1 - node.hi
        extra = " and the initial value" if before or after else ""
        return f"all steps{extra}"

    def _rows(self, node: Node, lines: list[tuple[str, str]]) -> None:
        """Make the list of rows that a loop reads or writes."""
        namesake = self._namesake(node) if self.places[node].memory is not None else node
        if node not in self.lists and namesake in self.lists:
            self.lists[node] = self.lists[namesake]
        if node not in self.lists:
            name = self._name(node)
            if self.names[node] == self.slabs.get(node):
                name = self._unique(f"{name}_t")
            self.lists[node] = self.lists[namesake] = name
            lines.append((f"{name} = {_list(self.slabs[node], self.places[node], node.shape)}", ""))

    # ------------------------------------------------------------------ writing
    def _initials(self, node: Node) -> None:
        place = self.places[node]
        for step, ref in sorted(node.initials.items()):
            where = self._row(node, step) if place.timed else self.names[node]
            name = self.names[node]
            number = self.uniform.get(ref.node) if ref is not None else None
            if number is not None:
                self.body.append((f"{where}.fill({_scalar(number)})", f"{name} of step {step}: the initial value"))
            elif ref is None:
                self.body.append((f"{where}.fill(0)", f"{name} of step {step}: nothing comes from there"))
            else:
                self.body.append((f"copyto({where}, {self._read(ref)})", f"{name} of step {step}: the initial value"))

    def _constant(self, node: Node, value: np.ndarray[Any, Any]) -> None:
        """A constant short enough to read is written down; another is a parameter of the program."""
        number, text = (None, None) if node.drawings else (uniform(value), literal(value))
        if number is not None:
            self.uniform[node] = number
        name = self._unique(_title(node) or self._described(node))
        self.names[node] = self.slabs[node] = name
        for row, drawing in enumerate(node.drawings):
            if drawing is not None:
                self.drawn.setdefault(drawing, []).append((name, row if node.rolled else ...))
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

    def _once(self, node: Node) -> None:
        """A node that runs once, for all its steps if it has any."""
        place = self.places[node]
        if node.primitive is None:
            if node.value is not None:
                self._constant(node, node.value)
            return
        if place.memory is not None:
            self._array(node)
            if place.kind == SLAB and node.initials:
                self._initials(node)
        steps = node.hi - node.lo + 1 if node.rolled else None
        operands = self._operands(node, at_once=node.rolled)
        if place.kind == VIEW:
            (text,) = rules.statements(node, operands, None, steps)
            self._alias(node, text, self.setup if place.static else self.body)
            return
        if place.kind == SLAB:
            out = self._slice(node, node.lo, node.hi)
        else:
            out = self._unique(f"{self._name(node)}_all") if node.rolled else self._name(node)
            self.slabs[node] = out
        lines = rules.statements(node, operands, out, steps, spelled=self._spelled)
        if place.kind == OUTPUT or (place.kind == FRESH and rules.writes_out(node)):
            end = f", out={out})"
            if len(lines) == 1 and lines[0].endswith(end) and (node.shape or node not in self.gradients):
                lines = [f"{out} = {lines[0].removesuffix(end)})".replace("(, ", "(")]
            else:
                self.body.append((f"{out} = empty({_shape(node.shape)}, '{_dtype(node)}')", ""))
        if place.kind in (SLAB, ARRAY) and rules.is_view(node):
            lines = [f"copyto({out}, {lines[0]})"]
        elif place.kind == SLAB and not rules.writes_out(node):
            lines = [f"copyto({out}, {lines[0].split(' = ', 1)[1]})"]
        elif place.kind == FRESH and rules.is_view(node):
            lines = [f"{out} = array({lines[0]})"]  # whether reshape copies depends on strides known only at run time
        elif place.kind == FRESH and rules.may_share(node):
            lines = [_copied(lines[0])]
        self._append(lines, node)

    def _alias(self, node: Node, text: str, lines: list[tuple[str, str]]) -> None:
        """A view: no line at all where it is its operand itself."""
        readers = self.readers.get(node, [])
        inline = len(readers) == 1 and readers[0] not in self.in_loops and len(text) < 40 and node not in self.returned
        if inline:
            self.names[node] = self.slabs[node] = text
        elif node.rolled:
            self._name(node)
            if not text.isidentifier():
                name = self._unique(f"{self.names[node]}_all")
                lines.append((f"{name} = {text}", _note(node)))
                text = name
            self.slabs[node] = text
        else:
            lines.append((f"{self._name(node)} = {text}", _note(node)))

    def _append(self, code: Sequence[str], node: Node, indent: str = "") -> None:
        for i, line in enumerate(code):
            self.body.append((indent + line, _note(node) if not i else ""))

    def _loop(self, loop: Loop) -> None:
        for node in loop.nodes:
            place = self.places[node]
            if place.memory is not None:
                self._array(node)
                if place.kind == SLAB:
                    self._rows(node, self.setup)
        for node in loop.nodes:
            if _is_scatter(node):
                self._parts(node)
        for node in loop.nodes:
            place = self.places[node]
            if place.kind == VIEW and place.timed:  # its row of another step may be read before this step's line
                self._view_in_loop(node, place)
        for node in loop.nodes:
            self._initials(node)
        inside = set(loop.nodes)
        for node in loop.nodes:
            for a in node.args:
                if type(a) is Read and a.delay is not None and a.node not in inside:
                    static = self.places[a.node].static
                    self._rows(a.node, self.setup if static else self.body)
        statements: list[tuple[tuple[int, int], Node, list[str]]] = []
        for node in loop.nodes:
            lines = self._in_loop(node)
            if lines:
                statements.append(((node.lo, node.hi), node, lines))
        numbers = f"range({loop.lo}, {loop.hi + 1})" if loop.lo else f"range({loop.hi + 1})"
        head = f"for t in {f'reversed({numbers})' if loop.reverse else numbers}:"
        alone = not self.small and any(map(_flops, loop.nodes)) and all(_flops(u) < SMALL for u in loop.nodes)
        if alone:
            if ("one_thread = OneThread()", "") not in self.setup:
                self.setup.append(("one_thread = OneThread()", ""))
            self.body.append(("with one_thread:", "its products are too small to share"))
        start = len(self.body)
        self.body.append((head, "back in time" if loop.reverse else "through time"))
        guarded = (loop.lo, loop.hi)
        for steps, node, lines in statements:
            if steps != guarded and steps != (loop.lo, loop.hi):
                tests = [f"t >= {steps[0]}"] if steps[0] > loop.lo else []
                tests += [f"t <= {steps[1]}"] if steps[1] < loop.hi else []
                self.body.append((f"    if {' and '.join(tests)}:", ""))
            guarded = steps
            self._append(lines, node, "    " if steps == (loop.lo, loop.hi) else "        ")
        if alone:
            self.body[start:] = [(f"    {code}", note) for code, note in self.body[start:]]

    def _parts(self, scatter: Node) -> None:
        """What is written into its part of the scatter's slab right away."""
        for i, a in enumerate(scatter.args):
            if type(a) is Read and self.places[a.node].kind == PART:
                place = self.places[scatter]
                name = self._unique(f"{self._name(a.node)}_all")
                slab = self._slice(scatter, scatter.lo, scatter.hi)
                self.setup.append((f"{name} = {rules.part_of(scatter, i, slab, place.timed)}", "part of it"))
                self.slabs[a.node] = name
                self._rows(a.node, self.setup)

    def _in_loop(self, node: Node) -> list[str]:
        place = self.places[node]
        if place.kind == VIEW:
            return [] if node in self.lists else self._view_in_loop(node, place)
        operands = self._operands(node, at_once=False)
        if _is_scatter(node):
            operands = [
                o._replace(text="") if type(a) is Read and self.places[a.node].kind == PART else o
                for o, a in zip(operands, node.args, strict=True)
            ]
        out = f"{self.lists[node]}[t]" if place.kind in (SLAB, PART) else self._name(node)
        packed = place.kind in (SLAB, BUFFER) and all(type(a) is Read and a.node.dtype == node.dtype for a in node.args)
        lines = rules.statements(node, operands, out, None, packed=packed, spelled=self._spelled)
        if place.kind == SLAB and rules.is_view(node):
            return [f"copyto({out}, {lines[0]})"]
        if place.kind == SLAB and not rules.writes_out(node):
            return [f"copyto({out}, {lines[0].split(' = ', 1)[1]})"]
        return [_copied(lines[0])] if place.kind == FRESH and rules.may_share(node) else lines

    def _view_in_loop(self, node: Node, place: Place) -> list[str]:
        """A view of memory that stays is made once, in the setup; any other at every step."""
        source = node.args[0]
        base = self.places[source.node]
        stays = base.static and (base.contiguous or node.operation != "reshape")
        if stays and source.node in self.slabs and source.delay is not None and rules.once(node):
            steps = node.hi - node.lo + 1
            (text,) = rules.statements(node, self._operands(node, at_once=True), None, steps)
            self.slabs[node] = self._unique(f"{self._name(node)}_all")
            self.setup.append((f"{self.slabs[node]} = {text}", _note(node)))
            place.timed, place.static, place.first, place.rows = True, True, node.lo, steps
            self._rows(node, self.setup)
            return []
        (text,) = rules.statements(node, self._operands(node, at_once=False), None, None)
        line = f"{self._name(node)} = {text}"
        moves = any(slope for slope, _ in node.numbers) or source.node in self.slabs
        if stays and not moves and base.kind in (BUFFER, VIEW, ARRAY):
            place.static, place.contiguous = (
                True,
                base.contiguous and node.operation in ("reshape", "expand_dims"),
            )
            self.setup.append((line, _note(node)))
            return []
        return [line]


# ---------------------------------------------------------------------- text
_SHORT = {"cross_entropy_of_classes": "xent", "cross_entropy_of_logits": "xent", "getitem": "part"}


def _flops(node: Node) -> int:
    """Floating-point operations of a matrix product in one step; 0 for anything else."""
    name = node.operation
    if name == "contract":
        ref = node.args[0]
        rows = math.prod(ref.node.shape[:-1]) * (1 if ref.span is None else abs(ref.span[1] - ref.span[0]) + 1)
        return 2 * rows * math.prod(node.shape)
    return 2 * math.prod(node.shape) * node.args[0].node.shape[-1] if name == "matmul" else 0


def _steps_at_once(node: Node, schedule: Sequence[Part]) -> int:
    return node.hi - node.lo + 1 if node.rolled and node in schedule else 1


def _is_scatter(node: Node) -> bool:
    return node.operation == "scatter"


def _title(node: Node) -> str | None:
    return node.name


def _note(node: Node) -> str:
    """What a line is for: its operation, or the one whose gradient it belongs to, and the scope."""
    p, of = node.primitive, node.backward_of
    if of is None:
        words = "add" if p is total else p.name if p else ""
    elif of.primitive is None:
        words = f"gradient of {of.name or 'an input'}"
    elif p is total and of.name:
        words = f"gradient of {of.name}"
    else:
        words = f"backward of {of.primitive.name}{f' ({of.name})' if of.name else ''}"
    return words + (f", {node.scope}" if node.scope else "")


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


def _dtype(node: Node) -> str:
    return node.dtype.str.lstrip("<=|") if node.dtype.kind != "b" else "?"
