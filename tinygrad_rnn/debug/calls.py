"""What a line of running code calls, as far as its instructions tell."""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

_SKIPPED = {"CACHE", "EXTENDED_ARG", "KW_NAMES", "NOP", "NOT_TAKEN", "PRECALL", "PUSH_NULL"}


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


@lru_cache(maxsize=4096)
def _names(code: CodeType, offset: int) -> tuple[str, ...]:
    """The name that the call at `offset` calls, and the attributes of it; () if it is no such call."""
    instructions = [each for each in dis.get_instructions(code) if each.opname not in _SKIPPED]
    at = max((i for i, each in enumerate(instructions) if each.offset <= offset), default=0)
    if not instructions[at].opname.startswith("CALL") or "KW" in instructions[at].opname:
        return ()
    above = instructions[at].arg or 0  # how many values lie on the stack above the function
    while above > 0 and at > 0:
        at -= 1
        above -= dis.stack_effect(instructions[at].opcode, instructions[at].arg, jump=False)
    names: list[str] = []
    while above == 0 and at > 0:
        at -= 1
        names.insert(0, str(instructions[at].argval))
        if instructions[at].opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_DEREF", "LOAD_FAST_BORROW"):
            return tuple(names)
        if instructions[at].opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
    return ()
