"""The verifier: statements that read what is overwritten, or of another step, never run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import allocate as allocation
from tinygrad_rnn.compiler import build
from tinygrad_rnn.compiler.allocate import Place, allocate
from tinygrad_rnn.compiler.ir import At, CheckError, Node, Program, Read, Shift, Span
from tinygrad_rnn.compiler.lower import lower
from tinygrad_rnn.compiler.statements import (
    Alloc,
    Apply,
    Array,
    Assign,
    Call,
    Code,
    Copy,
    Fill,
    For,
    Leaf,
    Within,
    leaves,
)
from tinygrad_rnn.compiler.verify import verify

T = 30


def lstm(p: Any, xs: Any) -> Any:
    h, c, loss = np.zeros((xs.shape[1], 4)), np.zeros((xs.shape[1], 4)), 0.0
    for _, x in tg.steps(xs):
        a = x @ p["W"] + h @ p["R"] + p["b"]
        i, f, o = (tg.sigmoid(a[:, k : k + 4]) for k in (0, 4, 8))
        c = f * c + i * np.tanh(a[:, 12:])
        h = o * np.tanh(c)
        loss = loss + (h * h).sum()
    return loss


Written = tuple[Program, dict[Node, Place], Code]


def arguments() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    shapes = {"W": (3, 16), "R": (4, 16), "b": (16,)}
    return {k: rng.standard_normal(s) for k, s in shapes.items()}, rng.standard_normal((T, 2, 3))


@pytest.fixture
def written() -> Written:
    step = tg.compile(lstm)
    step(*arguments())
    program = step.program.ir
    places = allocate(program)
    code = lower(program, places)
    verify(program, places, code)
    return program, places, code


def loop(code: Code, reverse: bool = False) -> For:
    return next(each for each in code.body if isinstance(each, For) and each.reverse == reverse)


def changed(x: Any, old: Any, new: Any) -> Any:
    """An expression or statement in which one leaf is another."""
    if x == old:
        return new
    if isinstance(x, (tuple, list)):
        return type(x)(changed(each, old, new) for each in x)
    if isinstance(x, (Call, Apply, Copy)):
        names = [name for name in x.__dataclass_fields__ if name != "node"]
        return replace(x, **{name: changed(getattr(x, name), old, new) for name in names})
    return x


def read_otherwise(code: Code, when: Any, instead: Any) -> None:
    """Let the first statement of a loop that reads in one way read in another."""
    for each in (loop(code), loop(code, reverse=True)):
        for within in each.body:
            for leaf in leaves(within.statement):
                if leaf.when == when and leaf.array.first is not None:
                    within.statement = changed(within.statement, leaf, replace(leaf, when=instead))
                    return
    raise AssertionError


def two_arrays_in_one_memory(written: Written) -> None:
    """Two buffers of the same step that are both needed."""
    buffers = [
        place.array for node, place in written[1].items() if place.kind == allocation.BUFFER and node.backward_of
    ]
    alike = [(a, b) for a in buffers for b in buffers if a is not b and a.shape == b.shape and a.memory is not b.memory]
    first, second = alike[0]
    second.memory = first.memory


def slabs_in_one_memory(written: Written) -> None:
    slabs = [place.array for place in written[1].values() if place.kind == allocation.SLAB]
    first, second = [slab for slab in slabs if slab.nodes[0].primitive is tg.sigmoid][:2]
    second.memory = first.memory


def without_a_statement(written: Written) -> None:
    del loop(written[2]).body[0]


def in_another_order(written: Written) -> None:
    loop(written[2]).body.reverse()


def backwards(written: Written) -> None:
    loop(written[2]).reverse = True


def at_another_step(written: Written) -> None:
    body = loop(written[2]).body
    body[0] = Within(body[0].lo + 1, body[0].hi, body[0].statement)


def without_the_initial_value(written: Written) -> None:
    body = written[2].body
    body.remove(next(each for each in body if isinstance(each, Fill)))


def without_zeros_to_start_from(written: Written) -> None:
    next(each for each in written[2].setup if isinstance(each, Alloc) and each.zero).zero = False


def zeros_that_another_has(written: Written) -> None:
    zeroed, other = (next(each.array for each in written[2].setup if isinstance(each, Alloc) and each.zero == zero
                          and each.array.first is not None) for zero in (True, False))  # fmt: skip
    other.memory, other.shape = zeroed.memory, zeroed.shape


def zeros_that_are_none(written: Written) -> None:
    zeroed = next(each.array for each in written[2].setup if isinstance(each, Alloc) and each.zero)
    zeroed.nodes[0].initials[-1] = Read(written[0].inputs[0])


def another_initial_value(written: Written) -> None:
    next(each for each in written[2].body if isinstance(each, Fill)).number = 1


def a_returned_buffer(written: Written) -> None:
    results, code = written[0].results, written[2]
    read = next(node for node, place in written[1].items() if place.kind == allocation.BUFFER)
    results[0] = Read(read)
    code.results[0] = Leaf(written[1][read].array, results[0].when, read)  # type: ignore[arg-type]


def the_batch_returned(written: Written) -> None:
    program, places, code = written
    node = program.inputs[-1]
    program.results[0] = Read(node)
    array = places[node].array
    assert isinstance(array, Array)
    code.results[0] = Leaf(array, program.results[0].when, node)


def the_same_result_twice(written: Written) -> None:
    program, _, code = written
    program.results[2] = program.results[1]
    code.results[2] = code.results[1]


def into_the_batch(written: Written) -> None:
    program, places, code = written
    array = places[program.inputs[-1]].array
    statement = loop(code).body[0].statement
    out = next(leaves(statement))
    loop(code).body[0].statement = changed(statement, out, replace(out, array=array, node=program.inputs[-1]))


def reordered_parts(written: Written) -> None:
    """What comes after the loop runs before it."""
    written[2].body.insert(0, written[2].body.pop(-1))


BUGS: dict[str, Callable[[Written], None]] = {
    "two buffers in one memory": two_arrays_in_one_memory,
    "two slabs in one memory": slabs_in_one_memory,
    "a statement is missing": without_a_statement,
    "statements in another order": in_another_order,
    "a loop backwards": backwards,
    "at another step": at_another_step,
    "no initial value": without_the_initial_value,
    "no zeros": without_zeros_to_start_from,
    "zeros in the memory of another": zeros_that_another_has,
    "zeros that are none": zeros_that_are_none,
    "another initial value": another_initial_value,
    "a buffer is returned": a_returned_buffer,
    "the batch is returned": the_batch_returned,
    "the same array is returned twice": the_same_result_twice,
    "the batch is written to": into_the_batch,
    "after the loop, before it": reordered_parts,
    "the step before": lambda written: read_otherwise(written[2], Shift(0), Shift(1)),
    "not the step before": lambda written: read_otherwise(written[2], Shift(1), Shift(0)),
    "two steps before": lambda written: read_otherwise(written[2], Shift(1), Shift(2)),
    "always the first": lambda written: read_otherwise(written[2], Shift(1), At(0)),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(written: Written, name: str) -> None:
    BUGS[name](written)
    with pytest.raises(CheckError):
        verify(*written)


def test_what_a_layer_used_is_not_read_after_the_next_has_used_it() -> None:
    """dz of the upper layer stands where that of the lower one stands then."""
    model, xs = tg.nn.LSTM(3, 4, num_layers=2, rng=0), np.random.default_rng(0).standard_normal((9, 2, 3))
    step = tg.compile(lambda model, xs: (model(xs)[0] ** 2).mean())
    step(model, xs)
    program = step.program.ir
    places = allocate(program)
    code = lower(program, places)
    verify(program, places, code)
    late = next(each for each in code.body if isinstance(each, Assign) and each.node.name == "dbias_hh_l1")
    code.body.append(code.body.pop(code.body.index(late)))
    with pytest.raises(CheckError):
        verify(program, places, code)


def test_a_shifted_span_is_caught(written: Written) -> None:
    """All steps at once, one step off."""
    _, _, code = written
    caught = 0
    for i, each in enumerate(code.body):
        if isinstance(each, Apply):
            for leaf in leaves(each.call):
                if isinstance(leaf.when, Span) and leaf.array.shape[0] > T:
                    off = Span(leaf.when.first - 1, leaf.when.last - 1)
                    code.body[i] = changed(each, leaf, replace(leaf, when=off))
                    with pytest.raises(CheckError):
                        verify(*written)
                    code.body[i] = each
                    caught += 1
    assert caught > 2
    verify(*written)


@pytest.fixture
def overwrites(monkeypatch: pytest.MonkeyPatch) -> None:
    """An allocator that writes over operands that are still needed."""
    early = lambda self: {node: (part, self.position[node] + 1) for node, part in self.part_of.items()}  # noqa: E731
    monkeypatch.setattr(allocation._Allocator, "_lifetimes", early)
    monkeypatch.setattr(allocation._Allocator, "_may_overwrite", lambda self, node, read: True)


def test_a_program_that_is_not_proven_gets_memory_of_its_own(overwrites: None) -> None:
    params, xs = arguments()
    given = {k: tg.Tensor(v, requires_grad=True) for k, v in params.items()}
    expected = lstm(given, tg.Tensor(xs))
    expected.backward()
    step = tg.compile(lstm)
    loss, grads = step(params, xs)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    for name, tensor in given.items():
        np.testing.assert_allclose(grads[name], tensor.grad, rtol=1e-10, atol=1e-12)
    program = step.program.ir
    places = allocate(program)
    with pytest.raises(CheckError):
        verify(program, places, lower(program, places))


def test_what_cannot_be_proven_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    right = build.lower

    def wrong(program: Program, places: dict[Node, Place]) -> Code:
        code = right(program, places)
        loops = [part for part in code.body if isinstance(part, For)]  # none if they are native
        (loops[0].body if loops else code.body).pop()
        return code

    monkeypatch.setattr(build, "lower", wrong)
    with pytest.raises(tg.GraphError, match="is not run: use the function without compile"):
        tg.compile(lstm)(*arguments())
