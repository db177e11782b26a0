"""Verify: prove before a program runs that its statements compute what the nodes say.

The statements are run on shadows: a row of memory holds no numbers but the node and step whose result is there.
So it is seen that no result is read after something else was written over it, or before it is there; that a
node's statements read exactly its operands, of the right steps; and that no returned array shares memory with
a buffer, the batch or another. A long stretch of time in which nothing begins or ends is shortened first: what
holds for some of its steps holds for all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import Any

import numpy as np

from ..core.primitive import Primitive
from . import statements as st
from .allocate import CONSTANT, INPUT, VIEW, Place
from .ir import At, CheckError, Node, Program, Read, Shift, Span
from .vocabulary import uniform

Result = tuple[Node, int | None]
"""A node, and the step of its result if it has steps."""

Slot = tuple[st.Memory | st.Array, int]
"""An allocation, and which row of it."""

_NEW = {"array", "empty", ".copy", ".sum", ".mean", ".max", ".min", "concatenate", "stack", "einsum", "dot", "picked"}
"""What gives new memory, beside NumPy's ufuncs and operations whose trait says so."""


def verify(program: Program, places: Mapping[Node, Place], code: st.Code) -> None:
    """Prove that the statements are right.

    Raises:
        CheckError: they are not: a bug of the compiler's.
    """
    _Shadow(program, places, code).run()


class _Time:
    """Steps with long stretches shortened in which nothing begins or ends."""

    def __init__(self, program: Program, code: st.Code) -> None:
        marks: set[int] = set()
        reach = 1
        for node in program.nodes:
            marks.update((node.lo, node.hi, *node.initials))
        for read in chain(program.results, *(node.reads for node in program.nodes)):
            marks.update((read.span or ()) if read.at is None else (read.at,))
            reach = max(reach, abs(read.delay or 0))
        self.known = sorted(marks)
        self.short: list[int] = []
        for before, mark in zip([self.known[0], *self.known], self.known, strict=False):
            gap = min(mark - before, 3 * reach + 3)
            self.short.append(self.short[-1] + gap if self.short else mark)

    def __call__(self, step: int) -> int:
        """Where a step is; one in the middle of a stretch counts from its nearer end."""
        i = bisect_right(self.known, step) - 1
        if i < 0:
            return self.short[0] + step - self.known[0]
        if i + 1 < len(self.known) and step - self.known[i] > self.known[i + 1] - step:
            return self.short[i + 1] - (self.known[i + 1] - step)
        return self.short[i] + step - self.known[i]


class _Shadow:
    def __init__(self, program: Program, places: Mapping[Node, Place], code: st.Code) -> None:
        self.program, self.places, self.code = program, places, code
        self.time = _Time(program, code)
        self.held: dict[Slot, Any] = {}  # a Result; or what is being computed there, with False
        self.layout: dict[st.Memory, st.Array] = {}

    def run(self) -> None:
        zeros: list[Result] = []
        for each in self.code.setup:
            if isinstance(each, st.Alloc) and each.zero:
                (zeroed,) = each.array.nodes
                self._expect(zeroed.starts_from_zeros, zeroed, "has another initial value than zero")
                zeros += [(zeroed, self.time(step)) for step in zeroed.initials]
                self._write(zeroed, zeros[-len(zeroed.initials) :], True)
            elif isinstance(each, st.Assign) and each.node.primitive is not None:
                self._expect(self.places[each.node].kind == VIEW, each.node, "is assigned once for all calls")
                moves = any(isinstance(leaf.when, Shift) for leaf in st.leaves(each.value))
                self._operands(each.node, [each], self.time(each.node.lo) if moves else None)
        for lines in _groups(each for each in self.code.body if not isinstance(each, (st.Alloc, st.Rows))):
            if isinstance(lines[0], st.For):
                self._loop(lines[0])
            else:
                self._group(lines, None)
        self._results()
        for result in zeros:
            self._expect(self._at(result) == result, result[0], "starts from zeros only in the first call")

    @staticmethod
    def _expect(holds: bool, *words: Any) -> None:
        if not holds:
            raise CheckError(" ".join(map(str, words)))

    # ------------------------------------------------------------------ statements
    def _loop(self, loop: st.For) -> None:
        for within in loop.body:
            node = within.statement.node
            self._expect((within.lo, within.hi) == (node.lo, node.hi), node, "runs at other steps than its own")
        groups = list(_groups(within.statement for within in loop.body))
        steps = range(self.time(loop.lo), self.time(loop.hi) + 1)
        for t in reversed(steps) if loop.reverse else steps:
            for lines in groups:
                if self.time(lines[0].node.lo) <= t <= self.time(lines[0].node.hi):
                    self._group(lines, t)

    def _group(self, lines: Sequence[st.Line], t: int | None) -> None:
        """The statements of one node, at step t of a loop, or for all its steps."""
        node = lines[0].node
        initial = self._initial(node, lines)
        if initial is not None:
            for leaf in st.leaves([line.value for line in lines if isinstance(line, st.Copy)]):
                self._read(node, leaf, t)
            self._write(node, [initial], True)
            return
        self._operands(node, lines, t)
        if self.places[node].kind != VIEW:
            self._computed(node, lines, t)

    def _computed(self, node: Node, lines: Sequence[st.Line], t: int | None) -> None:
        """They read what is there, and write the results of these steps and nothing else."""
        results = [(node, step) for step in self._steps(node, t)]
        for k, line in enumerate(lines):
            for leaf in st.leaves(_read_by(line)):
                if k == 0 or not self._own(node, leaf, t):
                    self._read(node, leaf, t)
            if isinstance(line, st.Assign):
                self._expect(_is_new(line.value), node, "may share memory with its operand")
            else:
                outs = list(st.leaves(line.out))
                aimed = [place for leaf in outs for place in self._when(leaf, t)]
                self._expect(len(outs) == 1 and aimed == results, node, "is written to other steps than its own")
            self._write(node, results, False)
        self._write(node, results, True)

    def _own(self, node: Node, leaf: st.Leaf, t: int | None) -> bool:
        """Whether a leaf is what the node is just computing."""
        here = leaf.node is node and leaf.array is self.places[node].array
        return here and self._when(leaf, t) == [(node, step) for step in self._steps(node, t)]

    def _initial(self, node: Node, lines: Sequence[st.Line]) -> Result | None:
        """The initial value that a statement sets, if it sets one."""
        line: Any = lines[0]
        if not _starts(line):
            return None
        step = line.out.when.step
        self._expect(step in node.initials, node, "has no initial value there")
        start = node.initials[step]
        if isinstance(line, st.Copy):
            found = [result for leaf in st.leaves(line.value) for result in self._bases(self._when(leaf, None))]
            wanted = list(self._bases(self._when(start, None))) if start else []
            right = found == wanted or (not isinstance(line.value, st.Leaf) and set(wanted) <= set(found))
        else:  # nan is nan, and -0.0 is not 0.0
            value = start and start.node.value
            known = (0, 0.0) if start is None else () if value is None else (uniform(value),)
            right = repr(line.number) in map(repr, known)
        self._expect(right, node, "has another initial value")
        return node, self.time(step)

    def _steps(self, node: Node, t: int | None) -> Iterable[int | None]:
        if not node.rolled:
            return (None,)
        return range(self.time(node.lo), self.time(node.hi) + 1) if t is None else (t,)

    # ------------------------------------------------------------------ operands
    def _operands(self, node: Node, lines: Sequence[st.Line], t: int | None) -> None:
        """Its statements must read every operand, of the right steps."""
        touched: set[Result] = set()
        for line in lines:
            for leaf in st.leaves(_read_by(line)):
                touched.update(self._bases(self._when(leaf, t)))
        for a in node.args:
            if type(a) is not Read:
                continue
            value = a.node.value
            if value is not None and (not a.node.rolled or uniform(value) is not None):  # may be written as a number
                continue
            for step in self._steps(node, t):
                wanted = set(self._bases(self._when(a, step)))
                self._expect(wanted <= touched, node, "does not read", a)

    def _when(self, read: Read | st.Leaf, t: int | None) -> list[Result]:
        match read.when:
            case At(step):
                return [(read.node, self.time(step))]
            case Shift(delay):
                assert t is not None
                return [(read.node, t - delay)]
            case Span(first, last):
                first, last = sorted((self.time(first), self.time(last)))
                return [(read.node, step) for step in range(first, last + 1)]
        return [(read.node, None)]

    def _bases(self, results: Iterable[Result]) -> Iterator[Result]:
        """The results behind views."""
        for node, step in results:
            if self.places[node].kind == VIEW:
                yield from self._bases(self._when(node.args[0], step))
            else:
                yield node, step

    def _read(self, reader: Node, leaf: st.Leaf, t: int | None) -> None:
        for result in self._bases(self._when(leaf, t)):
            held = self._at(result)
            self._expect(held == result, reader, "reads", result, "and finds", held)

    # ------------------------------------------------------------------ memory
    def _slot(self, result: Result) -> tuple[Slot, st.Array]:
        """Where a result lives: the row, and its array."""
        node, step = result
        array = self.places[node].array
        assert array is not None
        row = 0 if array.first is None or step is None else step - self.time(array.first)
        return (array.memory or array, row), array

    def _at(self, result: Result) -> Any:
        """What is held where a result lives."""
        if self.places[result[0]].kind in (INPUT, CONSTANT):
            return result
        slot, array = self._slot(result)
        if array.memory is not None and self.layout.get(array.memory, array).shape != array.shape:
            return None
        return self.held.get(slot)

    def _write(self, node: Node, results: Iterable[Result], done: bool) -> None:
        """Something is written where results live; they are there when it is done."""
        place = self.places[node]
        self._expect(place.kind not in (INPUT, CONSTANT, VIEW), node, "is written to, and is not the program's")
        for result in results:
            slot, array = self._slot(result)
            memory = array.memory
            if memory is not None and self.layout.get(memory, array).shape != array.shape:
                for other in [other for other in self.held if other[0] is memory]:
                    del self.held[other]
            if memory is not None:
                self.layout[memory] = array
            self.held[slot] = result if done else (*result, False)

    # ------------------------------------------------------------------ results
    def _results(self) -> None:
        owners: set[Any] = set()
        for read, value in zip(self.program.results, self.code.results, strict=True):
            copied = isinstance(value, st.Call) and value.word == ".copy"
            found = [result for leaf in st.leaves(value) for result in self._bases(self._when(leaf, None))]
            wanted = list(self._bases(self._when(read, None)))
            self._expect(set(wanted) <= set(found), read, "is not what is returned")
            for result in wanted:
                held = self._at(result)
                self._expect(held == result, read, "is returned, and found is", held)
            for owner in set() if copied else {self._slot(result)[0][0] for result in wanted}:
                own = isinstance(owner, st.Array) and self.places[owner.nodes[0]].kind not in (INPUT, CONSTANT)
                self._expect(own and owner not in owners, read, "is returned and shares memory")
                owners.add(owner)


def _groups(body: Iterable[Any]) -> Iterator[list[Any]]:
    """Statements by node; an initial value is a group of its own, and so is a loop."""
    for _, group in groupby(body, lambda each: id(each if isinstance(each, st.For) or _starts(each) else each.node)):
        yield list(group)


def _starts(line: Any) -> bool:
    """Whether it sets an initial value."""
    return isinstance(line, (st.Fill, st.Copy)) and isinstance(line.out, st.Leaf) and isinstance(line.out.when, At)


def _read_by(line: st.Line) -> list[Any]:
    """What a statement reads."""
    match line:
        case st.Apply(out, call, _):
            return [call]
        case st.Copy(_, value, _, where, _):
            return [value, where]
        case st.Put(out, key, value, how, _):
            return [key, value, *([out] if how != "=" else [])]
        case st.Assign(_, value, _):
            return [value]
    return []


def _is_new(value: st.Expr) -> bool:
    """Whether an expression makes an array of its own."""
    if isinstance(value, st.Index):  # index arrays pick copies
        return any(isinstance(each, (st.Leaf, st.Call, st.Index)) for each in value.key)
    if not isinstance(value, st.Call):
        return False
    if isinstance(value.word, Primitive):
        return value.word.traits.alias == "new" or value.word.is_ufunc
    return value.word in _NEW or isinstance(getattr(np, value.word, None), np.ufunc)
