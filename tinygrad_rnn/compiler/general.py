"""General: one program for every length and batch size, from traces at a few small ones.

The loss function runs on the first rows of its arguments, at three sizes or more. If the programs are one but
for numbers that follow from the sizes, that one runs at any size from the smallest on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..core.tensor import Array
from .containers import Arguments, Function
from .program import Program, joined
from .randomness import generators, rewound, states_of
from .sizes import NotGeneralError, followed

_MISFITS = 60
"""So many operations that do not roll, of a few steps, are not worth a trace of more steps."""


class NotRolledError(NotGeneralError):
    """The program is no loop."""


Shapes = Sequence[tuple[int, ...]]
Pattern = list[tuple[Any, ...]]
"""For each array its shape, with the name of a size in the place of each axis that may have any length."""

_SHORT, _FEW, _LONGER = (4, 9, 6, 7), (2, 3, 5, 4), (12, 25, 17, 14)
_POINTS = ((_SHORT, _FEW), (_FEW, _SHORT), (_LONGER, _LONGER))
"""Sizes to trace at: T and B, or B and T where the batch comes first, or where a program reaches further back."""

LONG = 200
"""A first call with a longer sequence is not traced as it is."""


def between(one: Shapes, other: Shapes) -> Pattern | None:
    """The pattern of two calls: axes that changed alike have one size. None if there are more than two."""
    pairs = {(a, b): "" for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True) if a != b}
    for name, pair in zip("TB", pairs, strict=False):
        pairs[pair] = name
    if not 0 < len(pairs) < 3:
        return None
    return [tuple(pairs.get((a, b), a) for a, b in zip(x, y, strict=True)) for x, y in zip(one, other, strict=True)]


def guessed(shapes: Shapes, batch: Sequence[bool], steps: int | None) -> Pattern | None:
    """The pattern in which the number of steps may be any, or if it is not known the longest axis, if that is long.

    That is the first axis of this length in each array of the batch; features and weights keep their lengths.
    """
    free = [n for shape, of_batch in zip(shapes, batch, strict=True) if of_batch for n in shape[:-1] or shape]
    longest = max(free, default=0)
    length = steps or (longest if longest >= LONG else None)
    if length not in free:
        return None
    return [
        tuple("T" if i == shape.index(length) else n for i, n in enumerate(shape))
        if of_batch and length in (shape[:-1] or shape)
        else shape
        for shape, of_batch in zip(shapes, batch, strict=True)
    ]


def sizes_of(pattern: Pattern, shapes: Shapes) -> dict[str, int] | None:
    """The sizes at which arrays of these shapes fit a pattern, if they do."""
    found: dict[str, int] = {}
    for wanted, shape in zip(pattern, shapes, strict=True):
        for axis, n in zip(wanted, shape, strict=True):
            if (found.setdefault(axis, n) if isinstance(axis, str) else axis) != n:
                return None
    return dict(sorted(found.items(), reverse=True))  # T before B


class General:
    """A program for many sizes.

    Attributes:
        program: the program.
        smallest: the sizes from which on it runs.
        proven: the sizes at which the loss function itself has run and done the same in each step; what a Python
            `if` on the length or the step number does at another is not known.
        point: small sizes at which it runs.
        key: the pattern as `between` and `guessed` name it.
    """

    def __init__(self, program: Program, pattern: Pattern, points: Sequence[Mapping[str, int]], key: str) -> None:
        self.program, self.pattern, self.key = program, pattern, key
        self.shapes = tuple(tuple(points[0].get(n, n) for n in axes) for axes in pattern)  # some that it runs at
        self.smallest = {name: min(point[name] for point in points) for name in points[0]}
        self.proven = {name: {point[name] for point in points} for name in points[0]}
        self.point = points[-1]
        self.checked = 0  # calls in which it was compared with the loss function, gradients and all

    def sizes(self, shapes: Shapes) -> dict[str, int] | None:
        """The sizes at which it runs on arrays of these shapes, or None if it does not."""
        found = sizes_of(self.pattern, shapes)
        fits = found is not None and all(n >= self.smallest[name] for name, n in found.items())
        return found if fits else None

    def is_proven(self, sizes: Mapping[str, int]) -> bool:
        return all(n in self.proven[name] for name, n in sizes.items())

    def prove(self, sizes: Mapping[str, int]) -> None:
        for name, n in sizes.items():
            self.proven[name].add(n)


def generalise(loss_fn: Function, given: Arguments, pattern: Pattern, backend: str) -> General | str:
    """One program for all shapes of a pattern, or the reason why there is none."""
    reason, unrolled = "", 0
    several = len({axis for axes in pattern for axis in axes if isinstance(axis, str)}) > 1
    for small in _POINTS if several else _POINTS[::2]:
        try:
            return _generalise(loss_fn, given, pattern, backend, small)
        except NotRolledError as error:  # at two steps nothing may roll, but either size may be the length
            reason, unrolled = str(error), unrolled + 1
            if unrolled == 1 + several:
                break
        except NotGeneralError as error:
            reason = str(error)
        except Exception as error:  # whatever the loss function makes of a short sequence
            reason = f"on a short sequence it raised {type(error).__name__}: {error}".splitlines()[0]
    return reason


def _generalise(
    loss_fn: Function, given: Arguments, pattern: Pattern, backend: str, small: Sequence[Sequence[int]]
) -> General:
    names = list(sizes_of(pattern, [x.shape for x in given.leaves]) or {})
    points = list(_points(names, small))
    programs = []
    for point in points:
        with rewound(states_of(generators(loss_fn.function, given.values))):
            cut = resized(given, pattern, point)  # memory may be large: all of it is shared, and loops of any length
            programs.append(Program(loss_fn, cut, backend, least=0, sure=len(names) == 1))
        if len(programs[-1].misfits) > _MISFITS:
            where = ", ".join(f"{name} = {n}" for name, n in point.items())
            raise NotRolledError(f"{len(programs[-1].misfits)} operations do not roll at {where}")
        if len({repr(program.extra) for program in programs}) > 1:
            raise NotGeneralError("what it returns beside the loss is of another form at another length")
        if len(programs) == 2:  # what differs already needs no third trace
            joined(programs, points[:2], backend)
    program = programs[-1]
    program.signatures = set().union(*(each.signatures for each in programs))
    new = _named_by_loops(programs, points)
    points = [dict(sorted(((new[name], n) for name, n in point.items()), reverse=True)) for point in points]
    program.generalise(programs, points, backend)
    return General(program, [tuple(new.get(n, n) for n in axes) for axes in pattern], points, str(pattern))


def _named_by_loops(programs: Sequence[Program], points: Sequence[Mapping[str, int]]) -> dict[str, str]:
    """For each size its name in the program: T if loops run over it, B if they do not.

    It was named by the order of the axes, which says nothing: the batch may come first, or alone.
    """
    nodes = zip(*(each.ir.nodes for each in programs), strict=False)
    looped: set[str] = set()
    for steps in {tuple(node.steps or 0 for node in same) for same in nodes}:
        with suppress(NotGeneralError):  # then there is no program for all sizes either
            looped |= followed(steps, points)
    names = list(points[0])
    if len(names) == 2 and len(looped) != 1:
        return {name: name for name in names}
    return {name: "T" if name in looped else "B" for name in names}


def _points(names: Sequence[str], small: Sequence[Sequence[int]]) -> Iterator[dict[str, int]]:
    """Sizes to trace at, in which no size follows from another."""
    for k in range(2 + len(names)):
        yield {name: sizes[k] for name, sizes in zip(names, small, strict=False)}


def resized(given: Arguments, pattern: Pattern, sizes: Mapping[str, int]) -> Arguments:
    """The same with other sizes."""
    return given._replace(leaves=[_resized(x, axes, sizes) for x, axes in zip(given.leaves, pattern, strict=True)])


def _resized(x: Array, axes: tuple[Any, ...], sizes: Mapping[str, int]) -> Array:
    """The first rows of an array along each axis that has a size, repeated if they are too few.

    Integers may count steps, as the lengths of sequences do, and must fit the size then: they are bounded by it.
    """
    for i, axis in enumerate(axes):
        if isinstance(axis, str):
            x = np.take(x, np.arange(sizes[axis]) % x.shape[i], axis=i)
    most = min(sizes.values()) - 1
    return np.clip(x, max(-most, np.iinfo(x.dtype).min), most) if x.dtype.kind in "iu" else x
