"""Elementwise functions on vectors: to the last places, and right where numbers end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from tinygrad_rnn.compiler.native.functions import ELEMENTWISE
from tinygrad_rnn.compiler.native.isa import Vector, available, using
from tinygrad_rnn.compiler.native.machine import address, build
from tinygrad_rnn.compiler.native.writer import Function, Module
from tinygrad_rnn.errors import InputError

Array = np.ndarray
PATHS = list(available())
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 5e-39, 88.0, 89.0, -88.0, -104.0, 1e30, -1e30]


ARITY = {name: len(inspect.signature(write).parameters) - 1 for name, write in ELEMENTWISE.items()}


@cache
def program(path: str, dtype: str, size: int) -> dict[str, Callable[..., None]]:
    """All operations of the vocabulary on rows of `size` numbers."""
    with using(path) as isa:
        module = Module(Vector(isa, np.dtype(dtype)))
        for name, write in ELEMENTWISE.items():
            f = Function(module, name, [*(f"ptr %x{i}" for i in range(ARITY[name])), "ptr %y"])
            for j, n in f.columns(size):
                f.store(write(f, *(f.load(f.at(f"%x{i}", j), n) for i in range(ARITY[name]))), f.at("%y", j), n)
            f.close()
        return build(module.text, isa, **{name: arity + 1 for name, arity in ARITY.items()})


def run(name: str, path: str, *operands: Array) -> Array:
    size, dtype = operands[0].size, operands[0].dtype
    y = np.full(size + 3, 7, dtype)  # what stands behind the row must stay
    program(path, dtype.str, size)[name](*map(address, [*operands, y]))
    assert (y[size:] == 7).all()
    return y[:size]


def exact(name: str, x: Array) -> Array:
    """In extended precision."""
    x = x.astype(np.longdouble)
    return 1 / (1 + np.exp(-x)) if name == "sigmoid" else getattr(np, name)(x)


def numbers(dtype: type, name: str) -> Array:
    rng = np.random.default_rng(0)
    wide = 80 if dtype == np.float32 else 700
    x = np.concatenate([rng.uniform(-wide, wide, 3001), rng.standard_normal(3001), 10.0 ** rng.uniform(-30, 1, 3001)])
    x = np.concatenate([x, -x]).astype(dtype)
    return np.abs(x) if name == "log" else np.minimum(x, 45) if name == "sigmoid" else x


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "exp", "log"])
def test_functions_are_right_to_the_last_places(name: str, dtype: type, path: str) -> None:
    x = numbers(dtype, name)
    expected = exact(name, x)
    error = np.abs(run(name, path, x).astype(np.longdouble) - expected) / np.spacing(np.abs(expected).astype(dtype))
    assert error.max() <= (2.5 if path != "128" else 3.5), x[error.argmax()]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_the_ends_of_the_numbers_are_numpys(name: str, dtype: type, path: str) -> None:
    special = np.array(SPECIAL, dtype)
    plain: dict[str, Callable[..., Array]] = {
        "relu": lambda x: np.maximum(x, 0),
        "sigmoid": lambda x: np.exp(np.minimum(x, 45)) / (np.exp(np.minimum(x, 45)) + 1),
    }
    expected_of = plain.get(name) or getattr(np, name)
    pairs = [x.ravel().copy() for x in np.meshgrid(special, special)]
    operands = pairs[: ARITY[name]]
    with np.errstate(all="ignore"):
        expected = expected_of(*operands)
    found = run(name, path, *operands)
    np.testing.assert_allclose(found, expected, rtol=8 * np.finfo(dtype).eps, atol=float(np.finfo(dtype).tiny) / 8)
    if name not in ("maximum", "minimum", "relu"):  # which of 0.0 and -0.0 is larger is nobody's business
        held = ~np.isnan(expected)
        assert (np.signbit(found) == np.signbit(expected))[held].all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [1, 7, 16, 17, 40])
def test_rows_of_any_length(size: int, path: str) -> None:
    x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    np.testing.assert_array_equal(run("add", path, x, x), x + x)


def test_an_instruction_set_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="expected an instruction set of this processor"), using("vax"):
        pass


def test_comments_stay_comments() -> None:
    with using("128") as isa:
        module = Module(Vector(isa, np.dtype("f4")))
        f = Function(module, "run", [])
        f.note("h = tanh(a)\n  ret void\n}\ndefine void @evil() { ret void }")
        f.close()
    assert "\ndefine void @evil" not in module.text
    assert list(build(module.text, isa, run=0)) == ["run"]
