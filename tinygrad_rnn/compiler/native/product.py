"""Product: C = D + A B, a tile of registers at a time, with B in panels as wide as a tile.

A tile is m rows of A times n vectors of B: its m n sums stay in registers while k runs, each vector of B is loaded
once for m rows, and each number of A once for n vectors (K. Goto and R. van de Geijn, "Anatomy of high-performance
matrix multiplication", 2008).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .isa import Vector
from .writer import Function, Index

_PANEL_BYTES = 96 << 10
"""Of a panel of B that stays in the nearest caches while the rows of A go by; a longer one is cut."""


class Rows(NamedTuple):
    """Rows of numbers side by side: where the first begins, and how far it is to the next (0: all the same)."""

    pointer: str
    stride: Index


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
        self.m, self.n = tile(vector, M, N)
        self.columns = self.vectors * vector.lanes
        """Those of the panels together: B packed takes this many numbers for each term."""

    # ------------------------------------------------------------------ packing
    def pack(self, f: Function, source: Rows, target: str, k0: Index = 0, rows: Index | None = None) -> None:
        """Copy B, or its `rows` rows from k0 on, into panels; the last columns are filled up with zeros."""
        assert self.K is not None
        lanes = self.vector.lanes
        for first, panels, count, rest in self._panels():
            with f.loop(0, panels) as (p, _), f.loop(0, self.K if rows is None else rows) as (k, _):
                column = f.add(first * lanes, f.multiply(p, count * lanes))
                to = f.at(target, f.multiply(column, self.K), (f.add(k0, k), count * lanes))
                for v in range(count):
                    n = rest if v == count - 1 else None
                    f.store(f.load(f.at(source.pointer, (k, source.stride), column, v * lanes), n), f.at(to, v * lanes))

    def pack_transposed(self, f: Function, source: Rows, target: str) -> None:
        """Copy B.T into panels; the last columns are filled up with zeros."""
        lanes = self.vector.lanes
        for first, panels, count, rest in self._panels():
            with f.loop(0, panels) as (p, _):
                column = f.add(first * lanes, f.multiply(p, count * lanes))
                panel = f.at(target, f.multiply(column, self.K or 0))
                for v in range(count):
                    rows = f.pointers(f.at(source.pointer, (f.add(column, v * lanes), source.stride)), source.stride)
                    with f.loop(0, self.K or 0) as (k, _):
                        x = f.gather(rows, k, rest if v == count - 1 else None)
                        f.store(x, f.at(panel, (k, count * lanes), v * lanes))

    def _panels(self) -> Iterator[tuple[int, int, int, int | None]]:
        """Runs of equal panels: the first vector, how many panels, vectors of each, columns in the last vector."""
        full, rest = divmod(self.vectors, self.n)
        masked = self.N % self.vector.lanes or None
        plain = full - 1 if masked and not rest else full
        if plain:
            yield 0, plain, self.n, None
        if plain < full:
            yield plain * self.n, 1, self.n, masked
        if rest:
            yield full * self.n, 1, rest, masked

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
        cut = self._cut()
        if cut is None:
            self._all(f, rows, A, inner, B, C, start)
            return
        k = inner[0]
        short = [Inner(cut, k.a, k.b)]
        self._all(f, rows, A, short, B, C, start)
        assert isinstance(self.K, int)
        with f.loop(cut, self.K, cut) as (k0, _):
            panel = f.at(B, (k0, self.n * self.vector.lanes))
            self._all(f, rows, Rows(f.at(A.pointer, (k0, k.a)), A.stride), short, panel, C, C)

    def _cut(self) -> int | None:
        """How many terms of the sum to take at a time, or None for all."""
        if not isinstance(self.K, int) or self.vectors % self.n:
            return None
        most = _PANEL_BYTES // (self.n * self.vector.lanes * self.vector.size)
        fitting = [c for c in range(most // 2, most + 1) if c and self.K % c == 0]
        return fitting[-1] if most < self.K and fitting else None

    def _all(
        self, f: Function, rows: Index, A: Rows, inner: Sequence[Inner], B: str, C: Rows, start: Rows | None
    ) -> None:
        lanes = self.vector.lanes
        for first, panels, count, rest in self._panels():
            with f.loop(0, panels) as (p, _):
                column = f.add(first * lanes, f.multiply(p, count * lanes))
                panel = f.at(B, column if self.K is None else f.multiply(column, self.K))
                counters = list(inner)
                if self.K is not None:
                    width: Index = count * lanes
                    for at in reversed(range(len(counters))):
                        counters[at] = counters[at]._replace(b=width)
                        width = f.multiply(width, counters[at].terms)
                c = Rows(f.at(C.pointer, column), C.stride)
                d = None if start is None else Rows(f.at(start.pointer, column), start.stride)
                for i, m in self._row_blocks(f, rows):
                    self._tile(
                        f, m, count, rest, _moved(f, A, i), counters, panel, _moved(f, c, i), d and _moved(f, d, i)
                    )

    def _row_blocks(self, f: Function, rows: Index) -> Iterator[tuple[Index, int]]:
        """The first row and the height of each tile; the body of loops, as in `Function.columns`."""
        whole: Index = f.subtract(rows, f.op(f"urem i64 {rows}, {self.m}"))
        with f.loop(0, whole, self.m) as (i, _):
            yield i, self.m
        if self.m > 1:
            with f.loop(whole, rows) as (i, _):
                yield i, 1

    def _tile(
        self,
        f: Function,
        m: int,
        n: int,
        rest: int | None,
        A: Rows,
        inner: Sequence[Inner],
        B: str,
        C: Rows,
        D: Rows | None,
    ) -> None:
        lanes = self.vector.lanes
        width = [None] * (n - 1) + [rest]

        def places(rows: Rows) -> list[tuple[str, int | None]]:
            return [(f.at(rows.pointer, (i, rows.stride), v * lanes), width[v]) for i in range(m) for v in range(n)]

        def turn(sums: list[str], a: str, b: str) -> list[str]:
            loads = [f.load(f.at(b, v * lanes), width[v] if self.K is None else None) for v in range(n)]
            for i in range(m):
                x = f.broadcast(f.at(a, (i, A.stride)))
                for v in range(n):
                    sums[i * n + v] = f.fma(x, loads[v], sums[i * n + v])
            return sums

        def run(sums: list[str], a: str, b: str, counters: Sequence[Inner], chains: int) -> list[str]:
            """Add up over the counters; `chains` sets of sums take turns in the innermost."""
            k, *more = counters
            if more:
                with f.loop(0, k.terms, carried=sums, some=True) as (i, state):
                    state.next = run(state.now, f.at(a, (i, k.a)), f.at(b, (i, k.b)), more, chains)
                return state.last
            unrolled = max(chains, 2 if m * n < 32 else 1) if isinstance(k.terms, int) else 1
            whole: Index = k.terms // unrolled * unrolled if isinstance(k.terms, int) else k.terms
            at: Index = 0
            if whole != 0:
                with f.loop(0, whole, unrolled, carried=sums, some=True) as (i, state):
                    now = list(state.now)
                    for u in range(unrolled):
                        part = slice(u % chains * m * n, (u % chains + 1) * m * n)
                        now[part] = turn(now[part], f.at(a, (f.add(i, u), k.a)), f.at(b, (f.add(i, u), k.b)))
                    state.next = now
                sums, at = state.last, whole
            if isinstance(k.terms, int) and isinstance(at, int):
                for last in range(at, k.terms):
                    sums[: m * n] = turn(sums[: m * n], f.at(a, (last, k.a)), f.at(b, (last, k.b)))
            return sums

        one = isinstance(inner[-1].terms, int)
        chains = max(1, 4 // (m * n)) if one else 1  # an addition takes four cycles: too few sums would wait for it
        begin = ["zeroinitializer"] * (m * n) if D is None else [f.load(p, w) for p, w in places(D)]
        sums = run(begin + ["zeroinitializer"] * (m * n * (chains - 1)), A.pointer, B, inner, chains)
        for chain in range(1, chains):
            sums[: m * n] = [f.binary("fadd", x, y) for x, y in zip(sums, sums[chain * m * n :][: m * n], strict=False)]
        for value, (pointer, w) in zip(sums, places(C), strict=False):
            f.store(value, pointer, w)


def _moved(f: Function, rows: Rows, i: Index) -> Rows:
    return Rows(f.at(rows.pointer, (i, rows.stride)), rows.stride)


def tile(vector: Vector, M: int, N: int) -> tuple[int, int]:
    """Rows and vectors of the tile that takes the fewest cycles for M x N sums.

    A turn of k takes a cycle for each product and sum, at least four until a sum can be added to again, and half a
    cycle (a whole one with narrower vectors) for each load.
    """
    vectors = -(-N // vector.lanes)

    def turn(m: int, n: int) -> float:
        loads = (m + n) * (0.5 if vector.isa.bits == 512 else 1.0)
        return max(m * n, 4, loads) + 0.2 * (m + n) + 0.3

    def cost(m: int, n: int) -> float:
        heights, widths = ((m, M // m), (1, M % m)), ((n, vectors // n), (vectors % n, 1))
        return sum(i * j * turn(h, w) for h, i in heights for w, j in widths if h and w)

    fitting = [
        (m, n)
        for m in range(1, min(M, 14) + 1)
        for n in range(1, min(vectors, 8) + 1)
        if m * n + n + 2 <= vector.isa.registers
    ]
    return min(fitting, key=lambda mn: cost(*mn))
