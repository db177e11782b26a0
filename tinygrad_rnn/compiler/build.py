"""Build: from a recorded trace to a checked program and its source."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import GraphError
from .allocate import WORTH_SHARING, allocate
from .distribute import CircularError, distribute
from .ir import CheckError, Program, check
from .lifts import once
from .lower import lower
from .native.call import NativeLoop
from .native.lower import with_native_loops
from .reroll import reroll
from .source import Source
from .trace import Trace
from .verify import verify


class Native(NamedTuple):
    """A program with native loops.

    Attributes:
        source: the program, or None if it has no such loop.
        loops: its native loops.
        notes: which loops are native, and why others are not.
    """

    source: Source | None
    loops: list[NativeLoop]
    notes: list[str]


def build(trace: Trace) -> tuple[Program, list[str]]:
    """The loops of a trace and what runs once, checked; and operations taken out of a loop, each with the reason."""
    straight: set[int] = set()
    inner: set[int] = set()
    while True:
        rolled = reroll(trace, straight, inner)
        try:
            program = distribute(rolled, once)
            break
        except CircularError as circle:  # what starts a loop must not need the loop; else there is none
            starts = {rolled.number(start) for node in circle.nodes for start in node.initials.values()
                      if start is not None and start.node in circle.nodes}  # fmt: skip
            if starts <= inner:
                straight.update(n for node in circle.nodes if node.rolled for n in rolled.members[node].tolist())
            inner |= starts
    program.drawings = trace.ops.drawings
    check(program)
    return program, rolled.misfits


def native(program: Program, rows: int | None = None, least: int = WORTH_SHARING) -> Native:
    """A program with native loops, for products of so many rows or those of its batch; for `least` see `allocate`."""
    lowered, loops, notes = with_native_loops(program, rows)
    lowered.drawings = program.drawings
    try:
        return Native(written(lowered, least) if loops else None, loops, notes)
    except GraphError:
        return Native(None, [], ["not native: the program with native loops is not proven right"])


def written(program: Program, least: int = WORTH_SHARING) -> Source:
    """A program that is verified before anybody runs it: if need be, one in which no memory is used twice.

    For `least` see `allocate`.

    Raises:
        GraphError: neither can be proven right.
    """
    operands = [(node, list(node.args)) for node in program.nodes]
    for thrifty in (True, False):
        places = allocate(program, thrifty, least)
        code = lower(program, places)
        try:
            verify(program, places, code)
        except CheckError as error:
            wrong = error
        else:
            return Source(code)
        finally:
            for node, args in operands:  # a sum begins with what it overwrites; native loops are made of the same nodes
                node.args = list(args)
    raise GraphError(
        f"compile: the program that was made is not proven to compute what the loss function does ({wrong}), so it is "
        "not run: use the function without compile, and please report it"
    )
