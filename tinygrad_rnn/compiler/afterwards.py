"""Afterwards: what is done with the results of steps once the loop is over belongs to these steps.

`sum(squared_error(y, target) for y, target in zip(ys, targets))`, or a second layer in a loop over the states of the
first, rolls as if it stood in the loop's body.
"""

from __future__ import annotations

import numpy as np

from .operations import NOWHEN, Ops


def steps_afterwards(ops: Ops) -> dict[int, int]:
    """The step of each operation without one: the latest whose result it reads, else the first that it is read for.

    Only where the same line does so for several steps: a loss of the last state stays after the loop.
    """
    late = [n for n in np.flatnonzero(np.frombuffer(ops.step, np.intc) == NOWHEN).tolist() if ops.site(n).primitive]
    home: dict[int, int] = {}
    first_reader: dict[int, int] = {}
    for n in late:
        home[n] = max((home.get(a, ops.step[a]) for a in ops.args(n) if a >= 0), default=NOWHEN)
    for n in reversed(late):
        if home[n] == NOWHEN:
            home[n] = first_reader.get(n, NOWHEN)
        if home[n] != NOWHEN:
            for a in ops.args(n):
                first_reader[a] = min(home[n], first_reader.get(a, home[n]))
    steps: dict[int, set[int]] = {}
    for n in late:
        if home[n] != NOWHEN:
            steps.setdefault(ops.site(n).base, set()).add(home[n])
    return {n: home[n] for n in late if len(steps.get(ops.site(n).base, ())) > 1 and home[n] != NOWHEN}
