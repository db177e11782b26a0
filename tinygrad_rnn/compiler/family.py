"""Family: the programs for arguments of one structure, whatever their lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ..core.tensor import Array
from ..core.turn import Turn
from .agreement import FrozenError, by_gradients, by_steps
from .containers import Arguments, Function, own_tensors
from .general import General, between, generalise, guessed, resized
from .latest import keep
from .program import Program
from .randomness import States, generators, rewound, wind_back
from .reader import Reader

_LARGE = 8 << 20
"""Bytes of an eager pass above which it is worth three short traces not to need it."""
_KEPT = 16
"""Programs for one combination of shapes each, where there is none for all."""


class Family:
    """Finds or makes the program for a call, and compares it with the loss function where that can tell something.

    Args:
        loss_fn: what is compiled.
        backend: see `compile`.
    """

    def __init__(self, loss_fn: Function, backend: str) -> None:
        self.loss_fn, self.backend = loss_fn, backend
        self.reader: Reader | None = None  # of its arguments, when there were a few
        self.general: list[General] = []
        self.exact: dict[Any, Program] = {}
        self.settled: tuple[Any, Program, Mapping[str, int]] | None = None  # the last that needs no comparison again
        self.refused: dict[Any, str] = {}  # patterns for which there is no program, and why
        self._turn = Turn()

    def programs(self) -> Iterator[Program]:
        yield from [general.program for general in self.general]
        yield from list(self.exact.values())

    def run(self, given: Arguments) -> tuple[Program, Sequence[Array]]:
        """The program that ran, and its results.

        Raises:
            FrozenError: it gives something else than the loss function.
        """
        shapes = tuple([x.shape for x in given.leaves])
        settled = self.settled
        if settled is not None and settled[0] == shapes:
            _, known, at = settled
            if known.draws:
                known.draw_from(generators(self.loss_fn.function, given.values))
            return known, known(given.leaves, at)
        proven = self._proven(shapes)
        if proven is None:
            with self._turn:  # one thread makes and compares a program; the others wait for it
                return self._found(given, shapes)
        known, at = proven
        if known.draws:
            known.draw_from(generators(self.loss_fn.function, given.values))
        results = known(given.leaves, at)
        if shapes in self.exact:
            keep(self.exact, shapes, known, _KEPT)
        self.settled = shapes, known, at
        return known, results

    def _proven(self, shapes: Any) -> tuple[Program, Mapping[str, int]] | None:
        """The program for these shapes and its sizes, if there is one that needs no comparison again."""
        program = self.exact.get(shapes)
        if program is not None:
            return (program, {}) if program.compared else None
        for general in self.general:
            sizes = general.sizes(shapes)
            if sizes is not None:
                return (general.program, sizes) if general.checked == 2 and general.is_proven(sizes) else None
        return None

    def _found(self, given: Arguments, shapes: Any) -> tuple[Program, Sequence[Array]]:
        """The same as `run` of a program that may have to be made and compared."""
        for general in self._candidates(given, shapes):
            sizes = general.sizes(shapes)
            if sizes is not None:
                before = self._states(general.program, given)
                found = general.program(given.leaves, sizes)
                wrong = self._compared(general, sizes, found, given, before)
                if not wrong:
                    if general.checked == 2:
                        self.settled = shapes, general.program, sizes
                    self.exact.pop(shapes, None)
                    return general.program, found
                wind_back(before)
                self.settled = None
                self.general = [each for each in self.general if each is not general]
                self.refused[general.key] = f"at {_words(sizes)} {wrong}"
        return self._alone(given, shapes)

    def _alone(self, given: Arguments, shapes: Any) -> tuple[Program, Sequence[Array]]:
        """The same of the program for these shapes alone, which is made if there is none."""
        program = self.exact.get(shapes)
        if program is None:
            program = Program(self.loss_fn, given, self.backend)
            if self.refused:
                reason = list(self.refused.values())[-1]
                program.limits = f"for these shapes alone, as lengths cannot vary: {reason}"
        keep(self.exact, shapes, program, _KEPT)
        before = self._states(program, given)
        found = program(given.leaves, {})
        if program.calls > 1 and not program.compared:
            wrong = by_gradients(self.loss_fn, given, found, before)
            if wrong:
                raise FrozenError(wrong)
            program.compared = True
            self.settled = shapes, program, {}
        return program, found

    def _states(self, program: Program, given: Arguments) -> States:
        """The generators that a program will draw from, and their states."""
        if program.draws:
            program.draw_from(generators(self.loss_fn.function, given.values))
        return program.random_states()

    def _candidates(self, given: Arguments, shapes: Any) -> Iterator[General]:
        """Programs for many shapes; the last is made for this call, if these shapes are new and it can be.

        Also for the second call at large shapes: to compare a program for them alone takes an eager pass over all.
        """
        program = self.exact.get(shapes)
        steps = None
        if program is not None:
            if program.calls != 1 or program.eager_bytes < _LARGE:
                return
            steps = max(node.steps or 0 for node in program.ir.nodes)
        yield from self.general
        known = [*self.exact, *(tuple(general.shapes) for general in self.general)]
        own = [tensor for value in given.values for tensor in own_tensors(value)]
        batch = [tensor is None and i >= (given.parameters or 0) for i, tensor in enumerate(own)]
        patterns = [between(other, shapes) for other in reversed(known)]
        if steps or not known:
            patterns = [guessed(shapes, batch, steps)]
        pattern = next((p for p in patterns if p is not None), None)
        if pattern is None or str(pattern) in self.refused or any(str(pattern) == each.key for each in self.general):
            return
        made = generalise(self.loss_fn, given, pattern, self.backend)
        if isinstance(made, str):
            self.refused[str(pattern)] = made
            return
        self.general = [made, *self.general]
        yield made

    def _compared(
        self, general: General, sizes: Mapping[str, int], found: Sequence[Array], given: Arguments, before: States
    ) -> str:
        """What is wrong with a general program: looked for in its first two calls, and where a size is a new one."""
        wrong = ""
        if general.checked < 2:  # with the gradients, on the first rows of this call's arguments
            general.checked += 1
            cut = resized(given, general.pattern, general.point)
            with rewound(before):
                results = general.program(cut.leaves, general.point)
            wrong = by_gradients(self.loss_fn, cut, results, before)
        if not wrong and not general.is_proven(sizes):
            program = general.program
            wrong = by_steps(self.loss_fn, given, found, before, program.signatures, partial(program, sizes=sizes))
            general.prove(sizes)
        return wrong


def _words(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {n}" for name, n in sizes.items())
