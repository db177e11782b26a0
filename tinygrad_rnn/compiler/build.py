"""Build: from a recorded trace to a checked program and its source."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import GraphError
from .allocate import WORTH_SHARING, allocate
from .distribute import CircularError, distribute
from .ir import CheckError, Program, check
from .lifts import once
from .lower import lower
from .native.lower import with_native_loops
from .operations import Op
from .reroll import reroll
from .source import Source
from .trace import Trace
from .verify import verify


class Built(NamedTuple):
    """What a trace became.

    Attributes:
        program: the loops, and what runs once.
        source: the program in NumPy.
        runs: what is run: the source, or the same with native loops.
        misfits: the operations that were taken out of a loop, each with the reason.
        native: the text of each native loop.
        notes: which loops are native, and why others are not; None where none was asked for.
    """

    program: Program
    source: Source
    runs: Source
    misfits: list[tuple[Op, str]]
    native: list[str]
    notes: list[str] | None


def build(trace: Trace, backend: str, least: int = WORTH_SHARING) -> Built:
    """Find the loops of a trace, distribute them, check the result, and write it down; for `least` see `allocate`."""
    straight: set[int] = set()
    while True:
        rolled = reroll(trace, straight)
        try:
            program = distribute(rolled, once)
            break
        except CircularError as circle:
            straight.update(n for node in circle.nodes for n in rolled.members[node].tolist())
    program.drawings = trace.ops.drawings
    check(program)
    source = _written(program, least)
    if backend != "native":
        return Built(program, source, source, rolled.misfits, [], None)
    runs, texts, notes = native(program)
    return Built(program, source, runs or source, rolled.misfits, texts, notes)


def native(
    program: Program, rows: int | None = None, least: int = WORTH_SHARING
) -> tuple[Source | None, list[str], list[str]]:
    """The source of a program with native loops, if there are any; their texts, and what is to be said about them.

    Args:
        program: the program.
        rows: how many rows a product may expect, if not those of the program's batch.
        least: see `allocate`.
    """
    lowered, texts, notes = with_native_loops(program, rows)
    lowered.drawings = program.drawings
    try:
        return (_written(lowered, least) if texts else None), texts, notes
    except GraphError:
        return None, [], ["not native: the program with native loops is not proven right"]


def _written(program: Program, least: int) -> Source:
    """A program that is verified before anybody runs it: if need be, one in which no memory is used twice.

    Raises:
        GraphError: neither can be proven right.
    """
    for thrifty in (True, False):
        places = allocate(program, thrifty, least)
        code = lower(program, places)
        try:
            verify(program, places, code)
        except CheckError as error:
            wrong = error
        else:
            return Source(code)
    raise GraphError(
        f"compile: the program that was made is not proven to compute what the loss function does ({wrong}), so it is "
        "not run: use the function without compile, and please report it"
    )
