"""Build: from a recorded trace to a checked program and its source."""

from __future__ import annotations

from typing import NamedTuple

from .allocate import allocate
from .distribute import CircularError, distribute
from .forms import once
from .ir import Program, check
from .lower import lower
from .operations import Op
from .reroll import reroll
from .source import Source
from .trace import Trace


class Built(NamedTuple):
    """A program, its source, and the operations that were taken out of a loop, each with the reason."""

    program: Program
    source: Source
    misfits: list[tuple[Op, str]]


def build(trace: Trace) -> Built:
    """Find the loops of a trace, distribute them, check the result, and write it down."""
    straight: set[int] = set()
    while True:
        rolled = reroll(trace, straight)
        try:
            program = distribute(rolled, once)
            break
        except CircularError as circle:
            straight.update(n for node in circle.nodes for n in rolled.members[node].tolist())
    check(program)
    return Built(program, Source(lower(program, allocate(program))), rolled.misfits)
