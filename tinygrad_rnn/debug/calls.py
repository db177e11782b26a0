"""What a line of running code calls, and which loop it is in, as far as its instructions tell."""

from __future__ import annotations

import dis
import sys
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from .origin import instructions, running

_SKIPPED = {"CACHE", "EXTENDED_ARG", "KW_NAMES", "NOP", "NOT_TAKEN"}


def callee(frame: FrameType) -> Any:
    """The function that a frame is calling by a name, such as `f(x)` or `math.sqrt(x)`; None if it is not known."""
    names = _names(frame.f_code, frame.f_lasti)
    if not names:
        return None
    for scope in (frame.f_locals, frame.f_globals, frame.f_builtins):
        if names[0] in scope:
            found = scope[names[0]]
            for name in names[1:]:
                found = getattr(found, name, None)
            return found
    return None


_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_DEREF")


@lru_cache(maxsize=4096)
def _names(code: CodeType, offset: int) -> tuple[str, ...]:
    """The name that the call at `offset` calls, and the attributes of it; () if it is no such call."""
    before = [each for each in instructions(code) if each.offset <= offset and each.opname not in _SKIPPED]
    call = before.pop()
    if not call.opname.startswith(("CALL", "PRECALL")) or call.opname == "CALL_FUNCTION_EX":
        return ()
    if before[-1].opname == "PRECALL":  # Python 3.11 calls in the one or, once the line is hot, in the other
        before.pop()
    above = (call.arg or 0) + ("KW" in call.opname)  # how many values lie on the stack above the function
    while above > 0 and before:
        last = before.pop()
        above -= dis.stack_effect(last.opcode, last.arg, jump=False)
    names: list[str] = []
    while above == 0 and before:
        last = before.pop()
        if last.opname == "PUSH_NULL":
            continue
        name = last.argval[-1] if isinstance(last.argval, tuple) else last.argval  # STORE_FAST_LOAD_FAST has two
        names.insert(0, str(name))
        if last.opname.endswith(_LOADS):
            return tuple(names)
        if last.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
    return ()


EVERYWHERE = range(sys.maxsize)
"""All instructions of a function."""


def starts_loop(frame: FrameType) -> bool:
    """Whether a frame is asking for the iterator of a `for` loop or a comprehension, and not handing it to a call."""
    return frame.f_code.co_code[frame.f_lasti] == dis.opmap["GET_ITER"]


@lru_cache(maxsize=4096)
def loop_body(code: CodeType, offset: int) -> range:
    """The instructions of the `for` loop whose head is at `offset`; all if there is another instruction."""
    head = instructions(code)[running((code, offset))]
    return range(offset, head.argval) if head.opname == "FOR_ITER" else EVERYWHERE
