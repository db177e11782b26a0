"""What native loops reach of what the machine allows, what they cost to build, and what a second thread gains.

    python benchmarks/native.py bound [--cells ...] [--sizes N ...]
    python benchmarks/native.py build [--cells ...]
    OMP_NUM_THREADS=2 python benchmarks/native.py threads [--cells ...] [--sizes N ...]

`bound`, one thread: the products, each at the rate that the product kernel has at its very shape on data that stays
in the nearest cache that holds it, and the elementwise functions on data in the first-level cache; as a fraction of the
time of a call. `build`: a first call without tracing the loss function, comparing and running, at several lengths.
`threads`: a call with one thread and with two, in turns, alone in the process.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
from bptt import GATES, SIZES, flops, ours, problem
from threadpoolctl import threadpool_limits

from tinygrad_rnn.compiler import family, program
from tinygrad_rnn.compiler.general import LONG
from tinygrad_rnn.compiler.native import machine
from tinygrad_rnn.compiler.native.choose import regions
from tinygrad_rnn.compiler.native.isa import Vector, current
from tinygrad_rnn.compiler.native.product import Inner, Product, Rows
from tinygrad_rnn.compiler.native.region import WRITTEN, Multiply
from tinygrad_rnn.compiler.native.writer import Function, Module

CHUNK = 256  # rows of the products for many steps at once
LENGTHS = (25, 100, 400, 1000)


def best(run: Callable[[], Any], seconds: float = 0.05) -> float:
    """The shortest time of a call."""
    times, end = [math.inf], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def repeated(write: Callable[[Function], None], numbers: int) -> float:
    """Seconds that a piece of code takes, again and again on three arrays of so many float32, "%a", "%b" and "%c"."""
    module = Module(Vector(current(), np.dtype(np.float32)))
    f = Function(module, "run", ["ptr %a", "ptr %b", "ptr %c", "i64 %n"])
    with f.loop(0, "%n", some=True):
        write(f)
    f.close()
    run = machine.build(module.text, current(), run=4)["run"]
    arrays = [np.full(numbers + 64, 0.1, np.float32) for _ in range(3)]
    where = [-(-machine.address(x) // 64) * 64 for x in arrays]  # a line of the cache begins there, as in a loop
    n = max(1, round(2e-4 / best(lambda: run(*where, 1), 0.001)))
    return best(lambda: run(*where, n)) / n


@cache
def product_seconds(M: int, N: int, K: int) -> float:
    """A product of (M, K) and (K, N) by the kernel, with the second one packed."""
    made = Product(Vector(current(), np.dtype(np.float32)), M, N, K)
    whole = max(M * K, K * made.columns, M * N)
    return repeated(lambda f: made.write(f, M, Rows("%a", K), [Inner(K, 1, 0)], "%b", Rows("%c", N), None), whole)


@cache
def elementwise_seconds(name: str) -> float:
    """An elementwise function, for each number; where it has several operands they are the same."""
    write = next(w for primitive, w in WRITTEN.items() if primitive.name == name)
    operands = 2 if name in ("add", "subtract", "multiply", "divide", "maximum", "minimum") else 1

    def loop(f: Function) -> None:
        for j, n in f.columns(1024):
            x = f.load(f.at("%a", j), n)
            for _ in range(4):
                x = write(f, *[x] * operands)
            f.store(x, f.at("%c", j), n)

    return repeated(loop, 1024) / 4096


def statements(cell: str, size: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    """Each statement of a program's native loops, and the seconds that it takes at best for all steps."""
    T, B, I, H = size
    run, step = compiled(cell, (min(T, 25), B, I, H))
    run()
    for region in regions(step.program.ir)[0]:
        for m in region.before:
            rows = min(CHUNK, T * B)
            yield f"{rows} x {m.K} x {m.N}", T * B / rows * product_seconds(rows, m.N, m.K)
        for s in region.steps:
            if isinstance(s, Multiply):
                yield f"{B} x {s.K} x {s.N}", T * product_seconds(B, s.N, s.K)
        for c in region.after:
            (M, N), rows = c.node.shape, min(CHUNK, T * B)
            yield f"{M} x {rows} x {N}", T * B / rows * product_seconds(M, N, rows)
        for node in region.nodes:
            if node.primitive in WRITTEN:
                yield node.operation, T * math.prod(node.shape) * elementwise_seconds(node.operation)


def compiled(cell: str, size: tuple[int, ...]) -> tuple[Callable[[], Any], Any]:
    """A call, and the compiled function that it calls."""
    run = ours(cell, *problem(cell, *size), compiled=True, backend="native")
    assert isinstance(run, partial)
    return run, run.func


def bound(cells: list[str], sizes: list[tuple[int, ...]]) -> None:
    print("ms of a call, what the products and the elementwise functions take at best, and the fraction reached")
    for cell in cells:
        for size in sizes:
            run, _ = compiled(cell, size)
            for _ in range(3):
                run()
            found = list(statements(cell, size))
            products = sum(seconds for what, seconds in found if " x " in what)
            others = sum(seconds for what, seconds in found if " x " not in what)
            took = best(run, 1.0)
            rate = flops(cell, *size) / products / 1e9
            print(
                f"  {cell:5} {size!s:22} {took * 1e3:8.3f}   products {products * 1e3:8.3f} ({rate:3.0f} GFLOP/s)"
                f"   elementwise {others * 1e3:7.3f}   {(products + others) / took * 100:3.0f} %"
            )


def build(cells: list[str], sizes: list[tuple[int, ...]]) -> None:
    print("ms of a first call without tracing, comparing and running; (T, B, I, H) = (T, 32, 64, 128)")
    spent = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            nonlocal spent
            start = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                spent += time.perf_counter() - start

        return run

    program.trace = timed(program.trace)
    family.Family._compared = timed(family.Family._compared)  # type: ignore[method-assign]
    for cell in cells:
        for T in LENGTHS:
            found = []
            for _ in range(5):
                machine.built.cache_clear()
                run, _ = compiled(cell, (T, 32, 64, 128))
                spent, start = 0.0, time.perf_counter()
                run()
                first = time.perf_counter() - start - spent
                for _ in range(2):
                    run()
                found.append((first - best(run)) * 1e3)
            kind = "one program for all lengths" if T >= LONG else "for this length"
            print(f"  {cell:5} T = {T:4}   {min(found):6.1f} (median {statistics.median(found):6.1f})   {kind}")


def threads(cells: list[str], sizes: list[tuple[int, ...]]) -> None:
    print("ms of a call on one thread, on two, and one / two")
    for cell in cells:
        for size in sizes:
            run, _ = compiled(cell, size)
            times: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(3):
                run()
            end = time.perf_counter() + 1.5
            while time.perf_counter() < end:
                for n, found in times.items():
                    with threadpool_limits(n):
                        run()
                        found.append(best(run, 0.02))
            one, two = (statistics.median(found) * 1e3 for found in times.values())
            print(f"  {cell:5} {size!s:22} {one:8.3f} {two:8.3f}   {one / two:5.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["bound", "build", "threads"])
    parser.add_argument("--cells", nargs="+", default=list(GATES), choices=list(GATES))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(range(len(SIZES))), help=f"positions in {SIZES}")
    given = parser.parse_args()
    {"bound": bound, "build": build, "threads": threads}[given.what](given.cells, [SIZES[i] for i in given.sizes])


if __name__ == "__main__":
    main()
