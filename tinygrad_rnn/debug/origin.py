"""Where in the user's code a tensor was made, and the variable it was assigned to.

Recording a frame's code object and instruction offset costs a tenth of a microsecond; turning
them into a line or a name is done only when an error or a picture asks for it.
"""

from __future__ import annotations

import dis
import linecache
import sys
from functools import lru_cache
from itertools import islice
from types import CodeType, FrameType
from typing import Any, NamedTuple

_SKIPPED = {"CACHE", "EXTENDED_ARG", "NOP", "NOT_TAKEN", "RESUME"}
_PACKAGE = __name__.partition(".")[0]
_AHEAD = 200
"""How many instructions are read after a value was made to find where it goes."""


Origin = tuple[CodeType, int]
"""A place in running code: the code object and the offset of the instruction."""


Place = tuple[str, int, Any]
"""A place in source code: file, line, and what tells expressions on one line apart."""


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
    """Like `caller`, but past functions that only return what they made: `W = weight(3, 4)` is the place.

    A function that says `out = ...; return out` is passed too if the caller keeps the result under a name.
    """
    frame = sys._getframe(depth + 1)
    made = frame.f_code, frame.f_lasti
    while frame.f_back is not None and _is_returned((frame.f_code, frame.f_lasti)):
        frame = frame.f_back
    place = frame.f_code, frame.f_lasti
    return place if place == made or assigned_name(made) is None or assigned_name(place) is not None else made


def place(origin: Origin | None) -> Place | None:
    """The source line and the expression in it: as a function runs more often, Python moves the offsets."""
    if origin is None:
        return None
    code, offset = origin
    found = _places.get((id(code), offset))
    if found is None:
        at = line(origin)
        positions: Any = getattr(code, "co_positions", None)  # Python 3.10 has none, and moves nothing
        within = offset if positions is None else next(islice(positions(), offset // 2, None), None)
        if len(_places) >= 4096:
            _places.clear()
        found = _places[id(code), offset] = code, (at.file, at.number, within)
    return found[1]


_places: dict[tuple[int, int], tuple[CodeType, Place]] = {}  # not `lru_cache`: a code object's own hash reads all of it


def user_line() -> Line | None:
    """The line outside this package that is executing, if any."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    return None if frame is None else line((frame.f_code, frame.f_lasti))


@lru_cache(maxsize=4096)
def _is_returned(origin: Origin) -> bool:
    """Whether the value is returned at once, also by way of a variable."""
    kept: object = None
    for each in _following(origin):
        if each.opname in _SKIPPED:
            continue
        if each.opname == "RETURN_VALUE":
            return True
        named = each.argval if isinstance(each.argval, tuple) else (each.argval,)
        if kept is None and each.opname in ("STORE_FAST", "STORE_FAST_LOAD_FAST") and len(set(named)) == 1:
            kept = named[0]  # 3.13 fuses the two instructions into one
        elif not each.opname.startswith("LOAD_FAST") or named != (kept,):
            return False
    return False


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


class _Constant(NamedTuple):
    value: object


_VALUE = object()
"""Stands for the value whose name is sought, on the stack of `assigned_name`."""

_Stack = list[Any]
"""What instructions work on, the top last: `_VALUE`, a `_Constant`, a tuple of such, or None for all else."""


@lru_cache(maxsize=4096)
def assigned_name(origin: Origin) -> str | None:
    """The variable that the value made at `origin` is stored to, or None.

    `h = np.tanh(...)` gives "h", `self.W = ...` and `p["W"] = ...` give "W", the head of `for t, x in ...`
    gives "x", and the second call of `a, b = f(), f()` gives "b". A value that is used inside a larger expression,
    or is a sequence that is unpacked, has no name of its own.
    """
    following = [each for each in _following(origin) if each.opname not in _SKIPPED]
    in_head = instructions(origin[0])[running(origin)].opname == "FOR_ITER"
    several = in_head and bool(following) and following[0].opname == "UNPACK_SEQUENCE"
    stack: _Stack = [(None, _VALUE) if several else _VALUE]
    for instruction in following:
        name, value = instruction.opname, instruction.argval
        if name.startswith("STORE_") and name not in ("STORE_ATTR", "STORE_SUBSCR"):
            fused = value if isinstance(value, tuple) else (value,)  # 3.13 fuses two instructions into one
            for variable in fused if name.count("STORE_FAST") == 2 else fused[:1]:
                if _pop(stack, 1)[0] is _VALUE:
                    return str(variable)
            if "LOAD" in name:
                stack.append(None)
        elif name == "STORE_ATTR":
            stored, _ = _pop(stack, 2)
            if stored is _VALUE:
                return str(value)
        elif name == "STORE_SUBSCR":
            stored, _, key = _pop(stack, 3)
            if stored is _VALUE:
                return key.value if isinstance(key, _Constant) and isinstance(key.value, str) else None
        elif not _run(instruction, stack):
            return None
        if not any(_holds(each) for each in stack):
            return None
    return None


def _run(instruction: dis.Instruction, stack: _Stack) -> bool:
    """Do to `stack` what an instruction that stores nothing does; False if it uses the value or is not known."""
    name, count = instruction.opname, instruction.arg or 0
    effect = dis.stack_effect(instruction.opcode, instruction.arg, jump=False)
    if name == "LOAD_CONST":
        stack.append(_Constant(instruction.argval))
    elif name == "PRECALL":
        return not any(map(_holds, _pop(stack, -effect)))
    elif name in ("BUILD_TUPLE", "BUILD_LIST"):
        stack.append(tuple(_pop(stack, count)))
    elif name == "UNPACK_SEQUENCE":
        (sequence,) = _pop(stack, 1)
        if sequence is _VALUE:
            return False
        several: tuple[Any, ...]
        if type(sequence) is tuple:
            several = (*[None] * (count - len(sequence)), *sequence)  # of a loop's head only the last is known
        else:
            several = (None,) * count
        stack.extend(reversed(several))
    elif name in ("SWAP", "ROT_TWO", "ROT_THREE"):
        several = tuple(_pop(stack, {"ROT_TWO": 2, "ROT_THREE": 3}.get(name, count)))
        if name == "ROT_THREE":  # the top goes below the two others
            stack.extend((several[2], several[0], several[1]))
        else:
            stack.extend((several[-1], *several[1:-1], several[0]))
    elif name.startswith(("LOAD_ATTR", "LOAD_METHOD", "CALL", "BINARY_", "COMPARE_OP", "UNARY_", "BUILD_")):
        results = 2 if effect > 0 else 1
        if any(map(_holds, _pop(stack, results - effect))):
            return False
        stack.extend([None] * results)
    elif name.startswith("LOAD_") or name == "PUSH_NULL":
        stack.extend([None] * effect)
    else:
        return name == "KW_NAMES"
    return True


def _pop(stack: _Stack, count: int) -> _Stack:
    """The top `count` entries; what lay there before the value was made is None."""
    missing = max(count - len(stack), 0)
    taken: _Stack = [None] * missing + stack[len(stack) - count + missing :] if count else []
    del stack[len(stack) - count + missing :]
    return taken


def _holds(entry: object) -> bool:
    return entry is _VALUE or (type(entry) is tuple and any(map(_holds, entry)))


def _following(origin: Origin) -> list[dis.Instruction]:
    at = running(origin) + 1
    return instructions(origin[0])[at : at + _AHEAD]


def running(origin: Origin) -> int:
    """The index of the instruction at `origin`; the offset may lie in its cache, or on its prefix."""
    code, offset = origin
    found = instructions(code)
    at = max(i for i, each in enumerate(found) if each.offset <= offset)
    while found[at].opname == "EXTENDED_ARG":
        at += 1
    return at


@lru_cache(maxsize=512)
def instructions(code: CodeType) -> list[dis.Instruction]:
    """The instructions of a function."""
    return list(dis.get_instructions(code))
