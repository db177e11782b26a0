"""Instruction sets: which vectors this processor has; each path that it can run may be chosen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple

import numpy as np

from ...errors import InputError


class Isa(NamedTuple):
    """An instruction set: bits of a vector, how many registers hold one, and LLVM's words for it."""

    name: str
    bits: int
    registers: int
    cpu: str
    features: str


_chosen: ContextVar[str | None] = ContextVar("instruction set", default=None)


@cache
def available() -> dict[str, Isa]:
    """The instruction sets that this processor can run, the best first."""
    import llvmlite.binding as llvm

    host, has = llvm.get_host_cpu_name(), llvm.get_host_cpu_features()
    intel = has.get("sse2", False)
    found = []
    if has.get("avx512f"):
        found.append(Isa("avx512", 512, 32, host, has.flatten() + ",-prefer-256-bit"))
    if has.get("avx2") and has.get("fma"):
        found.append(Isa("avx2", 256, 16, "haswell", ""))
    if intel:
        found.append(Isa("128", 128, 16, "x86-64", ""))  # what every such processor has
    else:
        found.append(Isa("128", 128, 32, host, has.flatten()))  # NEON, or whatever LLVM makes of it
    return {isa.name: isa for isa in found}


def current() -> Isa:
    """The instruction set chosen, or else the best."""
    name, sets = _chosen.get(), available()
    return sets[name] if name else next(iter(sets.values()))


@contextmanager
def using(name: str) -> Iterator[Isa]:
    """Within the block programs are written for the instruction set `name`: "avx512", "avx2" or "128".

    Raises:
        InputError: this processor cannot run it.
    """
    if name not in available():
        raise InputError(f"using: got {name!r}, expected an instruction set of this processor: {list(available())}")
    token = _chosen.set(name)
    try:
        yield available()[name]
    finally:
        _chosen.reset(token)


class Vector:
    """A vector of float32 or float64 in an instruction set, in LLVM's words.

    Attributes:
        lanes: how many numbers it holds.
        size: bytes of a number.
        number, type: the types of a number and of a vector.
        bits, whole: the whole numbers with as many bits, one and a vector of them.
        suffix: what the name of an intrinsic ends with.
    """

    def __init__(self, isa: Isa, dtype: np.dtype[np.floating]) -> None:
        self.isa, self.dtype, self.size = isa, dtype, dtype.itemsize
        self.single = self.size == 4
        self.lanes = isa.bits // 8 // self.size
        self.number = "float" if self.single else "double"
        self.bits = f"i{8 * self.size}"
        self.type, self.whole = f"<{self.lanes} x {self.number}>", f"<{self.lanes} x {self.bits}>"
        self.flags = f"<{self.lanes} x i1>"
        self.suffix = f"v{self.lanes}f{8 * self.size}"
