"""Drawn: random numbers in the order in which the loss function draws them, and where they go.

Dropout in a loop draws once a step. So that a program for any length draws the same as an eager call, what is drawn
for row after row of the same arrays is one run, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .operations import Drawing
from .statements import Array

Places = list[tuple[Array, int | None]]
"""The arrays that get the numbers of one drawing, and which row if time is first."""

_PERIOD = 8  # drawings in one step at most


@dataclass
class Run:
    """Drawings that are repeated `count` times, each time `slope` rows further on.

    Attributes:
        drawings, places: those of the first time.
    """

    drawings: list[Drawing]
    places: list[Places]
    count: int
    slope: int


def runs(drawings: Sequence[Drawing], places: Mapping[int, Places]) -> list[Run]:
    """All drawings in order, as runs that are as long as can be."""
    found: list[Run] = []
    k = 0
    while k < len(drawings):
        tried = ((period, *_repeats(drawings, places, k, period)) for period in range(1, _PERIOD + 1))
        period, count, slope = next((each for each in tried if each[1] > 1), (1, 1, 0))
        first = range(k, k + period)
        found.append(Run([drawings[i] for i in first], [places.get(i, []) for i in first], count, slope))
        k += period * count
    return found


def _repeats(drawings: Sequence[Drawing], places: Mapping[int, Places], k: int, period: int) -> tuple[int, int]:
    """How often the drawings from number k on are repeated, and by how many rows each time."""

    def again(i: int, j: int, rows: int) -> bool:
        one, other = places.get(i, []), places.get(j, [])
        return drawings[i] == drawings[j] and other == [(a, None if row is None else row + rows) for a, row in one]

    for slope in (1, -1):
        count = 1
        while k + (count + 1) * period <= len(drawings) and all(
            again(i, i + count * period, count * slope) for i in range(k, k + period)
        ):
            count += 1
        if count > 1 and all(row is not None for i in range(k, k + period) for _, row in places.get(i, [])):
            return count, slope
    return 1, 0
