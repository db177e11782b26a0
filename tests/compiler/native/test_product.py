"""Matrix products on packed weights, whatever the sizes and strides, and bugs in the kernel that must be caught."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from tinygrad_rnn.compiler.native import product
from tinygrad_rnn.compiler.native.isa import Vector, available, using
from tinygrad_rnn.compiler.native.machine import address, build
from tinygrad_rnn.compiler.native.product import Inner, Product, Rows
from tinygrad_rnn.compiler.native.writer import Function, Module

Array = np.ndarray
PATHS = list(available())
SIZES = [(1, 1, 1), (1, 100, 65), (2, 5, 3), (8, 33, 17), (16, 64, 32), (31, 130, 40), (5, 16, 300), (13, 48, 1024)]


def multiply(A: Array, B: Array, D: Array | None, path: str, transposed: bool = False, known: bool = True) -> Array:
    """D + A B, by a program for these sizes; the matrices stand in larger ones."""
    (M, K), N = A.shape, B.shape[1]
    room = np.full((M, N + 5), 7, A.dtype)
    given = np.ascontiguousarray(B.T) if transposed else B
    with using(path) as isa:
        module = Module(Vector(isa, A.dtype))
        p = Product(module.vector, M, N, K)
        f = Function(module, "run", ["ptr %A", "ptr %B", "ptr %C", "ptr %D", "ptr %packed", "i64 %M"])
        (p.pack_transposed if transposed else p.pack)(f, Rows("%B", K if transposed else N), "%packed")
        start = None if D is None else Rows("%D", N if D.ndim == 2 else 0)
        p.write(f, M if known else "%M", Rows("%A", K), [Inner(K, 1, 0)], "%packed", Rows("%C", N + 5), start)
        f.close()
        packed = np.zeros(p.columns * K, A.dtype)
        run = build(module.text, isa, run=6)["run"]
    run(*map(address, [A, given, room, A if D is None else D, packed]), M)
    assert (room[:, N:] == 7).all()
    return room[:, :N]


def contract(A: Array, B: Array, path: str) -> Array:
    """The sum over t and b of A[t, b, m] B[t, b, n], added to ones, B as it is."""
    T, P, M, N = *A.shape, B.shape[2]
    C = np.ones((M, N), A.dtype)
    with using(path) as isa:
        module = Module(Vector(isa, A.dtype))
        f = Function(module, "run", ["ptr %A", "ptr %B", "ptr %C", "i64 %T"])
        inner = [Inner("%T", P * M, P * N), Inner(P, M, N)]
        Product(module.vector, M, N, None).write(f, M, Rows("%A", 1), inner, "%B", Rows("%C", N), Rows("%C", N))
        f.close()
        run = build(module.text, isa, run=4)["run"]
    run(*map(address, [A, B, C]), T)
    return C


def wrong(path: str) -> float:
    """The largest relative error over sizes, starts and layouts."""
    rng, worst = np.random.default_rng(0), 0.0
    for i, (M, N, K) in enumerate(SIZES):
        A, B, D, row = (rng.standard_normal(s) for s in ((M, K), (K, N), (M, N), N))
        start = [None, D, row][i % 3]
        found = multiply(A, B, start, path, transposed=i % 2 == 1, known=i % 4 != 3)
        expected = A @ B + (0 if start is None else start)
        worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
    A, B = rng.standard_normal((3, 5, 7)), rng.standard_normal((3, 5, 21))
    return max(worst, float(np.abs(contract(A, B, path) - 1 - np.einsum("tbm,tbn->mn", A, B)).max()))


@pytest.mark.parametrize("path", PATHS)
def test_products_of_all_sizes(path: str) -> None:
    assert wrong(path) < 1e-13


@pytest.mark.parametrize("path", PATHS)
def test_single_precision(path: str) -> None:
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((9, 50)).astype("f4"), rng.standard_normal((50, 70)).astype("f4")
    np.testing.assert_allclose(multiply(A, B, None, path), A @ B, rtol=1e-5, atol=1e-5)


def test_planted_bugs_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    path = PATHS[0]

    def planted(name: str, bug: object, owner: object = Product) -> float:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, bug)
            return wrong(path)

    fma, blocks, panels = Function.fma, Product._row_blocks, Product._panels
    moved = Rows.moved
    assert planted("fma", lambda f, a, b, c: fma(f, f.binary("fmul", a, f.constant(1.001)), b, c), Function) > 1e-6
    assert planted("moved", lambda rows, f, i, column=0: moved(rows, f, 0, column), Rows) > 1e-6
    assert planted("either", lambda f, flag, a, b: a, product) > 1e-6
    assert planted("_panels", lambda p, f: ((0, vectors) for _, vectors in panels(p, f))) > 1e-6
    assert planted("_row_blocks", lambda p, f, rows: (block for block in blocks(p, f, rows) if block[1] == p.m)) > 1e-6
