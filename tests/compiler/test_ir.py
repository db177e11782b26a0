"""The IR's check: a program that reads what is not there, or not yet, is refused before it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.ir import WHOLE, At, CheckError, Loop, Program, Read, Shift, Span, check

T = 6


def loss_fn(params: Any, xs: Any) -> Any:
    h, loss = np.zeros((xs.shape[1], 4)), 0.0
    for _, x in tg.steps(xs):
        h = np.tanh(x @ params["W"] + h @ params["R"])
        loss = loss + (h * h).sum()
    return loss


@pytest.fixture
def program() -> Program:
    rng = np.random.default_rng(0)
    step = tg.compile(loss_fn)
    step({"W": rng.standard_normal((3, 4)), "R": rng.standard_normal((4, 4))}, rng.standard_normal((T, 2, 3)))
    return step.program.ir


def loop(program: Program, reverse: bool = False) -> Loop:
    return next(part for part in program.schedule if isinstance(part, Loop) and part.reverse == reverse)


def reread(program: Program, old: Any, new: Any) -> None:
    """Let the first node that reads in the way of `old` read in another."""
    for node in program.nodes:
        for i, a in enumerate(node.args):
            if type(a) is Read and isinstance(a.when, type(old)) and (type(old) is not Shift or a.when == old):
                node.args[i] = Read(a.node, new)
                return
    raise AssertionError


def earlier_than_its_operands(program: Program) -> None:
    program.schedule.reverse()


def backwards(program: Program) -> None:
    loop(program).reverse = True


def in_another_order(program: Program) -> None:
    loop(program).nodes.reverse()


def without_an_initial_value(program: Program) -> None:
    node = next(node for node in program.nodes if node.initials)
    node.initials.clear()


def with_an_initial_value_inside(program: Program) -> None:
    node = next(node for node in program.nodes if node.initials)
    node.initials[node.lo + 1] = None


def without_a_part(program: Program) -> None:
    del program.schedule[1]


BUGS: dict[str, Callable[[Program], None]] = {
    "operands later": earlier_than_its_operands,
    "backwards": backwards,
    "operands later in the step": in_another_order,
    "no initial value": without_an_initial_value,
    "an initial value inside": with_an_initial_value_inside,
    "a part is missing": without_a_part,
    "two steps before": lambda program: reread(program, Shift(1), Shift(2)),
    "the step after": lambda program: reread(program, Shift(1), Shift(-1)),
    "all of what has steps": lambda program: reread(program, Shift(0), WHOLE),
    "past the last": lambda program: reread(program, Span(0, 1), Span(0, T)),
    "before the first": lambda program: reread(program, Span(0, 1), Span(-2, T - 1)),
    "one step of what has none": lambda program: reread(program, WHOLE, At(0)),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(program: Program, name: str) -> None:
    check(program)
    BUGS[name](program)
    with pytest.raises(CheckError):
        check(program)
