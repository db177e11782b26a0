"""Product: C = D + A B, a tile of registers at a time, with B in panels as wide as a tile.

A tile is m rows of A times n vectors of B: its m n sums stay in registers while k runs, each vector of B is loaded
once for m rows, and each number of A once for n vectors (K. Goto and R. van de Geijn, "Anatomy of high-performance
matrix multiplication", 2008).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial, reduce
from typing import NamedTuple

from .isa import Isa, Vector
from .writer import Function, Index

_PANEL_BYTES = 96 << 10
"""Of a panel of B that stays in the nearest caches while the rows of A go by; a longer one is cut."""


class Rows(NamedTuple):
    """Rows of numbers side by side: where the first begins, and how far it is to the next (0: all the same)."""

    pointer: str
    stride: Index

    def moved(self, f: Function, i: Index, column: Index = 0) -> Rows:
        """Those from row i and a column on."""
        return Rows(f.at(self.pointer, (i, self.stride), column), self.stride)


class Inner(NamedTuple):
    """One counter of the sum over k: how far it runs (at least once), and the strides in A and B."""

    terms: Index
    a: Index
    b: Index


class Product:
    """A product of an (M, K) and a (K, N) matrix.

    Args:
        vector: the vectors to use.
        M: about how many rows the result has.
        N: its columns.
        K: terms of each sum, if B is packed in panels; None if B stays as it is, row by row.
    """

    def __init__(self, vector: Vector, M: int, N: int, K: Index | None) -> None:
        self.vector, self.N, self.K = vector, N, K
        self.vectors = -(-N // vector.lanes)
        self.m, self.n = tile(vector.isa, vector.lanes, M, N)
        self.columns = self.vectors * vector.lanes
        """Those of the panels together: B packed takes this many numbers for each term."""

    # ------------------------------------------------------------------ packing
    def pack(self, f: Function, source: Rows, target: str, k0: Index = 0, rows: Index | None = None) -> None:
        """Copy B, or its `rows` rows from k0 on, into panels; the last columns are filled up with zeros."""
        for column, vectors in self._panels(f):
            with f.loop(0, self._terms if rows is None else rows) as k:
                row = f.at(source.pointer, (k, source.stride), column)
                to = f.at(target, (column, self._terms), (f.add(k0, k), self._width(vectors)))
                for v, n in vectors:
                    f.store(f.load(f.at(row, v), n), f.at(to, v))

    def pack_transposed(self, f: Function, source: Rows, target: str) -> None:
        """Copy B.T into panels; the last columns are filled up with zeros."""
        for column, vectors in self._panels(f):
            for v, n in vectors:
                rows = f.pointers(f.at(source.pointer, (f.add(column, v), source.stride)), source.stride)
                with f.loop(0, self._terms) as k:
                    to = f.at(target, (column, self._terms), (k, self._width(vectors)), v)
                    f.store(f.gather(rows, k, n), to)

    @property
    def _terms(self) -> Index:
        assert self.K is not None
        return self.K

    def _width(self, vectors: Sequence[object]) -> int:
        return len(vectors) * self.vector.lanes

    def _panels(self, f: Function) -> Iterator[tuple[Index, list[tuple[int, int | None]]]]:
        """For each panel, in loops: the column that it begins in, and its vectors.

        They are the column of each within the panel and how many of its numbers count, if not all. Whoever iterates
        must go on to the end.
        """
        lanes = self.vector.lanes
        full, rest = divmod(self.vectors, self.n)
        masked = self.N % lanes or None
        plain = full - 1 if masked and not rest else full
        runs = [(0, plain, self.n, None), (plain, full - plain, self.n, masked), (full, int(rest > 0), rest, masked)]
        for first, panels, count, last in (run for run in runs if run[1]):
            with f.loop(0, panels) as p:
                vectors = [(v * lanes, last if v == count - 1 else None) for v in range(count)]
                yield f.add(first * self.n * lanes, f.multiply(p, count * lanes)), vectors

    # ------------------------------------------------------------------ multiplying
    def write(
        self, f: Function, rows: Index, A: Rows, inner: Sequence[Inner], B: str, C: Rows, start: Rows | None
    ) -> None:
        """Write C = start + A B.

        Args:
            f: where to write.
            rows: rows of the result.
            A: its rows.
            inner: the counters of the sum, the outermost first; for a packed B their strides in B are ignored.
            B: the panels, or the first row.
            C: the result.
            start: what the sums start from, such as a row of biases with stride 0; None for zero.
        """
        start = start or Rows(f.module.zeros(self.N), 0)
        cut = self._cut()
        if cut is None:
            self._all(f, rows, A, inner, B, C, start)
            return
        with f.loop(0, self._terms, cut) as k:
            part, panel = [Inner(cut, inner[0].a, 0)], f.at(B, (k, self.n * self.vector.lanes))
            start = either(f, f.op(f"icmp eq i64 {k}, 0"), start, C)
            self._all(f, rows, A.moved(f, 0, f.multiply(k, inner[0].a)), part, panel, C, start)

    def _cut(self) -> int | None:
        """How many terms of the sum to take at a time, or None for all."""
        if not isinstance(self.K, int) or self.vectors % self.n:
            return None
        most = _PANEL_BYTES // (self.n * self.vector.lanes * self.vector.size)
        fitting = [c for c in range(most // 2, most + 1) if c and self.K % c == 0]
        return fitting[-1] if most < self.K and fitting else None

    def _all(self, f: Function, rows: Index, A: Rows, inner: Sequence[Inner], B: str, C: Rows, start: Rows) -> None:
        for column, vectors in self._panels(f):
            panel, counters = f.at(B, column if self.K is None else (column, self.K)), list(inner)
            if self.K is not None:
                stride: Index = self._width(vectors)
                for at in reversed(range(len(counters))):
                    counters[at] = counters[at]._replace(b=stride)
                    stride = f.multiply(stride, counters[at].terms)
            for i, m in self._row_blocks(f, rows):
                c, d = C.moved(f, i, column), start.moved(f, i, column)
                self._tile(f, m, vectors, A.moved(f, i), counters, panel, c, d)

    def _row_blocks(self, f: Function, rows: Index) -> Iterator[tuple[Index, int]]:
        """The first row and the height of each tile; the body of loops, as in `Function.columns`."""
        whole: Index = f.subtract(rows, f.op(f"urem i64 {rows}, {self.m}"))
        with f.loop(0, whole, self.m) as i:
            yield i, self.m
        if self.m > 1:
            with f.loop(whole, rows) as i:
                yield i, 1

    def _tile(
        self,
        f: Function,
        m: int,
        vectors: Sequence[tuple[int, int | None]],
        A: Rows,
        inner: Sequence[Inner],
        B: str,
        C: Rows,
        start: Rows,
    ) -> None:
        size, terms = m * len(vectors), inner[-1].terms
        # an addition takes four cycles: where too few sums would wait for it, several sets of them take turns
        sets = min(terms, max(1, 4 // size)) if isinstance(terms, int) else 1

        def places(rows: Rows) -> list[tuple[str, int | None]]:
            pointers = [f.at(rows.pointer, (i, rows.stride)) for i in range(m)]
            return [(f.at(pointer, v), n) for pointer in pointers for v, n in vectors]

        def turn(a: str, b: str, first: int = 0) -> None:
            loaded = [f.load(f.at(b, v), n if self.K is None else None) for v, n in vectors]
            for i in range(m):
                x = f.broadcast(f.at(a, (i, A.stride)))
                for at, y in enumerate(loaded, first + i * len(vectors)):
                    sums[at] = f.fma(x, y, sums[at])

        def run(a: str, b: str, counters: Sequence[Inner]) -> None:
            k, *more = counters
            step, end = (1, k.terms) if more or sets == 1 else (sets, int(k.terms) // sets * sets)
            with f.loop(0, end, step, carried=sums, some=True) as i:
                for each in range(step):
                    a_, b_ = f.at(a, (f.add(i, each), k.a)), f.at(b, (f.add(i, each), k.b))
                    run(a_, b_, more) if more else turn(a_, b_, each * size)
            for last in range(int(end), int(k.terms)) if step > 1 else ():
                turn(f.at(a, (last, k.a)), f.at(b, (last, k.b)))

        sums = [f.load(p, n) for p, n in places(start)] + ["zeroinitializer"] * (size * (sets - 1))
        run(A.pointer, B, inner)
        for at, (pointer, n) in enumerate(places(C)):
            f.store(reduce(partial(f.binary, "fadd"), sums[at::size]), pointer, n)


def either(f: Function, flag: str, a: Rows, b: Rows) -> Rows:
    """One of two runs of rows."""
    pointer = f.op(f"select i1 {flag}, ptr {a.pointer}, ptr {b.pointer}")
    return Rows(pointer, f.op(f"select i1 {flag}, i64 {a.stride}, i64 {b.stride}"))


@lru_cache
def tile(isa: Isa, lanes: int, M: int, N: int) -> tuple[int, int]:
    """Rows and vectors of the tile that takes the fewest cycles for M x N sums.

    A turn of k takes a cycle for each product and sum, at least four until a sum can be added to again, and half a
    cycle (a whole one with narrower vectors) for each load. Panels of two widths are twice the code to build.
    """
    vectors = -(-N // lanes)

    def turn(m: int, n: int) -> float:
        loads = (m + n) * (0.5 if isa.bits == 512 else 1.0)
        return max(m * n, 8, loads) + 0.2 * (m + n) + 0.3

    def cost(m: int, n: int) -> float:
        heights, widths = ((m, M // m), (1, M % m)), ((n, vectors // n), (vectors % n, 1))
        return (1.02 if vectors % n else 1) * sum(i * j * turn(h, w) for h, i in heights for w, j in widths if h and w)

    fitting = [
        (m, n)
        for m in range(1, min(M, 14) + 1)
        for n in range(1, min(vectors, 8) + 1)
        if m * n + n + 2 <= isa.registers
    ]
    return min(fitting, key=lambda mn: cost(*mn))
