"""Afterwards: what is done with the results of steps once the loop is over belongs to these steps.

`sum(squared_error(y, target) for y, target in zip(ys, targets))`, or a second layer in a loop over the states of the
first, rolls as if it stood in the loop's body. And so does a loop without `steps`, such as `for x in xs:`, by the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.operation import Operation
from ..ops.indexing import getitem_p
from .operations import NOWHEN, Ops


def row_read(primitive: Operation | None, attrs: Mapping[str, Any]) -> int | None:
    """The i where it is `x[i]` or the like, which usually follows the steps: `xs[t]`."""
    key = attrs["key"] if primitive is getitem_p else None
    return next((k for k in (key if type(key) is tuple else (key,)) if type(k) is int), None)


def steps_afterwards(ops: Ops) -> dict[int, int]:
    """The step of each operation without one: the latest whose result it reads, else the first that it is read for.

    Where no operation has a step, that is the row of a sequence. Only where the same line does so for several steps:
    a loss of the last state stays after the loop.
    """
    step = np.frombuffer(ops.step, np.intc)
    late = [n for n in np.flatnonzero(step == NOWHEN).tolist() if ops.site(n).primitive]
    visits = np.cumsum(np.diff(step, prepend=NOWHEN) != 0)  # a step of another loop is a later visit
    nowhere, now = (0, NOWHEN), (0, NOWHEN)
    home: dict[int, tuple[int, int]] = {}

    def home_of(a: int) -> tuple[int, int]:
        return home[a] if a in home else nowhere if a < 0 or step[a] == NOWHEN else (int(visits[a]), int(step[a]))

    without_steps = (step == NOWHEN).all()
    for n in late:
        home[n] = max(map(home_of, ops.args(n)), default=nowhere)
        if without_steps:
            row = row_read(ops.site(n).primitive, ops.params[ops.params_of[n]].values)
            if row is not None and row >= 0:
                now = home[n] = now if row == now[1] else (now[0] + 1, row)
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
