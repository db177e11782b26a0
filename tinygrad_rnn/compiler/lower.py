"""Lower: from a scheduled program, and where its results live, to statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..core.threads import SMALL
from . import forms
from . import statements as st
from .allocate import ARRAY, BUFFER, FRESH, SLAB, VIEW, Place
from .drawn import Places, runs
from .forms import Operand
from .ir import WHOLE, At, Loop, Node, Program, Read, Shift, Span, readers_of
from .lifts import once
from .operations import contract
from .vocabulary import literal, uniform


def lower(program: Program, places: dict[Node, Place]) -> st.Code:
    """Write the program down as statements."""
    return _Lowering(program, places).code()


class _Lowering:
    def __init__(self, program: Program, places: dict[Node, Place]) -> None:
        self.program, self.places = program, places
        self.setup: list[st.Statement] = []
        self.body: list[st.Statement] = []
        self.drawn: dict[int, Places] = {}
        self.numbers: dict[Node, Any] = {}  # the number that all entries of a constant are
        self.inline: dict[Node, st.Expr] = {}  # what needs no line of its own
        self.made: set[st.Array] = set()
        self.rows: set[st.Array] = set()
        self.in_loops = {node for part in program.schedule if isinstance(part, Loop) for node in part.nodes}
        self.gradients = {read.node for read in program.results[1:]}
        self.readers = readers_of(program.nodes, program.results)

    def code(self) -> st.Code:
        for part in self.program.schedule:
            if isinstance(part, Loop):
                self._loop(part)
            elif part.primitive is not None:
                self._once(part)
            elif not part.is_input:
                self._constant(part)
        inputs = [self.array(node) for node in self.program.inputs]
        steps = {node: 1 if node in self.in_loops else node.steps or 1 for node in self.program.nodes}
        most = max((flops(node) * n for node, n in steps.items()), default=0)
        return st.Code(inputs, self.setup, self.body, self._results(), runs(self.program.drawings, self.drawn), most)

    def array(self, node: Node) -> st.Array:
        array = self.places[node].array
        assert array is not None
        return array

    def _results(self) -> list[st.Expr]:
        """The caller's own arrays: what is new in every call, and copies of all else."""
        found: list[st.Expr] = []
        returned, seen = {read.node for read in self.program.results}, set[Node]()
        for read in self.program.results:
            base, fresh = read.node, type(read.when) is not At
            while self.places[base].kind == VIEW:
                base = base.args[0].node
                fresh = fresh and base not in returned
            fresh = fresh and self.places[base].kind == FRESH and base not in seen
            seen.add(base)
            found.append(self.read(read) if fresh else st.Call(".copy", (self.read(read),)))
        return found

    # ------------------------------------------------------------------ reading
    def read(self, read: Read, at_once: Node | None = None) -> st.Expr:
        """An operand: for one step inside a loop, or for all steps of `at_once`."""
        node, when = read if at_once is None else read.seen(Span(at_once.lo, at_once.hi))
        known = self.inline.get(node)
        if known is None:
            return st.Leaf(self.array(node), when, node)
        place = self.places[node]
        if type(when) is At:
            return st.Index(known, (when.step - place.first, ...))
        if type(when) is not Span:
            return known
        first, last = sorted((when.first, when.last))
        rows = slice(first - place.first, last + 1 - place.first)
        if when.first > when.last:
            return st.Index(st.Index(known, (rows,)), (slice(None, None, -1),))
        return known if rows == slice(0, place.rows) else st.Index(known, (rows,))

    def operands(self, node: Node, at_once: bool) -> list[Operand]:
        found = []
        for a in node.args:
            if type(a) is not Read or self._is_number(a, node):
                found.append(Operand(self.numbers[a.node] if type(a) is Read else a, (), False, False))
            else:
                span = a.span is not None
                timed = span or (at_once and a.delay is not None)
                found.append(Operand(self.read(a, node if at_once else None), a.shape, timed, span))
        return found

    def _is_number(self, a: Read, node: Node) -> bool:
        """Whether an operand may be written as its only number: another one gives the result shape and dtype."""
        return (
            a.node in self.numbers
            and node.primitive is not None
            and node.primitive.is_ufunc
            and forms.is_elementwise(node)
            and a.node.dtype == node.dtype
            and node.dtype.kind == "f"
            and any(
                type(b) is Read
                and b.node not in self.numbers
                and (b.node.shape, b.node.dtype) == (node.shape, node.dtype)
                for b in node.args
            )
        )

    # ------------------------------------------------------------------ memory
    def _alloc(self, node: Node) -> None:
        array = self.array(node)
        if array.memory is not None and array not in self.made:
            self.made.add(array)
            self.setup.append(st.Alloc(array, self.places[node].zeroed))

    def _list(self, node: Node) -> None:
        """Make the list of rows that a loop reads or writes."""
        array = self.array(node)
        if array not in self.rows and array.first is not None:
            self.rows.add(array)
            (self.setup if self.places[node].static else self.body).append(st.Rows(array))

    def _constant(self, node: Node) -> None:
        assert node.value is not None
        wanted, value = "table" if node.rolled else "constant", None
        if node.drawings:
            wanted = st.DRAWN
        else:
            value = literal(node.value)
            if (number := uniform(node.value)) is not None:
                self.numbers[node] = number
        self.setup.append(st.Assign(self.array(node), st.Given(node.value, wanted) if value is None else value, node))
        for row, drawing in enumerate(node.drawings):
            if drawing is not None:
                self.drawn.setdefault(drawing, []).append((self.array(node), row if node.rolled else None))

    def _initials(self, node: Node) -> None:
        for step, read in sorted(node.initials.items()) if not self.places[node].zeroed else ():
            out = st.Leaf(self.array(node), At(step), node)
            number = 0 if read is None else self.numbers.get(read.node)
            if number is not None:
                self.body.append(st.Fill(out, number, node))
            else:
                assert read is not None
                self.body.append(st.Copy(out, self.read(read), node))

    # ------------------------------------------------------------------ what runs once
    def _once(self, node: Node) -> None:
        """A node that runs once, for all its steps if it has any."""
        place, array = self.places[node], self.array(node)
        self._alloc(node)
        self._initials(node)
        operands = self.operands(node, at_once=node.rolled)
        if place.kind == VIEW:
            self._alias(node, forms.value(node, operands, node.steps))
            return
        out = st.Leaf(array, Span(node.lo, node.hi) if node.rolled else WHOLE, node)
        if not forms.writes_out(node):
            value = forms.value(node, operands, node.steps)
            if place.kind in (SLAB, ARRAY):
                self.body.append(st.Copy(out, value, node))
            else:  # whether a reshape copies depends on strides known only at run time
                self.body.append(st.Assign(array, self._own(node, value), node))
            return
        lines = forms.into(node, operands, out, node.steps)
        if place.kind == FRESH:
            (first, *rest) = lines
            if (
                not rest
                and isinstance(first, st.Apply)
                and first.out is out
                and node.primitive not in forms.NEED_OUT
                and (node.shape or node not in self.gradients)
            ):
                lines = [st.Assign(array, first.call, node)]
            else:
                lines.insert(0, st.Assign(array, st.Call("empty", (node.shape, node.dtype)), node))
        self.body.extend(lines)

    def _own(self, node: Node, value: st.Expr) -> st.Expr:
        """A value that shares no memory with an operand."""
        return st.Call(".copy", (value,)) if forms.is_view(node) or forms.may_share(node) else value

    def _alias(self, node: Node, value: st.Expr) -> None:
        """A view: no line of its own where it is read once."""
        ((reader, _), *others) = self.readers[node]
        if reader and not others and reader not in self.in_loops and _is_short(value):
            self.inline[node] = value
        else:
            (self.setup if self.places[node].static else self.body).append(st.Assign(self.array(node), value, node))

    # ------------------------------------------------------------------ loops
    def _loop(self, loop: Loop) -> None:
        for node in loop.nodes:
            self._alloc(node)
            if self.places[node].kind == SLAB:
                self._list(node)
        shown = [node for node in loop.nodes if self.places[node].kind == VIEW and self.places[node].timed]
        for node in shown:  # its row of another step may be read before this step's line
            self._view(node)
        for node in loop.nodes:
            self._initials(node)
        inside = set(loop.nodes)
        for node in loop.nodes:
            for a in node.args:
                if type(a) is Read and a.delay is not None and a.node not in inside:
                    self._list(a.node)
        body: list[st.Within] = []
        for node in loop.nodes:
            if node not in shown:
                body.extend(st.Within(node.lo, node.hi, line) for line in self._step(node))
        products = [flops(node) for node in loop.nodes]
        alone = any(products) and all(n < SMALL for n in products)
        self.body.append(st.For(loop.lo, loop.hi, loop.reverse, body, alone))

    def _step(self, node: Node) -> Sequence[st.Line]:
        """The statements of a node for one step."""
        place, array = self.places[node], self.array(node)
        if place.kind == VIEW:
            return self._view(node)
        operands = self.operands(node, at_once=False)
        out = st.Leaf(array, Shift(0), node)
        if forms.writes_out(node) and place.kind != FRESH:
            packed = place.kind in (SLAB, BUFFER)
            packed = packed and all(type(a) is Read and a.node.dtype == node.dtype for a in node.args)
            return forms.into(node, operands, out, None, packed)
        value = forms.value(node, operands, None)
        return [st.Copy(out, value, node)] if place.kind == SLAB else [st.Assign(array, self._own(node, value), node)]

    def _view(self, node: Node) -> Sequence[st.Line]:
        """A view of memory that stays is made once, in the setup; any other at every step."""
        place, source = self.places[node], node.args[0]
        base = self.places[source.node]
        timed = self.array(source.node).first is not None
        stays = base.static and (base.contiguous or node.primitive is not ops.reshape)
        if stays and timed and source.delay is not None and once(node):
            place.timed, place.static, place.first, place.rows = True, True, node.lo, node.hi - node.lo + 1
            place.array = st.Array((place.rows, *node.shape), node.dtype, node.lo, None, [node])
            self.setup.append(st.Assign(place.array, forms.value(node, self.operands(node, True), node.steps), node))
            self._list(node)
            return []
        line = st.Assign(self.array(node), forms.value(node, self.operands(node, False), None), node)
        moves = any(slope for slope, _ in node.numbers) or timed
        if stays and not moves and base.kind in (BUFFER, VIEW, ARRAY):
            place.static = True
            place.contiguous = base.contiguous and node.primitive in (ops.reshape, ops.expand_dims)
            self.setup.append(line)
            return []
        return [line]


def _is_short(value: st.Expr) -> bool:
    """Whether a view reads well in the middle of a line."""
    depth = 0
    while isinstance(value, (st.Call, st.Index)):
        value, depth = (value.args[0] if isinstance(value, st.Call) else value.of), depth + 1
    return depth < 3


def flops(node: Node) -> int:
    """Floating-point operations of a matrix product in one step; 0 for anything else."""
    if node.primitive is None or node.primitive not in (ops.matmul, contract):
        return 0
    return node.primitive.traits.cost(node.params, [a.shape for a in node.args], node.shape)
