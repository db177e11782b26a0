"""BLAS threads: the products inside a loop are often too small to share between two cores.

Two threads on a small product are slower than one, and NumPy's BLAS starts to use them well below
the size at which they pay. So a loop over small products runs with one, and everything around it with
as many as the caller set.
"""

from __future__ import annotations

from functools import cache
from types import TracebackType
from typing import Any

from threadpoolctl import ThreadpoolController

SMALL = 8e6
"""Floating-point operations of one product below which a loop over it runs on one thread.

Measured at 64 x 256 x 256, just above: two threads gain a third if the other processor is free, and lose a
twentieth if it is busy; at half of that they lose up to a third.
"""


@cache
def _libraries() -> list[Any]:
    """The BLAS libraries that are loaded; looking for them takes a millisecond."""
    return [lib for lib in ThreadpoolController().lib_controllers if lib.user_api == "blas"]


_lowered_from: list[int] = []
"""The numbers of threads that are lowered now, and go back to these."""


def allowed() -> int:
    """How many threads the caller lets NumPy's products use, also while `OneThread` holds them at one."""
    return max([1, *(lib.get_num_threads() for lib in _libraries()), *_lowered_from])


class OneThread:
    """`with one_thread:` runs the body with one BLAS thread; 2 microseconds.

    The number belongs to the process: whoever lowered it restores it, also where several threads share one of these.
    """

    def __init__(self) -> None:
        self._lowered: list[list[tuple[Any, int]]] = []

    def __enter__(self) -> None:
        lowered = [(lib, n) for lib in _libraries() if (n := lib.get_num_threads()) > 1]
        _lowered_from.extend(n for _, n in lowered)
        for lib, _ in lowered:
            lib.set_num_threads(1)
        self._lowered.append(lowered)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for lib, n in self._lowered.pop():
            lib.set_num_threads(n)
            _lowered_from.remove(n)
