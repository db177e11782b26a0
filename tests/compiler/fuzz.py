"""Judge a random program by running it compiled and eager, and make a failing one short."""

from __future__ import annotations

import ast
import re
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.agreement import FrozenError

Arrays = list[np.ndarray[Any, Any]]

CALLS = [(0, 0), (0, 0), (0, 0), (1, 0), (1, 0), (0, 1), (1, 1), (0, 0)]
"""For each call, which of two lengths and which of two batch sizes it has."""

BOTH_AT_ONCE = [(0, 0), (0, 0), (1, 1), (1, 0), (0, 1), (0, 0)]
"""The same for a program in which length and batch size change together, which takes fewer traces."""


class Outcome(NamedTuple):
    """What became of a program: "right", "wrong", "overwritten", "crash", "refused" or "invalid", and more words."""

    kind: str
    what: str = ""

    @property
    def is_failure(self) -> bool:
        return self.kind in ("wrong", "overwritten", "crash")


class Program:
    """A program's functions, and the data that its seed gives."""

    def __init__(self, source: str) -> None:
        names: dict[str, Any] = {}
        exec(compile(source, "<program>", "exec"), names)
        self.loss_fn, self.params, self.modules = names["loss_fn"], names["params"], names["MODULES"]
        self.low = '"f4"' in source or "float32" in source
        self.rng = np.random.default_rng(len(source))

    def data(self, T: int, B: int) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """Parameters, and a batch: a sequence, class ids and a mask."""
        rng, size = self.rng, self.loss_fn.__globals__["I"]
        params = self.params(rng)
        for module in self.modules.values():
            for weight in module.parameters():
                weight.data[...] = rng.standard_normal(weight.shape) / 2
        dtype = params["unused"].dtype
        xs = rng.standard_normal((T, B, size)).astype(dtype)
        return params, (xs, rng.integers(0, 20, (T, B)), rng.random((T, B, 1)) < 0.7)

    def eager(self, params: dict[str, Any], batch: tuple[Any, ...], rng: np.random.Generator) -> Arrays:
        """The loss, the gradients and what is returned beside them."""
        given = {name: tg.Tensor(x, requires_grad=True) for name, x in params.items()}
        for module in self.modules.values():
            module.zero_grad()
            module.rng = np.random.default_rng(0)  # of its dropout
        loss = self.loss_fn({**given, **self.modules}, *map(tg.Tensor, batch), rng)
        loss, extra = loss if isinstance(loss, tuple) else (loss, None)
        loss.backward()
        leaves = [*given.values(), *[w for module in self.modules.values() for w in module.parameters()]]
        gradients = [np.zeros_like(w._array) if w.grad is None else w.grad for w in leaves]
        return [loss._array, *gradients, *[x._array for x in leaves_of(extra)]]


def leaves_of(x: Any) -> Iterator[Any]:
    if isinstance(x, (dict, list, tuple)):
        for value in x.values() if isinstance(x, dict) else x:
            yield from leaves_of(value)
    elif x is not None:
        yield x


def judge(source: str, sizes: tuple[tuple[int, int], tuple[int, int]], calls: Any = None) -> Outcome:
    """Run a program again and again with new data, at two lengths and two batch sizes.

    Args:
        source: see `grammar.program`.
        sizes: the lengths, and the batch sizes.
        calls: see `CALLS`.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            program = Program(source)
        except Exception as error:
            return Outcome("invalid", repr(error))
        return _judge(program, sizes, CALLS if calls is None else calls)


def _judge(program: Program, sizes: Any, calls: Any) -> Outcome:
    step = tg.compile(program.loss_fn)
    kept: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], str]] = []
    refused: Outcome | None = None
    never: set[tuple[int, int]] = set()  # the sizes at which it has been refused, and so must be from then on
    ours, theirs = np.random.default_rng(5), np.random.default_rng(5)
    for number, (i, j) in enumerate(calls):
        T, B = sizes[0][i], sizes[1][j]
        where = f"call {number} (T = {T}, B = {B})"
        params, batch = program.data(T, B)
        before = [x.copy() for x in (*params.values(), *batch)]
        start = theirs.bit_generator.state
        try:
            expected = program.eager(params, batch, theirs)
        except Exception as error:
            if number == 0:
                return Outcome("invalid", f"{type(error).__name__}: {error}")
            return refused or Outcome("right", "as far as eager runs")
        for module in program.modules.values():
            module.rng.bit_generator.state = np.random.default_rng(0).bit_generator.state
        try:
            loss, grads = step({**params, **program.modules}, *batch, ours)
        except tg.TensorError as error:
            reason = _reason(error)
            if refused is None and number > 0 and "picked" not in reason:
                refused = Outcome("refused", f"later: {reason}")
            refused = refused or Outcome("refused", reason)
            if "picked" not in reason:
                never |= set(calls) if isinstance(error, FrozenError) else {(i, j)}
            ours.bit_generator.state = theirs.bit_generator.state
            continue
        except Exception as error:
            return Outcome("crash", f"{where}: {type(error).__name__}: {str(error)[:200]}")
        if refused is not None and (i, j) in never:
            return Outcome("wrong", f"{where}: a program that was refused ({refused.what}) runs")
        if "tinygrad_rnn" in step.source:
            return Outcome("wrong", f"{where}: the source does not run without the package")
        loss, extra = loss if isinstance(loss, tuple) else (loss, None)
        found = [np.asarray(loss), *leaves_of(grads), *leaves_of(extra)]
        names = ["loss", *params, *[f"{n}.{k}" for n, m in program.modules.items() for k, _ in m.named_parameters()]]
        names += [f"extra {k}" for k in range(len(found) - len(names))]
        if ours.bit_generator.state != theirs.bit_generator.state:
            return Outcome("wrong", f"{where}: other random numbers were drawn")
        if any(not _same(x, y) for x, y in zip(before, (*params.values(), *batch), strict=True)):
            return Outcome("overwritten", f"{where}: an argument")
        bad = _difference(program, params, batch, start, names, found, expected)
        if bad:
            return Outcome("wrong", f"{where}: {bad}")
        for x, copy, what in kept:
            if not _same(x, copy):
                return Outcome("overwritten", f"{where}: {what}")
        kept += [(x, x.copy(), f"{name} of {where}") for name, x in zip(names, found, strict=True)]
    return refused or Outcome("right")


def _same(x: Any, y: Any) -> bool:
    return bool(np.array_equal(x, y, equal_nan=x.dtype.kind == "f"))


def _difference(
    program: Program, params: Any, batch: Any, start: Any, names: list[str], found: Arrays, expected: Arrays
) -> str:
    """Which result differs by more than rounding, as large as this program makes it."""
    precision = 1e-4 if program.low else 1e-9
    doubtful = []
    for k, (name, x, y) in enumerate(zip(names, found, expected, strict=True)):
        if x.shape != y.shape or (x.dtype != y.dtype):
            return f"{name} is {x.shape} of {x.dtype}, and eagerly {y.shape} of {y.dtype}"
        scale = max(1.0, float(np.abs(np.nan_to_num(y)).max(initial=0.0)))
        if not np.allclose(x, y, rtol=precision, atol=precision * scale, equal_nan=True):
            doubtful.append((k, name))
    if not doubtful:
        return ""
    shaken = np.random.default_rng(0)
    noise = [np.zeros_like(x, np.float64) for x in expected]
    for _ in range(4):  # does eager itself depend on rounding, at a kink or by chaos?
        moved = {n: (x * (1 + (1e-6 if program.low else 1e-13) * shaken.standard_normal(x.shape))).astype(x.dtype)
                 for n, x in params.items()}  # fmt: skip
        xs = batch[0] * (1 + (1e-6 if program.low else 1e-13) * shaken.standard_normal(batch[0].shape))
        again = np.random.default_rng(0)
        again.bit_generator.state = start
        for old, x, y in zip(
            noise, program.eager(moved, (xs.astype(batch[0].dtype), *batch[1:]), again), expected, strict=True
        ):
            np.maximum(old, np.abs(np.subtract(x, y, dtype=np.float64)), out=old)
    for k, name in doubtful:
        scale = max(1.0, float(np.abs(np.nan_to_num(expected[k])).max(initial=0.0)))
        allowed = precision * scale + 100 * noise[k].max(initial=0.0)
        gap = np.abs(np.subtract(found[k], expected[k], dtype=np.float64))
        if not (gap <= allowed).all() and not (np.isnan(gap) & np.isnan(noise[k])).any():
            return f"{name} differs by {gap.max():.3g} (of {scale:.3g}, rounding {noise[k].max(initial=0.0):.1g})"
    return ""


def _reason(error: Exception) -> str:
    """A message without what is different in every program."""
    words = str(error).splitlines()[0]
    return re.sub(r"-?\d+(\.\d+)?(e[-+]\d+)?", "#", words)[:110]


# ---------------------------------------------------------------------- shorter
def shrink(source: str, fails: Callable[[str], bool], seconds: float = 20.0) -> str:
    """A shorter program that fails as well.

    Args:
        source: a failing program.
        fails: whether a program fails in the same way.
        seconds: how long to try.
    """
    end = time.monotonic() + seconds
    found = True
    while found and time.monotonic() < end:
        found = False
        for shorter in _shorter(source):
            if time.monotonic() > end:
                break
            if len(shorter) < len(source) and fails(shorter):
                source, found = shorter, True
                break
    return source


def _shorter(source: str) -> Iterator[str]:
    """Without one statement, or with an expression in the place of the one around it; large cuts first."""
    tree = ast.parse(source)
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "loss_fn")
    blocks = [block for node in ast.walk(function) for block in _blocks(node)]
    for block in blocks:
        for i, node in reversed(list(enumerate(block))):
            if isinstance(node, ast.Return):
                continue
            inner = [b for b in _blocks(node) if b]
            for replacement in ([], *inner):
                kept = block[:]
                block[i : i + 1] = replacement
                if block:
                    yield ast.unparse(tree) + "\n"
                block[:] = kept
    for node in list(ast.walk(function)):
        for field, value in ast.iter_fields(node):
            for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.expr):
                    yield from _simpler(tree, node, field, place, child)
    pruned = [n for n in ast.walk(tree) if isinstance(n, ast.Dict)]
    for node in pruned:
        for i in range(len(node.keys)):
            if isinstance(node.keys[i], ast.Constant) and node.keys[i].value == "unused":  # type: ignore[union-attr]
                continue
            keys, values = node.keys[:], node.values[:]
            del node.keys[i], node.values[i]
            yield ast.unparse(tree) + "\n"
            node.keys, node.values = keys, values


def _simpler(tree: ast.AST, node: ast.AST, field: str, place: int | None, child: ast.expr) -> Iterator[str]:
    parts = [part for part in ast.walk(child) if isinstance(part, ast.expr) and part is not child]
    for part in parts:
        if isinstance(part, (ast.Load, ast.Slice)):
            continue
        if place is None:
            setattr(node, field, part)
        else:
            getattr(node, field)[place] = part
        yield ast.unparse(tree) + "\n"
    if place is None:
        setattr(node, field, child)
    else:
        getattr(node, field)[place] = child


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for field in ("body", "orelse"):
        block = getattr(node, field, None)
        if isinstance(block, list):
            yield block
