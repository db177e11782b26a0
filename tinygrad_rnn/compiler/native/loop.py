"""Loop: a region written down: all steps of a part of the batch, in chunks of time.

The function `part` has the addresses and sizes in a table, and so depends on no length: in every chunk the products
that wait for nothing come first, for all its steps, then the steps, then what is added up over them. `pack`
brings the weights into panels, once a call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any, NamedTuple, cast

from ..ir import Node, Read, Shift
from .isa import Isa, Vector, current
from .machine import DATA, DENSE, DTYPE, FLAGS, KIND, STRIDES
from .product import Inner, Product, Rows, either
from .region import WRITTEN, Group, Multiply, Number, Operand, Place, Region, Task, own, sums_rows
from .writer import Function, Index, Module

_PACK = 1024
"""Bytes of a row above which the rows of a sum over time are packed: they would fight for the same cache lines."""


RESULTS, ARRAYS, STATE, KIND_OF, DTYPE_OF, PACKED, PARTS, SCRATCH, STEPS, CHUNK, KEPT = range(11)
"""What stands in the table: the first three are written by each call. From `KEPT` on, for each node in memory, where it
begins and how far it is from step to step; then the bits of the numbers that are read."""
FIT, LOOK, UNFIT = range(3)
"""States: the arrays are as they are read; look whether they are; they are not, so that nothing was done."""


class Written(NamedTuple):
    """A region written down, without anything that depends on a length: equal ones are the same code.

    Attributes:
        text: the code in LLVM's language, for the instruction set `isa`.
        single: whether its numbers are float32.
        vectors: whether a step of an array is a vector, not a matrix.
        timed: for each array that is read, whether it has a row for each step.
        kept: for each node that is in memory how it is kept, and its columns.
        sums: for each sum where it begins, and its shape.
        packed: numbers in all panels.
        scratch: numbers for each row and step of a chunk that sums need.
        chunked: whether there is something to do for many steps at once.
        cost: about how many nanoseconds a row takes for a step.
    """

    text: str
    isa: Isa
    single: bool
    vectors: bool
    timed: tuple[bool, ...]
    kept: tuple[tuple[str, int], ...]
    sums: tuple[tuple[int, tuple[int, ...]], ...]
    packed: int
    scratch: int
    chunked: bool
    cost: float


class Loop:
    """The writer of a region, for products of that many rows.

    Attributes:
        written: the text, and what its table must hold.
        reads: the arrays that it reads, in their order.
        numbers: what stands for the numbers that it reads.
        kept: how each node that is in memory is kept.
        sums: for each sum where it begins.
    """

    def __init__(self, region: Region, rows: int) -> None:
        self.region, self.kept = region, region.kept
        self.vector = Vector(current(), region.dtype)
        self.module = Module(self.vector)
        self.reads: dict[Read, int] = {}
        self.numbers: dict[Number, int] = {}
        self.index = {node: i for i, node in enumerate(self.kept)}
        self.weights: dict[tuple[Read, bool], tuple[Product, int]] = {}
        self.products: dict[Multiply, str] = {}
        self.packed = self.scratch = self.count = 0
        self.rows_expected = rows
        products = {summed.node for summed in region.after}
        self.sums: dict[Node, int] = {}
        size = self.cleared = 0  # sums that are added to from the first step on; products set the others
        for node in sorted((n for n in region.nodes if not n.rolled), key=lambda n: (n in products, n.order)):
            self.sums[node], size = size, size + math.prod(node.shape)
            self.cleared = self.cleared if node in products else size
        self._part()
        self._pack()
        self._run()
        self.written = Written(
            self.module.text,
            self.vector.isa,
            self.vector.single,
            region.ndim == 1,
            tuple(isinstance(read.when, Shift) for read in self.reads),
            tuple((how, node.shape[-1]) for node, how in self.kept.items()),
            tuple((at, node.shape) for node, at in self.sums.items()),
            self.packed,
            self.scratch,
            bool(region.before or region.after),
            region.cost(),
        )

    def _read(self, read: Read) -> str:
        """The address of an array's object."""
        arrays = self.f.entry("%table", ARRAYS)
        return self.f.entry(arrays, self.reads.setdefault(read, len(self.reads)))

    # ------------------------------------------------------------------ the part of a batch
    def _part(self) -> None:
        region = self.region
        f = self.f = Function(self.module, "part", ["ptr %table", "i64 %part"])
        self.values: dict[Any, Any] = {}
        results, parts = self._given(RESULTS, "ptr"), self._given(PARTS, "ptr")
        with f.early():
            mine = f.op(f"getelementptr [4 x i64], ptr {parts}, i64 %part")
            self.work, sums = f.entry(mine, 0), f.entry(mine, 3)
            self.first, end = f.entry(mine, 1, "i64"), f.entry(mine, 2, "i64")
            self.to_sums = f.op(f"select i1 {f.op(f'icmp eq ptr {sums}, null')}, ptr {results}, ptr {sums}")
            self.rows = f.subtract(end, self.first)
        self.n, self.chunk = self._given(STEPS), self._given(CHUNK)
        self.row_sums = {n: f.op(f"alloca {self.vector.type}, align 64") for n in region.nodes if sums_rows(n)}
        self.totals: dict[Node, tuple[str, str]] = {}
        for node in [node for node in self.sums if node.shape == ()]:
            of_step, whole = (f.op(f"alloca {self.vector.type}, align 64") for _ in range(2))
            f.store("zeroinitializer", whole)
            self.totals[node] = of_step, whole
        numbers = [self.to_sums, "0", str(self.cleared * self.vector.size), "false"]
        f.intrinsic("memset.p0.i64", "void", ["ptr", "i8", "i64", "i1"], numbers)
        self._begin()
        self.base: Index = 0
        with self._steps_of_chunks() as (base, count):
            self.base = base
            for product in region.before:
                self._beforehand(product, base, count)
            with f.loop(0, count) as k:
                t = f.subtract(f.add(base, f.subtract(count, 1)), k) if region.reverse else f.add(base, k)
                for statement in region.steps:
                    with self._when(statement, t):
                        if isinstance(statement, Multiply):
                            f.note(f"{statement.result.name or 'a product'}, K = {statement.K}, N = {statement.N}")
                            self._multiply(statement, t, self.rows)
                        else:
                            self._group(statement, t)
            for b in dict.fromkeys(c.b for c in region.after):
                self._sums_of(b, base, count)
        for node, (_, whole) in self.totals.items():
            self._add_up(whole, f.at(self.to_sums, self.sums[node]))
        f.close()

    @contextmanager
    def _steps_of_chunks(self) -> Iterator[tuple[Index, Index]]:
        """The first step of each chunk and how many it has, counted from the loop's first step."""
        f = self.f
        chunks = f.op(f"sdiv i64 {f.add(self.n, f.subtract(self.chunk, 1))}, {self.chunk}")
        with f.loop(0, chunks) as c:
            self.starts = f.op(f"icmp eq i64 {c}, 0")
            done = f.multiply(c, self.chunk)
            count = f.least(self.chunk, f.subtract(self.n, done))
            yield (f.subtract(f.subtract(self.n, done), count) if self.region.reverse else done), count

    def _given(self, slot: int, kind: str = "i64") -> Any:
        if slot not in self.values:
            with self.f.early():
                self.values[slot] = self.f.entry("%table", slot, kind)
        return self.values[slot]

    def _base(self, place: Place) -> tuple[str, Index]:
        """Where the source of a place begins for this part of the batch, and how far it is from step to step."""
        f, source, key = self.f, place.source, ("base", place.source, place.stride)
        if key not in self.values:
            with f.early():
                whole, stride = True, cast(Index, 0)  # of the batch
                if isinstance(source, Read):
                    array = self._read(source)
                    pointer = f.entry(array, DATA)
                    if place.delay is not None:
                        bytes_ = f.entry(f.entry(array, STRIDES), 0, "i64")
                        stride = f.op(f"sdiv exact i64 {bytes_}, {self.vector.size}")
                else:
                    how, at = self.kept[source], KEPT + 2 * self.index[source]
                    whole = how == "slab"
                    pointer = f.at(self._given(RESULTS, "ptr") if whole else self.work, self._given(at))
                    stride = 0 if how == "one" else self._given(at + 1)
                self.values[key] = f.at(pointer, (self.first, place.stride if whole else 0)), stride
        return self.values[key]

    def _number(self, number: Number) -> str:
        """It in all lanes."""
        f, v = self.f, self.vector
        if number not in self.values:
            with f.early():
                at = self.numbers.setdefault(number, len(self.numbers))
                x = f.entry("%table", KEPT + 2 * len(self.kept) + at, "double")
                x = f.op(f"fptrunc double {x} to float") if v.single else x
                self.values[number] = f.splat(x)
        return self.values[number]

    def _row(self, place: Place, t: Index) -> str:
        """Where a place begins at step t, counted from the loop's first step."""
        f, source, region = self.f, place.source, self.region
        pointer, stride = self._base(place)
        if stride == 0 or place.delay is None:
            return f.at(pointer, place.column)
        if isinstance(source, Read):
            row = f.add(t, region.lo - place.delay - region.span(source)[0])
        elif self.kept[source] == "slab":
            row = f.add(t, region.lo - place.delay - region.held(source)[0])
        elif self.kept[source] == "two":
            row = f.op(f"and i64 {f.subtract(t, place.delay)}, 1") if isinstance(t, str) else (t - place.delay) & 1
        else:
            row = f.subtract(t, self.base)
        return f.at(pointer, (row, stride), place.column)

    def _begin(self) -> None:
        """What is read of the step before the first: the initial values."""
        f, region = self.f, self.region
        for node in self.kept:
            if self.kept[node] not in ("slab", "two"):
                continue
            for step, start in region.initials[node].items():
                t = f.add(self.n, step - 1 - region.hi) if step > node.hi else step - region.lo
                to = self._row(own(node), t)
                given = self._row(start, 0) if isinstance(start, Place) else to
                stride = start.stride if isinstance(start, Place) else 0
                with f.loop(0, self.rows, some=True) as b:
                    row = f.at(given, (b, stride))
                    for j, n in f.columns(node.shape[-1]):
                        f.store(self._value(start, row, j, n), f.at(to, (b, node.shape[-1]), j), n)

    @contextmanager
    def _when(self, statement: Multiply | Group, t: Index) -> Iterator[None]:
        """The steps at which a statement runs, if not all of the loop's."""
        f, region = self.f, self.region
        lo, hi = statement.steps if isinstance(statement, Multiply) else statement[0].steps
        tests = [f.op(f"icmp sge i64 {t}, {lo - region.lo}")] if lo > region.lo else []
        tests += [f.op(f"icmp slt i64 {t}, {f.add(self.n, hi - region.hi)}")] if hi < region.hi else []
        if not tests:
            yield
        else:
            with f.when(tests[0] if len(tests) == 1 else f.op(f"and i1 {tests[0]}, {tests[1]}")):
                yield

    # ------------------------------------------------------------------ elementwise
    def _group(self, group: Group, t: Index) -> None:
        f, width = self.f, group[0].width
        nodes = list(dict.fromkeys(task.node for task in group))
        f.note(", ".join(f"{n.name} = {n.operation}" if n.name else n.operation for n in nodes))
        registers = {own(task.node) for task in group if task.whole}
        read = [x for task in group for x in task.reads if isinstance(x, Place) and x not in registers]
        written = [own(node) for node in nodes if node in self.kept]
        rows = {place: self._row(place, t) for place in dict.fromkeys([*read, *written])}
        totals = [self.totals[node] for node in nodes if node in self.totals]
        row_sums = [node for node in nodes if node in self.row_sums]
        for of_step, _ in totals:
            f.store("zeroinitializer", of_step)
        with f.loop(0, self.rows, some=True) as b:
            at = {place: f.at(pointer, (b, place.stride)) for place, pointer in rows.items()}
            single = {place: f.broadcast(at[place]) for place in at if place.single}
            for node in row_sums:
                f.store("zeroinitializer", self.row_sums[node])
            for j, n in f.columns(width):
                self._vectors(group, at, dict(single), j, n)
            for node in row_sums:
                if node in self.kept:
                    self._add_up(self.row_sums[node], at[own(node)], width if node.operation == "mean" else 0)
        for of_step, whole in totals:
            f.store(f.binary("fadd", f.load(whole), f.load(of_step)), whole)

    def _vectors(self, tasks: Group, at: dict[Place, str], values: dict[Place, str], j: Index, n: int | None) -> None:
        """The vector from column j on, or its first n numbers, for each task; rows are `at`, `values` in registers."""
        for task in tasks:
            for x in task.reads:
                if isinstance(x, Place) and x not in values:
                    values[x] = self._value(x, at[x], j, n)
            operands = [values[x] if isinstance(x, Place) else self._value(x, "", j, n) for x in task.reads]
            if not task.whole:
                self._piece(task, operands[0], at, j, n)
                continue
            place = own(task.node)
            values[place] = self._apply(task.node, operands)
            if task.node in self.kept:
                self.f.store(values[place], self.f.at(at[place], j), n)

    def _piece(self, piece: Task, x: str, at: dict[Place, str], j: Index, n: int | None) -> None:
        """A vector into its columns of a joined array, or onto a sum."""
        f, node = self.f, piece.node
        if node in self.totals or node in self.row_sums:
            to = self.totals[node][0] if node in self.totals else self.row_sums[node]
            x = x if n is None else f.select(f.mask(n), x, "zeroinitializer")
            f.store(f.binary("fadd", f.load(to), x), to)
        elif node in self.sums:
            to = f.at(self.to_sums, self.sums[node], piece.column, j)
            f.store(f.binary("fadd", f.load(to, n), x), to, n)
        elif node in self.kept:
            f.store(x, f.at(at[own(node)], j, piece.column), n)

    def _apply(self, node: Node, x: list[str]) -> str:
        f = self.f
        if node.operation == "where":
            return f.select(f.compare("une", x[0], "zeroinitializer"), x[1], x[2])
        if node.primitive in WRITTEN:
            return WRITTEN[node.primitive](f, *x)
        word, terms = "fadd", x  # a copy, or a sum of all terms
        if node.operation == "power":  # x, x x or x x x
            word, terms = "fmul", x * int(node.args[1])
        return reduce(partial(f.binary, word), terms)

    def _value(self, x: Operand, row: str, j: Index, n: int | None) -> str:
        """A vector of an operand, from column j of its row on, or its only number in all lanes."""
        if isinstance(x, float):
            return self.f.constant(x)
        if isinstance(x, Number):
            return self._number(x)
        return self.f.broadcast(row) if x.single else self.f.load(self.f.at(row, j), n)

    def _add_up(self, vector: str, to: str, count: int = 0) -> None:
        """Write the sum of a vector's numbers, or their sum divided by a count."""
        f, v = self.f, self.vector
        value = f.load(vector)
        numbers = (f.op(f"extractelement {v.type} {value}, i64 {i}") for i in range(v.lanes))
        sum_ = reduce(lambda a, b: f.op(f"fadd {v.number} {a}, {b}"), numbers)
        if count:
            sum_ = f.op(f"fdiv {v.number} {sum_}, {float(count)!r}")
        f.lines.append(f"  store {v.number} {sum_}, ptr {to}, align {v.size}")

    # ------------------------------------------------------------------ products
    def _weight(self, m: Multiply) -> tuple[Product, int]:
        key = m.weight, m.transposed
        if key not in self.weights:
            rows = 48 if m in self.region.before else self.rows_expected
            made = Product(self.vector, rows, m.N, m.K)
            self.reads.setdefault(m.weight, len(self.reads))
            self.weights[key] = made, self.packed
            self.packed += made.columns * m.K
        return self.weights[key]

    def _multiply(self, m: Multiply, t: Index, rows: Index) -> None:
        """Call the function of a product, which is made where it is first needed."""
        f, (product, at) = self.f, self._weight(m)
        if m not in self.products:
            self.count += 1
            self.products[m] = f"product{self.count}"
            g = Function(self.module, self.products[m], [f"ptr %{x}" for x in "abcd"] + ["i64 %rows"], inner=True)
            d = None if m.start is None else Rows("%d", m.start.stride)
            product.write(g, "%rows", Rows("%a", m.a.stride), [Inner(m.K, 1, 0)], "%b", Rows("%c", m.N), d)
            g.close()
        panels = f.at(self._given(PACKED, "ptr"), at)
        c = self._row(Place(m.result, 0, 0, m.N), t)
        d_ = c if m.start is None else self._row(m.start, t)
        a = self._row(m.a, t)
        f.call(self.products[m], [f"ptr {a}", f"ptr {panels}", f"ptr {c}", f"ptr {d_}", f"i64 {rows}"])

    def _beforehand(self, m: Multiply, base: Index, count: Index) -> None:
        """A product for all steps of a chunk: one, where its rows follow on each other, else step by step."""
        f = self.f
        f.note(f"{m.result.name or 'product'} for all steps of the chunk")
        strides = [self._base(p) for p in (m.a, Place(m.result, 0, 0, m.N))]
        dense = [
            f.op(f"icmp eq i64 {step}, {f.multiply(self.rows, row)}")
            for (_, step), row in zip(strides, (m.a.stride, m.N), strict=True)
        ]
        together = f.op(f"and i1 {dense[0]}, {dense[1]}") if m.start is None or m.start.stride == 0 else "false"
        with f.when(together):
            self._multiply(m, base, f.multiply(count, self.rows))
        with f.when(f.op(f"xor i1 {together}, true")), f.loop(0, count) as k:
            self._multiply(m, f.add(base, k), self.rows)

    def _sums_of(self, b: Place, base: Index, count: Index) -> None:
        """Add a chunk to all sums over time of some a.T b: one function, which packs b once for all of them."""
        f = self.f
        sums = [c for c in self.region.after if c.b == b]
        M, N = max(c.node.shape[0] for c in sums), sums[0].node.shape[1]
        packs = N * self.vector.size >= _PACK and M >= 32
        self.count += 1
        pack, name = f"pack{self.count}", f"sum{self.count}"
        inner = [Inner("%steps", "%as", "%bs"), Inner("%rows", "%ar", b.stride)]
        (_, b_step), panels = self._base(b), f.at(self.work, self._given(SCRATCH))
        common = [f"i64 {count}", f"i64 {self.rows}", f"i64 {b_step}", f"ptr {self._row(b, base)}", f"ptr {panels}"]
        given = ["i64 %steps", "i64 %rows", "i64 %bs", "ptr %b", "ptr %panels"]
        if packs:
            g = Function(self.module, pack, given, inner=True)
            product = Product(self.vector, M, N, g.multiply("%steps", "%rows"))
            self.scratch = max(self.scratch, product.columns)
            with g.loop(0, "%steps") as k:
                product.pack(g, Rows(g.at("%b", (k, "%bs")), b.stride), "%panels", g.multiply(k, "%rows"), "%rows")
            g.close()
            f.call(pack, common)
        own = ["ptr %a", "ptr %c", "i64 %m", "i64 %as", "i64 %ar", "ptr %d", "i64 %ds"]
        g = Function(self.module, name, [*given, *own], inner=True)
        product = Product(self.vector, M, N, g.multiply("%steps", "%rows") if packs else None)
        panels_ = "%panels" if packs else "%b"
        product.write(g, "%m", Rows("%a", 1), inner, panels_, Rows("%c", N), Rows("%d", "%ds"))
        g.close()
        for c in sums:
            f.note(f"{c.node.name or 'a sum'} += a.T b, over the steps of the chunk; the first starts from zero")
            a, (_, a_step) = self._row(c.a, base), self._base(c.a)
            to_ = f.at(self.to_sums, self.sums[c.node])
            own = [f"ptr {a}", f"ptr {to_}", f"i64 {c.node.shape[0]}", f"i64 {a_step}", f"i64 {c.a.stride}"]
            d = either(f, self.starts, Rows(self.module.zeros(N), 0), Rows(to_, N))
            f.call(name, [*common, *own, f"ptr {d.pointer}", f"i64 {d.stride}"])

    def _pack(self) -> None:
        """If the arrays are as they are read, the weights into panels."""
        self.f = f = Function(self.module, "pack", ["ptr %table"])
        with f.when(f.op(f"icmp eq i64 {f.entry('%table', STATE, 'i64')}, {LOOK}")):
            self._look()
        with self._if_fit():
            for (read, transposed), (product, at) in self.weights.items():
                source = f.entry(self._read(read), DATA)
                stride = read.node.shape[1]
                target = f.at(f.entry("%table", PACKED), at)
                (product.pack_transposed if transposed else product.pack)(f, Rows(source, stride), target)
        f.close()

    def _look(self) -> None:
        """Whether all arrays are plain ones of the dtype, without gaps."""
        f = self.f
        kind, dtype = f.entry("%table", KIND_OF), f.entry("%table", DTYPE_OF)
        arrays = f.entry("%table", ARRAYS)
        with f.loop(0, len(self.reads)) as i:
            array = f.entry(arrays, i)
            is_array = f.op(f"icmp eq ptr {f.entry(array, KIND)}, {kind}")
            with f.when(f.op(f"xor i1 {is_array}, true")):  # a NumPy scalar is shorter than what is read of arrays
                self._unfit()
            with f.when(is_array):
                flags = f.op(f"and i32 {f.entry(array, FLAGS, 'i32')}, {DENSE}")
                other = f.op(f"icmp ne ptr {f.entry(array, DTYPE)}, {dtype}")
                with f.when(f.op(f"or i1 {other}, {f.op(f'icmp ne i32 {flags}, {DENSE}')}")):
                    self._unfit()

    def _unfit(self) -> None:
        self.f.lines.append(f"  store i64 {UNFIT}, ptr {self.f.op(f'getelementptr i64, ptr %table, i64 {STATE}')}")

    def _if_fit(self) -> Any:
        return self.f.when(self.f.op(f"icmp ne i64 {self.f.entry('%table', STATE, 'i64')}, {UNFIT}"))

    def _run(self) -> None:
        """Both for the whole batch at once."""
        self.f = f = Function(self.module, "run", ["ptr %table"])
        f.call("pack", ["ptr %table"])
        with self._if_fit():
            f.call("part", ["ptr %table", "i64 0"])
        f.close()
