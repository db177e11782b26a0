"""Source: statements as the text of a NumPy program, and what it takes to run it.

The text is one function, `program()`, which allocates the buffers and returns `step`, which computes
the loss and the gradients. Inside a loop, `h[t]` is row t of the slab `h_all`, and `h[-1]` its initial
value: the list of rows is made once, because indexing a list costs a fifth of indexing an array. The text
imports what it uses, so it runs by itself; what has no text is a parameter of `program`.
"""

from __future__ import annotations

import linecache
import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count as counted
from itertools import groupby
from types import CodeType
from typing import Any

import numpy as np

from .. import ops
from ..core import tensor
from ..core.cached import cached
from ..core.primitive import Primitive, primitives
from ..core.threads import SMALL, OneThread
from ..escape import comment, identifier
from . import statements as st
from .ir import WHOLE, At, Node, Read, Shift, Span
from .operations import total
from .sizes import generalise
from .vocabulary import NUMPY, called, imports, is_given, parameter, words
from .written import HELPERS, definitions, helper, picked

_WIDTH = 110
_LARGE = 200  # of each size: where products are still small there, nothing is said of threads
_NAMES = 93  # columns of names on one line of the set-up
_NUMBERS = counted()


class Source:
    """The text of a program, and what it cannot hold.

    Attributes:
        text: Python that runs by itself.
        constants: the arguments of its function `program`: long arrays, and functions of a user's own primitives.
        random: the constants that random numbers are written into, and what they are called.
        code: its statements.
        sizes: the names of the sizes that it runs at; none if it has its own.
        note: a word on the whole, for its first line.
    """

    def __init__(self, code: st.Code, sizes: Sequence[str] = (), note: str = "") -> None:
        self.code, self.sizes, self.note = code, tuple(sizes), note

    @cached
    def _written(self) -> _Writer:  # when it is asked for: of most lengths that are compared nobody reads the text
        return _Writer(self.code, self.sizes)

    @property
    def text(self) -> str:
        return (f"# {comment(self.note)}\n" if self.note else "") + self._written.text

    @property
    def constants(self) -> dict[str, Any]:
        return self._written.constants

    @cached
    def random(self) -> dict[st.Array, str]:
        writer = self._written
        return {array: writer.slabs[array] for array in writer.drawn if array in writer.read}

    @cached
    def _program(self) -> CodeType:
        file = f"<compiled {next(_NUMBERS)}>"
        linecache.cache[file] = (len(self.text), None, self.text.splitlines(True), file)  # for tracebacks
        weakref.finalize(self, linecache.cache.pop, file, None)
        return compile(self.text, file, "exec")

    @classmethod
    def general(cls, sources: Sequence[Source], sizes: Sequence[Mapping[str, int]]) -> Source:
        """One program for all sizes from the smallest of these on; see `sizes.generalise`.

        Raises:
            NotGeneralError: there is none.
        """
        return cls(generalise([source.code for source in sources], sizes), tuple(sizes[0]))

    def is_small(self, sizes: Mapping[str, int]) -> bool:
        """Whether there are matrix products, and all are too small to share between threads."""
        return 0 < self.code.most * math.prod(sizes.values()) < SMALL

    def make(self, random: Mapping[str, tensor.Array], **sizes: int) -> Callable[..., Any]:
        """Allocate the buffers; returns `step(inputs...) -> (loss, gradients...)`, which one thread may run.

        Args:
            random: arrays of its own for the constants that random numbers are written into.
            sizes: one for each of `sizes`.
        """
        names: dict[str, Any] = dict(self._written.raises)  # what the text raises under built-in names
        exec(self._program, names)
        alone = self._written.one_thread and not self.is_small(sizes)
        threads = {"one_thread": OneThread()} if alone else {}
        return names["program"](**{**self.constants, **random, **sizes, **threads})


class _Writer:
    """Names for arrays, and lines for statements."""

    def __init__(self, code: st.Code, sizes: Sequence[str]) -> None:
        self.code, self.sizes = code, sizes
        self.constants: dict[str, Any] = {}
        self.given: list[tuple[str, str]] = []  # a line about each of them
        self.names: dict[st.Array, str] = {}  # of one step, where it has time
        self.slabs: dict[st.Array, str] = {}  # of all of it
        self.known: dict[Node, str] = {}  # the names of their arrays
        parts = (code.setup, code.body)
        self.read = Counter(leaf.array for x in parts for each in _read_by(x) for leaf in st.leaves(each))
        self.read.update(leaf.array for leaf in st.leaves(code.results))
        calls = st.every(st.Call, (code.setup, code.body))
        self.primitives = list(dict.fromkeys(call.word for call in calls if isinstance(call.word, Primitive)))
        self.used: set[str] = {
            *("t", "np", "program", "step", "list", "map", "range", "reversed", "float", "one_thread", "nullcontext"),
            *("picked", *HELPERS, *NUMPY),
            *sizes,
            *primitives,
            *(called(p) for p in self.primitives),
        }
        self.drawn = {array for run in code.drawn for places in run.places for array, _ in places}
        self.raises: dict[str, type[Exception]] = {}
        for p in self.primitives:
            if is_given(p):
                self._given(called(p), p.function)
        loops = any(isinstance(each, st.For) and each.one_thread for each in code.body)
        self.one_thread = loops and code.most * _LARGE ** len(sizes) >= SMALL
        self.text = self._program()

    # ------------------------------------------------------------------ the whole
    def _program(self) -> str:
        for array in self.code.inputs:
            self._name(array)
        setup = [line for part in self._ordered_setup() for line in part]
        body = [line for group in self._grouped(self.code.body) for line in self._together(group)]
        returned = ", ".join(map(self._expr, self.code.results)) + ("," if len(self.code.results) == 1 else "")
        arguments = ", ".join(self.names[array] for array in self.code.inputs)
        lines = [*self.given, *setup, ("", ""), (f"def step({arguments}):", "")]
        lines += [(f"    {code}" if code else "", note) for code, note in body]
        lines += [(f"    return {returned}", ""), ("", ""), ("return step", "")]
        written = "\n".join(code for code, _ in lines)
        found = words(written)
        functions, self.raises = definitions(
            [p.function for p in self.primitives if called(p) in found and not is_given(p)]
            + ([picked] if "picked" in found else [])
        )
        calls = [x for x in _read_by(self.code.body) if isinstance(x, st.Apply) and x.call.word in HELPERS]
        for name in dict.fromkeys(str(x.call.word) for x in calls):
            functions.append(helper(name, {x.node.dtype for x in calls if x.call.word == name}))
        head = [*imports("\n".join([written, *functions]), self.primitives)]
        if self.one_thread:
            head.insert(0, "from contextlib import nullcontext\n")
        given = [*self.sizes, *self.constants, *(["one_thread=nullcontext()"] if self.one_thread else [])]
        lines = [(f"    {code}" if code else "", note) for code, note in lines]
        text = "\n".join(f"{code.ljust(64)}  # {comment(note)}" if note else code for code, note in lines)
        return "\n\n\n".join(["\n".join(head), *functions, f"def program({', '.join(given)}):\n{text}\n"])

    def _ordered_setup(self) -> Iterator[list[tuple[str, str]]]:
        """Constants, then memory, then views, then lists of rows; each group on as few lines as read well."""
        setup = self.code.setup
        allocs = {each.array: each.zero for each in setup if isinstance(each, st.Alloc)}
        assigns = [each for each in setup if isinstance(each, st.Assign)]
        for each in setup:  # names in the order of the program
            if isinstance(each, st.Alloc) or (isinstance(each, st.Assign) and each.array in self.read):
                self._name(each.array)
        constants = [each for each in assigns if each.node.primitive is None]
        for each in sorted(constants, key=lambda each: not isinstance(each.value, st.Given)):
            if each.array in self.read:
                yield self._constant(each)
        yield list(self._memory(allocs))
        whole = {
            leaf.array for leaf in st.leaves((setup, self.code.body, self.code.results)) if type(leaf.when) is not Shift
        }
        listed = [each.array for each in setup if isinstance(each, st.Rows)]
        views: dict[str, tuple[str, str]] = {}
        rows: dict[st.Array, str] = {}  # of views of which the list alone is read
        for each in assigns:
            if each.node.primitive is not None:
                text = self._expr(each.value)
                known = text if text.isidentifier() else views[text][0] if text in views else ""
                if known:
                    self._is_also(each.array, known)
                elif each.array in listed and each.array not in whole:
                    rows[each.array] = text
                else:
                    views[text] = self._slab(each.array), text
        yield list(_joined(list(views.values())))
        yield list(self._rows(listed, rows))

    def _is_also(self, array: st.Array, name: str) -> None:
        """What an array shows has a name already."""
        self.slabs[array] = name
        if array.first is None:
            self.names[array] = name

    def _constant(self, assign: st.Assign) -> list[tuple[str, str]]:
        name = self._name(assign.array)
        self.slabs[assign.array] = name
        if not isinstance(assign.value, st.Given):
            return [(f"{name} = {self._expr(assign.value)}", "")]
        value = assign.value.value
        random = assign.array in self.drawn
        self.constants[name] = value
        if random:
            what = f"{self._expr(assign.array.shape)} of {value.dtype}"
            return [(f"# {name}: {what}, random numbers, which are drawn anew for every call", "")]
        return [(_as_compiled(name, value), "")]

    def _given(self, name: str, value: Any) -> None:
        """Make a value a parameter of `program`, with a comment that says what it is and where it is found."""
        self.constants[name] = value
        self.given.append((_as_compiled(name, value), ""))

    # ------------------------------------------------------------------ names
    def _unique(self, wanted: str) -> str:
        base = identifier(wanted)
        name, n = base, 2
        while name in self.used:
            name, n = f"{base}_{n}" if base[-1].isdigit() else f"{base}{n}", n + 1
        self.used.add(name)
        return name

    def _name(self, array: st.Array) -> str:
        """The name of an array; of one step, if it has time."""
        if array not in self.names:
            forward = array.nodes[0].backward_of is None
            alike = [node.name for node in array.nodes if (node.backward_of is None) == forward]
            named = next(filter(None, alike), None)  # z += b is still z
            name = self.names[array] = self._unique(named or _described(array.nodes[0 if forward else -1], self.known))
            self.known.update(dict.fromkeys(array.nodes, name))
        return self.names[array]

    def _slab(self, array: st.Array) -> str:
        """The name of all steps of an array."""
        if array not in self.slabs:
            name = self._name(array)
            self.slabs[array] = name if array.first is None else self._unique(f"{name}_all")
        return self.slabs[array]

    # ------------------------------------------------------------------ expressions
    def _expr(self, x: Any) -> str:
        if isinstance(x, st.Leaf):
            return self._leaf(x)
        if isinstance(x, st.Index):
            return f"{self._expr(x.of)}[{self._key(x.key)}]"
        if isinstance(x, st.Call):
            return self._call(x)
        if isinstance(x, st.Given):
            return self._parameter(x)
        if isinstance(x, np.dtype):
            return repr(x.str.lstrip("<=|") if x.kind != "b" else "?")
        if isinstance(x, list):
            return f"({', '.join(map(self._expr, x))}{',' if len(x) == 1 else ''})"
        if isinstance(x, float) and not math.isfinite(x):
            return f"float('{x}')"
        return repr(x)

    def _leaf(self, leaf: st.Leaf) -> str:
        array, when = leaf.array, leaf.when
        if array.first is None:
            return self._name(array)
        match when:
            case Shift(delay):
                return f"{self._name(array)}[{_affine(1, -delay)}]"
            case At(step):
                return f"{self._slab(array)}[{step - array.first}{'' if len(array.shape) > 1 else ', ...'}]"
            case Span(first, last):
                start, stop = sorted((first, last))
                rows = self._rows_of(array, start - array.first, stop + 1 - array.first)
                return rows if first <= last else f"{rows}[::-1]"
        return self._slab(array)

    def _rows_of(self, array: st.Array, start: int, stop: int) -> str:
        text, rows = self._slab(array), array.shape[0]
        if (start, stop) == (0, rows):
            return text
        return f"{text}[{start or ''}:{'' if stop == rows else stop - rows}]"

    def _key(self, key: Sequence[Any]) -> str:
        while len(key) > 1 and key[-1] is Ellipsis and any(e is Ellipsis for e in key[:-1]):
            key = key[:-1]
        return ", ".join(map(self._entry, key))

    def _entry(self, e: Any) -> str:
        if isinstance(e, slice):
            ends = ["" if n is None else self._entry(n) for n in (e.start, e.stop, e.step)]
            return ":".join(ends if e.step is not None else ends[:2])
        if isinstance(e, st.Moving):
            return _affine(e.slope, e.start)
        return "..." if e is Ellipsis else self._expr(e)

    def _call(self, call: st.Call, out: str | None = None) -> str:
        word, args = call.word, [*map(self._expr, call.args)]
        if isinstance(word, Primitive):
            name = called(word)
            if isinstance(call.args[0], list):
                args = [f"[{', '.join(map(self._expr, call.args[0]))}]"]
        elif word == ".T":
            return f"{args[0]}.T"
        elif word.startswith("."):
            name, args = f"{args[0]}{word}", args[1:]
        else:
            name = word
        keywords = [f"{key}={self._expr(value)}" for key, value in call.keywords]
        return f"{name}({', '.join([*args, *keywords, *([f'out={out}'] if out is not None else [])])})"

    def _parameter(self, given: st.Given) -> str:
        """A parameter as text; what has none, such as an array, is a parameter of the program."""
        text = parameter(given.value)
        if text is not None:
            return text
        known = next((name for name, value in self.constants.items() if value is given.value), None)
        if known is None:
            known = self._unique(given.wanted)
            self._given(known, given.value)
        return known

    # ------------------------------------------------------------------ statements
    def _statement(self, x: Any) -> list[tuple[str, str]]:
        """The lines of a statement, each with a note."""
        match x:
            case st.For():
                return self._loop(x)
            case st.Rows(array):
                return list(self._rows([array], {}))
            case st.Assign(array, value, node):
                text = self._expr(value)
                if text.isidentifier():
                    self._is_also(array, text)
                    return []
                return [(f"{self._slab(array)} = {text}", _note(node))]
            case st.Apply(out, call, node):
                return [(self._call(call, self._expr(out)), _note(node))]
            case st.Copy(out, value, node, where, cast):
                more = f", where={self._expr(where)}" if where is not None else ", casting='unsafe'" if cast else ""
                return [(f"copyto({self._expr(out)}, {self._expr(value)}{more})", _note(node))]
            case st.Fill(out, number, node):
                return [(f"{self._expr(out)}.fill({self._expr(number)})", _note(node))]
            case st.Put(out, key, value, how, node):
                text = self._expr(value)
                if how == "at":
                    return [(f"add.at({self._expr(out)}, s_[{self._key(key)}], {text})", _note(node))]
                return [(f"{self._expr(out)}[{self._key(key)}] {how} {text}", _note(node))]
        raise TypeError(type(x).__name__)

    def _grouped(self, body: Sequence[Any]) -> Iterator[list[Any]]:
        """Statements one by one, but those together that make one line."""
        group: list[Any] = []
        for each in body:
            last = group[-1] if group else None
            fill = isinstance(each, st.Fill) and isinstance(last, st.Fill) and repr(each.number) == repr(last.number)
            if group and not fill and not (len(group) == 1 and self._goes_on(last, each)):
                yield group
                group = []
            group.append(each)
        if group:
            yield group

    def _goes_on(self, first: Any, second: Any) -> bool:
        """Whether a call reads what the one before has just made, once, and it is not read again."""
        if not isinstance(second, st.Apply) or not isinstance(first, (st.Apply, st.Assign)):
            return False
        word = second.call.word
        if second.call.keywords or not (word.is_ufunc if isinstance(word, Primitive) else hasattr(np, word)):
            return False
        if isinstance(first, st.Assign):
            plain = isinstance(first.value, st.Call) and self.read[first.array] == 1
        else:
            plain = _is_same(first.out, second.out)
        out = _made(first)
        read = [leaf for leaf in st.leaves(second.call) if isinstance(out, st.Leaf) and leaf.array is out.array]
        return plain and len(read) == 1 and any(_is_same(a, out) for a in second.call.args)

    def _together(self, group: Sequence[Any]) -> list[tuple[str, str]]:
        """Fills with one number on one line, and a call that goes on with the result of the one before."""
        first, *rest = group
        if isinstance(first, st.Fill) and not (isinstance(first.out, st.Leaf) and isinstance(first.out.when, Shift)):
            targets = [self._expr(each.out) for each in group]
            targets = [text if text.endswith("]") else f"{text}[...]" for text in targets]
            return [(f"{' = '.join(targets)} = {self._expr(first.number)}", _note(first.node))]
        for second in rest:
            inner = self._expr(first.value) if isinstance(first, st.Assign) else self._statement(first)[0][0]
            args = [inner if _is_same(a, _made(first)) else self._expr(a) for a in second.call.args]
            word = second.call.word
            joined = f"{called(word) if isinstance(word, Primitive) else word}({', '.join(args)}"
            joined = f"{joined}, out={self._expr(second.out)})"
            if len(joined) <= _WIDTH:
                return [(joined, _note(second.node))]
        return [line for each in group for line in self._statement(each)]

    def _memory(self, arrays: Mapping[st.Array, bool]) -> Iterator[tuple[str, str]]:
        """The lines that allocate: arrays in one memory by one line, and those of one shape too."""
        alike: dict[Any, list[list[st.Array]]] = {}
        shown: list[tuple[str, str]] = []
        seen: set[st.Memory] = set()
        for array in arrays:
            memory = array.memory
            assert memory is not None
            if memory in seen:
                continue
            seen.add(memory)
            same = [other for other in memory.arrays if other.shape == array.shape and other in arrays]
            alike.setdefault((array.shape, array.dtype, arrays[array], len(same)), []).append(same)
            for other in memory.arrays:
                if other not in same and other in arrays:
                    size = math.prod(other.shape)
                    flat = f"{self._slab(array)}.reshape(-1)" + ("" if size == memory.size else f"[:{size}]")
                    line = f"{self._slab(other)} = {flat}.reshape({self._expr(other.shape)})"
                    shown.append((line, "in the same memory"))
        for (shape, dtype, zero, count), found in alike.items():
            names = [[self._slab(array) for array in same] for same in found]
            groups = _fitting([sum(map(len, each)) + 2 * count for each in names])
            for group in groups if shape else [[i] for i in range(len(names))]:  # taken apart, numbers are no arrays
                lead = (len(group), *shape) if len(group) > 1 else shape
                targets = [", ".join(names[i][k] for i in group) for k in range(count)]
                made = f"{'zeros' if zero else 'empty'}({self._expr(lead)}, {self._expr(dtype)})"
                times = {found[i][0].first for i in group}
                note = "one step" if times == {None} else "with the initial value" if zero else "all steps"
                yield f"{' = '.join(targets)} = {made}", note + (", one after another" if count > 1 else "")
        yield from shown

    def _rows(self, arrays: Sequence[st.Array], views: Mapping[st.Array, str]) -> Iterator[tuple[str, str]]:
        """The lists in which [t] is the row of step t; that of step -1 is the last."""
        lists: dict[Any, list[tuple[str, str]]] = {}
        for array in arrays:
            slab = views.get(array) or self._slab(array)
            alike = lists.setdefault((array.first, len(array.shape) > 1 or array.shape[0]), [])
            known = [name for name, other in alike if other == slab]
            if known:
                self.names[array] = known[0]
                continue
            name = self._name(array)
            if name == slab:
                name = self.names[array] = self._unique(f"{name}_t")
            alike.append((name, slab))
        for (first, rest), pairs in lists.items():
            for group in _fitting([len(name) + len(slab) + 4 for name, slab in pairs]):
                names, slabs = zip(*(pairs[i] for i in group), strict=True)
                many = f"({', '.join(slabs)})" if len(group) > 1 else slabs[0]
                if first == 0 and rest is True:
                    right = f"map(list, {many})" if len(group) > 1 else f"list({many})"
                else:
                    right = _list("x" if len(group) > 1 else many, first, rest)
                    right = f"({right} for x in {many})" if len(group) > 1 else right
                yield f"{', '.join(names)} = {right}", ""

    def _loop(self, loop: st.For) -> list[tuple[str, str]]:
        numbers = f"range({loop.lo}, {loop.hi + 1})" if loop.lo else f"range({loop.hi + 1})"
        head = f"for t in {f'reversed({numbers})' if loop.reverse else numbers}:"
        lines = [(head, "back in time" if loop.reverse else "through time")]
        whole = guarded = (loop.lo, loop.hi)
        for steps, statements in groupby(loop.body, key=lambda each: (each.lo, each.hi)):
            if steps not in (guarded, whole):
                tests = [f"t >= {steps[0]}"] if steps[0] > loop.lo else []
                tests += [f"t <= {steps[1]}"] if steps[1] < loop.hi else []
                lines.append((f"    if {' and '.join(tests)}:", ""))
            guarded = steps
            indent = "    " if steps == whole else "        "
            for group in self._grouped([each.statement for each in statements]):
                lines.extend((indent + code, note) for code, note in self._together(group))
        if loop.one_thread and self.one_thread:
            lines = [(f"    {code}", note) for code, note in lines]
            lines.insert(0, ("with one_thread:", "its products are too small to share"))
        return lines


# ---------------------------------------------------------------------- what is in statements
def _read_by(x: Any) -> Iterator[Any]:
    """What statements read, and what they write where it is not an assignment."""
    for each in x:
        if isinstance(each, st.For):
            yield from _read_by(within.statement for within in each.body)
        else:
            yield each.value if isinstance(each, st.Assign) else each


# ---------------------------------------------------------------------- text
_SHORT = {"cross_entropy_of_classes": "xent", "cross_entropy_of_logits": "xent", "getitem": "part"}


def _described(node: Node, known: Mapping[Node, str]) -> str:
    """A name for what has none, from its operation and operands."""
    p = node.primitive
    if p is None:
        return "x" if node.is_input else "mask" if node.drawings else "table" if node.rolled else "constant"
    word = _SHORT.get(p.name, p.name)
    operands = [_known(a.node, known) for a in node.args if type(a) is Read]
    first = operands[0] if operands else "x"
    if p in (ops.transpose, ops.swapaxes):
        return f"{first}_T"
    if p is total:
        return f"{first}_sum"
    if p is ops.subtract and node.args[0] == 1:
        return f"one_minus_{first}"
    if p is ops.matmul and len(operands) == 2 and len("".join(operands)) < 12:
        return f"{operands[0]}_{operands[1]}"
    of = node.backward_of
    if of is not None:
        what = of.primitive.name if of.primitive else "x"
        what = _SHORT.get(what, what)
        if node.sent_to:
            return f"d{node.sent_to}_{of.name or what}"
        return f"d{what}_{of.name}" if of.name else f"d{what}"
    return f"{first}_{word}" if len(first) < 10 else word


def _known(node: Node, known: Mapping[Node, str]) -> str:
    name = node.name or known.get(node)
    turned = node.primitive in (ops.transpose, ops.swapaxes)
    return name or (_described(node, known) if turned else "x")


def _made(statement: st.Apply | st.Assign) -> st.Expr:
    """What a statement gives a value."""
    return statement.out if isinstance(statement, st.Apply) else st.Leaf(statement.array, WHOLE, statement.node)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two expressions are the same rows of the same array."""
    return (
        isinstance(one, st.Leaf) and isinstance(other, st.Leaf) and (one.array, one.when) == (other.array, other.when)
    )


def _joined(views: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Assignments on as few lines as read well."""
    group: list[tuple[str, str]] = []
    for name, text in [*views, ("", "")]:
        width = sum(len(a) + len(b) + 4 for a, b in (*group, (name, text)))
        if group and (not name or width > _WIDTH or words(text) & {name for name, _ in group}):
            names, texts = zip(*group, strict=True)
            yield f"{', '.join(names)} = {', '.join(texts)}", "views"
            group = []
        group.append((name, text))


def _as_compiled(name: str, value: Any) -> str:
    what = f"{value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else f"of type {type(value).__name__}"
    return f"# {name}: {what}, as it was when compiled: step.program.source.constants[{name!r}]"


def _fitting(widths: Sequence[int]) -> list[list[int]]:
    """Numbers of what fits on a line, group by group."""
    groups: list[list[int]] = []
    width = _NAMES
    for i, needed in enumerate(widths):
        if not groups or width + needed > _NAMES:
            groups.append([])
            width = 0
        groups[-1].append(i)
        width += needed
    return groups


def _note(node: Node) -> str:
    """What a line is for: its operation, or the one whose gradient it belongs to, and the scope."""
    p, of = node.primitive, node.backward_of
    if of is None:
        text = "add" if p is total else p.name if p else ""
    elif of.primitive is None:
        text = f"gradient of {of.name or 'an input'}"
    elif p is total and of.name:
        text = f"gradient of {of.name}"
    else:
        text = f"backward of {of.primitive.name}{f' ({of.name})' if of.name else ''}"
    return text + (f", {node.scope}" if node.scope else "")


def _affine(slope: int, start: int) -> str:
    """slope * t + start as text."""
    sign = "t" if slope == 1 else "-t" if slope == -1 else f"{slope} * t"
    if start and slope < 0 and start > 0:
        return f"{start} - {sign[1:]}"
    return sign if not start else f"{sign} {'+' if start > 0 else '-'} {abs(start)}"


def _list(text: str, first: int, rows: int | bool) -> str:
    """The list `r` of the rows of `text` in which `r[t]` is that of step t; the first may be that of step -1.

    Of an array of numbers, which has so many `rows`, `list` would give numbers.
    """
    many = first if isinstance(first, int) else f"({first})"  # such as T - 3
    absent = f"[None] * {many} + " if first > 0 else ""
    if rows is True:
        return f"[*{text}[{-first}:], *{text}[:{-first}]]" if first < 0 else f"{absent}list({text})"
    steps = f"(*range({-first}, {rows}), *range({-first}))" if first < 0 else f"range({rows})"
    return f"{absent}[{text}[t, ...] for t in {steps}]"
