"""Where in the user's code a tensor was made, and the variable it was assigned to.

Recording a frame's code object and instruction offset costs a tenth of a microsecond; turning
them into a line or a name is done only when an error or a picture asks for it.
"""

from __future__ import annotations

import dis
import linecache
import sys
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

_SKIPPED = {"CACHE", "EXTENDED_ARG", "NOP", "RESUME"}


Origin = tuple[CodeType, int]
"""A place in running code: the code object and the offset of the instruction."""


class Line(NamedTuple):
    """A source line as a reader would look it up."""

    file: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}: {self.text}" if self.text else f"{self.file}:{self.number}"


def caller(depth: int) -> Origin:
    """The place that is executing `depth` frames above the function that asks."""
    frame = sys._getframe(depth + 1)
    return frame.f_code, frame.f_lasti


def maker(depth: int) -> Origin:
    """Like `caller`, but past functions that only return what they made: `W = weight(3, 4)` is the place."""
    frame = sys._getframe(depth + 1)
    while frame.f_back is not None and _is_returned((frame.f_code, frame.f_lasti)):
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


@lru_cache(maxsize=4096)
def _is_returned(origin: Origin) -> bool:
    follows = (each.opname for each in _following(origin) if each.opname not in _SKIPPED)
    return next(follows, "") == "RETURN_VALUE"


@lru_cache(maxsize=4096)
def line(origin: Origin) -> Line:
    """The source line of `origin`; its text is empty where the source is not at hand."""
    code, offset = origin
    number = code.co_firstlineno
    for start, end, candidate in code.co_lines():
        if start <= offset < end and candidate is not None:
            number = candidate
            break
    return Line(code.co_filename, number, linecache.getline(code.co_filename, number).strip())


@lru_cache(maxsize=4096)
def assigned_name(origin: Origin) -> str | None:
    """The variable that the value made at `origin` is stored to, or None.

    `h = np.tanh(...)` gives "h", `self.W = ...` and `p["W"] = ...` give "W", and the head of `for t, x in ...`
    gives "x". A value that is used inside a larger expression, or is one of several that are unpacked, has no
    name of its own.
    """
    names: list[str] = []
    wanted = 1
    loaded: list[object] = []  # what a store to an attribute or an item needs: constants, and None for variables
    for instruction in _following(origin):
        name, value = instruction.opname, instruction.argval
        if name in _SKIPPED:
            continue
        if name == "UNPACK_SEQUENCE" and not names and not loaded:
            wanted = int(value)
        elif name.startswith("LOAD_") and not names and wanted == 1 and len(loaded) < 2:
            loaded.extend(
                [value] if name == "LOAD_CONST" else [None, None][: len(value) if isinstance(value, tuple) else 1]
            )
        elif name == "STORE_SUBSCR" and len(loaded) == 2:
            return loaded[1] if isinstance(loaded[1], str) else None
        elif name == "STORE_ATTR" and len(loaded) == 1:
            return str(value)
        elif name.startswith("STORE_") and name != "STORE_SUBSCR" and not loaded:
            if isinstance(value, tuple):  # 3.13 fuses two instructions into one
                names.extend(value if name.count("STORE_FAST") == 2 else value[:1])
            else:
                names.append(str(value))
            if len(names) >= wanted:
                break
        else:
            return None
    if len(names) < wanted:
        return None
    return names[wanted - 1] if wanted == 1 or _is_loop_head(origin) else None


def _is_loop_head(origin: Origin) -> bool:
    return _instructions(origin[0])[_running(origin)].opname == "FOR_ITER"


def _following(origin: Origin) -> list[dis.Instruction]:
    at = _running(origin) + 1
    return _instructions(origin[0])[at : at + 16]


def _running(origin: Origin) -> int:
    """The index of the instruction at `origin`; the offset may lie in its cache, or on its prefix."""
    code, offset = origin
    instructions = _instructions(code)
    at = max(i for i, each in enumerate(instructions) if each.offset <= offset)
    while instructions[at].opname == "EXTENDED_ARG":
        at += 1
    return at


@lru_cache(maxsize=512)
def _instructions(code: CodeType) -> list[dis.Instruction]:
    return list(dis.get_instructions(code))
