"""Distribute: which operations need a loop over time, and which run once for all steps.

After Allen and Kennedy's loop distribution: the units that depend on each other in a circle (the
recurrence) stay together in one loop; every other unit is computed for the whole sequence at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .reroll import Ref, Rolled, Unit
from .rewrite import Program


@dataclass
class Loop:
    """Units that run step by step, in this order within a step; `reverse` from the last step to the first."""

    units: list[Unit]
    reverse: bool

    @property
    def lo(self) -> int:
        return min(unit.lo for unit in self.units)

    @property
    def hi(self) -> int:
        return max(unit.hi for unit in self.units)


Part = Loop | Unit
"""A piece of the schedule: a loop, or a unit that runs once (a rolled one for all its steps at once)."""


class CircularError(Exception):
    """A circle of units that no loop over time can run."""

    def __init__(self, units: Sequence[Unit]) -> None:
        super().__init__("operations depend on each other in both directions of time")
        self.units = units


def distribute(rolled: Rolled, once: Callable[[Unit], bool]) -> tuple[list[Part], list[Ref]]:
    """Put the units in an order in which they can run.

    Args:
        rolled: the rolled program.
        once: whether a rolled unit can be computed for all its steps at once.

    Returns:
        The schedule, and how the results are read.

    Raises:
        CircularError: some units must not be rolled.
    """
    program = Program(list(rolled.units), list(rolled.results))
    _components(program.units)  # a circle is reported before the program is rewritten
    program.drop_unused()
    program.fold_constants()
    program.single_terms()
    program.casts()
    program.running_sums()
    program.flatten_sums()
    program.sums_over_time()
    program.transposes()
    program.same_sums()
    program.drop_unused()
    circles = _circles(program.units)
    program.sum_beforehand(circles)
    program.multiply_beforehand(circles)
    program.drop_unused()
    return [_part(component, once) for component in _components(program.units)], program.results


# ---------------------------------------------------------------------- the order
def _circles(units: Sequence[Unit]) -> dict[Unit, int]:
    """For each unit in a recurrence, the number of that recurrence."""
    found = {}
    for number, component in enumerate(_components(units)):
        if len(component) > 1 or any(ref.unit is component[0] for ref in component[0].refs):
            found.update(dict.fromkeys(component, number))
    return found


def _components(units: Sequence[Unit]) -> list[list[Unit]]:
    """Strongly connected components, each after what it reads, otherwise in the program's own order.

    Raises:
        CircularError: a component is no loop over time.
    """
    reads = {unit: list({ref.unit: None for ref in unit.refs}) for unit in units}
    components = _tarjan(reads)
    number = {unit: i for i, component in enumerate(components) for unit in component}
    for component in components:
        if len(component) > 1 or component[0] in reads[component[0]]:
            _check_loop(component)
    waits = [{number[r] for u in c for r in reads[u]} - {i} for i, c in enumerate(components)]
    wanted: list[list[int]] = [[] for _ in components]
    for i, needed in enumerate(waits):
        for n in needed:
            wanted[n].append(i)
    priority = [min(unit.order for unit in component) for component in components]
    ready = [(priority[i], i) for i, needed in enumerate(waits) if not needed]
    heapq.heapify(ready)
    missing = [len(needed) for needed in waits]
    ordered = []
    while ready:
        _, i = heapq.heappop(ready)
        ordered.append(components[i])
        for n in wanted[i]:
            missing[n] -= 1
            if not missing[n]:
                heapq.heappush(ready, (priority[n], n))
    return ordered


def _tarjan(reads: dict[Unit, list[Unit]]) -> list[list[Unit]]:
    """Tarjan's strongly connected components, without recursion."""
    index: dict[Unit, int] = {}
    low: dict[Unit, int] = {}
    on_stack: set[Unit] = set()
    stack: list[Unit] = []
    found: list[list[Unit]] = []
    for root in reads:
        if root in index:
            continue
        work = [(root, iter(reads[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            unit, rest = work[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(reads[other])))
                    break
                if other in on_stack:
                    low[unit] = min(low[unit], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[unit])
                if low[unit] == index[unit]:
                    component: list[Unit] = []
                    while not component or component[-1] is not unit:
                        component.append(stack.pop())
                        on_stack.discard(component[-1])
                    found.append(component)
    return found


def _inner(units: Iterable[Unit]) -> Iterable[tuple[Unit, Ref]]:
    members = set(units)
    return ((unit, ref) for unit in members for ref in unit.refs if ref.unit in members)


def _check_loop(component: Sequence[Unit]) -> None:
    """A loop can run it if all members are rolled and all delays point into the same direction of time."""
    inner = list(_inner(component))
    ok = all(unit.rolled for unit in component)
    ok = ok and all(ref.delay is not None for _, ref in inner)
    signs = {np.sign(ref.delay) for _, ref in inner if ref.delay}
    if not ok or len(signs) != 1:
        raise CircularError([unit for unit in component if unit.rolled])


def _part(component: list[Unit], once: Callable[[Unit], bool]) -> Part:
    """A loop, or a unit that runs once."""
    unit = component[0]
    inner = list(_inner(component))
    if not inner and (not unit.rolled or once(unit)):
        return unit
    reverse = any(ref.delay is not None and ref.delay < 0 for _, ref in inner)
    reads = {u: {ref.unit for ref in u.refs if ref.delay == 0 and ref.unit in set(component)} for u in component}
    ordered: list[Unit] = []
    while reads:
        unit = min((u for u, needed in reads.items() if not needed), key=lambda u: u.order)
        ordered.append(unit)
        del reads[unit]
        for needed in reads.values():
            needed.discard(unit)
    return Loop(ordered, reverse)
