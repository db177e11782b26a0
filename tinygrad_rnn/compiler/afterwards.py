"""Afterwards: what is done with the results of steps once the loop is over belongs to these steps.

`sum(squared_error(y, target) for y, target in zip(ys, targets))`, or a second layer in a loop over the states of the
first, rolls as if it stood in the loop's body. And so does a loop without `steps`, by the rows that it reads (`rows`).
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from .operations import NOWHEN, Ops
from .rows import by_rows


def steps_afterwards(ops: Ops, weights: Container[int]) -> dict[int, int]:
    """The step of each operation without one: the latest whose result it reads, else the first that it is read for.

    Where no operation has a step, those of a loop's body have that of the row of a sequence that it reads. Only where
    the same line does so for several steps: a loss of the last state stays after the loop.

    Args:
        ops: of the forward pass.
        weights: the inputs that are parameters.
    """
    step = np.frombuffer(ops.step, np.intc)
    late = [n for n in np.flatnonzero(step == NOWHEN).tolist() if ops.site(n).primitive]
    visits = np.cumsum(np.diff(step, prepend=NOWHEN) != 0)  # a step of another loop is a later visit
    nowhere = (0, NOWHEN)
    home = by_rows(ops, late, weights) if (step == NOWHEN).all() else {}

    def home_of(a: int) -> tuple[int, int]:
        return home[a] if a in home else nowhere if a < 0 or step[a] == NOWHEN else (int(visits[a]), int(step[a]))

    for n in late:
        if n not in home:
            home[n] = max(map(home_of, ops.args(n)), default=nowhere)
    first_reader: dict[int, tuple[int, int]] = {}
    for n in reversed(late):
        if home[n] == nowhere:
            home[n] = first_reader.get(n, nowhere)
        if home[n] != nowhere:
            for a in ops.args(n):
                first_reader[a] = min(home[n], first_reader.get(a, home[n]))
    found = {n: home[n][1] for n in late if home[n] != nowhere}
    steps: dict[int, set[int]] = {}
    for n, at in found.items():
        steps.setdefault(ops.site(n).base, set()).add(at)
    return {n: at for n, at in found.items() if len(steps[ops.site(n).base]) > 1}
