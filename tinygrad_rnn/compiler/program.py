"""Program: a loss function traced and compiled, with its own memory for each run."""

from __future__ import annotations

import gc
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from ..core.cached import cached
from ..core.tensor import Array
from ..core.threads import OneThread
from ..nn import Module
from .allocate import WORTH_SHARING
from .build import Native, build, native, written
from .containers import Arguments, Function, names, unflatten
from .explain import explain
from .latest import keep
from .native.call import NativeLoop
from .randomness import Generators, States, generators, states_of
from .sizes import NotGeneralError, at
from .source import Source
from .trace import trace

_ROWS = 48
"""Rows that a product of native code expects where it does not know."""

_Run = tuple[Callable[..., Sequence[Array]], dict[str, Array], bool]
_SIZES = 2  # for so many sizes the memory is kept, beside that of the runs that are under way


class Program:
    """A compiled loss function, for one combination of shapes and dtypes or, if its source is general, for many.

    Args:
        loss_fn: what is compiled.
        given: arguments to trace it with.
        backend: see `compile`.
        least: see `allocate`.
        sure: whether its native loops will run, and not at once, so that they may be built meanwhile.

    Attributes:
        ir: loops, and nodes that run once, in order.
        extra: what the loss function returned beside the loss; without gradients, all that it returned.
        misfits: operations that were taken out of a loop, each with the reason, in words.
        calls: how often it ran.
        compared: whether a call was compared with the loss function, gradients and all.
        signatures: of the steps of the loss function; see `signature`.
        eager_bytes: about what all results of an eager pass take.
        limits: for which shapes it is, in words.
    """

    def __init__(
        self,
        loss_fn: Function,
        given: Arguments,
        backend: str = "numpy",
        least: int = WORTH_SHARING,
        sure: bool = False,
    ) -> None:
        arguments, count = given.values, given.parameters
        tensors, filled = given.bound()
        named: list[str | None] = []
        for i, argument in enumerate(arguments):
            named.extend(names(argument, "" if i == 0 and count is not None else loss_fn.name(i, len(arguments))))
        with _no_collection(), OneThread():
            traced = trace(loss_fn, filled, tensors, named, count, generators(loss_fn.function, arguments))
            self.ir, self.misfits = build(traced)
            self._by_rows = traced.ops.by_rows
            self._least = least
            self._write: Callable[[], Source] = partial(written, self.ir, least)
            self._forms: dict[int | None, Native] = {}
            found = self.natively(None) if backend == "native" else Native(None, [], [])
            self._runs, self._loops, self._notes = found.source or self.source, found.loops, found.notes
            if sure:
                for loop in found.loops:
                    loop.build_soon()
            self.extra = unflatten(traced.extra, repeat(np.bool_()))  # the containers alone, not what was in them
        self.signatures = set(traced.signatures.of_step.values())
        self.eager_bytes = sum((n.steps or 1) * math.prod(n.shape) * n.dtype.itemsize for n in self.ir.nodes)
        self.calls = 0
        self.compared = False
        self.limits = ""
        self._drew_from = generators(loss_fn.function, arguments)
        self._own = threading.local()
        self._modules = [x for x in arguments if isinstance(x, Module)]  # while they live, nobody else has their id
        self._idle: dict[Any, list[_Run]] = {}

    @cached
    def source(self) -> Source:
        """The program in NumPy, which nobody may ask for where its loops are native."""
        return self._write()

    @property
    def native(self) -> list[str]:
        """The text of each native loop, in LLVM's language."""
        return [loop.written.text for loop in self._loops]

    def natively(self, rows: int | None) -> Native:
        """The program with native loops, for products of so many rows or those of its batch."""
        if rows not in self._forms:
            self._forms[rows] = native(self.ir, rows, self._least)
        return self._forms[rows]

    def generalise(self, programs: Sequence[Program], sizes: Sequence[Mapping[str, int]], backend: str) -> None:
        """Run at any sizes from the smallest of these on, at which the programs are the same but for the sizes.

        Raises:
            NotGeneralError: they are not.
        """
        self._runs, self._loops, self._notes = joined(programs, sizes, backend)
        self._forms.clear()
        texts = [program._write for program in programs]
        self.__dict__.pop("source", None)
        self._write = partial(_general_text, texts, sizes) if self._loops else lambda: self._runs
        least = " and ".join(f"{name} from {min(each[name] for each in sizes)} on" for name in sizes[0])
        traced = ", ".join(f"{name} = {n}" for name, n in sizes[-1].items())
        self.limits = f"for any {least}; the steps that are named below are those of a trace with {traced}"
        self._idle.clear()

    def __call__(self, leaves: Sequence[Array], sizes: Mapping[str, int]) -> Sequence[Array]:
        """The results, the gradients last; each call has buffers of its own while it runs.

        Args:
            leaves: the arrays among the arguments.
            sizes: those that the source runs at, if it is general.
        """
        key = tuple(sizes.values())
        idle = self._idle.get(key, [])
        keep(self._idle, key, idle, _SIZES)
        try:
            made = idle.pop()
        except IndexError:  # none was made, or other threads have them all
            made = self._make(sizes)
        run, random, small = made
        self.calls += 1
        if self.draws and (self.calls > 1 or sizes):  # the first call runs on what tracing drew
            self._draw(random, sizes)
        if small:
            with OneThread():
                found = run(*leaves)
        else:
            found = run(*leaves)
        idle.append(made)
        return found

    def _make(self, sizes: Mapping[str, int]) -> _Run:
        """A run with buffers of its own, those of them for random numbers, and whether it is small."""
        random = {
            name: np.resize(self._runs.constants[name], [at(n, sizes) for n in array.shape])
            for array, name in self._runs.random.items()
        }
        return self._runs.make(random, **sizes), random, self._runs.is_small(sizes)

    def _draw(self, random: dict[str, Array], sizes: Mapping[str, int]) -> None:
        """Draw what the loss function would draw, in its order, so that the numbers are those of an eager call."""
        for run in self._runs.code.drawn:
            for k in range(at(run.count, sizes)):
                for drawing, places in zip(run.drawings, run.places, strict=True):
                    rng = self._now.get(id(drawing.rng), drawing.rng)
                    numbers = drawing.draw(rng, tuple(at(n, sizes) for n in drawing.shape))
                    for array, row in places:
                        if array in self._runs.random:
                            rows = ... if row is None else at(row, sizes) + k * run.slope
                            random[self._runs.random[array]][rows] = numbers

    def draw_from(self, found: Generators) -> None:
        """Draw from the generators that the loss function has now: a module may have been given another."""
        if len(found) == len(self._drew_from):
            self._own.now = {id(old): new for old, new in zip(self._drew_from, found, strict=True)}

    @property
    def _now(self) -> dict[int, np.random.Generator]:
        """In this thread: the generator to draw from instead of one of those that the trace drew from."""
        return self._own.__dict__.get("now", {})

    @cached
    def draws(self) -> bool:
        """Whether a call draws random numbers."""
        return bool(self.ir.drawings)

    def random_states(self) -> States:
        """The generators that a call draws from, and their states now."""
        drawings = (each for run in self._runs.code.drawn for each in run.drawings)
        found = {id(each.rng): self._now.get(id(each.rng), each.rng) for each in drawings}
        return states_of(list(found.values()))

    def explain(self) -> str:
        """See `Compiled.explain`."""
        told = explain(self.ir.schedule, self.source.code, self.misfits, self._notes, self._by_rows)
        return "\n".join(filter(None, [self.limits, told]))


def joined(
    programs: Sequence[Program], sizes: Sequence[Mapping[str, int]], backend: str
) -> tuple[Source, list[NativeLoop], list[str]]:
    """What runs at any sizes: native loops for the batch that there is, or else for any, or else NumPy.

    Also its native loops, and a word on what became of each.

    Raises:
        NotGeneralError: the programs differ in something else than sizes.
    """
    notes: list[str] = []
    for rows in (None, _ROWS) if backend == "native" else ():
        *_, (_, loops, notes) = found = [program.natively(rows) for program in programs]
        sources = [each.source for each in found if each.source is not None]
        if len(sources) < len(found):
            break
        try:
            return Source.general(sources, sizes), loops, notes
        except NotGeneralError as error:
            notes = [f"not native, as lengths may vary: {error}"]
    return Source.general([program.source for program in programs], sizes), [], notes


def _general_text(texts: Sequence[Callable[[], Source]], sizes: Sequence[Mapping[str, int]]) -> Source:
    """The NumPy text for all sizes of a program whose native loops run at all of them; where NumPy needs another for
    each size, for one of them, which it says."""
    sources = [write() for write in texts]
    try:
        return Source.general(sources, sizes)
    except NotGeneralError as error:
        where = ", ".join(f"{name} = {n}" for name, n in sizes[-1].items())
        return Source(sources[-1].code, note=f"for {where} alone, while native loops run at any: {error}")


@contextmanager
def _no_collection() -> Iterator[None]:
    """The cyclic collector finds nothing in a trace, and searching it costs more than making it."""
    enabled = gc.isenabled()
    _paused.append(enabled)
    gc.disable()
    try:
        yield
    finally:
        _paused.pop()
        if enabled:
            gc.enable()


_paused: list[bool] = []
"""For each trace of any thread that is under way, whether the collector was enabled before it."""


def _collect_again() -> None:
    if any(_paused):  # the thread that would enable it does not live on in a fork
        gc.enable()
    _paused.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_collect_again)
