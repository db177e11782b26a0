"""Machine: LLVM's text becomes functions in memory."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import find_spec
from threading import Lock
from typing import Any

import numpy as np

from ...core.tensor import Array
from .isa import Isa

DATA = object.__basicsize__ // 8
"""Entry of an array's object, of eight bytes each, that is the address of its numbers: machine code reads it there, as
to ask costs 1 us. The others are the addresses of its type, strides and dtype, and its flags."""
KIND, STRIDES, DTYPE, FLAGS = DATA - 1, DATA + 3, DATA + 5, DATA + 6
DENSE = 0x101
"""The flags of an array in which rows follow on each other and numbers are aligned."""
ITEMS = tuple.__basicsize__
"""Where in a tuple the addresses of its items stand, in bytes."""

_PASSES = {"disable-lsr": "true", "enable-misched": "false"}
"""Passes that take a third of the time to build, and gain a hundredth at most: the processor orders by itself."""

_ONE = Lock()
"""One thread builds at a time: an option belongs to the process. A fork waits, or a child would find LLVM taken."""


@cache
def missing() -> str | None:
    """Why there is no native code here, or None."""
    if find_spec("llvmlite") is None:
        return "llvmlite is not installed (pip install tinygrad_rnn[native])"
    import llvmlite

    version = tuple(int(n) for n in llvmlite.__version__.split(".")[:2])
    if version < (0, 45):
        return f"llvmlite is {llvmlite.__version__}, and 0.45 or newer is needed"
    x = np.zeros((3, 7))[1:, 2:4]
    fields = (ctypes.c_int64 * (FLAGS + 1)).from_address(id(x))
    first = ctypes.c_int64.from_address(id(pair := (x, x.dtype)) + ITEMS).value
    found = fields[KIND], fields[DTYPE], first, fields[FLAGS] & 0xFFFFFFFF
    known = found == (id(np.ndarray), id(x.dtype), id(pair[0]), x.flags.num) and fields[DATA] == address(x)
    known = known and tuple((ctypes.c_int64 * 2).from_address(fields[STRIDES])) == x.strides
    return None if known else "this Python keeps arrays in a way that is not known"


def build(text: str, isa: Isa, **arguments: int) -> dict[str, Callable[..., None]]:
    """The functions of a module that are called from outside, compiled now, or lately, or by another thread meanwhile.

    Args:
        text: the program.
        isa: what it was written for.
        arguments: for each of those functions how many addresses and whole numbers it takes.
    """
    with _ONE:
        return built(text, isa, **arguments)


@lru_cache(maxsize=128)
def built(text: str, isa: Isa, **arguments: int) -> dict[str, Callable[..., None]]:
    """Compile a module's text; the functions keep their code alive."""
    engine = _engine(text, isa)
    found: dict[str, Callable[..., None]] = {}
    for name, n in arguments.items():
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * n)(engine.get_function_address(name))
        function.engine = engine  # type: ignore[attr-defined]
        found[name] = function
    return found


def _engine(text: str, isa: Isa) -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(cpu=isa.cpu, features=isa.features, opt=1)
    parsed = llvm.parse_assembly(text)
    parsed.verify()
    engine = llvm.create_mcjit_compiler(parsed, target)
    for option, value in _PASSES.items():
        llvm.set_option("", f"-{option}={value}")
    engine.finalize_object()
    for option, value in _PASSES.items():
        llvm.set_option("", f"-{option}={'false' if value == 'true' else 'true'}")
    return engine


def address(x: Array) -> int:
    """Where an array begins in memory."""
    return int(x.__array_interface__["data"][0])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_ONE.acquire, after_in_parent=_ONE.release, after_in_child=_ONE.release)
